//! The interface between generated instruction semantics and whatever consumes them.
//!
//! `spec-compiler` turns every instruction of an architecture description into one Rust function, generic over
//! [`Emit`]. Everything that depends on decode fields only (widths, register numbers, immediates) has already been
//! computed by plain Rust when it reaches this trait; what is left is the *dynamic* part of the semantics:
//!
//! - the translator's IR builder records each operation ([`Emit::V`] is an IR value),
//! - the interpreter performs it at once ([`Emit::V`] is the value itself).
//!
//! All operations are bit-precise: `n` is the width of the operands in bits (1..=64, or 128), results are computed
//! modulo 2^n, and a value's container is always zero-extended. A truth value is a value of width 1.
//!
//! Control flow is structured. A path that leaves the instruction (a taken branch, an exception) returns
//! `Err(Stop)`; generated code passes it on with `?`, so nothing after it on that path is executed or emitted.

use bitflags::bitflags;

/// Width of a value in bits: 1..=64, or 128.
pub type Width = u32;

/// This path of the instruction is over: control went elsewhere (branch, exception, end of block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Where a piece of guest state lives: a byte offset into the guest's `repr(C)` state structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Byte offset from the start of the state structure.
    pub offset: u32,
    /// Width of the value in bits. Storage is the next of 1, 2, 4, 8, 16 bytes; excess bits are kept zero.
    pub width: Width,
    /// The slot holds condition flags (see [`flags`]) in their 16-bit storage format; `width` is [`FLAGS`].
    pub is_flags: bool,
}

/// The pseudo-width under which condition-flag values travel (in [`Emit::select`], block results, slots).
pub const FLAGS: Width = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum UnOp {
    Not,
    Neg,
    /// Leading zeros; `n` for zero.
    Clz,
    /// Trailing zeros; `n` for zero.
    Ctz,
    /// Number of set bits.
    Popcnt,
    /// Reverses the order of the bits.
    BitRev,
    /// Reverses the order of the bytes (`n` a multiple of 8).
    ByteRev,
}

/// Integer operations; all are total. `And`, `Or`, `Xor` (and `UnOp::Not`) also take `n` = 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    /// High `n` bits of the unsigned 2n-bit product (`n` 32 or 64).
    UMulHi,
    /// High `n` bits of the signed 2n-bit product (`n` 32 or 64).
    SMulHi,
    /// Unsigned quotient; 0 when the divisor is 0.
    UDiv,
    /// Signed quotient rounded to zero; 0 when the divisor is 0; MIN / -1 = MIN.
    SDiv,
    And,
    Or,
    Xor,
    /// Shifts and rotate: the amount has the same width and is taken modulo `n` (`n` a power of two).
    Shl,
    Shr,
    Sar,
    Ror,
}

/// Comparisons; the result has width 1. `Eq` and `Ne` also take `n` = 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CmpOp {
    Eq,
    Ne,
    Ult,
    Ule,
    Slt,
    Sle,
}

/// Condition on a flags value, in the order of the usual 4-bit encoding. Carry is the "no borrow" kind: after a
/// subtraction expressed as `a + !b + 1`, C is set when a >= b unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cond {
    Eq,
    Ne,
    Cs,
    Cc,
    Mi,
    Pl,
    Vs,
    Vc,
    Hi,
    Ls,
    Ge,
    Lt,
    Gt,
    Le,
    Al,
    Nv,
}

impl Cond {
    /// The condition with that 4-bit encoding (only the low 4 bits count).
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        const ALL: [Cond; 16] = [
            Cond::Eq,
            Cond::Ne,
            Cond::Cs,
            Cond::Cc,
            Cond::Mi,
            Cond::Pl,
            Cond::Vs,
            Cond::Vc,
            Cond::Hi,
            Cond::Ls,
            Cond::Ge,
            Cond::Lt,
            Cond::Gt,
            Cond::Le,
            Cond::Al,
            Cond::Nv,
        ];
        ALL[(bits & 15) as usize]
    }
}

/// Condition flags in guest state are stored the way x86 delivers them (`lahf; seto al` into AX), so that saving
/// and restoring them costs two instructions: bit 15 N (SF), bit 14 Z (ZF), bit 8 C (CF), bit 0 V (OF).
pub mod flags {
    /// Storage format to the four bits N:Z:C:V.
    #[must_use]
    pub const fn to_nzcv(stored: u16) -> u8 {
        ((stored >> 12) as u8 & 0b1100) | ((stored >> 7) as u8 & 0b10) | (stored as u8 & 1)
    }
    /// The four bits N:Z:C:V to storage format.
    #[must_use]
    pub const fn from_nzcv(nzcv: u8) -> u16 {
        let n = nzcv as u16;
        ((n & 0b1100) << 12) | ((n & 0b10) << 7) | (n & 1)
    }
}

