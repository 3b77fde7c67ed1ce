//! Instruction words: random ones of an encoding, what of a memory access is where, and what is not compared with the oracle.

use super::states::Rng;
use armv8_guest::isa::{self, INSNS, Insn, InsnInfo};

/// A random word of that instruction. `None`: none was found, because nearly all words with its fixed bits are others.
#[must_use]
pub fn random(insn: &InsnInfo, rng: &mut Rng) -> Option<u32> {
    (0..4000)
        .map(|_| {
            let mut noise = rng.word() as u32;
            // Registers that coincide are rare among random ones.
            if rng.below(4) == 0 {
                noise = noise & !(31 << 5) | (noise & 31) << 5;
            }
            if rng.below(8) == 0 {
                noise = noise & !(31 << 16) | (noise & 31) << 16;
            }
            insn.value | noise & !insn.mask
        })
        .find(|&w| isa::decode(w).is_some_and(|i| i.name() == insn.name))
}

/// All instructions of which some words can be compared.
pub fn comparable() -> impl Iterator<Item = &'static InsnInfo> {
    INSNS.iter().filter(|i| left_out(i.name).is_none())
}

/// Instructions of which no word is compared with the oracle, and why.
#[must_use]
pub fn left_out(name: &str) -> Option<&'static str> {
    Some(match name {
        "svc" | "hvc" | "smc" | "brk" | "hlt" | "dcps" => "calls what is above the program",
        "tlbi" | "at" | "ic_all" | "ic_ivau" | "dc_clean" | "dc_ivac" | "dc_set_way" | "restrict" | "sys" | "sysl" => {
            "maintenance: the emulated kernel's affair"
        }
        "dc_zva" => "the block's size is the implementation's choice",
        "pac_reg" | "pacga" | "br_pac" | "ret_pac" | "eret_pac" | "ldr_pac" | "pac_strip" => {
            "codes and address sizes are the implementation's choice"
        }
        "msr_imm" => "fields of PSTATE that a program can't read, or may not write",
        _ => return None,
    })
}

/// Why a word is not compared with QEMU 7.2, if it isn't.
#[must_use]
pub fn excluded(word: u32) -> Option<&'static str> {
    let insn = isa::decode(word)?;
    if let Some(reason) = left_out(insn.name()) {
        return Some(reason);
    }
    let field = |lo: u32, width: u32| word >> lo & ((1 << width) - 1);
    let (d, n, m) = (field(0, 5), field(5, 5), field(16, 5));
    match insn.name() {
        "hint" if matches!(field(5, 7), 2 | 3) => Some("waits for events that don't come"),
        "hint" if matches!(field(5, 7), 7..=31) => Some("pointer authentication: the implementation's choice"),
        "mrs" | "msr" if !matches!(field(5, 15), 0x5a10 | 0x5a20 | 0x5a21) => {
            Some("identification, timers and what the emulated kernel keeps")
        }
        "ldst_writeback" | "ldst_fp_index" | "ldst_pair" | "ldst_fp_pair" if unpredictable_pair(word) => {
            Some("constrained unpredictable: a register is written twice")
        }
        "ldxp" if d == field(10, 5) => Some("constrained unpredictable: a register is loaded twice"),
        "stxr" if m == d || (m == n && n != 31) => Some("constrained unpredictable: the status is also an operand"),
        "stxp" if m == d || m == field(10, 5) || (m == n && n != 31) => {
            Some("constrained unpredictable: the status is also an operand")
        }
        "cvtf_fixed" | "fcvtz_fixed" | "cvtf_fixed_v" | "fcvtz_fixed_v" if word & 0xdff0_fc00 == 0x5f10_fc00 => {
            Some("QEMU leaves the rest of a scalar half-precision result sign-extended")
        }
        _ => None,
    }
}

/// A load or store with writeback into a register it also transfers, or a pair into one register.
fn unpredictable_pair(word: u32) -> bool {
    let vector = word >> 26 & 1 == 1;
    let (t, n, t2) = (word & 31, word >> 5 & 31, word >> 10 & 31);
    if word >> 28 & 3 == 2 {
        let writeback = word >> 23 & 1 == 1;
        let load = word >> 22 & 1 == 1;
        (load && t == t2) || (!vector && writeback && n != 31 && (t == n || t2 == n))
    } else {
        !vector && n != 31 && t == n
    }
}

/// Why a case is not compared although its words are: in these the oracle is wrong.
#[must_use]
pub fn excluded_state(word: u32, fpcr: u32) -> Option<&'static str> {
    let flush = fpcr >> 24 & 1 == 1;
    match isa::decode(word)?.name() {
        "fjcvtzs" if flush => Some("QEMU takes a flushed denormal for exact"),
        _ => None,
    }
}

/// Loads, stores, atomics.
#[must_use]
pub fn is_memory(word: u32) -> bool {
    word & 0x0a00_0000 == 0x0800_0000
}

/// Where a memory access is: base + offset + extended index.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// 31: the stack pointer.
    pub base: usize,
    pub offset: i64,
    /// Register, extension, shift.
    pub index: Option<(usize, u32, u32)>,
    pub bytes: u64,
    /// What the address must be a multiple of.
    pub alignment: u64,
    /// The register with the value expected in memory, and whether another one follows.
    pub expected: Option<(usize, bool)>,
}

