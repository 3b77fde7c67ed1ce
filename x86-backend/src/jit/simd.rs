//! Inline lowerings of vector operations beyond the simplest: to SSE4.2 (x86-64-v2), in AVX's three-operand forms where
//! the host has them. What has no short exact sequence is left to the reference semantics.
//!
//! Sources stay intact and are distinct from the destination and from scratch registers, because all of them are pinned
//! while an operation is lowered.

use super::asm::{Opc, Rm, Xmm};
use super::features::HostFeatures;
use super::hash::Hash;
use super::ir::{Code, Op, Val};
use super::regs::Gen;
use crate::emit::{VBinOp, VShiftOp, VTernOp, VUnOp};
use crate::eval;
use crate::eval::entry::EvalOp;

/// `66 0f`, `66 0f 38` and `66 0f 3a` opcodes.
pub(super) const fn p(byte: u8) -> Opc {
    Opc::new(0x66, 1, byte)
}
pub(super) const fn p38(byte: u8) -> Opc {
    Opc::new(0x66, 2, byte)
}
pub(super) const fn p3a(byte: u8) -> Opc {
    Opc::new(0x66, 3, byte)
}

const PAND: Opc = p(0xdb);
const POR: Opc = p(0xeb);
pub(super) const PXOR: Opc = p(0xef);
const PSHUFB: Opc = p38(0x00);
const PACKUSWB: Opc = p(0x67);
const PACKUSDW: Opc = p38(0x2b);
const PUNPCKLWD: Opc = p(0x61);
const PUNPCKLQDQ: Opc = p(0x6c);
const PUNPCKHQDQ: Opc = p(0x6d);
const PSHUFD: Opc = p(0x70);
const SHUFPS: Opc = Opc::new(0, 1, 0xc6);
const PBLENDW: Opc = p3a(0x0e);
const PALIGNR: Opc = p3a(0x0f);

/// The row of a family of instructions for lanes of `e` bits.
const fn by_lane(e: u32, ops: [Option<Opc>; 4]) -> Option<Opc> {
    match e {
        8 => ops[0],
        16 => ops[1],
        32 => ops[2],
        64 => ops[3],
        _ => None,
    }
}

const fn sub(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p(0xf8)), Some(p(0xf9)), Some(p(0xfa)), Some(p(0xfb))])
}
const fn equal(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p(0x74)), Some(p(0x75)), Some(p(0x76)), Some(p38(0x29))])
}
const fn greater(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p(0x64)), Some(p(0x65)), Some(p(0x66)), Some(p38(0x37))])
}
const fn smin(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p38(0x38)), Some(p(0xea)), Some(p38(0x39)), None])
}
const fn smax(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p38(0x3c)), Some(p(0xee)), Some(p38(0x3d)), None])
}
const fn umin(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p(0xda)), Some(p38(0x3a)), Some(p38(0x3b)), None])
}
const fn umax(e: u32) -> Option<Opc> {
    by_lane(e, [Some(p(0xde)), Some(p38(0x3e)), Some(p38(0x3f)), None])
}

/// Operations that are one instruction.
const fn direct(kind: VBinOp, e: u32) -> Option<Opc> {
    match kind {
        VBinOp::Add => by_lane(e, [Some(p(0xfc)), Some(p(0xfd)), Some(p(0xfe)), Some(p(0xd4))]),
        VBinOp::Sub => sub(e),
        VBinOp::Mul => by_lane(e, [None, Some(p(0xd5)), Some(p38(0x40)), None]),
        VBinOp::CmpEq => equal(e),
        VBinOp::CmpSgt => greater(e),
        VBinOp::SMin => smin(e),
        VBinOp::SMax => smax(e),
        VBinOp::UMin => umin(e),
        VBinOp::UMax => umax(e),
        VBinOp::SAddSat => by_lane(e, [Some(p(0xec)), Some(p(0xed)), None, None]),
        VBinOp::UAddSat => by_lane(e, [Some(p(0xdc)), Some(p(0xdd)), None, None]),
        VBinOp::SSubSat => by_lane(e, [Some(p(0xe8)), Some(p(0xe9)), None, None]),
        VBinOp::USubSat => by_lane(e, [Some(p(0xd8)), Some(p(0xd9)), None, None]),
        VBinOp::UAvgRound => by_lane(e, [Some(p(0xe0)), Some(p(0xe3)), None, None]),
        VBinOp::AddPairs => by_lane(e, [None, Some(p38(0x01)), Some(p38(0x02)), None]),
        VBinOp::ZipLow => by_lane(e, [Some(p(0x60)), Some(p(0x61)), Some(p(0x62)), Some(p(0x6c))]),
        VBinOp::ZipHigh => by_lane(e, [Some(p(0x68)), Some(p(0x69)), Some(p(0x6a)), Some(p(0x6d))]),
        VBinOp::SatDiff => Some(PXOR),
        _ => None,
    }
}

