//! The host code of single instructions, as text that does not depend on where things are.

use super::ours::{compiler, host_block};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, Instruction, IntelFormatter, OpKind};
use std::collections::BTreeMap;
use x86_backend::jit::{HostFeatures, Jit};

/// The host that code is made for, whatever this one is: x86-64-v3 with the cryptographic extensions.
const HOST: HostFeatures = HostFeatures::all().difference(HostFeatures::GFNI);

/// What an instruction became.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Host instructions without those of an empty block.
    pub count: isize,
    /// Whether the instruction is done with the help of a function: the reference semantics, or one of the guest's.
    pub calls: bool,
    pub lines: Vec<String>,
}

/// Makes listings.
pub struct Lister {
    jit: Jit,
    empty: isize,
}

impl Default for Lister {
    fn default() -> Self {
        Self::new()
    }
}

impl Lister {
    #[must_use]
    pub fn new() -> Self {
        const NOP: u32 = 0xd503_201f;
        let mut lister = Self { jit: compiler(HOST), empty: 0 };
        lister.empty = lister.list(NOP).count;
        lister
    }

    /// The code of a block with that one instruction, at EL1 with everything enabled.
    pub fn list(&mut self, word: u32) -> Listing {
        let parts = host_block(&mut self.jit, word);
        let decoded = parts.iter().flat_map(|(at, code)| Decoder::with_ip(64, code, *at, DecoderOptions::NONE));
        let mut list: Vec<Instruction> = decoded.collect();
        let inside = |address: u64| parts.iter().any(|(at, code)| (*at..*at + code.len() as u64).contains(&address));
        // Constants stand behind the code.
        let constants = list.iter().filter(|i| i.is_ip_rel_memory_operand()).map(Instruction::ip_rel_memory_address);
        let end = constants.filter(|a| inside(*a)).min().unwrap_or(u64::MAX);
        list.retain(|i| i.ip() < end);
        let targets: BTreeMap<u64, usize> = list
            .iter()
            .filter(|i| is_jump(i) && inside(i.near_branch_target()))
            .map(|i| i.near_branch_target())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .enumerate()
            .map(|(n, t)| (t, n))
            .collect();
        let mut formatter = IntelFormatter::new();
        formatter.options_mut().set_hex_prefix("0x");
        formatter.options_mut().set_hex_suffix("");
        formatter.options_mut().set_space_after_operand_separator(true);
        formatter.options_mut().set_uppercase_hex(false);
        let mut lines = Vec::new();
        for i in &list {
            if let Some(n) = targets.get(&i.ip()) {
                lines.push(format!("L{n}:"));
            }
            lines.push(line(&mut formatter, i, &targets));
        }
        // An exit is a jump through memory or out of the block; a call is anything that comes back.
        let calls = list.iter().any(|i| matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall));
        Listing { count: list.len() as isize - self.empty, calls, lines }
    }
}

fn is_jump(i: &Instruction) -> bool {
    matches!(i.op0_kind(), OpKind::NearBranch64)
}

fn line(formatter: &mut IntelFormatter, i: &Instruction, targets: &BTreeMap<u64, usize>) -> String {
    let mut text = String::new();
    formatter.format_mnemonic(i, &mut text);
    if is_jump(i) {
        match targets.get(&i.near_branch_target()) {
            Some(n) => text.push_str(&format!(" L{n}")),
            None => text.push_str(" out"),
        }
        return text;
    }
    text.clear();
    // Addresses in this process.
    let pointer = |v: u64| (0x1000_0000_0000..0x8000_0000_0000).contains(&v);
    if i.op_count() == 2 && i.op_kind(1) == OpKind::Immediate64 && pointer(i.immediate64()) {
        let mut destination = String::new();
        let _ = formatter.format_operand(i, &mut destination, 0);
        return format!("mov {destination}, pointer");
    }
    if i.is_ip_rel_memory_operand() {
        formatter.format_mnemonic(i, &mut text);
        for k in 0..i.op_count() {
            text.push_str(if k == 0 { " " } else { ", " });
            if i.op_kind(k) == OpKind::Memory {
                text.push_str("[constant]");
            } else {
                let _ = formatter.format_operand(i, &mut text, k);
            }
        }
        return text;
    }
    formatter.format(i, &mut text);
    text
}
