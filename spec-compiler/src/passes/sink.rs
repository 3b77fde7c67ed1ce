//! Sinking: a pure dynamic operation used in one arm only moves there, so that nothing is emitted for the encodings that take
//! the other.
//!
//! Loads of guest state move too, as long as nothing between may change the state.

use super::dead::has_effect;
use super::util::{mentions, uses};
use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Time};

/// Returns whether anything changed. Needs up-to-date times.
pub fn run(model: &Model, body: &mut Body) -> bool {
    let mut root = std::mem::take(&mut body.root);
    let changed = region(model, body, &mut root);
    body.root = root;
    changed
}

fn region(model: &Model, body: &Body, r: &mut Region) -> bool {
    let mut changed = false;
    // Backwards, so that operands follow what uses them.
    let mut i = r.stmts.len();
    while i > 0 {
        i -= 1;
        let Stmt::Eval(v) = r.stmts[i] else { continue };
        let data = &body[v];
        let load = matches!(data.op, Op::StateGet(_));
        if data.time != Time::Dynamic || has_effect(model, &data.op) || matches!(data.op, Op::VarGet(_) | Op::Call(_)) {
            continue;
        }
        if r.results.contains(&v) {
            continue;
        }
        let users: Vec<usize> = (i + 1..r.stmts.len()).filter(|&j| uses(body, &r.stmts[j], v)).collect();
        let [user] = users[..] else { continue };
        let Stmt::If { cond, then, otherwise, .. } = &r.stmts[user] else { continue };
        if *cond == v || (load && r.stmts[i + 1..user].iter().any(|s| changes_state(model, body, s))) {
            continue;
        }
        let in_then = mentions(body, then, v);
        if in_then && mentions(body, otherwise, v) {
            continue;
        }
        let stmt = r.stmts.remove(i);
        if let Stmt::If { then, otherwise, .. } = &mut r.stmts[user - 1] {
            let arm = if in_then { then } else { otherwise };
            arm.stmts.insert(0, stmt);
            changed = true;
        }
    }
    for stmt in &mut r.stmts {
        match stmt {
            Stmt::Eval(_) => {}
            Stmt::If { then, otherwise, .. } => {
                changed |= region(model, body, then);
                changed |= region(model, body, otherwise);
            }
            Stmt::For { body: inner, .. } => changed |= region(model, body, inner),
        }
    }
    changed
}

fn changes_state(model: &Model, body: &Body, stmt: &Stmt) -> bool {
    let op_changes = |op: &Op| match op {
        Op::StateSet(_) | Op::SysregRead | Op::SysregWrite => true,
        Op::Call(h) => !model.helpers[h.index()].pure_,
        _ => false,
    };
    match stmt {
        Stmt::Eval(v) => op_changes(&body[*v].op),
        _ => stmt.regions().flat_map(Region::values).any(|v| op_changes(&body[v].op)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::Ty;
    use crate::testing::{Builder, model};

    #[test]
    fn moves_into_the_arm_that_uses_it() {
        let m = model();
        let mut b = Builder::new();
        let f = b.field(0, 1);
        let c = b.op(Op::BitToBool, &[f], Ty::Bool);
        let a = b.get(0, 64);
        b.if_(
            c,
            &[],
            |b| {
                b.set(1, a);
                Vec::new()
            },
            |_| Vec::new(),
        );
        let mut body = b.finish();
        crate::passes::times::infer(&m, &mut body);
        assert!(run(&m, &mut body));
        crate::verify::verify(&m, &body).expect("well formed");
        assert!(crate::print::body(&m, &body).contains("if v1 {\n  v2: bits(64) ~ load a"));
    }
}
