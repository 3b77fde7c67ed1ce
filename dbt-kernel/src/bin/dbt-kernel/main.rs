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
use dbt_kernel::machine::Machine;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::{self, Control, doorbell, layout, stopped};
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

struct Vm;

impl Platform for Vm {
    fn tsc(&self) -> u64 {
        // SAFETY: every x86-64 processor has it, and it touches no memory.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    fn wait(&self, vcpu: u32) {
        control().waiting[vcpu as usize].store(1, Ordering::SeqCst);
        ring(doorbell::WAIT);
    }

    fn drain(&self) {
        ring(doorbell::DRAIN);
    }
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
    control().tsc_probe.store(Vm.tsc(), Ordering::SeqCst);
    ring(doorbell::READY);
    // SAFETY: the launcher maps the heap there, for nothing else.
    if !unsafe { memory::HEAP.claim(control().heap_base, control().heap_size) } {
        log!("the launcher gave the engine no heap");
        stop(stopped::ENGINE_BUG);
    }
    confirm_features();
    let before = Vm.tsc();
    // SAFETY: drops translations only, which the processor finds again.
    unsafe { nucleus::nucleus_call(shared::nucleus::FLUSH, 0, 0) };
    log!("a call of the nucleus takes {} cycles here", Vm.tsc() - before);
    run(control())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log!("{info}");
    stop(stopped::ENGINE_BUG)
}

/// The guest's program counter as last stored; 0 before there is a guest.
fn guest_pc() -> u64 {
    type State = <Armv8 as Guest>::State;
    let events = control().events_word[0].load(Ordering::Relaxed);
    let base = offset_of!(Vcpu<State>, rt) + offset_of!(Runtime, events);
    let state = events.checked_sub(base as u64).filter(|_| events != 0);
    // SAFETY: the engine publishes the word's address while the block it belongs to lives.
    state.map_or(0, |state| unsafe { ((state + u64::from(Armv8::PC_OFFSET)) as *const u64).read_volatile() })
}

/// Called by `fault_entry` for every exception in ring 3. Returning resumes as `context` says.
#[unsafe(no_mangle)]
extern "sysv64" fn fault(context: &mut nucleus::Context) {
    if nucleus::recover_probe(context) {
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
fn run(control: &'static Control) -> ! {
    let platform = Vm;
    // SAFETY: the launcher has mapped RAM and code cache where the control block says, for the engine alone.
    match unsafe { Machine::<Armv8, Vm>::new(control, &platform) } {
        Ok(mut machine) => stop(machine.run()),
        Err(error) => {
            log!("{error}");
            stop(stopped::ENGINE_BUG)
        }
    }
}
