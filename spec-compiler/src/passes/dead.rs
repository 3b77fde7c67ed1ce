//! Dead code elimination: pure values nobody uses, variables nobody reads, empty `if`s and loops.

use crate::model::Model;
use crate::ssa::{Body, Op, Region, Stmt, Ty, ValueId, Width};

/// Whether performing the operation matters beyond its value.
#[must_use]
pub fn has_effect(model: &Model, op: &Op) -> bool {
    match op {
        Op::VarSet(_)
        | Op::StateSet(_)
        | Op::MemRead
        | Op::MemWrite
        | Op::MemAtomic
        | Op::MemCas
        | Op::Fence
        | Op::SysregRead
        | Op::SysregWrite
        | Op::Branch
        | Op::EndBlock
        | Op::Assert
        | Op::AsWidth => true,
        Op::Call(h) => {
            let helper = &model.helpers[h.index()];
            !helper.pure_ || helper.never || helper.raises
        }
        // Cumulative exception flags.
        Op::FpUn(_)
        | Op::FpRoundInt
        | Op::FpBin(_)
        | Op::FpFma
        | Op::FpCmp(_)
        | Op::FpCmpFlags
        | Op::FpConvert
        | Op::FpToInt
        | Op::IntToFp => true,
        _ => false,
    }
}

/// The values that `roots` and, through control flow, everything they depend on need.
#[must_use]
pub fn live(body: &Body, roots: &[ValueId]) -> Vec<bool> {
    let mut live = vec![false; body.values.len()];
    let mut todo: Vec<ValueId> = roots.to_vec();
    loop {
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut live[v.index()], true) {
                continue;
            }
            todo.extend(&body[v].args);
            if let Ty::Bits(Width::Value(w)) = body[v].ty {
                todo.push(w);
            }
        }
        through_control(body, &body.root, &live, &mut todo);
        todo.retain(|v| !live[v.index()]);
        if todo.is_empty() {
            return live;
        }
    }
}

/// What live results of control flow, and live variables, need.
fn through_control(body: &Body, region: &Region, live: &[bool], todo: &mut Vec<ValueId>) {
    let var_live = |var| body.values.iter().zip(live).any(|(d, &l)| l && d.op == Op::VarGet(var));
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                if let Op::VarSet(var) = body[*v].op
                    && var_live(var)
                {
                    todo.push(*v);
                }
            }
            Stmt::If { cond, then, otherwise, results } => {
                for (i, r) in results.iter().enumerate() {
                    if live[r.index()] {
                        todo.extend(then.results.get(i));
                        todo.extend(otherwise.results.get(i));
                    }
                }
                // Whether anything inside happens depends on the condition; harmless when nothing does.
                todo.push(*cond);
                through_control(body, then, live, todo);
                through_control(body, otherwise, live, todo);
            }
            Stmt::For { lo, hi, body: inner, .. } => {
                todo.extend([*lo, *hi]);
                through_control(body, inner, live, todo);
            }
        }
    }
}

/// Removes what has neither effect nor use. `keep` are values the owner of the body refers to.
pub fn run(model: &Model, body: &mut Body, keep: &[ValueId]) -> bool {
    let mut changed = false;
    loop {
        let mut uses = vec![0_u32; body.values.len()];
        for &k in keep {
            uses[k.index()] += 1;
        }
        let mut read = vec![false; body.vars.len()];
        let mut root = std::mem::take(&mut body.root);
        count(body, &root, &mut uses, &mut read);
        let removed = sweep(model, body, &mut root, &mut uses, &read);
        body.root = root;
        if !removed {
            return changed;
        }
        changed = true;
    }
}

fn count(body: &Body, region: &Region, uses: &mut [u32], read: &mut [bool]) {
    let width = |v: ValueId, uses: &mut [u32]| {
        if let Ty::Bits(Width::Value(w)) = body[v].ty {
            uses[w.index()] += 1;
        }
    };
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                for a in &body[*v].args {
                    uses[a.index()] += 1;
                }
                width(*v, uses);
                match body[*v].op {
                    Op::VarGet(var) => {
                        read[var.index()] = true;
                        var_width(body, var, uses);
                    }
                    Op::VarSet(var) => var_width(body, var, uses),
                    _ => {}
                }
            }
            Stmt::If { cond, then, otherwise, results } => {
                uses[cond.index()] += 1;
                for &r in results {
                    width(r, uses);
                }
                count(body, then, uses, read);
                count(body, otherwise, uses, read);
            }
            Stmt::For { lo, hi, body: inner, .. } => {
                uses[lo.index()] += 1;
                uses[hi.index()] += 1;
                count(body, inner, uses, read);
            }
        }
    }
    for r in &region.results {
        uses[r.index()] += 1;
    }
}

fn var_width(body: &Body, var: crate::ssa::VarId, uses: &mut [u32]) {
    if let Ty::Bits(Width::Value(w)) = body.vars[var.index()].ty {
        uses[w.index()] += 1;
    }
}

fn sweep(model: &Model, body: &Body, region: &mut Region, uses: &mut [u32], read: &[bool]) -> bool {
    let mut removed = false;
    // Backwards, so that a chain goes in one sweep.
    let mut kept = Vec::with_capacity(region.stmts.len());
    for mut stmt in std::mem::take(&mut region.stmts).into_iter().rev() {
        let drop = match &mut stmt {
            Stmt::Eval(v) => {
                let dead = match body[*v].op {
                    Op::VarSet(var) => !read[var.index()],
                    ref op => uses[v.index()] == 0 && !has_effect(model, op),
                };
                if dead {
                    for a in &body[*v].args {
                        uses[a.index()] = uses[a.index()].saturating_sub(1);
                    }
                }
                dead
            }
            Stmt::If { then, otherwise, results, .. } => {
                let dead: Vec<bool> = results.iter().map(|r| uses[r.index()] == 0).collect();
                if dead.contains(&true) {
                    removed = true;
                    let mut i = 0;
                    results.retain(|_| {
                        i += 1;
                        !dead[i - 1]
                    });
                    for arm in [&mut *then, &mut *otherwise] {
                        if !arm.diverges {
                            for (i, r) in arm.results.iter().enumerate() {
                                if dead[i] {
                                    uses[r.index()] = uses[r.index()].saturating_sub(1);
                                }
                            }
                            let mut i = 0;
                            arm.results.retain(|_| {
                                i += 1;
                                !dead[i - 1]
                            });
                        }
                    }
                }
                removed |= sweep(model, body, then, uses, read);
                removed |= sweep(model, body, otherwise, uses, read);
                let empty = |r: &Region| r.stmts.is_empty() && !r.diverges;
                results.is_empty() && empty(then) && empty(otherwise)
            }
            Stmt::For { body: inner, .. } => {
                removed |= sweep(model, body, inner, uses, read);
                inner.stmts.is_empty() && !inner.diverges
            }
        };
        if drop {
            removed = true;
        } else {
            kept.push(stmt);
        }
    }
    kept.reverse();
    region.stmts = kept;
    removed
}
