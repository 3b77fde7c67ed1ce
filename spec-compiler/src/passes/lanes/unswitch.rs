//! Loop unswitching: a decision that is the same in all turns of a loop is made before it, so that each of the two loops can
//! be looked at alone.

use std::collections::HashMap;

use super::{Loop, vectorise};
use crate::model::Model;
use crate::ssa::{Body, Region, Stmt, Time, Ty, ValueId, Width};

/// The loop as two, one per outcome of a fixed `if` in it, if that lets at least one be vectorised.
pub fn split(model: &Model, body: &mut Body, root: &Region, of: Loop) -> Option<Vec<Stmt>> {
    let at = of.turn.stmts.iter().position(|s| matches!(s, Stmt::If { cond, .. } if invariant(body, of, *cond)))?;
    let Stmt::If { cond, .. } = of.turn.stmts[at] else { return None };
    let (values, vars) = (body.values.len(), body.vars.len());
    let mut any = false;
    let mut arm = |body: &mut Body, truth: bool| {
        let mut names = HashMap::new();
        let index = fresh(body, of.index, &mut names);
        let turn = chosen(body, of.turn, at, truth, &mut names);
        let this = Loop { index, turn: &turn, ..of };
        let stmts = vectorise(model, body, root, this, of.turn);
        any |= stmts.is_some();
        let whole = || vec![Stmt::For { index, lo: of.lo, hi: of.hi, body: turn.clone() }];
        Region { stmts: stmts.unwrap_or_else(whole), results: Vec::new(), diverges: false }
    };
    let (then, otherwise) = (arm(body, true), arm(body, false));
    if !any {
        body.values.truncate(values);
        body.vars.truncate(vars);
        return None;
    }
    Some(vec![Stmt::If { cond, then, otherwise, results: Vec::new() }])
}

/// Whether a condition is known when the instruction is translated and no value of the turn's.
fn invariant(body: &Body, of: Loop, cond: ValueId) -> bool {
    let inside = of.turn.stmts.iter().any(|s| match s {
        Stmt::Eval(v) => *v == cond,
        Stmt::If { results, .. } => results.contains(&cond),
        Stmt::For { .. } => false,
    });
    body[cond].time == Time::Fixed && !inside
}

/// A copy of a turn in which the `if` at `at` is the one arm.
fn chosen(body: &mut Body, turn: &Region, at: usize, truth: bool, names: &mut HashMap<ValueId, ValueId>) -> Region {
    let mut stmts = Vec::new();
    for (i, stmt) in turn.stmts.iter().enumerate() {
        match stmt {
            Stmt::If { then, otherwise, results, .. } if i == at => {
                let arm = copy(body, if truth { then } else { otherwise }, names);
                stmts.extend(arm.stmts);
                names.extend(results.iter().copied().zip(arm.results));
            }
            _ => stmts.push(copy_stmt(body, stmt, names)),
        }
    }
    Region { stmts, results: Vec::new(), diverges: turn.diverges }
}

fn fresh(body: &mut Body, v: ValueId, names: &mut HashMap<ValueId, ValueId>) -> ValueId {
    let name = |v: &ValueId| names.get(v).copied().unwrap_or(*v);
    let mut data = body[v].clone();
    data.args = data.args.iter().map(name).collect();
    if let Ty::Bits(Width::Value(w)) = data.ty {
        data.ty = Ty::Bits(Width::Value(name(&w)));
    }
    let new = body.value(data.op, data.args, data.ty, data.time, data.span);
    body[new].name = data.name;
    names.insert(v, new);
    new
}

fn copy(body: &mut Body, r: &Region, names: &mut HashMap<ValueId, ValueId>) -> Region {
    let stmts = r.stmts.iter().map(|s| copy_stmt(body, s, names)).collect();
    let results = r.results.iter().map(|v| names.get(v).copied().unwrap_or(*v)).collect();
    Region { stmts, results, diverges: r.diverges }
}

fn copy_stmt(body: &mut Body, stmt: &Stmt, names: &mut HashMap<ValueId, ValueId>) -> Stmt {
    let name = |v: ValueId, names: &HashMap<ValueId, ValueId>| names.get(&v).copied().unwrap_or(v);
    match stmt {
        Stmt::Eval(v) => Stmt::Eval(fresh(body, *v, names)),
        Stmt::If { cond, then, otherwise, results } => {
            let cond = name(*cond, names);
            let (then, otherwise) = (copy(body, then, names), copy(body, otherwise, names));
            let results = results.iter().map(|&r| fresh(body, r, names)).collect();
            Stmt::If { cond, then, otherwise, results }
        }
        Stmt::For { index, lo, hi, body: inner } => {
            let (lo, hi) = (name(*lo, names), name(*hi, names));
            let index = fresh(body, *index, names);
            Stmt::For { index, lo, hi, body: copy(body, inner, names) }
        }
    }
}
