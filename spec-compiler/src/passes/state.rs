//! Redundant accesses to guest state: a load of what was just loaded or stored takes the value, a store that is overwritten
//! before anyone can see it goes.
//!
//! Context elements are left alone: reading one is fixed at translation time and does not see stores of the same instruction.
//! Helpers that are not pure may read and write everything; memory accesses may leave the instruction, so that stores
//! before them must have happened, but they do not change the state.

use std::collections::HashMap;

use super::util::Subst;
use crate::model::Model;
use crate::ssa::{Body, Op, Region, StateId, Stmt, ValueId};

/// An element, with its index if it is an array.
type Place = (StateId, Option<ValueId>);

/// Returns whether anything changed.
pub fn run(model: &Model, body: &mut Body) -> bool {
    let mut pass = Pass { model, subst: Subst::new(body), changed: false };
    let mut root = std::mem::take(&mut body.root);
    pass.loads(body, &mut root, &mut HashMap::new());
    pass.stores(body, &mut root);
    body.root = root;
    pass.subst.apply(body);
    pass.changed
}

struct Pass<'a> {
    model: &'a Model,
    subst: Subst,
    changed: bool,
}

/// What an operation does to guest state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    /// May leave: everybody sees the state.
    Leaves,
    /// Reads and writes anything.
    Anything,
}

fn effect(model: &Model, op: &Op) -> Effect {
    match op {
        Op::Call(h) if model.helpers[h.index()].pure_ => Effect::None,
        Op::Call(_) | Op::SysregRead | Op::SysregWrite => Effect::Anything,
        Op::MemRead | Op::MemWrite | Op::MemAtomic | Op::MemCas | Op::Branch | Op::EndBlock => Effect::Leaves,
        _ => Effect::None,
    }
}

impl Pass<'_> {
    fn place(&self, body: &Body, v: ValueId) -> Option<Place> {
        let (Op::StateGet(s) | Op::StateSet(s)) = body[v].op else { return None };
        let element = &self.model.state[s.index()];
        if element.context {
            return None;
        }
        Some((s, element.count.is_some().then(|| self.subst.get(body[v].args[0]))))
    }

    fn forget_aliases(body: &Body, place: Place, known: &mut HashMap<Place, ValueId>) {
        known.retain(|&(s, index), _| {
            s != place.0
                || match (index, place.1) {
                    (Some(a), Some(b)) => matches!((&body[a].op, &body[b].op), (Op::Int(x), Op::Int(y)) if x != y),
                    _ => false,
                }
        });
    }

    fn loads(&mut self, body: &mut Body, r: &mut Region, known: &mut HashMap<Place, ValueId>) {
        let mut stmts = Vec::with_capacity(r.stmts.len());
        for mut stmt in std::mem::take(&mut r.stmts) {
            match &mut stmt {
                Stmt::Eval(v) => {
                    self.subst.value(body, *v);
                    let place = self.place(body, *v);
                    match (&body[*v].op, place) {
                        (Op::StateGet(_), Some(place)) => {
                            if let Some(&value) = known.get(&place) {
                                self.subst.replace(*v, value);
                                self.changed = true;
                                continue;
                            }
                            known.insert(place, *v);
                        }
                        (Op::StateSet(_), Some(place)) => {
                            Self::forget_aliases(body, place, known);
                            if let Some(&value) = body[*v].args.last() {
                                known.insert(place, value);
                            }
                        }
                        (op, _) => {
                            if effect(self.model, op) == Effect::Anything {
                                known.clear();
                            }
                        }
                    }
                }
                Stmt::If { cond, then, otherwise, results } => {
                    *cond = self.subst.get(*cond);
                    self.loads(body, then, &mut known.clone());
                    self.loads(body, otherwise, &mut known.clone());
                    for &r in results.iter() {
                        self.subst.value(body, r);
                    }
                    for arm in [&*then, &*otherwise] {
                        // A path that never returns changes nothing for what follows.
                        if !arm.diverges {
                            self.forget_changed(body, arm, known);
                        }
                    }
                }
                Stmt::For { lo, hi, body: inner, .. } => {
                    (*lo, *hi) = (self.subst.get(*lo), self.subst.get(*hi));
                    self.forget_changed(body, inner, known);
                    self.loads(body, inner, &mut known.clone());
                }
            }
            stmts.push(stmt);
        }
        r.stmts = stmts;
        self.subst.list(&mut r.results);
    }

    /// Forgets what a region may have stored.
    fn forget_changed(&self, body: &Body, r: &Region, known: &mut HashMap<Place, ValueId>) {
        for v in r.values() {
            if effect(self.model, &body[v].op) == Effect::Anything {
                known.clear();
            } else if let (Op::StateSet(_), Some(place)) = (&body[v].op, self.place(body, v)) {
                Self::forget_aliases(body, place, known);
            }
        }
    }

    /// Backwards: a store to a place that is stored again before anything can look.
    fn stores(&mut self, body: &Body, r: &mut Region) {
        let mut overwritten: Vec<Place> = Vec::new();
        let mut stmts = Vec::with_capacity(r.stmts.len());
        for mut stmt in std::mem::take(&mut r.stmts).into_iter().rev() {
            match &mut stmt {
                Stmt::Eval(v) => match (&body[*v].op, self.place(body, *v)) {
                    (Op::StateSet(_), Some(place)) => {
                        if overwritten.contains(&place) {
                            self.changed = true;
                            continue;
                        }
                        overwritten.push(place);
                    }
                    (Op::StateGet(_), Some(place)) => overwritten.retain(|p| p.0 != place.0),
                    (op, _) => {
                        if effect(self.model, op) != Effect::None {
                            overwritten.clear();
                        }
                    }
                },
                Stmt::If { then, otherwise, .. } => {
                    overwritten.clear();
                    self.stores(body, then);
                    self.stores(body, otherwise);
                }
                Stmt::For { body: inner, .. } => {
                    overwritten.clear();
                    self.stores(body, inner);
                }
            }
            stmts.push(stmt);
        }
        stmts.reverse();
        r.stmts = stmts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn forwards_and_drops() {
        let m = model();
        let mut b = Builder::new();
        let x = b.get(0, 64);
        b.set(1, x);
        let y = b.get(1, 64);
        let z = b.get(0, 64);
        let s = b.op(Op::Bin(crate::ssa::BinOp::Add), &[y, z], bits(64));
        b.set(1, s);
        let mut body = b.finish();
        assert!(run(&m, &mut body));
        let text = crate::print::body(&m, &body);
        assert_eq!(text, "v0: bits(64) ~ load a\nv4: bits(64) ~ add v0, v0\nstore b v4\n");
    }

    #[test]
    fn a_call_sees_everything() {
        let mut m = model();
        m.helpers[0].never = false;
        let mut b = Builder::new();
        let x = b.get(0, 64);
        b.set(1, x);
        b.op(Op::Call(crate::ssa::HelperId(0)), &[], crate::ssa::Ty::Unit);
        let y = b.get(0, 64);
        b.set(1, y);
        let mut body = b.finish();
        assert!(!run(&m, &mut body));
    }
}
