//! Guest programs in C, and an initramfs to run one from BusyBox's shell.

use crate::files;
use crate::initramfs::Archive;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a source file of the project, or those in a directory, statically for the guest.
///
/// # Panics
/// When that fails.
pub fn compile(source: &str, to: &Path) {
    let source = files::root().join(source);
    let sources = if source.is_dir() {
        let files = fs::read_dir(&source).expect("the directory is there").map(|file| file.expect("a file").path());
        files.filter(|path| path.extension() == Some("c".as_ref())).collect()
    } else {
        vec![source]
    };
    let mut gcc = Command::new("aarch64-linux-gnu-gcc");
    let compiled = gcc.args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(to).args(sources).status();
    assert!(compiled.expect("an arm64 cross compiler is installed").success(), "the program compiles");
}

/// Makes an initramfs with BusyBox and the program, as `/bin/NAME`.
///
/// # Panics
/// When a file is missing or the directory can't be written to.
#[must_use]
pub fn initramfs(dir: &Path, program: &Path, name: &str) -> PathBuf {
    let path = dir.join("initramfs.cpio");
    let mut archive = Archive::new(Vec::new());
    for name in ["dev", "bin"] {
        archive.directory(name).expect("written to memory");
    }
    archive.character_device("dev/console", 5, 1).expect("written to memory");
    let members = [
        ("bin/busybox", files::guest("busybox")),
        ("init", files::root().join("scripts/initramfs/init")),
        (&format!("bin/{name}"), program.to_owned()),
    ];
    for (name, from) in members {
        let data = fs::read(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        archive.file(name, 0o755, &data).expect("written to memory");
    }
    fs::write(&path, archive.finish().expect("written to memory")).expect("the directory is writable");
    path
}
