//! Branch target identification (FEAT_BTI): what an indirect branch to a guarded page may lead to.
//!
//! The engine asks once for every kind of branch to a place on a guarded page ([`x86_backend::guest::Guest::arrive`]). Where that
//! may lead there nothing else is to do. Where it may not, or where an exception will save PSTATE.BTYPE, BTYPE goes into the
//! state and so into the context word: the instruction is translated for it. So branches don't keep BTYPE. What that leaves out is
//! SPSR_EL1.BTYPE, which reads as zero, in an exception of an instruction reached by an indirect branch on a page that isn't
//! guarded, and in an interrupt right before a landing pad; neither is ever checked when it is returned to.

use crate::isa::{self, Course, State, ctx, helper};
use core::mem::offset_of;
use x86_backend::emit::{BranchKind, Emit, Slot, Stop};

/// Where BTYPE is in the context word.
const BTYPE_SHIFT: u32 = {
    let mut shift = 0;
    while ctx::btype(1 << shift) != 1 {
        shift += 1;
    }
    shift
};
const BTYPE: u64 = 3 << BTYPE_SHIFT;
/// A guarded page's part of the context word.
pub const GUARDED: u64 = {
    let mut bit = 1;
    while ctx::guarded(bit) == 0 {
        bit <<= 1;
    }
    bit
};

/// PSTATE.BTYPE after a branch of that kind.
#[must_use]
pub const fn branch_type(kind: BranchKind) -> u8 {
    match kind {
        BranchKind::Jump | BranchKind::Call | BranchKind::Return | BranchKind::Resume => 0,
        BranchKind::Trampoline => 0b01,
        BranchKind::IndirectCall => 0b10,
        BranchKind::IndirectJump => 0b11,
    }
}

/// The context word with BTYPE zero.
#[must_use]
pub const fn settled(context: u64) -> u64 {
    context & !BTYPE
}

/// A branch of that kind led to the instruction `word` of a guarded page, or to where nothing can be fetched.
pub fn arrive(state: &mut State, kind: BranchKind, word: Option<u32>) {
    let btype = branch_type(kind);
    let context = settled(state.context()) | GUARDED | u64::from(btype) << BTYPE_SHIFT;
    // The exception of an instruction that raises one saves BTYPE.
    let passes = |word| isa::lands(word, context) && isa::course(word) != Course::Raises;
    if !word.is_some_and(passes) {
        state.btype = btype;
    }
}

/// Emits an instruction that is reached with BTYPE in the context: the check, and the instruction, after which BTYPE is zero.
///
/// # Errors
/// Control leaves.
pub fn landing<B: Emit>(b: &mut B, word: u32, pc: u64, context: u64) -> Result<(), Stop> {
    if ctx::guarded(context) != 0 && !isa::lands(word, context) {
        b.call(helper::RAISE_BRANCH_TARGET, &[])?;
    }
    let slot = Slot { offset: offset_of!(State, btype) as u32, width: 2, is_flags: false };
    let clear = |b: &mut B| {
        let none = b.konst(2, 0);
        b.put(slot, none);
    };
    let usual = settled(context);
    match isa::course(word) {
        // Its exception saves BTYPE; where it is ERET, BTYPE comes from SPSR_EL1.
        Course::Raises => isa::translate(b, word, pc, usual),
        Course::Leaves => {
            clear(b);
            isa::translate(b, word, pc, usual)
        }
        // The exception of a fault saves BTYPE.
        Course::GoesOn => {
            isa::translate(b, word, pc, usual)?;
            clear(b);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Armv8;
    use x86_backend::guest::Guest;

    const NOP: u32 = 0xd503_201f;

    #[test]
    fn landing_pads() {
        let hint = |n: u32| NOP | n << 5;
        // By BTYPE 1, 2 and 3.
        let lands = |word: u32, strict: bool| {
            let mut state = Armv8::reset_state();
            state.bti_strict = strict.into();
            [1, 2, 3].map(|btype| {
                state.btype = btype;
                isa::lands(word, state.context())
            })
        };
        for strict in [false, true] {
            assert_eq!(lands(hint(32), strict), [false; 3], "BTI");
            assert_eq!(lands(hint(34), strict), [true, true, false], "BTI c");
            assert_eq!(lands(hint(36), strict), [true, false, true], "BTI j");
            assert_eq!(lands(hint(38), strict), [true; 3], "BTI jc");
            for pac in [25, 27] {
                assert_eq!(lands(hint(pac), strict), [true, true, !strict], "PACIASP, PACIBSP");
            }
            for other in [NOP, hint(24), hint(29), hint(33), hint(35), 0xd65f_03c0, 0xd400_0001, 0] {
                assert_eq!(lands(other, strict), [false; 3], "{other:#x}");
            }
            for always in [0xd420_0000, 0xd420_1000, 0xd440_0020] {
                assert_eq!(lands(always, strict), [true; 3], "{always:#x}");
            }
        }
    }

    #[test]
    fn courses() {
        let all = |course: Course, words: &[u32]| {
            for &word in words {
                assert_eq!(isa::course(word), course, "{word:#x}");
            }
        };
        // SVC, SMC, BRK, HLT, DCPS1, no instruction, ERET.
        let exceptions = [0xd400_0001, 0xd400_0003, 0xd420_0000, 0xd440_0000, 0xd4a0_0001, 0, 0xd69f_03e0];
        all(Course::Raises, &exceptions);
        // B, B.EQ, CBZ, BR, BLR, RET, RETAA, HVC, hints, MSR and MRS of TPIDR_EL0, MSR DAIFSet, TLBI VMALLE1.
        let leaving = [
            0x1400_0001,
            0x5400_0020,
            0xb400_0020,
            0xd61f_0000,
            0xd63f_0000,
            0xd65f_03c0,
            0xd65f_0bff,
            0xd400_0002,
            NOP,
            0xd51b_d040,
            0xd53b_d040,
            0xd503_42df,
            0xd508_871f,
        ];
        all(Course::Leaves, &leaving);
        // ADD, DC ZVA, LDR, STP with writeback of SP, LDRAA, CAS, FADD.
        let going_on = [0x8b01_0000, 0xd50b_7420, 0xf940_0000, 0xa9bf_7bfd, 0xf820_0400, 0xc8a0_7c01, 0x1e61_2800];
        all(Course::GoesOn, &going_on);
    }
}
