//! Simplification of control flow: results that are the same in both arms, `if`s that only choose between true and false, code
//! after a path that never returns, arms that do the same to the same condition one after the other.

use super::util::Subst;
use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Ty};

/// Returns whether anything changed.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let mut subst = Subst::new(body);
    let changed = region(body, &mut root, &mut subst);
    body.root = root;
    subst.apply(body);
    changed
}

fn region(body: &mut Body, r: &mut Region, subst: &mut Subst) -> bool {
    let mut changed = false;
    let mut stmts: Vec<Stmt> = Vec::with_capacity(r.stmts.len());
    let mut ended = false;
    for mut stmt in std::mem::take(&mut r.stmts) {
        if ended {
            changed = true;
            break;
        }
        match &mut stmt {
            Stmt::Eval(_) => {}
            Stmt::If { cond, then, otherwise, results } => {
                changed |= region(body, then, subst);
                changed |= region(body, otherwise, subst);
                ended = then.diverges && otherwise.diverges;
                let mut i = 0;
                while i < results.len() {
                    let same = match (then.diverges, otherwise.diverges) {
                        // One arm's values need not dominate what follows: only shared ones are results.
                        (false, false) => {
                            let (a, b) = (subst.get(then.results[i]), subst.get(otherwise.results[i]));
                            let constants = (&body[a].op, &body[b].op);
                            if a == b {
                                Some(a)
                            } else if body[results[i]].ty == Ty::Bool
                                && constants == (&Op::Bool(true), &Op::Bool(false))
                            {
                                Some(*cond)
                            } else {
                                None
                            }
                        }
                        _ => None,
                    };
                    if let Some(v) = same {
                        subst.replace(results[i], v);
                        results.remove(i);
                        then.results.remove(i);
                        otherwise.results.remove(i);
                        changed = true;
                    } else {
                        i += 1;
                    }
                }
            }
            Stmt::For { body: inner, .. } => changed |= region(body, inner, subst),
        }
        stmts.push(stmt);
    }
    r.stmts = stmts;
    if ended && !r.diverges {
        r.diverges = true;
        r.results.clear();
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::CmpOp;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn equal_results_need_no_if() {
        let m = model();
        let mut b = Builder::new();
        let a = b.get(0, 64);
        let z = b.konst(64, 0);
        let c = b.op(Op::Cmp(CmpOp::Eq), &[a, z], Ty::Bool);
        let r = b.if_(c, &[bits(64)], |_| vec![a], |_| vec![a])[0];
        b.set(1, r);
        let mut body = b.finish();
        assert!(run(&m, &mut body));
        crate::passes::dead::run(&m, &mut body, &[]);
        assert_eq!(crate::print::body(&m, &body), "v0: bits(64) ~ load a\nstore b v0\n");
    }
}
