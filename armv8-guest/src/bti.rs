//! Branch target identification (FEAT_BTI): what an indirect branch to a guarded page may lead to.
//!
//! The engine asks once for every kind of branch to a place on a guarded page ([`x86_backend::guest::Guest::arrive`]). Where that
//! may lead there nothing else is to do. Where it may not, or where an exception will save PSTATE.BTYPE, BTYPE goes into the
//! state and so into the context word: the instruction is translated for it. So branches don't keep BTYPE. What that leaves out is
//! SPSR_EL1.BTYPE, which reads as zero, in an exception of an instruction reached by an indirect branch on a page that isn't
//! guarded, and in an interrupt right before a landing pad; neither is ever checked when it is returned to.

use crate::isa::{self, State, ctx, helper};
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
    let passes = |word| may_land(word, btype.into(), state.bti_strict != 0) && !is_trap(word);
    if !word.is_some_and(passes) {
        state.btype = btype;
    }
}

/// BRK and HLT: their exceptions save BTYPE.
fn is_trap(word: u32) -> bool {
    const BRK: u32 = 0xd420_0000;
    const HLT: u32 = 0xd440_0000;
    matches!(word & 0xffe0_001f, BRK | HLT)
}

/// Whether an instruction may be reached with that BTYPE, which is not zero, in a guarded page. `strict`: SCTLR_EL1.BT0 or BT1.
#[must_use]
pub fn may_land(word: u32, btype: u64, strict: bool) -> bool {
    const HINT: u32 = 0xd503_201f;
    /// Hint numbers of PACIASP and PACIBSP; BTI's has its targets, c and j, in bits 1 and 2.
    const PACIASP: u32 = 25;
    const PACIBSP: u32 = 27;
    const BTI: u32 = 32;
    let (call, jump) = (btype != 0b11, btype != 0b10);
    match (word & 0xffff_f01f, word >> 5 & 0x7f) {
        (HINT, PACIASP | PACIBSP) => call || !strict,
        (HINT, hint) if hint & !6 == BTI => (hint & 2 != 0 && call) || (hint & 4 != 0 && jump),
        _ => is_trap(word),
    }
}

/// What an instruction does to BTYPE on its way.
enum Clears {
    /// Nothing: its exception saves it.
    Never,
    /// It can't fault, but may leave the block.
    Before,
    After,
}

fn clears(word: u32) -> Clears {
    const EXCEPTIONS: u32 = 0xd400_0000;
    const HVC: u32 = 0xd400_0002;
    let branch_or_system = word & 0x1c00_0000 == 0x1400_0000;
    if word & 0xff00_0000 == EXCEPTIONS && word & 0xffe0_001f != HVC || isa::decode(word).is_none() {
        Clears::Never
    } else if branch_or_system {
        Clears::Before
    } else {
        Clears::After
    }
}

/// Emits an instruction that is reached with BTYPE in the context: the check, and the instruction, after which BTYPE is zero.
///
/// # Errors
/// Control leaves.
pub fn landing<B: Emit>(b: &mut B, word: u32, pc: u64, context: u64) -> Result<(), Stop> {
    if ctx::guarded(context) != 0 && !may_land(word, ctx::btype(context), ctx::bti_strict(context) != 0) {
        b.call(helper::RAISE_BRANCH_TARGET, &[])?;
    }
    let slot = Slot { offset: offset_of!(State, btype) as u32, width: 2, is_flags: false };
    let clear = |b: &mut B| {
        let none = b.konst(2, 0);
        b.put(slot, none);
    };
    let usual = settled(context);
    match clears(word) {
        Clears::Never => isa::translate(b, word, pc, usual),
        Clears::Before => {
            clear(b);
            isa::translate(b, word, pc, usual)
        }
        Clears::After => {
            isa::translate(b, word, pc, usual)?;
            clear(b);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landing_pads() {
        const NOP: u32 = 0xd503_201f;
        let hint = |n: u32| NOP | n << 5;
        // By BTYPE 1, 2 and 3.
        let lands = |word: u32, strict: bool| [1, 2, 3].map(|btype| may_land(word, btype, strict));
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
}
