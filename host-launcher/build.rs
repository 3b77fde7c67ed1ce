//! Builds the unikernel, so that `cargo build` of the launcher is all there is to it, and the self-test, with the assembler
//! that the description yields.
//!
//! The inner cargo has a target directory of its own: sharing the outer one would wait for its lock for ever.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spec_compiler::asm::{AsmError, Assembler};

/// What of the outer build must not leak into the inner one.
const OUTER: &[&str] = &[
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "RUSTC",
    "RUSTDOC",
    "TARGET",
    "HOST",
    "PROFILE",
    "OPT_LEVEL",
    "DEBUG",
    "NUM_JOBS",
];

/// The self-test's files, in the order in which they lie in memory.
const SELF_TEST: &[&str] = &[
    "start",
    "console",
    "arithmetic",
    "memory",
    "branches",
    "atomics",
    "float",
    "simd",
    "exceptions",
    "mmu",
    "faults",
    "pauth",
    "bti",
    "timer",
    "code",
];
/// Where the launcher puts it: RAM and the image's offset.
const SELF_TEST_BASE: u64 = 0x4008_0000;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("..");
    let image = out.join("dbt-kernel.elf");
    for path in [
        "dbt-kernel",
        "x86-backend",
        "armv8-guest",
        "devices",
        "arch-specs",
        "spec-compiler",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=selftest");
    println!("cargo::rerun-if-env-changed=RUSTC_WORKSPACE_WRAPPER");
    println!("cargo::rerun-if-env-changed=DBT_KERNEL_ELF");

    match self_test(&root) {
        Ok(image) => fs::write(out.join("selftest.img"), image).expect("OUT_DIR is writable"),
        Err(error) => panic!("the self-test doesn't assemble: {error}"),
    }
    if let Some(path) = env::var_os("DBT_KERNEL_ELF") {
        fs::copy(&path, &image).expect("DBT_KERNEL_ELF names a readable file");
        return;
    }
    // Linters need the file, not its content.
    if env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|wrapper| wrapper.to_string_lossy().contains("clippy")) {
        fs::write(&image, b"").expect("OUT_DIR is writable");
        return;
    }
    let built = build(&root, &target_dir(&out));
    fs::copy(&built, &image).expect("the unikernel was built");
}

/// Assembles the self-test: its files see each other's labels.
fn self_test(root: &Path) -> Result<Vec<u8>, String> {
    let description = root.join("arch-specs/armv8-a/armv8-a.isa");
    let checked = spec_compiler::build::check(&description).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut starts = Vec::new();
    for part in SELF_TEST {
        let path = format!("selftest/{part}.s");
        let part = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        starts.push((text.lines().count(), path));
        text.push_str(&part);
    }
    Assembler::new(&checked.model).program(&text, SELF_TEST_BASE).map_err(|error| match error {
        AsmError::Line { line, message } => match starts.iter().rev().find(|(start, _)| *start < line) {
            Some((start, path)) => format!("{path}:{}: {message}", line - start),
            None => message,
        },
        error @ AsmError::NoMatch(_) => error.to_string(),
    })
}

/// `target/kernel-image`, shared by all profiles of the launcher, if OUT_DIR is where cargo puts it
/// (`target/PROFILE/build/NAME/out`).
fn target_dir(out: &Path) -> PathBuf {
    out.ancestors().nth(4).map_or_else(|| out.join("kernel-image"), |target| target.join("kernel-image"))
}

fn build(root: &Path, target_dir: &Path) -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OUTER.contains(&&*text)
            || text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
            || text.starts_with("DEP_")
        {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .current_dir(root)
        .args(["build", "--quiet", "--package", "dbt-kernel", "--bin", "dbt-kernel", "--features", "bare-metal"])
        .args(["--profile", "kernel", "--target-dir"])
        .arg(target_dir)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the unikernel (dbt-kernel) doesn't build: {status}");
    target_dir.join("kernel").join("dbt-kernel")
}
