//! The online intermediate representation: what one translated block does, as a flat list of operations.
//!
//! An operation's index is the value it defines. Values are of three kinds: integers of at most 64 bits in a container
//! of 32 or 64 bits that is always zero-extended, 128-bit vectors, and condition flags in their storage format. `w` is
//! the container's width (0 for flags). 32-bit operations look at the low 32 bits of their operands only, so the
//! builder drops truncations in front of them.
//!
//! Control flow is structured: `If .. Else .. EndIf` followed by `Phi`s, with links between the three markers. An arm
//! that leaves the block ends in `Goto`, `GotoInd`, `Leave` or a call that never returns, and does not join.

use crate::emit::{Cond, FpFmt, FpUnOp};
use crate::eval::entry::EvalOp;
use alloc::vec::Vec;
use core::fmt;

/// A value: the index of the operation that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Val(pub u32);

impl Val {
    pub const NONE: Self = Self(u32::MAX);
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    // Nothing is emitted for the first, up to `Const128`.
    Nop,
    /// A guest instruction begins: `imm` is its address.
    Insn,
    /// `imm`
    Const,
    /// Index `imm` into [`Ir::pool`].
    Const128,
    /// `aux` bytes of guest state at offset `imm`.
    Get,
    Put,
    Add,
    Sub,
    Mul,
    UMulHi,
    SMulHi,
    UDiv,
    SDiv,
    /// `a - a / b * b`
    URem,
    SRem,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Sar,
    Ror,
    Not,
    Neg,
    Clz,
    Ctz,
    Popcnt,
    ByteRev,
    BitRev,
    /// From `aux` bits (8, 16, 32).
    Sext,
    /// `aux`: x86 condition code of `cmp a, b`.
    Cmp,
    /// `aux`: E or NE of `a & b` against zero.
    Test,
    /// `a ? b : c`
    Select,
    /// Flags of a + b, of a - b, of a + b + c.
    AddFlags,
    SubFlags,
    AdcFlags,
    LogicFlags,
    /// Flags in storage format as an integer, and back.
    FlagsBits,
    BitsFlags,
    /// `aux`: [`Cond`]
    Cond,
    /// Lane `aux & 255` of `aux >> 8` bits.
    Lane,
    SetLane,
    Splat,
    /// 64 bits to a vector with a zero upper half.
    ZextV,
    /// Vector of low half `a` and high half `b`.
    Pair,
    /// `imm` is an [`crate::eval::entry::EvalOp`]; up to three operands.
    Eval,
    /// `imm` bytes at address `a`; `aux` is the access.
    Load,
    Store,
    /// Two accesses next to each other, the first at `a`. Loads: `b` is the [`Code::LoadHalf`] that stands for the first's
    /// value. Stores: `b`, `c` are the values.
    LoadPair,
    StorePair,
    /// What accesses around the address `a` add to theirs, or 0 (`share`).
    Reach,
    /// Defined by a later [`Code::LoadPair`].
    LoadHalf,
    /// `imm`: bytes, then the operation from bit 8.
    Atomic,
    Cas,
    Fence,
    /// Helper `aux`; `b` arguments at `a` in [`Ir::args`].
    Call,
    /// To the constant address `imm`, to `a`, and to `a` through the dispatcher. `aux` of the first two: as
    /// `Runtime::exit_arrival`.
    Goto,
    GotoInd,
    Leave,
    /// To `imm` when `a` is true (`aux` = 0) or false (`aux` = 1).
    CondExit,
    /// `b`: index of Else, `c`: of EndIf; `aux`: bit 0 the first arm stops, bit 1 the second.
    If,
    /// `imm`: index of If.
    Else,
    /// `imm`: index of If; `b`: number of phis that follow.
    EndIf,
    /// `a` from the first arm, `b` from the second.
    Phi,
    /// What changes around a loop: `a` before it, then what the turn before left. `aux` = 1: in some turns of fewer bits.
    LoopPhi,
    /// The loop begins, right behind its phis; [`Ir::carried`] lists the state that is not in memory here.
    LoopHead,
    /// Back to the loop's head, at index `c`, unless events are pending; to its phis, the `b` values at `a` in [`Ir::args`].
    LoopBack,
    /// The guest instructions of the block that begins, for counting: the low half of `imm`; and its accesses to memory.
    Count,
}

