//! The benchmark harness. Every figure is a ratio from one run: the same kernel, initramfs and memory under this project's
//! launcher and under QEMU TCG, in alternation, medians compared. `docs/benchmarks.md` says what each suite measures.

mod apps;
mod compile;
mod cpu_time;
mod figures;
mod image;
mod inputs;
mod jit;
mod job;
mod kernels;
mod measure;
mod micro;
mod session;
mod shell;
mod spec;
mod subject;
mod svg;
mod table;

use clap::{Args, Parser, Subcommand};
use figures::Statistic;
use measure::{Plan, measure};
use session::Session;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use subject::{Kind, Machine, Subject};
use table::Table;

#[derive(Parser)]
#[command(about = "Measures guests under this project and under QEMU, side by side")]
struct Cli {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// Time from start to the shell's first prompt, and peak memory.
    Boot(Options),
    /// Command lines run by the guest's shell.
    Guest(Options),
    /// Small C programs: integer, floating point, memory, system.
    Kernels(Options),
    /// Tiny programs without an operating system, by what they do to a processor: code generation, branches, exceptions,
    /// memory, devices.
    Micro(MicroOptions),
    /// Programs from Debian on made-up input; scripts/fetch-apps fetches them.
    Apps(Options),
    /// What translation costs, from the launcher's statistics of a boot.
    Jit(Options),
    /// A SPEC CPU2006 tree of the user's with arm64 programs.
    Spec2006(SpecOptions),
}

#[derive(Args)]
struct MicroOptions {
    /// So many times the usual work, which is short: for what lasts rather than what starting costs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    work: u32,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct SpecOptions {
    /// Where SPEC CPU2006 is installed.
    #[arg(long, value_name = "DIR")]
    spec: PathBuf,
    /// The size of the input: test, train or ref.
    #[arg(long, default_value = "ref", value_parser = ["test", "train", "ref"])]
    size: String,
    /// Lets runspec build and set up with this configuration first, as for a cross compiler.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// What runspec is to set up: benchmarks' names, `int`, `fp` or `all`.
    #[arg(long, default_value = "all")]
    benchmarks: String,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// Kernel Images (or directories below target/guest: generic, cloud, backports, backports-cloud).
    #[arg(long, default_value = "generic")]
    kernel: Vec<String>,
    /// A launcher to measure, as PATH or NAME=PATH; may be repeated. The one built beside this program otherwise.
    #[arg(long, value_name = "[NAME=]PATH")]
    launcher: Vec<String>,
    /// The QEMU to compare with.
    #[arg(long, default_value = "qemu-system-aarch64")]
    qemu: PathBuf,
    /// QEMU's CPU models; the faster one counts.
    #[arg(long, default_values = ["cortex-a57", "max,pauth-impdef=on"])]
    qemu_cpu: Vec<String>,
    /// Measures without QEMU.
    #[arg(long)]
    no_qemu: bool,
    /// The launcher's accelerator.
    #[arg(long, default_value = "auto")]
    accel: String,
    /// Guest memory in MiB; 1024, or what the suite needs.
    #[arg(short, long)]
    memory: Option<u32>,
    /// Counted runs of each.
    #[arg(short = 'n', long, default_value_t = 3)]
    runs: usize,
    /// Counts processor time of the guest's process instead of time that passes: for machines with other work.
    #[arg(long)]
    cpu_time: bool,
    /// Compares the fastest of the rounds instead of their medians: for a machine whose speed changes, with many rounds.
    #[arg(long)]
    fastest: bool,
    /// Only programs whose names contain this, or of the group with this name; may be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Seconds after which a program counts as hung; 300, or what the suite needs.
    #[arg(long)]
    limit: Option<u64>,
    /// Writes the table as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the ratios to QEMU, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// More arguments for the launcher.
    #[arg(last = true)]
    extra: Vec<String>,
}

impl Options {
    fn subjects(&self) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = match self.launcher.as_slice() {
            [] => vec![Subject::ours(None, &self.accel, &self.extra)],
            given => given.iter().map(|l| Subject::ours(Some(l), &self.accel, &self.extra)).collect(),
        };
        if !self.no_qemu {
            subjects.extend(self.qemu_cpu.iter().map(|cpu| Subject::qemu(&self.qemu, cpu)));
        }
        subjects
    }

    fn machine(&self, kernel: &str, initrd: Option<PathBuf>, memory: u32) -> Machine {
        let guest = subject::root().join("target/guest");
        let named = guest.join(kernel).join("Image");
        Machine {
            kernel: if named.exists() { named } else { kernel.into() },
            initrd: Some(initrd.unwrap_or_else(|| guest.join("initramfs.cpio"))),
            memory: self.memory.unwrap_or(memory),
            append: "console=ttyAMA0 quiet".to_owned(),
        }
    }

    fn wants(&self, name: &str, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()) || group == only)
    }

    fn statistic(&self) -> Statistic {
        if self.fastest { Statistic::Least } else { Statistic::Median }
    }

    fn plan<'a>(&self, title: &'a str, machine: &'a Machine, jobs: &'a [job::Job]) -> Plan<'a> {
        let limit = Duration::from_secs(self.limit.unwrap_or(300));
        Plan { title, machine, jobs, rounds: self.runs, cpu_time: self.cpu_time, limit }
    }
}

