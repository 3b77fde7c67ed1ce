//! The serving thread: console, deadlines, the user's wishes, until the run is over.
//!
//! While a vCPU runs it looks at the rings once per millisecond, or when the deadline is due; while all vCPUs wait it sleeps
//! until somebody types: an idle guest costs next to nothing.

use crate::console::{Escapes, HELP, Typed};
use crate::event_fd::{poll, watch};
use crate::link::Link;
use dbt_kernel::shared::{RING_BYTES, stopped};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
/// How long after a panic message the guest may go on to tell why.
const PANIC_GRACE: Duration = Duration::from_millis(1500);
/// How long the engine gets to stop when asked.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Why a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    PowerOff,
    Reset,
    /// The guest wants to start again.
    Reboot,
    /// The user quit, or closed our output.
    Quit,
    GuestPanic,
    /// The self-test ended without the words that all is well.
    SelfTestFailed,
    Timeout,
    Signal(i32),
    EngineBug(String),
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Exit::PowerOff | Exit::Reset | Exit::Reboot | Exit::Quit => 0,
            Exit::GuestPanic | Exit::SelfTestFailed => 1,
            Exit::EngineBug(_) => 70,
            Exit::Timeout => 124,
            Exit::Signal(number) => 128 + number,
        }
    }
}

/// Signals that end the run, as a descriptor to poll.
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP from their default course, for this thread and those it starts.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn take() -> io::Result<Self> {
        // SAFETY: all-zero is a valid set to be initialised; the calls touch only the set, which lives through them.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    fn next(&self) -> Option<i32> {
        // SAFETY: all-zero is a valid value; the kernel fills at most its size.
        let (got, info) = unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of::<libc::signalfd_siginfo>();
            (libc::read(self.fd(), (&raw mut info).cast(), size) == size as isize, info)
        };
        got.then_some(info.ssi_signo as i32)
    }
}

/// Standard input, across reboots.
#[derive(Debug, Default)]
pub struct Input {
    escapes: Escapes,
    ended: bool,
}

/// What decides when a run is over.
pub struct Server<'a> {
    pub link: &'a Link,
    pub signals: &'a Signals,
    pub input: &'a mut Input,
    pub exit_on_panic: bool,
    pub no_reboot: bool,
    /// The guest is the launcher's self-test.
    pub self_test: bool,
    /// When `--timeout` expires.
    pub until: Option<Instant>,
    /// Gets the vCPU out of translated code by force.
    pub kick: &'a dyn Fn(),
    /// The last deadline that the vCPU was told of; `u64::MAX`: none.
    pub announced: u64,
}

