//! Inline lowerings of floating point to the host's unit, which runs under the guest's rounding mode with all
//! exceptions masked, so that its sticky flags are the guest's.
//!
//! The host's answer is taken only where it is the guest's bit for bit, flags included; everything else is evaluated
//! again out of line by the reference semantics:
//! - NaN results (which NaN it is, and its sign, differ), found by an unordered comparison of the result;
//! - results of the magnitude of the least normal number, where the two disagree on whether the exact result was tiny
//!   (before rounding for the guest, after it for the host), for operations that can underflow inexactly;
//! - conversions to integers near or beyond the range, checked before converting, so that no flag is raised in vain;
//! - minimum and maximum of NaNs, checked before, because the host signals quiet ones.
//!
//! Where the guest flushes denormals, the host does, too: [`super::denormals`] has the rest. It must not use the alternative
//! half-precision format, or flush half precision: [`crate::guest::Guest::fp_inline`].
//!
//! Results of arithmetic need not be looked at at once: [`super::checks`].
//!
//! An out-of-line evaluation skips what follows its jump: registers are asked for before, because freeing one may emit
//! a store.
//!
//! A scalar's bits above its container are undefined in a vector register; no instruction here looks at them where
//! it could raise an exception.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, Opc, RSP, Rm, Xmm};
use super::features::HostFeatures;
use super::ir::{Code, Op, Val};
use super::regs::{Gen, frame};
use super::simd::{p, p3a, p38};
use crate::emit::{Cond, FpBinOp, FpCmpOp, FpFmt, FpUnOp, Rounding};
use crate::eval::{
    self,
    entry::{EvalOp, Negated},
};
use crate::runtime::Runtime;
use core::mem::offset_of;

/// Where an operand of an out-of-line evaluation is, or its result belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    None,
    Gpr(Gpr),
    Xmm(Xmm),
}

/// An operation that is evaluated out of line in rare cases.
#[derive(Clone, Copy)]
pub(super) struct SlowEval {
    jumps: [Option<Fixup>; 3],
    resume: usize,
    word: u64,
    args: [Operand; 3],
    result: Operand,
}

/// How many lanes of a register an operation works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar,
    /// The low half of a vector: sources are duplicated so that the upper lanes raise nothing new.
    Half,
    Full,
}

/// Format-dependent constants.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub wide: bool,
    fraction: u32,
    bias: u64,
    pub width: u32,
}

pub(super) const SINGLE: Format = Format { wide: false, fraction: 23, bias: 127, width: 32 };
pub(super) const DOUBLE: Format = Format { wide: true, fraction: 52, bias: 1023, width: 64 };

impl Format {
    const fn of(fmt: FpFmt) -> Option<Self> {
        match fmt {
            FpFmt::F16 => None,
            FpFmt::F32 => Some(SINGLE),
            FpFmt::F64 => Some(DOUBLE),
        }
    }
    pub const fn sign(self) -> u64 {
        1 << (self.width - 1)
    }
    pub const fn min_normal(self) -> u64 {
        1 << self.fraction
    }
    /// 2^exp
    const fn power(self, exp: i64) -> u64 {
        ((self.bias as i64 + exp) as u64) << self.fraction
    }
    /// A vector of equal lanes.
    pub fn splat(self, lane: u64) -> u128 {
        eval::splat(self.width, u128::from(lane))
    }
    fn shape(self, lanes: u32) -> Option<Shape> {
        match lanes * self.width {
            _ if lanes == 1 => Some(Shape::Scalar),
            64 => Some(Shape::Half),
            128 => Some(Shape::Full),
            _ => None,
        }
    }
    /// Opcode of an arithmetic instruction in the shape's form.
    pub const fn op(self, shape: Shape, byte: u8) -> Opc {
        match (shape, self.wide) {
            (Shape::Scalar, false) => Opc::new(0xf3, 1, byte),
            (Shape::Scalar, true) => Opc::new(0xf2, 1, byte),
            (_, false) => Opc::new(0, 1, byte),
            (_, true) => Opc::new(0x66, 1, byte),
        }
    }
}

const ADD: u8 = 0x58;
const MUL: u8 = 0x59;
const SUB: u8 = 0x5c;
const MIN: u8 = 0x5d;
const DIV: u8 = 0x5e;
const MAX: u8 = 0x5f;
const SQRT: u8 = 0x51;
pub(super) const CMP: u8 = 0xc2;
pub(super) const ANDPS: Opc = Opc::new(0, 1, 0x54);
pub(super) const ORPS: Opc = Opc::new(0, 1, 0x56);
pub(super) const XORPS: Opc = Opc::new(0, 1, 0x57);
/// Predicates of comparisons.
const EQ: u8 = 0;
const LT: u8 = 1;
const LE: u8 = 2;
pub(super) const UNORD: u8 = 3;
/// Equal or unordered, quiet (AVX).
pub(super) const EQ_UQ: u8 = 8;

