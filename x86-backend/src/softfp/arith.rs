//! Addition, multiplication, division, square root, fused operations, minimum and maximum, comparison.

use super::{Class, Ieee, Unpacked, Wide};
use crate::emit::{FpBinOp, FpCmpOp, FpUnOp, Rounding};
use crate::runtime::FpEnv;
use core::cmp::Ordering;

impl<const W: u32, const M: u32> Ieee<W, M> {
    #[must_use]
    pub fn un(env: &mut FpEnv, op: FpUnOp, a: u64) -> u64 {
        match op {
            FpUnOp::Sqrt => Self::sqrt(env, a),
            FpUnOp::RoundInt { rounding, exact } => Self::round_int(env, rounding, exact, a),
            FpUnOp::RecipEstimate => Self::recip_estimate(env, a),
            FpUnOp::RsqrtEstimate => Self::rsqrt_estimate(env, a),
            FpUnOp::RecipExponent => Self::recip_exponent(env, a),
        }
    }

    #[must_use]
    pub fn bin(env: &mut FpEnv, op: FpBinOp, a: u64, b: u64) -> u64 {
        match op {
            FpBinOp::Add => Self::add(env, a, b, false),
            FpBinOp::Sub => Self::add(env, a, b, true),
            FpBinOp::Mul => Self::mul(env, a, b, false),
            FpBinOp::MulX => Self::mul(env, a, b, true),
            FpBinOp::Div => Self::div(env, a, b),
            FpBinOp::Min => Self::min_max(env, a, b, Ordering::Less),
            FpBinOp::Max => Self::min_max(env, a, b, Ordering::Greater),
            FpBinOp::MinNum => Self::min_max_num(env, a, b, Ordering::Less),
            FpBinOp::MaxNum => Self::min_max_num(env, a, b, Ordering::Greater),
            FpBinOp::RecipStep => Self::step(env, a, b, Self::ONE + (1 << M), 0),
            FpBinOp::RsqrtStep => Self::step(env, a, b, Self::ONE + (3 << (M - 1)), 1),
            FpBinOp::Abd => Self::add(env, a, b, true) & !Self::SIGN,
            FpBinOp::AddOdd => Self::add(&mut Self::odd_environment(), a, b, false),
            FpBinOp::MulOdd => Self::mul(&mut Self::odd_environment(), a, b, false),
        }
    }

    /// The environment of [`FpBinOp::AddOdd`] and [`FpBinOp::MulOdd`]; flags raised in it are lost.
    fn odd_environment() -> FpEnv {
        let control = FpEnv::TO_ODD | FpEnv::DEFAULT_NAN | if W == 16 { FpEnv::FLUSH16 } else { FpEnv::FLUSH };
        FpEnv { control, ..FpEnv::default() }
    }

    fn add(env: &mut FpEnv, a: u64, b: u64, subtract: bool) -> u64 {
        let (ua, mut ub) = (Self::unpack(env, a), Self::unpack(env, b));
        if let Some(nan) = Self::propagate(env, &[(a, ua), (b, ub)]) {
            return nan;
        }
        ub.sign ^= subtract;
        Self::sum(env, ua, ub)
    }

    /// Neither operand is a NaN.
    fn sum(env: &mut FpEnv, a: Unpacked, b: Unpacked) -> u64 {
        match (a.class, b.class) {
            (Class::Inf, Class::Inf) if a.sign != b.sign => Self::invalid(env),
            (Class::Inf, _) => Self::signed(a.sign, Self::INF),
            (_, Class::Inf) => Self::signed(b.sign, Self::INF),
            (Class::Zero, Class::Zero) if a.sign == b.sign => Self::signed(a.sign, 0),
            (Class::Zero, Class::Zero) => Self::zero_sum(env),
            (_, Class::Zero) => Self::round_wide(env, Wide::of(a)),
            (Class::Zero, _) => Self::round_wide(env, Wide::of(b)),
            _ => Self::round_wide(env, Wide::of(a).sum(Wide::of(b))),
        }
    }