impl Server<'_> {
    /// Serves until the run is over and the engine has stopped.
    pub fn run(mut self) -> Exit {
        self.link.set_interrupt(self.signals.fd());
        let exit = self.serve();
        if !self.link.ended() {
            self.link.request_stop();
            self.wait_for_end();
            if !self.link.ended() {
                (self.kick)();
                self.wait_for_end();
            }
        }
        self.link.drain();
        exit
    }

    fn wait_for_end(&self) {
        let end = Instant::now() + STOP_GRACE;
        while !self.link.ended() && Instant::now() < end {
            self.link.serve_wake().wait(Some(Duration::from_millis(20)));
            self.link.drain();
        }
    }

    fn serve(&mut self) -> Exit {
        let mut panicked: Option<Instant> = None;
        loop {
            let seen = self.link.drain();
            if self.link.ended() {
                return self.ended();
            }
            let now = Instant::now();
            if seen.closed {
                return Exit::Quit;
            }
            if self.exit_on_panic && seen.panic {
                let since = *panicked.get_or_insert(now);
                if seen.panic_end || now - since >= PANIC_GRACE {
                    return Exit::GuestPanic;
                }
            }
            if self.until.is_some_and(|until| now >= until) {
                return Exit::Timeout;
            }
            if let Some(exit) = self.sleep(now, panicked) {
                return exit;
            }
        }
    }

    /// Sleeps until there may be something to do, and does what the descriptors ask for.
    fn sleep(&mut self, now: Instant, panicked: Option<Instant>) -> Option<Exit> {
        let room = RING_BYTES - self.link.control.console_in.len();
        let mut fds = [watch(self.link.serve_wake().fd()), watch(self.signals.fd()), watch(0)];
        if self.input.ended || room == 0 {
            fds[2].fd = -1;
        }
        let mut timeout = self.until.map(|until| until - now);
        if let Some(since) = panicked {
            let grace = (since + PANIC_GRACE).saturating_duration_since(now);
            timeout = Some(timeout.map_or(grace, |time| time.min(grace)));
        }
        if !self.link.may_sleep() {
            self.link.woke_up();
            let tick = self.until_news().map_or(TICK, |time| time.min(TICK));
            timeout = Some(timeout.map_or(tick, |time| time.min(tick)));
        }
        poll(&mut fds, timeout);
        self.link.woke_up();

        if fds[0].revents != 0 {
            self.link.serve_wake().clear();
        }
        if fds[1].revents != 0
            && let Some(signal) = self.signals.next()
        {
            return Some(Exit::Signal(signal));
        }
        if fds[2].revents != 0
            && let Some(exit) = self.read(room)
        {
            return Some(exit);
        }
        // A waiting vCPU's own thread watches its deadline.
        if self.link.control.waiting[0].load(Ordering::SeqCst) == 0 {
            if self.until_news() == Some(Duration::ZERO) {
                self.announced = self.link.control.deadline[0].load(Ordering::Acquire);
                self.link.notify(0);
            }
            self.link.grant_look(0);
        }
        None
    }

    /// How long until a deadline that the vCPU has not been told of: it may take a while to set the next one, and must
    /// not be hurried by a thread that spins.
    fn until_news(&self) -> Option<Duration> {
        let deadline = self.link.control.deadline[0].load(Ordering::Acquire);
        if deadline == self.announced { None } else { self.link.until_deadline(0) }
    }

    /// Takes what the user typed.
    fn read(&mut self, room: usize) -> Option<Exit> {
        let mut buffer = [0u8; 4096];
        let want = buffer.len().min(room);
        // SAFETY: the kernel writes at most `want` bytes to the buffer.
        let got = unsafe { libc::read(0, buffer.as_mut_ptr().cast(), want) };
        if got <= 0 {
            let again = got < 0
                && matches!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            self.input.ended = !again;
            return None;
        }
        for byte in &buffer[..got as usize] {
            match self.input.escapes.typed(*byte) {
                Typed::Byte(byte) => {
                    // There is room: no more was read than there was, and only this thread fills the ring.
                    self.link.control.console_in.push(byte);
                }
                Typed::Nothing => {}
                Typed::Help => eprint!("{HELP}"),
                Typed::Quit => return Some(Exit::Quit),
            }
        }
        self.link.notify(0);
        None
    }

    /// What the engine's end means.
    fn ended(&self) -> Exit {
        match self.link.outcome() {
            (_, Some(failure)) => Exit::EngineBug(failure),
            (stopped::POWER_OFF | stopped::RESET | stopped::REBOOT, _)
                if self.self_test && !self.link.drain().passed =>
            {
                Exit::SelfTestFailed
            }
            (stopped::POWER_OFF, _) => Exit::PowerOff,
            (stopped::RESET, _) => Exit::Reset,
            (stopped::REBOOT, _) if self.no_reboot => Exit::Reset,
            (stopped::REBOOT, _) => Exit::Reboot,
            (stopped::REQUESTED, _) => Exit::Quit,
            (stopped::ENGINE_BUG, _) => Exit::EngineBug("the engine found a bug in itself".to_owned()),
            (code, _) => Exit::EngineBug(format!("the engine ended without a reason (state {code})")),
        }
    }
}
