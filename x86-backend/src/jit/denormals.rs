//! Floating point that flushes denormals: what the host's own flushing (MXCSR's DAZ and FTZ) leaves to be done.
//!
//! The host takes denormal operands for zeros and gives zeros for tiny results, as the guest does. It differs in flags:
//! - it raises nothing for a denormal operand, the guest Input Denormal. So operands are looked at, each value once, and only
//!   where nothing says that it can't be denormal: results of floating-point operations never are ([`Normal`]);
//! - it raises Underflow and Inexact for a result it flushes, the guest Underflow only. Nothing is done about that:
//!   translation uses the host's unit only where the guest's Inexact is set already
//!   ([`crate::guest::Guest::fp_flush`]);
//! - it calls a result tiny after rounding, the guest before: [`super::fp`] finds those results anyway.

use super::asm::{Alu, Cc, Fixup, Opc, Xmm};
use super::fp::{Format, Shape};
use super::ir::{Code, Op, Val};
use super::regs::Gen;
use crate::emit::{FpBinOp, FpFmt, FpUnOp, VBinOp};
use crate::eval::{self, entry::EvalOp};
use crate::runtime::{FpEnv, Runtime};
use core::mem::offset_of;

/// What is known of a value, bit by bit: it has no denormal lane in single precision, in double precision; every denormal lane
/// was reported already, likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Normal(u8);

impl Normal {
    const NOTHING: Self = Self(0);
    const BOTH: Self = Self(3);
    const CHECKED: u8 = 2;

    const fn of_width(width: u32) -> Self {
        Self(if width == 64 { 2 } else { 1 })
    }
    const fn of(fmt: FpFmt) -> Self {
        match fmt {
            FpFmt::F16 => Self::NOTHING,
            FpFmt::F32 => Self(1),
            FpFmt::F64 => Self(2),
        }
    }
    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    const fn checked(self) -> Self {
        Self(self.0 << Self::CHECKED)
    }
    /// What is known of a vector constant.
    fn of_constant(k: u128) -> Self {
        let has = |width: u32, fraction: u32| {
            (0..128 / width).any(|i| {
                let magnitude = eval::lane(width, k, i) & eval::mask(width - 1);
                magnitude != 0 && magnitude < 1 << fraction
            })
        };
        Self(u8::from(!has(32, 23)) | u8::from(!has(64, 52)) << 1)
    }
}

/// An operand that is found to be denormal.
#[derive(Clone, Copy)]
pub(super) struct DenormalStub {
    site: Fixup,
    resume: usize,
}

impl Gen {
    /// Fills `normal` for the block in `ir`, where that matters.
    pub fn find_normal(&mut self) {
        self.normal.clear();
        if !self.shared.fp_flush {
            return;
        }
        self.normal.resize(self.ir.len(), Normal::NOTHING);
        // A loop's values depend on each other: what is assumed of a phi must hold when its turn has ended.
        let mut assumed: alloc::vec::Vec<Normal> = alloc::vec![Normal::BOTH; self.ir.len()];
        loop {
            for (i, assumed) in assumed.iter().enumerate() {
                self.normal[i] = self.normal_value(self.ir.ops[i], *assumed);
            }
            let mut holds = true;
            for (i, op) in self.ir.ops.iter().enumerate() {
                if op.code != Code::LoopPhi {
                    continue;
                }
                let at_end = self.normal.get(op.b as usize).map_or(Normal::NOTHING, |n| n.and(self.normal[i]));
                holds &= at_end == self.normal[i];
                assumed[i] = at_end;
            }
            if holds {
                break;
            }
        }
    }

    fn normal_value(&self, op: Op, assumed: Normal) -> Normal {
        let of = |v: Val| self.normal.get(v.index()).copied().unwrap_or(Normal::NOTHING);
        let e = u32::from(op.aux >> 8);
        match op.code {
            Code::Const => Normal::of_constant(op.imm.into()),
            Code::Const128 => Normal::of_constant(self.ir.pool[op.imm as usize]),
            Code::LoopPhi => of(op.va()).and(assumed),
            Code::Phi => of(op.va()).and(of(op.vb())),
            Code::Select => of(op.vb()).and(of(op.vc())),
            Code::Lane | Code::Splat if e >= 32 => of(op.va()).and(if e == 64 { Normal::BOTH } else { Normal(1) }),
            Code::SetLane if e >= 32 => {
                of(op.va()).and(of(op.vb())).and(if e == 64 { Normal::BOTH } else { Normal(1) })
            }
            Code::Pair => of(op.va()).and(of(op.vb())),
            Code::ZextV => of(op.va()).and(if self.op(op.va()).w == 64 { Normal::BOTH } else { Normal(1) }),
            Code::And | Code::Or | Code::Xor => self.normal_with_sign(op, of(op.va())),
            Code::Eval => match EvalOp::unpack(op.imm) {
                Some(EvalOp::FpBin { op: FpBinOp::AddOdd | FpBinOp::MulOdd, .. }) => Normal::NOTHING,
                Some(EvalOp::FpBin { fmt, .. } | EvalOp::FpFma { fmt, .. }) => Normal::of(fmt),
                Some(EvalOp::FpUn { op: FpUnOp::Sqrt | FpUnOp::RoundInt { .. }, fmt, .. }) => Normal::of(fmt),
                Some(EvalOp::FpConvert { to, .. }) => Normal::of(to),
                Some(EvalOp::IntToFp { fmt, .. }) => Normal::of(fmt),
                Some(EvalOp::VBin {
                    op:
                        VBinOp::ZipLow
                        | VBinOp::ZipHigh
                        | VBinOp::UnzipEven
                        | VBinOp::UnzipOdd
                        | VBinOp::TransEven
                        | VBinOp::TransOdd,
                    e: e @ (32 | 64),
                }) => of(op.va()).and(of(op.vb())).and(if e == 64 { Normal::BOTH } else { Normal(1) }),
                _ => Normal::NOTHING,
            },
            _ => Normal::NOTHING,
        }
    }

