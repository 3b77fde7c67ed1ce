//! Compiles `.isa` architecture descriptions.
//!
//! [`frontend`] turns the text into a checked [`model::Model`] whose computations are structured [`ssa`]; [`decoder`] checks the
//! encodings and builds the decision tree; [`passes`] optimise; [`emit`] writes Rust. [`build`] does all of it, [`asm`]
//! assembles and disassembles without generated code.

pub mod asm;
pub mod build;
pub mod decoder;
pub mod diag;
pub mod emit;
pub mod eval;
pub mod fixed;
pub mod frontend;
pub mod model;
pub mod passes;
pub mod print;
pub mod ssa;
#[cfg(test)]
mod testing;
pub mod verify;