impl Gen {
    /// Lowers a floating-point operation; false when it has no inline form.
    pub(super) fn lower_fp(&mut self, v: Val, op: Op, what: EvalOp) -> bool {
        match what {
            EvalOp::FpBin { op: kind, fmt, lanes } => match Self::format(fmt, lanes) {
                Some((f, shape)) => self.lower_fp_bin(v, op, kind, f, shape),
                None => false,
            },
            EvalOp::FpUn { op: kind, fmt, lanes } => match Self::format(fmt, lanes) {
                Some((f, shape)) => self.lower_fp_un(v, op, kind, f, shape),
                None => false,
            },
            EvalOp::FpFma { fmt, lanes, negated } => match Self::format(fmt, lanes) {
                Some((f, shape)) if self.has(HostFeatures::FMA) => {
                    self.lower_fma(v, op, negated, f, shape);
                    true
                }
                _ => false,
            },
            EvalOp::FpCmp { op: kind, fmt, lanes } => match Self::format(fmt, lanes) {
                Some((f, shape)) => {
                    self.lower_fp_mask(v, op, kind, f, shape);
                    true
                }
                None => false,
            },
            EvalOp::FpCmpFlags { fmt, signaling } => match Format::of(fmt) {
                Some(f) => {
                    self.lower_fp_flags(v, op, signaling, f);
                    true
                }
                None => false,
            },
            EvalOp::FpConvert { from, to, rounding } => self.lower_fp_convert(v, op, from, to, rounding),
            EvalOp::FpToInt { fmt, n, signed, fbits, rounding } => match Format::of(fmt) {
                Some(f) => self.lower_fp_to_int(v, op, f, n, signed, fbits, rounding),
                None => false,
            },
            EvalOp::IntToFp { n, signed, fbits, fmt } => match Format::of(fmt) {
                Some(f) => self.lower_int_to_fp(v, op, f, n, signed, fbits),
                None => false,
            },
            _ => false,
        }
    }

    pub(super) fn format(fmt: FpFmt, lanes: u32) -> Option<(Format, Shape)> {
        let f = Format::of(fmt)?;
        Some((f, f.shape(lanes)?))
    }

    /// All operands of arithmetic, as an out-of-line evaluation finds them; denormal ones are reported where they are flushed.
    fn fp_inputs(&mut self, op: Op, f: Format, shape: Shape) -> [Xmm; 3] {
        let args = self.fp_operands(op, f.width);
        if self.shared.fp_flush {
            self.check_operands(op, args, f, shape);
        }
        args
    }

    /// All operands, in registers.
    fn fp_operands(&mut self, op: Op, width: u32) -> [Xmm; 3] {
        let vals = [op.va(), op.vb(), op.vc()];
        let mut out = [Xmm(0); 3];
        for (x, v) in out.iter_mut().zip(vals).take(op.operands()) {
            *x = self.xmm_operand(v, width);
        }
        out
    }

    /// An operand as the shape's instructions need it.
    pub(super) fn fp_source(&mut self, s: Xmm, shape: Shape) -> Xmm {
        if shape != Shape::Half {
            return s;
        }
        let t = self.scratch_xmm();
        self.v3(p(0x6c), t, s, s);
        t
    }

    /// Clears what a half-width operation computed in vain.
    pub(super) fn fp_finish(&mut self, d: Xmm, shape: Shape) {
        if shape == Shape::Half {
            self.asm.movq_xx(d, d);
        }
    }

    /// Leaves the straight path when any lane of `a` and `b` is a NaN.
    fn jump_unordered(&mut self, f: Format, shape: Shape, a: Xmm, b: Xmm) -> Fixup {
        if shape == Shape::Scalar {
            self.ucomis(f, a, b);
            return self.asm.jcc(Cc::P);
        }
        let t = self.scratch_xmm();
        self.v3i(f.op(shape, CMP), t, a, b, UNORD);
        self.jump_any(t)
    }