    /// `extended`: zero times infinity is two.
    fn mul(env: &mut FpEnv, a: u64, b: u64, extended: bool) -> u64 {
        let (ua, ub) = (Self::unpack(env, a), Self::unpack(env, b));
        if let Some(nan) = Self::propagate(env, &[(a, ua), (b, ub)]) {
            return nan;
        }
        let sign = ua.sign != ub.sign;
        match (ua.class, ub.class) {
            (Class::Inf, Class::Zero) | (Class::Zero, Class::Inf) if extended => {
                Self::signed(sign, Self::ONE + (1 << M))
            }
            (Class::Inf, Class::Zero) | (Class::Zero, Class::Inf) => Self::invalid(env),
            (Class::Inf, _) | (_, Class::Inf) => Self::signed(sign, Self::INF),
            (Class::Zero, _) | (_, Class::Zero) => Self::signed(sign, 0),
            _ => Self::round_wide(env, Wide::product(ua, ub)),
        }
    }

    fn div(env: &mut FpEnv, a: u64, b: u64) -> u64 {
        let (ua, ub) = (Self::unpack(env, a), Self::unpack(env, b));
        if let Some(nan) = Self::propagate(env, &[(a, ua), (b, ub)]) {
            return nan;
        }
        let sign = ua.sign != ub.sign;
        match (ua.class, ub.class) {
            (Class::Inf, Class::Inf) | (Class::Zero, Class::Zero) => Self::invalid(env),
            (Class::Inf, _) => Self::signed(sign, Self::INF),
            (_, Class::Zero) => {
                env.raised |= FpEnv::DIV_BY_ZERO;
                Self::signed(sign, Self::INF)
            }
            (Class::Zero, _) | (_, Class::Inf) => Self::signed(sign, 0),
            _ => {
                let dividend = u128::from(ua.sig) << 63;
                let divisor = u128::from(ub.sig);
                let quotient = (dividend / divisor) as u64;
                let sticky = u64::from(u128::from(quotient) * divisor != dividend);
                let shift = quotient.leading_zeros();
                let sig = ((quotient | sticky) << shift) | sticky;
                Self::round(env, Rounding::Dynamic, sign, ua.exp - ub.exp - shift as i32, sig)
            }
        }
    }

    fn sqrt(env: &mut FpEnv, a: u64) -> u64 {
        let u = Self::unpack(env, a);
        match u.class {
            Class::Quiet | Class::Signaling => Self::propagate(env, &[(a, u)]).unwrap_or(a),
            Class::Zero => Self::signed(u.sign, 0),
            _ if u.sign => Self::invalid(env),
            Class::Inf => Self::INF,
            Class::Finite => {
                // An even exponent, so that the root's is half of it.
                let square = u128::from(u.sig) << (63 + (u.exp & 1));
                let root = square.isqrt() as u64;
                let sticky = u64::from(u128::from(root) * u128::from(root) != square);
                Self::round(env, Rounding::Dynamic, false, u.exp >> 1, root | sticky)
            }
        }
    }

    /// `addend + x * y`, rounded once.
    #[must_use]
    pub fn fma(env: &mut FpEnv, addend: u64, x: u64, y: u64) -> u64 {
        let (ua, ux, uy) = (Self::unpack(env, addend), Self::unpack(env, x), Self::unpack(env, y));
        let zero_by_inf = matches!((ux.class, uy.class), (Class::Zero, Class::Inf) | (Class::Inf, Class::Zero));
        if zero_by_inf && ua.class == Class::Quiet {
            return Self::invalid(env);
        }
        if let Some(nan) = Self::propagate(env, &[(addend, ua), (x, ux), (y, uy)]) {
            return nan;
        }
        if zero_by_inf {
            return Self::invalid(env);
        }
        Self::fused(env, ua, ux, uy, 0)
    }

    /// `(addend + x * y) / 2^halvings` of operands that are no NaNs and not zero times infinity.
    fn fused(env: &mut FpEnv, addend: Unpacked, x: Unpacked, y: Unpacked, halvings: i32) -> u64 {
        let sign = x.sign != y.sign;
        let class = match (x.class, y.class) {
            (Class::Inf, _) | (_, Class::Inf) => Class::Inf,
            (Class::Zero, _) | (_, Class::Zero) => Class::Zero,
            _ => Class::Finite,
        };
        if class != Class::Finite || matches!(addend.class, Class::Inf) {
            let product = Unpacked { class, sign, exp: 0, sig: 0 };
            let addend = Unpacked { exp: addend.exp - halvings, ..addend };
            return Self::sum(env, addend, product);
        }
        let product = Wide::product(x, y);
        let mut total = if addend.class == Class::Zero { product } else { Wide::of(addend).sum(product) };
        total.exp -= halvings;
        Self::round_wide(env, total)
    }

