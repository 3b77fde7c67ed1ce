//! Lane vectorisation: a loop that makes the lanes of a vector one by one becomes operations on all lanes at once.
//!
//! ```text
//! for i in 0..n { r = set_lane(32, r, i, lane(32, a, i) + x) }      r = r with n lanes of v_add(32, a, splat(32, x))
//! ```
//! The online builder cannot do that: it sees the unrolled lanes' operations, which are far apart, and no longer knows that they
//! are the same. A loop is taken when what its turns have in common is computed from nothing that a turn changes ([`shape`]), and when
//! every operation on a lane has an exact equivalent on vectors that the backend expands inline ([`operations`]). Else it stays as it is.
//! Where one encoding of an instruction stands in the way of another, the loop is split by the field that tells them
//! apart ([`unswitch`]).

mod operations;
mod shape;
mod unswitch;
mod widen;

use crate::model::Model;
use crate::ssa::{Body, Region, Stmt, ValueId};

/// Returns whether anything changed. Needs up-to-date times.
pub fn run(model: &Model, body: &mut Body) -> bool {
    let mut changed = false;
    let mut root = std::mem::take(&mut body.root);
    while let Some(new) = rewrite(model, body, &root, &root) {
        root = new;
        changed = true;
    }
    body.root = root;
    changed
}

/// A `for`, taken apart.
#[derive(Clone, Copy)]
struct Loop<'a> {
    index: ValueId,
    lo: ValueId,
    hi: ValueId,
    turn: &'a Region,
}

/// The region with one loop replaced, if there is one to replace.
fn rewrite(model: &Model, body: &mut Body, root: &Region, r: &Region) -> Option<Region> {
    for (i, stmt) in r.stmts.iter().enumerate() {
        let replacement = match stmt {
            Stmt::Eval(_) => None,
            Stmt::If { cond, then, otherwise, results } => {
                let (cond, results) = (*cond, results.clone());
                if let Some(then) = rewrite(model, body, root, then) {
                    Some(vec![Stmt::If { cond, then, otherwise: otherwise.clone(), results }])
                } else {
                    rewrite(model, body, root, otherwise)
                        .map(|otherwise| vec![Stmt::If { cond, then: then.clone(), otherwise, results }])
                }
            }
            Stmt::For { index, lo, hi, body: turn } => {
                let this = Loop { index: *index, lo: *lo, hi: *hi, turn };
                vectorise(model, body, root, this, turn).or_else(|| unswitch::split(model, body, root, this)).or_else(
                    || {
                        let new = rewrite(model, body, root, turn)?;
                        Some(vec![Stmt::For { index: *index, lo: *lo, hi: *hi, body: new }])
                    },
                )
            }
        };
        if let Some(new) = replacement {
            let mut region = r.clone();
            region.stmts.splice(i..=i, new);
            return Some(region);
        }
    }
    None
}

/// What does the work of a loop at once. `original` is what it is in `root`, of which the loop may be a copy.
fn vectorise(model: &Model, body: &mut Body, root: &Region, of: Loop, original: &Region) -> Option<Vec<Stmt>> {
    let shape = shape::analyse(model, body, root, of, original)?;
    let (values, vars) = (body.values.len(), body.vars.len());
    let new = widen::widen(body, &shape, of);
    if new.is_none() {
        body.values.truncate(values);
        body.vars.truncate(vars);
    }
    new
}

#[cfg(test)]
mod tests;