    /// Jumps when any lane of a mask is set.
    pub(super) fn jump_any(&mut self, mask: Xmm) -> Fixup {
        let g = self.scratch();
        self.asm.ins(Opc::new(0, 1, 0x50), false, g.0, mask, 0, 0);
        self.asm.test_rr(false, g, g);
        self.asm.jcc(Cc::NE)
    }

    pub(super) fn ucomis(&mut self, f: Format, a: Xmm, b: Xmm) {
        self.asm.sse(Opc::new(if f.wide { 0x66 } else { 0 }, 1, 0x2e), a, b);
    }

    /// Leaves the straight path when a result is a NaN, or of the magnitude of the least normal number.
    fn jump_nan_or_tiny(&mut self, f: Format, shape: Shape, d: Xmm) -> Fixup {
        let t = self.scratch_xmm();
        self.v3k(ANDPS, t, d, f.splat(f.sign() - 1));
        if shape == Shape::Scalar {
            // Unordered counts as equal.
            self.asm.sse(Opc::new(if f.wide { 0x66 } else { 0 }, 1, 0x2e), t, Rm::Rip);
            let field = self.asm.last_rip();
            self.constants.push((field, f.splat(f.min_normal())));
            return self.asm.jcc(Cc::E);
        }
        let least = self.vconst(f.splat(f.min_normal()));
        if self.has(HostFeatures::AVX) {
            self.v3i(f.op(shape, CMP), t, t, least, EQ_UQ);
        } else {
            self.v3i(f.op(shape, CMP), least, least, t, EQ);
            self.v3i(f.op(shape, CMP), t, t, t, UNORD);
            self.v3(ORPS, t, t, least);
        }
        self.jump_any(t)
    }

    /// Has the operation evaluated out of line when one of the jumps is taken.
    pub(super) fn slow_eval(&mut self, op: Op, jumps: [Option<Fixup>; 3], args: [Xmm; 3], result: Operand) {
        let mut operands = [Operand::None; 3];
        for (o, x) in operands.iter_mut().zip(args).take(op.operands()) {
            *o = Operand::Xmm(x);
        }
        let resume = self.asm.pos();
        self.slow_evals.push(SlowEval { jumps, resume, word: op.imm, args: operands, result });
    }

    fn lower_fp_bin(&mut self, v: Val, op: Op, kind: FpBinOp, f: Format, shape: Shape) -> bool {
        let (byte, tiny) = match kind {
            FpBinOp::Add => (ADD, false),
            FpBinOp::Sub | FpBinOp::Abd => (SUB, false),
            FpBinOp::Mul => (MUL, true),
            FpBinOp::Div => (DIV, true),
            FpBinOp::Min | FpBinOp::MinNum => (MIN, false),
            FpBinOp::Max | FpBinOp::MaxNum => (MAX, false),
            FpBinOp::RecipStep | FpBinOp::RsqrtStep => {
                let inline = self.has(HostFeatures::FMA) && self.may_wait(op, f);
                if inline {
                    self.lower_step(v, op, kind == FpBinOp::RsqrtStep, f, shape);
                }
                return inline;
            }
            FpBinOp::MulX | FpBinOp::AddOdd | FpBinOp::MulOdd => return false,
        };
        let least = matches!(byte, MIN | MAX);
        let args = if least { self.fp_operands(op, f.width) } else { self.fp_inputs(op, f, shape) };
        let (a, b) = (self.fp_source(args[0], shape), self.fp_source(args[1], shape));
        let d = self.def_xmm(v);
        let opc = f.op(shape, byte);
        let mut denormal = [None; 2];
        let jump = if least {
            let t = self.scratch_xmm();
            if self.shared.fp_flush {
                // Of two numbers that count as zeros the host may give either as it is.
                let temps = [d, t];
                for (jump, (v, x)) in denormal.iter_mut().zip([(op.va(), args[0]), (op.vb(), args[1])]) {
                    *jump = (!self.is_normal(v, f)).then(|| self.jump_denormal(f, shape, x, temps));
                }
            }
            let jump = self.jump_unordered(f, shape, a, b);
            // Of two zeros the host gives the second: both orders together tell their signs.
            self.v3(opc, d, a, b);
            self.v3(opc, t, b, a);
            self.v3(if byte == MIN { ORPS } else { ANDPS }, d, d, t);
            jump
        } else {
            self.v3(opc, d, a, b);
            if kind != FpBinOp::Abd && self.may_wait(op, f) {
                self.fp_finish(d, shape);
                self.wait_for_check(v, op, d, f, shape, tiny);
                return true;
            }
            if tiny { self.jump_nan_or_tiny(f, shape, d) } else { self.jump_unordered(f, shape, d, d) }
        };
        if kind == FpBinOp::Abd {
            self.v3k(ANDPS, d, d, f.splat(f.sign() - 1));
        }
        self.fp_finish(d, shape);
        self.slow_eval(op, [Some(jump), denormal[0], denormal[1]], args, Operand::Xmm(d));
        true
    }

