//! Expressions over partly known fields, forwards and backwards.

use std::collections::HashMap;

use super::solve::{Contradiction, Known, Solver};
use crate::eval::{Value, apply};
use crate::fixed;
use crate::ssa::{BinOp, Body, CmpOp, FieldId, Op, Region, Stmt, Ty, UnOp, ValueId, Width};

/// A negative number was matched before the width of its value was known: this is it at `n` bits.
pub(super) fn narrowed(want: Value, n: u32) -> Value {
    match want {
        Value::Bits(bits) if (bits as i128) < 0 => Value::Bits(bits & fixed::mask(n)),
        _ => want,
    }
}

/// The values of a body as far as the known fields determine them.
pub(super) struct Partial<'a> {
    body: &'a Body,
    values: Vec<Option<Value>>,
    /// Results of `if`s with a known condition: the arm's value.
    alias: HashMap<ValueId, ValueId>,
    assumed: &'a HashMap<ValueId, bool>,
}

impl<'a> Partial<'a> {
    pub(super) fn run(
        body: &'a Body,
        fields: &dyn Fn(FieldId) -> Option<u128>,
        pc: u64,
        assumed: &'a HashMap<ValueId, bool>,
    ) -> Self {
        let mut p = Self { body, values: vec![None; body.values.len()], alias: HashMap::new(), assumed };
        for (i, data) in body.values.iter().enumerate() {
            p.values[i] = match data.op {
                Op::Field(f) => fields(f).map(Value::Bits),
                Op::Int(v) => Some(Value::Int(v)),
                Op::Bool(v) => Some(Value::Bool(v)),
                Op::Bits(v) => Some(Value::Bits(v)),
                Op::Pc => Some(Value::Bits(u128::from(pc))),
                _ => None,
            };
        }
        p.region(&body.root);
        p
    }

