//! Passes over structured SSA, and which of them make up a level.
//!
//! A pass is a function from a body to a body that says whether it changed anything; it keeps the invariants that
//! [`crate::verify`] checks after every pass in debug builds. A level repeats its passes until nothing changes.

pub mod cfg;
pub mod cse;
pub mod dead;
pub mod fold;
pub mod ifconv;
pub mod invariant;
pub mod known;
pub mod lanes;
pub mod promote;
pub mod sink;
pub mod specialise;
pub mod state;
pub mod strength;
pub mod times;
pub mod util;

use crate::model::Model;
use crate::print;
use crate::ssa::Body;
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
    /// Results that are not needed, what the turns of a loop have in common, loops over lanes as vector operations, cheaper
    /// operations, specialisation.
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

/// Rounds of a level after which it counts as finished even if it still finds something.
const ROUNDS: usize = 8;

/// Runs the passes of a level over every body. With `dump`, the bodies of that instruction, system register or function are printed
/// to standard error before and after.
pub fn optimise(model: &mut Model, level: OptLevel, dump: Option<&str>) {
    let mut insns = std::mem::take(&mut model.insns);
    let mut sysregs = std::mem::take(&mut model.sysregs);
    let mut outlined: Vec<Option<Body>> = model.helpers.iter_mut().map(|h| h.body.take()).collect();
    let one = |name: &str, body: &mut Body| {
        let show = dump == Some(name);
        if show {
            eprintln!("{name}:\n{}", print::body(model, body));
        }
        optimise_body(model, body, level);
        if show {
            eprintln!("{name} at {level:?}:\n{}", print::body(model, body));
        }
    };
    for insn in &mut insns {
        one(&insn.name, &mut insn.exec);
        if let Some(lands) = &mut insn.lands {
            one(&insn.name, lands);
        }
    }
    for r in &mut sysregs {
        for body in [&mut r.get, &mut r.set, &mut r.read_when, &mut r.write_when].into_iter().flatten() {
            one(&r.name, body);
        }
    }
    for (h, body) in model.helpers.iter().zip(&mut outlined) {
        if let Some(body) = body {
            one(&h.name, body);
        }
    }
    model.insns = insns;
    model.sysregs = sysregs;
    for (h, body) in model.helpers.iter_mut().zip(outlined) {
        h.body = body;
    }
}

/// Runs the passes of a level over one body. Its root region's results stay its results.
pub fn optimise_body(model: &Model, body: &mut Body, level: OptLevel) {
    times::infer(model, body);
    check(model, body, "the front end");
    if level == OptLevel::O0 {
        return;
    }
    type Pass = fn(&Model, &mut Body) -> bool;
    let passes: &[(OptLevel, &str, Pass)] = &[
        (OptLevel::O1, "fold", fold::run),
        (OptLevel::O2, "promote", promote::run),
        (OptLevel::O2, "cfg", cfg::run),
        (OptLevel::O2, "cse", |m, b| cse::run(m, b, false)),
        (OptLevel::O2, "ifconv", ifconv::run),
        (OptLevel::O3, "numbering", |m, b| cse::run(m, b, true)),
        (OptLevel::O3, "known", known::run),
        (OptLevel::O3, "state", state::run),
        (OptLevel::O4, "strength", strength::run),
        (OptLevel::O4, "specialise", specialise::run),
        (OptLevel::O4, "sink", sink::run),
        (OptLevel::O4, "invariant", invariant::run),
        (OptLevel::O4, "lanes", lanes::run),
        (OptLevel::O1, "dead", |m, b| dead::run(m, b, &[])),
    ];
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (from, name, pass) in passes {
            if *from <= level && pass(model, body) {
                changed = true;
                times::infer(model, body);
                check(model, body, name);
            }
        }
        if !changed {
            break;
        }
    }
}

/// Stops at a broken invariant: a bug of the pass named.
fn check(model: &Model, body: &Body, after: &str) {
    if cfg!(debug_assertions)
        && let Err(e) = crate::verify::verify(model, body)
    {
        panic!("after {after}: {e}");
    }
}

/// Operations in all bodies, for the statistics.
#[must_use]
pub fn operations(model: &Model) -> usize {
    let sysregs = model
        .sysregs
        .iter()
        .flat_map(|r| [&r.get, &r.set, &r.read_when, &r.write_when])
        .flatten()
        .map(|b| b.root.statements().count())
        .sum::<usize>();
    model.insns.iter().map(|i| i.exec.root.statements().count()).sum::<usize>() + sysregs
}

#[cfg(test)]
mod tests;
