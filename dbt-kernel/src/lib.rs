//! The translation engine: code cache, dispatcher, software TLB, vCPU loop.
//!
//! The engine is generic over the guest architecture ([`x86_backend::guest::Guest`]) and over the platform it runs on
//! ([`platform::Platform`]): the unikernel inside a virtual machine, or the launcher's own process. It names no concept of
//! either. All state hangs off one [`machine::Machine`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod board;
pub mod clock;
pub mod code_cache;
pub mod dispatch;
mod filled;
pub mod hostmmu;
pub mod jump_keys;
pub mod machine;
pub mod platform;
pub mod ram;
pub mod regions;
pub mod run;
pub mod services;
pub mod shared;
pub mod softmmu;
pub mod translate;
pub mod tree;
