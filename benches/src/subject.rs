//! What is measured: a program that boots the guest with its console on stdin and stdout, or this machine itself.

use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The guest: the same for all subjects.
pub struct Machine {
    pub kernel: PathBuf,
    /// `None` for guests without an operating system.
    pub initrd: Option<PathBuf>,
    /// MiB.
    pub memory: u32,
    /// The kernel's command line.
    pub append: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Ours,
    Qemu,
    Native,
}

pub struct Subject {
    pub name: String,
    pub kind: Kind,
    program: PathBuf,
    /// Arguments before and after those that describe the guest.
    fixed: Vec<String>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ is in the project").to_owned()
}

impl Subject {
    /// A launcher: `NAME=PATH`, `PATH`, or the one built beside this program.
    pub fn ours(launcher: Option<&str>, accel: &str, extra: &[String]) -> Self {
        let (name, program) = match launcher {
            Some(given) => match given.split_once('=') {
                Some((name, path)) => (name.to_owned(), path.into()),
                None => (given.to_owned(), given.into()),
            },
            None => {
                let exe = std::env::current_exe().unwrap_or_default();
                (format!("ours ({accel})"), exe.with_file_name("host-launcher"))
            }
        };
        let fixed = ["--accel", accel].map(str::to_owned).into_iter().chain(extra.iter().cloned()).collect();
        Self { name, kind: Kind::Ours, program, fixed }
    }

    pub fn qemu(program: &Path, cpu: &str) -> Self {
        let fixed = ["-M", "virt", "-accel", "tcg", "-nographic", "-nic", "none", "-no-reboot", "-cpu", cpu];
        let model = cpu.split(',').next().unwrap_or(cpu);
        Self {
            name: format!("QEMU {model}"),
            kind: Kind::Qemu,
            program: program.into(),
            fixed: fixed.map(str::to_owned).to_vec(),
        }
    }

    pub fn native() -> Self {
        Self { name: "native".into(), kind: Kind::Native, program: PathBuf::new(), fixed: Vec::new() }
    }

    /// The command that boots the guest.
    pub fn command(&self, machine: &Machine) -> Result<Command, String> {
        for file in [Some(&machine.kernel), machine.initrd.as_ref()].into_iter().flatten() {
            if !file.exists() {
                return Err(format!(
                    "{} is missing: run scripts/fetch-guest and scripts/make-initramfs",
                    file.display()
                ));
            }
        }
        let mut command = Command::new(&self.program);
        command.args(&self.fixed).arg("-m").arg(format!("{}M", machine.memory));
        command.arg("-kernel").arg(&machine.kernel);
        if let Some(initrd) = &machine.initrd {
            command.arg("-initrd").arg(initrd);
        }
        command.arg("-append").arg(&machine.append);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_may_be_named() {
        assert_eq!(Subject::ours(Some("new=/a/b"), "kvm", &[]).program, Path::new("/a/b"));
        assert_eq!(Subject::ours(Some("new=/a/b"), "kvm", &[]).name, "new");
        assert_eq!(Subject::ours(Some("/a/b"), "kvm", &[]).program, Path::new("/a/b"));
        assert_eq!(Subject::ours(None, "kvm", &["-v".into()]).fixed, ["--accel", "kvm", "-v"]);
    }
}
