//! The `kernels` suite: the C programs in `benches/kernels`, one concept each, in the guest and on this machine.

use crate::compile::{GUEST, NATIVE, Program, files, is_current, programs};
use crate::image;
use crate::job::{Clock, InGuest, Job};
use crate::subject::root;
use std::path::PathBuf;

/// In the order in which they are shown.
const GROUPS: [&str; 4] = ["integer", "fp", "memory", "system"];

fn sources() -> PathBuf {
    root().join("benches/kernels")
}

fn all() -> Result<Vec<Program>, String> {
    programs(&sources(), &GROUPS)
}

/// Builds the programs and an initramfs with them; gives the jobs of those wanted.
pub fn prepare(wanted: impl Fn(&str, &str) -> bool) -> Result<(Vec<Job>, PathBuf), String> {
    let made = root().join("target/bench");
    for directory in ["guest", "native"] {
        std::fs::create_dir_all(made.join(directory)).map_err(|e| format!("cannot make {}: {e}", made.display()))?;
    }
    let headers = files(&sources(), "h")?;
    let mut jobs = Vec::new();
    let mut members = image::Members::new();
    for kernel in all()? {
        let inputs: Vec<PathBuf> = headers.iter().chain([&kernel.source]).cloned().collect();
        let build = |directory: &str, compiler: &crate::compile::Compiler| -> Result<PathBuf, String> {
            let output = made.join(directory).join(&kernel.name);
            if !is_current(&output, &inputs) {
                compiler.build(&kernel.source, &output)?;
            }
            Ok(output)
        };
        let guest = build("guest", &GUEST)?;
        let native = build("native", &NATIVE)?;
        let member = format!("bench/{}", kernel.name);
        if wanted(&kernel.name, &kernel.group) {
            jobs.push(Job {
                guest: InGuest::Line(format!("/{member}")),
                name: kernel.name,
                group: kernel.group,
                clock: Clock::Program,
                portable: true,
                native: Some((native, Vec::new())),
            });
        }
        members.file(guest, member);
    }
    let initramfs = made.join("kernels.cpio");
    if !is_current(&initramfs, &members.inputs()) {
        image::write(&initramfs, members)?;
    }
    Ok((jobs, initramfs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_programs_and_every_program_a_group() {
        let kernels = all().unwrap();
        for group in GROUPS {
            assert!(kernels.iter().filter(|k| k.group == group).count() >= 5, "{group}");
        }
        assert!(kernels.iter().map(|k| GROUPS.iter().position(|&g| g == k.group)).is_sorted());
    }

    #[test]
    fn programs_give_the_same_result_for_the_guest() {
        // A few, under the user-mode emulator, with little work: the suite itself compares all on every run.
        let directory = tempfile::tempdir().unwrap();
        for name in ["quicksort", "fft", "libm_pow", "hash_join"] {
            let kernel = all().unwrap().into_iter().find(|k| k.name == name).unwrap();
            let results = [(&GUEST, Some("qemu-aarch64")), (&NATIVE, None)].map(|(compiler, runner)| {
                let program = directory.path().join(name);
                compiler.build(&kernel.source, &program).unwrap();
                let mut command = std::process::Command::new(runner.map_or(program.as_os_str(), std::ffi::OsStr::new));
                if runner.is_some() {
                    command.arg(&program);
                }
                let output = String::from_utf8(command.arg("1").output().unwrap().stdout).unwrap();
                output.split_once("checksum=").unwrap().1.to_owned()
            });
            assert_eq!(results[0], results[1], "{name}");
        }
    }
}
