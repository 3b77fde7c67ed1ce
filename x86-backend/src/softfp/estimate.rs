//! Reciprocal and reciprocal square root estimates (8 bits of precision, exactly as the Arm Architecture Reference
//! Manual defines them), and the reciprocal exponent.

use super::{Class, Ieee, resolve};
use crate::emit::Rounding;
use crate::runtime::FpEnv;

/// Estimate of 1/x: `x` and the result in units of 1/512 and 1/256, 256..=511. Also what URECPE is made of.
#[must_use]
pub const fn recip_table(x: u32) -> u32 {
    // Round to nearest of the reciprocal of the middle of x's interval.
    let middle = 2 * x + 1;
    ((1u32 << 19) / middle).div_ceil(2)
}

/// Estimate of 1/sqrt(x): `x` in units of 1/512, 128..=511; the result in units of 1/256, 256..=511.
#[must_use]
pub fn rsqrt_table(x: u32) -> u32 {
    static TABLE: [u16; 384] = {
        let mut table = [0; 384];
        let mut x = 128;
        while x < 512 {
            table[x as usize - 128] = rsqrt(x) as u16;
            x += 1;
        }
        table
    };
    TABLE[x as usize - 128].into()
}

const fn rsqrt(x: u32) -> u32 {
    let middle = if x < 256 { 2 * x + 1 } else { ((x & !1) + 1) * 2 };
    // The largest b with middle * b^2 < 2^28.
    (((1u32 << 28) - 1) / middle).isqrt().div_ceil(2)
}

impl<const W: u32, const M: u32> Ieee<W, M> {
    pub(super) fn recip_estimate(env: &mut FpEnv, a: u64) -> u64 {
        let u = Self::unpack(env, a);
        match u.class {
            Class::Quiet | Class::Signaling => return Self::propagate(env, &[(a, u)]).unwrap_or(a),
            Class::Inf => return Self::signed(u.sign, 0),
            Class::Zero => {
                env.raised |= FpEnv::DIV_BY_ZERO;
                return Self::signed(u.sign, Self::INF);
            }
            Class::Finite => {}
        }
        if u.exp < -1 - Self::BIAS {
            env.raised |= FpEnv::OVERFLOW | FpEnv::INEXACT;
            let to_inf = match resolve(env, Rounding::Dynamic) {
                Rounding::Up => !u.sign,
                Rounding::Down => u.sign,
                Rounding::Zero => false,
                _ => true,
            };
            return Self::signed(u.sign, if to_inf { Self::INF } else { Self::MAX_NORMAL });
        }
        if u.exp >= Self::BIAS - 1 && Self::flushes(env) {
            env.raised |= FpEnv::UNDERFLOW;
            return Self::signed(u.sign, 0);
        }
        let estimate = u64::from(recip_table((u.sig >> 55) as u32));
        // 1.f * 2^(-1 - exp), exact in nine bits also when denormal.
        Self::round(env, Rounding::Zero, u.sign, -1 - u.exp, estimate << 55)
    }

    pub(super) fn rsqrt_estimate(env: &mut FpEnv, a: u64) -> u64 {
        let u = Self::unpack(env, a);
        match u.class {
            Class::Quiet | Class::Signaling => return Self::propagate(env, &[(a, u)]).unwrap_or(a),
            Class::Zero => {
                env.raised |= FpEnv::DIV_BY_ZERO;
                return Self::signed(u.sign, Self::INF);
            }
            _ if u.sign => return Self::invalid(env),
            Class::Inf => return 0,
            Class::Finite => {}
        }
        // In [0.25, 1) with an even power of two taken out.
        let odd = u.exp & 1;
        let scaled = (u.sig >> (56 - odd)) as u32;
        let estimate = u64::from(rsqrt_table(scaled));
        let exp = -1 - (u.exp >> 1);
        Self::round(env, Rounding::Zero, false, exp, estimate << 55)
    }

    pub(super) fn recip_exponent(env: &mut FpEnv, a: u64) -> u64 {
        let u = Self::unpack(env, a);
        if u.is_nan() {
            return Self::propagate(env, &[(a, u)]).unwrap_or(a);
        }
        let biased = a >> M & Self::EXP_MAX;
        let inverted = if biased == 0 { Self::EXP_MAX - 1 } else { !biased & Self::EXP_MAX };
        Self::signed(u.sign, inverted << M)
    }
}
