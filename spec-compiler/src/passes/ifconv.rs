//! If-conversion: a dynamic `if` whose arms only compute a few values becomes those computations and selects.

use super::dead::has_effect;
use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty};

/// More operations than this in both arms together are not worth performing needlessly.
const LIMIT: usize = 12;

/// Returns whether anything changed. Needs up-to-date times.
pub fn run(model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let changed = region(model, body, &mut root);
    body.root = root;
    changed
}

fn region(model: &Model, body: &mut Body, r: &mut Region) -> bool {
    let mut changed = false;
    let mut stmts = Vec::with_capacity(r.stmts.len());
    for stmt in std::mem::take(&mut r.stmts) {
        match stmt {
            Stmt::If { cond, mut then, mut otherwise, results } => {
                changed |= region(model, body, &mut then);
                changed |= region(model, body, &mut otherwise);
                let dynamic = body[cond].time == Time::Dynamic;
                if !dynamic || results.is_empty() || !speculable(model, body, &then, &otherwise) {
                    stmts.push(Stmt::If { cond, then, otherwise, results });
                    continue;
                }
                changed = true;
                stmts.extend(then.stmts);
                stmts.extend(otherwise.stmts);
                for ((result, a), b) in results.into_iter().zip(then.results).zip(otherwise.results) {
                    let data = &mut body[result];
                    data.op = Op::Select;
                    data.args = vec![cond, a, b];
                    stmts.push(Stmt::Eval(result));
                }
            }
            Stmt::For { index, lo, hi, body: mut inner } => {
                changed |= region(model, body, &mut inner);
                stmts.push(Stmt::For { index, lo, hi, body: inner });
            }
            eval => stmts.push(eval),
        }
    }
    r.stmts = stmts;
    changed
}

fn speculable(model: &Model, body: &Body, then: &Region, otherwise: &Region) -> bool {
    let mut count = 0;
    let mut pure_ = true;
    for arm in [then, otherwise] {
        pure_ &= !diverges(arm);
        pure_ &= arm.results.iter().all(|&r| body[r].ty != Ty::Int);
        for v in arm.values() {
            let op = &body[v].op;
            if body[v].time == Time::Dynamic {
                count += 1;
            }
            pure_ &= !has_effect(model, op) && !matches!(op, Op::VarGet(_) | Op::Call(_));
        }
    }
    pure_ && count <= LIMIT
}

fn diverges(r: &Region) -> bool {
    r.diverges
        || r.stmts.iter().any(|s| match s {
            Stmt::If { then, otherwise, .. } => diverges(then) || diverges(otherwise),
            Stmt::For { body, .. } => diverges(body),
            Stmt::Eval(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::{CmpOp, UnOp};
    use crate::testing::{Builder, bits, model};

    fn sample(effect: bool) -> Body {
        let mut b = Builder::new();
        let a = b.get(0, 64);
        let z = b.konst(64, 0);
        let c = b.op(Op::Cmp(CmpOp::Eq), &[a, z], Ty::Bool);
        let r = b.if_(
            c,
            &[bits(64)],
            |b| {
                if effect {
                    b.set(1, a);
                }
                vec![b.op(Op::Un(UnOp::Neg), &[a], bits(64))]
            },
            |_| vec![a],
        )[0];
        b.set(1, r);
        b.finish()
    }

    #[test]
    fn pure_arms_become_a_select() {
        let m = model();
        let mut body = sample(false);
        crate::passes::times::infer(&m, &mut body);
        assert!(run(&m, &mut body));
        assert!(crate::print::body(&m, &body).contains("select v2, v3, v0"));
        let mut body = sample(true);
        crate::passes::times::infer(&m, &mut body);
        assert!(!run(&m, &mut body));
    }
}
