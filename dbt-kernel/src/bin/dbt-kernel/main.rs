//! The unikernel: the engine inside a virtual machine, in ring 3, with the launcher at the other end of a doorbell page.
//!
//! The launcher has built the address space (`shared::layout`) and starts `_start` in ring 3 with interrupts off. Ring 0 is
//! [`nucleus`] only.
#![no_std]
#![no_main]

extern crate alloc;

mod features;
mod memory;
mod nucleus;

use armv8_guest::Armv8;
use core::fmt::{self, Write};
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use dbt_kernel::hostmmu;
use dbt_kernel::machine::Machine;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::{self, Control, doorbell, layout, option, stopped};
use x86_backend::guest::Guest;
use x86_backend::runtime::{Runtime, Vcpu};

fn control() -> &'static Control {
    // SAFETY: the launcher maps an initialised control block there for good; what changes in it is atomic.
    unsafe { &*(layout::CONTROL as *const Control) }
}

/// Exits to the launcher.
fn ring(code: u32) {
    // SAFETY: no memory stands behind the page: the store reaches the launcher, which returns after acting.
    unsafe { (layout::DOORBELL as *mut u32).write_volatile(code) };
}

fn stop(code: u32) -> ! {
    control().stats.heap_used.store(memory::HEAP.used(), Ordering::Relaxed);
    control().stopped.store(code, Ordering::SeqCst);
    loop {
        ring(doorbell::STOP);
    }
}

/// Text into the log ring; drains it when full.
struct Log;

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while !control().log.push(byte) {
                ring(doorbell::DRAIN);
            }
        }
        Ok(())
    }
}

macro_rules! log {
    ($($argument:tt)*) => { let _ = writeln!($crate::Log, $($argument)*); };
}

/// The platform; whether the host's MMU maps guest memory.
struct Vm {
    host_mmu: bool,
}

impl Platform for Vm {
    fn tsc(&self) -> u64 {
        tsc()
    }

    fn wait(&self, vcpu: u32) {
        control().waiting[vcpu as usize].store(1, Ordering::SeqCst);
        ring(doorbell::WAIT);
    }

    fn drain(&self) {
        ring(doorbell::DRAIN);
    }

    fn host_mmu(&self) -> bool {
        self.host_mmu
    }

    fn forget_translation(&self, at: u64) {
        // SAFETY: drops a translation only, which the processor finds again.
        unsafe { nucleus::nucleus_call(shared::nucleus::INVALIDATE, at, at + 4096) };
    }

    fn flush_translations(&self) {
        // SAFETY: as above.
        unsafe { nucleus::nucleus_call(shared::nucleus::FLUSH, 0, 0) };
    }
}

fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and it touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether the host's MMU maps guest memory.
fn choose_host_mmu() -> bool {
    let cost = nucleus::fault_cost(tsc);
    control().stats.fault_cost.store(cost, Ordering::Relaxed);
    let nanoseconds = u128::from(cost) * 1_000_000_000 / u128::from(control().tsc_hz.max(1));
    log!("a page fault costs {cost} cycles here, {nanoseconds} ns");
    control().options & (option::HOST_MMU | option::HOST_MMU_ON_DEMAND) != 0
}

/// Takes the features that don't work here out of the control block.
fn confirm_features() {
    let offered = control().host_features;
    let confirmed = features::confirmed(offered);
    if confirmed != offered {
        log!("host features {:#x} don't work in the virtual machine: not used", offered & !confirmed);
        // SAFETY: the launcher doesn't read the field after having filled it, and no reference of ours is alive here.
        unsafe { (&raw mut (*(layout::CONTROL as *mut Control)).host_features).write(confirmed) };
    }
}

#[unsafe(no_mangle)]
extern "sysv64" fn main() -> ! {
    control().tsc_probe.store(tsc(), Ordering::SeqCst);
    ring(doorbell::READY);
    // SAFETY: the launcher maps the heap there, for nothing else.
    if !unsafe { memory::HEAP.claim(control().heap_base, control().heap_size) } {
        log!("the launcher gave the engine no heap");
        stop(stopped::ENGINE_BUG);
    }
    confirm_features();
    let before = tsc();
    // SAFETY: drops translations only, which the processor finds again.
    unsafe { nucleus::nucleus_call(shared::nucleus::FLUSH, 0, 0) };
    let cost = tsc() - before;
    control().stats.nucleus_cost.store(cost, Ordering::Relaxed);
    log!("a call of the nucleus takes {cost} cycles here");
    run(control(), &Vm { host_mmu: choose_host_mmu() })
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log!("{info}");
    stop(stopped::ENGINE_BUG)
}

/// The vCPU block, while there is one.
fn vcpu() -> Option<u64> {
    let events = control().events_word[0].load(Ordering::Relaxed);
    let base = offset_of!(Vcpu<<Armv8 as Guest>::State>, rt) + offset_of!(Runtime, events);
    events.checked_sub(base as u64).filter(|_| events != 0)
}

/// The guest's program counter as last stored; 0 before there is a guest.
fn guest_pc() -> u64 {
    // SAFETY: the engine publishes the word's address while the block it belongs to lives.
    vcpu().map_or(0, |state| unsafe { ((state + u64::from(Armv8::PC_OFFSET)) as *const u64).read_volatile() })
}

/// Lets translated code go on in a slow path, if the exception is a page fault of an access to guest memory.
fn recover_access(context: &mut nucleus::Context) -> bool {
    const PAGE_FAULT: u64 = 14;
    let frame = &mut context.frame;
    let code = layout::CODE..layout::CODE + control().code_size;
    let (Some(vcpu), PAGE_FAULT, true) = (vcpu(), frame.vector, code.contains(&frame.rip)) else { return false };
    // SAFETY: the block belongs to the one machine there is, whose translated code faulted on this processor.
    match unsafe { hostmmu::fault_target::<Armv8, Vm>(vcpu as *mut u8, frame.rip) } {
        Some(target) => {
            frame.rip = target;
            true
        }
        None => false,
    }
}

/// Called by `fault_entry` for every exception in ring 3. Returning resumes as `context` says.
#[unsafe(no_mangle)]
extern "sysv64" fn fault(context: &mut nucleus::Context) {
    if recover_access(context) || nucleus::recover_probe(context) {
        return;
    }
    let frame = &context.frame;
    let code = layout::CODE..layout::CODE + control().code_size;
    log!(
        "{}, guest pc {:#x}",
        if code.contains(&frame.rip) { "in translated code" } else { "in the engine" },
        guest_pc()
    );
    log!(
        "exception {} (error {:#x}) in ring {} at rip {:#x}, cr2 {:#x}",
        frame.vector,
        frame.error,
        frame.cs & 3,
        frame.rip,
        frame.cr2
    );
    log!("  rax {:016x}  rsp {:016x}  flags {:x}", frame.rax, frame.rsp, frame.rflags);
    for (names, values) in nucleus::NAMES.chunks(4).zip(context.general.chunks(4)) {
        for (name, value) in names.iter().zip(values) {
            let _ = write!(Log, "  {name:>3} {value:016x}");
        }
        log!("");
    }
    stop(stopped::ENGINE_BUG)
}

/// Runs the guest to its end.
fn run(control: &'static Control, platform: &Vm) -> ! {
    // SAFETY: the launcher has mapped RAM and code cache where the control block says, for the engine alone.
    match unsafe { Machine::<Armv8, Vm>::new(control, platform) } {
        Ok(mut machine) => stop(machine.run()),
        Err(error) => {
            log!("{error}");
            stop(stopped::ENGINE_BUG)
        }
    }
}
