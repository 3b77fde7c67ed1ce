//! The host code of instructions, count and text, so that a change of it shows in review; and the coverage report, which is made
//! from the description.
//!
//! `BLESS=1 cargo test -p tests --test code_quality` rewrites `data/code_quality.txt` and `docs/coverage.md`.

use armv8_guest::isa::{self, INSNS, features};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use tests::conformance::listing::{Lister, Listing};
use tests::conformance::words;

/// What has no form in the disassembler's lists.
const EXTRA: &[u32] = &[
    0xd503_233f, // paciasp
    0xd503_23bf, // autiasp
    0xdac1_0041, // pacia x1, x2
    0xdac1_1041, // autia x1, x2
    0xdac1_43e1, // xpaci x1
    0x9ac2_3020, // pacga x0, x1, x2
    0xd65f_0bff, // retaa
    0xd71f_0822, // braa x1, x2
    0xf820_0420, // ldraa x0, [x1]
    0x1e63_4020, // bfcvt h0, s1
    0x0ea1_6820, // bfcvtn v0.4h, v1.4s
    0x6e42_fc20, // bfdot v0.4s, v1.8h, v2.8h
    0x6e42_ec20, // bfmmla v0.4s, v1.8h, v2.8h
    0x2ec2_fc20, // bfmlalb v0.4s, v1.8h, v2.8h
    0xd53b_2400, // mrs x0, rndr
];

/// Forms: every mnemonic of every instruction once, in the order of the lists.
fn forms() -> Vec<(u32, String)> {
    let lists = [include_str!("../data/disasm_base.txt"), include_str!("../data/disasm_simd.txt")];
    let listed =
        lists.into_iter().flat_map(str::lines).filter(|l| !l.starts_with('#')).map(|l| {
            u32::from_str_radix(l.split(' ').nth(1).expect("three columns"), 16).expect("a hexadecimal number")
        });
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for word in listed.chain(EXTRA.iter().copied()) {
        let Some(insn) = isa::decode(word) else { continue };
        let mut text = String::new();
        isa::disassemble(word, 0x7000_0000, &mut text).expect("writing to a string succeeds");
        let mnemonic = text.split(' ').next().unwrap_or_default().to_owned();
        // Registers of the system differ in nothing but their place: a few of each kind do.
        let detail = if matches!(insn.name(), "mrs" | "msr") { word >> 16 & 7 } else { 0 };
        if seen.insert((insn.name(), mnemonic, detail)) {
            out.push((word, text));
        }
    }
    out
}

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Compares with a file, or writes it.
fn golden(path: PathBuf, text: &str) {
    if blessing() {
        std::fs::write(&path, text).expect("the file is writable");
        return;
    }
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = old.lines().zip(text.lines()).position(|(a, b)| a != b);
    let at = differ.unwrap_or(old.lines().count().min(text.lines().count()));
    let show = |t: &str| t.lines().skip(at.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
    assert!(
        old == text,
        "{} line {}: BLESS=1 accepts this\n--- before\n{}\n--- now\n{}",
        path.display(),
        at + 1,
        show(&old),
        show(text)
    );
}

#[test]
fn host_code_is_as_it_was() {
    let mut lister = Lister::new();
    let forms = forms();
    assert!(forms.len() >= 300, "only {} forms", forms.len());
    let mut out = String::from(
        "# The host code of one guest instruction each: number of host instructions without those of an empty block, and text.\n",
    );
    for (word, text) in forms {
        let Listing { count, lines, .. } = lister.list(word);
        let _ = writeln!(out, "\n{word:08x} {text}: {count}");
        lines.iter().for_each(|l| {
            let _ = writeln!(out, "    {l}");
        });
    }
    golden(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/code_quality.txt"), &out);
}

/// How an instruction is tested.
fn tested_by(name: &str, forms: usize) -> &'static str {
    match words::left_out(name) {
        Some(_) => "self-test, unit tests",
        None if forms > 0 => "QEMU, recorded and random",
        None => "QEMU, random",
    }
}

#[test]
fn the_coverage_report_is_up_to_date() {
    let mut lister = Lister::new();
    let mut per_insn: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (word, _) in forms() {
        let name = isa::decode(word).expect("an instruction").name();
        per_insn.entry(name).or_default().push(word);
    }
    let mut out = String::from(
        "# Coverage\n\nMade from the description by `BLESS=1 cargo test -p tests --test code_quality`.\n\n## Features\n\n\
         | feature | reported as |\n|---|---|\n",
    );
    for (name, on) in features::ALL {
        let _ = writeln!(out, "| {name} | {} |", if *on { "present" } else { "absent" });
    }
    out.push_str(
        "\nAbsent and reported absent: SVE, SME, MTE, AFP, and everything newer. PSTATE.BTYPE is kept where a branch's target is \
         checked;\nexceptions elsewhere save it as zero.\n\n## Instructions\n\n\
         Host instructions are those of the forms in `tests/data/code_quality.txt`, from the shortest to the longest. \"call\" means that some\n\
         form leaves translated code for a function, if only in rare cases.\n\n\
         | instruction | what | feature | tested by | host code |\n|---|---|---|---|---|\n",
    );
    for insn in INSNS {
        let forms = per_insn.get(insn.name).map_or(&[][..], Vec::as_slice);
        let listings: Vec<Listing> = forms.iter().map(|&w| lister.list(w)).collect();
        let range = match (listings.iter().map(|l| l.count).min(), listings.iter().map(|l| l.count).max()) {
            (Some(a), Some(b)) if a == b => a.to_string(),
            (Some(a), Some(b)) => format!("{a} to {b}"),
            _ => "-".to_owned(),
        };
        let kind = if listings.is_empty() {
            ""
        } else if listings.iter().any(|l| l.calls) {
            ", call"
        } else {
            ", inline"
        };
        let what = insn.doc.lines().next().unwrap_or("");
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {range}{kind} |",
            insn.name,
            what.trim_end_matches(['.', ':']).replace('|', "\\|"),
            if insn.requires.is_empty() { "base".to_owned() } else { insn.requires.join(", ") },
            tested_by(insn.name, forms.len()),
        );
    }
    let _ = writeln!(out, "\n{} instructions, {} system registers.", INSNS.len(), isa::SYSREGS.len());
    golden(tests::files::root().join("docs/coverage.md"), &out);
}
