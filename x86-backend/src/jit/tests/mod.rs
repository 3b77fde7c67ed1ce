//! Tests that run emitted code in this process and compare with the interpreter.

mod blocks;
mod encodings;
mod listing;
mod machine;
mod program;
mod random;
mod window;
