//! A guest's console, driven by a test: wait for text, type, look at what came.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running launcher with pipes for stdin and stdout.
pub struct Console {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
    /// All that came so far.
    seen: String,
    /// How much of `seen` earlier calls have consumed.
    at: usize,
}

fn reader(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = from.read(&mut buffer) {
            if n == 0 || sender.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Console {
    /// # Panics
    /// When the command can't be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let input = child.stdin.take();
        let output = reader(child.stdout.take().expect("piped"));
        let errors = reader(child.stderr.take().expect("piped"));
        Self { child, input, output, errors, seen: String::new(), at: 0 }
    }

    /// The launcher's process, for looking at its resources.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn fail(&mut self, what: &str) -> ! {
        let errors: Vec<u8> = self.errors.try_iter().flatten().collect();
        let tail: String = self.seen.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{what}\n--- console ---\n{tail}\n--- stderr ---\n{}", String::from_utf8_lossy(&errors));
    }

    /// Waits until `text` appears after what earlier calls consumed; gives what came before it.
    ///
    /// # Panics
    /// When it doesn't come in time, or the guest ends.
    pub fn expect(&mut self, text: &str, timeout: Duration) -> String {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = self.seen[self.at..].find(text) {
                let before = self.seen[self.at..self.at + found].to_owned();
                self.at += found + text.len();
                return before;
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no '{text}' within {timeout:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("the guest ended before '{text}' came")),
            }
        }
    }

    /// Types text.
    ///
    /// # Panics
    /// When the launcher is gone.
    pub fn send(&mut self, text: &str) {
        let input = self.input.as_mut().expect("not closed before");
        if let Err(e) = input.write_all(text.as_bytes()).and_then(|()| input.flush()) {
            self.fail(&format!("cannot type '{text}': {e}"));
        }
    }

    /// Runs a shell command in the guest and gives its output. The shell's prompt ends in `# `.
    ///
    /// # Panics
    /// See [`Console::expect`].
    pub fn shell(&mut self, command: &str, timeout: Duration) -> String {
        // The marker is split in the typed line so that its echo is not taken for the output.
        self.send(&format!("{command}; echo '<''end'\">$?\"\n"));
        self.expect("<''end'", timeout);
        self.expect("\n", timeout);
        let output = self.expect("<end>", timeout);
        let status = self.expect("# ", timeout);
        let status = status.lines().next().unwrap_or_default().trim().to_owned();
        if status != "0" {
            self.fail(&format!("'{command}' ended with {status}:\n{output}"));
        }
        output.replace('\r', "")
    }

    /// Waits for the end of the launcher.
    ///
    /// # Panics
    /// When it doesn't end in time.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            if Instant::now() > deadline {
                self.fail(&format!("the launcher did not end within {timeout:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the launcher wrote to stderr.
    pub fn errors(&mut self) -> String {
        let bytes: Vec<u8> = self.errors.iter().flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
