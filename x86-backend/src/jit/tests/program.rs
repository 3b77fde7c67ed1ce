//! Random programs over the whole of [`Emit`], executed by whatever implements it.
//!
//! A step is five numbers; how they are read depends on the values there are, so every sequence of numbers is a valid
//! program and shrinks well.

use super::machine::{BASE, pc_slot, slot};
use crate::emit::{
    Access, AtomicOp, BinOp, BranchKind, CmpOp, Cond, Emit, FLAGS, FpBinOp, FpFmt, FpUnOp, HelperId, Rounding, Stop,
    UnOp, VBinOp, VShiftOp, VTernOp, VUnOp, Width,
};
use crate::eval;
use crate::interp::{EngineMemory, Interp};
use crate::jit::Builder;

pub type Step = [u32; 5];

/// What tells an executor that the next guest instruction begins.
pub trait Executor: Emit {
    fn insn(&mut self, pc: u64);
}

impl Executor for Builder<'_> {
    fn insn(&mut self, pc: u64) {
        self.begin_insn(pc);
    }
}

impl Executor for Interp<'_, super::machine::State, EngineMemory> {
    fn insn(&mut self, pc: u64) {
        let v = self.konst(64, u128::from(pc));
        self.put(pc_slot(), v);
    }
}

/// Kinds of steps.
pub const OPERATIONS: u32 = 56;

/// Values by width.
type Pool<V> = Vec<(Width, V)>;

const WIDTHS: [Width; 8] = [64, 32, 64, 32, 8, 16, 1, 5];
const LANES: [Width; 4] = [8, 16, 32, 64];

const CONSTS: [u128; 12] = [
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    u64::MAX as u128,
    1 << 63,
    0x1234_5678_9abc_def0,
    0xff00_ff00,
    u128::MAX / 3 * 2,
];

struct Run<'p, B: Executor> {
    pool: Pool<B::V>,
    steps: &'p [Step],
}

fn pick<B: Executor>(b: &mut B, pool: &Pool<B::V>, n: Width, k: u32) -> B::V {
    let of_width: Vec<_> = pool.iter().filter(|(w, _)| *w == n).collect();
    if of_width.is_empty() || k.is_multiple_of(5) {
        let v = CONSTS[(k / 5) as usize % CONSTS.len()];
        let v = if n >= 64 || n == FLAGS { v } else { v & ((1 << n) - 1) };
        return b.konst(n, if n == 64 { v & u128::from(u64::MAX) } else { v });
    }
    // The newest are used most.
    let back = (k / 5) as usize % of_width.len().min(8);
    of_width[of_width.len() - 1 - back].1
}

/// An address in or near the memory.
fn address<B: Executor>(b: &mut B, pool: &Pool<B::V>, k: u32) -> B::V {
    let place = [0u64, 8, 0x20, 0xff8, 0xffc, 0x1000, 0x1ffe, 0x2000, 0x2008, 0x0f0, 0x3000, 0x40][k as usize % 12];
    let base = b.konst(64, u128::from(BASE + place));
    if !k.is_multiple_of(3) {
        return base;
    }
    let v = pick(b, pool, 64, k / 12);
    let mask = b.konst(64, 0x3f);
    let small = b.bin(BinOp::And, 64, v, mask);
    b.bin(BinOp::Add, 64, base, small)
}

/// A conditional branch to a constant address, on `c` or its opposite.
fn exit_if<B: Executor>(b: &mut B, c: B::V, target: u64, otherwise: bool) -> Result<(), Stop> {
    let taken = |b: &mut B| {
        let t = b.konst(64, u128::from(target));
        b.branch(t, BranchKind::Jump)?;
        Ok([])
    };
    let _: [B::V; 0] =
        if otherwise { b.branch_on(c, [], |_| Ok([]), taken)? } else { b.branch_on(c, [], taken, |_| Ok([]))? };
    Ok(())
}

pub fn run<B: Executor>(b: &mut B, pc: u64, steps: &[Step], depth: u32) -> Result<(), Stop> {
    b.insn(pc);
    let mut run = Run::<B> { pool: Vec::new(), steps };
    run.go(b, pc, depth).map(|_| ())
}

