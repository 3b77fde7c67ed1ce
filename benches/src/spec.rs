//! The `spec2006` suite: a user's own SPEC CPU2006 tree, its arm64 programs run in the guest.
//!
//! Nothing of SPEC is part of this project. What `runspec --action=setup` leaves in the tree is used as it is: a run directory per
//! benchmark with its program, its input and `speccmds.cmd`, the command lines in the options of SPEC's `specinvoke`.

use crate::compile::GUEST;
use crate::image;
use crate::job::{Clock, InGuest, Job};
use crate::subject::root;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// CINT2006; the others are CFP2006.
const INTEGER: [u32; 12] = [400, 401, 403, 429, 445, 456, 458, 462, 464, 471, 473, 483];
/// ELF's number of the machine.
const AARCH64: u16 = 183;
const PT_INTERP: u32 = 3;

pub struct Tree {
    pub directory: PathBuf,
    /// test, train or ref.
    pub size: String,
}

/// A benchmark that is set up to run.
pub struct Benchmark {
    /// As in 401.bzip2.
    pub name: String,
    run: PathBuf,
    steps: Vec<Step>,
}

/// One line of `speccmds.cmd`.
#[derive(Debug, Default, PartialEq)]
struct Step {
    input: Option<String>,
    output: Option<String>,
    errors: Option<String>,
    variables: Vec<(String, String)>,
    command: String,
}

impl Step {
    /// `None` for lines that run nothing. Options that concern SPEC's own bookkeeping are skipped.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let mut step = Self::default();
        let mut rest = line.trim();
        while let Some(option) = rest.split_whitespace().next().filter(|word| word.starts_with('-')) {
            rest = rest[option.len()..].trim_start();
            let mut value = || -> Result<String, String> {
                let value = rest.split_whitespace().next().ok_or_else(|| format!("'{line}': {option} has no value"))?;
                rest = rest[value.len()..].trim_start();
                Ok(value.to_owned())
            };
            match option {
                "-i" => step.input = Some(value()?),
                "-o" => step.output = Some(value()?),
                "-e" => step.errors = Some(value()?),
                "-E" => {
                    let name = value()?;
                    step.variables.push((name, value()?));
                }
                "-C" | "-b" | "-S" | "-u" | "-s" => drop(value()?),
                "-r" | "-N" | "-k" => {}
                _ => return Err(format!("'{line}': the option {option} is not known")),
            }
        }
        step.command = rest.to_owned();
        Ok((!rest.is_empty() && !rest.starts_with('#')).then_some(step))
    }

    /// A line for the shell. The command is as in the file: SPEC quotes for a shell, too.
    fn shell(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.variables {
            let _ = write!(line, "{name}='{}' ", value.replace('\'', "'\\''"));
        }
        line += &self.command;
        let _ = write!(line, " <{}", self.input.as_deref().unwrap_or("/dev/null"));
        if let Some(output) = &self.output {
            let _ = write!(line, " >>{output}");
        }
        if let Some(errors) = &self.errors {
            let _ = write!(line, " 2>>{errors}");
        }
        line
    }
}

impl Benchmark {
    pub fn group(&self) -> &'static str {
        let number = self.name.split('.').next().and_then(|n| n.parse().ok());
        if number.is_some_and(|n: u32| INTEGER.contains(&n)) { "integer" } else { "fp" }
    }

    /// The name of the run directory, which command lines name: `../run_base_ref_x.0000/bzip2_base.x`.
    fn run_name(&self) -> String {
        self.run.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What the guest runs in the run directory; its output is what the steps wrote.
    fn script(&self) -> String {
        let mut script = "set -e\nulimit -s unlimited\n".to_owned();
        let outputs: Vec<&str> = self.steps.iter().filter_map(|step| step.output.as_deref()).collect();
        for step in &self.steps {
            let _ = writeln!(script, "{}", step.shell());
        }
        let mut seen = Vec::new();
        for output in outputs {
            if !seen.contains(&output) {
                seen.push(output);
                let _ = writeln!(script, "cat {output}");
            }
        }
        script
    }

    fn programs(&self) -> Result<Vec<PathBuf>, String> {
        let mut programs = Vec::new();
        for step in &self.steps {
            let word = step.command.split_whitespace().next().unwrap_or_default();
            let path = self.run.join(word);
            if !programs.contains(&path) {
                programs.push(path);
            }
        }
        Ok(programs)
    }
}

