//! The engine as hosted mode instantiates it: the one place of the launcher that names a guest architecture.

use dbt_kernel::platform::Platform;
use dbt_kernel::shared::Control;

/// Makes a machine, runs it, and hands its stop code over before the machine is freed.
///
/// # Errors
/// The engine can't work with the control block.
pub fn with_machine<P: Platform>(_control: &Control, _platform: &P, _stopped: impl FnOnce(u32)) -> Result<(), String> {
    Err("this build has no engine for hosted mode".to_owned())
}
