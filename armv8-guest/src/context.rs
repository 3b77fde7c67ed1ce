//! The elements of the context word that follow from other state: recomputed whenever that changes.

use crate::isa::State;
use crate::mmu::{Regime, sctlr};
use x86_backend::runtime::FpEnv;

/// FPCR fields that exist, and those the host's unit can't follow. FZ it can follow if FPSR.IXC is set.
pub mod fpcr {
    pub const AHP: u64 = 1 << 26;
    pub const DN: u64 = 1 << 25;
    pub const FZ: u64 = 1 << 24;
    pub const FZ16: u64 = 1 << 19;
    pub const ROUNDING_SHIFT: u32 = 22;
    pub const SLOW: u64 = AHP | FZ16;
    pub const MASK: u64 = SLOW | DN | FZ | (3 << ROUNDING_SHIFT);
}

/// FPSR.IXC: cumulative Inexact.
pub const FPSR_IXC: u64 = 1 << 4;

/// The stack pointer in use.
#[must_use]
pub fn stack_pointer(state: &State) -> u64 {
    if state.el != 0 && state.spsel != 0 { state.sp_el1 } else { state.sp_el0 }
}

/// Whether accesses through the stack pointer must fault.
#[must_use]
pub fn sp_check(state: &State) -> u8 {
    let enabled = if state.el == 0 { sctlr::SA0 } else { sctlr::SA };
    u8::from(state.sctlr_el1 & enabled != 0 && stack_pointer(state) & 15 != 0)
}

/// Brings all derived elements up to date.
pub fn update(state: &mut State) {
    update_for_level(state);
    let (flush, inexact) = (state.fpcr & fpcr::FZ != 0, state.fpsr & FPSR_IXC != 0);
    let slow = state.fpcr & fpcr::SLOW != 0 || (flush && !inexact);
    state.fp_slow = u8::from(slow);
    state.fp_flush = u8::from(flush && !slow);
    state.strict_align = u8::from(state.sctlr_el1 & sctlr::A != 0);
    update_pointer_authentication(state);
}

/// Brings those up to date that depend on the exception level or the stack pointer in use: each exception changes these.
pub fn update_for_level(state: &mut State) {
    state.fp_off = match state.cpacr_el1 >> 20 & 3 {
        3 => 0,
        1 => u8::from(state.el == 0),
        _ => 1,
    };
    state.sp_check = sp_check(state);
    let strict = if state.el == 0 { sctlr::BT0 } else { sctlr::BT1 };
    state.bti_strict = u8::from(state.sctlr_el1 & strict != 0);
}

/// Which keys are in use, and where codes go in pointers.
fn update_pointer_authentication(state: &mut State) {
    let enabled = |bit: u64, place: u8| if state.sctlr_el1 & bit != 0 { 1 << place } else { 0 };
    state.pac_on =
        enabled(sctlr::EN_IA, 0) | enabled(sctlr::EN_IB, 1) | enabled(sctlr::EN_DA, 2) | enabled(sctlr::EN_DB, 3);
    let regime = Regime::of(state);
    state.pac_bottom = (regime.input_bits(true) << 6 | regime.input_bits(false)) as u16;
    state.pac_tagged = (0..4).map(|i| u8::from(regime.tag_ignored(i & 1 != 0, i & 2 != 0)) << i).sum();
}

/// MXCSR with all exceptions masked and no flags, rounding to nearest.
const MXCSR_MASKED: u32 = 0x1f80;
/// MXCSR's denormals-are-zeros and flush-to-zero.
const MXCSR_FLUSH: u32 = 0x8040;

/// FPCR as the host's unit and the software implementation see it; MXCSR comes without sticky flags.
#[must_use]
pub fn fp_environment(fpcr: u64) -> (u32, u32) {
    let rounding = (fpcr >> fpcr::ROUNDING_SHIFT) as u32 & 3;
    // Arm: nearest, up, down, zero. MXCSR: nearest, down, up, zero.
    let host_rounding = [0, 2, 1, 3][rounding as usize];
    let mut control = rounding;
    for (bit, flag) in [
        (fpcr::FZ, FpEnv::FLUSH),
        (fpcr::DN, FpEnv::DEFAULT_NAN),
        (fpcr::FZ16, FpEnv::FLUSH16),
        (fpcr::AHP, FpEnv::ALT_HALF),
    ] {
        if fpcr & bit != 0 {
            control |= flag;
        }
    }
    let flush = if fpcr & fpcr::FZ != 0 { MXCSR_FLUSH } else { 0 };
    (MXCSR_MASKED | (host_rounding << 13) | flush, control)
}
