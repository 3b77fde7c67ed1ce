//! Exception entry to EL1, exception return, and the syndromes that describe why (ESR_EL1).

use crate::context;
use crate::isa::{Cpu, State};
use crate::mmu::{Fault, Regime, sctlr};
use core::sync::atomic::Ordering;
use x86_backend::emit::flags;
use x86_backend::guest::AccessKind;
use x86_backend::runtime::event;

/// Exception classes (ESR_ELx.EC).
pub mod class {
    pub const UNKNOWN: u32 = 0x00;
    pub const WFX: u32 = 0x01;
    pub const FP_ACCESS: u32 = 0x07;
    pub const BRANCH_TARGET: u32 = 0x0d;
    pub const ILLEGAL_STATE: u32 = 0x0e;
    pub const SVC: u32 = 0x15;
    pub const SYSREG: u32 = 0x18;
    /// Instruction and data aborts from a lower level; one more: from the same level.
    pub const INSN_ABORT: u32 = 0x20;
    pub const PC_ALIGNMENT: u32 = 0x22;
    pub const DATA_ABORT: u32 = 0x24;
    pub const SP_ALIGNMENT: u32 = 0x26;
    pub const BRK: u32 = 0x3c;
}

/// The condition field of a trapped A64 instruction: valid, "always".
pub const ISS_COND_ALWAYS: u32 = (1 << 24) | (0xe << 20);
/// Data abort: a cache maintenance instruction.
pub const ISS_CM: u32 = 1 << 8;
const ISS_WNR: u32 = 1 << 6;

/// PSTATE as saved in SPSR_EL1.
mod spsr {
    pub const MODE_MASK: u64 = 0x1f;
    pub const EL0T: u64 = 0b0_0000;
    pub const EL1T: u64 = 0b0_0100;
    pub const EL1H: u64 = 0b0_0101;
    pub const BTYPE: u32 = 10;
    pub const SSBS: u32 = 12;
    pub const IL: u64 = 1 << 20;
    pub const PAN: u32 = 22;
    pub const UAO: u32 = 23;
    pub const DIT: u32 = 24;
}

/// PSTATE.I in `State::daif`.
pub const DAIF_I: u8 = 2;

/// The four exceptions of a vector table quarter, by their offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Vector {
    Synchronous = 0,
    Irq = 0x80,
}

/// PSTATE in the format of SPSR_EL1, without IL.
#[must_use]
pub fn saved_pstate(state: &State) -> u64 {
    let mode = match (state.el, state.spsel) {
        (0, _) => spsr::EL0T,
        (_, 0) => spsr::EL1T,
        _ => spsr::EL1H,
    };
    mode | u64::from(state.daif) << 6
        | u64::from(state.btype) << spsr::BTYPE
        | u64::from(state.ssbs) << spsr::SSBS
        | u64::from(state.pan) << spsr::PAN
        | u64::from(state.uao) << spsr::UAO
        | u64::from(state.dit) << spsr::DIT
        | u64::from(flags::to_nzcv(state.nzcv)) << 28
}

/// Enters EL1 with `return_address` as the preferred one.
fn enter(state: &mut State, vector: Vector, saved: u64, return_address: u64) {
    state.spsr_el1 = saved;
    state.elr_el1 = return_address;
    let origin = match (state.el, state.spsel) {
        (0, _) => 0x400,
        (_, 0) => 0x000,
        _ => 0x200,
    };
    state.pc = (state.vbar_el1 & !0x7ff).wrapping_add(origin + vector as u64);
    state.el = 1;
    state.spsel = 1;
    state.btype = 0;
    state.daif = 0xf;
    state.dit = 0;
    state.uao = 0;
    state.ssbs = u8::from(state.sctlr_el1 & sctlr::DSSBS != 0);
    if state.sctlr_el1 & sctlr::SPAN == 0 {
        state.pan = 1;
    }
    state.excl_valid = 0;
    context::update_for_level(state);
}