/// Opcode byte of the shifts by an immediate; lanes of 8 bits are shifted as pairs.
const fn shift_row(e: u32) -> u8 {
    match e {
        32 => 0x72,
        64 => 0x73,
        _ => 0x71,
    }
}
pub(super) const SHR: u8 = 2;
const SAR: u8 = 4;
pub(super) const SHL: u8 = 6;

/// Offset of PMOVZX/PMOVSX from lanes of `e` bits to the double width.
const fn extension_row(e: u32) -> u8 {
    match e {
        8 => 0,
        16 => 3,
        _ => 5,
    }
}

impl Gen {
    /// `d = a op b`. `d` is not `b`, unless it is `a` too.
    pub(super) fn v3(&mut self, op: Opc, d: Xmm, a: Xmm, b: Xmm) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, d.0, a.0, b, None);
        } else {
            if d != a {
                self.asm.movaps(d, a);
            }
            self.asm.sse(op, d, b);
        }
    }
    pub(super) fn v3i(&mut self, op: Opc, d: Xmm, a: Xmm, b: Xmm, imm: u8) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, d.0, a.0, b, Some(imm));
        } else {
            if d != a {
                self.asm.movaps(d, a);
            }
            self.asm.sse_i(op, d, b, imm);
        }
    }
    /// `d = op s`
    pub(super) fn v2(&mut self, op: Opc, d: Xmm, s: Xmm) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, d.0, 0, s, None);
        } else {
            self.asm.sse(op, d, s);
        }
    }
    pub(super) fn v2i(&mut self, op: Opc, d: Xmm, s: Xmm, imm: u8) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, d.0, 0, s, Some(imm));
        } else {
            self.asm.sse_i(op, d, s, imm);
        }
    }
    /// An instruction of a family that the caller knows to have this lane width.
    fn v3_of(&mut self, op: Option<Opc>, d: Xmm, a: Xmm, b: Xmm) {
        match op {
            Some(op) => self.v3(op, d, a, b),
            None => self.failed = true,
        }
    }
    pub(super) fn vshift_imm(&mut self, kind: u8, e: u32, d: Xmm, s: Xmm, n: u32) {
        let op = p(shift_row(e));
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, kind, d.0, s, Some(n as u8));
        } else {
            if d != s {
                self.asm.movaps(d, s);
            }
            self.asm.ins(op, false, kind, d, u64::from(n), 1);
        }
    }
    /// `d = a op constant`
    pub(super) fn v3k(&mut self, op: Opc, d: Xmm, a: Xmm, k: u128) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(op, false, d.0, a.0, Rm::Rip, None);
        } else {
            if d != a {
                self.asm.movaps(d, a);
            }
            self.asm.sse(op, d, Rm::Rip);
        }
        let field = self.asm.last_rip();
        self.constants.push((field, k));
    }
    /// A constant in a scratch register.
    pub(super) fn vconst(&mut self, k: u128) -> Xmm {
        let t = self.scratch_xmm();
        self.load_const128(t, k);
        t
    }
    /// A constant of equal lanes in a scratch register.
    pub(super) fn vsplat(&mut self, e: u32, lane: u64) -> Xmm {
        self.vconst(eval::splat(e, u128::from(lane)))
    }
    fn zero(&mut self) -> Xmm {
        self.vconst(0)
    }
    fn invert(&mut self, d: Xmm) {
        let ones = self.vconst(u128::MAX);
        self.v3(PXOR, d, d, ones);
    }

    /// Bitwise operations of a constant on a scalar that stands in a vector register and is wanted there: signs of
    /// floating-point values. False for others.
    pub(super) fn lower_scalar_bits(&mut self, v: Val, op: Op) -> bool {
        let opc = match op.code {
            Code::And => PAND,
            Code::Or => POR,
            Code::Xor => PXOR,
            _ => return false,
        };
        let w = u32::from(op.w);
        let Some(k) = self.konst(op.vb()) else { return false };
        let loc = self.loc(op.va());
        if op.is_vector() || !self.wants_xmm[v.index()] || loc.xmm().is_none() || loc.gpr().is_some() {
            return false;
        }
        let member = self.sign_member(v, op);
        let x = self.xmm_operand(op.va(), w);
        let d = self.def_xmm(v);
        self.v3k(opc, d, x, eval::splat(w, u128::from(k)));
        if let Some((f, shape)) = member {
            self.wait_for_check(v, op, d, f, shape, false);
        }
        true
    }

    /// Lowers a vector operation; false when it has no inline form.
    pub(super) fn lower_simd(&mut self, v: Val, op: Op, what: EvalOp) -> bool {
        match what {
            EvalOp::VUn { op: kind, e } => self.lower_vun(v, op, kind, e),
            EvalOp::VBin { op: kind, e } => self.lower_vbin(v, op, kind, e),
            EvalOp::VShift { op: kind, e: e @ (8 | 16 | 32 | 64), amount } => {
                self.lower_vshift(v, op, kind, e, amount);
                true
            }
            EvalOp::Shuffle => self.lower_permutation(v, op),
            EvalOp::VTern { op: VTernOp::Sha256Rounds, .. } => self.lower_sha256_rounds(v, op),
            _ => false,
        }
    }

    fn lower_vun(&mut self, v: Val, op: Op, kind: VUnOp, e: u32) -> bool {
        let available = match kind {
            VUnOp::Neg | VUnOp::Abs => sub(e).is_some(),
            VUnOp::Popcnt => e == 8,
            VUnOp::Clz => matches!(e, 8 | 32),
            VUnOp::ZextLow | VUnOp::SextLow => matches!(e, 8 | 16 | 32),
            VUnOp::Narrow => matches!(e, 16 | 32 | 64),
            VUnOp::NarrowSatSS | VUnOp::NarrowSatUU | VUnOp::NarrowSatSU => matches!(e, 16 | 32),
            VUnOp::AesSubShift | VUnOp::AesInvSubShift | VUnOp::AesMixColumns | VUnOp::AesInvMixColumns => {
                self.has(HostFeatures::AES)
            }
        };
        if !available {
            return false;
        }
        let s = self.use_xmm(op.va());
        let d = self.def_xmm(v);
        match kind {
            VUnOp::Neg => {
                self.load_const128(d, 0);
                self.v3_of(sub(e), d, d, s);
            }
            VUnOp::Abs if e == 64 => {
                // (s ^ m) - m with m the sign.
                let m = self.zero();
                self.v3_of(greater(64), m, m, s);
                self.v3(PXOR, d, s, m);
                self.v3_of(sub(64), d, d, m);
            }
            VUnOp::Abs => self.v2(p38(0x1c + (e.trailing_zeros() as u8 - 3)), d, s),
            VUnOp::Popcnt => {
                let table = self.vconst(0x0403_0302_0302_0201_0302_0201_0201_0100);
                let (low, high) = self.nibbles(s);
                self.v3(PSHUFB, d, table, low);
                self.v3(PSHUFB, table, table, high);
                self.v3(p(0xfc), d, d, table);
            }
            VUnOp::Clz if e == 32 => {
                let small = self.lanes_below(op.va(), 32, 1 << 24);
                self.leading_zeros(d, s, small);
            }
            VUnOp::Clz => {
                // Of the high nibble, plus those of the low one where the high one is zero.
                let table = self.vconst(0x0101_0101_0202_0304);
                let (low, high) = self.nibbles(s);
                let empty = self.zero();
                self.v3_of(equal(8), empty, empty, high);
                self.v3(PSHUFB, d, table, low);
                self.v3(PAND, d, d, empty);
                self.v3(PSHUFB, table, table, high);
                self.v3(p(0xfc), d, d, table);
            }
            VUnOp::ZextLow => self.v2(p38(0x30 + extension_row(e)), d, s),
            VUnOp::SextLow => self.v2(p38(0x20 + extension_row(e)), d, s),
            VUnOp::Narrow if e == 64 => {
                self.v2i(PSHUFD, d, s, 0b1000);
                self.asm.movq_xx(d, d);
            }
            VUnOp::Narrow | VUnOp::NarrowSatUU => {
                let (max, zero) = (eval::splat(e, (1 << (e / 2)) - 1), self.zero());
                let clip = if kind == VUnOp::Narrow { Some(PAND) } else { umin(e) };
                self.v3k(clip.unwrap_or(PAND), d, s, max);
                self.v3(if e == 16 { PACKUSWB } else { PACKUSDW }, d, d, zero);
            }
            VUnOp::NarrowSatSS | VUnOp::NarrowSatSU => {
                let zero = self.zero();
                let pack = match (kind, e) {
                    (VUnOp::NarrowSatSS, 16) => p(0x63),
                    (VUnOp::NarrowSatSS, _) => p(0x6b),
                    (_, 16) => PACKUSWB,
                    _ => PACKUSDW,
                };
                self.v3(pack, d, s, zero);
            }
            VUnOp::AesSubShift | VUnOp::AesInvSubShift => {
                // The last round with a key of zero.
                let zero = self.zero();
                self.v3(p38(if kind == VUnOp::AesSubShift { 0xdd } else { 0xdf }), d, s, zero);
            }
            VUnOp::AesInvMixColumns => self.v2(p38(0xdb), d, s),
            VUnOp::AesMixColumns => {
                // A whole round after undoing its first half.
                let zero = self.zero();
                self.v3(p38(0xdf), d, s, zero);
                self.v3(p38(0xdc), d, d, zero);
            }
        }
        true
    }

    /// Whether all lanes are known to be less than a number: bits have been masked off.
    fn lanes_below(&self, v: Val, e: u32, limit: u64) -> bool {
        let op = self.op(v);
        op.code == Code::And
            && op.is_vector()
            && [op.va(), op.vb()].into_iter().map(|v| self.op(v)).any(|k| {
                k.code == Code::Const128 && {
                    let k = self.ir.pool[k.imm as usize];
                    (0..128 / e).all(|i| eval::lane(e, k, i) < u128::from(limit))
                }
            })
    }

    /// Leading zeros of lanes of 32 bits, from the exponents of the numbers they are. A number is converted exactly if it has at
    /// most 24 bits, so that nothing is raised: others are halves, the low one if the high one is zero.
    fn leading_zeros(&mut self, d: Xmm, s: Xmm, small: bool) {
        const CVTDQ2PS: Opc = Opc::new(0, 1, 0x5b);
        // 31 less the exponent, which is biased by 127.
        let base = if small {
            self.v2(CVTDQ2PS, d, s);
            self.vsplat(32, 158)
        } else {
            let (low, t) = (self.zero(), self.scratch_xmm());
            self.vshift_imm(SHR, 32, d, s, 16);
            self.v3_of(equal(32), low, low, d);
            self.v3(PAND, t, low, s);
            self.v3(POR, d, d, t);
            self.v2(CVTDQ2PS, d, d);
            self.v3k(PAND, low, low, eval::splat(32, 16));
            self.v3k(p(0xfe), low, low, eval::splat(32, 142));
            low
        };
        self.vshift_imm(SHR, 32, d, d, 23);
        self.v3_of(sub(32), base, base, d);
        // Zero has no leading bit, and its exponent is zero.
        self.v3k(p38(0x39), d, base, eval::splat(32, 32));
    }

    /// The low and the high nibbles of each byte.
    fn nibbles(&mut self, s: Xmm) -> (Xmm, Xmm) {
        let (low, high) = (self.vsplat(8, 0x0f), self.scratch_xmm());
        self.vshift_imm(SHR, 16, high, s, 4);
        self.v3(PAND, high, high, low);
        self.v3(PAND, low, low, s);
        (low, high)
    }

    fn lower_vbin(&mut self, v: Val, op: Op, kind: VBinOp, e: u32) -> bool {
        let avx = self.has(HostFeatures::AVX);
        if let Some(opc) = direct(kind, e) {
            let b = self.use_xmm(op.vb());
            if avx {
                let a = self.use_xmm(op.va());
                let d = self.def_xmm(v);
                self.v3(opc, d, a, b);
            } else {
                let d = self.def_xmm_from(v, op.va());
                self.asm.sse(opc, d, b);
            }
            return true;
        }
        if let Some(hash) = Hash::of(kind) {
            return self.lower_hash(v, op, hash);
        }
        let avx2 = self.has(HostFeatures::AVX2);
        let available = match kind {
            VBinOp::Mul => e == 8,
            VBinOp::CmpSge => greater(e).is_some(),
            VBinOp::UAddSat | VBinOp::USubSat | VBinOp::UAvgRound => e == 32,
            VBinOp::UAbd | VBinOp::SAbd | VBinOp::UMulLow | VBinOp::SMulLow => matches!(e, 8 | 16 | 32),
            VBinOp::PMulLow => e == 64 && self.has(HostFeatures::PCLMUL),
            VBinOp::AddPairs => matches!(e, 8 | 64),
            VBinOp::UShlVar => matches!(e, 32 | 64) && avx2,
            VBinOp::SShlVar => e == 32 && avx2,
            VBinOp::CmpUgt
            | VBinOp::CmpUge
            | VBinOp::UnzipEven
            | VBinOp::UnzipOdd
            | VBinOp::TransEven
            | VBinOp::TransOdd => matches!(e, 8 | 16 | 32 | 64),
            VBinOp::Table => e == 8,
            _ => false,
        };
        if !available {
            return false;
        }
        let (a, b) = (self.use_xmm(op.va()), self.use_xmm(op.vb()));
        let d = self.def_xmm(v);
        match kind {
            VBinOp::Mul => {
                // Odd bytes in the high halves of 16-bit products, even ones in the low halves.
                let (t, low) = (self.scratch_xmm(), self.vsplat(16, 0xff));
                self.vshift_imm(SHR, 16, d, a, 8);
                self.vshift_imm(SHR, 16, t, b, 8);
                self.v3(p(0xd5), d, d, t);
                self.vshift_imm(SHL, 16, d, d, 8);
                self.v3(p(0xd5), t, a, b);
                self.v3(PAND, t, t, low);
                self.v3(POR, d, d, t);
            }
            VBinOp::CmpSge => {
                // Not (b > a).
                self.v3_of(greater(e), d, b, a);
                self.invert(d);
            }
            VBinOp::CmpUgt | VBinOp::CmpUge if e == 64 => {
                let (t, u) = (self.scratch_xmm(), self.vsplat(64, 1 << 63));
                self.v3(PXOR, t, a, u);
                self.v3(PXOR, u, u, b);
                if kind == VBinOp::CmpUgt {
                    self.v3_of(greater(64), d, t, u);
                } else {
                    self.v3_of(greater(64), d, u, t);
                    self.invert(d);
                }
            }
            VBinOp::CmpUgt => {
                // Not (max(a, b) = b).
                self.v3_of(umax(e), d, a, b);
                self.v3_of(equal(e), d, d, b);
                self.invert(d);
            }
            VBinOp::CmpUge => {
                self.v3_of(umin(e), d, a, b);
                self.v3_of(equal(e), d, d, b);
            }
            VBinOp::UAddSat => {
                // a + min(b, !a)
                self.load_const128(d, u128::MAX);
                self.v3(PXOR, d, d, a);
                self.v3_of(umin(32), d, d, b);
                self.v3(p(0xfe), d, d, a);
            }
            VBinOp::USubSat => {
                self.v3_of(umax(32), d, a, b);
                self.v3_of(sub(32), d, d, b);
            }
            VBinOp::UAvgRound => {
                // (a | b) - ((a ^ b) >> 1)
                let t = self.scratch_xmm();
                self.v3(PXOR, t, a, b);
                self.vshift_imm(SHR, 32, t, t, 1);
                self.v3(POR, d, a, b);
                self.v3_of(sub(32), d, d, t);
            }
            VBinOp::UAbd | VBinOp::SAbd => {
                let t = self.scratch_xmm();
                let (max, min) = if kind == VBinOp::UAbd { (umax(e), umin(e)) } else { (smax(e), smin(e)) };
                self.v3_of(max, d, a, b);
                self.v3_of(min, t, a, b);
                self.v3_of(sub(e), d, d, t);
            }
            VBinOp::UMulLow | VBinOp::SMulLow => self.widening_product(d, a, b, e, kind == VBinOp::SMulLow),
            VBinOp::PMulLow => self.v3i(p3a(0x44), d, a, b, 0),
            VBinOp::AddPairs if e == 64 => {
                let t = self.scratch_xmm();
                self.v3(PUNPCKLQDQ, d, a, b);
                self.v3(PUNPCKHQDQ, t, a, b);
                self.v3(p(0xd4), d, d, t);
            }
            VBinOp::AddPairs => {
                let (t, low) = (self.scratch_xmm(), self.vsplat(16, 0xff));
                for (sum, x) in [(d, a), (t, b)] {
                    self.vshift_imm(SHR, 16, sum, x, 8);
                    self.v3(p(0xfd), sum, sum, x);
                    self.v3(PAND, sum, sum, low);
                }
                self.v3(PACKUSWB, d, d, t);
            }
            VBinOp::UShlVar if self.lanes_below(op.vb(), e, 128) => {
                self.asm.vex(p38(0x47), e == 64, d.0, a.0, b, None);
            }
            VBinOp::UShlVar | VBinOp::SShlVar => {
                // An amount of the other direction, read as an unsigned byte, is at least 128: it shifts all out.
                let (low, right, wide) = (self.vsplat(e, 0xff), self.zero(), e == 64);
                self.v3_of(sub(e), right, right, b);
                self.v3(PAND, right, right, low);
                self.v3(PAND, low, low, b);
                self.asm.vex(p38(0x47), wide, d.0, a.0, low, None);
                if kind == VBinOp::UShlVar {
                    self.asm.vex(p38(0x45), wide, right.0, a.0, right, None);
                    self.v3(POR, d, d, right);
                } else {
                    // An arithmetic shift leaves signs instead; the sign of the amount's byte chooses.
                    self.asm.vex(p38(0x46), false, right.0, a.0, right, None);
                    self.vshift_imm(SHL, 32, low, low, 24);
                    self.asm.vex(p3a(0x4a), false, d.0, d.0, right, Some(low.0 << 4));
                }
            }
            VBinOp::UnzipEven | VBinOp::UnzipOdd => self.unzip(d, a, b, e, kind == VBinOp::UnzipOdd),
            VBinOp::TransEven | VBinOp::TransOdd => self.transpose(d, a, b, e, kind == VBinOp::TransOdd),
            VBinOp::Table => {
                // Indices of 16 and more get their top bit set.
                let t = self.scratch_xmm();
                self.v3k(p(0xdc), t, b, eval::splat(8, 0x70));
                self.v3(PSHUFB, d, a, t);
            }
            _ => self.failed = true,
        }
        true
    }

    fn widening_product(&mut self, d: Xmm, a: Xmm, b: Xmm, e: u32, signed: bool) {
        let t = self.scratch_xmm();
        if e == 16 {
            self.v3(p(if signed { 0xe5 } else { 0xe4 }), t, a, b);
            self.v3(p(0xd5), d, a, b);
            self.v3(PUNPCKLWD, d, d, t);
            return;
        }
        let extend = p38(extension_row(e) + if signed { 0x20 } else { 0x30 });
        self.v2(extend, d, a);
        self.v2(extend, t, b);
        let multiply = match (e, signed) {
            (8, _) => p(0xd5),
            (_, true) => p38(0x28),
            (_, false) => p(0xf4),
        };
        self.v3(multiply, d, d, t);
    }

    fn unzip(&mut self, d: Xmm, a: Xmm, b: Xmm, e: u32, odd: bool) {
        match e {
            8 | 16 => {
                let t = self.scratch_xmm();
                if odd {
                    self.vshift_imm(SHR, 2 * e, d, a, e);
                    self.vshift_imm(SHR, 2 * e, t, b, e);
                } else {
                    let low = self.vsplat(2 * e, (1 << e) - 1);
                    self.v3(PAND, d, a, low);
                    self.v3(PAND, t, b, low);
                }
                self.v3(if e == 8 { PACKUSWB } else { PACKUSDW }, d, d, t);
            }
            32 => self.v3i(SHUFPS, d, a, b, if odd { 0xdd } else { 0x88 }),
            _ => self.v3(if odd { PUNPCKHQDQ } else { PUNPCKLQDQ }, d, a, b),
        }
    }

    fn transpose(&mut self, d: Xmm, a: Xmm, b: Xmm, e: u32, odd: bool) {
        match e {
            8 => {
                let mask = self.vsplat(16, if odd { 0xff00 } else { 0x00ff });
                if odd {
                    self.vshift_imm(SHR, 16, d, a, 8);
                    self.v3(PAND, mask, mask, b);
                } else {
                    self.vshift_imm(SHL, 16, d, b, 8);
                    self.v3(PAND, mask, mask, a);
                }
                self.v3(POR, d, d, mask);
            }
            16 | 32 => {
                let odd_words = if e == 16 { 0xaa } else { 0xcc };
                if odd {
                    self.vshift_imm(SHR, 2 * e, d, a, e);
                    self.v3i(PBLENDW, d, d, b, odd_words);
                } else {
                    self.vshift_imm(SHL, 2 * e, d, b, e);
                    self.v3i(PBLENDW, d, d, a, !odd_words);
                }
            }
            _ => self.v3(if odd { PUNPCKHQDQ } else { PUNPCKLQDQ }, d, a, b),
        }
    }

    fn lower_vshift(&mut self, v: Val, op: Op, kind: VShiftOp, e: u32, amount: u32) {
        let s = self.use_xmm(op.va());
        let d = self.def_xmm(v);
        let lane = u64::MAX >> (64 - e);
        match kind {
            _ if amount == 0 => self.asm.movaps(d, s),
            VShiftOp::Shl | VShiftOp::Shr if amount >= e => self.load_const128(d, 0),
            VShiftOp::Shl | VShiftOp::Shr => {
                let left = kind == VShiftOp::Shl;
                self.vshift_imm(if left { SHL } else { SHR }, e, d, s, amount);
                if e == 8 {
                    let kept = if left { lane << amount & lane } else { lane >> amount };
                    self.v3k(PAND, d, d, eval::splat(8, u128::from(kept)));
                }
            }
            VShiftOp::Sar if matches!(e, 16 | 32) => self.vshift_imm(SAR, e, d, s, amount.min(e - 1)),
            VShiftOp::Sar => {
                // (x ^ m) - m extends the sign that the logical shift moved to m.
                let amount = amount.min(e - 1);
                self.vshift_imm(SHR, e, d, s, amount);
                if e == 8 {
                    self.v3k(PAND, d, d, eval::splat(8, u128::from(lane >> amount)));
                }
                let m = self.vsplat(e, 1 << (e - 1 - amount));
                self.v3(PXOR, d, d, m);
                self.v3_of(sub(e), d, d, m);
            }
        }
    }

    fn lower_permutation(&mut self, v: Val, op: Op) -> bool {
        let k = self.op(op.vc());
        if k.code != Code::Const128 {
            return false;
        }
        let idx = self.ir.pool[k.imm as usize].to_le_bytes();
        let from_a = idx.iter().any(|&i| i < 16);
        let from_b = idx.iter().any(|&i| (16..32).contains(&i));
        if !from_a && !from_b {
            let d = self.def_xmm(v);
            self.load_const128(d, 0);
            return true;
        }
        if from_a && from_b {
            let (a, b) = (self.use_xmm(op.va()), self.use_xmm(op.vb()));
            let d = self.def_xmm(v);
            if idx[0] < 16 && idx.iter().enumerate().all(|(i, &x)| x == idx[0] + i as u8) {
                self.v3i(PALIGNR, d, b, a, idx[0]);
                return true;
            }
            if let Some((swapped, imm)) = dword_halves(idx) {
                let (x, y) = if swapped { (b, a) } else { (a, b) };
                self.v3i(SHUFPS, d, x, y, imm);
                return true;
            }
            let t = self.scratch_xmm();
            self.v3k(PSHUFB, d, a, u128::from_le_bytes(idx.map(|i| if i < 16 { i } else { 0x80 })));
            let from_b = idx.map(|i| if (16..32).contains(&i) { i - 16 } else { 0x80 });
            self.v3k(PSHUFB, t, b, u128::from_le_bytes(from_b));
            self.v3(POR, d, d, t);
            return true;
        }
        let s = self.use_xmm(if from_a { op.va() } else { op.vb() });
        let d = self.def_xmm(v);
        let idx = if from_a { idx } else { idx.map(|i| if i < 32 { i - 16 } else { i }) };
        if let Some(imm) = dword_pattern(idx) {
            self.v2i(PSHUFD, d, s, imm);
        } else if (0..16).all(|i| if i < 8 { usize::from(idx[i]) == i } else { idx[i] >= 32 }) {
            self.asm.movq_xx(d, s);
        } else if (0..16).all(|i| idx[i] < 16 && usize::from(idx[i]) == (usize::from(idx[0]) + i) % 16) {
            self.v3i(PALIGNR, d, s, s, idx[0]);
        } else {
            self.v3k(PSHUFB, d, s, u128::from_le_bytes(idx.map(|i| if i < 16 { i } else { 0x80 })));
        }
        true
    }
}