impl Code {
    /// How many of `a`, `b`, `c` are values, but for [`Code::Eval`].
    #[inline(always)]
    const fn operands(self) -> usize {
        const TABLE: [u8; 256] = {
            let mut table = [0; 256];
            let mut i = 0;
            while i < OPERANDS.len() {
                let (codes, n) = OPERANDS[i];
                let mut k = 0;
                while k < codes.len() {
                    table[codes[k] as usize] = n;
                    k += 1;
                }
                i += 1;
            }
            table
        };
        TABLE[self as usize] as usize
    }
    /// What the backward pass has to know of an operation, in one byte: a table, since a jump by the operation could not be guessed.
    #[inline(always)]
    pub const fn class(self) -> u8 {
        const TABLE: [u8; 256] = {
            let mut table = [0; 256];
            let mut i = 0;
            while i < CLASSES.len() {
                table[CLASSES[i].0 as usize] = CLASSES[i].1;
                i += 1;
            }
            table
        };
        TABLE[self as usize]
    }
}

/// What [`Code::operands`] gives, where it is not 0.
const OPERANDS: [(&[Code], u8); 3] = [
    (
        &[
            Code::Put,
            Code::Not,
            Code::Neg,
            Code::Clz,
            Code::Ctz,
            Code::Popcnt,
            Code::ByteRev,
            Code::BitRev,
            Code::Sext,
            Code::LogicFlags,
            Code::FlagsBits,
            Code::BitsFlags,
            Code::Cond,
            Code::Lane,
            Code::Splat,
            Code::ZextV,
            Code::Load,
            Code::LoadPair,
            Code::GotoInd,
            Code::Leave,
            Code::CondExit,
            Code::LoopPhi,
            Code::Reach,
            Code::If,
        ],
        1,
    ),
    (
        &[
            Code::Add,
            Code::Sub,
            Code::Mul,
            Code::UMulHi,
            Code::SMulHi,
            Code::UDiv,
            Code::SDiv,
            Code::URem,
            Code::SRem,
            Code::And,
            Code::Or,
            Code::Xor,
            Code::Shl,
            Code::Shr,
            Code::Sar,
            Code::Ror,
            Code::Cmp,
            Code::Test,
            Code::AddFlags,
            Code::SubFlags,
            Code::SetLane,
            Code::Pair,
            Code::Store,
            Code::Atomic,
        ],
        2,
    ),
    (&[Code::Select, Code::AdcFlags, Code::Cas, Code::StorePair], 3),
];

/// A class's number of operands.
pub const CLASS_OPERANDS: u8 = 3;
/// The operation makes a value from its operands and does nothing else: it is dropped when unused, and no reason for an operand to be in a
/// vector register.
pub const CLASS_VALUE: u8 = 4;
/// That its result is wanted in a vector register makes no difference, either.
pub const CLASS_PLAIN: u8 = 8;
/// Guest state may be looked at there, so that stores before it count.
pub const CLASS_LOOKS: u8 = 16;

