//! Programs to measure, and running them in a guest or on this machine.
//!
//! A program usually measures itself: it prints `seconds=S checksum=C` by the clock it sees. The host's clock is noted as well,
//! since a guest's clock that goes slow would flatter whoever runs the guest.

use crate::cpu_time;
use crate::session::Session;
use crate::subject::{Kind, Machine, Subject};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Which clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The program says how long it took and gives a checksum.
    Program,
    /// The host's: the program's output is its result.
    Host,
}

/// What runs in a guest.
pub enum InGuest {
    /// A line for Linux's shell.
    Line(String),
    /// A program without an operating system, as a kernel's Image. It says `start` when it begins to measure.
    Image(PathBuf),
}

pub struct Job {
    pub name: String,
    pub group: String,
    pub clock: Clock,
    /// Whether this machine's result is the guest's.
    pub portable: bool,
    pub guest: InGuest,
    /// Program and arguments on this machine.
    pub native: Option<(PathBuf, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What counts.
    pub seconds: f64,
    /// By the host's clock, the program's start and end included.
    pub host_seconds: f64,
    /// Processor time on the host, the program's start and end included.
    pub cpu_seconds: f64,
    pub result: String,
}

/// Finds `seconds=S checksum=C` in a program's output.
fn parse(output: &str) -> Option<(f64, &str)> {
    output.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("seconds=")?;
        let (seconds, checksum) = rest.split_once(" checksum=")?;
        Some((seconds.parse().ok()?, checksum.trim()))
    })
}

impl Job {
    fn outcome(&self, output: &str, host_seconds: f64, cpu_seconds: f64) -> Result<Outcome, String> {
        let (seconds, result) = match self.clock {
            Clock::Host => (host_seconds, output.trim()),
            Clock::Program => parse(output).ok_or_else(|| format!("no result in its output:\n{output}"))?,
        };
        Ok(Outcome { seconds, host_seconds, cpu_seconds, result: result.to_owned() })
    }

    /// The outer error means that the guest can't be used any more.
    fn run_in(&self, line: &str, session: &mut Session, limit: Duration) -> Result<Result<Outcome, String>, String> {
        let reply = session.run(line, limit)?;
        if reply.status != 0 {
            return Ok(Err(format!("ended with status {}:\n{}", reply.status, reply.output.trim())));
        }
        Ok(self.outcome(&reply.output, reply.seconds, reply.cpu_seconds))
    }

    /// Runs an Image as a machine of its own.
    fn run_alone(
        &self,
        image: &Path,
        subject: &Subject,
        machine: &Machine,
        limit: Duration,
    ) -> Result<Outcome, String> {
        let machine =
            Machine { kernel: image.to_owned(), initrd: None, memory: machine.memory, append: machine.append.clone() };
        let mut session = Session::start(subject.command(&machine)?)?;
        let (output, seconds, cpu_seconds) = session.time_line("start\n", limit)?;
        let outcome = self.outcome(&output, seconds, cpu_seconds)?;
        session.send("\n")?;
        let end = session.end(limit)?;
        if end.success { Ok(outcome) } else { Err(format!("it ends with a failure: {}", end.errors)) }
    }

    fn run_here(&self) -> Result<Outcome, String> {
        let (program, arguments) = self.native.as_ref().ok_or("does not exist for this machine")?;
        let (started, cpu_before) = (Instant::now(), cpu_time::of_children());
        let done = Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
        let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), cpu_time::of_children() - cpu_before);
        let output = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            return Err(format!("{}:\n{output}{}", done.status, String::from_utf8_lossy(&done.stderr)));
        }
        self.outcome(&output, seconds, cpu_seconds)
    }
}

/// A subject, and its guest if one runs: booted for the first program that needs it, and again after one that hung or brought it down.
pub struct Runner<'a> {
    pub subject: &'a Subject,
    machine: &'a Machine,
    session: Option<Session>,
    /// Why it doesn't boot. It isn't tried again.
    broken: Option<String>,
}

impl<'a> Runner<'a> {
    pub fn new(subject: &'a Subject, machine: &'a Machine) -> Self {
        Self { subject, machine, session: None, broken: None }
    }

    /// Runs a program once.
    pub fn run(&mut self, job: &Job, limit: Duration) -> Result<Outcome, String> {
        match &job.guest {
            _ if self.subject.kind == Kind::Native => job.run_here(),
            InGuest::Image(image) => job.run_alone(image, self.subject, self.machine, limit),
            InGuest::Line(line) => {
                let outcome = job.run_in(line, self.session()?, limit);
                outcome.unwrap_or_else(|error| {
                    self.session = None;
                    Err(error)
                })
            }
        }
    }

    /// The guest's shell.
    fn session(&mut self) -> Result<&mut Session, String> {
        if self.session.is_none() && self.broken.is_none() {
            let booted = self.subject.command(self.machine).and_then(Session::boot);
            match booted.and_then(|mut session| session.widen().map(|()| session)) {
                Ok(session) => self.session = Some(session),
                Err(error) => self.broken = Some(format!("the guest does not boot: {error}")),
            }
        }
        self.session.as_mut().ok_or_else(|| self.broken.clone().unwrap_or_default())
    }

    /// Every result is there: powers the guest off. One that can't is killed.
    pub fn finish(self) {
        if let Some(session) = self.session {
            let _ = session.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(clock: Clock, native: &[&str]) -> Job {
        let native = native.split_first().map(|(p, a)| (p.into(), a.iter().map(|&s| s.to_owned()).collect()));
        Job { name: "j".into(), group: "g".into(), clock, portable: true, guest: InGuest::Line(String::new()), native }
    }

    #[test]
    fn results_are_found_among_other_output() {
        assert_eq!(parse("hello\nseconds=1.5 checksum=00ff\n"), Some((1.5, "00ff")));
        assert_eq!(parse("[ 1.2] seconds=0.25 checksum=ab\r\n\n"), Some((0.25, "ab")));
        assert_eq!(parse("seconds=x checksum=1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn native_programs_run() {
        let outcome = job(Clock::Program, &["echo", "seconds=2 checksum=7"]).run_here().unwrap();
        assert_eq!((outcome.seconds, outcome.result.as_str()), (2.0, "7"));
        assert_eq!(job(Clock::Host, &["echo", "text"]).run_here().unwrap().result, "text");
        assert!(job(Clock::Program, &["echo", "text"]).run_here().unwrap_err().contains("no result"));
        assert!(job(Clock::Program, &["false"]).run_here().unwrap_err().contains("exit status: 1"));
        assert!(job(Clock::Program, &[]).run_here().is_err());
    }
}
