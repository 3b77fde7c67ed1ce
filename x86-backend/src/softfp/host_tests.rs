//! Comparison with the host's floating-point unit, which agrees in everything but the choice among several NaNs and
//! the sign of a default NaN (so NaN results are compared as "some NaN"), and in tininess (so Underflow is checked
//! only where the result is not the least normal number).

use crate::emit::{FpBinOp, FpCmpOp, FpFmt, FpUnOp, Rounding};
use crate::runtime::FpEnv;
use crate::softfp::{Ieee, convert};
use core::arch::asm;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

type F32 = Ieee<32, 23>;
type F64 = Ieee<64, 52>;

/// The guest's rounding modes as MXCSR.RC.
const MODES: [(u32, u32); 4] = [(0, 0), (1, 2), (2, 1), (3, 3)];

/// Patterns of all kinds: specials, boundaries, denormals, near each other, random.
pub(crate) fn operand(width: u32, fraction: u32) -> impl Strategy<Value = u64> {
    let exp_bits = width - 1 - fraction;
    let ones = (1u64 << exp_bits) - 1;
    let exp = prop_oneof![
        0..=ones,
        Just(0),
        Just(1),
        Just(ones),
        Just(ones - 1),
        (ones / 2 - 3)..(ones / 2 + 4),
        (ones / 4)..(ones / 4 + 4),
        (ones / 2 + u64::from(fraction) - 2)..(ones / 2 + u64::from(fraction) + 3),
    ];
    let top = (1u64 << fraction) - 1;
    let frac = prop_oneof![
        0..=top,
        Just(0),
        Just(1),
        Just(top),
        Just(top - 1),
        (0..fraction).prop_map(|i| 1 << i),
        (0..fraction).prop_map(move |i| top << i & top),
        (0..fraction, 0u64..4).prop_map(move |(i, low)| (1 << i | low) & top),
    ];
    (any::<bool>(), exp, frac)
        .prop_map(move |(sign, exp, frac)| u64::from(sign) << (width - 1) | exp << fraction | frac)
}

/// Runs one instruction under an MXCSR; gives the result's low 64 bits and the exception flags.
macro_rules! host {
    ($rc:expr, $text:literal, $a:expr, $b:expr, $c:expr) => {{
        let mut x: u64 = $a;
        let mxcsr: u32 = 0x1f80 | ($rc << 13);
        let mut flags: u32 = 0;
        let normal: u32 = 0x1f80;
        // SAFETY: the instructions touch the named registers only, and MXCSR is as it was afterwards.
        unsafe {
            asm!(
                "ldmxcsr [{m}]", "movq xmm0, {x}", "movq xmm1, {y}", "movq xmm2, {z}", $text, "movq {x}, xmm0",
                "stmxcsr [{f}]", "ldmxcsr [{n}]",
                m = in(reg) &raw const mxcsr, x = inout(reg) x, y = in(reg) $b, z = in(reg) $c,
                f = in(reg) &raw mut flags, n = in(reg) &raw const normal,
                out("rax") _, out("xmm0") _, out("xmm1") _, out("xmm2") _, options(nostack)
            );
        }
        (x, flags & 0x3f)
    }};
}

/// The host's flags in the guest's order, without the denormal operand flag.
fn guest_flags(host: u32) -> u32 {
    let bit = |from: u32, to: u32| if host & (1 << from) != 0 { to } else { 0 };
    bit(0, FpEnv::INVALID)
        | bit(2, FpEnv::DIV_BY_ZERO)
        | bit(3, FpEnv::OVERFLOW)
        | bit(4, FpEnv::UNDERFLOW)
        | bit(5, FpEnv::INEXACT)
}

fn env(mode: u32) -> FpEnv {
    FpEnv { control: mode, ..FpEnv::default() }
}

