//! The engine as hosted mode instantiates it: the one place of the launcher that names a guest architecture.

use armv8_guest::Armv8;
use dbt_kernel::machine::Machine;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::Control;

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
