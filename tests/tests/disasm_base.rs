//! The disassembler, and with it the decoder, against binutils.
//!
//! `data/disasm_base.txt` holds what objdump prints for a list of base instructions that covers every form and alias. The
//! sweep compares random words with an installed objdump; it is for triage, because the two differ where binutils knows
//! features that this machine hasn't.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use armv8_guest::isa;

fn ours(word: u32, pc: u64) -> String {
    let mut text = String::new();
    isa::disassemble(word, pc, &mut text).expect("writing to a string succeeds");
    text
}

#[test]
fn base_instructions_read_as_in_binutils() {
    let mut wrong = String::new();
    let mut count = 0;
    for line in include_str!("../data/disasm_base.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut parts = line.splitn(3, ' ');
        let mut number =
            || u64::from_str_radix(parts.next().expect("three columns"), 16).expect("a hexadecimal number");
        let (pc, word) = (number(), number() as u32);
        let theirs = parts.next().expect("three columns");
        let ours = ours(word, pc);
        if ours != theirs {
            count += 1;
            writeln!(wrong, "{word:08x}  {ours:50}  {theirs}").expect("writing to a string succeeds");
        }
    }
    assert!(count == 0, "{count} differences (word, ours, binutils):\n{wrong}");
}

/// Normalises one line of `objdump -D`: its word and text.
fn objdump_line(line: &str) -> Option<(u32, String)> {
    let mut columns = line.splitn(3, '\t');
    columns.next()?.trim().strip_suffix(':')?;
    let word = u32::from_str_radix(columns.next()?.trim(), 16).ok()?;
    let mut text = columns.next()?.split("//").next()?.trim().to_owned();
    if let Some(at) = text.find(" <") {
        text.truncate(at);
    }
    Some((word, text.replacen('\t', "  ", 1).replace('\t', " ")))
}

/// `SWEEP_WORDS` random words (default 100000), those that match `SWEEP_MASK`/`SWEEP_VALUE` if these are given.
#[test]
#[ignore = "needs aarch64-linux-gnu-objdump; differences are to be judged by a person"]
fn sweep_against_objdump() {
    let variable = |name: &str| {
        let text = std::env::var(name).ok()?;
        u64::from_str_radix(text.trim_start_matches("0x"), if text.starts_with("0x") { 16 } else { 10 }).ok()
    };
    let count = variable("SWEEP_WORDS").unwrap_or(100_000);
    let mask = variable("SWEEP_MASK").unwrap_or(0) as u32;
    let value = variable("SWEEP_VALUE").unwrap_or(0) as u32;
    let mut seed = variable("SWEEP_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let words: Vec<u8> = (0..count)
        .flat_map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (((seed >> 16) as u32 & !mask) | (value & mask)).to_le_bytes()
        })
        .collect();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("words");
    std::fs::write(&file, words).expect("the words can be written");
    let out = Command::new("aarch64-linux-gnu-objdump")
        .args(["-D", "-z", "-b", "binary", "-m", "aarch64"])
        .arg(&file)
        .output()
        .expect("aarch64-linux-gnu-objdump runs");
    let mut groups: BTreeMap<String, (u32, String)> = BTreeMap::new();
    let mut pc = 0;
    for (word, theirs) in String::from_utf8_lossy(&out.stdout).lines().filter_map(objdump_line) {
        let ours = ours(word, pc);
        pc += 4;
        // Branch targets are printed with and without a prefix.
        let same = ours.replace("0x", "") == theirs.replace("0x", "")
            || (ours.starts_with(".word") && (theirs.starts_with(".inst") || theirs.starts_with("udf")));
        if !same {
            let name = |s: &str| s.split(' ').next().unwrap_or_default().to_owned();
            let group = groups.entry(format!("{:12} {:12}", name(&ours), name(&theirs)));
            let entry = group.or_insert((0, format!("{word:08x}  {ours:50}  {theirs}")));
            entry.0 += 1;
        }
    }
    for (n, example) in groups.values() {
        println!("{n:6}  {example}");
    }
}
