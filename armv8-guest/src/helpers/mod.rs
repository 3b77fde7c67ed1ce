//! The functions that the description declares `extern`, one module per subject.
//!
//! Generated wrappers call them by name. At a call the state is precise: `pc` is the address of the current instruction. A
//! function that may raise returns `Err(Stop)` after the state says where to continue.

mod address;
mod events;
mod exceptions;
mod float;
mod psci;
mod random;
mod timer;

pub use address::{at, cache_id_read, dc_va, ic_all, ic_ivau, mmu_control_written, sctlr_written, tlbi, ttbr_written};
pub use events::{interrupt_mask_changed, sev, wfe, wfi};
pub use exceptions::{
    cpacr_written, exception_return, raise_branch_target, raise_brk, raise_fp_access, raise_smc, raise_sp_alignment,
    raise_svc, raise_undefined, raise_wfx_trap, stack_changed, sysreg_trap, sysreg_undefined,
};
pub use float::{fpcr_written, fpsr_read, fpsr_written, note_inexact};
pub use psci::hvc;
pub use random::random_number;
pub use timer::{read_cntpct, read_cntvct, timer_ctl_read, timer_tval_read, timer_tval_written, timer_written};

pub(crate) use timer::update as update_timers;
