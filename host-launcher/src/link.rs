//! The launcher's end of [`Control`]: events to the engine, waiting for it, output from it.
//!
//! Two threads use it: the vCPU's thread when the engine asks for something, and the serving thread all the time. A waiting
//! vCPU is never lost: whoever makes news first makes it visible, then ORs the event, then raises `vcpu_wake`, which stays
//! raised until the vCPU's thread has seen it.

use crate::console::Finder;
use crate::event_fd::{EventFd, poll, watch};
use crate::mapping::Mapping;
use dbt_kernel::shared::Control;
use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use x86_backend::runtime::event;

/// Lines of the engine's log kept for a report.
const KEPT_LINES: usize = 200;

/// A control block within a mapping that lives as long as the reference.
#[derive(Clone)]
pub struct ControlRef {
    control: *const Control,
    _mapping: Arc<Mapping>,
}

// SAFETY: `Control`'s running part is atomics; the boot part isn't changed once the reference is shared.
unsafe impl Send for ControlRef {}
// SAFETY: as above.
unsafe impl Sync for ControlRef {}

impl ControlRef {
    /// Moves a control block to the mapping's `offset`, which must be page-aligned and have room.
    ///
    /// # Panics
    /// There is no room: a bug of the layout.
    #[must_use]
    pub fn place(mapping: &Arc<Mapping>, offset: usize, control: Control) -> Self {
        let at = mapping.at(offset, size_of::<Control>()).expect("the layout has room for the control block");
        let at = at.cast::<Control>();
        assert!(at.is_aligned(), "the control block is page-aligned");
        // SAFETY: aligned, with room, and nothing uses that memory before this.
        unsafe { at.write(control) };
        Self { control: at, _mapping: Arc::clone(mapping) }
    }
}

impl ControlRef {
    /// Before the engine has read it: it waits for `doorbell::READY` to be answered.
    fn set_tsc_origin(&self, origin: u64) {
        // SAFETY: the field is read by the engine only after the vCPU runs again, and by nobody in the launcher meanwhile.
        unsafe { (&raw mut (*self.control.cast_mut()).tsc_origin).write_volatile(origin) };
    }
}

impl Deref for ControlRef {
    type Target = Control;
    fn deref(&self) -> &Control {
        // SAFETY: initialised by `place`, kept alive by the mapping, changed only through atomics.
        unsafe { &*self.control }
    }
}

/// Engine addresses `engine..engine + size` are launcher addresses from `local` on.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub engine: u64,
    pub size: u64,
    pub local: usize,
}

/// What comes out of the engine.
struct Output {
    panic: Finder,
    panic_end: Finder,
    passed: Finder,
    line: Vec<u8>,
    lines: VecDeque<String>,
    closed: bool,
    /// Readable when the user wants to end the run: output that nobody takes must not delay that.
    interrupt: Option<i32>,
}

pub struct Link {
    pub control: ControlRef,
    windows: Vec<Window>,
    /// Engine TSC minus launcher TSC.
    tsc_offset: AtomicI64,
    output: Mutex<Output>,
    vcpu_wake: EventFd,
    serve_wake: EventFd,
    serve_sleeps: AtomicBool,
    ended: AtomicBool,
    failure: Mutex<Option<String>>,
}

