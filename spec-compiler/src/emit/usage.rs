//! What the emission of a body has to know beforehand: uses of values, assignments, homes of variables, where fields are.

use std::collections::HashMap;

use crate::model::{Pattern, PieceKind};
use crate::ssa::{Body, Op, Region, Stmt, Ty, VarId, Width};

/// Rust for a field of the instruction word, a `u32`.
#[must_use]
pub fn field_expr(pattern: &Pattern, field: u32) -> String {
    let mut text = String::new();
    for piece in &pattern.pieces {
        if piece.kind != PieceKind::Field(crate::ssa::FieldId(field)) {
            continue;
        }
        let bits = match piece.lo {
            0 => format!("word & {:#x}", crate::fixed::mask(piece.width)),
            lo if lo + piece.width == 32 => format!("word >> {lo}"),
            lo => format!("word >> {lo} & {:#x}", crate::fixed::mask(piece.width)),
        };
        text = if text.is_empty() { bits } else { format!("(({text}) << {} | ({bits}))", piece.width) };
    }
    text
}

/// Counts the uses of every value by statements, results and widths.
pub(super) fn count_uses(body: &Body, region: &Region, uses: &mut [u32]) {
    let width_uses = |ty: Ty, uses: &mut [u32]| {
        if let Ty::Bits(Width::Value(w)) = ty {
            uses[w.index()] += 1;
        }
    };
    for stmt in &region.stmts {
        match stmt {
            Stmt::Eval(v) => {
                let data = &body[*v];
                for &a in &data.args {
                    uses[a.index()] += 1;
                }
                width_uses(data.ty, uses);
                for &a in &data.args {
                    width_uses(body[a].ty, uses);
                }
            }
            Stmt::If { cond, then, otherwise, results } => {
                uses[cond.index()] += 1;
                for &r in results {
                    width_uses(body[r].ty, uses);
                }
                for arm in [then, otherwise] {
                    count_uses(body, arm, uses);
                }
            }
            Stmt::For { lo, hi, body: inner, .. } => {
                uses[lo.index()] += 1;
                uses[hi.index()] += 1;
                count_uses(body, inner, uses);
            }
        }
    }
    for &r in &region.results {
        uses[r.index()] += 1;
    }
}

/// For each variable the innermost region that holds all its uses, and the first statement there that has one.
pub(super) fn var_homes(body: &Body) -> HashMap<(usize, usize), Vec<VarId>> {
    fn walk(
        body: &Body,
        region: &Region,
        path: &mut Vec<(usize, usize)>,
        next: &mut usize,
        homes: &mut HashMap<VarId, Vec<(usize, usize)>>,
    ) {
        let this = *next;
        *next += 1;
        for (i, stmt) in region.stmts.iter().enumerate() {
            path.push((this, i));
            match stmt {
                Stmt::Eval(v) => {
                    if let Op::VarGet(var) | Op::VarSet(var) = body[*v].op {
                        match homes.entry(var) {
                            std::collections::hash_map::Entry::Vacant(e) => {
                                e.insert(path.clone());
                            }
                            std::collections::hash_map::Entry::Occupied(mut e) => {
                                let home = e.get_mut();
                                // The common regions; the statement is that of the first use.
                                let common = home.iter().zip(path.iter()).take_while(|(a, b)| a.0 == b.0).count();
                                home.truncate(common);
                            }
                        }
                    }
                }
                Stmt::If { then, otherwise, .. } => {
                    walk(body, then, path, next, homes);
                    walk(body, otherwise, path, next, homes);
                }
                Stmt::For { body: inner, .. } => walk(body, inner, path, next, homes),
            }
            path.pop();
        }
    }
    let mut homes = HashMap::new();
    walk(body, &body.root, &mut Vec::new(), &mut 0, &mut homes);
    let mut result: HashMap<(usize, usize), Vec<VarId>> = HashMap::new();
    let mut sorted: Vec<_> = homes.into_iter().collect();
    sorted.sort();
    for (var, path) in sorted {
        if let Some(&at) = path.last() {
            result.entry(at).or_default().push(var);
        }
    }
    result
}