    fn lower_fp_un(&mut self, v: Val, op: Op, kind: FpUnOp, f: Format, shape: Shape) -> bool {
        match kind {
            FpUnOp::Sqrt => {
                let args = self.fp_inputs(op, f, shape);
                let s = self.fp_source(args[0], shape);
                let d = self.def_xmm(v);
                if shape == Shape::Scalar {
                    self.v3(f.op(shape, SQRT), d, s, s);
                } else {
                    self.v2(f.op(shape, SQRT), d, s);
                }
                if self.may_wait(op, f) {
                    self.fp_finish(d, shape);
                    self.wait_for_check(v, op, d, f, shape, false);
                    return true;
                }
                let jump = self.jump_unordered(f, shape, d, d);
                self.fp_finish(d, shape);
                self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
                true
            }
            FpUnOp::RoundInt { rounding: Rounding::NearestAway, exact: false } if shape == Shape::Scalar => {
                let args = self.fp_inputs(op, f, shape);
                let s = args[0];
                let d = self.def_xmm(v);
                let temps = self.away_temps();
                let jump = self.jump_integral(f, s);
                self.round_away(f, d, s, false, temps);
                self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
                true
            }
            FpUnOp::RoundInt { rounding, exact } => {
                let Some(mode) = host_rounding(rounding) else { return false };
                let args = self.fp_inputs(op, f, shape);
                let s = self.fp_source(args[0], shape);
                let d = self.def_xmm(v);
                self.round_host(f, shape, d, s, if exact { mode } else { mode | 8 });
                let jump = self.jump_unordered(f, shape, d, d);
                self.fp_finish(d, shape);
                self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
                true
            }
            FpUnOp::RecipEstimate | FpUnOp::RsqrtEstimate if !f.wide => {
                self.lower_estimate(v, op, kind == FpUnOp::RsqrtEstimate, shape);
                true
            }
            FpUnOp::RecipEstimate | FpUnOp::RsqrtEstimate | FpUnOp::RecipExponent => false,
        }
    }

    fn round_host(&mut self, f: Format, shape: Shape, d: Xmm, s: Xmm, imm: u8) {
        let opc = p3a(if shape == Shape::Scalar { 0x0a } else { 0x08 } + u8::from(f.wide));
        if shape == Shape::Scalar {
            self.v3i(opc, d, s, s, imm);
        } else {
            self.v2i(opc, d, s, imm);
        }
    }

    /// Leaves the straight path when a scalar is a NaN or so large that it is integral.
    fn jump_integral(&mut self, f: Format, s: Xmm) -> Fixup {
        let t = self.scratch_xmm();
        let limit = self.vconst(f.splat(f.power(i64::from(f.fraction))));
        self.v3k(ANDPS, t, s, f.splat(f.sign() - 1));
        self.ucomis(f, limit, t);
        self.asm.jcc(Cc::BE)
    }

    /// A scalar of moderate size to the nearest integral value, ties away from zero; `exact`: raise Inexact.
    fn round_away(&mut self, f: Format, d: Xmm, s: Xmm, exact: bool, [rest, half]: [Xmm; 2]) {
        let scalar = Shape::Scalar;
        self.round_host(f, scalar, d, s, if exact { 3 } else { 3 | 8 });
        // What truncation took away is exact; if it is half or more, one is added with the value's sign.
        self.v3(f.op(scalar, SUB), rest, s, d);
        self.v3k(ANDPS, rest, rest, f.splat(f.sign() - 1));
        self.load_const128(half, f.splat(f.power(-1)));
        self.v3i(f.op(scalar, CMP), half, half, rest, LE);
        self.v3k(ANDPS, half, half, f.splat(f.power(0)));
        self.v3k(ANDPS, rest, s, f.splat(f.sign()));
        self.v3(ORPS, half, half, rest);
        self.v3(f.op(scalar, ADD), d, d, half);
    }

    fn away_temps(&mut self) -> [Xmm; 2] {
        [self.scratch_xmm(), self.scratch_xmm()]
    }

