//! The `apps` suite: programs from Debian, for the guest and for this machine in the same versions, on made-up input.
//!
//! `scripts/fetch-apps` puts a tree of packages per architecture into `target/guest/apps`. Nothing is installed: programs run
//! through the tree's own dynamic linker with the tree's libraries, in the guest and natively alike. Each `benches/apps/NAME.sh`
//! runs one, under `timer`. An input that only the programs themselves can make is made here, natively, by `prepare/FILE.sh`.

use crate::compile::{Compiler, GUEST, NATIVE, header, is_current};
use crate::image;
use crate::inputs;
use crate::job::{Clock, InGuest, Job};
use crate::subject::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An architecture's tree and what things are called in it.
struct Tree {
    debian: &'static str,
    triplet: &'static str,
    loader: &'static str,
    compiler: Compiler,
}

const TREES: [Tree; 2] = [
    Tree { debian: "arm64", triplet: "aarch64-linux-gnu", loader: "lib/ld-linux-aarch64.so.1", compiler: GUEST },
    Tree {
        debian: "amd64",
        triplet: "x86_64-linux-gnu",
        loader: "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        compiler: NATIVE,
    },
];

/// Parts of the packages that no program here needs.
const UNUSED: &[&str] = &[
    "var",
    "etc",
    "sbin",
    "usr/sbin",
    "usr/include",
    "usr/share/X11",
    "usr/share/bash-completion",
    "usr/share/gromacs",
    "usr/share/perl/5.36.0/pod",
    "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/aarch64-linux-gnu/perl",
    "usr/lib/aarch64-linux-gnu/openmpi",
    "usr/lib/aarch64-linux-gnu/libx264.a",
    "usr/lib/aarch64-linux-gnu/libquantum.a",
    "usr/lib/aarch64-linux-gnu/libgromacs_d.so.7.0.0",
    "usr/lib/aarch64-linux-gnu/libgromacs_mpi.so.7.0.0",
    "usr/lib/aarch64-linux-gnu/libgromacs_mpi_d.so.7.0.0",
];

impl Tree {
    fn directory(&self) -> PathBuf {
        root().join("target/guest/apps").join(self.debian)
    }

    fn made(&self) -> PathBuf {
        root().join("target/bench/apps").join(self.debian)
    }

    /// Builds the timer and the drivers of libraries; gives their names.
    fn build(&self) -> Result<Vec<String>, String> {
        let made = self.made();
        std::fs::create_dir_all(&made).map_err(|e| format!("cannot make {}: {e}", made.display()))?;
        let mut names = Vec::new();
        for source in files("c")? {
            let name = stem(&source);
            let output = made.join(&name);
            if !is_current(&output, std::slice::from_ref(&source)) {
                let text = std::fs::read_to_string(&source).map_err(|e| e.to_string())?;
                let archives = header(&text, "archives").unwrap_or_default();
                let libraries = self.directory().join("usr/lib").join(self.triplet);
                let mut extra = vec!["-idirafter".into(), self.directory().join("usr/include").into_os_string()];
                extra.extend(archives.split_whitespace().map(|a| libraries.join(a).into_os_string()));
                self.compiler.build_with(&source, &output, &extra)?;
            }
            names.push(name);
        }
        Ok(names)
    }

    /// What the programs' scripts expect: where the tree, the inputs and the drivers are.
    fn variables(&self, tree: &str, input: &str, drivers: &str) -> Vec<String> {
        vec![
            format!("ROOT={tree}"),
            format!("INPUT={input}"),
            format!("DRIVERS={drivers}"),
            format!("TRIPLET={}", self.triplet),
            format!("LOADER={}", self.loader),
        ]
    }

    /// Makes the inputs that programs make: `prepare/FILE.sh` leaves FILE in its working directory.
    fn prepare(&self, input: &Path) -> Result<(), String> {
        let (tree, scripts, made) = (self.directory(), sources().join("prepare"), self.made());
        let failed = |e: std::io::Error| format!("cannot read {}: {e}", scripts.display());
        let entries = std::fs::read_dir(&scripts).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut depends: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
        depends.push(tree.join("ready"));
        for script in crate::compile::files(&scripts, "sh")? {
            let name = stem(&script);
            let output = input.join(&name);
            if is_current(&output, &depends) {
                continue;
            }
            let [root, into, drivers] = [&tree, input, &made].map(Path::to_string_lossy);
            let mut command = Command::new("env");
            command.args(self.variables(&root, &into, &drivers)).arg("sh").arg(&script).current_dir(&made);
            let done = command.output().map_err(|e| format!("cannot run {}: {e}", script.display()))?;
            if !done.status.success() {
                return Err(format!("{} fails:\n{}", script.display(), String::from_utf8_lossy(&done.stderr)));
            }
            std::fs::rename(made.join(&name), &output).map_err(|e| format!("cannot make {}: {e}", output.display()))?;
        }
        Ok(())
    }
}

