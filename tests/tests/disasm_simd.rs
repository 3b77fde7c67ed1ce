//! The disassembler, and with it the decoder, against binutils: floating point, AdvSIMD, cryptography.
//!
//! `data/disasm_simd.txt` holds what objdump prints for one encoding of every form that it knows of these groups and this
//! machine has. For a random sweep see `disasm_base`.

use std::fmt::Write as _;

use armv8_guest::isa;

#[test]
fn simd_instructions_read_as_in_binutils() {
    let mut wrong = String::new();
    let mut count = 0;
    for line in include_str!("../data/disasm_simd.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut parts = line.splitn(3, ' ');
        let mut number =
            || u64::from_str_radix(parts.next().expect("three columns"), 16).expect("a hexadecimal number");
        let (pc, word) = (number(), number() as u32);
        let theirs = parts.next().expect("three columns");
        let mut ours = String::new();
        isa::disassemble(word, pc, &mut ours).expect("writing to a string succeeds");
        if ours != theirs {
            count += 1;
            writeln!(wrong, "{word:08x}  {ours:50}  {theirs}").expect("writing to a string succeeds");
        }
    }
    assert!(count == 0, "{count} differences (word, ours, binutils):\n{wrong}");
}
