//! Variables to values: reads become the value last assigned, and where arms of an `if` disagree the `if` gets a result.
//!
//! Variables assigned in a loop that does not contain all their uses stay: structured SSA has no loop-carried results.

use std::collections::{HashMap, HashSet};

use super::util::{Subst, sets};
use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, ValueId, VarId};

type Env = HashMap<VarId, ValueId>;

/// Returns whether anything changed.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let mut kept = HashSet::new();
    loop_carried(body, &root, &mut HashSet::new(), &mut kept);
    let mut p = Promote { subst: Subst::new(body), kept, changed: false };
    let mut env = Env::new();
    p.region(body, &mut root, &mut env);
    body.root = root;
    p.subst.apply(body);
    p.changed
}

/// Finds variables that are set in a loop and mentioned before it.
fn loop_carried(body: &Body, region: &Region, seen: &mut HashSet<VarId>, kept: &mut HashSet<VarId>) {
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                if let Op::VarSet(var) | Op::VarGet(var) = body[*v].op {
                    seen.insert(var);
                }
            }
            Stmt::If { then, otherwise, .. } => {
                loop_carried(body, then, seen, kept);
                loop_carried(body, otherwise, seen, kept);
            }
            Stmt::For { body: inner, .. } => {
                kept.extend(sets(body, inner.values()).into_iter().filter(|v| seen.contains(v)));
                loop_carried(body, inner, seen, kept);
                for v in inner.values() {
                    if let Op::VarSet(var) | Op::VarGet(var) = body[v].op {
                        seen.insert(var);
                    }
                }
            }
        }
    }
}

struct Promote {
    subst: Subst,
    kept: HashSet<VarId>,
    changed: bool,
}

impl Promote {
    fn region(&mut self, body: &mut Body, region: &mut Region, env: &mut Env) {
        let mut stmts = Vec::with_capacity(region.stmts.len());
        for stmt in std::mem::take(&mut region.stmts) {
            match stmt {
                Stmt::Eval(v) => match body[v].op {
                    Op::VarSet(var) if !self.kept.contains(&var) => {
                        env.insert(var, self.subst.get(body[v].args[0]));
                        self.changed = true;
                    }
                    Op::VarGet(var) if env.contains_key(&var) => {
                        self.subst.replace(v, env[&var]);
                        self.changed = true;
                    }
                    _ => stmts.push(Stmt::Eval(v)),
                },
                Stmt::If { cond, mut then, mut otherwise, mut results } => {
                    let (mut a, mut b) = (env.clone(), env.clone());
                    self.region(body, &mut then, &mut a);
                    self.region(body, &mut otherwise, &mut b);
                    if then.diverges {
                        *env = keep_known(env, &b);
                    } else if otherwise.diverges {
                        *env = keep_known(env, &a);
                    } else {
                        let mut vars: Vec<VarId> = env.keys().copied().collect();
                        vars.sort_unstable();
                        for var in vars {
                            let (x, y) = (self.subst.get(a[&var]), self.subst.get(b[&var]));
                            if x == y {
                                env.insert(var, x);
                                continue;
                            }
                            let data = &body.vars[var.index()];
                            let (ty, time, name) = (data.ty, data.time, data.name.clone());
                            let r = body.value(Op::IfResult, Vec::new(), ty, time, body[x].span);
                            body[r].name = Some(name);
                            then.results.push(x);
                            otherwise.results.push(y);
                            results.push(r);
                            env.insert(var, r);
                        }
                    }
                    stmts.push(Stmt::If { cond, then, otherwise, results });
                }
                Stmt::For { index, lo, hi, body: mut inner } => {
                    let mut own = env.clone();
                    self.region(body, &mut inner, &mut own);
                    stmts.push(Stmt::For { index, lo, hi, body: inner });
                }
            }
        }
        region.stmts = stmts;
    }
}

/// What the variables of `env` are in the arm that goes on. (When that arm's path diverged too, nothing follows.)
fn keep_known(env: &Env, arm: &Env) -> Env {
    env.keys().map(|&var| (var, arm[&var])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::{CmpOp, Ty};
    use crate::testing::{Builder, bits, model};

    #[test]
    fn an_if_gets_a_result() {
        let m = model();
        let mut b = Builder::new();
        let a = b.get(0, 64);
        let z = b.konst(64, 0);
        let c = b.op(Op::Cmp(CmpOp::Eq), &[a, z], Ty::Bool);
        let var = b.var("x", bits(64), a);
        b.if_(
            c,
            &[],
            |b| {
                let one = b.konst(64, 1);
                b.assign(var, one);
                Vec::new()
            },
            |_| Vec::new(),
        );
        let x = b.read(var);
        b.set(1, x);
        let mut body = b.finish();
        assert!(run(&m, &mut body));
        crate::verify::verify(&m, &body).expect("well formed");
        let text = crate::print::body(&m, &body);
        assert!(text.contains("-> v4") && text.contains("-> v0") && !text.contains("set x"), "{text}");
    }

    #[test]
    fn loop_carried_variables_stay() {
        let m = model();
        let mut b = Builder::new();
        let a = b.get(0, 64);
        let var = b.var("x", bits(64), a);
        let (lo, hi) = (b.int(0), b.int(3));
        b.for_(lo, hi, |b, i| {
            let x = b.read(var);
            let y = b.op(Op::ShlInt, &[x, i], bits(64));
            b.assign(var, y);
        });
        let mut body = b.finish();
        assert!(!run(&m, &mut body));
    }
}
