//! The `micro` suite: the programs in `benches/micro`, which need no operating system and do one thing to the processor each.

use crate::compile::{Program, build_image, files, is_current, programs};
use crate::job::{Clock, InGuest, Job};
use crate::subject::root;
use std::path::PathBuf;

/// In the order in which they are shown.
const GROUPS: [&str; 5] = ["code generation", "control flow", "exceptions", "memory", "I/O"];
/// MiB of RAM that the programs expect.
pub const MEMORY: u32 = 512;

fn sources() -> PathBuf {
    root().join("benches/micro")
}

fn all() -> Result<Vec<Program>, String> {
    programs(&sources(), &GROUPS)
}

/// Builds the programs; gives the jobs of those wanted.
pub fn prepare(wanted: impl Fn(&str, &str) -> bool) -> Result<Vec<Job>, String> {
    let made = root().join("target/bench/micro");
    std::fs::create_dir_all(&made).map_err(|e| format!("cannot make {}: {e}", made.display()))?;
    let common: Vec<PathBuf> =
        ["h", "S", "ld"].iter().map(|extension| files(&sources(), extension)).collect::<Result<Vec<_>, _>>()?.concat();
    let mut jobs = Vec::new();
    for program in all()? {
        if !wanted(&program.name, &program.group) {
            continue;
        }
        let image = made.join(&program.name);
        let inputs: Vec<PathBuf> = common.iter().chain([&program.source]).cloned().collect();
        if !is_current(&image, &inputs) {
            build_image(&program.source, &image)?;
        }
        jobs.push(Job {
            name: program.name,
            group: program.group,
            clock: Clock::Program,
            portable: true,
            guest: InGuest::Image(image),
            native: None,
        });
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tests::files::{launcher, machines};
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// Runs an Image with little work; gives its checksum.
    fn checksum(command: &mut Command, image: &Path) -> String {
        command.args(["-m", "512M", "-append", "iterations=67", "-kernel"]).arg(image).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        let Some((_, checksum)) = text.split_once("checksum=") else { panic!("{command:?}: {text}") };
        assert!(text.starts_with("start\nseconds="), "{command:?}: {text}");
        checksum.trim().to_owned()
    }

    #[test]
    fn every_group_has_programs() {
        let programs = all().unwrap();
        for group in GROUPS {
            assert!(programs.iter().filter(|p| p.group == group).count() >= 2, "{group}");
        }
    }

    #[test]
    fn programs_find_that_they_did_what_they_say() {
        // They check themselves. With another number of iterations the result is another.
        let directory = tempfile::tempdir().unwrap();
        for program in all().unwrap() {
            let image = directory.path().join(&program.name);
            build_image(&program.source, &image).unwrap();
            let mut results = Vec::new();
            for machine in machines() {
                results.push(checksum(Command::new(launcher()).args(machine).args(["--timeout", "60"]), &image));
            }
            if let Ok(qemu) = Command::new("qemu-system-aarch64").arg("--version").output()
                && qemu.status.success()
            {
                let mut command = Command::new("timeout");
                command.args("60 qemu-system-aarch64 -M virt -cpu cortex-a57 -nographic -nic none".split(' '));
                results.push(checksum(&mut command, &image));
            }
            assert!(results.iter().all(|result| *result == results[0]), "{}: {results:?}", program.name);
        }
    }
}
