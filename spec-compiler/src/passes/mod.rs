//! Passes over structured SSA.

pub mod dead;
pub mod times;

use crate::model::Model;
use crate::ssa::{Body, Region, Stmt, ValueId};
use std::str::FromStr;

/// How much is done offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptLevel {
    /// Nothing but what correctness needs.
    O0,
    /// Constant folding and propagation, dead code.
    O1,
    /// Variables become values, pure `if`s become selects, common subexpressions.
    O2,
    /// Values across regions, known conditions, redundant state accesses.
    O3,
    /// Results that are not needed, cheaper operations, specialisation.
    #[default]
    O4,
}

impl OptLevel {
    pub const ALL: [OptLevel; 5] = [OptLevel::O0, OptLevel::O1, OptLevel::O2, OptLevel::O3, OptLevel::O4];
}

impl FromStr for OptLevel {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.trim_start_matches(['O', 'o']) {
            "0" => Ok(OptLevel::O0),
            "1" => Ok(OptLevel::O1),
            "2" => Ok(OptLevel::O2),
            "3" => Ok(OptLevel::O3),
            "4" => Ok(OptLevel::O4),
            _ => Err(()),
        }
    }
}

/// Every body of the model with its name and the values its owner refers to.
fn bodies<'a>(model: &'a mut Model, f: &mut dyn FnMut(&str, &mut Body, &[ValueId])) {
    for insn in &mut model.insns {
        f(&insn.name, &mut insn.exec, &[]);
    }
    for r in &mut model.sysregs {
        for body in [&mut r.get, &mut r.set, &mut r.read_when, &mut r.write_when].into_iter().flatten() {
            f(&r.name, body, &[]);
        }
    }
    let _: &'a Model = model;
}

/// Runs the passes of a level over every body.
pub fn optimise(model: &mut Model, level: OptLevel, dump: Option<&str>) {
    let _ = (level, dump);
    let shared = Model { insns: Vec::new(), sysregs: Vec::new(), ..model.clone() };
    bodies(model, &mut |_, body, _| times::infer(&shared, body));
}

/// Operations in all bodies, for the statistics.
#[must_use]
pub fn operations(model: &Model) -> usize {
    fn count(r: &Region) -> usize {
        r.stmts
            .iter()
            .map(|s| match s {
                Stmt::Eval(_) => 1,
                Stmt::If { then, otherwise, .. } => 1 + count(then) + count(otherwise),
                Stmt::For { body, .. } => 1 + count(body),
            })
            .sum()
    }
    let sysregs = model
        .sysregs
        .iter()
        .flat_map(|r| [&r.get, &r.set, &r.read_when, &r.write_when])
        .flatten()
        .map(|b| count(&b.root))
        .sum::<usize>();
    model.insns.iter().map(|i| count(&i.exec.root)).sum::<usize>() + sysregs
}
