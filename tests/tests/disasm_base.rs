//! The disassembler, and with it the decoder, against binutils.
//!
//! `data/disasm_base.txt` holds what objdump prints for a list of base instructions that covers every form and alias, and every
//! system register. `decoder_sweep.rs` compares random words with installed disassemblers.

use std::fmt::Write as _;

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