/// What [`Code::class`] gives, where it is not 0.
const CLASSES: [(Code, u8); 51] = [
    (Code::Insn, CLASS_PLAIN),
    (Code::Const, CLASS_VALUE | CLASS_PLAIN),
    (Code::Const128, CLASS_VALUE | CLASS_PLAIN),
    (Code::Not, CLASS_VALUE | 1),
    (Code::Neg, CLASS_VALUE | 1),
    (Code::Clz, CLASS_VALUE | 1),
    (Code::Ctz, CLASS_VALUE | 1),
    (Code::Popcnt, CLASS_VALUE | 1),
    (Code::ByteRev, CLASS_VALUE | 1),
    (Code::BitRev, CLASS_VALUE | 1),
    (Code::Sext, CLASS_VALUE | 1),
    (Code::LogicFlags, CLASS_VALUE | 1),
    (Code::FlagsBits, CLASS_VALUE | 1),
    (Code::BitsFlags, CLASS_VALUE | 1),
    (Code::Cond, CLASS_VALUE | 1),
    (Code::Add, CLASS_VALUE | 2),
    (Code::Sub, CLASS_VALUE | 2),
    (Code::Mul, CLASS_VALUE | 2),
    (Code::UMulHi, CLASS_VALUE | 2),
    (Code::SMulHi, CLASS_VALUE | 2),
    (Code::UDiv, CLASS_VALUE | 2),
    (Code::SDiv, CLASS_VALUE | 2),
    (Code::URem, CLASS_VALUE | 2),
    (Code::SRem, CLASS_VALUE | 2),
    (Code::And, CLASS_VALUE | 2),
    (Code::Or, CLASS_VALUE | 2),
    (Code::Xor, CLASS_VALUE | 2),
    (Code::Shl, CLASS_VALUE | 2),
    (Code::Shr, CLASS_VALUE | 2),
    (Code::Sar, CLASS_VALUE | 2),
    (Code::Ror, CLASS_VALUE | 2),
    (Code::Cmp, CLASS_VALUE | 2),
    (Code::Test, CLASS_VALUE | 2),
    (Code::AddFlags, CLASS_VALUE | 2),
    (Code::SubFlags, CLASS_VALUE | 2),
    (Code::Select, CLASS_VALUE | 3),
    (Code::AdcFlags, CLASS_VALUE | 3),
    (Code::Load, CLASS_LOOKS),
    (Code::Store, CLASS_LOOKS),
    (Code::LoadPair, CLASS_LOOKS),
    (Code::StorePair, CLASS_LOOKS),
    (Code::Atomic, CLASS_LOOKS),
    (Code::Cas, CLASS_LOOKS),
    (Code::Goto, CLASS_LOOKS),
    (Code::GotoInd, CLASS_LOOKS),
    (Code::Leave, CLASS_LOOKS),
    (Code::CondExit, CLASS_LOOKS),
    (Code::LoopBack, CLASS_LOOKS),
    (Code::If, CLASS_LOOKS),
    (Code::Else, CLASS_LOOKS),
    (Code::EndIf, CLASS_LOOKS),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub code: Code,
    pub w: u8,
    pub aux: u16,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub imm: u64,
}

const NO: u32 = u32::MAX;

impl Op {
    #[must_use]
    pub const fn new(code: Code, w: u32) -> Self {
        Self { code, w: w as u8, aux: 0, a: NO, b: NO, c: NO, imm: 0 }
    }
    #[must_use]
    pub const fn aux(mut self, aux: u16) -> Self {
        self.aux = aux;
        self
    }
    #[must_use]
    pub const fn a(mut self, v: Val) -> Self {
        self.a = v.0;
        self
    }
    #[must_use]
    pub const fn ab(mut self, a: Val, b: Val) -> Self {
        self.a = a.0;
        self.b = b.0;
        self
    }
    #[must_use]
    pub const fn abc(mut self, a: Val, b: Val, c: Val) -> Self {
        self.a = a.0;
        self.b = b.0;
        self.c = c.0;
        self
    }
    #[must_use]
    pub const fn imm(mut self, imm: u64) -> Self {
        self.imm = imm;
        self
    }
    #[must_use]
    pub const fn va(&self) -> Val {
        Val(self.a)
    }
    #[must_use]
    pub const fn vb(&self) -> Val {
        Val(self.b)
    }
    #[must_use]
    pub const fn vc(&self) -> Val {
        Val(self.c)
    }
    /// Condition of a [`Code::Cond`].
    #[must_use]
    pub const fn cond(&self) -> Cond {
        Cond::from_bits(self.aux as u32)
    }
    /// How many of `a`, `b`, `c` are values (calls keep theirs elsewhere, phis are used by their arms).
    #[must_use]
    pub const fn operands(&self) -> usize {
        if let Code::Eval = self.code { self.aux as usize } else { self.code.operands() }
    }
    /// May be dropped when nothing uses its value (pure calls are the caller's matter).
    #[must_use]
    pub const fn removable(&self) -> bool {
        if let Code::Eval = self.code {
            // Floating point leaves its cumulative flags behind.
            return (self.imm & 255) < FIRST_FP;
        }
        !matches!(
            self.code,
            Code::Insn
                | Code::Put
                | Code::Load
                | Code::Store
                | Code::LoadPair
                | Code::StorePair
                | Code::Atomic
                | Code::Cas
                | Code::Fence
                | Code::Call
                | Code::Goto
                | Code::GotoInd
                | Code::Leave
                | Code::CondExit
                | Code::If
                | Code::Else
                | Code::EndIf
                | Code::LoopHead
                | Code::LoopBack
                | Code::Count
        )
    }
    /// The value is condition flags (the width of the flag-setting operations is that of their operands).
    #[must_use]
    pub const fn is_flags(&self) -> bool {
        self.w == 0 || matches!(self.code, Code::AddFlags | Code::SubFlags | Code::AdcFlags | Code::LogicFlags)
    }
    /// The value is a 128-bit vector.
    #[must_use]
    pub const fn is_vector(&self) -> bool {
        self.w == 128
    }
    /// Control never continues after it.
    #[must_use]
    pub const fn leaves(&self) -> bool {
        matches!(self.code, Code::Goto | Code::GotoInd | Code::Leave | Code::LoopBack)
    }
}

