//! Compares instructions with QEMU for as long as one likes: random words of every encoding, alone and in short sequences, on
//! random states, by the interpreter and by translated code with and without the host's optional features.
//!
//! The levels of the description's compiler are chosen when this program is built (`SPEC_OPT`); `scripts/conformance` does that
//! for all of them. A mismatch is made as small as possible and written to `tests/regressions`.

use armv8_guest::isa;
use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tests::conformance::oracle::Oracle;
use tests::conformance::states::Rng;
use tests::conformance::ways::{self, Ways};
use tests::conformance::{Case, Outcome, SLOTS, regression, states, words};

/// Compares instructions with QEMU's user mode.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// Where random numbers start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cases of every encoding.
    #[arg(long, default_value_t = 1000)]
    cases: u64,
    /// Goes on with other seeds until this many seconds have passed.
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Only instructions whose name in the description contains this.
    #[arg(long, default_value = "")]
    insn: String,
    /// Instead of single instructions, sequences of up to this many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    length: u64,
    /// Processes, each with seeds of its own.
    #[arg(long, default_value_t = 1)]
    processes: u64,
    /// Where mismatches go.
    #[arg(long, default_value = "tests/regressions")]
    regressions: PathBuf,
    /// Prints the number of cases of every encoding.
    #[arg(long)]
    counts: bool,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    if args.processes > 1 {
        return spread(&args);
    }
    let start = Instant::now();
    let limit = Duration::from_secs(args.seconds);
    let mut oracle = Oracle::start()?;
    let mut ours = Ways::new();
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut seed = args.seed;
    let (mut total, mut wrong, mut disturbed) = (0, 0, 0);
    loop {
        for (k, insn) in words::comparable().enumerate().filter(|(_, i)| i.name.contains(&args.insn)) {
            let mut rng = Rng::new(seed << 20 | k as u64);
            let mut made = 0;
            while made < args.cases {
                let mut cases: Vec<Case> = Vec::new();
                let mut tries = 0;
                while (cases.len() as u64) < SLOTS.min(args.cases - made) && tries < 8 * SLOTS {
                    tries += 1;
                    let Some(list) = words::sequence(insn, args.length, &mut rng) else { continue };
                    let mut case = states::case(list, cases.len() as u64, &mut rng);
                    case.turns = 1 + rng.word() % words::max_turns(&case.words);
                    let bad_state = |w: &u32| words::excluded_state(*w, case.fpcr).is_some();
                    if words::usable(&case.words) && !case.words.iter().any(bad_state) {
                        cases.push(case);
                    }
                }
                if cases.is_empty() {
                    break;
                }
                made += cases.len() as u64;
                let wanted = oracle.run(&cases)?;
                let count = counts.entry(insn.name).or_default();
                for (case, wanted) in cases.iter().zip(&wanted) {
                    total += 1;
                    count.0 += 1;
                    if let Some(way) = ours.differs(case, wanted) {
                        // A stray store of another case can hit the oracle's program: then it says something else when asked again.
                        if alone(case, &mut oracle)? != *wanted {
                            disturbed += 1;
                            continue;
                        }
                        wrong += 1;
                        count.1 += 1;
                        if count.1 <= 2 {
                            report(&args, insn.name, way, case, &mut ours, &mut oracle)?;
                        }
                    }
                }
            }
        }
        println!(
            "seed {seed}: {total} cases so far, {wrong} differ, {disturbed} disturbed, {:.0} s",
            start.elapsed().as_secs_f64()
        );
        if start.elapsed() >= limit {
            break;
        }
        seed += 1;
    }
    if args.counts {
        counts.iter().for_each(|(name, (n, bad))| println!("{name:24} {n:8} {bad:6}"));
    }
    let few = counts.values().filter(|(n, _)| *n < args.cases).count();
    println!(
        "{} encodings, {total} cases, {wrong} differ, {disturbed} disturbed; {few} encodings with fewer cases than asked for",
        counts.len()
    );
    if wrong > 0 { Err(std::io::Error::other("there are mismatches")) } else { Ok(()) }
}

