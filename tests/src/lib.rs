//! What the end-to-end tests share: building initramfs images, finding guest files, driving a guest's console; and the
//! comparison of instructions with independent implementations.

pub mod conformance;
pub mod console;
pub mod files;
pub mod initramfs;
pub mod programs;
pub mod sweep;
