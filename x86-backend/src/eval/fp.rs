//! Floating-point operations over lanes: [`crate::softfp`] applied to scalars and vectors.
//!
//! One lane is a scalar of the format's width; otherwise the low `lanes` lanes of a vector are computed, the others
//! are zero.

use crate::emit::{FpBinOp, FpCmpOp, FpFmt, FpUnOp, Rounding, Width};
use crate::runtime::FpEnv;
use crate::softfp::{self, Ieee};

use super::{lane, mask, signed};

/// `f` on each of the low lanes.
#[inline]
fn per_lane(fmt: FpFmt, lanes: u32, mut f: impl FnMut(u32) -> u64) -> u128 {
    let e = fmt.width();
    (0..lanes.min(128 / e)).fold(0, |r, i| r | ((u128::from(f(i)) & mask(e)) << (i * e)))
}

/// `softfp`'s function for a format known at run time.
macro_rules! for_format {
    ($fmt:expr, $f:ident($($arg:expr),*)) => {
        match $fmt {
            FpFmt::F16 => Ieee::<16, 10>::$f($($arg),*),
            FpFmt::F32 => Ieee::<32, 23>::$f($($arg),*),
            FpFmt::F64 => Ieee::<64, 52>::$f($($arg),*),
        }
    };
}

#[must_use]
pub fn un(env: &mut FpEnv, op: FpUnOp, fmt: FpFmt, lanes: u32, a: u128) -> u128 {
    per_lane(fmt, lanes, |i| {
        let a = lane(fmt.width(), a, i) as u64;
        for_format!(fmt, un(env, op, a))
    })
}

#[must_use]
pub fn bin(env: &mut FpEnv, op: FpBinOp, fmt: FpFmt, lanes: u32, a: u128, b: u128) -> u128 {
    per_lane(fmt, lanes, |i| {
        let (a, b) = (lane(fmt.width(), a, i) as u64, lane(fmt.width(), b, i) as u64);
        for_format!(fmt, bin(env, op, a, b))
    })
}

/// `addend + x * y`.
#[must_use]
pub fn fma(env: &mut FpEnv, fmt: FpFmt, lanes: u32, addend: u128, x: u128, y: u128) -> u128 {
    let get = |v, i| lane(fmt.width(), v, i) as u64;
    per_lane(fmt, lanes, |i| for_format!(fmt, fma(env, get(addend, i), get(x, i), get(y, i))))
}

#[must_use]
pub fn cmp(env: &mut FpEnv, op: FpCmpOp, fmt: FpFmt, lanes: u32, a: u128, b: u128) -> u128 {
    per_lane(fmt, lanes, |i| {
        let (a, b) = (lane(fmt.width(), a, i) as u64, lane(fmt.width(), b, i) as u64);
        if for_format!(fmt, cmp(env, op, a, b)) { u64::MAX } else { 0 }
    })
}

/// N:Z:C:V of the comparison of two scalars.
#[must_use]
pub fn cmp_flags(env: &mut FpEnv, fmt: FpFmt, signaling: bool, a: u128, b: u128) -> u128 {
    let e = fmt.width();
    u128::from(for_format!(fmt, cmp_flags(env, signaling, lane(e, a, 0) as u64, lane(e, b, 0) as u64)))
}

#[must_use]
pub fn convert(env: &mut FpEnv, from: FpFmt, to: FpFmt, rounding: Rounding, a: u128) -> u128 {
    let a = lane(from.width(), a, 0) as u64;
    u128::from(softfp::convert(env, from, to, rounding, a))
}

#[must_use]
pub fn to_int(env: &mut FpEnv, fmt: FpFmt, n: Width, is_signed: bool, fbits: u32, rounding: Rounding, a: u128) -> u128 {
    let a = lane(fmt.width(), a, 0) as u64;
    u128::from(for_format!(fmt, to_int(env, n, is_signed, fbits, rounding, a)))
}

#[must_use]
pub fn from_int(env: &mut FpEnv, n: Width, is_signed: bool, fbits: u32, fmt: FpFmt, a: u128) -> u128 {
    let n = n.min(64);
    let value = if is_signed { signed(n, a) } else { (a & mask(n)) as i128 };
    u128::from(for_format!(fmt, from_int(env, value, fbits)))
}
