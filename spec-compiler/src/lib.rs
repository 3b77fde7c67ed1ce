//! Compiles `.isa` architecture descriptions.

pub mod asm;
pub mod decoder;
pub mod diag;
pub mod frontend;
pub mod emit;
pub mod eval;
pub mod fixed;
pub mod model;
pub mod passes;
pub mod print;
pub mod ssa;
pub mod verify;
#[cfg(test)]
mod testing;