fn sources() -> PathBuf {
    root().join("benches/apps")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn files(extension: &str) -> Result<Vec<PathBuf>, String> {
    crate::compile::files(&sources(), extension)
}

/// Name, group and whether results are the same on this machine.
fn programs() -> Result<Vec<(String, String, bool)>, String> {
    let mut programs = Vec::new();
    for script in files("sh")?.into_iter().filter(|path| stem(path) != "prelude") {
        let text = std::fs::read_to_string(&script).map_err(|e| format!("cannot read {}: {e}", script.display()))?;
        let group = header(&text, "group").ok_or_else(|| format!("{} names no group", script.display()))?;
        let portable = !header(&text, "portable").is_some_and(|value| value.starts_with("no"));
        programs.push((stem(&script), group, portable));
    }
    programs.sort_by_key(|(_, group, _)| group == "fp");
    Ok(programs)
}

/// Whether the script fetched these packages: it leaves a copy of its list.
fn has_packages(tree: &Path, packages: &[u8]) -> Result<(), String> {
    match std::fs::read(tree.join("ready")) {
        Ok(fetched) if fetched == packages => Ok(()),
        Ok(_) => Err(format!("{} has other packages: run scripts/fetch-apps", tree.display())),
        Err(_) => Err(format!("{} is missing: run scripts/fetch-apps", tree.display())),
    }
}

/// Builds what is needed and the initramfs; gives the jobs of the programs wanted.
pub fn prepare(wanted: impl Fn(&str, &str) -> bool) -> Result<(Vec<Job>, PathBuf), String> {
    let list = sources().join("packages");
    let packages = std::fs::read(&list).map_err(|e| format!("cannot read {}: {e}", list.display()))?;
    for tree in &TREES {
        has_packages(&tree.directory(), &packages)?;
    }
    let input = root().join("target/bench/apps/input");
    inputs::write(&input)?;
    let [guest, native] = &TREES;
    let mut members = image::Members::new();
    for name in guest.build()? {
        members.file(guest.made().join(&name), format!("bench/drivers/{name}"));
    }
    native.build()?;
    native.prepare(&input)?;
    members.tree(&sources(), "bench/apps", &[])?;
    members.tree(&input, "bench/input", &[])?;
    members.tree(&guest.directory(), "apps", UNUSED)?;
    let initramfs = root().join("target/bench/apps.cpio");
    if !is_current(&initramfs, &members.inputs()) {
        image::write(&initramfs, members)?;
    }

    let mut jobs = Vec::new();
    for (name, group, portable) in programs()? {
        if !wanted(&name, &group) {
            continue;
        }
        let in_guest = guest.variables("/apps", "/bench/input", "/bench/drivers").join(" ");
        let made = native.made();
        let here =
            native.variables(&native.directory().to_string_lossy(), &input.to_string_lossy(), &made.to_string_lossy());
        let script = sources().join(format!("{name}.sh")).to_string_lossy().into_owned();
        let timer = made.join("timer").to_string_lossy().into_owned();
        jobs.push(Job {
            guest: InGuest::Line(format!("{in_guest} /bench/drivers/timer sh /bench/apps/{name}.sh")),
            native: Some(("env".into(), here.into_iter().chain([timer, "sh".into(), script]).collect())),
            name,
            group,
            clock: Clock::Program,
            portable,
        });
    }
    Ok((jobs, initramfs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_a_group_and_fp_comes_last() {
        let programs = programs().unwrap();
        assert!(programs.iter().all(|(_, group, _)| group == "integer" || group == "fp"));
        assert!(programs.iter().map(|(_, group, _)| group == "fp").is_sorted());
        assert!(programs.iter().any(|(name, _, portable)| name == "cc1" && !portable));
        assert!(programs.iter().any(|(name, _, portable)| name == "bzip2" && *portable));
    }

    #[test]
    fn a_tree_of_other_packages_is_fetched_again() {
        let directory = tempfile::tempdir().unwrap();
        assert!(has_packages(directory.path(), b"perl\n").unwrap_err().contains("is missing"));
        std::fs::write(directory.path().join("ready"), "perl\n").unwrap();
        assert_eq!(has_packages(directory.path(), b"perl\n"), Ok(()));
        assert!(has_packages(directory.path(), b"perl\ngromacs\n").unwrap_err().contains("other packages"));
    }

    #[test]
    fn the_timer_reports_time_checksum_and_failure() {
        let directory = tempfile::tempdir().unwrap();
        let timer = directory.path().join("timer");
        NATIVE.build(&sources().join("timer.c"), &timer).unwrap();
        let run = |line: &str| std::process::Command::new(&timer).args(["sh", "-c", line]).output().unwrap();
        let text = |line: &str| String::from_utf8(run(line).stdout).unwrap();
        let checksum = |line: &str| text(line).split_once("checksum=").unwrap().1.to_owned();
        assert_eq!(checksum("printf ab"), checksum("printf a; printf b"));
        assert_ne!(checksum("printf ab"), checksum("printf ac"));
        let failed = run("echo why >&2; exit 3");
        assert_eq!(failed.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&failed.stdout).contains("why"));
    }
}
