//! What instructions compute, against QEMU.
//!
//! Every form in `data/disasm_base.txt` and `data/disasm_simd.txt` runs on [`RUNS`] states; `data/semantics.txt` holds hashes of what
//! QEMU 7.2 made of them. The interpreter must agree, and so must translated code, with and without the host's optional
//! features. Where QEMU is installed, random words of every encoding are compared directly; the program `conform` does more of
//! that. `tests/regressions` has cases that once went wrong.
//!
//! `cargo test -p tests --test semantics -- --ignored record` has QEMU execute all forms again and rewrites the hashes.

use std::fmt::Write as _;
use tests::conformance::oracle::{self, Oracle};
use tests::conformance::states::{self, Rng};
use tests::conformance::ways::{self, Ways};
use tests::conformance::{Case, Outcome, SLOTS, agree, comparable, regression, words};

/// States per instruction.
const RUNS: u64 = 4;
/// Random words per encoding in the direct comparison.
const WORDS: u64 = 60;

/// The forms.
fn forms() -> impl Iterator<Item = u32> {
    let lines = [include_str!("../data/disasm_base.txt"), include_str!("../data/disasm_simd.txt")];
    lines
        .into_iter()
        .flat_map(str::lines)
        .filter(|l| !l.starts_with('#'))
        .map(|l| u32::from_str_radix(l.split(' ').nth(1).expect("three columns"), 16).expect("a hexadecimal number"))
        .filter(|&w| words::usable(&[w]))
}

/// One of the states for a form, in the first slot. `None`: the oracle is wrong there.
fn case(word: u32, run: u64) -> Option<Case> {
    let mut rng = Rng::new(u64::from(word) << 8 | run);
    let case = states::case(vec![word], 0, &mut rng);
    words::excluded_state(word, case.fpcr).is_none().then_some(case)
}

/// The same case, but perhaps with several turns.
fn turning(case: Case, rng: &mut Rng) -> Case {
    Case { turns: 1 + rng.word() % words::max_turns(&case.words), ..case }
}

/// Executes everything in one way.
fn check(way: usize) {
    let mut ways = Ways::new();
    let mut report = String::new();
    let (mut wrong, mut count) = (0, 0);
    let mut recorded = include_str!("../data/semantics.txt").lines().filter(|l| !l.starts_with('#'));
    for word in forms() {
        let mut columns = recorded.next().expect("a line for every form").split(' ');
        assert_eq!(columns.next(), Some(format!("{word:08x}").as_str()), "record the hashes again");
        for run in 0..RUNS {
            let wanted = columns.next().expect("a hash for every run");
            let (Some(case), Ok(wanted)) = (case(word, run), u32::from_str_radix(wanted, 16)) else { continue };
            count += 1;
            let got = ways.run(way, &case);
            if got.hash() != wanted {
                wrong += 1;
                let reference = ways.run(0, &case);
                let why =
                    if reference.hash() == wanted { got.difference(&reference) } else { " (see `record`)".into() };
                if wrong <= 60 {
                    let mut text = String::new();
                    armv8_guest::isa::disassemble(word, case.pc(), &mut text).expect("writing to a string succeeds");
                    let _ = writeln!(report, "{word:08x} {text} fpcr {:x} run {run}:{why}", case.fpcr);
                }
            }
        }
    }
    assert!(count > 10_000, "only {count} cases are recorded");
    assert!(wrong == 0, "{wrong} of {count} differ:\n{report}");
}

#[test]
fn interpreter_computes_what_qemu_does() {
    check(0);
}

#[test]
fn translated_code_computes_what_qemu_does() {
    check(1);
}

#[test]
fn translated_code_for_a_plain_host_computes_what_qemu_does() {
    check(2);
}

#[test]
fn regions_compute_what_qemu_does() {
    check(3);
}

