//! Vector operations, lane by lane. Lane widths are 8, 16, 32 and 64.

use super::{aes, mask, sha, signed};
use crate::emit::{VBinOp, VShiftOp, VTernOp, VUnOp, Width};

/// Lane `i` of `e` bits.
#[inline]
#[must_use]
pub fn lane(e: Width, a: u128, i: u32) -> u128 {
    a.checked_shr(i.wrapping_mul(e)).unwrap_or(0) & mask(e)
}

#[inline]
#[must_use]
pub fn set_lane(e: Width, a: u128, i: u32, v: u128) -> u128 {
    let at = i.wrapping_mul(e);
    let hole = mask(e).checked_shl(at).unwrap_or(0);
    (a & !hole) | (v.checked_shl(at).unwrap_or(0) & hole)
}

#[inline]
#[must_use]
pub fn splat(e: Width, v: u128) -> u128 {
    build(e, |_| v)
}

/// Every width that is not a lane width is taken as one, so that the functions are total.
#[inline]
const fn lane_width(e: Width) -> Width {
    match e {
        8 | 16 | 32 | 64 | 128 => e,
        _ => 64,
    }
}

#[inline]
fn build(e: Width, f: impl Fn(u32) -> u128) -> u128 {
    let e = lane_width(e);
    (0..128 / e).fold(0, |r, i| r | ((f(i) & mask(e)) << (i * e)))
}

#[inline]
fn map(e: Width, a: u128, f: impl Fn(u128) -> u128) -> u128 {
    build(e, |i| f(lane(e, a, i)))
}

#[inline]
fn map_signed(e: Width, a: u128, f: impl Fn(i128) -> i128) -> u128 {
    build(e, |i| f(signed(e, lane(e, a, i))) as u128)
}

/// Lanes of `e` bits from lanes of `2e` or `e/2` bits: the result's low `count` lanes.
#[inline]
fn resize(to: Width, count: u32, f: impl Fn(u32) -> u128) -> u128 {
    let to = lane_width(to);
    (0..count.min(128 / to)).fold(0, |r, i| r | ((f(i) & mask(to)) << (i * to)))
}

#[inline]
#[must_use]
pub fn vun(op: VUnOp, e: Width, a: u128) -> u128 {
    let e = lane_width(e).min(64);
    let half = e / 2;
    let narrow = |f: &dyn Fn(i128) -> i128, is_signed: bool| {
        resize(half.max(8), 128 / e, |i| {
            let x = lane(e, a, i);
            f(if is_signed { signed(e, x) } else { x as i128 }) as u128
        })
    };
    match op {
        VUnOp::Neg => map(e, a, u128::wrapping_neg),
        VUnOp::Abs => map_signed(e, a, i128::wrapping_abs),
        VUnOp::Popcnt => map(e, a, |x| u128::from(x.count_ones())),
        VUnOp::Clz => map(e, a, |x| u128::from(e - (128 - x.leading_zeros()))),
        VUnOp::ZextLow => resize(2 * e, 64 / e, |i| lane(e, a, i)),
        VUnOp::SextLow => resize(2 * e, 64 / e, |i| signed(e, lane(e, a, i)) as u128),
        VUnOp::Narrow => narrow(&|x| x, false),
        VUnOp::NarrowSatSS => {
            let max = mask(half.saturating_sub(1)) as i128;
            narrow(&|x| x.clamp(-max - 1, max), true)
        }
        VUnOp::NarrowSatUU => narrow(&|x| x.min(mask(half) as i128), false),
        VUnOp::NarrowSatSU => narrow(&|x| x.clamp(0, mask(half) as i128), true),
        VUnOp::AesSubShift => aes::sub_shift(a),
        VUnOp::AesInvSubShift => aes::inv_sub_shift(a),
        VUnOp::AesMixColumns => aes::mix_columns(a),
        VUnOp::AesInvMixColumns => aes::inv_mix_columns(a),
    }
}

/// Carry-less product of two values of at most 64 bits.
#[inline]
fn carryless(a: u128, b: u128) -> u128 {
    (0..64).fold(0, |r, i| if b >> i & 1 != 0 { r ^ (a << i) } else { r })
}

/// `x` shifted by the signed low byte of `by`: left when positive.
#[inline]
fn shift_lane(e: Width, x: i128, by: u128) -> u128 {
    let by = i32::from(by as i8);
    if by >= 0 { if by as u32 >= e { 0 } else { (x as u128) << by } } else { (x >> by.unsigned_abs().min(127)) as u128 }
}