    fn lower_fma(&mut self, v: Val, op: Op, negated: Negated, f: Format, shape: Shape) {
        let args = self.fp_inputs(op, f, shape);
        let (x, y) = (self.fp_source(args[1], shape), self.fp_source(args[2], shape));
        let addend = args[0];
        let d = self.def_xmm(v);
        if shape == Shape::Half {
            self.v3(p(0x6c), d, addend, addend);
        } else {
            self.asm.movaps(d, addend);
        }
        let kind = match negated {
            Negated::None => 0xb8,
            Negated::Addend => 0xba,
            Negated::Product => 0xbc,
            Negated::Both => 0xbe,
        };
        let byte = kind | u8::from(shape == Shape::Scalar);
        self.asm.vex(p38(byte), f.wide, d.0, x.0, y, None);
        if self.may_wait(op, f) {
            self.fp_finish(d, shape);
            self.wait_for_check(v, op, d, f, shape, true);
            return;
        }
        let jump = self.jump_nan_or_tiny(f, shape, d);
        self.fp_finish(d, shape);
        self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
    }

    /// A step of Newton's towards a reciprocal, 2 - a * b, or towards that of a root, (3 - a * b) / 2 = 1.5 - (a / 2) * b, rounded once.
    /// Zero times infinity is no error of the guest's, and half of the least numbers isn't exact: so it takes a factor that is neither
    /// infinite nor of the least.
    fn lower_step(&mut self, v: Val, op: Op, root: bool, f: Format, shape: Shape) {
        let args = self.fp_inputs(op, f, shape);
        let (x, y) = (self.fp_source(args[0], shape), self.fp_source(args[1], shape));
        let d = self.def_xmm(v);
        let t = self.scratch_xmm();
        let (lane, least, infinity) =
            (eval::mask(f.width) as u64, 2 * f.min_normal(), (2 * f.bias + 1) * f.min_normal());
        // Magnitudes such that all below `infinity` are less than others as signed numbers, but for those below `least`.
        let shift = f.sign() - least;
        let most = f.splat((infinity - 1).wrapping_add(shift) & lane);
        // What is above a scalar counts for nothing.
        let others = if shape == Shape::Scalar { f.splat(f.sign() - 1) & !u128::from(lane) } else { 0 };
        let most = if shape == Shape::Scalar { most & u128::from(lane) | others } else { most };
        self.v3k(ANDPS, t, x, f.splat(f.sign() - 1));
        self.v3k(if f.wide { p(0xd4) } else { p(0xfe) }, t, t, f.splat(shift));
        self.v3k(if f.wide { p38(0x37) } else { p(0x66) }, t, t, most);
        let jump = self.jump_any(t);
        let (factor, minuend) = if root {
            self.v3k(f.op(shape, MUL), t, x, f.splat(f.power(-1)));
            (t, f.power(0) | f.min_normal() >> 1)
        } else {
            (x, f.power(1))
        };
        self.load_const128(d, f.splat(minuend));
        let byte = 0xbc | u8::from(shape == Shape::Scalar);
        self.asm.vex(p38(byte), f.wide, d.0, factor.0, y, None);
        self.fp_finish(d, shape);
        self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
        self.wait_for_check(v, op, d, f, shape, !root);
    }

    /// Masks: the host's ordered comparisons agree in results and flags.
    fn lower_fp_mask(&mut self, v: Val, op: Op, kind: FpCmpOp, f: Format, shape: Shape) {
        let args = self.fp_inputs(op, f, shape);
        let (a, b) = (self.fp_source(args[0], shape), self.fp_source(args[1], shape));
        let d = self.def_xmm(v);
        match kind {
            FpCmpOp::Eq => self.v3i(f.op(shape, CMP), d, a, b, EQ),
            FpCmpOp::Ge => self.v3i(f.op(shape, CMP), d, b, a, LE),
            FpCmpOp::Gt => self.v3i(f.op(shape, CMP), d, b, a, LT),
        }
        self.fp_finish(d, shape);
    }

    fn lower_fp_flags(&mut self, v: Val, op: Op, signaling: bool, f: Format) {
        // The comparison is made here for what it raises, and again for its result when somebody wants it. If that is who
        // comes next, once will do.
        let [a, b, _] = self.fp_inputs(op, f, Shape::Scalar);
        if !self.jumps_on(v, signaling) {
            self.compare_scalars(f, a, b, signaling);
        }
        if self.uses[v.index()] > 0 {
            self.each_operand(op, Self::acquire);
            self.make_lazy(v);
        }
    }

    fn compared_format(op: Op) -> Format {
        match EvalOp::unpack(op.imm) {
            Some(EvalOp::FpCmpFlags { fmt: FpFmt::F32, .. }) => SINGLE,
            _ => DOUBLE,
        }
    }

