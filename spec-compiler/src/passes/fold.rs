//! Constant folding and propagation: operations on constants, identities, `if`s with constant conditions, widths that turn out
//! to be constants.

use super::util::{Subst, is_constant};
use crate::eval::{Value, apply};
use crate::fixed;
use crate::model::Model;
use crate::passes::times::const_width;
use crate::ssa::{BinOp, Body, CmpOp, Op, Region, Stmt, Time, Ty, ValueId};

/// Returns whether anything changed.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut fold = Fold { subst: Subst::new(body), changed: false };
    let mut root = std::mem::take(&mut body.root);
    fold.region(body, &mut root);
    body.root = root;
    fold.subst.vars(body);
    fold.changed
}

struct Fold {
    subst: Subst,
    changed: bool,
}

impl Fold {
    fn region(&mut self, body: &mut Body, region: &mut Region) {
        let mut stmts = Vec::with_capacity(region.stmts.len());
        for stmt in std::mem::take(&mut region.stmts) {
            if self.stmt(body, stmt, &mut stmts) {
                // Nothing after a path that never returns.
                region.diverges = true;
                region.results.clear();
                break;
            }
        }
        region.stmts = stmts;
        self.subst.list(&mut region.results);
    }

    /// Returns whether the statement never returns.
    fn stmt(&mut self, body: &mut Body, stmt: Stmt, out: &mut Vec<Stmt>) -> bool {
        match stmt {
            Stmt::Eval(v) => {
                self.subst.value(body, v);
                self.value(body, v);
                out.push(Stmt::Eval(v));
                false
            }
            Stmt::If { cond, mut then, mut otherwise, results } => {
                let cond = self.subst.get(cond);
                if let Op::Bool(taken) = body[cond].op {
                    self.changed = true;
                    let arm = if taken { then } else { otherwise };
                    for stmt in arm.stmts {
                        if self.stmt(body, stmt, out) {
                            return true;
                        }
                    }
                    for (&from, &to) in arm.results.iter().zip(&results) {
                        self.subst.replace(to, from);
                    }
                    return arm.diverges;
                }
                self.region(body, &mut then);
                self.region(body, &mut otherwise);
                for &r in &results {
                    self.subst.value(body, r);
                }
                let diverges = then.diverges && otherwise.diverges;
                out.push(Stmt::If { cond, then, otherwise, results });
                diverges
            }
            Stmt::For { index, lo, hi, body: mut inner } => {
                let (lo, hi) = (self.subst.get(lo), self.subst.get(hi));
                if let (&Op::Int(a), &Op::Int(b)) = (&body[lo].op, &body[hi].op)
                    && a >= b
                {
                    self.changed = true;
                    return false;
                }
                self.region(body, &mut inner);
                out.push(Stmt::For { index, lo, hi, body: inner });
                false
            }
        }
    }

    fn value(&mut self, body: &mut Body, v: ValueId) {
        if let Some(op) = constant(body, v) {
            let data = &mut body[v];
            data.op = op;
            data.args.clear();
            data.time = Time::Fixed;
            self.changed = true;
        } else if let Some(same) = identity(body, v) {
            self.subst.replace(v, same);
            self.changed = true;
        }
    }
}

fn value_of(op: &Op) -> Option<Value> {
    Some(match *op {
        Op::Int(i) => Value::Int(i),
        Op::Bool(b) => Value::Bool(b),
        Op::Bits(v) => Value::Bits(v),
        _ => return None,
    })
}

/// The constant a value is, if all its operands are.
fn constant(body: &Body, v: ValueId) -> Option<Op> {
    let data = &body[v];
    if data.args.is_empty() || is_constant(&data.op) || data.op == Op::AsWidth {
        return None;
    }
    let mut args = Vec::new();
    let mut widths = Vec::new();
    for &a in &data.args {
        args.push(value_of(&body[a].op)?);
        widths.push(const_width(body[a].ty)?);
    }
    let width = match data.ty {
        Ty::Unit => return None,
        ty => const_width(ty)?,
    };
    match apply(&data.op, width, &args, &widths).ok()? {
        Value::Int(i) => Some(Op::Int(i)),
        Value::Bool(b) => Some(Op::Bool(b)),
        Value::Bits(v) => Some(Op::Bits(v)),
        Value::Flags(_) | Value::Unit => None,
    }
}

