//! Joins accesses next to each other: one TLB probe then serves both.
//!
//! Two loads, or two stores, of one size whose addresses differ by it and that have only pure operations between them, in
//! one guest instruction, become one operation at the place of the second. (Code for pairs of registers has them all over.)

use super::ir::{Code, Ir, NO_RESULT, Op, Val};
use crate::emit::Access;

/// How far to look for the second access.
const REACH: usize = 10;

/// An address as a value and an offset to it.
pub(super) fn parts(ir: &Ir, v: Val) -> (Val, u64) {
    let op = ir.op(v);
    match (op.code, ir.konst(op.vb())) {
        (Code::Const, _) => (Val::NONE, op.imm),
        (Code::Add, Some(k)) if op.w == 64 => (op.va(), k),
        _ => (v, 0),
    }
}

fn plain(op: &Op) -> bool {
    let acc = Access::from_bits_truncate(op.aux);
    op.imm >= 4 && (Access::UNPRIV | Access::STACK).contains(acc)
}

/// The index of an access that can be joined with the one at `i`.
fn partner(ir: &Ir, i: usize) -> Option<usize> {
    let first = ir.ops[i];
    let (base, offset) = parts(ir, first.va());
    for (j, op) in ir.ops.iter().enumerate().skip(i + 1).take(REACH) {
        if op.code == first.code {
            let next = (base, offset.wrapping_add(first.imm));
            let fits = op.imm == first.imm && op.aux == first.aux && op.a != i as u32 && parts(ir, op.va()) == next;
            return if fits { Some(j) } else { None };
        }
        let uses_first =
            first.code == Code::Load && [op.a, op.b, op.c].iter().take(op.operands()).any(|v| *v == i as u32);
        if !op.removable() || uses_first {
            return None;
        }
    }
    None
}

/// Joins what can be joined in the whole block.
pub(super) fn join_pairs(ir: &mut Ir) {
    // Without another access behind it none has a partner.
    let candidates = ir.accesses.len().saturating_sub(1);
    for k in 0..candidates {
        let i = ir.accesses[k] as usize;
        let Some(first) = ir.ops.get(i).copied() else { continue };
        if !matches!(first.code, Code::Load | Code::Store) || !plain(&first) {
            continue;
        }
        let Some(j) = partner(ir, i) else { continue };
        let second = ir.ops[j];
        if first.code == Code::Load {
            ir.ops[i] = Op::new(Code::LoadHalf, u32::from(first.w));
            ir.ops[j] = Op { code: Code::LoadPair, a: first.a, b: i as u32, ..second };
        } else {
            ir.ops[i] = Op::new(Code::Nop, u32::from(NO_RESULT));
            ir.ops[j] = Op { code: Code::StorePair, a: first.a, b: first.b, c: second.b, ..second };
        }
    }
}
