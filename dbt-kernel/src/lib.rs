//! The translation engine: code cache, dispatcher, memory strategies, vCPU loop.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod platform;
pub mod shared;