/// The operand a value equals.
fn identity(body: &Body, v: ValueId) -> Option<ValueId> {
    let data = &body[v];
    let arg = |i: usize| data.args[i];
    let bits = |i: usize| match body[data.args[i]].op {
        Op::Bits(v) => Some(v),
        _ => None,
    };
    let int = |i: usize| match body[data.args[i]].op {
        Op::Int(v) => Some(v),
        _ => None,
    };
    let truth = |i: usize| match body[data.args[i]].op {
        Op::Bool(v) => Some(v),
        _ => None,
    };
    let inner = |i: usize| &body[data.args[i]];
    match data.op {
        Op::IntAdd | Op::IntSub | Op::IntShl | Op::IntShr | Op::IntOr | Op::IntXor if int(1) == Some(0) => Some(arg(0)),
        Op::IntAdd | Op::IntOr | Op::IntXor if int(0) == Some(0) => Some(arg(1)),
        Op::IntMul | Op::IntDiv if int(1) == Some(1) => Some(arg(0)),
        Op::IntMul if int(0) == Some(1) => Some(arg(1)),
        Op::BoolNot if inner(0).op == Op::BoolNot => Some(inner(0).args[0]),
        Op::BoolAnd if truth(0) == Some(true) || truth(1) == Some(false) => Some(arg(1)),
        Op::BoolAnd if truth(1) == Some(true) || truth(0) == Some(false) => Some(arg(0)),
        Op::BoolOr if truth(0) == Some(false) || truth(1) == Some(true) => Some(arg(1)),
        Op::BoolOr if truth(1) == Some(false) || truth(0) == Some(true) => Some(arg(0)),
        Op::BoolEq if truth(1) == Some(true) => Some(arg(0)),
        Op::BoolEq if truth(0) == Some(true) => Some(arg(1)),
        Op::BitToBool if inner(0).op == Op::BoolToBit => Some(inner(0).args[0]),
        Op::BoolToBit if inner(0).op == Op::BitToBool => Some(inner(0).args[0]),
        Op::Cmp(CmpOp::Ne) if inner(0).op == Op::BoolToBit && bits(1) == Some(0) => Some(inner(0).args[0]),
        Op::Cmp(CmpOp::Eq) if inner(0).op == Op::BoolToBit && bits(1) == Some(1) => Some(inner(0).args[0]),
        Op::Select => match truth(0) {
            Some(true) => Some(arg(1)),
            Some(false) => Some(arg(2)),
            None if arg(1) == arg(2) => Some(arg(1)),
            None => None,
        },
        Op::Zext | Op::Sext | Op::AsWidth if inner(0).ty == data.ty => Some(arg(0)),
        Op::Extract if int(1) == Some(0) && inner(0).ty == data.ty => Some(arg(0)),
        Op::Replicate if int(1) == Some(1) => Some(arg(0)),
        Op::ShlInt | Op::ShrInt | Op::SarInt | Op::RorInt if int(1) == Some(0) => Some(arg(0)),
        Op::PackFlags if inner(0).op == Op::UnpackFlags => Some(inner(0).args[0]),
        Op::UnpackFlags if inner(0).op == Op::PackFlags => Some(inner(0).args[0]),
        Op::Bin(op) => {
            let ones = const_width(data.ty).map(fixed::mask);
            match op {
                BinOp::Add | BinOp::Or | BinOp::Xor if bits(0) == Some(0) => Some(arg(1)),
                BinOp::Add | BinOp::Sub | BinOp::Or | BinOp::Xor if bits(1) == Some(0) => Some(arg(0)),
                BinOp::Shl | BinOp::Shr | BinOp::Sar | BinOp::Ror if bits(1) == Some(0) => Some(arg(0)),
                BinOp::And if ones.is_some() && bits(0) == ones => Some(arg(1)),
                BinOp::And if ones.is_some() && bits(1) == ones => Some(arg(0)),
                BinOp::And if bits(1) == Some(0) => Some(arg(1)),
                BinOp::And if bits(0) == Some(0) => Some(arg(0)),
                BinOp::And | BinOp::Or if arg(0) == arg(1) => Some(arg(0)),
                BinOp::Mul | BinOp::UDiv if bits(1) == Some(1) => Some(arg(0)),
                BinOp::Mul if bits(0) == Some(1) => Some(arg(1)),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::dead;
    use crate::testing::{Builder, bits, model};

    #[test]
    fn folds_through_an_if_and_a_width() {
        let m = model();
        let mut b = Builder::new();
        let (one, two) = (b.int(1), b.int(2));
        let c = b.op(Op::IntLt, &[one, two], Ty::Bool);
        let n = b.if_(c, &[Ty::Int], |b| vec![b.int(64)], |b| vec![b.int(32)])[0];
        let w = Ty::Bits(crate::ssa::Width::Value(n));
        let a = b.get(0, 64);
        let zero = b.int(0);
        let x = b.op(Op::Extract, &[a, zero], w);
        let r = b.op(Op::Zext, &[x], bits(64));
        b.set(1, r);
        let mut body = b.finish();
        run(&m, &mut body);
        dead::run(&m, &mut body, &[]);
        assert_eq!(crate::print::body(&m, &body), "v6: bits(64) ~ load a\nstore b v6\n");
    }
}
