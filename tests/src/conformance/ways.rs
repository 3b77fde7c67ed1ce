//! The ways in which our side executes a case.

use super::ours::{BASELINE, Machine, compiler, host_features};
use super::{Case, Outcome, agree, comparable};
use x86_backend::jit::Jit;

/// What they are called.
pub const NAMES: [&str; 5] = [
    "interpreted",
    "translated",
    "translated for a plain host",
    "translated as a region",
    "translated as a region for a plain host",
];

/// A machine with the compilers for it.
pub struct Ways {
    machine: Machine,
    host: Jit,
    baseline: Jit,
}

impl Default for Ways {
    fn default() -> Self {
        Self::new()
    }
}

impl Ways {
    #[must_use]
    pub fn new() -> Self {
        Self { machine: Machine::new(), host: compiler(host_features()), baseline: compiler(BASELINE) }
    }

    /// Executes a case in one way, an index into [`NAMES`]. With the host's features accesses hit inline, without them they miss.
    pub fn run(&mut self, way: usize, case: &Case) -> Outcome {
        match way {
            0 => self.machine.interpret(case),
            1 => self.machine.translate(&mut self.host, case, true),
            2 => self.machine.translate(&mut self.baseline, case, false),
            3 => self.machine.translate_region(&mut self.host, case, true),
            _ => self.machine.translate_region(&mut self.baseline, case, false),
        }
    }

    /// The first way that differs from `wanted`, unless that can't be compared.
    pub fn differs(&mut self, case: &Case, wanted: &Outcome) -> Option<usize> {
        let outcomes: [Outcome; NAMES.len()] = std::array::from_fn(|way| self.run(way, case));
        if !outcomes.iter().all(|o| comparable(case, o, wanted)) {
            return None;
        }
        outcomes.iter().position(|o| !agree(o, wanted))
    }
}