/// Lane-wise operations on 128-bit vectors with lanes of `e` bits, one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VUnOp {
    Neg,
    /// Absolute value, MIN stays MIN.
    Abs,
    /// Set bits per lane (`e` = 8).
    Popcnt,
    Clz,
    /// Zero-extends the low half's lanes of `e` bits to 2e bits.
    ZextLow,
    /// Sign-extends the low half's lanes of `e` bits to 2e bits.
    SextLow,
    /// Truncates each lane of `e` bits to e/2 bits into the low half; the upper half is zero.
    Narrow,
    /// Narrows with saturation: signed to signed, unsigned to unsigned, signed to unsigned.
    NarrowSatSS,
    NarrowSatUU,
    NarrowSatSU,
    /// AES round pieces on the 128-bit state (`e` = 8): inverse / forward ShiftRows+SubBytes, (Inv)MixColumns.
    AesSubShift,
    AesInvSubShift,
    AesMixColumns,
    AesInvMixColumns,
}

/// Lane-wise operations on 128-bit vectors with lanes of `e` bits, two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VBinOp {
    Add,
    Sub,
    /// Low e bits of the product.
    Mul,
    /// Lane masks: all ones when true.
    CmpEq,
    CmpSgt,
    CmpSge,
    CmpUgt,
    CmpUge,
    SMin,
    SMax,
    UMin,
    UMax,
    /// Saturating arithmetic. Whether any lane saturated is asked separately ([`VBinOp::SatDiff`]).
    SAddSat,
    UAddSat,
    SSubSat,
    USubSat,
    /// (a + b + 1) >> 1 without overflow.
    UAvgRound,
    /// |a - b| as unsigned / as signed operands.
    UAbd,
    SAbd,
    /// Widening product of the low halves' lanes: `e`-bit lanes to 2e-bit lanes.
    UMulLow,
    SMulLow,
    /// Carry-less widening product of the low half's lanes (`e` = 8 to 16-bit lanes, `e` = 64 to one 128-bit value).
    PMulLow,
    /// Sum of adjacent lanes: low half from `a`, high half from `b`.
    AddPairs,
    /// Per-lane shifts by the signed low byte of b's lane (left when positive), logical / arithmetic; amounts of
    /// magnitude >= e shift everything out.
    UShlVar,
    SShlVar,
    /// Interleaves the low / high halves' lanes: a0 b0 a1 b1 ...
    ZipLow,
    ZipHigh,
    /// Even / odd lanes of a then of b.
    UnzipEven,
    UnzipOdd,
    /// a0 b0 a2 b2 ... / a1 b1 a3 b3 ...
    TransEven,
    TransOdd,
    /// Byte table lookup: byte i of the result is a[b[i]] when b[i] < 16, else 0 (`e` = 8).
    Table,
    /// Nonzero (width 128) when the two vectors differ: for cumulative saturation; result lanes = a ^ b.
    SatDiff,
    /// Four rounds of SHA-1 (`e` = 32) with `Ch`, `Parity` or `Maj` (FIPS 180-4, 4.1.1). Lanes 3 to 0 of `a` and of the result are
    /// the standard's a, b, c, d. Lanes 3 to 0 of `b` are what the rounds add besides: the schedule's words with their
    /// constants, and in the first e.
    Sha1Choose,
    Sha1Parity,
    Sha1Majority,
    /// Four words of the SHA-1 schedule (`e` = 32), the first in lane 3. Lanes 3 to 0 of `a` are the XOR of the words 8, 14 and 16
    /// places before each, those of `b` the words 4 to 1 places before the first.
    Sha1Schedule,
    /// Half of four words of the SHA-256 schedule (`e` = 32), the first in lane 0: the words 16 places before, which are `a`, plus
    /// sigma0 of the words 15 places before, of which the last is lane 0 of `b`.
    Sha256Schedule0,
    /// The other half: `a` plus sigma1 of the words 2 places before, which are lanes 2 and 3 of `b` and lanes 0 and 1 of the result.
    Sha256Schedule1,
}