    fn compare_scalars(&mut self, f: Format, a: Xmm, b: Xmm, signaling: bool) {
        let byte = if signaling { 0x2f } else { 0x2e };
        self.asm.sse(Opc::new(if f.wide { 0x66 } else { 0 }, 1, byte), a, b);
    }

    /// Whether a conditional jump makes the comparison `v`, before anybody can look at what it raises, and first of all.
    fn jumps_on(&self, v: Val, signaling: bool) -> bool {
        let mut condition = None;
        for (i, op) in self.ir.ops.iter().enumerate().skip(v.index() + 1) {
            match op.code {
                Code::Nop | Code::Const | Code::Const128 | Code::Insn | Code::Count => {}
                Code::Put if op.va() == v => {}
                Code::Cond if op.va() == v && condition.is_none() => {
                    let equality = matches!(op.cond(), Cond::Eq | Cond::Ne);
                    if compared(op.cond()).is_none() && (signaling || !equality) {
                        return false;
                    }
                    condition = Some(i);
                }
                // At a block's end, and where two paths will meet again, flags are stored before the jump.
                Code::CondExit => return condition == Some(op.va().index()) && self.goes_on(i),
                Code::If => return condition == Some(op.va().index()) && op.aux != 0,
                _ => return false,
            }
        }
        false
    }

    /// The x86 condition for a guest condition on a lazy comparison, which is made again; `None` where it takes more
    /// than one.
    #[inline(never)]
    pub(super) fn fp_condition(&mut self, op: Op, cond: Cond) -> Option<Cc> {
        let f = Self::compared_format(op);
        if matches!(cond, Cond::Eq | Cond::Ne) {
            let [a, b, _] = self.fp_operands(op, f.width);
            self.ucomis(f, a, b);
            // What is unordered looks equal to EFLAGS, until they have been changed.
            let unordered = self.asm.jcc(Cc::P);
            self.unordered.push((unordered, self.asm.pos()));
            return Some(if matches!(cond, Cond::Eq) { Cc::E } else { Cc::NE });
        }
        let (swap, cc) = compared(cond)?;
        let [a, b, _] = self.fp_operands(op, f.width);
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let signaling = matches!(EvalOp::unpack(op.imm), Some(EvalOp::FpCmpFlags { signaling: true, .. }));
        self.compare_scalars(f, a, b, signaling);
        Some(cc)
    }

    /// A lazy comparison's flags in a register.
    pub(super) fn fp_flags(&mut self, op: Op) -> Gpr {
        let f = Self::compared_format(op);
        let [a, b, _] = self.fp_operands(op, f.width);
        let (d, t) = (self.scratch(), self.scratch());
        self.ucomis(f, a, b);
        self.flags_of_comparison(d, t);
        d
    }

    /// Out of line, where the operands' bits are in general registers; `a` and RAX are overwritten.
    pub(super) fn fp_flags_cold(&mut self, op: Op, a: Gpr, b: Gpr) {
        let f = Self::compared_format(op);
        let saved = |i: i32| Mem::new(RSP, frame::XMM_SAVE + 16 * i);
        for (i, r) in [a, b].into_iter().enumerate() {
            let x = Xmm(i as u8);
            self.asm.movups_store(saved(i as i32), x);
            self.asm.mov_xr(f.wide, x, r);
        }
        self.ucomis(f, Xmm(0), Xmm(1));
        for i in 0..2u8 {
            self.asm.movups_load(Xmm(i), saved(i.into()));
        }
        self.flags_of_comparison(super::asm::RAX, a);
    }

    fn flags_of_comparison(&mut self, d: Gpr, t: Gpr) {
        // Greater: C; equal: Z and C; less: N; unordered, which also looks equal and less: C and V.
        self.asm.mov_ri(d, 0x0100);
        self.asm.mov_ri(t, 0x4100);
        self.asm.cmov(Cc::E, false, d, t);
        self.asm.mov_ri(t, 0x8000);
        self.asm.cmov(Cc::B, false, d, t);
        self.asm.mov_ri(t, 0x0101);
        self.asm.cmov(Cc::P, false, d, t);
    }

