//! Instructions on prepared states: the description's semantics, interpreted and translated, against an independent
//! implementation.
//!
//! A [`Case`] is a few instruction words with everything they read; an [`Outcome`] is everything they may change. [`words`] makes
//! instructions, [`states`] makes states for them, [`ours`] and [`ways`] execute a case with the interpreter and with translated code,
//! [`oracle`] has QEMU's user mode execute it, [`regression`] keeps cases in files. The oracle differs from the architecture or
//! leaves room in known places; those are named where they are left out, in [`words::excluded`] and [`agree`].

pub mod listing;
pub mod oracle;
pub mod ours;
pub mod regression;
pub mod states;
pub mod ways;
pub mod words;

use std::fmt::Write as _;

/// Where code and memory are, and how large a slot for a case's code is: as in `data/oracle.c`.
pub const CODE: u64 = 0x7000_0000;
pub const SLOTS: u64 = 1024;
pub const SLOT_BYTES: u64 = 64;
pub const MEMORY: u64 = 0x7002_0000;
pub const MEMORY_SIZE: u64 = 0x2000;
/// Most words that run, turns included; at least one breakpoint follows in the slot.
pub const MAX_WORDS: usize = 12;

/// Cumulative flags of FPSR.
pub const FPSR_MASK: u64 = 0x0800_009f;

/// Instructions and the state they start in, at EL0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which slot the code is in.
    pub slot: u64,
    pub words: Vec<u32>,
    /// How often the words run, one turn after the other.
    pub turns: u64,
    pub fpcr: u32,
    /// N:Z:C:V in bits 31:28.
    pub nzcv: u64,
    pub sp: u64,
    pub x: [u64; 31],
    pub v: [u128; 32],
}

impl Case {
    /// Address of the first instruction.
    #[must_use]
    pub fn pc(&self) -> u64 {
        CODE + self.slot * SLOT_BYTES
    }

    /// The words of all turns.
    #[must_use]
    pub fn code(&self) -> Vec<u32> {
        self.words.repeat(self.turns as usize)
    }

    /// Whether `pc` is that of one of the instructions.
    #[must_use]
    pub fn holds(&self, pc: u64) -> bool {
        pc.checked_sub(self.pc()).is_some_and(|at| at < 4 * self.turns * self.words.len() as u64)
    }

    /// The instruction at `pc`.
    #[must_use]
    pub fn word(&self, pc: u64) -> Option<u32> {
        let at = pc.checked_sub(self.pc())? as usize / 4;
        self.holds(pc).then(|| self.words[at % self.words.len()])
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Beyond its last instruction, or at the target of a branch.
    Ran,
    /// A memory access of the instruction at the program counter failed.
    Fault,
    Undefined,
    /// Ours touched memory where the oracle's own program is, or had an alignment fault: not comparable.
    Foreign,
    /// Something else: the syndrome, or the signal.
    Other(u64),
}

/// What a case left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    pub pc: u64,
    pub nzcv: u64,
    pub fpsr: u64,
    pub sp: u64,
    /// A hash of all changes to memory; 0: none.
    pub memory: u64,
    pub x: [u64; 31],
    pub v: [u128; 32],
}

/// The contents of memory before a case.
#[must_use]
pub fn pattern() -> Vec<u64> {
    let mut z = 0u64;
    (0..MEMORY_SIZE / 8)
        .map(|_| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            (z ^ z >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        })
        .collect()
}

/// The hash of [`Outcome::memory`].
#[must_use]
pub fn memory_hash(memory: &[u64], pattern: &[u64]) -> u64 {
    memory.iter().zip(pattern).enumerate().filter(|(_, (m, p))| m != p).fold(0, |hash, (i, (m, _))| {
        let h = (hash ^ m.wrapping_add(i as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ h >> 29
    })
}

/// Whether an outcome of ours and the oracle's can be compared: the oracle has alignment faults where FEAT_LSE2, which it
/// does not know, has none, and an open monitor that holds the address -1.
#[must_use]
pub fn comparable(case: &Case, ours: &Outcome, theirs: &Outcome) -> bool {
    let unaligned = theirs.end == End::Fault
        && case
            .word(theirs.pc)
            .is_some_and(|w| words::operands(w).is_some_and(|o| o.alignment > 1 || words::is_exclusive(w)));
    ours.end != End::Foreign && ((ours.end, ours.pc) == (theirs.end, theirs.pc) || !unaligned)
}

/// Whether two outcomes agree as far as the architecture says: after a fault, registers that a load would have written and
/// memory that a store would have are unknown when the instruction makes several accesses.
#[must_use]
pub fn agree(a: &Outcome, b: &Outcome) -> bool {
    a.end == b.end
        && a.pc == b.pc
        && a.nzcv == b.nzcv
        && a.sp == b.sp
        && a.x == b.x
        && (a.end == End::Fault || (a.fpsr == b.fpsr && a.memory == b.memory && a.v == b.v))
}

impl Outcome {
    /// Where this one differs from `wanted`.
    #[must_use]
    pub fn difference(&self, wanted: &Self) -> String {
        let mut out = String::new();
        for (i, (a, b)) in self.x.iter().zip(&wanted.x).enumerate().filter(|(_, (a, b))| a != b) {
            let _ = write!(out, " x{i} {a:#x} not {b:#x}");
        }
        for (i, (a, b)) in self.v.iter().zip(&wanted.v).enumerate().filter(|(_, (a, b))| a != b) {
            let _ = write!(out, " v{i} {a:#034x} not {b:#034x}");
        }
        let rest = [
            ("pc", self.pc, wanted.pc),
            ("sp", self.sp, wanted.sp),
            ("nzcv", self.nzcv, wanted.nzcv),
            ("fpsr", self.fpsr, wanted.fpsr),
            ("memory", self.memory, wanted.memory),
        ];
        for (name, a, b) in rest.into_iter().filter(|(_, a, b)| a != b) {
            let _ = write!(out, " {name} {a:#x} not {b:#x}");
        }
        if self.end != wanted.end {
            let _ = write!(out, " ended by {:?} not {:?}", self.end, wanted.end);
        }
        out
    }

    /// For recorded outcomes. What [`agree`] ignores does not count.
    #[must_use]
    pub fn hash(&self) -> u32 {
        let (end, extra) = match self.end {
            End::Ran => (0, 0),
            End::Fault => (1, 0),
            End::Undefined => (2, 0),
            End::Other(n) => (3, n),
            End::Foreign => (4, 0),
        };
        let mut words = vec![end, extra, self.pc, self.nzcv, self.sp];
        words.extend(self.x);
        if self.end != End::Fault {
            words.extend([self.fpsr, self.memory]);
            words.extend(self.v.iter().flat_map(|v| [*v as u64, (*v >> 64) as u64]));
        }
        let h = words.iter().fold(0x1234_5678_9abc_def1_u64, |h, w| {
            let h = (h ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            h ^ h >> 31
        });
        (h ^ h >> 32) as u32
    }
}