/// One block.
#[derive(Default)]
pub struct Ir {
    pub ops: Vec<Op>,
    /// Upper bound on the number of significant bits of each value (255: a vector).
    pub sig: Vec<u8>,
    /// Indices of loads and stores, in order; some may be of operations that are gone.
    pub accesses: Vec<u32>,
    /// Constants of 128 bits.
    pub pool: Vec<u128>,
    /// Arguments of calls, and of ways back to a loop's head.
    pub args: Vec<u32>,
    /// State by (offset, size) that a loop changes, and whether it is in phis at the loop's head instead of in memory.
    pub carried: Vec<(u32, u32, bool)>,
}

impl Ir {
    pub fn clear(&mut self) {
        self.ops.clear();
        self.sig.clear();
        self.accesses.clear();
        self.pool.clear();
        self.args.clear();
        self.carried.clear();
    }
    /// Appends an operation when there may be no room for it.
    #[cold]
    #[inline(never)]
    pub fn append_growing(&mut self, op: Op, sig: u8) -> Val {
        let v = Val(self.ops.len() as u32);
        self.ops.push(op);
        self.sig.push(sig);
        v
    }
    #[must_use]
    pub fn op(&self, v: Val) -> Op {
        self.ops[v.index()]
    }
    #[must_use]
    pub fn konst(&self, v: Val) -> Option<u64> {
        match self.ops.get(v.index()) {
            Some(op) if op.code == Code::Const => Some(op.imm),
            _ => None,
        }
    }
    /// Whether a division at `quotient` may give its remainder as well, for an operation at index `at`: few and simple ones are between.
    pub fn division_reaches(&self, quotient: Val, at: usize) -> bool {
        let simple = |op: &Op| {
            op.code as u8 <= Code::Const128 as u8
                || matches!(op.code, Code::Get | Code::Put)
                || op.code.class() & (CLASS_VALUE | CLASS_PLAIN) != 0
        };
        let between = &self.ops[quotient.index() + 1..at];
        between.len() <= NEAR && between.iter().all(simple)
    }