fn check(width: u32, fraction: u32, got: u64, env: &FpEnv, host: (u64, u32)) -> Result<(), TestCaseError> {
    let keep = u64::MAX >> (64 - width);
    let inf = (keep >> 1) & !((1 << fraction) - 1);
    let is_nan = |x: u64| x & (keep >> 1) > inf;
    let want = host.0 & keep;
    if !(is_nan(got) && is_nan(want)) {
        prop_assert_eq!(got, want, "{:#x} {:#x}", got, want);
    }
    let mut differ = env.raised ^ guest_flags(host.1);
    if got & (keep >> 1) == 1 << fraction {
        differ &= !FpEnv::UNDERFLOW;
    }
    prop_assert_eq!(differ, 0, "flags {:#x} {:#x}", env.raised, guest_flags(host.1));
    Ok(())
}

fn run<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    TestRunner::new(Config { cases: 6000, failure_persistence: None, ..Config::default() })
        .run(&strategy, test)
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn arithmetic() {
    run((operand(64, 52), operand(64, 52)), |(a, b)| {
        for (mode, rc) in MODES {
            let bin = |op| {
                let mut env = env(mode);
                (F64::bin(&mut env, op, a, b), env)
            };
            let (r, env) = bin(FpBinOp::Add);
            check(64, 52, r, &env, host!(rc, "addsd xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Sub);
            check(64, 52, r, &env, host!(rc, "subsd xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Mul);
            check(64, 52, r, &env, host!(rc, "mulsd xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Div);
            check(64, 52, r, &env, host!(rc, "divsd xmm0, xmm1", a, b, b))?;
        }
        Ok(())
    });
    run((operand(32, 23), operand(32, 23)), |(a, b)| {
        for (mode, rc) in MODES {
            let bin = |op| {
                let mut env = env(mode);
                (F32::bin(&mut env, op, a, b), env)
            };
            let (r, env) = bin(FpBinOp::Add);
            check(32, 23, r, &env, host!(rc, "addss xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Sub);
            check(32, 23, r, &env, host!(rc, "subss xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Mul);
            check(32, 23, r, &env, host!(rc, "mulss xmm0, xmm1", a, b, b))?;
            let (r, env) = bin(FpBinOp::Div);
            check(32, 23, r, &env, host!(rc, "divss xmm0, xmm1", a, b, b))?;
        }
        Ok(())
    });
}

#[test]
fn roots_conversions_and_integral_values() {
    run(operand(64, 52), |a| {
        for (mode, rc) in MODES {
            let un = |op| {
                let mut env = env(mode);
                (F64::un(&mut env, op, a), env)
            };
            let (r, e) = un(FpUnOp::Sqrt);
            check(64, 52, r, &e, host!(rc, "sqrtsd xmm0, xmm0", a, a, a))?;
            let mut e = env(mode);
            let r = convert(&mut e, FpFmt::F64, FpFmt::F32, Rounding::Dynamic, a);
            check(32, 23, r, &e, host!(rc, "cvtsd2ss xmm0, xmm0", a, a, a))?;
            if is_x86_feature_detected!("sse4.1") {
                let (r, e) = un(FpUnOp::RoundInt { rounding: Rounding::Dynamic, exact: true });
                check(64, 52, r, &e, host!(rc, "roundsd xmm0, xmm0, 4", a, a, a))?;
            }
            // The host's answer to everything it can't represent is MIN; the exact MIN is left out with it.
            let host = host!(
                rc,
                "cvtsd2si rax, xmm0
                                  movq xmm0, rax",
                a,
                a,
                a
            );
            if host.0 != 1 << 63 {
                let mut e = env(mode);
                let r = F64::to_int(&mut e, 64, true, 0, Rounding::Dynamic, a);
                check(64, 52, r, &e, host)?;
            }
            let mut e = env(mode);
            let r = F64::from_int(&mut e, i128::from(a as i64), 0);
            check(
                64,
                52,
                r,
                &e,
                host!(
                    rc,
                    "movq rax, xmm0
                                            cvtsi2sd xmm0, rax",
                    a,
                    a,
                    a
                ),
            )?;
            let mut e = env(mode);
            let r = F32::from_int(&mut e, i128::from(a as i64), 0);
            check(
                32,
                23,
                r,
                &e,
                host!(
                    rc,
                    "movq rax, xmm0
                                            cvtsi2ss xmm0, rax",
                    a,
                    a,
                    a
                ),
            )?;
        }
        Ok(())
    });
    run(operand(32, 23), |a| {
        for (mode, rc) in MODES {
            let mut e = env(mode);
            let r = F32::un(&mut e, FpUnOp::Sqrt, a);
            check(32, 23, r, &e, host!(rc, "sqrtss xmm0, xmm0", a, a, a))?;
            let mut e = env(mode);
            let r = convert(&mut e, FpFmt::F32, FpFmt::F64, Rounding::Dynamic, a);
            check(64, 52, r, &e, host!(rc, "cvtss2sd xmm0, xmm0", a, a, a))?;
            if is_x86_feature_detected!("f16c") {
                let mut e = env(mode);
                let r = convert(&mut e, FpFmt::F32, FpFmt::F16, Rounding::Dynamic, a);
                check(16, 10, r, &e, host!(rc, "vcvtps2ph xmm0, xmm0, 4", a, a, a))?;
                let half = a & 0xffff;
                let mut e = env(mode);
                let r = convert(&mut e, FpFmt::F16, FpFmt::F32, Rounding::Dynamic, half);
                check(32, 23, r, &e, host!(rc, "vcvtph2ps xmm0, xmm0", half, half, half))?;
            }
        }
        Ok(())
    });
}

#[test]
fn fused_multiply_add() {
    if !is_x86_feature_detected!("fma") {
        return;
    }
    run((operand(64, 52), operand(64, 52), operand(64, 52)), |(a, b, c)| {
        for (mode, rc) in MODES {
            let mut e = env(mode);
            let r = F64::fma(&mut e, a, b, c);
            let host = host!(rc, "vfmadd231sd xmm0, xmm1, xmm2", a, b, c);
            // Zero times infinity plus a quiet NaN: invalid for Arm, not for x86.
            let quiet = a & !(1 << 63) >= 0x7ff8 << 48;
            if !(quiet && e.raised == FpEnv::INVALID && host.1 == 0) {
                check(64, 52, r, &e, host)?;
            }
        }
        Ok(())
    });
    run((operand(32, 23), operand(32, 23), operand(32, 23)), |(a, b, c)| {
        for (mode, rc) in MODES {
            let mut e = env(mode);
            let r = F32::fma(&mut e, a, b, c);
            let host = host!(rc, "vfmadd231ss xmm0, xmm1, xmm2", a, b, c);
            let quiet = a & 0x7fff_ffff >= 0x7fc0_0000;
            if !(quiet && e.raised == FpEnv::INVALID && host.1 == 0) {
                check(32, 23, r, &e, host)?;
            }
        }
        Ok(())
    });
}

#[test]
fn comparisons() {
    run((operand(64, 52), operand(64, 52)), |(a, b)| {
        for b in [a, b, a ^ (1 << 63)] {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            let mut e = FpEnv::default();
            let nzcv = F64::cmp_flags(&mut e, false, a, b);
            prop_assert_eq!(nzcv & 0b1000 != 0, x < y);
            prop_assert_eq!(nzcv & 0b0100 != 0, x == y);
            prop_assert_eq!(nzcv & 0b0001 != 0, x.is_nan() || y.is_nan());
            prop_assert_eq!(F64::cmp(&mut e, FpCmpOp::Eq, a, b), x == y);
            prop_assert_eq!(F64::cmp(&mut e, FpCmpOp::Ge, a, b), x >= y);
            prop_assert_eq!(F64::cmp(&mut e, FpCmpOp::Gt, a, b), x > y);
            if !x.is_nan() && !y.is_nan() && x != y {
                prop_assert_eq!(F64::bin(&mut e, FpBinOp::Min, a, b), x.min(y).to_bits());
                prop_assert_eq!(F64::bin(&mut e, FpBinOp::MaxNum, a, b), x.max(y).to_bits());
            }
        }
        Ok(())
    });
}