    /// Of a bitwise operation that changes signs only.
    fn normal_with_sign(&self, op: Op, operand: Normal) -> Normal {
        let k = match self.op(op.vb()) {
            k if k.code == Code::Const128 => self.ir.pool[k.imm as usize],
            k if k.code == Code::Const && op.w == 64 => eval::splat(64, k.imm.into()),
            k if k.code == Code::Const && op.w == 32 => eval::splat(32, k.imm.into()),
            _ => return Normal::NOTHING,
        };
        let signs = if op.code == Code::And { !k } else { k };
        let only_signs = |width| signs & !eval::splat(width, 1 << (width - 1)) == 0;
        operand.and(Normal(u8::from(only_signs(32)) | u8::from(only_signs(64)) << 1))
    }

    /// Whether the operand has no denormal lane in the format.
    pub fn is_normal(&self, v: Val, f: Format) -> bool {
        self.normal[v.index()].has(Normal::of_width(f.width))
    }

    /// Reports what denormal operands an operation has. For where denormals are flushed.
    pub fn check_operands(&mut self, op: Op, args: [Xmm; 3], f: Format, shape: Shape) {
        let vals = [op.va(), op.vb(), op.vc()];
        for (v, x) in vals.into_iter().zip(args).take(op.operands()) {
            let checked = Normal::of_width(f.width).checked();
            if self.is_normal(v, f) || self.normal[v.index()].has(checked) {
                continue;
            }
            // All lanes of a vector are looked at or none is remembered; arms are not always executed.
            let all = shape == Shape::Full || !self.op(v).is_vector();
            if all && self.joins.is_empty() && !self.out_of_line {
                self.normal[v.index()].0 |= checked.0;
            }
            let temps = [self.scratch_xmm(), self.scratch_xmm()];
            let site = self.jump_denormal(f, shape, x, temps);
            let resume = self.asm.pos();
            self.denormal_stubs.push(DenormalStub { site, resume });
            for t in temps {
                self.xmm_pins &= !(1 << t.0);
            }
        }
    }

    /// Jumps when a lane that the operation looks at is denormal.
    pub fn jump_denormal(&mut self, f: Format, shape: Shape, x: Xmm, [t, normal]: [Xmm; 2]) -> Fixup {
        const PAND: Opc = Opc::new(0x66, 1, 0xdb);
        const PTEST: Opc = Opc::new(0x66, 2, 0x17);
        let greater = if f.wide { Opc::new(0x66, 2, 0x37) } else { Opc::new(0x66, 1, 0x66) };
        let magnitude = match shape {
            Shape::Scalar => u128::from(f.sign() - 1),
            Shape::Half => f.splat(f.sign() - 1) & eval::mask(64),
            Shape::Full => f.splat(f.sign() - 1),
        };
        self.v3k(PAND, t, x, magnitude);
        self.v3k(greater, normal, t, f.splat(f.min_normal() - 1));
        // Carry is clear if a lane that is not normal has a bit.
        self.v2(PTEST, normal, t);
        self.asm.jcc(Cc::AE)
    }

    /// What follows is executed at other times than what comes before it in the code.
    pub fn forget_checked(&mut self) {
        self.out_of_line = true;
        for n in &mut self.normal {
            *n = n.and(Normal::BOTH);
        }
    }

    pub fn emit_denormal_stubs(&mut self) {
        let raised = self.rt(offset_of!(Runtime, fp) + offset_of!(FpEnv, raised));
        for i in 0..self.denormal_stubs.len() {
            let DenormalStub { site, resume } = self.denormal_stubs[i];
            self.asm.bind(site);
            self.asm.alu_i(Alu::Or, false, raised, FpEnv::INPUT_DENORMAL as i32);
            self.asm.jmp_to(resume);
        }
    }
}