#[test]
fn random_words_compute_what_qemu_does() {
    if !oracle::available() {
        return;
    }
    let mut oracle = Oracle::start().expect("the oracle starts");
    let mut ways = Ways::new();
    let mut report = String::new();
    for (k, insn) in words::comparable().enumerate() {
        for length in [1, 5] {
            let mut rng = Rng::new(length << 32 | k as u64);
            let lists: Vec<Vec<u32>> = (0..4 * WORDS)
                .filter_map(|_| words::sequence(insn, length, &mut rng))
                .filter(|list| words::usable(list))
                .take(WORDS as usize)
                .collect();
            let cases: Vec<Case> = lists
                .into_iter()
                .enumerate()
                .map(|(i, list)| turning(states::case(list, i as u64, &mut rng), &mut rng))
                .collect();
            assert!(cases.len() < SLOTS as usize, "one batch");
            for (case, wanted) in cases.iter().zip(oracle.run(&cases).expect("the oracle answers")) {
                let excluded = case.words.iter().any(|&w| words::excluded_state(w, case.fpcr).is_some());
                if !excluded && let Some(way) = ways.differs(case, &wanted) {
                    let difference = ways.run(way, case).difference(&wanted);
                    let _ = writeln!(report, "{} {:x?}, {}:{difference}", insn.name, case.words, ways::NAMES[way]);
                }
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn what_once_went_wrong_is_right() {
    let mut ways = Ways::new();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("a directory entry").path();
        if path.extension().is_none_or(|e| e != "case") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let (case, wanted) = regression::read(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (way, name) in ways::NAMES.iter().enumerate() {
            let got = ways.run(way, &case);
            assert!(agree(&got, &wanted), "{} {name}:{}", path.display(), got.difference(&wanted));
        }
    }
}

/// Results in more registers than the host has, all of them not yet stored: each that is stored early makes room for the next.
#[test]
fn a_block_may_have_results_in_all_registers() {
    let fields = |n: u32, m: u32, d: u32| m << 16 | n << 5 | d;
    let mut rng = Rng::new(9);
    // FMUL and FADD, double and single; FMOV to a vector register; ADD.
    let forms = [0x1e60_0800, 0x1e60_2800, 0x1e20_0800, 0x1e20_2800, 0x9e67_0000, 0x8b00_0000];
    for round in 0..40 {
        let form = |rng: &mut Rng| if round < forms.len() { forms[round] } else { forms[rng.below(forms.len())] };
        let words: Vec<u32> = (0..60)
            .map(|i| {
                let (n, m) = (rng.below(31) as u32, rng.below(31) as u32);
                match form(&mut rng) {
                    moved @ 0x9e67_0000 => moved | fields(n, 0, i % 32),
                    sum @ 0x8b00_0000 => sum | fields(n, m, i % 31),
                    other => other | fields(n, m, i % 32),
                }
            })
            .collect();
        let case = states::case(words, 0, &mut rng);
        let mut ways = Ways::new();
        let wanted = ways.run(0, &case);
        for way in 1..ways::NAMES.len() {
            let got = ways.run(way, &case);
            assert!(agree(&got, &wanted), "{:x?}, {}:{}", case.words, ways::NAMES[way], got.difference(&wanted));
        }
    }
}

#[test]
fn cases_survive_in_files() {
    let mut rng = Rng::new(7);
    let case = Case { turns: 4, ..states::case(vec![0x9100_0420, 0xf940_0041], 3, &mut rng) };
    let outcome = Ways::new().run(0, &case);
    assert_eq!(regression::read(&regression::write("two\nlines", &case, &outcome)), Ok((case, outcome)));
}

#[test]
fn a_wrong_result_is_noticed() {
    // add x1, x1, #1
    let mut rng = Rng::new(8);
    let case = Case { turns: 3, ..states::case(vec![0x9100_0421], 0, &mut rng) };
    let mut ways = Ways::new();
    let right = ways.run(0, &case);
    assert_eq!(ways.differs(&case, &right), None);
    let wrong = [
        Outcome { pc: right.pc + 4, ..right.clone() },
        Outcome { memory: 1, ..right.clone() },
        Outcome { fpsr: 1, ..right.clone() },
        Outcome { nzcv: right.nzcv ^ 1 << 31, ..right.clone() },
        Outcome { x: [0; 31], ..right.clone() },
        Outcome { v: [0; 32], ..right.clone() },
    ];
    for outcome in wrong {
        assert_eq!(ways.differs(&case, &outcome), Some(0));
        assert_ne!(outcome.hash(), right.hash());
    }
}

#[test]
#[ignore = "needs qemu-aarch64 and aarch64-linux-gnu-gcc; rewrites data/semantics.txt"]
fn record() {
    let mut oracle = Oracle::start().expect("the oracle starts");
    let mut ways = Ways::new();
    let mut text = String::from(
        "# Hashes of what QEMU 7.2 made of the forms in disasm_base.txt and disasm_simd.txt (see tests/semantics.rs): word, one per state.\n",
    );
    for word in forms() {
        let _ = write!(text, "{word:08x}");
        for run in 0..RUNS {
            let Some(case) = case(word, run) else {
                text.push_str(" -");
                continue;
            };
            let theirs = oracle.run(std::slice::from_ref(&case)).expect("the oracle answers").remove(0);
            let ours = ways.run(0, &case);
            if !comparable(&case, &ours, &theirs) {
                text.push_str(" -");
                continue;
            }
            let _ = write!(text, " {:08x}", theirs.hash());
            if !agree(&ours, &theirs) {
                println!("{word:08x} fpcr {:x}:{}", case.fpcr, ours.difference(&theirs));
            }
        }
        text.push('\n');
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/semantics.txt");
    std::fs::write(path, text).expect("the data directory is writable");
}