/// Takes a synchronous exception of the current instruction.
pub fn synchronous(cpu: &mut Cpu, ec: u32, iss: u32) {
    let return_address = cpu.state.pc;
    synchronous_from(cpu, ec, iss, return_address);
}

/// Takes a synchronous exception with an explicit return address.
pub fn synchronous_from(cpu: &mut Cpu, ec: u32, iss: u32, return_address: u64) {
    let saved = saved_pstate(&cpu.state);
    cpu.state.esr_el1 = syndrome(ec, iss);
    enter(&mut cpu.state, Vector::Synchronous, saved, return_address);
}

/// Takes an IRQ before the instruction at the PC.
pub fn interrupt(cpu: &mut Cpu) {
    let saved = saved_pstate(&cpu.state);
    let return_address = cpu.state.pc;
    enter(&mut cpu.state, Vector::Irq, saved, return_address);
}

/// ESR_EL1 for an exception class; the instruction length bit is set for all of A64.
const fn syndrome(ec: u32, iss: u32) -> u64 {
    ((ec << 26) | (1 << 25) | iss) as u64
}

/// Takes the abort for a failed access at `va`; `extra` is ORed into the syndrome (cache maintenance).
pub fn abort(cpu: &mut Cpu, fault: Fault, va: u64, kind: AccessKind, extra: u32) {
    let same_level = u32::from(cpu.state.el != 0);
    let (ec, iss) = match (fault, kind) {
        (Fault::PcAlignment, _) | (Fault::Alignment, AccessKind::Fetch) => (class::PC_ALIGNMENT, 0),
        (_, AccessKind::Fetch) => (class::INSN_ABORT + same_level, fault.status()),
        (_, AccessKind::Read) => (class::DATA_ABORT + same_level, fault.status() | extra),
        (_, AccessKind::Write) => (class::DATA_ABORT + same_level, fault.status() | ISS_WNR | extra),
    };
    cpu.state.far_el1 = va;
    synchronous(cpu, ec, iss);
}

/// ERET: leaves for `target` with the state that SPSR_EL1 says.
pub fn exception_return(cpu: &mut Cpu, target: u64) {
    let saved = cpu.state.spsr_el1;
    let regime = Regime::of(&cpu.state);
    let state = &mut cpu.state;
    state.excl_valid = 0;
    state.nzcv = flags::from_nzcv((saved >> 28) as u8 & 15);
    state.daif = (saved >> 6) as u8 & 15;
    let legal = matches!(saved & spsr::MODE_MASK, spsr::EL0T | spsr::EL1T | spsr::EL1H);
    if legal {
        state.el = (saved >> 2) as u8 & 3;
        state.spsel = saved as u8 & 1;
        state.pan = (saved >> spsr::PAN) as u8 & 1;
        state.uao = (saved >> spsr::UAO) as u8 & 1;
        state.dit = (saved >> spsr::DIT) as u8 & 1;
        state.ssbs = (saved >> spsr::SSBS) as u8 & 1;
        state.btype = (saved >> spsr::BTYPE) as u8 & 3;
    }
    state.pc = regime.branch_address(target);
    if !legal || saved & spsr::IL != 0 {
        // The state is illegal: the next instruction, whatever it is, takes this exception, so it is taken now.
        let resaved = saved_pstate(state) | spsr::IL;
        let return_address = state.pc;
        state.esr_el1 = syndrome(class::ILLEGAL_STATE, 0);
        enter(state, Vector::Synchronous, resaved, return_address);
        return;
    }
    context::update_for_level(state);
    mask_changed(cpu);
}

/// PSTATE.I may have been cleared: has the engine look at interrupts if one waits.
pub fn mask_changed(cpu: &mut Cpu) {
    if cpu.state.irq_line != 0 && cpu.state.daif & DAIF_I == 0 {
        cpu.rt.events.fetch_or(event::INTERRUPT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