/// Lane-wise operations on 128-bit vectors with lanes of `e` bits, three operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VTernOp {
    /// Two rounds of SHA-256 (FIPS 180-4, 6.2.2; `e` = 32). Lanes 3 to 0 of `a` are the standard's a, b, e, f, those of `b` c, d, g, h.
    /// Lanes 0 and 1 of `c` are the schedule's words plus their constants. The result is a, b, e, f after the rounds; c, d, g, h are
    /// then what `a` was.
    Sha256Rounds,
}

/// Lane-wise shifts by a constant amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VShiftOp {
    /// Amount 0..e.
    Shl,
    /// Amount 1..=e; e gives 0 (or the sign for `Sar`).
    Shr,
    Sar,
}

/// IEEE 754 format of a floating-point value or lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FpFmt {
    F16,
    F32,
    F64,
}

impl FpFmt {
    #[must_use]
    pub const fn width(self) -> Width {
        match self {
            FpFmt::F16 => 16,
            FpFmt::F32 => 32,
            FpFmt::F64 => 64,
        }
    }
    /// The format with that many bits.
    ///
    /// # Panics
    /// When there is none: a mistake in the description, found by its tests.
    #[must_use]
    pub const fn of_width(n: Width) -> Self {
        match n {
            16 => FpFmt::F16,
            32 => FpFmt::F32,
            64 => FpFmt::F64,
            _ => panic!("no IEEE format of this width"),
        }
    }
}

/// Rounding of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards plus infinity.
    Up,
    /// Towards minus infinity.
    Down,
    Zero,
    /// To nearest, ties away from zero.
    NearestAway,
    /// To odd (inexact results get an odd last bit).
    Odd,
    /// As the guest's floating-point control says.
    Dynamic,
}

/// Floating-point operations, one operand. NaN handling, flushing and flags follow the guest's floating-point
/// environment (`Runtime::fp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FpUnOp {
    Sqrt,
    /// Round to an integral value in the same format; `exact` raises Inexact when the value changed.
    RoundInt {
        rounding: Rounding,
        exact: bool,
    },
    /// Reciprocal and reciprocal square root estimates as the Arm pseudocode defines them, and FRECPX.
    RecipEstimate,
    RsqrtEstimate,
    RecipExponent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FpBinOp {
    Add,
    Sub,
    Mul,
    Div,
    /// IEEE 754-2008 minimum/maximum with NaN propagation; -0 < +0.
    Min,
    Max,
    /// minNum/maxNum: a quiet NaN loses against a number.
    MinNum,
    MaxNum,
    /// a * b, but 0 * inf = 2 with the product's sign.
    MulX,
    /// 2 - a*b, and (3 - a*b) / 2, fused.
    RecipStep,
    RsqrtStep,
    /// |a - b|
    Abd,
    /// Sum and product as the bfloat16 dot products take them, whatever the environment says: rounded to odd (to infinity on
    /// overflow), denormals flushed, NaNs the default one, no cumulative flags.
    AddOdd,
    MulOdd,
}

/// Comparisons that give lane masks (scalars: all ones or zero). `Eq` is quiet, the others signal on any NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FpCmpOp {
    Eq,
    Ge,
    Gt,
}

bitflags! {
    /// What kind of memory access an operation makes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Access: u16 {
        /// Ordering: acquire (after a load), release (before a store).
        const ACQUIRE = 1;
        const RELEASE = 2;
        /// Checked with the rights of the unprivileged level.
        const UNPRIV = 4;
        /// An address that is not a multiple of the size is an alignment fault whatever the configuration says.
        const ALIGNED = 8;
        /// Part of an exclusive (load-linked / store-conditional) pair.
        const EXCLUSIVE = 16;
        /// A read-modify-write: both permissions are needed. The engine sets it.
        const ATOMIC = 32;
        /// The stack pointer is the base register (syndrome and alignment-check purposes).
        const STACK = 64;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AtomicOp {
    Swap,
    Add,
    /// old & !operand
    Clear,
    Xor,
    Or,
    SMax,
    SMin,
    UMax,
    UMin,
}

/// What a branch is. The target of one of the last three may ask how it was reached: [`crate::guest::Guest::arrive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BranchKind {
    Jump,
    Call,
    Return,
    IndirectJump,
    IndirectCall,
    /// An indirect jump in the way that veneers and procedure linkage tables make it.
    Trampoline,
    /// To the next instruction, as if control came anew: what changed meanwhile is not run as it was.
    Resume,
}

