//! SHA-1 and SHA-256 with the host's instructions for them. Without those the builder writes operations out.

use super::asm::{Opc, Xmm};
use super::build::Build;
use super::features::HostFeatures;
use super::ir::{Op, Val};
use super::regs::Gen;
use super::simd::p;
use crate::emit::{BinOp, VBinOp, VShiftOp};
use crate::eval::{self, entry::EvalOp};

const PSUBD: Opc = p(0xfa);
const SHA1RNDS4: Opc = Opc::new(0, 3, 0xcc);
const SHA1MSG2: Opc = Opc::new(0, 2, 0xca);
const SHA256RNDS2: Opc = Opc::new(0, 2, 0xcb);
const SHA256MSG1: Opc = Opc::new(0, 2, 0xcc);
const SHA256MSG2: Opc = Opc::new(0, 2, 0xcd);

/// How an operation with two operands is done.
pub(super) enum Hash {
    /// By SHA1RNDS4 with this immediate, which adds this constant to each word.
    Rounds(u8, u32),
    /// One instruction.
    Direct(Opc),
}

impl Hash {
    pub const fn of(kind: VBinOp) -> Option<Self> {
        Some(match kind {
            VBinOp::Sha1Choose => Self::Rounds(0, 0x5a82_7999),
            VBinOp::Sha1Parity => Self::Rounds(1, 0x6ed9_eba1),
            VBinOp::Sha1Majority => Self::Rounds(2, 0x8f1b_bcdc),
            VBinOp::Sha1Schedule => Self::Direct(SHA1MSG2),
            VBinOp::Sha256Schedule0 => Self::Direct(SHA256MSG1),
            VBinOp::Sha256Schedule1 => Self::Direct(SHA256MSG2),
            _ => return None,
        })
    }
}

impl Gen {
    pub(super) fn lower_hash(&mut self, v: Val, op: Op, hash: Hash) -> bool {
        if !self.has(HostFeatures::SHA) {
            return false;
        }
        let b = self.use_xmm(op.vb());
        let d = self.def_xmm_from(v, op.va());
        match hash {
            Hash::Direct(opc) => self.asm.sse(opc, d, b),
            Hash::Rounds(kind, constant) => {
                // The operand's words have their constants already.
                let t = self.scratch_xmm();
                self.v3k(PSUBD, t, b, eval::splat(32, u128::from(constant)));
                self.asm.sse_i(SHA1RNDS4, d, t, kind);
            }
        }
        true
    }

    pub(super) fn lower_sha256_rounds(&mut self, v: Val, op: Op) -> bool {
        if !self.has(HostFeatures::SHA) {
            return false;
        }
        // The words are an implicit operand.
        const WORDS: Xmm = Xmm(0);
        match self.loc(op.vc()).xmm() {
            Some(WORDS) => self.pin_xmm(WORDS),
            place => {
                self.fixed_xmm(WORDS);
                self.copy_to_xmm(WORDS, op.vc());
                if place.is_none() {
                    self.assign_xmm(op.vc(), WORDS);
                }
            }
        }
        let abef = self.use_xmm(op.va());
        let d = self.def_xmm_from(v, op.vb());
        self.asm.sse(SHA256RNDS2, d, abef);
        true
    }
}

/// Index of no byte of a shuffle's operands.
const ZERO: u8 = 0x80;

/// The operations in terms of others.
impl Build {
    /// One with two operands, if it is one of these.
    pub fn expand_hash(&mut self, op: VBinOp, a: Val, b: Val) -> Option<Val> {
        Some(match op {
            VBinOp::Sha1Choose => self.sha1_rounds(Self::choose, a, b),
            VBinOp::Sha1Parity => self.sha1_rounds(Self::parity, a, b),
            VBinOp::Sha1Majority => self.sha1_rounds(Self::majority, a, b),
            VBinOp::Sha1Schedule => {
                let last = self.shuffle(b, b, core::array::from_fn(|i| if i < 4 { ZERO } else { i as u8 - 4 }));
                let sums = self.bin128(BinOp::Xor, a, last);
                let words = self.rotate_lanes(sums, 31);
                // The last word also depends on the first one.
                let first =
                    self.shuffle(words, words, core::array::from_fn(|i| if i < 4 { 12 + i as u8 } else { ZERO }));
                let first = self.rotate_lanes(first, 31);
                self.bin128(BinOp::Xor, words, first)
            }
            VBinOp::Sha256Schedule0 => {
                let next = self.shuffle(a, b, core::array::from_fn(|i| 4 + i as u8));
                let sigma = self.sigma_lanes(next, [7, 18], 3);
                self.add_lanes(a, sigma)
            }
            VBinOp::Sha256Schedule1 => {
                let last = self.shuffle(b, b, core::array::from_fn(|i| if i < 8 { 8 + i as u8 } else { ZERO }));
                let sigma = self.sigma_lanes(last, [17, 19], 10);
                let words = self.add_lanes(a, sigma);
                let first =
                    self.shuffle(words, words, core::array::from_fn(|i| if i < 8 { ZERO } else { i as u8 - 8 }));
                let sigma = self.sigma_lanes(first, [17, 19], 10);
                self.add_lanes(words, sigma)
            }
            _ => return None,
        })
    }