/// Runs several of this program.
fn spread(args: &Args) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for i in 0..args.processes {
        let mut command = std::process::Command::new(&program);
        command.args(["--seed", &(args.seed + (i << 32)).to_string(), "--cases", &args.cases.to_string()]);
        command.args(["--seconds", &args.seconds.to_string(), "--insn", &args.insn]);
        command.args(["--length", &args.length.to_string()]).arg("--regressions").arg(&args.regressions);
        if args.counts {
            command.arg("--counts");
        }
        children.push(command.spawn()?);
    }
    let mut good = true;
    for mut child in children {
        good &= child.wait()?.success();
    }
    if good { Ok(()) } else { Err(std::io::Error::other("there are mismatches")) }
}

/// Makes a mismatch small, prints it and writes it to a file.
fn report(
    args: &Args,
    name: &str,
    way: usize,
    case: &Case,
    ours: &mut Ways,
    oracle: &mut Oracle,
) -> std::io::Result<()> {
    let small = shrink(case, ours, oracle)?;
    let wanted = alone(&small, oracle)?;
    let way = ours.differs(&small, &wanted).unwrap_or(way);
    let got = ours.run(way, &small);
    let mut text = String::new();
    if small.turns > 1 {
        text.push_str(&format!("{} turns of\n", small.turns));
    }
    for &w in &small.words {
        let mut line = String::new();
        let _ = isa::disassemble(w, small.pc(), &mut line);
        text.push_str(&format!("{w:08x} {line}\n"));
    }
    let comment = format!("{text}{}:{}", ways::NAMES[way], got.difference(&wanted));
    println!("{comment}");
    std::fs::create_dir_all(&args.regressions)?;
    let file = args.regressions.join(format!("{name}-{:08x}.case", wanted.hash()));
    std::fs::write(&file, regression::write(&comment, &small, &wanted))?;
    Ok(())
}

fn alone(case: &Case, oracle: &mut Oracle) -> std::io::Result<Outcome> {
    // The slot is the case's index in its batch: the others are copies of it.
    let outcomes = oracle.run(&vec![case.clone(); case.slot as usize + 1])?;
    Ok(outcomes.into_iter().next_back().expect("as many outcomes as cases"))
}

/// Moves the case to the first slot, drops instructions, and sets what it can to zero, as long as it still differs.
fn shrink(case: &Case, ours: &mut Ways, oracle: &mut Oracle) -> std::io::Result<Case> {
    let mut best = case.clone();
    loop {
        let mut candidates: Vec<Case> = Vec::new();
        let mut add = |f: &dyn Fn(&mut Case)| {
            let mut c = best.clone();
            f(&mut c);
            if c != best && !c.words.is_empty() && c.slot == 0 {
                candidates.push(c);
            }
        };
        add(&|c| c.slot = 0);
        if best.slot == 0 {
            (0..best.words.len()).for_each(|i| {
                add(&|c| {
                    c.words.remove(i);
                });
            });
            (0..31).for_each(|i| add(&|c| c.x[i] = 0));
            (0..32).for_each(|i| add(&|c| c.v[i] = 0));
            (0..32).for_each(|i| add(&|c| c.v[i] &= u128::from(u64::MAX)));
            (0..32).for_each(|i| add(&|c| c.fpcr &= !(1 << i)));
            add(&|c| c.nzcv = 0);
            add(&|c| c.turns -= u64::from(c.turns > 1));
        }
        let mut better = None;
        for c in candidates {
            let wanted = alone(&c, oracle)?;
            if ours.differs(&c, &wanted).is_some() {
                better = Some(c);
                break;
            }
        }
        match better {
            Some(c) => best = c,
            None => return Ok(best),
        }
    }
}
