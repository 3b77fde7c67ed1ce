//! What the end-to-end tests share: building initramfs images, finding guest files, driving a console.

pub mod initramfs;