impl BranchKind {
    /// The kinds whose target may ask.
    pub const ARRIVALS: [Self; 3] = [Self::IndirectJump, Self::IndirectCall, Self::Trampoline];

    /// Index into [`Self::ARRIVALS`].
    #[must_use]
    pub const fn arrival(self) -> Option<usize> {
        match self {
            Self::Jump | Self::Call | Self::Return | Self::Resume => None,
            Self::IndirectJump => Some(0),
            Self::IndirectCall => Some(1),
            Self::Trampoline => Some(2),
        }
    }
}

/// A function in Rust that the description declares `extern fn`. Indexes the guest's helper table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HelperId(pub u16);

/// How a helper is called. Arguments of at most 64 bits travel in registers after the vCPU pointer; argument `i` of
/// 128 bits travels in `Runtime::scratch[i]`; a 128-bit result in `Runtime::scratch[0]`.
#[derive(Clone, Copy, Debug)]
pub struct HelperDecl {
    pub name: &'static str,
    pub params: &'static [Width],
    /// Width of the result, or `None`.
    pub result: Option<Width>,
    /// Touches nothing but its arguments: may be moved, merged, dropped; sees no guest state.
    pub pure_: bool,
    /// May raise a guest exception: the state must be precise before the call.
    pub raises: bool,
    /// Never returns to the instruction (it raises, or leaves the block); implies `raises`.
    pub never: bool,
    /// `extern "sysv64" fn(*mut Vcpu<State>, u64...) -> HelperRet`
    pub entry: *const (),
}

// SAFETY: `entry` is the address of a function, valid in every thread.
unsafe impl Sync for HelperDecl {}

/// What a helper returns, in RAX:RDX. A nonzero `status` means that the guest state already describes where to
/// continue (an exception was taken, the block must be left); `value` is then meaningless.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HelperRet {
    pub value: u64,
    pub status: u64,
}

/// The consumer of one instruction's dynamic semantics. See the module's description.
pub trait Emit {
    /// A dynamic value.
    type V: Copy;

    /// A constant of width `n` (or [`FLAGS`], then `v` is N:Z:C:V).
    fn konst(&mut self, n: Width, v: u128) -> Self::V;
    fn get(&mut self, slot: Slot) -> Self::V;
    fn put(&mut self, slot: Slot, v: Self::V);

