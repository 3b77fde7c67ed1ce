//! IR, register allocation and x86-64 emission for translated guest code, and the interfaces between the three
//! parties of translation: generated semantics ([`emit::Emit`]), guest models ([`guest::Guest`]) and the engine.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod emit;
pub mod eval;
pub mod guest;
pub mod interp;
pub mod jit;
pub mod runtime;
pub mod softfp;
