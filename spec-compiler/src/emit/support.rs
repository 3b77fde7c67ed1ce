//! Small compositions of [`Emit`]'s operations that generated code shares. Part of every generated file.
//!
//! The description's operations are slightly richer than the online IR's: shifts by any fixed amount at any width,
//! replacing bits, replicating. What they need of the IR depends on fixed amounts only.

use x86_backend::emit::{AtomicOp, BinOp, BranchKind, Emit, HelperId, Rounding, Slot, Stop, Width};

pub fn shl_int<B: Emit>(b: &mut B, n: Width, a: B::V, k: i64) -> B::V {
    if k == 0 {
        a
    } else if k < 0 || k >= i64::from(n) {
        b.konst(n, 0)
    } else if n == 128 {
        let k = k as u32;
        let lo = b.extract(128, a, 0, 64);
        let zero = b.konst(64, 0);
        if k >= 64 {
            let hi = shl_int(b, 64, lo, i64::from(k - 64));
            b.concat(64, hi, 64, zero)
        } else {
            let hi = b.extract(128, a, 64 - k, 64);
            let lo = shl_int(b, 64, lo, i64::from(k));
            b.concat(64, hi, 64, lo)
        }
    } else if n.is_power_of_two() {
        let k = b.konst(n, k as u128);
        b.bin(BinOp::Shl, n, a, k)
    } else {
        let k = k as u32;
        let kept = b.extract(n, a, 0, n - k);
        let zero = b.konst(k, 0);
        b.concat(n - k, kept, k, zero)
    }
}

pub fn shr_int<B: Emit>(b: &mut B, n: Width, a: B::V, k: i64) -> B::V {
    if k == 0 {
        a
    } else if k < 0 || k >= i64::from(n) {
        b.konst(n, 0)
    } else if n == 128 {
        let k = k as u32;
        let zero = b.konst(64, 0);
        if k >= 64 {
            let lo = b.extract(128, a, 64, 64);
            let lo = shr_int(b, 64, lo, i64::from(k - 64));
            b.concat(64, zero, 64, lo)
        } else {
            let hi = b.extract(128, a, 64, 64);
            let hi = shr_int(b, 64, hi, i64::from(k));
            let lo = b.extract(128, a, k, 64);
            b.concat(64, hi, 64, lo)
        }
    } else if n.is_power_of_two() {
        let k = b.konst(n, k as u128);
        b.bin(BinOp::Shr, n, a, k)
    } else {
        let k = k as u32;
        let kept = b.extract(n, a, k, n - k);
        b.zext(n - k, n, kept)
    }
}

pub fn sar_int<B: Emit>(b: &mut B, n: Width, a: B::V, k: i64) -> B::V {
    if k == 0 {
        return a;
    }
    let k = if k < 0 || k >= i64::from(n) { n - 1 } else { k as u32 };
    if n == 128 {
        let hi = b.extract(128, a, 64, 64);
        if k >= 64 {
            let lo = sar_int(b, 64, hi, i64::from(k - 64));
            let sign = sar_int(b, 64, hi, 63);
            b.concat(64, sign, 64, lo)
        } else {
            let hi = sar_int(b, 64, hi, i64::from(k));
            let lo = b.extract(128, a, k, 64);
            b.concat(64, hi, 64, lo)
        }
    } else if n.is_power_of_two() {
        let k = b.konst(n, u128::from(k));
        b.bin(BinOp::Sar, n, a, k)
    } else {
        let kept = b.extract(n, a, k, n - k);
        b.sext(n - k, n, kept)
    }
}

pub fn ror_int<B: Emit>(b: &mut B, n: Width, a: B::V, k: i64) -> B::V {
    let k = k.rem_euclid(i64::from(n)) as u32;
    if k == 0 {
        a
    } else if n == 128 {
        let lo = b.extract(128, a, 0, 64);
        let hi = b.extract(128, a, 64, 64);
        let (hi, lo, k) = if k >= 64 { (lo, hi, k - 64) } else { (hi, lo, k) };
        let new_lo = funnel(b, hi, lo, k);
        let new_hi = funnel(b, lo, hi, k);
        b.concat(64, new_hi, 64, new_lo)
    } else if n.is_power_of_two() {
        let k = b.konst(n, u128::from(k));
        b.bin(BinOp::Ror, n, a, k)
    } else {
        let high = b.extract(n, a, 0, k);
        let low = b.extract(n, a, k, n - k);
        b.concat(k, high, n - k, low)
    }
}

/// Low 64 bits of `hi:lo` shifted right by `k` < 64.
fn funnel<B: Emit>(b: &mut B, hi: B::V, lo: B::V, k: u32) -> B::V {
    if k == 0 {
        return lo;
    }
    let both = b.concat(64, hi, 64, lo);
    b.extract(128, both, k, 64)
}