    fn sha1_rounds(&mut self, f: fn(&mut Self, Val, Val, Val) -> Val, state: Val, inputs: Val) -> Val {
        let [mut d, mut c, mut b, mut a] = self.words(state);
        let mut e = self.int(32, 0);
        for input in self.words(inputs).into_iter().rev() {
            let (rotated, chosen) = (self.rotate(a, 27), f(self, b, c, d));
            let t = self.sum(&[rotated, chosen, e, input]);
            (e, d, c, b, a) = (d, c, self.rotate(b, 2), a, t);
        }
        self.vector_of([d, c, b, a])
    }

    pub fn expand_sha256_rounds(&mut self, abef: Val, cdgh: Val, inputs: Val) -> Val {
        let [mut f, mut e, mut b, mut a] = self.words(abef);
        let [mut h, mut g, mut d, mut c] = self.words(cdgh);
        for i in 0..2 {
            let input = self.lane(32, inputs, i);
            let (sigma, chosen) = (self.sigma(e, [6, 11, 25]), self.choose(e, f, g));
            let t = self.sum(&[h, sigma, chosen, input]);
            let (sigma, most) = (self.sigma(a, [2, 13, 22]), self.majority(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, self.add(32, d, t), c, b, a, self.sum(&[t, sigma, most]));
        }
        self.vector_of([f, e, b, a])
    }

    fn words(&mut self, v: Val) -> [Val; 4] {
        core::array::from_fn(|i| self.lane(32, v, i as u32))
    }
    fn vector_of(&mut self, [a, b, c, d]: [Val; 4]) -> Val {
        let (low, high) = (self.concat(32, b, 32, a), self.concat(32, d, 32, c));
        self.pair(low, high)
    }
    fn sum(&mut self, vals: &[Val]) -> Val {
        let zero = self.int(32, 0);
        vals.iter().fold(zero, |sum, v| self.add(32, sum, *v))
    }
    /// Rotates right.
    fn rotate(&mut self, v: Val, by: u64) -> Val {
        let by = self.int(32, by);
        self.bin(BinOp::Ror, 32, v, by)
    }
    fn sigma(&mut self, v: Val, by: [u64; 3]) -> Val {
        let [x, y, z] = by.map(|by| self.rotate(v, by));
        self.parity(x, y, z)
    }
    fn choose(&mut self, x: Val, y: Val, z: Val) -> Val {
        let differ = self.xor(32, y, z);
        let chosen = self.and(32, x, differ);
        self.xor(32, z, chosen)
    }
    fn parity(&mut self, x: Val, y: Val, z: Val) -> Val {
        let two = self.xor(32, x, y);
        self.xor(32, two, z)
    }
    fn majority(&mut self, x: Val, y: Val, z: Val) -> Val {
        let (both, any) = (self.and(32, x, y), self.or(32, x, y));
        let third = self.and(32, any, z);
        self.or(32, both, third)
    }

    fn add_lanes(&mut self, a: Val, b: Val) -> Val {
        self.eval(EvalOp::VBin { op: VBinOp::Add, e: 32 }, 128, [a, b, Val::NONE])
    }
    fn shift_lanes(&mut self, op: VShiftOp, v: Val, amount: u32) -> Val {
        self.eval(EvalOp::VShift { op, e: 32, amount }, 128, [v, Val::NONE, Val::NONE])
    }
    /// Rotates lanes right.
    fn rotate_lanes(&mut self, v: Val, by: u32) -> Val {
        let (low, high) = (self.shift_lanes(VShiftOp::Shr, v, by), self.shift_lanes(VShiftOp::Shl, v, 32 - by));
        self.bin128(BinOp::Or, low, high)
    }
    fn sigma_lanes(&mut self, v: Val, rotations: [u32; 2], shift: u32) -> Val {
        let [x, y] = rotations.map(|by| self.rotate_lanes(v, by));
        let z = self.shift_lanes(VShiftOp::Shr, v, shift);
        let both = self.bin128(BinOp::Xor, x, y);
        self.bin128(BinOp::Xor, both, z)
    }
}
