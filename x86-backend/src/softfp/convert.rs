//! Conversions: between formats, to and from integers, to an integral value.

use super::{Class, Ieee, Unpacked, resolve, rounds_up, shift_right_jam};
use crate::emit::{FpFmt, Rounding};
use crate::runtime::FpEnv;

/// The integral part of a finite magnitude times 2^`scale`, rounded, and whether that was inexact. Saturates at
/// 2^64.
fn integral(rounding: Rounding, u: Unpacked, scale: i32) -> (u128, bool) {
    let exp = u.exp + scale;
    if exp >= 64 {
        return (1 << 64, false);
    }
    // 64 bits before the binary point, 64 after it.
    let fixed = shift_right_jam(u128::from(u.sig) << 64, (63 - exp) as u32);
    let (whole, rest) = ((fixed >> 64) as u64, fixed as u64);
    let up = rounds_up(rounding, u.sign, whole & 1 != 0, rest, 1 << 63);
    (u128::from(whole) + u128::from(up), rest != 0)
}

impl<const W: u32, const M: u32> Ieee<W, M> {
    /// To the nearest value of `n` bits (at most 64) of `a * 2^fbits`; NaN gives 0.
    #[must_use]
    pub fn to_int(env: &mut FpEnv, n: u32, signed: bool, fbits: u32, rounding: Rounding, a: u64) -> u64 {
        let n = n.clamp(1, 64);
        let u = Self::unpack(env, a);
        let (magnitude, inexact) = match u.class {
            Class::Quiet | Class::Signaling => {
                env.raised |= FpEnv::INVALID;
                return 0;
            }
            Class::Zero => return 0,
            Class::Inf => (1 << 64, false),
            Class::Finite => integral(resolve(env, rounding), u, fbits as i32),
        };
        let limit = match (signed, u.sign) {
            (false, false) => (1 << n) - 1,
            (false, true) => 0,
            (true, false) => (1 << (n - 1)) - 1,
            (true, true) => 1 << (n - 1),
        };
        if magnitude > limit {
            env.raised |= FpEnv::INVALID;
        } else if inexact {
            env.raised |= FpEnv::INEXACT;
        }
        let value = magnitude.min(limit) as u64;
        let value = if u.sign { value.wrapping_neg() } else { value };
        value & (u64::MAX >> (64 - n))
    }

    /// `value / 2^fbits`.
    #[must_use]
    pub fn from_int(env: &mut FpEnv, value: i128, fbits: u32) -> u64 {
        let magnitude = value.unsigned_abs() as u64;
        if magnitude == 0 {
            return 0;
        }
        let shift = magnitude.leading_zeros();
        let exp = 63 - shift as i32 - fbits as i32;
        Self::round(env, Rounding::Dynamic, value < 0, exp, magnitude << shift)
    }

    /// To an integral value of the same format.
    pub(super) fn round_int(env: &mut FpEnv, rounding: Rounding, exact: bool, a: u64) -> u64 {
        let u = Self::unpack(env, a);
        match u.class {
            Class::Quiet | Class::Signaling => Self::propagate(env, &[(a, u)]).unwrap_or(a),
            Class::Inf => a,
            Class::Zero => Self::signed(u.sign, 0),
            Class::Finite if u.exp >= M as i32 => a,
            Class::Finite => {
                let (magnitude, inexact) = integral(resolve(env, rounding), u, 0);
                if exact && inexact {
                    env.raised |= FpEnv::INEXACT;
                }
                let magnitude = magnitude as u64;
                if magnitude == 0 {
                    return Self::signed(u.sign, 0);
                }
                let shift = magnitude.leading_zeros();
                Self::round(env, Rounding::Zero, u.sign, 63 - shift as i32, magnitude << shift)
            }
        }
    }
}

/// From one format to another. Half precision is the alternative format when the environment says so; its denormals
/// are never flushed by conversions.
#[must_use]
pub fn convert(env: &mut FpEnv, from: FpFmt, to: FpFmt, rounding: Rounding, a: u64) -> u64 {
    match (from, to) {
        (FpFmt::F16, FpFmt::F32) => between::<16, 10, 32, 23>(env, rounding, a),
        (FpFmt::F16, FpFmt::F64) => between::<16, 10, 64, 52>(env, rounding, a),
        (FpFmt::F32, FpFmt::F16) => between::<32, 23, 16, 10>(env, rounding, a),
        (FpFmt::F32, FpFmt::F64) => between::<32, 23, 64, 52>(env, rounding, a),
        (FpFmt::F64, FpFmt::F16) => between::<64, 52, 16, 10>(env, rounding, a),
        (FpFmt::F64, FpFmt::F32) => between::<64, 52, 32, 23>(env, rounding, a),
        (FpFmt::F16, FpFmt::F16) | (FpFmt::F32, FpFmt::F32) | (FpFmt::F64, FpFmt::F64) => a,
    }
}

fn between<const W: u32, const M: u32, const V: u32, const N: u32>(env: &mut FpEnv, rounding: Rounding, a: u64) -> u64 {
    let alternative = env.control & FpEnv::ALT_HALF != 0;
    let flush = env.control & FpEnv::FLUSH != 0;
    let u = Ieee::<W, M>::unpack_as(env, a, flush && W != 16, alternative && W == 16);
    let alternative = alternative && V == 16;
    let signed = Ieee::<V, N>::signed;
    match u.class {
        Class::Quiet | Class::Signaling => {
            if u.class == Class::Signaling || alternative {
                env.raised |= FpEnv::INVALID;
            }
            if alternative {
                signed(u.sign, 0)
            } else if env.control & FpEnv::DEFAULT_NAN != 0 {
                Ieee::<V, N>::DEFAULT_NAN
            } else {
                // The payload keeps its most significant bits.
                let payload = (a & Ieee::<W, M>::FRACTION) << (63 - M) >> (63 - N);
                signed(u.sign, Ieee::<V, N>::DEFAULT_NAN | payload)
            }
        }
        Class::Inf if alternative => {
            env.raised |= FpEnv::INVALID;
            signed(u.sign, Ieee::<V, N>::SIGN - 1)
        }
        Class::Inf => signed(u.sign, Ieee::<V, N>::INF),
        Class::Zero => signed(u.sign, 0),
        Class::Finite => Ieee::<V, N>::round_as(env, rounding, u.sign, u.exp, u.sig, flush && V != 16, alternative),
    }
}
