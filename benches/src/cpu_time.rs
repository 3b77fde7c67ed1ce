//! Processor time that a process used: what stays comparable when other work keeps the machine busy.

use std::io;

/// Seconds of the process with all its threads, also those that ended.
pub fn of_process(pid: u32) -> io::Result<f64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the clock's number is written to a variable of ours.
    let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a variable of ours.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

/// Seconds of all children that were waited for, and theirs.
pub fn of_children() -> f64 {
    // SAFETY: rusage is plain data for which zero is valid; getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Processor time of the whole machine since it started, in the kernel's ticks: what it wanted, and what it wanted but a hypervisor gave to
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    wanted: u64,
    stolen: u64,
}

impl Machine {
    /// `None`: the kernel doesn't tell.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line has user, nice, system, idle, waiting, interrupts (hard, soft), stolen (Linux: proc_stat(5)).
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let &[user, nice, system, _, _, hard, soft, stolen, ..] = ticks.as_slice() else { return None };
        Some(Self { wanted: user + nice + system + hard + soft + stolen, stolen })
    }

    /// The part of the time wanted since `before` that others got.
    pub fn stolen_since(self, before: Self) -> f64 {
        let (wanted, stolen) = (self.wanted - before.wanted, self.stolen - before.stolen);
        if wanted == 0 { 0.0 } else { stolen as f64 / wanted as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_part_of_what_was_wanted() {
        let before = Machine::parse("cpu  10 20 30 1000 500 1 2 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
        let now = Machine::parse("cpu  40 20 60 9000 700 1 2 27 0 0\n").unwrap();
        assert_eq!((before.wanted, before.stolen), (70, 7));
        assert!((now.stolen_since(before) - 0.25).abs() < 1e-9);
        assert!(now.stolen_since(now) == 0.0);
        assert_eq!([Machine::parse(""), Machine::parse("cpu 1 2 3"), Machine::parse("intr 1 2")], [None; 3]);
        assert!(Machine::now().is_some());
    }

    #[test]
    fn work_counts_and_processes_that_do_not_exist_are_errors() {
        let before = of_process(std::process::id()).unwrap();
        let mut x = 1u64;
        while of_process(std::process::id()).unwrap() <= before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        // Above the highest number that Linux gives to a process.
        assert!(of_process(1 << 22).is_err());
    }

    #[test]
    fn children_count_when_they_ended() {
        let before = of_children();
        let line = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        assert!(std::process::Command::new("sh").args(["-c", line]).status().unwrap().success());
        assert!(of_children() > before);
    }
}
