//! What is measured: a program that boots the guest with its console on stdin and stdout.

use crate::programs::Program;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The guest: the same for all subjects.
pub struct Machine {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub memory: u32,
}

pub struct Subject {
    pub name: String,
    program: PathBuf,
    fixed: Vec<String>,
}

pub struct Boot {
    pub seconds: f64,
    pub peak_mib: f64,
}

pub struct Outcome {
    pub seconds: f64,
    pub output: String,
}

const PROMPT: &str = "guest# ";
/// Longest time without any output before a guest counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ is in the project").to_owned()
}

impl Subject {
    /// This project's launcher, as built beside this program.
    pub fn ours(accel: &str) -> Self {
        let exe = std::env::current_exe().unwrap_or_default();
        Self {
            name: format!("ours ({accel})"),
            program: exe.with_file_name("host-launcher"),
            fixed: vec!["--accel".into(), accel.into()],
        }
    }

    pub fn qemu(program: &Path, cpu: &str) -> Self {
        let fixed = ["-M", "virt", "-accel", "tcg", "-nographic", "-no-reboot", "-cpu", cpu];
        Self { name: format!("QEMU {cpu}"), program: program.into(), fixed: fixed.map(str::to_owned).to_vec() }
    }

    fn start(&self, machine: &Machine) -> Result<Session, String> {
        for file in [&machine.kernel, &machine.initrd] {
            if !file.exists() {
                return Err(format!(
                    "{} is missing: run scripts/fetch-guest and scripts/make-initramfs",
                    file.display()
                ));
            }
        }
        let mut command = Command::new(&self.program);
        command.args(&self.fixed).arg("-m").arg(format!("{}M", machine.memory));
        command.arg("-kernel").arg(&machine.kernel).arg("-initrd").arg(&machine.initrd);
        command.args(["-append", "console=ttyAMA0 quiet"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let started = Instant::now();
        let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", self.program.display()))?;
        Ok(Session { child, started, seen: Vec::new(), at: 0, reaped: false })
    }

    /// Boots to the prompt and powers off.
    pub fn boot(&self, machine: &Machine) -> Result<Boot, String> {
        let mut session = self.start(machine)?;
        session.expect(PROMPT).map_err(|e| format!("{}: {e}", self.name))?;
        let seconds = session.started.elapsed().as_secs_f64();
        session.send("poweroff -f\n").map_err(|e| format!("{}: {e}", self.name))?;
        Ok(Boot { seconds, peak_mib: session.finish() })
    }

    /// Boots once and runs every program.
    pub fn run_programs(&self, machine: &Machine, programs: &[Program]) -> Result<Vec<Outcome>, String> {
        let mut session = self.start(machine)?;
        let failed = |e: String| format!("{}: {e}", self.name);
        session.expect(PROMPT).map_err(failed)?;
        // The shell's line editor breaks lines at the terminal's width, which would tear the markers apart.
        session.send("stty columns 999\n").map_err(failed)?;
        session.expect(PROMPT).map_err(failed)?;
        let mut outcomes = Vec::new();
        for program in programs {
            session.send(&format!("{}; echo '<''end>'\n", program.command)).map_err(failed)?;
            // The echo of the typed line, whose marker is split by quotes.
            session.expect("<''end>'").map_err(failed)?;
            session.expect("\n").map_err(failed)?;
            let started = Instant::now();
            let output = session.expect("<end>").map_err(failed)?;
            let seconds = started.elapsed().as_secs_f64();
            session.expect(PROMPT).map_err(failed)?;
            outcomes.push(Outcome { seconds, output: output.trim().to_owned() });
        }
        session.send("poweroff -f\n").map_err(failed)?;
        session.finish();
        Ok(outcomes)
    }
}

struct Session {
    child: Child,
    started: Instant,
    seen: Vec<u8>,
    at: usize,
    reaped: bool,
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
    /// Waits for text after what was consumed before; gives what came before it.
    fn expect(&mut self, text: &str) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            let new = &self.seen[self.at..];
            if let Some(found) = new.windows(text.len()).position(|w| w == text.as_bytes()) {
                let before = String::from_utf8_lossy(&new[..found]).into_owned();
                self.at += found + text.len();
                return Ok(before);
            }
            if Instant::now() > deadline {
                return Err(format!("no '{text}' within {PATIENCE:?}"));
            }
            let n = self.child.stdout.as_mut().map_or(Ok(0), |out| out.read(&mut buffer)).map_err(|e| e.to_string())?;
            if n == 0 {
                return Err(format!("the guest ended before '{text}' came"));
            }
            self.seen.extend_from_slice(&buffer[..n]);
        }
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("stdin is closed")?;
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).map_err(|e| e.to_string())
    }

    /// Waits for the end; gives the process's peak memory in MiB.
    fn finish(mut self) -> f64 {
        let mut rest = Vec::new();
        if let Some(out) = self.child.stdout.as_mut() {
            let _ = out.read_to_end(&mut rest);
        }
        let mut status = 0;
        // SAFETY: rusage is plain data for which zero is valid; wait4 fills it for this child, which nobody else reaps.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::wait4(self.child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage);
            usage
        };
        self.reaped = true;
        usage.ru_maxrss as f64 / 1024.0
    }
}