/// Bits `lo..lo+len` of a value of width `n`.
pub fn extract<B: Emit>(b: &mut B, n: Width, a: B::V, lo: i64, len: Width) -> B::V {
    if lo == 0 && len == n { a } else { b.extract(n, a, lo as u32, len) }
}

pub fn zext<B: Emit>(b: &mut B, from: Width, to: Width, a: B::V) -> B::V {
    if from == to { a } else { b.zext(from, to, a) }
}

pub fn sext<B: Emit>(b: &mut B, from: Width, to: Width, a: B::V) -> B::V {
    if from == to { a } else { b.sext(from, to, a) }
}

/// `a` (of `n` bits) with the `len` bits from `lo` on replaced by `piece`.
pub fn insert<B: Emit>(b: &mut B, n: Width, a: B::V, lo: i64, len: Width, piece: B::V) -> B::V {
    let lo = lo as u32;
    if len == n {
        return piece;
    }
    if n == 128 {
        if matches!(len, 8 | 16 | 32 | 64) && lo % len == 0 {
            return b.set_lane(len, a, lo / len, piece);
        }
        let mut r = a;
        for half in 0..2 {
            let (from, to) = (lo.max(half * 64), (lo + len).min(half * 64 + 64));
            if from < to {
                let word = b.extract(128, a, half * 64, 64);
                let part = extract(b, len, piece, i64::from(from - lo), to - from);
                let word = insert(b, 64, word, i64::from(from - half * 64), to - from, part);
                r = b.set_lane(64, r, half, word);
            }
        }
        return r;
    }
    let mut r = piece;
    let mut width = len;
    if lo > 0 {
        let low = b.extract(n, a, 0, lo);
        r = b.concat(width, r, lo, low);
        width += lo;
    }
    if width < n {
        let high = b.extract(n, a, width, n - width);
        r = b.concat(n - width, high, width, r);
    }
    r
}

/// `count` copies of a value of `n` bits.
pub fn replicate<B: Emit>(b: &mut B, n: Width, a: B::V, count: i64) -> B::V {
    let total = n * count as u32;
    if count == 1 {
        return a;
    }
    if n == 1 {
        return b.sext(1, total, a);
    }
    if total == 128 && matches!(n, 8 | 16 | 32 | 64) {
        return b.splat(n, a);
    }
    let (mut r, mut width) = (a, n);
    for _ in 1..count {
        r = b.concat(n, a, width, r);
        width += n;
    }
    r
}

/// Bytes `k..k+16` of `hi:lo`.
pub fn ext<B: Emit>(b: &mut B, lo: B::V, hi: B::V, k: i64) -> B::V {
    match k {
        0 => lo,
        16 => hi,
        _ => b.shuffle(lo, hi, core::array::from_fn(|i| (i as i64 + k) as u8)),
    }
}

/// A helper that gives a value.
pub fn call_value<B: Emit>(b: &mut B, helper: HelperId, args: &[B::V]) -> Result<B::V, Stop> {
    b.call(helper, args)?.ok_or(Stop)
}

#[must_use]
pub const fn rounding(i: i64) -> Rounding {
    match i {
        0 => Rounding::Nearest,
        1 => Rounding::Up,
        2 => Rounding::Down,
        3 => Rounding::Zero,
        4 => Rounding::NearestAway,
        5 => Rounding::Odd,
        _ => Rounding::Dynamic,
    }
}

#[must_use]
pub const fn atomic_op(i: i64) -> AtomicOp {
    match i {
        0 => AtomicOp::Swap,
        1 => AtomicOp::Add,
        2 => AtomicOp::Clear,
        3 => AtomicOp::Xor,
        4 => AtomicOp::Or,
        5 => AtomicOp::SMax,
        6 => AtomicOp::SMin,
        7 => AtomicOp::UMax,
        _ => AtomicOp::UMin,
    }
}

#[must_use]
pub const fn branch_kind(i: i64) -> BranchKind {
    match i {
        0 => BranchKind::Jump,
        1 => BranchKind::Call,
        2 => BranchKind::Return,
        3 => BranchKind::IndirectJump,
        4 => BranchKind::IndirectCall,
        5 => BranchKind::Trampoline,
        _ => BranchKind::Resume,
    }
}

/// The slot of an array element.
#[must_use]
pub const fn element(first: Slot, stride: u32, count: i64, i: i64) -> Slot {
    assert!(i >= 0 && i < count, "index into guest state");
    Slot { offset: first.offset + stride * i as u32, ..first }
}

/// The 16-bit number of a system register.
#[must_use]
pub const fn sysreg_number(op0: i64, op1: i64, crn: i64, crm: i64, op2: i64) -> u16 {
    ((op0 & 3) << 14 | (op1 & 7) << 11 | (crn & 15) << 7 | (crm & 15) << 3 | op2 & 7) as u16
}