/// Says what is wrong with a program that the guest could not run.
fn check_program(path: &Path) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let half = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if !bytes.starts_with(b"\x7fELF\x02\x01") || half(18) != Some(AARCH64) {
        return Err(format!("{} is not an arm64 program", path.display()));
    }
    let headers = word(32).unwrap_or(0) as usize;
    let (size, count) = (usize::from(half(54).unwrap_or(0)), usize::from(half(56).unwrap_or(0)));
    if (0..count).any(|n| word(headers.saturating_add(n * size)) == Some(PT_INTERP)) {
        return Err(format!("{} is linked dynamically: link with -static", path.display()));
    }
    Ok(())
}

impl Tree {
    /// Lets SPEC build and set up its run directories as the user's configuration says.
    pub fn set_up(&self, config: &str, benchmarks: &str) -> Result<(), String> {
        let line = "cd \"$0\" && . ./shrc && runspec --config=\"$1\" --action=setup --tune=base --size=\"$2\" $3";
        let mut command = Command::new("bash");
        command.args(["-c", line]).arg(&self.directory).args([config, &self.size, benchmarks]);
        let status = command.status().map_err(|e| format!("cannot run bash: {e}"))?;
        if status.success() { Ok(()) } else { Err(format!("runspec --config={config} --action=setup: {status}")) }
    }

    /// The benchmarks that are set up: of each the newest run directory for this size.
    pub fn benchmarks(&self) -> Result<Vec<Benchmark>, String> {
        let all = self.directory.join("benchspec/CPU2006");
        let mut benchmarks = Vec::new();
        for directory in directories(&all)? {
            let runs = directory.join("run");
            let prefix = format!("run_base_{}_", self.size);
            let is_ours = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with(&prefix) && path.join("speccmds.cmd").exists()
            };
            let of_size = if runs.exists() { directories(&runs)? } else { Vec::new() };
            let Some(run) = of_size.into_iter().filter(is_ours).max_by_key(|path| modified(path)) else { continue };
            let commands = run.join("speccmds.cmd");
            let text =
                std::fs::read_to_string(&commands).map_err(|e| format!("cannot read {}: {e}", commands.display()))?;
            let steps = text.lines().map(Step::parse).collect::<Result<Vec<_>, _>>();
            let steps = steps.map_err(|e| format!("{}: {e}", commands.display()))?.into_iter().flatten().collect();
            let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            benchmarks.push(Benchmark { name, run, steps });
        }
        if benchmarks.is_empty() {
            return Err(format!(
                "{} has no run directories for size {}: use --config, or runspec --action=setup",
                all.display(),
                self.size
            ));
        }
        Ok(benchmarks)
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let mut directories: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    directories.sort();
    Ok(directories)
}

