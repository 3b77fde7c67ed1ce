//! Jump threading on known conditions: inside an arm its condition is known, after an arm that never returns so is the
//! opposite, and two `if`s on one condition in a row are one.

use std::collections::HashMap;

use super::util::mentions;
use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, ValueId};

/// Returns whether anything changed.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let mut changed = merge(&mut root);
    let mut known = HashMap::new();
    changed |= region(body, &mut root, &mut known);
    body.root = root;
    changed
}

/// Joins neighbouring `if`s on the same value.
fn merge(r: &mut Region) -> bool {
    let mut changed = false;
    let mut stmts: Vec<Stmt> = Vec::with_capacity(r.stmts.len());
    for mut stmt in std::mem::take(&mut r.stmts) {
        match &mut stmt {
            Stmt::Eval(_) => {}
            Stmt::If { then, otherwise, .. } => {
                changed |= merge(then);
                changed |= merge(otherwise);
            }
            Stmt::For { body: inner, .. } => changed |= merge(inner),
        }
        let previous = match (stmts.last_mut(), &stmt) {
            (
                Some(Stmt::If { cond, then, otherwise, results }),
                Stmt::If { cond: c, then: t, otherwise: o, results: later },
            ) if cond == c => {
                // Results of the first that the second mentions would have to be renamed per arm.
                let free = results.is_empty() && !then.diverges && !otherwise.diverges;
                free.then_some((then, otherwise, results, t.clone(), o.clone(), later.clone()))
            }
            _ => None,
        };
        if let Some((then, otherwise, results, t, o, later)) = previous {
            for (into, from) in [(then, t), (otherwise, o)] {
                into.stmts.extend(from.stmts);
                into.results = from.results;
                into.diverges = from.diverges;
            }
            *results = later;
            changed = true;
        } else {
            stmts.push(stmt);
        }
    }
    r.stmts = stmts;
    changed
}

/// What stands for a known condition: the constant, as a new value at the head of the arm.
fn assume(body: &mut Body, arm: &mut Region, truth: bool, cond: ValueId, known: &mut HashMap<ValueId, ValueId>) {
    let span = body[cond].span;
    let v = body.value(Op::Bool(truth), Vec::new(), Ty::Bool, Time::Fixed, span);
    arm.stmts.insert(0, Stmt::Eval(v));
    known.insert(cond, v);
}

fn region(body: &mut Body, r: &mut Region, known: &mut HashMap<ValueId, ValueId>) -> bool {
    let mut changed = false;
    let replace = |v: &mut ValueId, known: &HashMap<ValueId, ValueId>| {
        if let Some(&k) = known.get(v) {
            *v = k;
            return true;
        }
        false
    };
    let mut stmts = Vec::with_capacity(r.stmts.len());
    for mut stmt in std::mem::take(&mut r.stmts) {
        let mut after = None;
        match &mut stmt {
            Stmt::Eval(v) => {
                for a in &mut body[*v].args {
                    changed |= replace(a, known);
                }
            }
            Stmt::If { cond, then, otherwise, .. } => {
                changed |= replace(cond, known);
                for (arm, truth) in [(&mut *then, true), (&mut *otherwise, false)] {
                    let mut inside = known.clone();
                    if mentions(body, arm, *cond) {
                        assume(body, arm, truth, *cond, &mut inside);
                    }
                    changed |= region(body, arm, &mut inside);
                }
                if then.diverges != otherwise.diverges && !matches!(body[*cond].op, Op::Bool(_)) {
                    after = Some((*cond, otherwise.diverges));
                }
            }
            Stmt::For { body: inner, .. } => changed |= region(body, inner, &mut known.clone()),
        }
        stmts.push(stmt);
        if let Some((cond, truth)) = after {
            let span = body[cond].span;
            let v = body.value(Op::Bool(truth), Vec::new(), Ty::Bool, Time::Fixed, span);
            stmts.push(Stmt::Eval(v));
            known.insert(cond, v);
        }
    }
    r.stmts = stmts;
    for v in &mut r.results {
        changed |= replace(v, known);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::CmpOp;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn a_condition_is_known_in_its_arms() {
        let m = model();
        let mut b = Builder::new();
        let a = b.get(0, 64);
        let z = b.konst(64, 0);
        let c = b.op(Op::Cmp(CmpOp::Eq), &[a, z], Ty::Bool);
        b.if_(
            c,
            &[],
            |b| {
                let r = b.if_(c, &[bits(64)], |b| vec![b.konst(64, 1)], |b| vec![b.konst(64, 2)])[0];
                b.set(1, r);
                Vec::new()
            },
            |_| Vec::new(),
        );
        let mut body = b.finish();
        assert!(run(&m, &mut body));
        crate::passes::fold::run(&m, &mut body);
        crate::passes::dead::run(&m, &mut body, &[]);
        let text = crate::print::body(&m, &body);
        assert_eq!(text.matches("if ").count(), 1, "{text}");
        assert!(text.contains("0x1") && !text.contains("0x2"), "{text}");
    }
}
