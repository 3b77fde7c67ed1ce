//! Compiles C programs for the guest and for this machine, when they changed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler and how to get it.
pub struct Compiler {
    program: &'static str,
    package: &'static str,
}

pub const GUEST: Compiler =
    Compiler { program: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" };
pub const NATIVE: Compiler = Compiler { program: "gcc", package: "gcc libc6-dev" };

/// The value of `// name: value` (or `# name: value`) among the first lines of a program.
pub fn header(source: &str, name: &str) -> Option<String> {
    let comments = source.lines().take_while(|line| ["//", "# "].iter().any(|start| line.starts_with(start)));
    comments
        .filter_map(|line| line.trim_start_matches(['/', '#']).trim().split_once(": "))
        .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
}

/// The files of a directory with an extension, in alphabetical order.
pub fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(directory).map_err(|e| format!("cannot read {}: {e}", directory.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    Ok(files)
}

/// A program of a suite, whose first lines say its group.
pub struct Program {
    pub name: String,
    pub group: String,
    pub source: PathBuf,
}

/// The C programs of a directory, by group in the order of `groups`.
pub fn programs(directory: &Path, groups: &[&str]) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    for source in files(directory, "c")? {
        let text = std::fs::read_to_string(&source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
        let group = header(&text, "group").unwrap_or_default();
        if !groups.contains(&group.as_str()) {
            return Err(format!("{}: its group is none of {}", source.display(), groups.join(", ")));
        }
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        programs.push(Program { name, group, source });
    }
    programs.sort_by_key(|program| groups.iter().position(|&g| g == program.group));
    Ok(programs)
}

/// Whether `output` is younger than all of `inputs`.
pub fn is_current(output: &Path, inputs: &[PathBuf]) -> bool {
    let time = |path: &Path| path.symlink_metadata().and_then(|m| m.modified()).ok();
    time(output).is_some_and(|made| inputs.iter().all(|input| time(input).is_some_and(|changed| changed < made)))
}

/// What programs without an operating system are compiled with: nothing of a C library, no floating point, no unaligned
/// accesses, no address that depends on where they are.
const BARE: &[&str] = &[
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-fpie",
    "-march=armv8-a",
    "-mgeneral-regs-only",
    "-mstrict-align",
    "-fno-stack-protector",
    "-Wl,--build-id=none",
    "-Wl,-z,norelro",
];

/// Runs a program of the compiler's, whose package names it.
fn run(command: &mut Command, package: &str, source: &Path) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let done = command
        .output()
        .map_err(|e| format!("cannot run {program} ({e}); install it with: sudo apt-get install {package}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{program} can't compile {}:\n{}", source.display(), String::from_utf8_lossy(&done.stderr)))
}

/// Builds a kernel's Image of a program without an operating system; `start.S` and `micro.ld` are beside it.
pub fn build_image(source: &Path, output: &Path) -> Result<(), String> {
    let elf = output.with_extension("elf");
    let mut compiler = Command::new(GUEST.program);
    compiler.args(BARE).arg("-Wl,-T").arg(source.with_file_name("micro.ld")).arg("-o").arg(&elf);
    run(compiler.arg(source.with_file_name("start.S")).arg(source), GUEST.package, source)?;
    let mut copy = Command::new("aarch64-linux-gnu-objcopy");
    run(copy.args(["-O", "binary"]).arg(&elf).arg(output), "binutils-aarch64-linux-gnu", source)
}

impl Compiler {
    /// Builds a static program with the flags its source asks for.
    pub fn build(&self, source: &Path, output: &Path) -> Result<(), String> {
        self.build_with(source, output, &[])
    }

    /// The same, with more arguments, such as archives to link.
    pub fn build_with(&self, source: &Path, output: &Path, extra: &[OsString]) -> Result<(), String> {
        let text = std::fs::read_to_string(source).map_err(|e| format!("cannot read {}: {e}", source.display()))?;
        let flags = header(&text, "flags").unwrap_or_default();
        let mut command = Command::new(self.program);
        command.arg("-O2").args(flags.split_whitespace()).args(["-Wall", "-Wextra", "-Werror", "-static", "-s", "-o"]);
        command.arg(output).arg(source).args(extra).arg("-lm");
        run(&mut command, self.package, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_in_the_first_comments() {
        let source = "// group: fp\n// flags: -O3 -ffast-math\n// Dot products.\n#include <x>\n// other: y\n";
        assert_eq!(header(source, "group").as_deref(), Some("fp"));
        assert_eq!(header(source, "flags").as_deref(), Some("-O3 -ffast-math"));
        assert_eq!(header(source, "other"), None);
        assert_eq!(header("# group: integer\n# Text.\n. prelude\n", "group").as_deref(), Some("integer"));
    }

    #[test]
    fn programs_are_built_once() {
        let directory = tempfile::tempdir().unwrap();
        let (source, output) = (directory.path().join("a.c"), directory.path().join("a"));
        assert!(!is_current(&output, &[]));
        std::fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        std::fs::write(&output, "").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        std::fs::File::options().write(true).open(&output).unwrap().set_modified(later).unwrap();
        assert!(is_current(&output, std::slice::from_ref(&source)));
        assert!(!is_current(&source, std::slice::from_ref(&output)));
    }
}
