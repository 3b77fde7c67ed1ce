//! Estimates of reciprocals and of reciprocal square roots (FRECPE, FRSQRTE) in single precision.
//!
//! The architecture defines them bit for bit, from the first eight bits of the fraction and, for roots, whether the exponent is odd.
//! Which of these an operand has, tells a table that stands beside the thunks; the rest of the exponent is subtracted. That holds for
//! normal operands whose estimates are normal; others are evaluated out of line. Those that are neither raise nothing.

use super::asm::{Mem, Opc, Xmm};
use super::features::HostFeatures;
use super::fp::{ANDPS, Operand, SINGLE, Shape};
use super::ir::{Op, Val};
use super::regs::Gen;
use super::simd::{SHL, SHR, p, p3a};
use crate::eval;
use crate::softfp::{recip_table, rsqrt_table};

const FRACTION: u32 = 23;
/// How many bits of a fraction count, and of an estimate's are not zero.
const BITS: u32 = 8;
const SIGN: u32 = 1 << 31;
const MIN_NORMAL: u32 = 1 << FRACTION;
/// Fields of sign and exponent.
const ABOVE_FRACTION: u32 = SIGN | 255 << FRACTION;
const PADD: u8 = 0xfe;
const PSUB: u8 = 0xfa;
const PCMPGT: u8 = 0x66;
const PAND: u8 = 0xdb;
const PEXTRD: Opc = p3a(0x16);
const PINSRD: Opc = p3a(0x22);

/// One of the two operations.
struct Estimate {
    /// How many bits of an operand, from [`BITS`] below its exponent, are the index into the table.
    index_bits: u32,
    /// The least magnitude that is too large.
    limit: u32,
    /// What the table has at an index.
    entry: fn(u32) -> u32,
}

impl Estimate {
    fn of(root: bool) -> Self {
        if root {
            Self { index_bits: BITS + 1, limit: 255 << FRACTION, entry: root_entry }
        } else {
            Self { index_bits: BITS, limit: 253 << FRACTION, entry: reciprocal_entry }
        }
    }
}

/// The estimate of 1 / x but for x's sign and exponent, which are to be subtracted.
fn reciprocal_entry(i: u32) -> u32 {
    253 << FRACTION | (recip_table(1 << BITS | i) & 255) << (FRACTION - BITS)
}

/// The estimate of x's reciprocal root, but for half of x's exponent, rounded down, which is to be subtracted.
fn root_entry(i: u32) -> u32 {
    let odd = i >> BITS;
    let scaled = if odd == 0 { 1 << BITS | i } else { (1 << BITS | i & 255) >> 1 };
    (190 - odd) << FRACTION | (rsqrt_table(scaled) & 255) << (FRACTION - BITS)
}

impl Gen {
    /// Emits the tables of reciprocals and of roots and gives where they are.
    pub fn emit_estimates(&mut self) -> [usize; 2] {
        [false, true].map(|root| {
            let at = self.asm.pos();
            let kind = Estimate::of(root);
            for first in (0..1 << kind.index_bits).step_by(4) {
                let entries = (0..4).map(|i| u128::from((kind.entry)(first + i)) << (32 * i));
                self.asm.data(entries.sum());
            }
            at
        })
    }

    pub(super) fn lower_estimate(&mut self, v: Val, op: Op, root: bool, shape: Shape) {
        let Estimate { index_bits, limit, .. } = Estimate::of(root);
        let x = self.use_xmm(op.va());
        let s = self.fp_source(x, shape);
        let d = self.def_xmm(v);
        let (t, entries) = (self.scratch_xmm(), self.scratch_xmm());
        let (table, index) = (self.scratch(), self.scratch());
        let splat = |lane: u32| eval::splat(32, lane.into());

        // Magnitudes, or for roots numbers, such that those in range are less than others as signed ones. What is above a scalar
        // counts for nothing.
        let shift = SIGN - MIN_NORMAL;
        let most = splat((limit - 1).wrapping_add(shift));
        let others = if shape == Shape::Scalar { splat(!SIGN) & !u128::from(u32::MAX) } else { 0 };
        let most = if shape == Shape::Scalar { most & u128::from(u32::MAX) | others } else { most };
        if root {
            self.v3k(p(PADD), t, s, splat(shift));
        } else {
            self.v3k(ANDPS, t, s, SINGLE.splat(SINGLE.sign() - 1));
            self.v3k(p(PADD), t, t, splat(shift));
        }
        self.v3k(p(PCMPGT), t, t, most);
        let jump = self.jump_any(t);

        self.vshift_imm(SHR, 32, t, s, FRACTION - BITS);
        self.v3k(p(PAND), t, t, splat((1 << index_bits) - 1));
        let field = self.asm.lea_rip(table);
        self.asm.bind_to(field, self.shared.thunks.estimates[usize::from(root)]);
        let lanes = match shape {
            Shape::Scalar => 1,
            Shape::Half => 2,
            Shape::Full => 4,
        };
        for lane in 0..lanes {
            let entry = Mem::indexed(table, index, 2, 0);
            if lane == 0 {
                self.asm.mov_rx(false, index, t);
                self.asm.load_x(4, entries, entry);
            } else {
                self.asm.ins(PEXTRD, false, t.0, index, lane, 1);
                self.insert(entries, entry, lane as u8);
            }
        }
        if root {
            self.vshift_imm(SHR, 32, d, s, FRACTION + 1);
            self.vshift_imm(SHL, 32, d, d, FRACTION);
        } else {
            self.v3k(p(PAND), d, s, splat(ABOVE_FRACTION));
        }
        self.v3(p(PSUB), entries, entries, d);
        self.asm.movaps(d, entries);
        self.fp_finish(d, shape);
        self.slow_eval(op, [Some(jump), None, None], [x; 3], Operand::Xmm(d));
    }

    /// A lane of 32 bits from memory.
    fn insert(&mut self, d: Xmm, m: Mem, lane: u8) {
        if self.has(HostFeatures::AVX) {
            self.asm.vex(PINSRD, false, d.0, d.0, m, Some(lane));
        } else {
            self.asm.sse_i(PINSRD, d, m, lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::{FpFmt, FpUnOp};
    use crate::runtime::FpEnv;

    /// What translated code computes for an operand in range.
    fn estimate(root: bool, x: u32) -> Option<u32> {
        let Estimate { index_bits, limit, entry } = Estimate::of(root);
        let (magnitude, exponent) =
            if root { (x, x >> (FRACTION + 1) << FRACTION) } else { (x & !SIGN, x & ABOVE_FRACTION) };
        let estimate = entry(x >> (FRACTION - BITS) & ((1 << index_bits) - 1)).wrapping_sub(exponent);
        (MIN_NORMAL..limit).contains(&magnitude).then_some(estimate)
    }

    #[test]
    fn estimates_are_the_architectures_and_raise_nothing() {
        let mut in_range = 0;
        for (root, op) in [(false, FpUnOp::RecipEstimate), (true, FpUnOp::RsqrtEstimate)] {
            for above in 0..1u32 << 17 {
                let x = above << 15 | above.wrapping_mul(0x9e37_79b9) >> 17;
                let Some(ours) = estimate(root, x) else { continue };
                in_range += 1;
                let mut env = FpEnv::default();
                let theirs = eval::fp::un(&mut env, op, FpFmt::F32, 1, x.into());
                assert_eq!((u128::from(ours), 0), (theirs, env.raised), "{op:?} {x:#x}");
            }
        }
        assert_eq!(in_range, 252 * 512 + 254 * 256);
    }
}