/// What the console has shown so far.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub panic: bool,
    pub panic_end: bool,
    /// What the self-test says last.
    pub passed: bool,
    /// Nobody reads our output any more.
    pub closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// # Errors
    /// The process has no file descriptors left.
    pub fn new(control: ControlRef, windows: Vec<Window>) -> io::Result<Self> {
        Ok(Self {
            control,
            windows,
            tsc_offset: AtomicI64::new(0),
            output: Mutex::new(Output {
                panic: Finder::new("Kernel panic - not syncing"),
                panic_end: Finder::line("[ end Kernel panic"),
                passed: Finder::new("Self-test passed"),
                line: Vec::new(),
                lines: VecDeque::new(),
                closed: false,
                interrupt: None,
            }),
            vcpu_wake: EventFd::new()?,
            serve_wake: EventFd::new()?,
            serve_sleeps: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    /// Output gives up while this descriptor is readable.
    pub fn set_interrupt(&self, fd: i32) {
        lock(&self.output).interrupt = Some(fd);
    }

    /// Learns how far the engine's TSC is ahead of ours.
    pub fn set_tsc_offset(&self, offset: i64) {
        self.tsc_offset.store(offset, Ordering::Relaxed);
    }

    /// Corrects the machine's power-on time to the engine's clock.
    pub fn set_tsc_origin(&self, origin: u64) {
        self.control.set_tsc_origin(origin);
    }

    /// Our TSC in the engine's terms.
    fn engine_tsc(&self) -> u64 {
        crate::host_cpu::tsc().wrapping_add_signed(self.tsc_offset.load(Ordering::Relaxed))
    }

    /// How long until the vCPU's deadline; `None`: it has none.
    #[must_use]
    pub fn until_deadline(&self, vcpu: usize) -> Option<Duration> {
        let deadline = self.control.deadline[vcpu].load(Ordering::Acquire);
        if deadline == u64::MAX {
            return None;
        }
        let cycles = deadline.saturating_sub(self.engine_tsc());
        let nanos = u128::from(cycles) * 1_000_000_000 / u128::from(self.control.tsc_hz.max(1));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Gives a vCPU that runs the look at things that the engine wished for, if it is time.
    pub fn grant_look(&self, vcpu: usize) {
        let look = &self.control.look;
        let at = look.load(Ordering::Relaxed);
        if self.engine_tsc() >= at && look.compare_exchange(at, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.notify(vcpu);
        }
    }

    /// The launcher's view of a vCPU's events word, once the engine has published it.
    fn events(&self, vcpu: usize) -> Option<&AtomicU32> {
        let address = self.control.events_word[vcpu].load(Ordering::Acquire);
        if address == 0 || !address.is_multiple_of(4) {
            return None;
        }
        let window =
            self.windows.iter().find(|w| address >= w.engine && address - w.engine <= w.size.saturating_sub(4))?;
        let local = window.local.wrapping_add((address - window.engine) as usize) as *const AtomicU32;
        // SAFETY: within memory shared with the engine, aligned, and only ever accessed atomically; the engine keeps it for
        // as long as it publishes it.
        Some(unsafe { &*local })
    }

    /// Tells a vCPU that there is news, waking it if it waits.
    pub fn notify(&self, vcpu: usize) {
        if let Some(events) = self.events(vcpu) {
            events.fetch_or(event::HOST, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
        if self.control.waiting[vcpu].load(Ordering::SeqCst) != 0 {
            self.vcpu_wake.raise();
        }
    }

    /// Asks the engine to stop.
    pub fn request_stop(&self) {
        self.control.stop_request.store(1, Ordering::SeqCst);
        for vcpu in 0..self.control.vcpus as usize {
            self.notify(vcpu);
        }
        self.vcpu_wake.raise();
    }

    /// On the vCPU's thread: sleeps until an event is pending or the deadline has passed.
    pub fn wait(&self, vcpu: usize) {
        self.control.waiting[vcpu].store(1, Ordering::SeqCst);
        let seen = self.drain();
        if seen.panic || seen.closed {
            // News for the serving thread, which may go to sleep because this vCPU waits.
            self.serve_wake.raise();
        }
        loop {
            let pending = self.events(vcpu).is_some_and(|events| events.load(Ordering::SeqCst) != 0);
            if pending || self.control.stop_request.load(Ordering::SeqCst) != 0 {
                break;
            }
            match self.until_deadline(vcpu) {
                Some(Duration::ZERO) => {
                    if let Some(events) = self.events(vcpu) {
                        events.fetch_or(event::HOST, Ordering::SeqCst);
                    }
                    break;
                }
                timeout => self.vcpu_wake.wait(timeout),
            }
        }
        self.control.waiting[vcpu].store(0, Ordering::SeqCst);
        if self.serve_sleeps.load(Ordering::SeqCst) {
            self.serve_wake.raise();
        }
    }

    /// The serving thread sleeps without a time limit only while this returns true.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.serve_sleeps.store(true, Ordering::SeqCst);
        self.waiting()
    }

    /// Whether all vCPUs wait.
    #[must_use]
    pub fn waiting(&self) -> bool {
        (0..self.control.vcpus as usize).all(|vcpu| self.control.waiting[vcpu].load(Ordering::SeqCst) != 0)
    }

    pub fn woke_up(&self) {
        self.serve_sleeps.store(false, Ordering::SeqCst);
    }

    #[must_use]
    pub fn serve_wake(&self) -> &EventFd {
        &self.serve_wake
    }

    /// The vCPU's thread is over; `failure` says why if it wasn't the engine's decision.
    pub fn end(&self, failure: Option<String>) {
        if failure.is_some() {
            *lock(&self.failure) = failure;
        }
        self.ended.store(true, Ordering::SeqCst);
        self.serve_wake.raise();
    }

    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Why the engine stopped, and the report if it failed.
    #[must_use]
    pub fn outcome(&self) -> (u32, Option<String>) {
        (self.control.stopped.load(Ordering::SeqCst), lock(&self.failure).clone())
    }

    /// Moves the guest's output to standard output and the engine's log to ours.
    pub fn drain(&self) -> Seen {
        let mut output = lock(&self.output);
        let mut bytes = Vec::new();
        while let Some(byte) = self.control.console_out.pop() {
            bytes.push(byte);
        }
        if !bytes.is_empty() {
            output.panic.feed(&bytes);
            output.panic_end.feed(&bytes);
            output.passed.feed(&bytes);
            if !output.closed && write_all(1, &bytes, output.interrupt).is_err() {
                output.closed = true;
            }
        }
        while let Some(byte) = self.control.log.pop() {
            if byte == b'\n' {
                output.end_line();
            } else {
                output.line.push(byte);
            }
        }
        Seen {
            panic: output.panic.found(),
            panic_end: output.panic_end.found(),
            passed: output.passed.found(),
            closed: output.closed,
        }
    }

    /// Prints what the engine has logged lately, for the report of a failure.
    pub fn print_log(&self) {
        self.drain();
        let mut output = lock(&self.output);
        if !output.line.is_empty() {
            output.end_line();
        }
        for line in &output.lines {
            eprintln!("engine: {line}");
        }
    }
}

impl Output {
    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        log::info!(target: "engine", "{line}");
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

/// Writes everything, however long it takes, or until `interrupt` is readable: then the rest is lost.
fn write_all(fd: i32, mut bytes: &[u8], interrupt: Option<i32>) -> io::Result<()> {
    /// A pipe that is ready takes as much at once.
    const CHUNK: usize = 4096;
    while !bytes.is_empty() {
        let mut fds = [libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }, watch(interrupt.unwrap_or(-1))];
        poll(&mut fds, None);
        if fds[1].revents != 0 && fds[0].revents == 0 {
            return Ok(());
        }
        if fds[0].revents == 0 {
            continue;
        }
        // SAFETY: reads from the slice only.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len().min(CHUNK)) };
        if written >= 0 {
            bytes = &bytes[written as usize..];
            continue;
        }
        let error = io::Error::last_os_error();
        if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) {
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::HUGE;
    use std::time::Instant;

    fn link() -> (Arc<Link>, Box<AtomicU32>) {
        let mapping = Arc::new(Mapping::new(HUGE, false).unwrap());
        let mut control = Control::new();
        control.tsc_hz = crate::host_cpu::tsc_hz();
        let control = ControlRef::place(&mapping, 0, control);
        let events = Box::new(AtomicU32::new(0));
        control.events_word[0].store(std::ptr::from_ref(&*events) as u64, Ordering::Release);
        (Arc::new(Link::new(control, vec![Window { engine: 0, size: u64::MAX, local: 0 }]).unwrap()), events)
    }

    #[test]
    fn a_waiting_vcpu_wakes_at_its_deadline_and_at_news() {
        let (link, events) = link();
        let start = Instant::now();
        link.control.deadline[0].store(crate::host_cpu::tsc() + link.control.tsc_hz / 100, Ordering::Release);
        link.wait(0);
        assert!(start.elapsed() >= Duration::from_millis(8));
        assert_eq!(events.swap(0, Ordering::SeqCst), event::HOST);

        link.control.deadline[0].store(u64::MAX, Ordering::Release);
        let other = Arc::clone(&link);
        let thread = std::thread::spawn(move || other.wait(0));
        while link.control.waiting[0].load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        link.notify(0);
        thread.join().unwrap();
        assert_eq!(events.load(Ordering::SeqCst), event::HOST);
    }

    #[test]
    fn a_look_is_granted_once_when_it_is_time() {
        let (link, events) = link();
        link.grant_look(0);
        link.control.look.store(crate::host_cpu::tsc() + 60 * link.control.tsc_hz, Ordering::Relaxed);
        link.grant_look(0);
        assert_eq!(events.load(Ordering::SeqCst), 0);
        link.control.look.store(crate::host_cpu::tsc(), Ordering::Relaxed);
        link.grant_look(0);
        assert_eq!(events.swap(0, Ordering::SeqCst), event::HOST);
        link.grant_look(0);
        assert_eq!(events.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn log_lines_are_kept_for_the_report() {
        let (link, _events) = link();
        for byte in b"one\ntwo" {
            assert!(link.control.log.push(*byte));
        }
        link.drain();
        let output = lock(&link.output);
        assert_eq!(output.lines, ["one"]);
        assert_eq!(output.line, b"two");
    }

    #[test]
    fn rings_wrap_around() {
        let ring = &Control::new().console_in;
        for round in 0..3u32 {
            let mut pushed = 0;
            while ring.push((pushed + round as usize) as u8) {
                pushed += 1;
            }
            assert_eq!((pushed, ring.len()), (dbt_kernel::shared::RING_BYTES, pushed));
            for index in 0..pushed {
                assert_eq!(ring.pop(), Some((index + round as usize) as u8));
            }
            assert!(ring.is_empty() && ring.pop().is_none());
        }
    }

    #[test]
    fn an_events_word_outside_shared_memory_is_not_touched() {
        let mapping = Arc::new(Mapping::new(HUGE, false).unwrap());
        let control = ControlRef::place(&mapping, 0, Control::new());
        control.events_word[0].store(0x5000, Ordering::Release);
        let link = Link::new(control, vec![Window { engine: 0x1000, size: 0x4000, local: 0 }]).unwrap();
        assert!(link.events(0).is_none());
        link.notify(0);
    }
}
