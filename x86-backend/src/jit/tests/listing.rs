//! Emitted code as text.

use crate::jit::{CompiledBlock, Jit};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

/// The block's instructions, one a line. Data behind the code decode as nonsense.
pub fn listing(jit: &Jit, block: &CompiledBlock) -> String {
    let mut out = String::new();
    let mut formatter = IntelFormatter::new();
    for (code, at) in jit.code(block).into_iter().zip([block.entry, block.cold]) {
        for insn in Decoder::with_ip(64, code, at, DecoderOptions::NONE) {
            let mut text = String::new();
            formatter.format(&insn, &mut text);
            out.push_str(&format!("{:#x} {text}\n", insn.ip() - block.entry));
        }
    }
    out
}

/// The instructions only, without addresses, for comparison: up to and including the first unconditional jump.
pub fn body(jit: &Jit, block: &CompiledBlock) -> Vec<String> {
    let mut formatter = IntelFormatter::new();
    let mut out = Vec::new();
    for insn in Decoder::with_ip(64, jit.code(block)[0], block.entry, DecoderOptions::NONE) {
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        out.push(text);
        if insn.mnemonic() == iced_x86::Mnemonic::Jmp {
            break;
        }
    }
    out
}
