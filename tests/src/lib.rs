//! What the end-to-end tests share: building initramfs images, finding guest files, driving a guest's console.

pub mod console;
pub mod files;
pub mod initramfs;
