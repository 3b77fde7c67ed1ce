//! The engine as hosted mode instantiates it: the one place of the launcher that names a guest architecture.

use armv8_guest::Armv8;
use dbt_kernel::machine::Machine;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::Control;
use std::mem::offset_of;
use std::sync::atomic::Ordering;
use x86_backend::guest::Guest;
use x86_backend::runtime::{Runtime, Vcpu};

/// Makes a machine, runs it, and hands its stop code over before the machine is freed.
///
/// # Errors
/// The engine can't work with the control block.
///
/// # Safety
/// As for [`Machine::new`].
pub unsafe fn with_machine<P: Platform>(
    control: &Control,
    platform: &P,
    stopped: impl FnOnce(u32),
) -> Result<(), String> {
    // SAFETY: the caller's promise.
    let machine = unsafe { Machine::<Armv8, P>::new(control, platform) };
    let mut machine = machine.map_err(|error| error.to_string())?;
    stopped(machine.run());
    Ok(())
}

/// The guest's program counter as last stored, for reports; 0 before there is a guest. Safe to call from signal handlers.
///
/// # Safety
/// `control` belongs to a machine of [`with_machine`] that isn't freed meanwhile.
pub unsafe fn guest_pc(control: &Control) -> u64 {
    type State = <Armv8 as Guest>::State;
    let events = control.events_word[0].load(Ordering::Relaxed);
    let base = offset_of!(Vcpu<State>, rt) + offset_of!(Runtime, events);
    let state = events.checked_sub(base as u64).filter(|_| events != 0);
    // SAFETY: the engine publishes the word's address while the block it belongs to lives.
    state.map_or(0, |state| unsafe { ((state + u64::from(Armv8::PC_OFFSET)) as *const u64).read_volatile() })
}
