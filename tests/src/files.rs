//! Where the launcher and the guest's files are.

use std::path::{Path, PathBuf};

/// The launcher's binary of the same profile as this test.
///
/// # Panics
/// When it was not built: `cargo build -p host-launcher` (`scripts/test` does it).
#[must_use]
pub fn launcher() -> PathBuf {
    let exe = std::env::current_exe().expect("a test has an executable");
    let path = exe.ancestors().nth(2).expect("tests run in target/PROFILE/deps").join("host-launcher");
    assert!(path.exists(), "{} is missing: run `cargo build -p host-launcher` first", path.display());
    path
}

/// The project's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").to_owned()
}

/// A file that `scripts/fetch-guest` made.
///
/// # Panics
/// When it did not.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = root().join("target/guest").join(name);
    assert!(path.exists(), "{} is missing: run scripts/fetch-guest", path.display());
    path
}

/// Whether this machine can run virtual machines. Tests that need one say so and pass without.
#[must_use]
pub fn has_kvm() -> bool {
    let usable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if !usable {
        eprintln!("/dev/kvm is not usable here: only --accel hosted is tested");
    }
    usable
}

/// The accelerators to test on this machine.
#[must_use]
pub fn accelerators() -> Vec<&'static str> {
    if has_kvm() { vec!["hosted", "kvm"] } else { vec!["hosted"] }
}

/// The launcher's options for each accelerator and memory strategy to test on this machine.
#[must_use]
pub fn machines() -> Vec<&'static [&'static str]> {
    const HOSTED: &[&str] = &["--accel", "hosted"];
    const SOFT: &[&str] = &["--accel", "kvm", "--mmu", "soft"];
    const HOST: &[&str] = &["--accel", "kvm", "--mmu", "host"];
    const AUTO: &[&str] = &["--accel", "kvm", "--mmu", "auto"];
    if has_kvm() { vec![HOSTED, SOFT, HOST, AUTO] } else { vec![HOSTED] }
}