    /// `(addend - a * b) / 2^halvings`; `addend` itself, halved, stands for zero times infinity.
    fn step(env: &mut FpEnv, a: u64, b: u64, addend: u64, halvings: i32) -> u64 {
        // The negated operand is also what a NaN is propagated from.
        let a = a ^ Self::SIGN;
        let (ua, ub) = (Self::unpack(env, a), Self::unpack(env, b));
        if let Some(nan) = Self::propagate(env, &[(a, ua), (b, ub)]) {
            return nan;
        }
        let mut u = Self::unpack(env, addend);
        if matches!((ua.class, ub.class), (Class::Zero, Class::Inf) | (Class::Inf, Class::Zero)) {
            u.exp -= halvings;
            return Self::round_wide(env, Wide::of(u));
        }
        Self::fused(env, u, ua, ub, halvings)
    }

    /// The operand's pattern after flushing, and what it is.
    fn flushed(env: &mut FpEnv, x: u64) -> (u64, Unpacked) {
        let u = Self::unpack(env, x);
        (if u.class == Class::Zero { Self::signed(u.sign, 0) } else { x }, u)
    }

    /// A key that orders all numbers, -0 below +0.
    const fn order_key(x: u64) -> i64 {
        if x & Self::SIGN != 0 { -1 - (x & !Self::SIGN) as i64 } else { x as i64 }
    }

    fn min_max(env: &mut FpEnv, a: u64, b: u64, wanted: Ordering) -> u64 {
        let ((fa, ua), (fb, ub)) = (Self::flushed(env, a), Self::flushed(env, b));
        if let Some(nan) = Self::propagate(env, &[(a, ua), (b, ub)]) {
            return nan;
        }
        if Self::order_key(fa).cmp(&Self::order_key(fb)) == wanted { fa } else { fb }
    }

    /// A quiet NaN counts as the infinity that loses.
    fn min_max_num(env: &mut FpEnv, a: u64, b: u64, wanted: Ordering) -> u64 {
        let quiet = |x: u64| x & !Self::SIGN > Self::INF && x & Self::QUIET != 0;
        let loser = Self::signed(wanted == Ordering::Greater, Self::INF);
        match (quiet(a), quiet(b)) {
            (true, false) => Self::min_max(env, loser, b, wanted),
            (false, true) => Self::min_max(env, a, loser, wanted),
            _ => Self::min_max(env, a, b, wanted),
        }
    }

    /// `None` if unordered; `signaling`: then any NaN is invalid, not only a signaling one.
    fn compare(env: &mut FpEnv, signaling: bool, a: u64, b: u64) -> Option<Ordering> {
        let ((fa, ua), (fb, ub)) = (Self::flushed(env, a), Self::flushed(env, b));
        if ua.is_nan() || ub.is_nan() {
            if signaling || ua.class == Class::Signaling || ub.class == Class::Signaling {
                env.raised |= FpEnv::INVALID;
            }
            return None;
        }
        if ua.class == Class::Zero && ub.class == Class::Zero {
            return Some(Ordering::Equal);
        }
        Some(Self::order_key(fa).cmp(&Self::order_key(fb)))
    }

    #[must_use]
    pub fn cmp(env: &mut FpEnv, op: FpCmpOp, a: u64, b: u64) -> bool {
        let order = Self::compare(env, op != FpCmpOp::Eq, a, b);
        match op {
            FpCmpOp::Eq => order == Some(Ordering::Equal),
            FpCmpOp::Ge => matches!(order, Some(Ordering::Equal | Ordering::Greater)),
            FpCmpOp::Gt => order == Some(Ordering::Greater),
        }
    }

    /// N:Z:C:V.
    #[must_use]
    pub fn cmp_flags(env: &mut FpEnv, signaling: bool, a: u64, b: u64) -> u8 {
        match Self::compare(env, signaling, a, b) {
            Some(Ordering::Less) => 0b1000,
            Some(Ordering::Equal) => 0b0110,
            Some(Ordering::Greater) => 0b0010,
            None => 0b0011,
        }
    }
}
