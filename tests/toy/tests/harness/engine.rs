//! The engine in this process, with what the launcher does for it: memory, a filled control block, someone who watches the clock.

use super::{ENTRY, Outcome, RAM_BYTES};
use dbt_kernel::machine::Machine;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::{Control, DeviceDesc, DeviceKind, RamRegion};
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use toy_guest::isa::State;
use toy_guest::{Toy, UART};
use x86_backend::runtime::{Runtime, Vcpu, event};

/// After that a test has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// When the outside asks the engine to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRequest {
    Never,
    After(Duration),
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub features: u64,
    pub options: u64,
    pub hot_after: u32,
    pub without: u64,
    pub code_bytes: usize,
    pub stop: StopRequest,
}

impl Default for Setup {
    fn default() -> Self {
        Self { features: 0, options: 0, hot_after: 2, without: 0, code_bytes: 4 << 20, stop: StopRequest::Never }
    }
}

/// Zeroed pages.
struct Pages {
    addr: *mut u8,
    size: usize,
}

impl Pages {
    fn new(size: usize, protection: i32) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping anywhere touches no existing memory.
        let addr = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        assert_ne!(addr, libc::MAP_FAILED, "the host has memory");
        Self { addr: addr.cast(), size }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the machine that used it is gone.
        unsafe { libc::munmap(self.addr.cast(), self.size) };
    }
}

fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

struct Hosted<'c>(&'c Control);

impl Platform for Hosted<'_> {
    fn tsc(&self) -> u64 {
        tsc()
    }
    fn wait(&self, vcpu: u32) {
        let deadline = &self.0.deadline[vcpu as usize];
        while events(self.0).load(Ordering::Acquire) == 0 && tsc() < deadline.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    fn drain(&self) {
        panic!("the tests print less than the ring holds");
    }
}

/// The word that translated code polls.
fn events(control: &Control) -> &AtomicU32 {
    // SAFETY: published by the engine while the vCPU lives, which is as long as anyone here asks.
    unsafe { &*(control.events_word[0].load(Ordering::Acquire) as *const AtomicU32) }
}

/// What the launcher's thread does: the deadline, and the request to stop.
fn outside(control: &Control, done: &AtomicBool, stop: StopRequest) {
    let start = Instant::now();
    let mut signalled = u64::MAX;
    while !done.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_micros(100));
        let deadline = control.deadline[0].load(Ordering::Acquire);
        if deadline != signalled && tsc() >= deadline {
            signalled = deadline;
            events(control).fetch_or(event::HOST, Ordering::Release);
        }
        let asked = matches!(stop, StopRequest::After(time) if start.elapsed() >= time);
        if asked || start.elapsed() >= LIMIT {
            control.stop_request.store(1, Ordering::Release);
            events(control).fetch_or(event::HOST, Ordering::Release);
            return;
        }
    }
}

/// Runs a memory image on the engine.
pub fn run(image: &[u8], setup: &Setup) -> Outcome {
    let ram = Pages::new(RAM_BYTES, libc::PROT_READ | libc::PROT_WRITE);
    let code = Pages::new(setup.code_bytes, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    // SAFETY: the image is no longer than RAM, which is fresh.
    unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), ram.addr, image.len().min(RAM_BYTES)) };
    let mut control = Box::new(Control::new());
    control.options = setup.options;
    control.hot_after = setup.hot_after;
    control.without = setup.without;
    control.host_features = setup.features;
    control.ram[0] = RamRegion { guest_phys: 0, size: RAM_BYTES as u64, engine_addr: ram.addr as u64, vm_phys: 0 };
    control.devices[0] =
        DeviceDesc { kind: DeviceKind::Pl011, spi: u32::MAX, base: UART, size: 0x1000, ..DeviceDesc::NONE };
    control.code_base = code.addr as u64;
    control.code_size = code.size as u64;
    control.guest_entry = ENTRY;
    control.tsc_origin = tsc();
    control.tsc_hz = 2_000_000_000;

    let control = &*control;
    let platform = Hosted(control);
    // SAFETY: RAM and code cache are mapped, used by nobody else, and dropped after the machine.
    let mut machine = unsafe { Machine::<Toy, _>::new(control, &platform) }.unwrap_or_else(|e| panic!("{e}"));
    let done = AtomicBool::new(false);
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| outside(control, &done, setup.stop));
        let stopped = machine.run();
        done.store(true, Ordering::Release);
        stopped
    });

    let mut console = Vec::new();
    while let Some(byte) = control.console_out.pop() {
        console.push(byte);
    }
    let vcpu = std::ptr::from_ref(events(control)) as usize - offset_of!(Runtime, events) - offset_of!(Vcpu<State>, rt);
    // SAFETY: the machine is alive and does not run; the state comes first in the vCPU's block. RAM as above.
    let (state, contents) = unsafe { (&*(vcpu as *const State), std::slice::from_raw_parts(ram.addr, RAM_BYTES)) };
    let outcome = Outcome::new(stopped, state, &console, contents);
    drop(machine);
    outcome
}
