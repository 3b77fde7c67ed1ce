//! Values made with their constants folded.

use super::lower::{Lowerer, Res, mask};
use crate::diag::Span;
use crate::ssa::{BinOp, CmpOp, Op, Ty, ValueId, Width};

impl Lowerer<'_> {
    // Constants and folding constructors

    pub fn int(&mut self, i: i64, span: Span) -> ValueId {
        self.emit(Op::Int(i), Vec::new(), Ty::Int, span)
    }

    pub fn boolean(&mut self, b: bool, span: Span) -> ValueId {
        self.emit(Op::Bool(b), Vec::new(), Ty::Bool, span)
    }

    pub fn bits(&mut self, b: u128, w: u32, span: Span) -> ValueId {
        self.emit(Op::Bits(b & mask(w)), Vec::new(), Ty::Bits(Width::Const(w)), span)
    }

    /// Width as an `int` value.
    pub fn width_value(&mut self, w: Width, span: Span) -> ValueId {
        match w {
            Width::Const(c) => self.int(i64::from(c), span),
            Width::Value(v) => v,
        }
    }

    /// An `int` value as a width.
    pub fn as_width(&mut self, v: ValueId, span: Span) -> Res<Width> {
        match self.const_int(v) {
            Some(c) => {
                if !(1..=64).contains(&c) && c != 128 {
                    return self.fail(span, format!("a width of {c} bits; widths are 1 to 64 and 128"));
                }
                Ok(Width::Const(c as u32))
            }
            None => Ok(Width::Value(v)),
        }
    }

    pub fn int_op(&mut self, op: Op, a: ValueId, b: ValueId, span: Span) -> ValueId {
        let (x, y) = (self.const_int(a), self.const_int(b));
        match (&op, x, y) {
            (Op::IntAdd | Op::IntSub | Op::IntShl | Op::IntShr | Op::IntOr | Op::IntXor, _, Some(0))
            | (Op::IntMul | Op::IntDiv, _, Some(1)) => return a,
            (Op::IntAdd | Op::IntOr | Op::IntXor, Some(0), _) | (Op::IntMul, Some(1), _) => return b,
            _ => {}
        }
        if let (Some(x), Some(y)) = (x, y) {
            let r = match op {
                Op::IntAdd => x.checked_add(y),
                Op::IntSub => x.checked_sub(y),
                Op::IntMul => x.checked_mul(y),
                Op::IntDiv => x.checked_div(y),
                Op::IntRem => x.checked_rem(y),
                Op::IntShl => u32::try_from(y).ok().filter(|y| *y < 63).map(|y| x << y),
                Op::IntShr => u32::try_from(y).ok().map(|y| if y > 63 { 0 } else { x >> y }),
                Op::IntAnd => Some(x & y),
                Op::IntOr => Some(x | y),
                Op::IntXor => Some(x ^ y),
                Op::IntMin => Some(x.min(y)),
                Op::IntMax => Some(x.max(y)),
                _ => None,
            };
            if let Some(r) = r {
                return self.int(r, span);
            }
        }
        self.emit(op, vec![a, b], Ty::Int, span)
    }

    pub fn int_cmp(&mut self, op: Op, a: ValueId, b: ValueId, span: Span) -> ValueId {
        let difference = self.normal(self.poly(a).add(&self.poly(b).neg()));
        if let Some(d) = difference.as_const() {
            let r = match op {
                Op::IntEq => d == 0,
                Op::IntLt => d < 0,
                _ => d <= 0,
            };
            return self.boolean(r, span);
        }
        self.emit(op, vec![a, b], Ty::Bool, span)
    }

    pub fn not(&mut self, a: ValueId, span: Span) -> ValueId {
        match self.body[a].op {
            Op::Bool(b) => self.boolean(!b, span),
            Op::BoolNot => self.body[a].args[0],
            _ => self.emit(Op::BoolNot, vec![a], Ty::Bool, span),
        }
    }

    pub fn and(&mut self, a: ValueId, b: ValueId, span: Span) -> ValueId {
        match (self.const_bool(a), self.const_bool(b)) {
            (Some(true), _) => b,
            (_, Some(true)) => a,
            (Some(false), _) => a,
            (_, Some(false)) => b,
            _ => self.emit(Op::BoolAnd, vec![a, b], Ty::Bool, span),
        }
    }

    pub fn or(&mut self, a: ValueId, b: ValueId, span: Span) -> ValueId {
        match (self.const_bool(a), self.const_bool(b)) {
            (Some(false), _) => b,
            (_, Some(false)) => a,
            (Some(true), _) => a,
            (_, Some(true)) => b,
            _ => self.emit(Op::BoolOr, vec![a, b], Ty::Bool, span),
        }
    }

    pub fn bool_eq(&mut self, a: ValueId, b: ValueId, span: Span) -> ValueId {
        match (self.const_bool(a), self.const_bool(b)) {
            (Some(true), _) => b,
            (_, Some(true)) => a,
            (Some(false), _) => self.not(b, span),
            (_, Some(false)) => self.not(a, span),
            _ => self.emit(Op::BoolEq, vec![a, b], Ty::Bool, span),
        }
    }

    pub fn bit_to_bool(&mut self, v: ValueId, span: Span) -> ValueId {
        if let Some((b, _)) = self.const_bits(v) {
            return self.boolean(b != 0, span);
        }
        if self.body[v].op == Op::BoolToBit {
            return self.body[v].args[0];
        }
        self.emit(Op::BitToBool, vec![v], Ty::Bool, span)
    }

    pub fn bool_to_bit(&mut self, v: ValueId, span: Span) -> ValueId {
        if let Some(b) = self.const_bool(v) {
            return self.bits(u128::from(b), 1, span);
        }
        if self.body[v].op == Op::BitToBool {
            return self.body[v].args[0];
        }
        self.emit(Op::BoolToBit, vec![v], Ty::Bits(Width::Const(1)), span)
    }

    pub fn cmp(&mut self, op: CmpOp, a: ValueId, b: ValueId, span: Span) -> ValueId {
        if let (Some((x, w)), Some((y, _))) = (self.const_bits(a), self.const_bits(b)) {
            let s = |v: u128| ((v << (128 - w)) as i128) >> (128 - w);
            let r = match op {
                CmpOp::Eq => x == y,
                CmpOp::Ne => x != y,
                CmpOp::Ult => x < y,
                CmpOp::Ule => x <= y,
                CmpOp::Slt => s(x) < s(y),
                CmpOp::Sle => s(x) <= s(y),
            };
            return self.boolean(r, span);
        }
        self.emit(Op::Cmp(op), vec![a, b], Ty::Bool, span)
    }

    pub fn bits_bin(&mut self, op: BinOp, a: ValueId, b: ValueId, ty: Ty, span: Span) -> ValueId {
        if let (Some((x, w)), Some((y, _))) = (self.const_bits(a), self.const_bits(b)) {
            let r = match op {
                BinOp::Add => Some(x.wrapping_add(y)),
                BinOp::Sub => Some(x.wrapping_sub(y)),
                BinOp::And => Some(x & y),
                BinOp::Or => Some(x | y),
                BinOp::Xor => Some(x ^ y),
                _ => None,
            };
            if let Some(r) = r {
                return self.bits(r, w, span);
            }
        }
        self.emit(Op::Bin(op), vec![a, b], ty, span)
    }

    /// `int` to bits of a width, truncating.
    pub fn int_to_bits(&mut self, v: ValueId, w: Width, span: Span) -> ValueId {
        if let (Some(c), Width::Const(w)) = (self.const_int(v), w) {
            return self.bits(c as i128 as u128, w, span);
        }
        self.emit(Op::IntToBits, vec![v], Ty::Bits(w), span)
    }

    pub fn to_int(&mut self, v: ValueId, span: Span) -> ValueId {
        if let Some((b, _)) = self.const_bits(v)
            && let Ok(i) = i64::try_from(b)
        {
            return self.int(i, span);
        }
        self.emit(Op::ToInt, vec![v], Ty::Int, span)
    }

    /// Zero or sign extension, or truncation, to width `w`; nothing when it has it.
    pub fn resize(&mut self, op: Op, v: ValueId, w: Width, span: Span) -> ValueId {
        let Ty::Bits(from) = self.ty(v) else { return v };
        if self.same_width(from, w) {
            return v;
        }
        if let (Some((b, from)), Width::Const(to)) = (self.const_bits(v), w) {
            let r = if op == Op::Sext { (((b << (128 - from)) as i128) >> (128 - from)) as u128 } else { b };
            return self.bits(r, to, span);
        }
        if op == Op::Extract {
            let zero = self.int(0, span);
            return self.emit(Op::Extract, vec![v, zero], Ty::Bits(w), span);
        }
        self.emit(op, vec![v], Ty::Bits(w), span)
    }

    pub fn extract(&mut self, v: ValueId, lo: ValueId, w: Width, span: Span) -> ValueId {
        let at = self.const_int(lo);
        if let (Some((b, _)), Some(at), Width::Const(w)) = (self.const_bits(v), at, w) {
            return self.bits(if at < 128 { b >> at } else { 0 }, w, span);
        }
        if let (Some(0), Ty::Bits(from)) = (at, self.ty(v))
            && self.same_width(from, w)
        {
            return v;
        }
        self.emit(Op::Extract, vec![v, lo], Ty::Bits(w), span)
    }

    pub fn concat2(&mut self, hi: ValueId, lo: ValueId, span: Span) -> Res<ValueId> {
        let (Ty::Bits(a), Ty::Bits(b)) = (self.ty(hi), self.ty(lo)) else {
            return self.fail(span, "`concat` takes bits");
        };
        if let (Some((x, wx)), Some((y, wy))) = (self.const_bits(hi), self.const_bits(lo))
            && wx + wy <= 128
        {
            let v = self.bits((x << wy) | y, wx + wy, span);
            return Ok(v);
        }
        let (x, y) = (self.width_value(a, span), self.width_value(b, span));
        let sum = self.int_op(Op::IntAdd, x, y, span);
        let w = self.as_width(sum, span)?;
        Ok(self.emit(Op::Concat, vec![hi, lo], Ty::Bits(w), span))
    }
}
