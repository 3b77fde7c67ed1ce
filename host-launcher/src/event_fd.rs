//! A counter that one thread raises and another polls for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: makes a new descriptor; no memory involved.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    #[must_use]
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Wakes whoever waits, or will.
    pub fn raise(&self) {
        let one = 1u64;
        // SAFETY: eight bytes from a live variable. Failure means the counter is raised already.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }

    /// Back to zero.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes to a live variable. Failure means it is zero already.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }

    /// Waits until raised or the time is over, and clears it.
    pub fn wait(&self, timeout: Option<Duration>) {
        poll(&mut [watch(self.fd())], timeout);
        self.clear();
    }
}

/// A descriptor to wait for input on.
#[must_use]
pub fn watch(fd: i32) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// `ppoll`; an interruption counts as a wake-up.
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) {
    let spec = timeout.map(|time| libc::timespec {
        tv_sec: time.as_secs().min(1 << 30) as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    });
    let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the descriptors' array and the time live through the call; no signal mask is given.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, spec, std::ptr::null()) };
    if ready < 0 {
        for fd in fds {
            fd.revents = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raise_before_the_wait_is_not_lost() {
        let event = EventFd::new().unwrap();
        event.raise();
        event.raise();
        event.wait(None);
        let start = std::time::Instant::now();
        event.wait(Some(Duration::from_millis(5)));
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}
