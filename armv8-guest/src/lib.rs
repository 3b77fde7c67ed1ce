//! The ARMv8-A guest: what of the architecture is not instruction semantics.
//!
//! The description in `arch-specs/armv8-a` says what instructions and system registers are; [`isa`] is generated from it. Here
//! are exceptions, address translation, timers, firmware calls, and the [`Guest`] that the engine runs.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

/// Generated from the description: state, decoder, translator, disassembler, system registers.
pub mod isa {
    include!(concat!(env!("OUT_DIR"), "/isa.rs"));
}

pub mod bti;
pub mod context;
pub mod exceptions;
#[cfg(test)]
mod execution_tests;
pub mod helpers;
pub mod mmu;
#[cfg(test)]
mod pauth_tests;
#[cfg(test)]
mod testing;

use isa::{Cpu, State, ctx};
use mmu::{Fault, Mode, Regime, sctlr};
use x86_backend::emit::{Access, BranchKind, Emit, HelperDecl, Stop};
use x86_backend::guest::{AccessKind, Guest, Mapping};

/// The ARMv8-A architecture: AArch64 at EL0 and EL1.
#[derive(Clone, Copy, Debug)]
pub struct Armv8;

impl Guest for Armv8 {
    type State = State;
    type Fault = Fault;

    const INSN_BYTES: u32 = 4;
    const HELPERS: &'static [HelperDecl] = isa::HELPERS;
    const PC_OFFSET: u32 = isa::PC_OFFSET;
    const LAYOUT: &'static [x86_backend::guest::Elements] = isa::LAYOUT;

    fn reset_state() -> State {
        let mut state = State::reset();
        context::update(&mut state);
        state
    }

    /// The boot protocol of arm64 kernels: x0 the device tree, x1 to x3 zero, EL1 with the MMU off and everything masked.
    fn set_entry(state: &mut State, pc: u64, argument: u64) {
        state.pc = pc;
        state.x[0] = argument;
    }

    fn context(state: &State) -> u64 {
        state.context()
    }

    fn mmu_mode(context: u64, unprivileged: bool) -> usize {
        (if ctx::el(context) == 0 || (unprivileged && ctx::uao(context) == 0) {
            Mode::User
        } else if ctx::pan(context) != 0 {
            Mode::KernelPan
        } else {
            Mode::Kernel
        }) as usize
    }

    fn fp_inline(context: u64) -> bool {
        ctx::fp_slow(context) == 0
    }

    fn fp_flush(context: u64) -> bool {
        ctx::fp_flush(context) != 0
    }

    fn strict_alignment(context: u64) -> bool {
        ctx::strict_align(context) != 0
    }

    /// Ordered and atomic accesses may be unaligned within 16 bytes; ordered ones anywhere if SCTLR_EL1.nAA is set.
    fn tolerates_unaligned(cpu: &Cpu, va: u64, size: u32, access: Access) -> bool {
        let within_16 = (va & 15) + u64::from(size) <= 16;
        let anywhere = cpu.state.sctlr_el1 & sctlr::NAA != 0 && !access.contains(Access::ATOMIC);
        isa::features::FEAT_LSE2 && !access.contains(Access::EXCLUSIVE) && (within_16 || anywhere)
    }

    fn settled_context(context: u64) -> u64 {
        bti::settled(context)
    }

    fn arrive(cpu: &mut Cpu, kind: BranchKind, word: Option<u32>, _code_context: u64) {
        bti::arrive(&mut cpu.state, kind, word);
    }

    fn translate<B: Emit>(b: &mut B, word: u32, pc: u64, context: u64) -> Result<(), Stop> {
        if ctx::btype(context) == 0 { isa::translate(b, word, pc, context) } else { bti::landing(b, word, pc, context) }
    }

    fn walk(cpu: &mut Cpu, va: u64, kind: AccessKind, mode: usize) -> Result<Mapping, Fault> {
        let regime = Regime::of(&cpu.state);
        regime.translate(cpu.services(), va, kind, Mode::from_index(mode)).map(|t| t.mapping)
    }

    fn bus_fault(_kind: AccessKind) -> Fault {
        Fault::External
    }

    fn alignment_fault(kind: AccessKind) -> Fault {
        match kind {
            AccessKind::Fetch => Fault::PcAlignment,
            AccessKind::Read | AccessKind::Write => Fault::Alignment,
        }
    }

    fn raise(cpu: &mut Cpu, fault: Fault, va: u64, kind: AccessKind, _access: Access) {
        exceptions::abort(cpu, fault, va, kind, 0);
    }

    fn poll_events(cpu: &mut Cpu) -> bool {
        let context_changed = helpers::note_inexact(cpu);
        helpers::update_timers(cpu);
        let asserted = cpu.services().irq_asserted();
        let take = asserted && cpu.state.daif & exceptions::DAIF_I == 0;
        cpu.state.irq_line = u8::from(asserted && !take);
        if take {
            exceptions::interrupt(cpu);
            // Entry masked interrupts; the line stays up until the guest acknowledges.
            cpu.state.irq_line = 1;
        }
        take || context_changed
    }

    fn disassemble(word: u32, pc: u64, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
        isa::disassemble(word, pc, out)
    }
}

#[cfg(test)]
mod tests;