    fn un(&mut self, op: UnOp, n: Width, a: Self::V) -> Self::V;
    fn bin(&mut self, op: BinOp, n: Width, a: Self::V, b: Self::V) -> Self::V;
    fn cmp(&mut self, op: CmpOp, n: Width, a: Self::V, b: Self::V) -> Self::V;
    /// `from` <= `to`.
    fn zext(&mut self, from: Width, to: Width, a: Self::V) -> Self::V;
    fn sext(&mut self, from: Width, to: Width, a: Self::V) -> Self::V;
    /// Bits `lo..lo+len` of a value of width `n`; `extract(n, a, 0, len)` is truncation.
    fn extract(&mut self, n: Width, a: Self::V, lo: u32, len: Width) -> Self::V;
    /// `hi:lo`; the total is at most 64, or 128.
    fn concat(&mut self, hi_n: Width, hi: Self::V, lo_n: Width, lo: Self::V) -> Self::V;
    /// `c ? a : b`, both of width `n` (or [`FLAGS`]).
    fn select(&mut self, n: Width, c: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// N, Z, C, V of `a + b + carry_in` at width `n` (32 or 64; 8 and 16 allowed); `carry_in` has width 1.
    fn add_flags(&mut self, n: Width, a: Self::V, b: Self::V, carry_in: Self::V) -> Self::V;
    /// N and Z of `a`; C and V are 0.
    fn logic_flags(&mut self, n: Width, a: Self::V) -> Self::V;
    /// From a 4-bit value N:Z:C:V, and back.
    fn pack_flags(&mut self, nzcv: Self::V) -> Self::V;
    fn unpack_flags(&mut self, f: Self::V) -> Self::V;
    fn cond(&mut self, f: Self::V, cond: Cond) -> Self::V;

    /// Lane `i` (of `e` bits) of a 128-bit value, and replacing it.
    fn lane(&mut self, e: Width, a: Self::V, i: u32) -> Self::V;
    fn set_lane(&mut self, e: Width, a: Self::V, i: u32, v: Self::V) -> Self::V;
    /// Every lane of `e` bits set to `v`.
    fn splat(&mut self, e: Width, v: Self::V) -> Self::V;
    fn vun(&mut self, op: VUnOp, e: Width, a: Self::V) -> Self::V;
    fn vbin(&mut self, op: VBinOp, e: Width, a: Self::V, b: Self::V) -> Self::V;
    fn vtern(&mut self, op: VTernOp, e: Width, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn vshift(&mut self, op: VShiftOp, e: Width, a: Self::V, amount: u32) -> Self::V;
    /// Byte `i` of the result is byte `idx[i]` of `b:a` (0..16 from `a`, 16..32 from `b`), or zero for >= 32.
    fn shuffle(&mut self, a: Self::V, b: Self::V, idx: [u8; 16]) -> Self::V;

    /// Floating point. `lanes` = 1: scalar values of the format's width. Otherwise 128-bit vectors of which the low
    /// `lanes` lanes are computed and the others are zero.
    fn fp_un(&mut self, op: FpUnOp, fmt: FpFmt, lanes: u32, a: Self::V) -> Self::V;
    fn fp_bin(&mut self, op: FpBinOp, fmt: FpFmt, lanes: u32, a: Self::V, b: Self::V) -> Self::V;
    /// `addend + x * y` with one rounding.
    fn fp_fma(&mut self, fmt: FpFmt, lanes: u32, addend: Self::V, x: Self::V, y: Self::V) -> Self::V;
    fn fp_cmp(&mut self, op: FpCmpOp, fmt: FpFmt, lanes: u32, a: Self::V, b: Self::V) -> Self::V;
    /// Scalar comparison to flags (less: N; equal: Z C; greater: C; unordered: C V). `signaling`: any NaN is invalid.
    fn fp_cmp_flags(&mut self, fmt: FpFmt, signaling: bool, a: Self::V, b: Self::V) -> Self::V;
    fn fp_convert(&mut self, from: FpFmt, to: FpFmt, rounding: Rounding, a: Self::V) -> Self::V;
    /// To an integer of `n` bits holding value * 2^`fbits`, saturating; NaN gives 0.
    #[allow(clippy::too_many_arguments)]
    fn fp_to_int(&mut self, fmt: FpFmt, n: Width, signed: bool, fbits: u32, rounding: Rounding, a: Self::V) -> Self::V;
    /// From an integer of `n` bits, divided by 2^`fbits`, rounded as the environment says.
    fn int_to_fp(&mut self, n: Width, signed: bool, fbits: u32, fmt: FpFmt, a: Self::V) -> Self::V;

    /// Loads `n` bits (8..128) from guest virtual address `addr`.
    fn load(&mut self, n: Width, addr: Self::V, acc: Access) -> Result<Self::V, Stop>;
    fn store(&mut self, n: Width, addr: Self::V, v: Self::V, acc: Access) -> Result<(), Stop>;
    /// Atomic read-modify-write; gives the old value.
    fn atomic(&mut self, op: AtomicOp, n: Width, addr: Self::V, v: Self::V, acc: Access) -> Result<Self::V, Stop>;
    /// Atomic compare and swap (`n` 8..128); gives the old value.
    fn cas(&mut self, n: Width, addr: Self::V, expected: Self::V, new: Self::V, acc: Access) -> Result<Self::V, Stop>;
    /// Full memory barrier for the host.
    fn fence(&mut self);

    fn call(&mut self, helper: HelperId, args: &[Self::V]) -> Result<Option<Self::V>, Stop>;

    /// Leaves the instruction for `target` (a 64-bit guest virtual address); always `Err(Stop)`.
    fn branch(&mut self, target: Self::V, kind: BranchKind) -> Result<(), Stop>;
    /// The block ends after this instruction: something its translation depends on may have changed (the context
    /// word, the address map, pending events). Execution goes on at the next instruction.
    fn end_block(&mut self);

    /// `if c { then } else { otherwise }` on a dynamic condition; the results have `widths`. An arm that stops
    /// contributes no results; if both stop, so does the whole.
    fn branch_on<const N: usize>(
        &mut self,
        c: Self::V,
        widths: [Width; N],
        then: impl FnOnce(&mut Self) -> Result<[Self::V; N], Stop>,
        otherwise: impl FnOnce(&mut Self) -> Result<[Self::V; N], Stop>,
    ) -> Result<[Self::V; N], Stop>;
}
