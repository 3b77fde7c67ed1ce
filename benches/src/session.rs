//! A running guest's console: waits for text, types, and gives errors, not panics, when the guest hangs or ends.

use crate::cpu_time;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What BusyBox's shell in the guest prints when it waits for a command.
const PROMPT: &str = "guest# ";
/// Longest time a boot may take.
const BOOT: Duration = Duration::from_secs(300);
/// How much of stderr an error shows.
const TAIL: usize = 2000;

pub struct Session {
    child: Child,
    pub started: Instant,
    output: Receiver<Vec<u8>>,
    errors: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    at: usize,
    reaped: bool,
}

/// What a command in the guest came to.
#[derive(Debug)]
pub struct Reply {
    pub output: String,
    pub status: i32,
    /// From the command's start to its end, by the host's clock.
    pub seconds: f64,
    /// Processor time that the guest's process used meanwhile.
    pub cpu_seconds: f64,
}

/// What is known after the guest's end.
pub struct End {
    pub peak_mib: f64,
    /// What came on stderr.
    pub errors: String,
    /// Whether its process says so.
    pub success: bool,
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

impl Drop for Session {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Session {
    pub fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe and touches nothing of this process.
        unsafe {
            // A harness that is killed takes its guest with it.
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let started = Instant::now();
        let mut child =
            command.spawn().map_err(|e| format!("cannot start {}: {e}", command.get_program().display()))?;
        let output = reader(child.stdout.take().ok_or("stdout is not a pipe")?);
        let errors = reader(child.stderr.take().ok_or("stderr is not a pipe")?);
        Ok(Self { child, started, output, errors, seen: Vec::new(), at: 0, reaped: false })
    }

    /// Starts a guest and waits for its shell.
    pub fn boot(command: Command) -> Result<Self, String> {
        let mut session = Self::start(command)?;
        session.prompt(BOOT)?;
        Ok(session)
    }

    /// Waits for the shell's prompt.
    pub fn prompt(&mut self, limit: Duration) -> Result<(), String> {
        self.expect(PROMPT, limit).map(drop)
    }

    /// The shell's line editor breaks lines at the terminal's width, which would tear the markers of [`Session::run`] apart.
    pub fn widen(&mut self) -> Result<(), String> {
        self.send("stty columns 999\n")?;
        self.prompt(BOOT)
    }

    /// Waits for text after what was consumed before; gives what came before it.
    fn expect(&mut self, text: &str, limit: Duration) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        let mut searched = self.at;
        loop {
            if let Some(found) = self.seen[searched..].windows(text.len()).position(|w| w == text.as_bytes()) {
                let end = searched + found;
                let before = String::from_utf8_lossy(&self.seen[self.at..end]).replace('\r', "");
                self.at = end + text.len();
                return Ok(before);
            }
            searched = self.at.max((self.seen.len() + 1).saturating_sub(text.len()));
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.extend_from_slice(&bytes),
                Err(RecvTimeoutError::Timeout) => return Err(self.explain(format!("no '{text}' within {limit:?}"))),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.explain(format!("the guest ended before '{text}' came")));
                }
            }
        }
    }

    /// Adds what the console and stderr last said.
    fn explain(&self, mut message: String) -> String {
        let errors = String::from_utf8_lossy(&self.errors.try_iter().flatten().collect::<Vec<_>>()).into_owned();
        let console = String::from_utf8_lossy(&self.seen[self.at..]).into_owned();
        for (name, text) in [("console", console), ("stderr", errors)] {
            let text = text.trim();
            if !text.is_empty() {
                let cut = text.char_indices().rev().take(TAIL).last().map_or(0, |(at, _)| at);
                message += &format!("\n  {name}: {}", text[cut..].replace('\n', "\n  "));
            }
        }
        message
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("stdin is closed")?;
        let sent = input.write_all(text.as_bytes()).and_then(|()| input.flush());
        sent.map_err(|e| self.explain(format!("cannot type to the guest: {e}")))
    }

    /// Runs a command line in the guest's shell.
    pub fn run(&mut self, line: &str, limit: Duration) -> Result<Reply, String> {
        // The marker is split by quotes, so that the echo of the typed line is not taken for the end.
        self.send(&format!("{line}; echo '<''end>'\" $?\"\n"))?;
        self.expect("<''end>'", limit)?;
        self.expect("\n", limit)?;
        let cpu = |session: &Self| cpu_time::of_process(session.child.id()).map_err(|e| e.to_string());
        let (started, cpu_before) = (Instant::now(), cpu(self)?);
        let output = self.expect("<end> ", limit)?;
        let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), cpu(self)? - cpu_before);
        let status = self.expect("\n", limit)?;
        self.prompt(limit)?;
        let status = status.trim().parse().map_err(|_| format!("'{status}' is not an exit status"))?;
        Ok(Reply { output, status, seconds, cpu_seconds })
    }

    /// Waits for `text`, then for the rest of the next line: gives that, and how much time and processor time lay between.
    pub fn time_line(&mut self, text: &str, limit: Duration) -> Result<(String, f64, f64), String> {
        self.expect(text, limit)?;
        let cpu = |session: &Self| cpu_time::of_process(session.child.id()).map_err(|e| e.to_string());
        let (started, cpu_before) = (Instant::now(), cpu(self)?);
        let line = self.expect("\n", limit)?;
        Ok((line, started.elapsed().as_secs_f64(), cpu(self)? - cpu_before))
    }

    /// Powers the guest off and waits for the end.
    pub fn finish(mut self) -> Result<End, String> {
        self.send("poweroff -f\n")?;
        self.end(BOOT)
    }

    /// Waits for the end of a guest that powers itself off.
    pub fn end(mut self, limit: Duration) -> Result<End, String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.extend_from_slice(&bytes),
                Err(RecvTimeoutError::Timeout) => return Err(self.explain("the guest does not power off".into())),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let errors = String::from_utf8_lossy(&self.errors.iter().flatten().collect::<Vec<_>>()).into_owned();
        let mut status = 0;
        // SAFETY: rusage is plain data for which zero is valid; wait4 fills it for this child, which nobody else reaps.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::wait4(self.child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage);
            usage
        };
        self.reaped = true;
        Ok(End {
            peak_mib: usage.ru_maxrss as f64 / 1024.0,
            errors,
            success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(20);

    /// A host shell that echoes its input as a terminal would and answers like a guest's.
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const ECHOING: &str = "printf 'guest# '; while IFS= read -r line; do printf '%s\\r\\n' \"$line\"; \
        case $line in poweroff*) exit;; esac; eval \"$line\"; printf 'guest# '; done";

    #[test]
    fn commands_give_output_and_status() {
        let mut session = Session::boot(shell(ECHOING)).unwrap();
        let reply = session.run("echo a b", SECOND).unwrap();
        assert_eq!((reply.output.trim(), reply.status), ("a b", 0));
        assert_eq!(session.run("false", SECOND).unwrap().status, 1);
        session.finish().unwrap();
    }

    #[test]
    fn a_hang_is_an_error_and_so_is_an_early_end() {
        let mut session = Session::boot(shell(ECHOING)).unwrap();
        let error = session.run("echo before; sleep 10", Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("no '<end> ' within 300ms") && error.contains("before"), "{error}");
        let mut session = Session::boot(shell("printf 'guest# '; read line; echo oops >&2")).unwrap();
        let error = session.run("true", SECOND).unwrap_err();
        assert!(error.contains("the guest ended"), "{error}");
    }
}
