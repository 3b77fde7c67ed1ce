//! Specialisation on fixed operands: a logical operation of a fixed and a dynamic truth value is decided by the fixed one while
//! the instruction is translated, so that the operation itself is never emitted.

use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, ValueId};

/// Returns whether anything changed. Needs up-to-date times.
pub fn run(_model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let changed = region(body, &mut root);
    body.root = root;
    changed
}

fn region(body: &mut Body, r: &mut Region) -> bool {
    let mut changed = false;
    for stmt in &mut r.stmts {
        match stmt {
            Stmt::Eval(v) => {
                if let Some(new) = decide(body, *v) {
                    *stmt = new;
                    changed = true;
                }
            }
            Stmt::If { then, otherwise, .. } => {
                changed |= region(body, then);
                changed |= region(body, otherwise);
            }
            Stmt::For { body: inner, .. } => changed |= region(body, inner),
        }
    }
    changed
}

/// The `if` on the fixed operand that stands for the operation.
fn decide(body: &mut Body, v: ValueId) -> Option<Stmt> {
    let op = body[v].op.clone();
    if !matches!(op, Op::BoolAnd | Op::BoolOr | Op::BoolEq) {
        return None;
    }
    let (a, b) = (body[v].args[0], body[v].args[1]);
    let (fixed, dynamic) = match (body[a].time, body[b].time) {
        (Time::Fixed, Time::Dynamic) => (a, b),
        (Time::Dynamic, Time::Fixed) => (b, a),
        _ => return None,
    };
    let span = body[v].span;
    let itself = Region { stmts: Vec::new(), results: vec![dynamic], diverges: false };
    let mut other = |op: Op, args: Vec<ValueId>, time: Time| {
        let value = body.value(op, args, Ty::Bool, time, span);
        Region { stmts: vec![Stmt::Eval(value)], results: vec![value], diverges: false }
    };
    let (then, otherwise) = match op {
        Op::BoolAnd => (itself, other(Op::Bool(false), Vec::new(), Time::Fixed)),
        Op::BoolOr => (other(Op::Bool(true), Vec::new(), Time::Fixed), itself),
        _ => (itself, other(Op::BoolNot, vec![dynamic], Time::Dynamic)),
    };
    body[v].op = Op::IfResult;
    body[v].args.clear();
    Some(Stmt::If { cond: fixed, then, otherwise, results: vec![v] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::CmpOp;
    use crate::testing::{Builder, model};

    #[test]
    fn a_fixed_operand_decides() {
        let m = model();
        let mut b = Builder::new();
        let f = b.field(0, 1);
        let fixed = b.op(Op::BitToBool, &[f], Ty::Bool);
        let (x, y) = (b.get(0, 64), b.get(1, 64));
        let less = b.op(Op::Cmp(CmpOp::Ult), &[x, y], Ty::Bool);
        let both = b.op(Op::BoolAnd, &[fixed, less], Ty::Bool);
        b.if_(
            both,
            &[],
            |b| {
                b.set(0, y);
                Vec::new()
            },
            |_| Vec::new(),
        );
        let mut body = b.finish();
        crate::passes::times::infer(&m, &mut body);
        assert!(run(&m, &mut body));
        crate::verify::verify(&m, &body).expect("well formed");
        assert!(!crate::print::body(&m, &body).contains("booland"));
    }
}
