//! Value numbering: a pure operation that has been performed on the same operands is not performed again.
//!
//! With `across` the operations of enclosing regions count too (they dominate), not only those of the same region.

use std::collections::HashMap;

use super::dead::has_effect;
use super::util::Subst;
use crate::model::Model;
use crate::ssa::{BinOp, Body, CmpOp, Op, Region, Stmt, Ty, ValueId};

type Key = (Op, Vec<ValueId>, Ty);

/// Returns whether anything changed.
pub fn run(model: &Model, body: &mut Body, across: bool) -> bool {
    let mut cse = Cse { model, subst: Subst::new(body), across };
    let mut root = std::mem::take(&mut body.root);
    cse.region(body, &mut root, &HashMap::new());
    body.root = root;
    cse.subst.vars(body);
    !cse.subst.is_empty()
}

struct Cse<'a> {
    model: &'a Model,
    subst: Subst,
    across: bool,
}

fn commutative(op: &Op) -> bool {
    matches!(
        op,
        Op::IntAdd
            | Op::IntMul
            | Op::IntAnd
            | Op::IntOr
            | Op::IntXor
            | Op::IntMin
            | Op::IntMax
            | Op::IntEq
            | Op::BoolAnd
            | Op::BoolOr
            | Op::BoolEq
            | Op::Bin(BinOp::Add | BinOp::Mul | BinOp::UMulHi | BinOp::SMulHi | BinOp::And | BinOp::Or | BinOp::Xor)
            | Op::Cmp(CmpOp::Eq | CmpOp::Ne)
    )
}

impl Cse<'_> {
    fn region(&mut self, body: &mut Body, region: &mut Region, outer: &HashMap<Key, ValueId>) {
        let mut known = if self.across { outer.clone() } else { HashMap::new() };
        let mut stmts = Vec::with_capacity(region.stmts.len());
        for stmt in std::mem::take(&mut region.stmts) {
            match stmt {
                Stmt::Eval(v) => {
                    self.subst.value(body, v);
                    let data = &body[v];
                    let context = matches!(data.op, Op::StateGet(s) if self.model.state[s.index()].context);
                    let pure_ = !has_effect(self.model, &data.op)
                        && !matches!(data.op, Op::VarGet(_) | Op::Call(_))
                        && (context || !matches!(data.op, Op::StateGet(_)));
                    if pure_ {
                        let mut args = data.args.clone();
                        if commutative(&data.op) {
                            args.sort_unstable();
                        }
                        let key = (data.op.clone(), args, data.ty);
                        if let Some(&first) = known.get(&key) {
                            self.subst.replace(v, first);
                            if body[first].name.is_none() {
                                body[first].name = body[v].name.clone();
                            }
                            continue;
                        }
                        known.insert(key, v);
                    }
                    stmts.push(Stmt::Eval(v));
                }
                Stmt::If { cond, mut then, mut otherwise, results } => {
                    let cond = self.subst.get(cond);
                    self.region(body, &mut then, &known);
                    self.region(body, &mut otherwise, &known);
                    for &r in &results {
                        self.subst.value(body, r);
                    }
                    stmts.push(Stmt::If { cond, then, otherwise, results });
                }
                Stmt::For { index, lo, hi, body: mut inner } => {
                    let (lo, hi) = (self.subst.get(lo), self.subst.get(hi));
                    self.region(body, &mut inner, &known);
                    stmts.push(Stmt::For { index, lo, hi, body: inner });
                }
            }
        }
        region.stmts = stmts;
        self.subst.list(&mut region.results);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn one_of_two_equal_sums_remains() {
        let m = model();
        let mut b = Builder::new();
        let (x, y) = (b.get(0, 64), b.get(1, 64));
        let s = b.op(Op::Bin(BinOp::Add), &[x, y], bits(64));
        let t = b.op(Op::Bin(BinOp::Add), &[y, x], bits(64));
        let r = b.op(Op::Bin(BinOp::Xor), &[s, t], bits(64));
        b.set(0, r);
        let mut body = b.finish();
        assert!(run(&m, &mut body, false));
        assert!(crate::print::body(&m, &body).contains("xor v2, v2"));
    }
}
