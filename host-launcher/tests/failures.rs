//! What a user gets for mistakes: exit code 2 and one clear sentence, before anything runs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file with an Image header that asks for `size` bytes.
    fn image(&self, size: u64) -> PathBuf {
        let mut bytes = vec![0; 4096];
        bytes[16..24].copy_from_slice(&size.to_le_bytes());
        bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
        self.file("Image", &bytes)
    }
}

fn launch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-launcher")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// The launcher refuses `args` with exactly one line that contains `expected`.
#[track_caller]
fn refused(args: &[&str], expected: &str) {
    let output = launch(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn files_that_are_not_there() {
    let files = Files::new();
    let image = files.image(4096);
    let image = image.to_str().unwrap();
    refused(&["--kernel", "/no/such/file"], "can't read the kernel /no/such/file: No such file");
    refused(&["-kernel", "/no/such/file"], "can't read the kernel /no/such/file: No such file");
    refused(&["--kernel", image, "--initrd", "/no/such/file"], "can't read the initrd");
    refused(&["--kernel", image, "--dtb", "/no/such/file"], "can't read the device tree");
    refused(&["--kernel", image, "--dump-dtb", "/no/such/directory/x"], "can't write the device tree");
}

#[test]
fn files_that_are_something_else() {
    let files = Files::new();
    let image = files.image(4096);
    let image = image.to_str().unwrap();
    let text = files.file("text", &[b'x'; 5000]);
    let text = text.to_str().unwrap();
    refused(&["--kernel", text], "it is not an arm64 Image");
    refused(&["--kernel", env!("CARGO_BIN_EXE_host-launcher")], "it is an ELF file");
    refused(&["--kernel", image, "--dtb", text], "it is not a device tree blob");
    let empty = files.file("empty", b"");
    refused(&["--kernel", image, "--initrd", empty.to_str().unwrap()], "it is empty");
    let truncated = files.file("dtb", &[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 1, 0]);
    refused(&["--kernel", image, "--dtb", truncated.to_str().unwrap()], "it is truncated");
}

#[test]
fn impossible_machines() {
    let files = Files::new();
    let image = files.image(64 << 20);
    let image = image.to_str().unwrap();
    refused(&["--kernel", image, "-m", "32M"], "32 MiB of RAM are too little");
    refused(&["--kernel", image, "-m", "3000k"], "RAM must be a multiple of 2 MiB");
    refused(&["--kernel", image, "--smp", "4"], "use --smp 1");
    refused(&["--kernel", image, "-m", "0"], "RAM must be a multiple of 2 MiB");
}

#[test]
fn the_host_mmu_needs_a_virtual_machine() {
    refused(&["--accel", "hosted", "--mmu", "host"], "--mmu host needs a virtual machine");
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["--no-such-option"][..], &["-M", "raspi3b"], &["-m", "lots"], &["--accel", "xen"]] {
        let output = launch(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_dumped_tree_is_one_that_can_be_given() {
    let files = Files::new();
    // The machine is too small for the kernel: the tree is written, nothing runs.
    let image = files.image(64 << 20);
    let dumped = files.0.path().join("dump.dtb");
    let again = files.0.path().join("again.dtb");
    let args = ["--kernel", image.to_str().unwrap(), "-m", "32M", "--append", "console=ttyAMA0"];
    let output = launch(&[&args[..], &["--dump-dtb", dumped.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(2));
    let blob = fs::read(&dumped).unwrap();
    assert!(blob.windows(15).any(|part| part == b"console=ttyAMA0"));
    let trees = ["--dtb", dumped.to_str().unwrap(), "--dump-dtb", again.to_str().unwrap()];
    launch(&[&args[..4], &trees[..]].concat());
    let blob = fs::read(&again).unwrap();
    assert!(blob.windows(15).any(|part| part == b"console=ttyAMA0"), "without --append the tree's own arguments stay");
}