    fn region(&mut self, region: &Region) {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(v) => {
                    if self.values[v.index()].is_none() {
                        self.values[v.index()] = self.compute(*v);
                    }
                }
                Stmt::If { cond, then, otherwise, results } => match self.truth(*cond) {
                    Some(c) => {
                        let arm = if c { then } else { otherwise };
                        self.region(arm);
                        for (&r, &v) in results.iter().zip(&arm.results) {
                            self.values[r.index()] = self.values[v.index()];
                            self.alias.insert(r, v);
                        }
                    }
                    None => {
                        self.region(then);
                        self.region(otherwise);
                    }
                },
                // What variables carry through a loop is left to trying.
                Stmt::For { .. } => {}
            }
        }
    }

    fn truth(&self, cond: ValueId) -> Option<bool> {
        self.values[cond.index()].map(Value::truth).or_else(|| self.assumed.get(&cond).copied())
    }

    fn width(&self, ty: Ty) -> Option<u32> {
        let n = match ty {
            Ty::Bits(Width::Const(n)) => n,
            Ty::Bits(Width::Value(w)) => u32::try_from(self.values[w.index()]?.int()).ok()?,
            Ty::Bool => 1,
            Ty::Int => 64,
            Ty::Flags | Ty::Unit => return None,
        };
        (1..=128).contains(&n).then_some(n)
    }

    fn compute(&self, v: ValueId) -> Option<Value> {
        let data = &self.body[v];
        if matches!(data.op, Op::VarGet(_) | Op::VarSet(_) | Op::IfResult | Op::Index) {
            return None;
        }
        let known = |i: usize| self.values[data.args.get(i)?.index()];
        // One side can decide.
        match data.op {
            Op::BoolAnd if [known(0), known(1)].contains(&Some(Value::Bool(false))) => return Some(Value::Bool(false)),
            Op::BoolOr if [known(0), known(1)].contains(&Some(Value::Bool(true))) => return Some(Value::Bool(true)),
            _ => {}
        }
        let args: Vec<Value> = data.args.iter().map(|a| self.values[a.index()]).collect::<Option<_>>()?;
        let widths: Vec<u32> = data.args.iter().map(|&a| self.width(self.body[a].ty).unwrap_or(0)).collect();
        apply(&data.op, self.width(data.ty).unwrap_or(0), &args, &widths).ok()
    }

    /// Learns fields from "`v` is `want`".
    pub(super) fn invert(
        &self,
        s: &Solver<'_>,
        v: ValueId,
        want: Value,
        known: &mut Known,
    ) -> Result<(), Contradiction> {
        let want = self.width(self.body[v].ty).map_or(want, |n| narrowed(want, n));
        if let Some(got) = self.values[v.index()] {
            let same = match got {
                Value::Int(a) => a == want.int(),
                _ => got.bits() == want.bits(),
            };
            return if same { Ok(()) } else { Err(Contradiction) };
        }
        if let Some(&to) = self.alias.get(&v) {
            return self.invert(s, to, want, known);
        }
        let data = &self.body[v];
        let arg = |i: usize| data.args[i];
        let value = |i: usize| self.values[data.args[i].index()];
        let width = |i: usize| self.width(self.body[data.args[i]].ty);
        // The operand that isn't known, and the one that is.
        let other = || match (value(0), value(1)) {
            (None, Some(k)) => Some((0, k)),
            (Some(k), None) => Some((1, k)),
            _ => None,
        };
        let next: Option<(usize, Value)> = match data.op {
            Op::Field(f) => {
                let all = fixed::mask(s.insn.pattern.fields[f.index()].width);
                return s.set_field(f, want.bits(), all, known);
            }
            Op::ToInt => match (width(0), u128::try_from(want.int())) {
                (Some(n), Ok(x)) if x <= fixed::mask(n) => Some((0, Value::Bits(x))),
                (Some(_), _) => return Err(Contradiction),
                _ => None,
            },
            Op::ToIntSigned => match width(0) {
                Some(n) => {
                    let x = want.int() as u128 & fixed::mask(n);
                    if fixed::signed(n, x) != i128::from(want.int()) {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Bits(x)))
                }
                None => None,
            },
            Op::IntToBits => self.width(data.ty).filter(|n| *n <= 62).map(|_| (0, Value::Int(want.bits() as i64))),
            Op::IntAdd => other().and_then(|(i, k)| Some((i, Value::Int(want.int().checked_sub(k.int())?)))),
            Op::IntSub => match other() {
                Some((0, k)) => want.int().checked_add(k.int()).map(|x| (0, Value::Int(x))),
                Some((_, k)) => k.int().checked_sub(want.int()).map(|x| (1, Value::Int(x))),
                None => None,
            },
            Op::IntMul => match other() {
                Some((i, k)) if k.int() != 0 => {
                    if want.int() % k.int() != 0 {
                        return Err(Contradiction);
                    }
                    Some((i, Value::Int(want.int() / k.int())))
                }
                _ => None,
            },
            Op::IntShl => match other() {
                Some((0, k)) if (0..63).contains(&k.int()) => {
                    if want.int() & ((1 << k.int()) - 1) != 0 {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Int(want.int() >> k.int())))
                }
                _ => None,
            },
            Op::IntNeg => Some((0, Value::Int(want.int().wrapping_neg()))),
            Op::BitToBool | Op::BoolToBit => {
                Some((0, if data.op == Op::BitToBool { Value::Bits(want.bits()) } else { Value::Bool(want.truth()) }))
            }
            Op::BoolNot => Some((0, Value::Bool(!want.truth()))),
            Op::BoolAnd if want.truth() => {
                self.invert(s, arg(0), want, known)?;
                Some((1, want))
            }
            Op::BoolOr if !want.truth() => {
                self.invert(s, arg(0), want, known)?;
                Some((1, want))
            }
            Op::IntEq if want.truth() => other().map(|(i, k)| (i, Value::Int(k.int()))),
            Op::Cmp(CmpOp::Eq) if want.truth() => other().map(|(i, k)| (i, Value::Bits(k.bits()))),
            Op::Cmp(CmpOp::Ne) if !want.truth() => other().map(|(i, k)| (i, Value::Bits(k.bits()))),
            Op::Un(UnOp::Not) => self.width(data.ty).map(|n| (0, Value::Bits(fixed::not(n, want.bits())))),
            Op::Un(UnOp::Neg) => self.width(data.ty).map(|n| (0, Value::Bits(fixed::neg(n, want.bits())))),
            Op::Bin(BinOp::Add) => match (other(), self.width(data.ty)) {
                (Some((i, k)), Some(n)) => Some((i, Value::Bits(fixed::sub(n, want.bits(), k.bits())))),
                _ => None,
            },
            Op::Bin(BinOp::Sub) => match (other(), self.width(data.ty)) {
                (Some((0, k)), Some(n)) => Some((0, Value::Bits(fixed::add(n, want.bits(), k.bits())))),
                (Some((_, k)), Some(n)) => Some((1, Value::Bits(fixed::sub(n, k.bits(), want.bits())))),
                _ => None,
            },
            Op::Bin(BinOp::Xor) => other().map(|(i, k)| (i, Value::Bits(want.bits() ^ k.bits()))),
            Op::Zext => match width(0) {
                Some(n) if want.bits() > fixed::mask(n) => return Err(Contradiction),
                Some(_) => Some((0, Value::Bits(want.bits()))),
                None => None,
            },
            Op::Sext => match (width(0), self.width(data.ty)) {
                (Some(n), Some(to)) => {
                    let x = want.bits() & fixed::mask(n);
                    if fixed::sext(n, to, x) != want.bits() {
                        return Err(Contradiction);
                    }
                    Some((0, Value::Bits(x)))
                }
                _ => None,
            },
            Op::ShlInt => match (value(1), self.width(data.ty)) {
                (Some(k), Some(n)) if (0..i64::from(n)).contains(&k.int()) => {
                    let k = k.int();
                    if want.bits() & fixed::mask(k as u32) != 0 {
                        return Err(Contradiction);
                    }
                    // The bits shifted out stay open.
                    return self.partly(s, arg(0), want.bits() >> k, fixed::mask(n - k as u32), known);
                }
                _ => None,
            },
            Op::Concat => {
                let Some(n) = width(1) else { return Ok(()) };
                self.invert(s, arg(0), Value::Bits(want.bits() >> n), known)?;
                Some((1, Value::Bits(want.bits() & fixed::mask(n))))
            }
            Op::Extract => match (value(1), self.width(data.ty)) {
                (Some(lo), Some(n)) if (0..64).contains(&lo.int()) => {
                    let lo = lo.int();
                    return self.partly(s, arg(0), want.bits() << lo, fixed::mask(n) << lo, known);
                }
                _ => None,
            },
            Op::AsWidth => Some((0, want)),
            Op::Select => value(0).map(|c| (if c.truth() { 1 } else { 2 }, want)),
            _ => None,
        };
        match next {
            Some((i, want)) => self.invert(s, arg(i), want, known),
            None => Ok(()),
        }
    }

    /// Learns from "these bits of `v` are known".
    fn partly(
        &self,
        s: &Solver<'_>,
        v: ValueId,
        bits: u128,
        mask: u128,
        known: &mut Known,
    ) -> Result<(), Contradiction> {
        if let Some(got) = self.values[v.index()] {
            return if (got.bits() ^ bits) & mask == 0 { Ok(()) } else { Err(Contradiction) };
        }
        if let Some(&to) = self.alias.get(&v) {
            return self.partly(s, to, bits, mask, known);
        }
        let data = &self.body[v];
        let own = self.width(self.body[v].ty).map(fixed::mask);
        match data.op {
            Op::Field(f) => {
                let all = fixed::mask(s.insn.pattern.fields[f.index()].width);
                s.set_field(f, bits & all, mask & all, known)
            }
            _ if own.is_some_and(|own| own & !mask == 0) => {
                self.invert(s, v, Value::Bits(bits & own.unwrap_or(0)), known)
            }
            // Low bits of a sum depend on low bits only.
            Op::Bin(BinOp::Add) if mask & mask.wrapping_add(1) == 0 => {
                let (a, b) = (self.values[data.args[0].index()], self.values[data.args[1].index()]);
                match (a, b) {
                    (None, Some(k)) => self.partly(s, data.args[0], bits.wrapping_sub(k.bits()) & mask, mask, known),
                    (Some(k), None) => self.partly(s, data.args[1], bits.wrapping_sub(k.bits()) & mask, mask, known),
                    _ => Ok(()),
                }
            }
            Op::Zext => match self.width(self.body[data.args[0]].ty).map(fixed::mask) {
                Some(inner) if bits & mask & !inner != 0 => Err(Contradiction),
                Some(inner) => self.partly(s, data.args[0], bits & inner, mask & inner, known),
                None => Ok(()),
            },
            // The sign must repeat above the operand; its own bits are learnt, `accept` checks the rest.
            Op::Sext => match self.width(self.body[data.args[0]].ty).map(fixed::mask) {
                Some(inner) => self.partly(s, data.args[0], bits & inner, mask & inner, known),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
