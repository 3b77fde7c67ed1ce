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

#[cfg(test)]
mod tests {
    use super::*;

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