fn boot(options: &Options) -> Result<Table, String> {
    let subjects = options.subjects();
    let mut table = Table::new("Boot to the shell's first prompt", &subjects);
    table.overall = false;
    for kernel in &options.kernel {
        table.add(kernel, "seconds");
    }
    for kernel in &options.kernel {
        table.add(kernel, "peak MiB");
    }
    for (k, kernel) in options.kernel.iter().enumerate() {
        let machine = options.machine(kernel, None, 1024);
        // The first round warms the page cache.
        for round in 0..=options.runs {
            for (column, subject) in subjects.iter().enumerate() {
                let failed = |e| format!("{}: {e}", subject.name);
                let session = subject.command(&machine).and_then(Session::boot).map_err(failed)?;
                let seconds = session.started.elapsed().as_secs_f64();
                let end = session.finish().map_err(failed)?;
                if round > 0 {
                    table.rows[k].cells[column].runs.push(seconds);
                    table.rows[options.kernel.len() + k].cells[column].runs.push(end.peak_mib);
                }
            }
        }
    }
    Ok(table)
}

fn guest(options: &Options) -> Result<Table, String> {
    let jobs = shell::jobs(|name, group| options.wants(name, group));
    let machine = options.machine(&options.kernel[0], None, 1024);
    Ok(measure(&options.plan("Shell programs", &machine, &jobs), &options.subjects()))
}

fn kernels(options: &Options) -> Result<Table, String> {
    let (jobs, initrd) = kernels::prepare(|name, group| options.wants(name, group))?;
    let machine = options.machine(&options.kernel[0], Some(initrd), 1024);
    let mut subjects = options.subjects();
    subjects.push(Subject::native());
    Ok(measure(&options.plan("Small programs", &machine, &jobs), &subjects))
}

fn micro(micro: &MicroOptions) -> Result<Table, String> {
    let options = &micro.options;
    let machine = Machine {
        kernel: PathBuf::new(),
        initrd: None,
        memory: options.memory.unwrap_or(micro::MEMORY),
        // It waits for a key before it powers off: what the process of one that is gone used can't be told.
        append: format!("hold=1 times={}", micro.work),
    };
    let jobs = micro::prepare(|name, group| options.wants(name, group))?;
    Ok(measure(&options.plan("Programs without an operating system", &machine, &jobs), &options.subjects()))
}

fn apps(options: &Options) -> Result<Table, String> {
    let (jobs, initrd) = apps::prepare(|name, group| options.wants(name, group))?;
    let machine = options.machine(&options.kernel[0], Some(initrd), 2048);
    let mut subjects = options.subjects();
    subjects.push(Subject::native());
    Ok(measure(&options.plan("Programs from Debian", &machine, &jobs), &subjects))
}

fn jit(options: &Options) -> Result<Table, String> {
    let subjects: Vec<Subject> = options.subjects().into_iter().filter(|s| s.kind == Kind::Ours).collect();
    jit::measure(&options.machine(&options.kernel[0], None, 1024), &subjects, options.runs, options.statistic())
}

fn spec2006(spec: &SpecOptions) -> Result<Table, String> {
    let options = &spec.options;
    let tree = spec::Tree { directory: spec.spec.clone(), size: spec.size.clone() };
    if let Some(config) = &spec.config {
        tree.set_up(config, &spec.benchmarks)?;
    }
    let subjects = options.subjects();
    let title = format!("SPEC CPU2006, {} inputs (seconds, not a SPEC metric)", spec.size);
    let mut table = Table::new(&title, &subjects);
    let mut benchmarks = tree.benchmarks()?;
    benchmarks.retain(|benchmark| options.wants(&benchmark.name, benchmark.group()));
    benchmarks.sort_by_key(|benchmark| benchmark.group() == "fp");
    for benchmark in &benchmarks {
        let (job, initrd) = spec::prepare(benchmark)?;
        let machine = options.machine(&options.kernel[0], Some(initrd), 4096);
        let jobs = [job];
        // The longest takes an hour or two under an emulator.
        let limit = Duration::from_secs(options.limit.unwrap_or(6 * 3600));
        table.merge(measure(&Plan { limit, ..options.plan(&title, &machine, &jobs) }, &subjects));
    }
    Ok(table)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let before = cpu_time::Machine::now();
    let (options, table) = match &cli.suite {
        Suite::Boot(options) => (options, boot(options)),
        Suite::Guest(options) => (options, guest(options)),
        Suite::Kernels(options) => (options, kernels(options)),
        Suite::Micro(micro) => (&micro.options, self::micro(micro)),
        Suite::Apps(options) => (options, apps(options)),
        Suite::Jit(options) => (options, jit(options)),
        Suite::Spec2006(spec) => (&spec.options, spec2006(spec)),
    };
    let outcome = table.and_then(|mut table| {
        if let (Some(before), Some(now)) = (before, cpu_time::Machine::now()) {
            table.warn_of_stolen_time(now.stolen_since(before));
        }
        table.statistic = options.statistic();
        print!("{table}");
        options.json.as_ref().map_or(Ok(()), |path| table.write_json(path))?;
        options.svg.as_ref().map_or(Ok(()), |path| svg::write(&table, path))?;
        match table.errors() {
            errors if errors.is_empty() => Ok(()),
            errors => Err(errors.join("\n")),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
