//! IEEE 754 binary arithmetic in integers, with the flavour that the floating-point environment of a guest describes
//! ([`FpEnv`]): NaN propagation by operand order, default NaNs, flushing to zero, the alternative half-precision
//! format, tininess detected before rounding.
//!
//! [`Ieee`] is one format: `W` bits in all, `M` of them explicit significand. Values are bit patterns in a `u64`. A
//! finite number is computed with as `sig / 2^63 * 2^exp` with the top bit of `sig` set; bits that don't fit are
//! collected in its lowest bit ("jamming"), which leaves rounding exact because no format has more than 53 bits.
//!
//! This is the path for everything that the host's unit can't do bit for bit, and the reference for what it does.

mod arith;
mod convert;
mod estimate;
#[cfg(test)]
mod host_tests;

pub use convert::convert;
pub use estimate::{recip_table, rsqrt_table};

use crate::emit::Rounding;
use crate::runtime::FpEnv;

/// A binary interchange format.
pub struct Ieee<const W: u32, const M: u32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Zero,
    Finite,
    Inf,
    Quiet,
    Signaling,
}

/// A value taken apart. `exp` and `sig` are meaningful for [`Class::Finite`].
#[derive(Clone, Copy, Debug)]
struct Unpacked {
    class: Class,
    sign: bool,
    exp: i32,
    sig: u64,
}

impl Unpacked {
    const fn is_nan(self) -> bool {
        matches!(self.class, Class::Quiet | Class::Signaling)
    }
}

/// A nonzero or zero exact sum or product: `sig / 2^127 * 2^exp`, top bit of `sig` set unless it is zero.
#[derive(Clone, Copy, Debug)]
struct Wide {
    sign: bool,
    exp: i32,
    sig: u128,
}

impl Wide {
    const fn of(u: Unpacked) -> Self {
        Self { sign: u.sign, exp: u.exp, sig: (u.sig as u128) << 64 }
    }

    const fn product(a: Unpacked, b: Unpacked) -> Self {
        let p = a.sig as u128 * b.sig as u128;
        let shift = p.leading_zeros();
        Self { sign: a.sign != b.sign, exp: a.exp + b.exp + 1 - shift as i32, sig: p << shift }
    }

    /// Exact up to jamming; a zero result has `sig` = 0.
    fn sum(self, other: Self) -> Self {
        let (a, b) = if (self.exp, self.sig) >= (other.exp, other.sig) { (self, other) } else { (other, self) };
        let big = a.sig >> 1;
        let small = shift_right_jam(b.sig >> 1, (a.exp - b.exp) as u32);
        let sig = if a.sign == b.sign { big + small } else { big - small };
        let shift = sig.leading_zeros();
        if sig == 0 { Self { sig, ..a } } else { Self { sig: sig << shift, exp: a.exp + 1 - shift as i32, ..a } }
    }

    /// The significand in 64 bits.
    const fn narrow(self) -> u64 {
        (self.sig >> 64) as u64 | (self.sig as u64 != 0) as u64
    }
}

const fn shift_right_jam(x: u128, by: u32) -> u128 {
    if by >= 128 {
        return (x != 0) as u128;
    }
    (x >> by) | ((x & ((1 << by) - 1) != 0) as u128)
}

/// The rounding to use: `rounding`, or what the environment says.
fn resolve(env: &FpEnv, rounding: Rounding) -> Rounding {
    match rounding {
        Rounding::Dynamic if env.control & FpEnv::TO_ODD != 0 => Rounding::Odd,
        Rounding::Dynamic => match env.control & FpEnv::ROUNDING {
            0 => Rounding::Nearest,
            1 => Rounding::Up,
            2 => Rounding::Down,
            _ => Rounding::Zero,
        },
        fixed => fixed,
    }
}

/// Whether a magnitude with low bit `odd` and the fraction `rest` of `2 * half` beyond it is rounded up.
const fn rounds_up(rounding: Rounding, sign: bool, odd: bool, rest: u64, half: u64) -> bool {
    match rounding {
        Rounding::Nearest | Rounding::Dynamic => rest > half || (rest == half && odd),
        Rounding::NearestAway => rest >= half,
        Rounding::Up => !sign && rest != 0,
        Rounding::Down => sign && rest != 0,
        Rounding::Zero => false,
        Rounding::Odd => rest != 0 && !odd,
    }
}

impl<const W: u32, const M: u32> Ieee<W, M> {
    const SIGN: u64 = 1 << (W - 1);
    const BIAS: i32 = (1 << (W - M - 2)) - 1;
    /// Biased exponent of infinities and NaNs.
    const EXP_MAX: u64 = (1 << (W - M - 1)) - 1;
    const INF: u64 = Self::EXP_MAX << M;
    const FRACTION: u64 = (1 << M) - 1;
    const QUIET: u64 = 1 << (M - 1);
    const DEFAULT_NAN: u64 = Self::INF | Self::QUIET;
    const MAX_NORMAL: u64 = Self::INF - 1;
    const ONE: u64 = (Self::BIAS as u64) << M;

    const fn signed(sign: bool, magnitude: u64) -> u64 {
        if sign { magnitude | Self::SIGN } else { magnitude }
    }

    /// Whether denormals of this format are flushed by arithmetic.
    const fn flushes(env: &FpEnv) -> bool {
        env.control & if W == 16 { FpEnv::FLUSH16 } else { FpEnv::FLUSH } != 0
    }