/// The operands of a memory access that has a base register.
#[must_use]
pub fn operands(word: u32) -> Option<Operands> {
    let field = |lo: u32, width: u32| word >> lo & ((1 << width) - 1);
    let signed = |lo: u32, width: u32| i64::from((field(lo, width) << (32 - width)) as i32 >> (32 - width));
    let vector = field(26, 1) == 1;
    let size = field(30, 2);
    let scale = if vector { field(23, 1) << 2 | size } else { size };
    let base = field(5, 5) as usize;
    let mut o = Operands { base, offset: 0, index: None, bytes: 1 << scale, alignment: 1, expected: None };
    match (field(28, 2), vector) {
        (0, true) => {
            o.bytes = 64;
            // Post-indexed by a register.
            return Some(o);
        }
        (0, false) => {
            // Exclusive and ordered accesses, compare and swap.
            let pair = field(21, 1) == 1 && (field(23, 1) == 0);
            let casp = pair && size < 2;
            o.bytes = if casp {
                8 << field(30, 1)
            } else if pair {
                2 << size
            } else {
                1 << size
            };
            o.alignment = o.bytes;
            if field(21, 1) == 1 && (casp || field(23, 1) == 1) {
                o.expected = Some((field(16, 5) as usize, casp));
            }
        }
        (1, _) if field(24, 1) == 0 => return None,
        (1, _) => {
            o.bytes = 1 << size;
            o.alignment = o.bytes;
            o.offset = signed(12, 9);
        }
        (2, _) => {
            let scale = if vector {
                2 + size
            } else if size == 2 {
                3
            } else {
                2
            };
            o.bytes = 2 << scale;
            if field(23, 2) != 1 {
                o.offset = signed(15, 7) << scale;
            }
        }
        _ if field(24, 1) == 1 => o.offset = i64::from(field(10, 12)) << scale,
        _ if field(21, 1) == 0 => {
            if field(10, 2) != 1 {
                o.offset = signed(12, 9);
            }
        }
        _ if field(10, 2) == 2 => {
            let shift = if field(12, 1) == 1 { scale } else { 0 };
            o.index = Some((field(16, 5) as usize, field(13, 3), shift));
        }
        _ => o.alignment = o.bytes,
    }
    Some(o)
}

/// A PC-relative load with its offset changed to reach near `target`.
#[must_use]
pub fn literal(word: u32, pc: u64, target: u64) -> u32 {
    let offset = (target.wrapping_sub(pc) as i64 >> 2) as u32 & 0x7_ffff;
    word & !(0x7_ffff << 5) | offset << 5
}

/// Whether a PC-relative branch at `pc` stays near, where other cases' code is.
#[must_use]
pub fn branches_near(word: u32) -> bool {
    let signed = |lo: u32, width: u32| i64::from((word << (32 - lo - width)) as i32 >> (32 - width));
    let words = match isa::decode(word).map(Insn::name) {
        Some("b") => signed(0, 26),
        Some("b_cond" | "cbz") => signed(5, 19),
        Some("tbz") => signed(5, 14),
        _ => return false,
    };
    words.unsigned_abs() < 0x1_4000
}

/// Load-exclusive or store-exclusive (or CASP).
#[must_use]
pub fn is_exclusive(word: u32) -> bool {
    word & 0x3f80_0000 == 0x0800_0000
}

/// Why a sequence is not compared: exclusives of different sizes, or to the address that QEMU's monitor holds when it is open.
#[must_use]
pub fn excluded_sequence(words: &[u32]) -> Option<&'static str> {
    let mut shapes: Vec<u32> = words.iter().filter(|w| is_exclusive(**w)).map(|w| w & 0xc020_0000).collect();
    shapes.dedup();
    (shapes.len() > 1).then_some("constrained unpredictable: exclusives of different sizes")
}

/// Whether an instruction may go elsewhere: the last one of a sequence.
#[must_use]
pub fn may_branch(word: u32) -> bool {
    // Branches, exception generation and system instructions.
    word & 0x1c00_0000 == 0x1400_0000
}

/// Whether a word does the same at another address, and always goes on with the next.
fn repeats(word: u32) -> bool {
    let address = word & 0x1f00_0000 == 0x1000_0000;
    let literal = word & 0x3b00_0000 == 0x1800_0000;
    !(may_branch(word) || address || literal)
}

/// How often words may run, one turn after the other.
#[must_use]
pub fn max_turns(words: &[u32]) -> u64 {
    let fit = super::MAX_WORDS / words.len().max(1);
    if words.iter().all(|&w| repeats(w)) { fit as u64 } else { 1 }
}

/// Whether words can be compared: none is excluded, and none branches to where other cases' code is.
#[must_use]
pub fn usable(words: &[u32]) -> bool {
    words.iter().all(|&w| excluded(w).is_none() && !branches_near(w)) && excluded_sequence(words).is_none()
}

/// A word of that instruction, among others if `length` is more than 1. A branch comes last.
#[must_use]
pub fn sequence(insn: &InsnInfo, length: u64, rng: &mut Rng) -> Option<Vec<u32>> {
    let word = random(insn, rng)?;
    let mut list = vec![word];
    if length > 1 {
        let all: Vec<_> = comparable().collect();
        let wanted = 1 + rng.below(length as usize);
        while list.len() < wanted {
            let other = random(all[rng.below(all.len())], rng)?;
            if usable(&[other]) && !may_branch(other) {
                let last = list.len() - usize::from(may_branch(word));
                list.insert(rng.below(last + 1), other);
            }
        }
    }
    Some(list)
}
