//! Compiles `.isa` architecture descriptions.

pub mod diag;
pub mod model;
pub mod ssa;