impl<B: Executor> Run<'_, B> {
    fn go(&mut self, b: &mut B, mut pc: u64, depth: u32) -> Result<(), Stop> {
        let mut at = 0;
        while at < self.steps.len() {
            let s = self.steps[at];
            at += 1;
            at += self.step(b, s, at, &mut pc, depth)?;
        }
        Ok(())
    }

    /// The address after an access.
    fn behind(&self, b: &mut B, a: B::V, n: Width) -> B::V {
        let size = b.konst(64, u128::from(n / 8));
        b.bin(BinOp::Add, 64, a, size)
    }

    fn push(&mut self, n: Width, v: B::V) {
        self.pool.push((n, v));
    }

    /// Executes one step; the result is how many of the following ones it took.
    #[allow(clippy::too_many_lines, reason = "one arm per operation")]
    fn step(&mut self, b: &mut B, s: Step, at: usize, pc: &mut u64, depth: u32) -> Result<usize, Stop> {
        let [op, k, x, y, z] = s;
        let n = WIDTHS[k as usize % 8];
        let e = LANES[k as usize % 4];
        let val = |b: &mut B, pool: &Pool<B::V>, n, k| pick(b, pool, n, k);
        match op % OPERATIONS {
            0..=3 => {
                let slot = slot(k % 10, (x % 6) as usize);
                let v = b.get(slot);
                self.push(slot.width, v);
            }
            4..=8 => {
                let slot = slot(k % 10, (x % 6) as usize);
                let v = val(b, &self.pool, slot.width, y);
                b.put(slot, v);
            }
            9 => {
                use UnOp::*;
                let ops: &[UnOp] = match n {
                    8 | 16 | 32 | 64 => &[Not, Neg, Clz, Ctz, Popcnt, BitRev, ByteRev],
                    _ => &[Not, Neg, Clz, Ctz, Popcnt, BitRev],
                };
                let a = val(b, &self.pool, n, x);
                let v = b.un(ops[y as usize % ops.len()], n, a);
                self.push(n, v);
            }
            10..=15 => {
                use BinOp::*;
                let ops: &[BinOp] = match n {
                    32 | 64 => &[Add, Sub, Mul, UMulHi, SMulHi, UDiv, SDiv, And, Or, Xor, Shl, Shr, Sar, Ror, Add, Sub],
                    8 | 16 => &[Add, Sub, Mul, UDiv, SDiv, And, Or, Xor, Shl, Shr, Sar, Ror],
                    _ => &[Add, Sub, Mul, UDiv, SDiv, And, Or, Xor],
                };
                let (a, c) = (val(b, &self.pool, n, x), val(b, &self.pool, n, y));
                let op = ops[z as usize % ops.len()];
                let v = b.bin(op, n, a, c);
                self.push(n, v);
                if matches!(op, UDiv | SDiv) && k % 4 != 0 {
                    // What it leaves, as programs compute it.
                    let (p, q) = if k % 4 == 1 { (v, c) } else { (c, v) };
                    let product = b.bin(Mul, n, p, q);
                    let v = b.bin(Sub, n, a, product);
                    self.push(n, v);
                }
            }
            16 | 17 => {
                use CmpOp::*;
                let (a, c) = (val(b, &self.pool, n, x), val(b, &self.pool, n, y));
                let v = b.cmp([Eq, Ne, Ult, Ule, Slt, Sle][z as usize % 6], n, a, c);
                self.push(1, v);
            }
            18 => {
                let to = *[8, 16, 32, 64, 128].iter().filter(|t| **t >= n).nth(y as usize % 2).unwrap_or(&128);
                let a = val(b, &self.pool, n, x);
                let v = if z % 2 == 0 { b.zext(n, to, a) } else { b.sext(n, to, a) };
                self.push(to, v);
            }
            19 => {
                let n = if z % 5 == 0 { 128 } else { 64 };
                let len = WIDTHS[y as usize % 8];
                let lo = (z / 5) % (n - len + 1);
                let a = val(b, &self.pool, n, x);
                let v = b.extract(n, a, lo, len);
                self.push(len, v);
            }
            20 => {
                let (hi, lo) = [(32, 32), (64, 64), (8, 8), (16, 16), (1, 5), (5, 1), (32, 16)][k as usize % 7];
                let (a, c) = (val(b, &self.pool, hi, x), val(b, &self.pool, lo, y));
                let v = b.concat(hi, a, lo, c);
                self.push(hi + lo, v);
            }
            21 | 22 => {
                let n = [n, 128, FLAGS, n][z as usize % 4];
                let c = val(b, &self.pool, 1, y);
                let (p, q) = (val(b, &self.pool, n, x), val(b, &self.pool, n, x / 7));
                let v = b.select(n, c, p, q);
                self.push(n, v);
            }
            23 | 24 => {
                let n = [32, 64, 8, 16, 32, 64][z as usize % 6];
                let (p, q) = (val(b, &self.pool, n, x), val(b, &self.pool, n, y));
                let q2 = b.un(UnOp::Not, n, q);
                let (q, c) = match k % 3 {
                    0 => (q2, b.konst(1, 1)),
                    1 => (q, b.konst(1, 0)),
                    _ => (q, val(b, &self.pool, 1, k)),
                };
                let f = b.add_flags(n, p, q, c);
                self.push(FLAGS, f);
                let sum = b.bin(BinOp::Add, n, p, q);
                let c = b.zext(1, n, c);
                let sum = b.bin(BinOp::Add, n, sum, c);
                self.push(n, sum);
            }
            25 => {
                let n = [32, 64, 8, 16][z as usize % 4];
                let a = val(b, &self.pool, n, x);
                let f = b.logic_flags(n, a);
                self.push(FLAGS, f);
            }
            26 => {
                let x32 = val(b, &self.pool, 32, x);
                let a = b.extract(32, x32, 0, 4);
                let f = b.pack_flags(a);
                self.push(FLAGS, f);
                let f = val(b, &self.pool, FLAGS, y);
                let bits = b.unpack_flags(f);
                let v = b.zext(4, 32, bits);
                self.push(32, v);
            }
            27 | 28 => {
                let f = val(b, &self.pool, FLAGS, x);
                let v = b.cond(f, Cond::from_bits(y));
                self.push(1, v);
            }
            29 => {
                let a = val(b, &self.pool, 128, x);
                let v = b.lane(e, a, z % (128 / e));
                self.push(e, v);
            }
            30 => {
                let (a, l) = (val(b, &self.pool, 128, x), val(b, &self.pool, e, y));
                let v = if z % 3 == 0 { b.splat(e, l) } else { b.set_lane(e, a, z % (128 / e), l) };
                self.push(128, v);
            }
            31 => {
                use VBinOp::*;
                let all = [
                    Add, Sub, CmpEq, CmpSgt, CmpUge, SMin, SMax, UMin, UMax, SAddSat, UAddSat, SSubSat, USubSat, UAbd,
                    ZipLow, ZipHigh, UnzipEven, UnzipOdd, AddPairs, UShlVar, SShlVar, SatDiff, TransEven,
                ];
                let (a, c) = (val(b, &self.pool, 128, x), val(b, &self.pool, 128, y));
                let v = match z % 28 {
                    25 => b.vbin([Sha1Choose, Sha1Parity, Sha1Majority, Sha1Schedule][k as usize % 4], 32, a, c),
                    26 => b.vbin([Sha256Schedule0, Sha256Schedule1][k as usize % 2], 32, a, c),
                    27 => {
                        let d = val(b, &self.pool, 128, z);
                        b.vtern(VTernOp::Sha256Rounds, 32, a, c, d)
                    }
                    23 => b.vbin(Table, 8, a, c),
                    24 => b.vbin(Mul, [8, 16, 32][k as usize % 3], a, c),
                    i => b.vbin(all[i as usize], e, a, c),
                };
                self.push(128, v);
            }
            32 => {
                let a = val(b, &self.pool, 128, x);
                let v = match z % 4 {
                    0 => b.vshift(VShiftOp::Shl, e, a, y % e),
                    1 => b.vshift(VShiftOp::Shr, e, a, y % e + 1),
                    2 => b.vshift(VShiftOp::Sar, e, a, y % e + 1),
                    _ => b.vun([VUnOp::Neg, VUnOp::Abs][y as usize % 2], e, a),
                };
                self.push(128, v);
            }
            33 => {
                let (a, c) = (val(b, &self.pool, 128, x), val(b, &self.pool, 128, y));
                let idx = core::array::from_fn(|i| match k % 6 {
                    0 => ((z + i as u32) % 17 + (z % 2) * 15) as u8,
                    1 => ((z % 17) as usize + i) as u8,
                    2 => ((z as usize * 7 + i * 5) % 16) as u8,
                    // Whole 32-bit lanes.
                    3 | 4 => (((z >> (i & 12)) % 9) as usize * 4 + i % 4) as u8,
                    _ => ((z as usize * 3 + i * 11) % 40) as u8,
                });
                let mut v = b.shuffle(a, c, idx);
                if k % 2 == 0 {
                    self.push(128, v);
                    let other = b.shuffle(c, a, idx);
                    v = b.shuffle(v, other, core::array::from_fn(|i| ((y >> (i & 12)) % 8) as u8 * 4 + i as u8 % 4));
                }
                self.push(128, v);
            }
            34 => {
                let (a, c) = (val(b, &self.pool, 128, x), val(b, &self.pool, 128, y));
                let v = match z % 5 {
                    0 => b.bin(BinOp::And, 128, a, c),
                    1 => b.bin(BinOp::Or, 128, a, c),
                    2 => b.bin(BinOp::Xor, 128, a, c),
                    3 => b.un(UnOp::Not, 128, a),
                    _ => {
                        let t = b.cmp([CmpOp::Eq, CmpOp::Ne][k as usize % 2], 128, a, c);
                        self.push(1, t);
                        a
                    }
                };
                self.push(128, v);
            }
            46.. => {
                use FpBinOp::*;
                let fmt = [FpFmt::F32, FpFmt::F64][k as usize % 2];
                let (n, lanes) = match k / 2 % 4 {
                    0 => (128, 128 / fmt.width()),
                    1 => (128, 2),
                    _ => (fmt.width(), 1),
                };
                let (a, c) = (val(b, &self.pool, n, x), val(b, &self.pool, n, y));
                let v = match z % 8 {
                    0 | 1 => b.fp_fma(fmt, lanes, a, c, a),
                    2 => {
                        let op = [FpUnOp::Sqrt, FpUnOp::RecipEstimate, FpUnOp::RsqrtEstimate][y as usize % 3];
                        b.fp_un(op, fmt, lanes, a)
                    }
                    3 => b.fp_bin([Div, Max, Abd, RecipStep, RsqrtStep][y as usize % 5], fmt, lanes, a, c),
                    i => b.fp_bin([Add, Mul, Sub, Mul][i as usize % 4], fmt, lanes, a, c),
                };
                self.push(n, v);
                if y % 2 == 0 {
                    // Its sign changed, and a product or sum with that.
                    let sign = 1u128 << (fmt.width() - 1);
                    let (op, lane) =
                        [(BinOp::Xor, sign), (BinOp::And, sign - 1), (BinOp::Or, sign), (BinOp::And, sign)]
                            [[0, 0, 1, 2, 3][y as usize / 2 % 5]];
                    let mask = b.konst(n, if n == 128 { eval::splat(fmt.width(), lane) } else { lane });
                    let changed = b.bin(op, n, v, mask);
                    let other = val(b, &self.pool, n, z / 8);
                    let sum = match x % 4 {
                        0 => b.fp_fma(fmt, lanes, other, changed, c),
                        1 => b.fp_fma(fmt, lanes, changed, other, other),
                        2 => b.fp_fma(fmt, lanes, changed, changed, a),
                        _ => b.fp_bin(Add, fmt, lanes, changed, a),
                    };
                    self.push(n, changed);
                    self.push(n, sum);
                } else if lanes == 1 {
                    // A conversion, and arithmetic with what it gives.
                    let to = [FpFmt::F64, FpFmt::F32][k as usize % 2];
                    let converted = b.fp_convert(fmt, to, Rounding::Dynamic, v);
                    self.push(to.width(), converted);
                    let other = val(b, &self.pool, to.width(), z / 8);
                    let sum = b.fp_bin([Add, Mul][x as usize % 2], to, 1, converted, other);
                    self.push(to.width(), sum);
                }
            }
            35 => {
                let fmt = [FpFmt::F32, FpFmt::F64][k as usize % 2];
                let w = fmt.width();
                let (a, c) = (val(b, &self.pool, w, x), val(b, &self.pool, w, y));
                use FpBinOp::*;
                let v = b.fp_bin([Add, Mul, Sub, Min][z as usize % 4], fmt, 1, a, c);
                self.push(w, v);
                let f = b.fp_cmp_flags(fmt, k / 2 % 2 == 1, a, c);
                self.push(FLAGS, f);
                if y % 2 == 0 {
                    // A branch on it follows.
                    b.put(slot(5, 0), f);
                    *pc += 4;
                    if depth == 0 {
                        b.insn(*pc);
                    }
                    let c = b.cond(f, Cond::from_bits(z / 4));
                    exit_if(b, c, *pc + 0x40, y / 2 % 4 == 0)?;
                }
            }
            36 | 37 => {
                let n = [8, 16, 32, 64, 128][k as usize % 5];
                let a = address(b, &self.pool, x);
                let acc = [Access::empty(), Access::UNPRIV, Access::ACQUIRE, Access::ALIGNED][y as usize % 4];
                let v = b.load(n, a, acc)?;
                let next = if y / 4 % 2 == 0 { Some(self.behind(b, a, n)) } else { None };
                if let Some(a) = next {
                    let w = b.load(n, a, acc)?;
                    self.push(n, w);
                }
                self.push(n, v);
            }
            38 | 39 => {
                let n = [8, 16, 32, 64, 128][k as usize % 5];
                let a = address(b, &self.pool, x);
                let v = val(b, &self.pool, n, z);
                let next = if y / 4 % 2 == 0 { Some(self.behind(b, a, n)) } else { None };
                b.store(n, a, v, [Access::empty(), Access::RELEASE][y as usize % 2])?;
                if let Some(a) = next {
                    let w = val(b, &self.pool, n, z / 2);
                    b.store(n, a, w, [Access::empty(), Access::RELEASE][y as usize % 2])?;
                }
            }
            40 => {
                let n = [8, 16, 32, 64][k as usize % 4];
                let a = address(b, &self.pool, x);
                let v = val(b, &self.pool, n, z);
                use AtomicOp::*;
                let op = [Swap, Add, Clear, Xor, Or, SMax, SMin, UMax, UMin][y as usize % 9];
                let old = b.atomic(op, n, a, v, Access::empty())?;
                self.push(n, old);
            }
            41 => {
                let n = [8, 16, 32, 64, 128][k as usize % 5];
                let a = address(b, &self.pool, x);
                let (p, q) = (val(b, &self.pool, n, y), val(b, &self.pool, n, z));
                let old = b.cas(n, a, p, q, Access::empty())?;
                self.push(n, old);
                b.fence();
            }
            42 => {
                let w = |this: &Self, b: &mut B, k| pick(b, &this.pool, 64, k);
                match k % 7 {
                    0 | 1 => {
                        let args = [w(self, b, x), w(self, b, y)];
                        let r = b.call(HelperId(0), &args)?;
                        self.pool.extend(r.map(|v| (64, v)));
                    }
                    2 | 3 => {
                        let (w32, rest) = (pick(b, &self.pool, 32, z), [x, y, z / 2, x / 2]);
                        let [a, c, d, f] = rest.map(|k| w(self, b, k));
                        let r = b.call(HelperId(1), &[a, c, w32, d, f])?;
                        self.pool.extend(r.map(|v| (64, v)));
                    }
                    4 => {
                        let a = w(self, b, x);
                        let r = b.call(HelperId(2), &[a])?;
                        self.pool.extend(r.map(|v| (64, v)));
                    }
                    5 => {
                        let (p, q) = (pick(b, &self.pool, 128, x), pick(b, &self.pool, 128, y));
                        let m = w(self, b, z);
                        let r = b.call(HelperId(3), &[p, m, q])?;
                        self.pool.extend(r.map(|v| (128, v)));
                    }
                    _ if z % 4 == 0 => {
                        b.call(HelperId(4), &[])?;
                    }
                    _ => {}
                }
            }
            43 => {
                *pc += 4;
                if depth == 0 {
                    b.insn(*pc);
                }
            }
            44 => {
                // A conditional branch.
                let c = val(b, &self.pool, 1, x);
                let target = *pc + [0x40, 0x2000, 8][y as usize % 3];
                exit_if(b, c, target, z % 4 == 0)?;
                if z % 16 == 1 {
                    b.end_block();
                }
            }
            _ => return self.arms(b, s, at, *pc, depth),
        }
        Ok(0)
    }

    /// A conditional with arms made of the following steps.
    fn arms(&mut self, b: &mut B, s: Step, at: usize, pc: u64, depth: u32) -> Result<usize, Stop> {
        let [_, k, x, y, z] = s;
        let left = self.steps.len() - at;
        let first = (y % 6) as usize % (left + 1);
        let second = (z % 6) as usize % (left - first + 1);
        if depth >= 3 {
            return Ok(0);
        }
        let (then, otherwise) = (&self.steps[at..at + first], &self.steps[at + first..at + first + second]);
        let c = pick(b, &self.pool, 1, x);
        let widths = [WIDTHS[k as usize % 8], [128, FLAGS, 64][(k / 8) as usize % 3]];
        let pool = &self.pool;
        let arm = |b: &mut B, steps: &[Step], leave: u32| {
            let mut inner = Run::<B> { pool: pool.clone(), steps };
            inner.go(b, pc, depth + 1)?;
            match leave % 8 {
                0 => {
                    let t = pick(b, &inner.pool, 64, leave / 8);
                    b.branch(t, BranchKind::Jump)?;
                }
                1 => {
                    let t = b.konst(64, u128::from(pc + 0x80));
                    b.branch(t, BranchKind::Call)?;
                }
                2 => {
                    b.call(HelperId(4), &[])?;
                }
                _ => {}
            }
            Ok(widths.map(|w| pick(b, &inner.pool, w, leave / 3)))
        };
        let r = b.branch_on(c, widths, |b| arm(b, then, z / 6), |b| arm(b, otherwise, y / 6))?;
        for (w, v) in widths.into_iter().zip(r) {
            self.push(w, v);
        }
        Ok(first + second)
    }
}
