//! From a description's root file to the generated file: what a build script and the command line call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::diag::Session;
use crate::model::Model;
use crate::{decoder, emit, frontend, passes};

pub use crate::passes::OptLevel;

/// What to do with a description.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub level: OptLevel,
    /// Instruction (or system register, or outlined function) whose SSA is printed to standard error before and after the passes.
    pub dump: Option<String>,
}

impl Options {
    /// From the variables `SPEC_OPT` (`O0`..`O4`) and `SPEC_DUMP` (an instruction's name).
    ///
    /// # Errors
    /// `SPEC_OPT` names no level.
    pub fn from_env() -> Result<Self, Failure> {
        let level = match std::env::var("SPEC_OPT") {
            Ok(text) => text.parse().map_err(|()| Failure(format!("SPEC_OPT={text}: expected O0 to O4\n")))?,
            Err(_) => OptLevel::default(),
        };
        Ok(Self { level, dump: std::env::var("SPEC_DUMP").ok() })
    }
}

/// What was made, for reports.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub path: PathBuf,
    pub stats: Stats,
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub source_lines: usize,
    pub insns: usize,
    pub sysregs: usize,
    pub helpers: usize,
    pub outlined: usize,
    pub generated_lines: usize,
    /// SSA values before and after the passes.
    pub values_before: usize,
    pub values_after: usize,
    pub front_time: Duration,
    pub pass_time: Duration,
    pub emit_time: Duration,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "description lines       {}", self.source_lines)?;
        writeln!(f, "instructions            {}", self.insns)?;
        writeln!(f, "system registers        {}", self.sysregs)?;
        writeln!(f, "extern functions        {}", self.helpers)?;
        writeln!(f, "outlined functions      {}", self.outlined)?;
        writeln!(f, "generated lines         {}", self.generated_lines)?;
        writeln!(f, "operations before/after {} / {}", self.values_before, self.values_after)?;
        writeln!(f, "front end               {:.1} ms", self.front_time.as_secs_f64() * 1e3)?;
        writeln!(f, "passes                  {:.1} ms", self.pass_time.as_secs_f64() * 1e3)?;
        write!(f, "emission                {:.1} ms", self.emit_time.as_secs_f64() * 1e3)
    }
}

/// Why there is no output: text for the user, ending in a newline.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// A description that passed every check, with the parts that features leave out removed.
#[derive(Debug)]
pub struct Checked {
    pub model: Model,
    pub tree: decoder::Node,
    pub session: Session,
    /// Every file read.
    pub files: Vec<PathBuf>,
    pub front_time: Duration,
}

/// Reads and checks a description, encodings included.
///
/// # Errors
/// Rendered diagnostics.
pub fn check(root: &Path) -> Result<Checked, Failure> {
    let start = Instant::now();
    let frontend::Loaded { mut model, mut session, files } =
        frontend::load(root).map_err(|session| Failure(session.render()))?;
    apply_features(&mut model);
    match decoder::build(&model) {
        Ok(tree) => Ok(Checked { model, tree, session, files, front_time: start.elapsed() }),
        Err(errors) => {
            for e in errors {
                session.error(e);
            }
            Err(Failure(session.render()))
        }
    }
}

/// Removes instructions and system registers that need a feature which is off.
pub fn apply_features(model: &mut Model) {
    let off: Vec<String> = model.features.iter().filter(|f| !f.on).map(|f| f.name.clone()).collect();
    model.insns.retain(|i| !i.requires.iter().any(|r| off.contains(r)));
    model.sysregs.retain(|s| !s.requires.iter().any(|r| off.contains(r)));
}

/// Runs the passes and emits the file's text.
pub fn generate(checked: &mut Checked, options: &Options) -> (String, Stats) {
    let mut stats = Stats {
        source_lines: checked.model.source_lines,
        insns: checked.model.insns.len(),
        sysregs: checked.model.sysregs.len(),
        helpers: checked.model.helpers.iter().filter(|h| h.body.is_none()).count(),
        outlined: checked.model.helpers.iter().filter(|h| h.body.is_some()).count(),
        values_before: passes::operations(&checked.model),
        front_time: checked.front_time,
        ..Stats::default()
    };
    let start = Instant::now();
    passes::optimise(&mut checked.model, options.level, options.dump.as_deref());
    stats.pass_time = start.elapsed();
    stats.values_after = passes::operations(&checked.model);
    let start = Instant::now();
    let session = &checked.session;
    let text = emit::emit(&checked.model, &checked.tree, &|span| session.location(span));
    stats.emit_time = start.elapsed();
    stats.generated_lines = text.lines().count();
    (text, stats)
}

/// Compiles the description at `root` into `out_dir/isa.rs`.
///
/// # Errors
/// Rendered diagnostics, or why a file could not be written.
pub fn compile(root: &Path, out_dir: &Path, options: &Options) -> Result<Outputs, Failure> {
    let mut checked = check(root)?;
    let (text, stats) = generate(&mut checked, options);
    let path = out_dir.join("isa.rs");
    let same = std::fs::read_to_string(&path).is_ok_and(|old| old == text);
    if !same {
        std::fs::write(&path, text).map_err(|e| Failure(format!("{}: {e}\n", path.display())))?;
    }
    Ok(Outputs { path, stats })
}

/// All a build script needs: compiles `root` into `$OUT_DIR/isa.rs`, tells cargo what to watch, and ends the process with
/// the diagnostics when the description is wrong.
pub fn build_script(root: &Path) -> Outputs {
    let fail = |e: Failure| -> ! {
        eprint!("{e}");
        std::process::exit(1);
    };
    println!("cargo:rerun-if-env-changed=SPEC_OPT");
    println!("cargo:rerun-if-env-changed=SPEC_DUMP");
    // The whole directory, so that correcting a wrong description is noticed whatever file it is in.
    println!("cargo:rerun-if-changed={}", root.parent().unwrap_or(root).display());
    let Some(out) = std::env::var_os("OUT_DIR") else { fail(Failure("OUT_DIR is not set\n".to_owned())) };
    let options = Options::from_env().unwrap_or_else(|e| fail(e));
    compile(root, Path::new(&out), &options).unwrap_or_else(|e| fail(e))
}