/// Makes the initramfs for one benchmark: the reference inputs of all together would not fit a guest's memory.
pub fn prepare(benchmark: &Benchmark) -> Result<(Job, PathBuf), String> {
    for program in benchmark.programs()? {
        check_program(&program)?;
    }
    let made = root().join("target/bench/spec2006");
    std::fs::create_dir_all(&made).map_err(|e| format!("cannot make {}: {e}", made.display()))?;
    let (timer, script) = (made.join("timer"), made.join(format!("{}.sh", benchmark.name)));
    GUEST.build(&root().join("benches/apps/timer.c"), &timer)?;
    let directory = format!("spec/{}", benchmark.run_name());
    let text = format!("cd /{directory}\n{}", benchmark.script());
    std::fs::write(&script, text).map_err(|e| format!("cannot write {}: {e}", script.display()))?;
    let mut members = image::Members::new();
    members.file(timer, "bench/timer".into());
    members.file(script, "bench/run.sh".into());
    members.tree(&benchmark.run, &directory, &[])?;
    let initramfs = made.join("image.cpio");
    image::write(&initramfs, members)?;
    let job = Job {
        name: benchmark.name.clone(),
        group: benchmark.group().into(),
        clock: Clock::Program,
        portable: true,
        guest: InGuest::Line("/bench/timer sh /bench/run.sh".into()),
        native: None,
    };
    Ok((job, initramfs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree of the shape that SPEC's tools make, with programs of ours in it.
    fn dummy(programs: impl Fn(&Path)) -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let all = directory.path().join("benchspec/CPU2006");
        for (name, program, commands) in [
            (
                "401.bzip2",
                "bzip2",
                "-C /elsewhere/run_base_test_x.0000\n\
                 -o a.out -e a.err ../run_base_test_x.0000/bzip2_base.x input.one 5\n\
                 -i input.one -o b.out -e b.err -E MODE two ../run_base_test_x.0000/bzip2_base.x - 2\n",
            ),
            (
                "470.lbm",
                "lbm",
                "-C /elsewhere/x\n-o lbm.out -e lbm.err ../run_base_test_x.0000/lbm_base.x input.one 1\n",
            ),
        ] {
            let run = all.join(name).join("run/run_base_test_x.0000");
            fs::create_dir_all(&run).unwrap();
            fs::write(run.join("speccmds.cmd"), commands).unwrap();
            fs::write(run.join("input.one"), "some input\n").unwrap();
            programs(&run.join(format!("{program}_base.x")));
        }
        fs::create_dir_all(all.join("403.gcc/src")).unwrap();
        fs::create_dir_all(all.join("401.bzip2/run/run_base_ref_x.0000")).unwrap();
        let tree = Tree { directory: directory.path().into(), size: "test".into() };
        (directory, tree)
    }

    #[test]
    fn command_lines() {
        let step = Step::parse("-i in -o out -e err -E A b ../d/prog_base.x -x 'y z'").unwrap().unwrap();
        assert_eq!(step.shell(), "A='b' ../d/prog_base.x -x 'y z' <in >>out 2>>err");
        assert_eq!(Step::parse("-C /some/where"), Ok(None));
        assert_eq!(Step::parse("# specinvoke exit: rc=0"), Ok(None));
        assert!(Step::parse("-z prog").unwrap_err().contains("-z is not known"));
        assert!(Step::parse("-o").is_err());
    }

    #[test]
    fn benchmarks_that_are_set_up_are_found_and_classified() {
        let (_directory, tree) = dummy(|_| {});
        let found = tree.benchmarks().unwrap();
        let names: Vec<(&str, &str)> = found.iter().map(|b| (b.name.as_str(), b.group())).collect();
        assert_eq!(names, [("401.bzip2", "integer"), ("470.lbm", "fp")]);
        assert_eq!(found[0].steps.len(), 2);
        let unset = Tree { size: "ref".into(), ..tree };
        assert!(unset.benchmarks().err().unwrap().contains("runspec --action=setup"));
    }

    #[test]
    fn the_script_runs_the_steps_in_the_run_directory() {
        let (_directory, tree) = dummy(|path| {
            use std::os::unix::fs::PermissionsExt;
            fs::write(path, "#!/bin/sh\necho \"$MODE $1 $2\"\n[ \"$1\" != - ] || cat\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        });
        let found = tree.benchmarks().unwrap();
        let script = found[0].script().replace("ulimit -s unlimited\n", "");
        let done = Command::new("sh").args(["-c", &script]).current_dir(&found[0].run).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(String::from_utf8(done.stdout).unwrap(), " input.one 5\ntwo - 2\nsome input\n");
    }

    #[test]
    fn only_static_arm64_programs_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("a.c");
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let program = directory.path().join("a");
        GUEST.build(&source, &program).unwrap();
        assert_eq!(check_program(&program), Ok(()));
        crate::compile::NATIVE.build(&source, &program).unwrap();
        assert!(check_program(&program).unwrap_err().contains("not an arm64 program"));
        let done = Command::new("aarch64-linux-gnu-gcc").arg(&source).arg("-o").arg(&program).status().unwrap();
        assert!(done.success());
        assert!(check_program(&program).unwrap_err().contains("-static"));
        fs::write(&program, "\x7fELF\x02\x01").unwrap();
        assert!(check_program(&program).is_err());
    }
}