#[inline]
#[must_use]
pub fn vbin(op: VBinOp, e: Width, a: u128, b: u128) -> u128 {
    let e = lane_width(e).min(64);
    let count = 128 / e;
    let u = |f: &dyn Fn(u128, u128) -> u128| build(e, |i| f(lane(e, a, i), lane(e, b, i)));
    let s =
        |f: &dyn Fn(i128, i128) -> i128| build(e, |i| f(signed(e, lane(e, a, i)), signed(e, lane(e, b, i))) as u128);
    let all = |c: bool| if c { u128::MAX } else { 0 };
    let max = mask(e - 1) as i128;
    let umax = mask(e);
    match op {
        VBinOp::Add => u(&|x, y| x + y),
        VBinOp::Sub => u(&u128::wrapping_sub),
        VBinOp::Mul => u(&|x, y| x * y),
        VBinOp::CmpEq => u(&|x, y| all(x == y)),
        VBinOp::CmpSgt => s(&|x, y| all(x > y) as i128),
        VBinOp::CmpSge => s(&|x, y| all(x >= y) as i128),
        VBinOp::CmpUgt => u(&|x, y| all(x > y)),
        VBinOp::CmpUge => u(&|x, y| all(x >= y)),
        VBinOp::SMin => s(&i128::min),
        VBinOp::SMax => s(&i128::max),
        VBinOp::UMin => u(&u128::min),
        VBinOp::UMax => u(&u128::max),
        VBinOp::SAddSat => s(&|x, y| (x + y).clamp(-max - 1, max)),
        VBinOp::UAddSat => u(&|x, y| (x + y).min(umax)),
        VBinOp::SSubSat => s(&|x, y| (x - y).clamp(-max - 1, max)),
        VBinOp::USubSat => u(&u128::saturating_sub),
        VBinOp::UAvgRound => u(&|x, y| (x + y + 1) >> 1),
        VBinOp::UAbd => u(&u128::abs_diff),
        VBinOp::SAbd => s(&|x, y| (x - y).abs()),
        VBinOp::UMulLow => resize(2 * e, count / 2, |i| lane(e, a, i) * lane(e, b, i)),
        VBinOp::SMulLow => {
            resize(2 * e, count / 2, |i| signed(e, lane(e, a, i)).wrapping_mul(signed(e, lane(e, b, i))) as u128)
        }
        VBinOp::PMulLow => resize(2 * e, count / 2, |i| carryless(lane(e, a, i), lane(e, b, i))),
        VBinOp::AddPairs => build(e, |i| {
            let from = if i < count / 2 { a } else { b };
            let pair = 2 * (i % (count / 2));
            lane(e, from, pair) + lane(e, from, pair + 1)
        }),
        VBinOp::UShlVar => build(e, |i| shift_lane(e, lane(e, a, i) as i128, lane(e, b, i))),
        VBinOp::SShlVar => build(e, |i| shift_lane(e, signed(e, lane(e, a, i)), lane(e, b, i))),
        VBinOp::ZipLow => build(e, |i| lane(e, if i % 2 == 0 { a } else { b }, i / 2)),
        VBinOp::ZipHigh => build(e, |i| lane(e, if i % 2 == 0 { a } else { b }, (count + i) / 2)),
        VBinOp::UnzipEven => build(e, |i| unzip_lane(e, a, b, i, 0)),
        VBinOp::UnzipOdd => build(e, |i| unzip_lane(e, a, b, i, 1)),
        VBinOp::TransEven => build(e, |i| lane(e, if i % 2 == 0 { a } else { b }, i & !1)),
        VBinOp::TransOdd => build(e, |i| lane(e, if i % 2 == 0 { a } else { b }, i | 1)),
        VBinOp::Table => {
            let (table, index) = (a.to_le_bytes(), b.to_le_bytes());
            u128::from_le_bytes(index.map(|i| table.get(usize::from(i)).copied().unwrap_or(0)))
        }
        VBinOp::SatDiff => a ^ b,
        VBinOp::Sha1Choose => sha::sha1_rounds(sha::choose, a, b),
        VBinOp::Sha1Parity => sha::sha1_rounds(sha::parity, a, b),
        VBinOp::Sha1Majority => sha::sha1_rounds(sha::majority, a, b),
        VBinOp::Sha1Schedule => sha::sha1_schedule(a, b),
        VBinOp::Sha256Schedule0 => sha::sha256_schedule0(a, b),
        VBinOp::Sha256Schedule1 => sha::sha256_schedule1(a, b),
    }
}

/// `_e` is 32.
#[inline]
#[must_use]
pub fn vtern(op: VTernOp, _e: Width, a: u128, b: u128, c: u128) -> u128 {
    match op {
        VTernOp::Sha256Rounds => sha::sha256_rounds(a, b, c),
    }
}

/// Lane `i` of the even (`odd` = 0) or odd lanes of `b:a`.
#[inline]
fn unzip_lane(e: Width, a: u128, b: u128, i: u32, odd: u32) -> u128 {
    let from = 2 * i + odd;
    let count = 128 / e;
    if from < count { lane(e, a, from) } else { lane(e, b, from - count) }
}

#[inline]
#[must_use]
pub fn vshift(op: VShiftOp, e: Width, a: u128, amount: u32) -> u128 {
    let e = lane_width(e).min(64);
    let amount = amount.min(e);
    match op {
        VShiftOp::Shl => map(e, a, |x| x << amount),
        VShiftOp::Shr => map(e, a, |x| x >> amount),
        VShiftOp::Sar => map_signed(e, a, |x| x >> amount),
    }
}

#[inline]
#[must_use]
pub fn shuffle(a: u128, b: u128, idx: [u8; 16]) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u128::from_le_bytes(idx.map(|i| match i {
        0..16 => a[usize::from(i)],
        16..32 => b[usize::from(i - 16)],
        _ => 0,
    }))
}
