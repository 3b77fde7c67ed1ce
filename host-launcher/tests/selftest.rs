//! What runs without a kernel: the self-test passes, and a machine that fails it is told apart.

use std::fs;
use std::process::{Command, Output, Stdio};

/// Every part says that its checks passed.
const PARTS: &[&str] = &[
    "arithmetic, logic and flags",
    "loads and stores",
    "branches and loops",
    "exclusives and atomics",
    "scalar floating point",
    "vectors",
    "exceptions",
    "address translation",
    "faults",
    "pointer authentication",
    "branch target identification",
    "timer interrupts",
    "self-modifying code",
];

fn launch(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-launcher")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn passes(accel: &str, mmu: &str) {
    let output = launch(&["--accel", accel, "--mmu", mmu, "-m", "64M"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{accel}, {mmu}: {stdout}{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), PARTS.len() + 2, "{stdout}");
    for (line, part) in lines[1..].iter().zip(PARTS) {
        assert!(line.starts_with(&format!("{part}: ")) && line.ends_with(" checks passed"), "{line}");
    }
    assert_eq!(lines.last(), Some(&"Self-test passed"));
}

#[test]
fn passes_hosted() {
    passes("hosted", "soft");
}

#[test]
fn passes_in_a_virtual_machine() {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_ok() {
        passes("kvm", "soft");
        // The host's MMU reports to the guest what the software TLB does: the same checks hold.
        passes("kvm", "host");
        passes("kvm", "auto");
    }
}

#[test]
fn a_machine_that_fails_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dtb");
    let path = path.to_str().unwrap();
    assert_eq!(launch(&["--accel", "hosted", "-m", "64M", "--dump-dtb", path]).status.code(), Some(0));
    // The interrupt controller's distributor moves away from where the test looks for it.
    let mut blob = fs::read(path).unwrap();
    let at = blob.windows(8).position(|part| part == 0x0800_0000_u64.to_be_bytes()).unwrap();
    blob[at..at + 8].copy_from_slice(&0x0a00_0000_u64.to_be_bytes());
    fs::write(path, blob).unwrap();
    let output = launch(&["--accel", "hosted", "-m", "64M", "--dtb", path]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("Self-test failed: timer interrupts, check 0: exception, ESR"), "{stdout}");
}

#[test]
fn a_kernel_is_missed_by_what_needs_one() {
    for option in ["--initrd", "--append"] {
        let output = launch(&[option, "/dev/null"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("need --kernel"));
    }
}