/// Two 32-bit lanes of one operand under two of the other, as the immediate of SHUFPS; and whether those of the second come first.
fn dword_halves(idx: [u8; 16]) -> Option<(bool, u8)> {
    let swapped = idx[0] >= 16;
    let low = if swapped { 16..32 } else { 0..16 };
    let halves = idx.iter().enumerate().all(|(i, x)| *x < 32 && low.contains(x) == (i < 8));
    let imm = dword_pattern(idx.map(|i| i % 16))?;
    halves.then_some((swapped, imm))
}

/// How many instructions [`Gen::lower_permutation`] takes, for the builder to decide whether to put two into one.
pub(super) fn permutation_cost(idx: [u8; 16]) -> u32 {
    let (from_a, from_b) = (idx.iter().any(|&i| i < 16), idx.iter().any(|&i| (16..32).contains(&i)));
    let window = idx[0] < 16 && idx.iter().enumerate().all(|(i, &x)| x == idx[0] + i as u8);
    if from_a && from_b && !window && dword_halves(idx).is_none() { 3 } else { 1 }
}

/// A permutation of whole 32-bit lanes as the immediate of PSHUFD.
fn dword_pattern(idx: [u8; 16]) -> Option<u8> {
    let mut imm = 0;
    for (i, lane) in idx.chunks(4).enumerate() {
        let first = lane[0];
        let whole = first < 16 && first % 4 == 0 && lane.iter().enumerate().all(|(k, &x)| x == first + k as u8);
        if !whole {
            return None;
        }
        imm |= (first / 4) << (2 * i);
    }
    Some(imm)
}
