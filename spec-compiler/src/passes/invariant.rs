//! Loop-invariant code motion: what does not depend on a `for`'s index or on what its body changes is computed before it.
//!
//! Loops are unrolled when the instruction is translated, so that an operation in one is recorded once per turn, and the
//! translator has to find out each time that the turns have it in common.

use std::collections::HashSet;

use super::dead::has_effect;
use super::util::is_constant;
use crate::model::Model;
use crate::ssa::{Body, Op, Region, StateId, Stmt, Ty, ValueId, Width};

/// Returns whether anything changed.
pub fn run(model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let changed = region(model, body, &mut root);
    body.root = root;
    changed
}

fn region(model: &Model, body: &Body, r: &mut Region) -> bool {
    let mut changed = false;
    let mut stmts = Vec::with_capacity(r.stmts.len());
    for mut stmt in std::mem::take(&mut r.stmts) {
        match &mut stmt {
            Stmt::Eval(_) => {}
            Stmt::If { then, otherwise, .. } => {
                changed |= region(model, body, then);
                changed |= region(model, body, otherwise);
            }
            Stmt::For { index, body: inner, .. } => {
                changed |= region(model, body, inner);
                let before = stmts.len();
                hoist(model, body, *index, inner, &mut stmts);
                changed |= stmts.len() > before;
            }
        }
        stmts.push(stmt);
    }
    r.stmts = stmts;
    changed
}

/// Moves invariant statements of a loop's body to `out`.
fn hoist(model: &Model, body: &Body, index: ValueId, inner: &mut Region, out: &mut Vec<Stmt>) {
    let mut varying = HashSet::from([index]);
    defined(inner, &mut varying);
    let changes = Changes::of(model, body, inner);
    inner.stmts.retain(|stmt| {
        let Stmt::Eval(v) = *stmt else { return true };
        let data = &body[v];
        let width = match data.ty {
            Ty::Bits(Width::Value(w)) => Some(w),
            _ => None,
        };
        let stays = data.args.iter().chain(&width).any(|a| varying.contains(a)) || !movable(model, &data.op, &changes);
        if !stays {
            varying.remove(&v);
            out.push(stmt.clone());
        }
        stays
    });
}

/// All values that a region defines.
fn defined(r: &Region, into: &mut HashSet<ValueId>) {
    for stmt in r.statements() {
        match stmt {
            Stmt::Eval(v) => _ = into.insert(*v),
            Stmt::If { results, .. } => into.extend(results),
            Stmt::For { index, .. } => _ = into.insert(*index),
        }
    }
}

/// What guest state a loop may change.
enum Changes {
    Anything,
    Elements(HashSet<StateId>),
}

impl Changes {
    fn of(model: &Model, body: &Body, r: &Region) -> Self {
        let mut elements = HashSet::new();
        let mut anything = false;
        for v in r.values() {
            match body[v].op {
                Op::StateSet(s) => {
                    elements.insert(s);
                }
                Op::Call(h) => anything |= !model.helpers[h.index()].pure_,
                Op::SysregRead | Op::SysregWrite => anything = true,
                _ => {}
            }
        }
        if anything { Self::Anything } else { Self::Elements(elements) }
    }
}

/// Whether the operation may be performed before the loop, even if that has no turn. Fixed computations stay, because they
/// cost nothing once translated and may not be defined for operands that the loop would never have seen.
fn movable(model: &Model, op: &Op, changes: &Changes) -> bool {
    match op {
        Op::StateGet(s) => {
            model.state[s.index()].context || matches!(changes, Changes::Elements(set) if !set.contains(s))
        }
        Op::Un(_) | Op::Bin(_) | Op::Cmp(_) | Op::Zext | Op::Sext | Op::Extract | Op::Concat | Op::Select => true,
        Op::ShlInt | Op::ShrInt | Op::SarInt | Op::RorInt | Op::Lane | Op::Splat => true,
        Op::VBin(_) | Op::VTern(_) | Op::VShift(_) => true,
        Op::BitToBool | Op::BoolToBit | Op::BoolNot | Op::BoolAnd | Op::BoolOr | Op::BoolEq => true,
        Op::Field(_) | Op::ToInt => true,
        op => is_constant(op) && !has_effect(model, op),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::BinOp;
    use crate::testing::{Builder, bits, model};

    /// A loop that stores to `b`, or to `a` as well, and computes `a + a` in every turn.
    fn sample(changes_a: bool) -> Body {
        let mut b = Builder::new();
        let (lo, hi) = (b.int(0), b.int(4));
        let start = b.konst(64, 0);
        let sum = b.var("sum", bits(64), start);
        b.for_(lo, hi, |b, _| {
            let a = b.get(0, 64);
            let twice = b.op(Op::Bin(BinOp::Add), &[a, a], bits(64));
            let so_far = b.read(sum);
            let next = b.op(Op::Bin(BinOp::Xor), &[so_far, twice], bits(64));
            b.assign(sum, next);
            b.set(u32::from(!changes_a), next);
        });
        let mut body = b.finish();
        crate::passes::times::infer(&model(), &mut body);
        body
    }

    #[test]
    fn what_all_turns_compute_is_computed_once() {
        let m = model();
        let mut body = sample(false);
        assert!(run(&m, &mut body));
        crate::verify::verify(&m, &body).expect("well formed");
        let text = crate::print::body(&m, &body);
        let (before, inside) = text.split_once("for ").expect("the loop is there");
        assert!(before.contains("load a") && before.contains("add") && !inside.contains("add"), "{text}");
        assert!(inside.contains("xor"), "{text}");
        assert!(!run(&m, &mut body));
    }

    #[test]
    fn state_that_the_loop_changes_is_read_in_it() {
        let m = model();
        let mut body = sample(true);
        run(&m, &mut body);
        let text = crate::print::body(&m, &body);
        let (before, inside) = text.split_once("for ").expect("the loop is there");
        assert!(inside.contains("load a") && inside.contains("add") && !before.contains("add"), "{text}");
    }
}