    /// Takes an operand of an arithmetic operation apart.
    fn unpack(env: &mut FpEnv, x: u64) -> Unpacked {
        let flush = Self::flushes(env);
        Self::unpack_as(env, x, flush, false)
    }

    /// `flush`: denormals are zero; `alternative`: no infinities and NaNs.
    fn unpack_as(env: &mut FpEnv, x: u64, flush: bool, alternative: bool) -> Unpacked {
        let sign = x & Self::SIGN != 0;
        let fraction = x & Self::FRACTION;
        let biased = x >> M & Self::EXP_MAX;
        let special = |class| Unpacked { class, sign, exp: 0, sig: 0 };
        if biased == 0 {
            if fraction == 0 {
                return special(Class::Zero);
            }
            if flush {
                // Half precision has no input-denormal exception.
                if W != 16 {
                    env.raised |= FpEnv::INPUT_DENORMAL;
                }
                return special(Class::Zero);
            }
            let shift = fraction.leading_zeros();
            let exp = 1 - Self::BIAS - (shift as i32 - (63 - M as i32));
            return Unpacked { class: Class::Finite, sign, exp, sig: fraction << shift };
        }
        if biased == Self::EXP_MAX && !alternative {
            return special(match fraction {
                0 => Class::Inf,
                f if f & Self::QUIET != 0 => Class::Quiet,
                _ => Class::Signaling,
            });
        }
        let sig = (fraction | (1 << M)) << (63 - M);
        Unpacked { class: Class::Finite, sign, exp: biased as i32 - Self::BIAS, sig }
    }

    /// The result for a NaN operand.
    fn quieted(env: &FpEnv, x: u64) -> u64 {
        if env.control & FpEnv::DEFAULT_NAN != 0 { Self::DEFAULT_NAN } else { x | Self::QUIET }
    }

    /// If an operand is a NaN, the operation's result: the first signaling one, else the first quiet one.
    fn propagate(env: &mut FpEnv, operands: &[(u64, Unpacked)]) -> Option<u64> {
        if !operands.iter().any(|(_, u)| u.is_nan()) {
            return None;
        }
        let first = |class| operands.iter().find(|(_, u)| u.class == class).map(|&(x, _)| x);
        if let Some(x) = first(Class::Signaling) {
            env.raised |= FpEnv::INVALID;
            return Some(Self::quieted(env, x));
        }
        first(Class::Quiet).map(|x| Self::quieted(env, x))
    }

    /// The result of an invalid operation.
    fn invalid(env: &mut FpEnv) -> u64 {
        env.raised |= FpEnv::INVALID;
        Self::DEFAULT_NAN
    }

    /// The sign of an exact zero sum of operands with different signs.
    fn zero_sum(env: &FpEnv) -> u64 {
        Self::signed(resolve(env, Rounding::Dynamic) == Rounding::Down, 0)
    }

    fn round_wide(env: &mut FpEnv, w: Wide) -> u64 {
        if w.sig == 0 {
            return Self::zero_sum(env);
        }
        Self::round(env, Rounding::Dynamic, w.sign, w.exp, w.narrow())
    }

    /// Rounds an arithmetic result.
    fn round(env: &mut FpEnv, rounding: Rounding, sign: bool, exp: i32, sig: u64) -> u64 {
        let flush = Self::flushes(env);
        Self::round_as(env, rounding, sign, exp, sig, flush, false)
    }

    #[allow(clippy::too_many_arguments)]
    fn round_as(
        env: &mut FpEnv,
        rounding: Rounding,
        sign: bool,
        exp: i32,
        sig: u64,
        flush: bool,
        alternative: bool,
    ) -> u64 {
        let rounding = resolve(env, rounding);
        let min_exp = 1 - Self::BIAS;
        let tiny = exp < min_exp;
        if tiny && flush {
            env.raised |= FpEnv::UNDERFLOW;
            return Self::signed(sign, 0);
        }
        let sig = if tiny { shift_right_jam(sig as u128, (min_exp - exp) as u32) as u64 } else { sig };
        let beyond = 63 - M;
        let rest = sig & ((1 << beyond) - 1);
        let kept = sig >> beyond;
        let up = rounds_up(rounding, sign, kept & 1 != 0, rest, 1 << (beyond - 1));
        let kept = kept + u64::from(up);
        // The hidden bit counts as one in the exponent field; a carry out of the significand carries into it.
        let field = if tiny { 0 } else { (exp + Self::BIAS - 1) as u64 };
        let end = if alternative { Self::SIGN } else { Self::INF };
        let magnitude = (field << M) + kept;
        if field > Self::EXP_MAX || magnitude >= end {
            if alternative {
                env.raised |= FpEnv::INVALID;
                return Self::signed(sign, Self::SIGN - 1);
            }
            env.raised |= FpEnv::OVERFLOW | FpEnv::INEXACT;
            let to_inf = match rounding {
                Rounding::Up => !sign,
                Rounding::Down => sign,
                Rounding::Zero => false,
                Rounding::Odd => env.control & FpEnv::TO_ODD != 0,
                Rounding::Nearest | Rounding::NearestAway | Rounding::Dynamic => true,
            };
            return Self::signed(sign, if to_inf { Self::INF } else { Self::MAX_NORMAL });
        }
        if rest != 0 {
            env.raised |= if tiny { FpEnv::INEXACT | FpEnv::UNDERFLOW } else { FpEnv::INEXACT };
        }
        Self::signed(sign, magnitude)
    }
}