    fn lower_fp_convert(&mut self, v: Val, op: Op, from: FpFmt, to: FpFmt, rounding: Rounding) -> bool {
        let widening = from.width() < to.width();
        if from == to || (!widening && rounding != Rounding::Dynamic) {
            return false;
        }
        let halves = from == FpFmt::F16 || to == FpFmt::F16;
        if halves && (!self.has(HostFeatures::F16C) || from == FpFmt::F64 || self.shared.fp_flush) {
            return false;
        }
        let args = match Format::of(from) {
            Some(f) => self.fp_inputs(op, f, Shape::Scalar),
            None => self.fp_operands(op, from.width()),
        };
        let s = args[0];
        let d = self.def_xmm(v);
        let scalar = Shape::Scalar;
        if !halves {
            let f = if widening { SINGLE } else { DOUBLE };
            self.v3(f.op(scalar, 0x5a), d, s, s);
            if self.may_wait(op, f) {
                self.wait_for_check(v, op, d, if widening { DOUBLE } else { SINGLE }, scalar, !widening);
                return true;
            }
            let jump = if widening {
                self.jump_unordered(DOUBLE, scalar, d, d)
            } else {
                self.jump_nan_or_tiny(SINGLE, scalar, d)
            };
            self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
            return true;
        }
        let g = self.scratch();
        // The packed instructions see the scalar only.
        self.v3i(p3a(0x21), d, s, s, 0b1110);
        if widening {
            self.asm.vex(p38(0x13), false, d.0, 0, d, None);
            if to == FpFmt::F64 {
                self.v3(SINGLE.op(scalar, 0x5a), d, d, d);
            }
            let f = if to == FpFmt::F64 { DOUBLE } else { SINGLE };
            let jump = self.jump_unordered(f, scalar, d, d);
            self.slow_eval(op, [Some(jump), None, None], args, Operand::Xmm(d));
            return true;
        }
        let unordered = self.jump_unordered(SINGLE, scalar, s, s);
        self.asm.vex(p3a(0x1d), false, d.0, 0, d, Some(4));
        self.asm.mov_rx(false, g, d);
        self.asm.alu_i(Alu::And, false, g, 0x7fff);
        self.asm.alu_i(Alu::Cmp, false, g, 0x0400);
        let tiny = self.asm.jcc(Cc::E);
        self.slow_eval(op, [Some(unordered), Some(tiny), None], args, Operand::Xmm(d));
        true
    }

    #[allow(clippy::too_many_arguments, reason = "the operation's parameters")]
    fn lower_fp_to_int(
        &mut self,
        v: Val,
        op: Op,
        f: Format,
        n: u32,
        signed: bool,
        fbits: u32,
        rounding: Rounding,
    ) -> bool {
        if !matches!(n, 32 | 64) || fbits > 64 || rounding == Rounding::Odd {
            return false;
        }
        let args = self.fp_inputs(op, f, Shape::Scalar);
        let s = args[0];
        let d = self.def_gpr(v);
        // Below this magnitude no rounding leaves the range (nor the 64-bit signed range of the instruction).
        let value_bits = if signed || n == 64 { n - 1 } else { n };
        let limit = if value_bits <= f.fraction {
            let shift = f.fraction + 1 - value_bits;
            f.power(i64::from(value_bits) - 1) | ((((1u64 << value_bits) - 1) << shift) & (f.min_normal() - 1))
        } else {
            f.power(i64::from(value_bits))
        };
        let limit = limit - (u64::from(fbits) << f.fraction);
        let (scaled, rounded) = (self.scratch_xmm(), self.scratch_xmm());
        let temps = if rounding == Rounding::NearestAway { self.away_temps() } else { [scaled; 2] };
        self.asm.mov_rx(f.wide, d, s);
        let limit = if signed {
            self.asm.alu(Alu::Add, f.wide, d, d);
            limit << 1
        } else {
            limit
        };
        if f.wide {
            let t = self.scratch();
            self.asm.mov_ri(t, limit);
            self.asm.alu(Alu::Cmp, true, d, t);
        } else {
            self.asm.alu_i(Alu::Cmp, false, d, limit as u32 as i32);
        }
        let jump = self.asm.jcc(Cc::AE);
        let scalar = Shape::Scalar;
        let mut x = s;
        if fbits > 0 {
            x = scaled;
            self.v3k(f.op(scalar, MUL), x, s, f.splat(f.power(i64::from(fbits))));
        }
        let current = match rounding {
            Rounding::Zero => false,
            Rounding::Dynamic => true,
            Rounding::NearestAway => {
                self.round_away(f, rounded, x, true, temps);
                x = rounded;
                false
            }
            _ => {
                self.round_host(f, scalar, rounded, x, host_rounding(rounding).unwrap_or(4));
                x = rounded;
                false
            }
        };
        let wide = n == 64 || !signed;
        self.asm.ins(f.op(scalar, if current { 0x2d } else { 0x2c }), wide, d.0, x, 0, 0);
        self.slow_eval(op, [Some(jump), None, None], args, Operand::Gpr(d));
        true
    }

