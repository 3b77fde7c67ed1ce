//! What the end-to-end tests share: building initramfs images, finding guest files, driving a guest's console; and the
//! comparison of instructions with an independent implementation.

pub mod conformance;
pub mod console;
pub mod files;
pub mod initramfs;
