//! Cheaper operations: changes of width that cancel or combine, arithmetic by powers of two, comparisons of one bit.

use crate::model::Model;
use crate::passes::times::const_width;
use crate::ssa::{BinOp, Body, CmpOp, Op, Region, Stmt, Time, Ty, ValueId, Width};

/// Returns whether anything changed.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let changed = region(body, &mut root);
    body.root = root;
    changed
}

fn region(body: &mut Body, r: &mut Region) -> bool {
    let mut changed = false;
    let mut stmts = Vec::with_capacity(r.stmts.len());
    for mut stmt in std::mem::take(&mut r.stmts) {
        match &mut stmt {
            Stmt::Eval(v) => changed |= reduce(body, *v, &mut stmts),
            Stmt::If { then, otherwise, .. } => {
                changed |= region(body, then);
                changed |= region(body, otherwise);
            }
            Stmt::For { body: inner, .. } => changed |= region(body, inner),
        }
        stmts.push(stmt);
    }
    r.stmts = stmts;
    changed
}

fn bits_of(body: &Body, v: ValueId) -> Option<u128> {
    match body[v].op {
        Op::Bits(v) => Some(v),
        _ => None,
    }
}

fn int_of(body: &Body, v: ValueId) -> Option<i64> {
    match body[v].op {
        Op::Int(v) => Some(v),
        _ => None,
    }
}

fn set(body: &mut Body, v: ValueId, op: Op, args: Vec<ValueId>) -> bool {
    body[v].op = op;
    body[v].args = args;
    true
}

/// A new fixed `int` before the current statement.
fn new_int(body: &mut Body, like: ValueId, i: i64, out: &mut Vec<Stmt>) -> ValueId {
    let span = body[like].span;
    let v = body.value(Op::Int(i), Vec::new(), Ty::Int, Time::Fixed, span);
    out.push(Stmt::Eval(v));
    v
}

fn reduce(body: &mut Body, v: ValueId, out: &mut Vec<Stmt>) -> bool {
    let op = body[v].op.clone();
    let args = body[v].args.clone();
    let ty = body[v].ty;
    let width = |body: &Body, v: ValueId| const_width(body[v].ty);
    match op {
        // zext(zext(x)), sext(sext(x))
        Op::Zext | Op::Sext if body[args[0]].op == op => {
            let x = body[args[0]].args[0];
            set(body, v, op, vec![x])
        }
        // trunc(zext(x)) and trunc(sext(x))
        Op::Extract if matches!(body[args[0]].op, Op::Zext | Op::Sext) && int_of(body, args[1]) == Some(0) => {
            let extend = body[args[0]].op.clone();
            let x = body[args[0]].args[0];
            if body[x].ty == ty {
                // Equal widths: an extension to the same width is the value itself.
                return set(body, v, Op::Zext, vec![x]);
            }
            match (width(body, x), const_width(ty)) {
                (Some(from), Some(to)) if to < from => set(body, v, Op::Extract, vec![x, args[1]]),
                (Some(from), Some(to)) if to > from => set(body, v, extend, vec![x]),
                _ => false,
            }
        }
        // Bits of bits.
        Op::Extract if body[args[0]].op == Op::Extract => {
            let (x, inner_lo) = (body[args[0]].args[0], body[args[0]].args[1]);
            match (int_of(body, inner_lo), int_of(body, args[1])) {
                (Some(a), Some(b)) => {
                    let lo = new_int(body, v, a + b, out);
                    set(body, v, Op::Extract, vec![x, lo])
                }
                _ => false,
            }
        }
        // One side of a concatenation.
        Op::Extract if body[args[0]].op == Op::Concat => {
            let (hi, lo) = (body[args[0]].args[0], body[args[0]].args[1]);
            match (width(body, lo), int_of(body, args[1]), const_width(ty)) {
                (Some(n), Some(from), Some(len)) if from >= 0 && from + i64::from(len) <= i64::from(n) => {
                    set(body, v, Op::Extract, vec![lo, args[1]])
                }
                (Some(n), Some(from), Some(_)) if from >= i64::from(n) => {
                    let from = new_int(body, v, from - i64::from(n), out);
                    set(body, v, Op::Extract, vec![hi, from])
                }
                _ => false,
            }
        }
        // A one-bit value compared with a constant is itself.
        Op::Cmp(CmpOp::Ne) if body[args[0]].ty == Ty::Bits(Width::Const(1)) && bits_of(body, args[1]) == Some(0) => {
            set(body, v, Op::BitToBool, vec![args[0]])
        }
        Op::Cmp(CmpOp::Eq) if body[args[0]].ty == Ty::Bits(Width::Const(1)) && bits_of(body, args[1]) == Some(1) => {
            set(body, v, Op::BitToBool, vec![args[0]])
        }
        Op::Bin(op @ (BinOp::Mul | BinOp::UDiv)) => {
            let Some(c) = bits_of(body, args[1]).filter(|c| c.is_power_of_two() && *c > 1) else { return false };
            let k = new_int(body, v, i64::from(c.trailing_zeros()), out);
            let shift = if op == BinOp::Mul { Op::ShlInt } else { Op::ShrInt };
            set(body, v, shift, vec![args[0], k])
        }
        // A shift by a constant that was given as bits.
        Op::Bin(op @ (BinOp::Shl | BinOp::Shr | BinOp::Sar | BinOp::Ror)) => {
            let (Some(c), Some(n)) = (bits_of(body, args[1]), const_width(ty)) else { return false };
            let k = new_int(body, v, crate::fixed::amount(n, c), out);
            let shift = match op {
                BinOp::Shl => Op::ShlInt,
                BinOp::Shr => Op::ShrInt,
                BinOp::Sar => Op::SarInt,
                _ => Op::RorInt,
            };
            set(body, v, shift, vec![args[0], k])
        }
        Op::Bin(BinOp::Xor | BinOp::Sub) if args[0] == args[1] => set(body, v, Op::Bits(0), Vec::new()),
        // A concatenation below zeros.
        Op::Concat if bits_of(body, args[0]) == Some(0) => set(body, v, Op::Zext, vec![args[1]]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn width_changes_cancel() {
        let m = model();
        let mut b = Builder::new();
        let x = b.get(0, 32);
        let zero = b.int(0);
        let wide = b.op(Op::Zext, &[x], bits(64));
        let low = b.op(Op::Extract, &[wide, zero], bits(32));
        b.set(1, low);
        let mut body = b.finish();
        assert!(run(&m, &mut body));
        crate::passes::fold::run(&m, &mut body);
        crate::passes::dead::run(&m, &mut body, &[]);
        assert_eq!(crate::print::body(&m, &body), "v0: bits(32) ~ load a\nstore b v0\n");
    }
}
