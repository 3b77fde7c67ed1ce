//! Every instruction that can be disassembled can be assembled again, and small programs assemble.

use std::path::{Path, PathBuf};

use spec_compiler::asm::{Assembler, disassemble};
use spec_compiler::build::{Checked, check};
use spec_compiler::decoder::{decode, encoding};

fn description(name: &str) -> Checked {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    check(&root).unwrap_or_else(|e| panic!("{e}"))
}

/// Words of one instruction for which the text does not come back.
fn round_trips(name: &str, words: u32) {
    let c = description(name);
    let assembler = Assembler::new(&c.model);
    let pc = 0x10_0000;
    let mut seed = 1_u64;
    let mut wrong = Vec::new();
    for (i, insn) in c.model.insns.iter().enumerate() {
        let e = encoding(insn);
        let mut tried = 0;
        for _ in 0..8 * words {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = ((seed >> 24) as u32 & !e.mask) | e.value;
            if decode(&c.model, &c.tree, word) != Some(i) || tried == words {
                continue;
            }
            tried += 1;
            let Some(text) = disassemble(&c.model, &c.tree, word, pc) else { continue };
            let back = assembler.assemble(&text, pc).map(|w| disassemble(&c.model, &c.tree, w, pc));
            if back.as_ref().map(|t| t.as_deref()) != Ok(Some(text.as_str())) {
                wrong.push(format!("{}: {word:#010x} `{text}` came back as {back:?}", insn.name));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), c.model.insns.len(), wrong.join("\n"));
}

#[test]
fn toy_round_trips() {
    round_trips("tests/toy/toy.isa", 30);
}

#[test]
fn armv8_round_trips() {
    round_trips("arch-specs/armv8-a/armv8-a.isa", 6);
}

#[test]
fn known_words() {
    let c = description("arch-specs/armv8-a/armv8-a.isa");
    let assembler = Assembler::new(&c.model);
    for (text, word) in [
        ("add x0, x1, #0x10", 0x9100_4020_u32),
        ("b 0x1008", 0x1400_0002),
        ("cbnz w3, 0xff8", 0x35ff_ffc3),
        ("movz x5, #0x1234, lsl #16", 0xd2a2_4685),
        ("ldr x1, [x2, #8]", 0xf940_0441),
        ("stp x29, x30, [sp, #-16]!", 0xa9bf_7bfd),
        ("and x0, x0, #0xff", 0x9240_1c00),
        ("svc #0x0", 0xd400_0001),
        ("mov x1, #-1", 0x9280_0001),
        ("mov w1, #-1", 0x1280_0001),
        ("mrs x0, NZCV", 0xd53b_4200),
        ("msr vbar_el1, x2", 0xd518_c002),
        ("msr pan, #0x1", 0xd500_419f),
    ] {
        assert_eq!(assembler.assemble(text, 0x1000).map(|w| format!("{w:08x}")), Ok(format!("{word:08x}")), "{text}");
    }
}

#[test]
fn program_with_labels() {
    let c = description("arch-specs/armv8-a/armv8-a.isa");
    let program = "
        movz x0, #3          // a loop and a string
    again:
        sub x0, x0, #1
        cbnz x0, again
        b done
    text:
        .ascii \"ok\\n\"
        .align 3
        .equ SEVEN, 7
        .quad text, SEVEN
    done:
        ret
    ";
    let bytes = Assembler::new(&c.model).program(program, 0x4000_0000).expect("assembles");
    let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    assert_eq!(word(8), 0xb5ff_ffe0);
    assert_eq!(word(12), 0x1400_0007);
    assert_eq!(&bytes[16..19], b"ok\n");
    assert_eq!(word(24), 0x4000_0010);
    assert_eq!(word(40), 0xd65f_03c0);
}