    /// The remainder of the division at `quotient` that is to be made with it.
    #[must_use]
    pub fn remainder_of(&self, quotient: Val) -> Option<Val> {
        let division = self.op(quotient);
        let code = if division.code == Code::UDiv { Code::URem } else { Code::SRem };
        let wanted = Op { code, ..division };
        let at = self.ops.iter().skip(quotient.index()).take(NEAR + 2).position(|op| *op == wanted)? + quotient.index();
        self.division_reaches(quotient, at).then_some(Val(at as u32))
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Checks the structure: operands are defined before their use, markers are linked and nested, nothing follows
    /// an operation that leaves. For debug builds and tests.
    ///
    /// # Errors
    /// The first offending operation and what is wrong with it.
    pub fn verify(&self) -> Result<(), (usize, &'static str)> {
        let mut open: Vec<(usize, bool)> = Vec::new();
        for (i, op) in self.ops.iter().enumerate() {
            let defined = |v: u32| (v as usize) < i && self.ops[v as usize].w != NO_RESULT;
            for v in [op.a, op.b, op.c].iter().take(op.operands()) {
                if !defined(*v) {
                    return Err((i, "operand is not a value defined before"));
                }
            }
            match op.code {
                Code::Call | Code::LoopBack => {
                    let args = self.args.get(op.a as usize..op.a as usize + op.b as usize);
                    if !args.is_some_and(|args| args.iter().all(|v| defined(*v))) {
                        return Err((i, "argument is not a value defined before"));
                    }
                }
                Code::If => open.push((i, false)),
                Code::Else => match open.last_mut() {
                    Some((start, seen @ false)) if self.ops[*start].b as usize == i => *seen = true,
                    _ => return Err((i, "else without its if")),
                },
                Code::EndIf => match open.pop() {
                    Some((start, true)) if self.ops[start].c as usize == i => {}
                    _ => return Err((i, "end without its if")),
                },
                Code::Phi if op.a as usize >= i || op.b as usize >= i => return Err((i, "phi of a later value")),
                _ => {}
            }
            let next = self.ops[i + 1..].iter().find(|op| op.code != Code::Nop).map(|op| op.code);
            if op.leaves() && !matches!(next, None | Some(Code::Else | Code::EndIf)) {
                return Err((i, "unreachable operation follows"));
            }
        }
        if open.is_empty() { Ok(()) } else { Err((self.ops.len(), "if without end")) }
    }
}

/// How many operations may be between a division's quotient and its remainder.
const NEAR: usize = 16;

/// Kinds of packed operations from this one on use the floating-point environment.
pub const FIRST_FP: u64 = EvalOp::FpUn { op: FpUnOp::Sqrt, fmt: FpFmt::F64, lanes: 1 }.pack() & 255;

/// `w` of operations that define nothing.
pub const NO_RESULT: u8 = 1;

/// [`Op::aux`] of a [`Code::Goto`] that looks its target up, wherever it is.
pub const ANEW: u16 = u16::MAX;

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut depth = 1;
        for (i, op) in self.ops.iter().enumerate() {
            match op.code {
                Code::Nop => continue,
                Code::Insn => {
                    writeln!(f, "insn {:#x}", op.imm)?;
                    continue;
                }
                Code::Else | Code::EndIf => depth -= 1,
                _ => {}
            }
            write!(f, "{:width$}", "", width = depth * 2)?;
            if op.w != NO_RESULT {
                write!(f, "v{i} = ")?;
            }
            write!(f, "{:?}", op.code)?;
            match op.w {
                0 => write!(f, ".flags")?,
                NO_RESULT => {}
                w => write!(f, ".{w}")?,
            }
            for v in [op.a, op.b, op.c].iter().take(if op.code == Code::Phi { 2 } else { op.operands() }) {
                match self.konst(Val(*v)) {
                    Some(k) => write!(f, " {k:#x}")?,
                    None => write!(f, " v{v}")?,
                }
            }
            match op.code {
                Code::Const | Code::Goto | Code::CondExit | Code::Eval => write!(f, " {:#x}", op.imm)?,
                Code::Const128 => write!(f, " {:#x}", self.pool[op.imm as usize])?,
                Code::Get | Code::Put => write!(f, " [{:#x};{}]", op.imm, op.aux)?,
                Code::Load | Code::Store | Code::Atomic | Code::Cas => {
                    write!(f, " size {} acc {}", op.imm & 255, op.aux)?
                }
                Code::Call => {
                    write!(f, " #{}", op.aux)?;
                    for v in &self.args[op.a as usize..(op.a + op.b) as usize] {
                        write!(f, " v{v}")?;
                    }
                }
                Code::Cond => write!(f, " {:?}", op.cond())?,
                Code::Cmp | Code::Test => write!(f, " cc{}", op.aux)?,
                Code::Lane | Code::SetLane | Code::Splat => write!(f, " e{} i{}", op.aux >> 8, op.aux & 255)?,
                Code::Sext => write!(f, " from {}", op.aux)?,
                _ => {}
            }
            writeln!(f)?;
            if matches!(op.code, Code::If | Code::Else) {
                depth += 1;
            }
        }
        Ok(())
    }
}
