//! The decoder against LLVM, Capstone and binutils on words of every encoding; `cargo run -p tests --bin sweep` does more of them.

use tests::sweep::{Decoder, binutils::Objdump, capstone::Cap, llvm::Llvm, stratified, tokens, triage};

/// Random words per encoding.
const COUNT: usize = 150;

fn check(decoder: &mut dyn Decoder, seed: u64) {
    let classes = triage::known();
    let mut report = triage::Report::default();
    report.compare(decoder, &stratified(seed, COUNT), &classes);
    assert!(report.instructions > 10_000, "words of every encoding are instructions");
    assert!(report.unknown.is_empty(), "{}", report.text(&classes));
}

#[test]
fn capstone_agrees() {
    check(&mut Cap::new(), 11);
}

#[test]
fn llvm_agrees() {
    match Llvm::load() {
        Some(mut d) => check(&mut d, 12),
        None => eprintln!("there is no LLVM library here: not compared"),
    }
}

#[test]
fn binutils_agree() {
    match Objdump::find() {
        Some(mut d) => check(&mut d, 13),
        None => eprintln!("aarch64-linux-gnu-objdump is not installed: not compared"),
    }
}

#[test]
fn a_disagreement_is_noticed() {
    struct Liar;
    impl Decoder for Liar {
        fn name(&self) -> &'static str {
            "liar"
        }
        fn decode(&mut self, words: &[u32]) -> Vec<Option<String>> {
            words.iter().map(|w| (*w != 0xd503_201f).then(|| "add x0, x1, #3".to_owned())).collect()
        }
    }
    let mut report = triage::Report::default();
    // nop, add x0, x1, #3, add x0, x1, #4
    report.compare(&mut Liar, &[0xd503_201f, 0x9100_0c20, 0x9100_1020], &[]);
    let found: Vec<_> = report.unknown.keys().map(|(_, kind, ours, _)| (*kind, ours.as_str())).collect();
    assert_eq!(found, [(triage::Kind::Ours, "nop"), (triage::Kind::Both, "add")]);
}

#[test]
fn texts_are_compared_by_meaning() {
    assert_eq!(tokens("mov\tx0, #0x10 // #16"), tokens("mov  x0, #16"));
    assert_eq!(tokens("ld1  {v31.4s-v1.4s}, [x0]"), tokens("ld1 { v31.4s, v0.4s, v1.4s }, [x0]"));
    assert_eq!(tokens("b.hs 0x10"), tokens("b.cs 0x10"));
    assert_eq!(tokens("fmov d0, #-1.25"), tokens("fmov d0, #-1.250000000000000000e+00"));
    assert_ne!(tokens("ldr x0, [x1, #8]!"), tokens("ldr x0, [x1], #8"));
    assert_ne!(tokens("add x0, x1, #-1"), tokens("add x0, x1, #1"));
}
