//! Compares the decoder with LLVM, Capstone and binutils on as many words as one likes, all of them if need be.

use clap::Parser;
use tests::sweep::{Decoder, binutils::Objdump, capstone::Cap, llvm::Llvm, stratified, triage};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// Every word whose number modulo this is the remainder below; 1: all of them. 0: random words of every encoding.
    #[arg(long, default_value_t = 0)]
    stride: u64,
    #[arg(long, default_value_t = 0)]
    remainder: u64,
    /// Random words per encoding.
    #[arg(long, default_value_t = 300)]
    count: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Decoders to compare with.
    #[arg(long, value_delimiter = ',', default_value = "llvm,capstone,binutils")]
    with: Vec<String>,
}

fn decoders(names: &[String]) -> Vec<Box<dyn Decoder>> {
    let mut list: Vec<Box<dyn Decoder>> = Vec::new();
    for name in names {
        let decoder: Option<Box<dyn Decoder>> = match name.as_str() {
            "llvm" => Llvm::load().map(|d| Box::new(d) as _),
            "capstone" => Some(Box::new(Cap::new())),
            "binutils" => Objdump::find().map(|d| Box::new(d) as _),
            _ => None,
        };
        match decoder {
            Some(d) => list.push(d),
            None => eprintln!("{name} is not available"),
        }
    }
    list
}

/// Words compared at a time.
const BATCH: u64 = 1 << 16;

fn work(args: &Args, thread: u64) -> triage::Report {
    let classes = triage::known();
    let mut report = triage::Report::default();
    let mut decoders = decoders(&args.with);
    let mut compare = |words: &[u32]| decoders.iter_mut().for_each(|d| report.compare(&mut **d, words, &classes));
    if args.stride == 0 {
        let words = stratified(args.seed + thread, args.count);
        words.chunks(BATCH as usize).for_each(&mut compare);
        return report;
    }
    let total = (1u64 << 32).div_ceil(args.stride);
    let mut next = thread * BATCH;
    while next < total {
        let words: Vec<u32> = (next..total.min(next + BATCH))
            .map(|i| i * args.stride + args.remainder % args.stride)
            .filter_map(|w| u32::try_from(w).ok())
            .collect();
        compare(&words);
        next += args.threads * BATCH;
        if thread == 0 && next / BATCH % 256 < args.threads {
            println!("{:.1} %", next as f64 * 100.0 / total as f64);
        }
    }
    report
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let mut report = triage::Report::default();
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..args.threads)
            .map(|t| {
                s.spawn({
                    let args = &args;
                    move || work(args, t)
                })
            })
            .collect();
        for t in threads {
            report.merge(t.join().expect("a thread of this program"));
        }
    });
    print!("{}", report.text(&triage::known()));
    if report.unknown.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
