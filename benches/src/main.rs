//! The benchmark harness. Every figure is a ratio from one run: the same kernel, initramfs and memory under this project's
//! launcher and under QEMU TCG, in alternation, medians compared.
//!
//! `cargo run --release -p benches -- boot` measures the time to the shell's first prompt and the peak memory;
//! `... -- guest` measures shell programs inside the guest.

mod programs;
mod report;
mod subject;

use clap::{Args, Parser, Subcommand};
use report::{Row, Table};
use std::path::PathBuf;
use std::process::ExitCode;
use subject::{Machine, Subject};

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
    /// Programs run by the guest's shell: results are compared.
    Guest(Options),
}

#[derive(Args)]
struct Options {
    /// Kernel Images (or directories below target/guest: generic, cloud, backports, backports-cloud).
    #[arg(long, default_value = "generic")]
    kernel: Vec<String>,
    /// The QEMU to compare with.
    #[arg(long, default_value = "qemu-system-aarch64")]
    qemu: PathBuf,
    /// QEMU's CPU models; the faster one counts.
    #[arg(long, default_values = ["cortex-a57", "max,pauth-impdef=on"])]
    qemu_cpu: Vec<String>,
    /// The launcher's accelerator.
    #[arg(long, default_value = "auto")]
    accel: String,
    /// Guest memory in MiB.
    #[arg(short, long, default_value_t = 1024)]
    memory: u32,
    /// Counted runs of each.
    #[arg(short = 'n', long, default_value_t = 5)]
    runs: usize,
    /// Writes the table as JSON, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    fn subjects(&self) -> Vec<Subject> {
        let mut subjects = vec![Subject::ours(&self.accel)];
        subjects.extend(self.qemu_cpu.iter().map(|cpu| Subject::qemu(&self.qemu, cpu)));
        subjects
    }

    fn machine(&self, kernel: &str) -> Machine {
        let guest = subject::root().join("target/guest");
        let named = guest.join(kernel).join("Image");
        Machine {
            kernel: if named.exists() { named } else { kernel.into() },
            initrd: guest.join("initramfs.cpio"),
            memory: self.memory,
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn boot(options: &Options) -> Result<Table, String> {
    let subjects = options.subjects();
    let mut table = Table::new("seconds to the shell's first prompt; peak MiB", &subjects);
    for kernel in &options.kernel {
        let machine = options.machine(kernel);
        let mut seconds = vec![Vec::new(); subjects.len()];
        let mut memory = vec![Vec::new(); subjects.len()];
        for run in 0..=options.runs {
            for (i, subject) in subjects.iter().enumerate() {
                let boot = subject.boot(&machine)?;
                // The first round warms the page cache.
                if run > 0 {
                    seconds[i].push(boot.seconds);
                    memory[i].push(boot.peak_mib);
                }
            }
        }
        table.rows.push(Row { name: format!("boot {kernel}"), figures: seconds.into_iter().map(median).collect() });
        table.rows.push(Row { name: format!("memory {kernel}"), figures: memory.into_iter().map(median).collect() });
    }
    Ok(table)
}

fn guest(options: &Options) -> Result<Table, String> {
    let subjects = options.subjects();
    let mut table = Table::new("seconds per program, by the host's clock", &subjects);
    let machine = options.machine(&options.kernel[0]);
    let mut figures = vec![vec![Vec::new(); subjects.len()]; programs::ALL.len()];
    let mut results: Vec<Option<String>> = vec![None; programs::ALL.len()];
    for _ in 0..options.runs {
        for (i, subject) in subjects.iter().enumerate() {
            let outcomes = subject.run_programs(&machine, programs::ALL)?;
            for (p, outcome) in outcomes.into_iter().enumerate() {
                figures[p][i].push(outcome.seconds);
                let expected = results[p].get_or_insert_with(|| outcome.output.clone());
                if *expected != outcome.output {
                    let name = programs::ALL[p].name;
                    return Err(format!("{name}: {} gives '{}', not '{expected}'", subject.name, outcome.output));
                }
            }
        }
    }
    for (program, figures) in programs::ALL.iter().zip(figures) {
        table.rows.push(Row { name: program.name.to_owned(), figures: figures.into_iter().map(median).collect() });
    }
    Ok(table)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (options, table) = match &cli.suite {
        Suite::Boot(options) => (options, boot(options)),
        Suite::Guest(options) => (options, guest(options)),
    };
    let outcome = table.and_then(|table| {
        print!("{table}");
        options.json.as_ref().map_or(Ok(()), |path| table.write_json(path))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
