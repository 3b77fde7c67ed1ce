//! The command line of the spec compiler.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spec_compiler::asm::{self, Assembler};
use spec_compiler::build::{self, Failure, Options};
use spec_compiler::passes::{self, OptLevel};
use spec_compiler::print;

/// Compiles .isa architecture descriptions.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read a description and report what is wrong with it.
    Check { root: PathBuf },
    /// Generate isa.rs in a directory.
    Build {
        root: PathBuf,
        /// Directory for isa.rs.
        #[arg(short, long, default_value = ".")]
        out: PathBuf,
        /// O0 to O4.
        #[arg(long, default_value = "O4", value_parser = level)]
        opt: OptLevel,
    },
    /// Print the SSA of one instruction or system register.
    Dump {
        root: PathBuf,
        name: String,
        /// O0 to O4.
        #[arg(long, default_value = "O4", value_parser = level)]
        opt: OptLevel,
    },
    /// Print sizes and times at every level.
    Stats { root: PathBuf },
    /// Assemble one instruction (or standard input, a line each) to hexadecimal.
    Asm {
        root: PathBuf,
        text: Option<String>,
        /// Address of the first instruction.
        #[arg(long, default_value = "0", value_parser = number)]
        pc: u64,
    },
    /// Disassemble words given in hexadecimal (or standard input, a line each).
    Disasm {
        root: PathBuf,
        words: Vec<String>,
        /// Address of the first instruction.
        #[arg(long, default_value = "0", value_parser = number)]
        pc: u64,
    },
}

fn level(text: &str) -> Result<OptLevel, String> {
    text.parse().map_err(|()| "expected O0 to O4".to_owned())
}

fn number(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprint!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { root } => {
            let checked = build::check(&root)?;
            let m = &checked.model;
            println!("{}: {} instructions, {} system registers: no errors", m.name, m.insns.len(), m.sysregs.len());
            Ok(())
        }
        Command::Build { root, out, opt } => {
            let outputs = build::compile(&root, &out, &Options { level: opt, dump: None })?;
            println!("{}\n{}", outputs.path.display(), outputs.stats);
            Ok(())
        }
        Command::Dump { root, name, opt } => dump(&root, &name, opt),
        Command::Stats { root } => stats(&root),
        Command::Asm { root, text, pc } => assemble(&root, text, pc),
        Command::Disasm { root, words, pc } => disassemble(&root, words, pc),
    }
}

fn dump(root: &Path, name: &str, level: OptLevel) -> Result<(), Failure> {
    let mut checked = build::check(root)?;
    passes::optimise(&mut checked.model, level, None);
    let m = &checked.model;
    let mut found = false;
    for insn in m.insns.iter().filter(|i| i.name == name) {
        found = true;
        println!("insn {}\n{}", insn.name, print::body(m, &insn.exec));
    }
    for r in m.sysregs.iter().filter(|r| r.name == name) {
        found = true;
        for (what, body) in
            [("get", &r.get), ("set", &r.set), ("read when", &r.read_when), ("write when", &r.write_when)]
        {
            if let Some(body) = body {
                println!("{} {what}\n{}", r.name, print::body(m, body));
            }
        }
    }
    if found { Ok(()) } else { Err(Failure(format!("no instruction or system register `{name}`\n"))) }
}

fn stats(root: &Path) -> Result<(), Failure> {
    println!("level  description  instructions  generated  operations  front end    passes  emission");
    for level in OptLevel::ALL {
        let mut checked = build::check(root)?;
        let (_, s) = build::generate(&mut checked, &Options { level, dump: None });
        let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
        println!(
            "{:>5}  {:>11}  {:>12}  {:>9}  {:>10}  {:>6.0} ms  {:>5.0} ms  {:>5.0} ms",
            format!("{level:?}"),
            s.source_lines,
            s.insns,
            s.generated_lines,
            s.values_after,
            ms(s.front_time),
            ms(s.pass_time),
            ms(s.emit_time)
        );
    }
    Ok(())
}

/// The argument, or the lines of standard input.
fn inputs(given: Vec<String>) -> Result<Vec<String>, Failure> {
    if !given.is_empty() {
        return Ok(given);
    }
    let lines: Result<Vec<String>, _> = std::io::stdin().lines().collect();
    let lines = lines.map_err(|e| Failure(format!("standard input: {e}\n")))?;
    Ok(lines.into_iter().filter(|l| !l.trim().is_empty()).collect())
}

fn assemble(root: &Path, text: Option<String>, pc: u64) -> Result<(), Failure> {
    let checked = build::check(root)?;
    let assembler = Assembler::new(&checked.model);
    let step = u64::from(checked.model.word_bits / 8);
    let digits = (checked.model.word_bits / 4) as usize;
    for (line, at) in inputs(text.into_iter().collect())?.iter().zip((0..).map(|i| pc + i * step)) {
        let word = assembler.assemble(line, at).map_err(|e| Failure(format!("{e}\n")))?;
        println!("{word:0digits$x}");
    }
    Ok(())
}

fn disassemble(root: &Path, words: Vec<String>, pc: u64) -> Result<(), Failure> {
    let checked = build::check(root)?;
    let step = u64::from(checked.model.word_bits / 8);
    for (text, at) in inputs(words)?.iter().zip((0..).map(|i| pc + i * step)) {
        let word = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16)
            .map_err(|e| Failure(format!("`{text}`: {e}\n")))?;
        match asm::disassemble(&checked.model, &checked.tree, word, at) {
            Some(line) => println!("{line}"),
            None => println!(".word {word:#x}"),
        }
    }
    Ok(())
}