    fn lower_int_to_fp(&mut self, v: Val, op: Op, f: Format, n: u32, signed: bool, fbits: u32) -> bool {
        if !matches!(n, 32 | 64) || fbits > 64 {
            return false;
        }
        let g = self.use_gpr(op.va());
        let d = self.def_xmm(v);
        let jump = if n == 64 && !signed {
            self.asm.test_rr(true, g, g);
            Some(self.asm.jcc(Cc::S))
        } else {
            None
        };
        self.v3(XORPS, d, d, d);
        self.asm.ins(f.op(Shape::Scalar, 0x2a), n == 64 || !signed, d.0, g, 0, 0);
        if fbits > 0 {
            self.v3k(f.op(Shape::Scalar, MUL), d, d, f.splat(f.power(-i64::from(fbits))));
        }
        if jump.is_some() {
            let resume = self.asm.pos();
            let args = [Operand::Gpr(g), Operand::None, Operand::None];
            self.slow_evals.push(SlowEval {
                jumps: [jump, None, None],
                resume,
                word: op.imm,
                args,
                result: Operand::Xmm(d),
            });
        }
        true
    }

    /// Out of line, for comparisons that found operands unordered: not equal.
    pub(super) fn emit_unordered(&mut self) {
        while let Some((site, back)) = self.unordered.pop() {
            self.asm.bind(site);
            self.asm.test_rr(true, RSP, RSP);
            self.asm.jmp_to(back);
        }
    }

    /// Emits the out-of-line evaluations collected so far.
    pub(super) fn emit_slow_evals(&mut self) {
        for i in 0..self.slow_evals.len() {
            let slow = self.slow_evals[i];
            for jump in slow.jumps.into_iter().flatten() {
                self.asm.bind(jump);
            }
            for (i, arg) in slow.args.into_iter().enumerate() {
                let at = self.rt(offset_of!(Runtime, scratch) + 16 * i);
                match arg {
                    Operand::Xmm(x) => self.asm.movups_store(at, x),
                    Operand::Gpr(g) => {
                        self.asm.store(8, at, g);
                        self.asm.store_imm(8, at.offset(8), 0);
                    }
                    Operand::None => {}
                }
            }
            let word = Mem::new(RSP, frame::ARGS);
            self.asm.store_imm(4, word, slow.word as i32);
            self.asm.store_imm(4, word.offset(4), (slow.word >> 32) as i32);
            self.asm.call_to(self.shared.thunks.eval);
            let scratch = self.rt(offset_of!(Runtime, scratch));
            match slow.result {
                Operand::Gpr(g) => self.asm.load(8, g, scratch),
                Operand::Xmm(x) => self.asm.movups_load(x, scratch),
                Operand::None => {}
            }
            self.asm.jmp_to(slow.resume);
        }
        self.slow_evals.clear();
    }
}

/// For a guest condition after a comparison, whether to compare with operands exchanged, and the x86 condition; `None` where it
/// takes more than one.
const fn compared(cond: Cond) -> Option<(bool, Cc)> {
    // Guest flags: less N; equal Z and C; greater C; unordered C and V.
    match cond {
        Cond::Eq | Cond::Ne | Cond::Al | Cond::Nv => None,
        Cond::Mi | Cond::Cc => Some((true, Cc::A)),
        Cond::Pl | Cond::Cs => Some((true, Cc::BE)),
        Cond::Vs => Some((false, Cc::P)),
        Cond::Vc => Some((false, Cc::NP)),
        Cond::Hi => Some((true, Cc::B)),
        Cond::Ls => Some((true, Cc::AE)),
        Cond::Ge => Some((false, Cc::AE)),
        Cond::Lt => Some((false, Cc::B)),
        Cond::Gt => Some((false, Cc::A)),
        Cond::Le => Some((false, Cc::BE)),
    }
}

/// The host's rounding control in an immediate.
const fn host_rounding(rounding: Rounding) -> Option<u8> {
    match rounding {
        Rounding::Nearest => Some(0),
        Rounding::Down => Some(1),
        Rounding::Up => Some(2),
        Rounding::Zero => Some(3),
        Rounding::Dynamic => Some(4),
        Rounding::NearestAway | Rounding::Odd => None,
    }
}
