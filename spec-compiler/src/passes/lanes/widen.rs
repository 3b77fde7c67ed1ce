//! A turn of a loop over lanes as operations on whole vectors.
//!
//! A value of `w` bits becomes a vector whose lanes of `e >= w` bits hold it zero-extended; a truth value becomes a lane mask. Lanes
//! beyond the loop's count hold anything. Values that all turns agree on stay what they are, and are copied to all lanes where an
//! operation wants them.

use std::collections::HashMap;

use super::Loop;
use super::shape::{Effect, Shape};
use crate::diag::Span;
use crate::fixed;
use crate::passes::times::const_width;
use crate::ssa::{BinOp, Body, Op, Region, StateId, Stmt, Time, Ty, UnOp, ValueId, VarId, Width};

const V128: Ty = Ty::Bits(Width::Const(128));

/// The statements that stand for the loop; `None` if an operation has no equivalent.
pub fn widen(body: &mut Body, shape: &Shape, of: Loop) -> Option<Vec<Stmt>> {
    let mut w = Widen {
        body,
        shape,
        count: of.hi,
        values: HashMap::new(),
        complements: HashMap::new(),
        vars: HashMap::new(),
        span: Span::default(),
    };
    let mut out = Vec::new();
    let zero = w.int(0, &mut out);
    w.values.insert(of.index, zero);
    let turn = w.region(of.turn)?;
    out.extend(turn.stmts);
    Some(out)
}

pub(super) struct Widen<'a> {
    pub(super) body: &'a mut Body,
    pub(super) shape: &'a Shape,
    /// Number of lanes, fixed.
    pub(super) count: ValueId,
    /// What stands for a varying value: its vector. For an `int`, which is the index plus something fixed: that.
    pub(super) values: HashMap<ValueId, ValueId>,
    /// The opposite of a truth value, where that is what there is.
    pub(super) complements: HashMap<ValueId, ValueId>,
    /// What stands for a turn's variable.
    vars: HashMap<VarId, VarId>,
    /// Where the operation at hand comes from.
    span: Span,
}

pub(super) type Out = Vec<Stmt>;

/// Statements.
impl Widen<'_> {
    fn region(&mut self, r: &Region) -> Option<Region> {
        let mut out = Vec::new();
        for stmt in &r.stmts {
            match stmt {
                Stmt::Eval(v) => self.eval(*v, &mut out)?,
                Stmt::If { cond, then, otherwise, results } => {
                    let (then, otherwise) = (self.arm(then, results)?, self.arm(otherwise, results)?);
                    let results = results.iter().map(|&r| self.result(r)).collect();
                    out.push(Stmt::If { cond: *cond, then, otherwise, results });
                }
                Stmt::For { index, lo, hi, body } => {
                    let body = self.region(body)?;
                    out.push(Stmt::For { index: *index, lo: *lo, hi: *hi, body });
                }
            }
        }
        Some(Region { stmts: out, results: Vec::new(), diverges: false })
    }

    fn arm(&mut self, r: &Region, results: &[ValueId]) -> Option<Region> {
        let mut new = self.region(r)?;
        for (&value, result) in r.results.iter().zip(results) {
            new.results.push(if !self.shape.varying.contains(result) {
                value
            } else if self.body[*result].ty == Ty::Int {
                self.offset(value)?
            } else {
                self.lanes(value, &mut new.stmts)?
            });
        }
        Some(new)
    }

    fn result(&mut self, r: ValueId) -> ValueId {
        if !self.shape.varying.contains(&r) {
            return r;
        }
        let old = self.body[r].clone();
        let ty = if old.ty == Ty::Int { Ty::Int } else { V128 };
        let new = self.body.value(Op::IfResult, Vec::new(), ty, old.time, old.span);
        self.body[new].name = old.name;
        self.values.insert(r, new);
        new
    }

    fn eval(&mut self, v: ValueId, out: &mut Out) -> Option<()> {
        self.span = self.body[v].span;
        if self.shape.parts.contains(&v) {
            return Some(());
        }
        if let Some(&effect) = self.shape.effects.get(&v) {
            return match effect {
                Effect::SetLane { var, set_lane } => self.set_lanes(var, set_lane, out),
                Effect::Accumulate { state, bits, width } => self.accumulate(state, bits, width, out),
            };
        }
        if !self.shape.varying.contains(&v) {
            out.push(Stmt::Eval(v));
            return Some(());
        }
        let new = match self.body[v].op {
            Op::VarSet(var) => {
                let value = self.lanes(self.body[v].args[0], out)?;
                let var = self.var(var)?;
                let set = self.body.value(Op::VarSet(var), vec![value], Ty::Unit, Time::Fixed, self.span);
                out.push(Stmt::Eval(set));
                return Some(());
            }
            Op::VarGet(var) => {
                let var = self.var(var)?;
                self.emit(Op::VarGet(var), vec![], out)
            }
            Op::BoolNot | Op::BoolAnd | Op::BoolOr | Op::Cmp(_) => return self.truth(v, out),
            _ if self.body[v].ty == Ty::Int => self.index(v, out)?,
            _ => self.operation(v, out)?,
        };
        let name = self.body[v].name.clone();
        self.body[new].name = self.body[new].name.take().or(name);
        self.values.insert(v, new);
        Some(())
    }

    fn var(&mut self, var: VarId) -> Option<VarId> {
        let old = &self.body.vars[var.index()];
        if !matches!(old.ty, Ty::Bits(Width::Const(_)) | Ty::Bool) {
            return None;
        }
        if let Some(&new) = self.vars.get(&var) {
            return Some(new);
        }
        let name = old.name.clone();
        let new = self.body.var(&name, V128, Time::Fixed);
        self.vars.insert(var, new);
        Some(new)
    }

    /// The lanes that the loop sets, in place of those that the variable had.
    fn set_lanes(&mut self, var: VarId, set_lane: ValueId, out: &mut Out) -> Option<()> {
        let args = self.body[set_lane].args.clone();
        let e = self.int_of(args[0])?;
        let first = self.offset(args[2])?;
        let mut x = self.lanes(args[3], out)?;
        let mut from = self.shape.e;
        while from > e {
            x = self.unary("Narrow", from, x, out);
            from /= 2;
        }
        if self.int_of(first) != Some(0) {
            // Zeros below.
            let zero = self.bits128(0, out);
            let bytes = self.int(i64::from(e / 8), out);
            let at = self.number(Op::IntMul, first, bytes, out);
            let whole = self.int(16, out);
            let k = self.number(Op::IntSub, whole, at, out);
            x = self.emit(Op::Ext, vec![zero, x, k], out);
        }
        let mask = self.lane_mask(e, Some(first), out);
        let others = self.emit(Op::Un(UnOp::Not), vec![mask], out);
        let old = self.emit(Op::VarGet(var), vec![], out);
        let kept = self.both(BinOp::And, old, others, out);
        // Floating-point operations leave zeros beyond their lanes.
        let exact = matches!(self.body[x].op, Op::FpUn(_) | Op::FpRoundInt | Op::FpBin(_) | Op::FpFma | Op::FpCmp(_));
        let new = if exact && self.int_of(first) == Some(0) { x } else { self.both(BinOp::And, x, mask, out) };
        let all = self.both(BinOp::Or, kept, new, out);
        let set = self.body.value(Op::VarSet(var), vec![all], Ty::Unit, Time::Fixed, self.span);
        out.push(Stmt::Eval(set));
        Some(())
    }

    /// All lanes' bits, ORed together and into the state.
    fn accumulate(&mut self, state: StateId, bits: ValueId, width: Ty, out: &mut Out) -> Option<()> {
        let mut scalar = bits;
        if self.shape.varying.contains(&bits) {
            let (e, ty) = (self.shape.e, self.body[bits].ty);
            let mut x = self.lanes(bits, out)?;
            let mask = self.lane_mask(e, None, out);
            x = self.both(BinOp::And, x, mask, out);
            let mut distance = 8;
            while distance >= e / 8 {
                let k = self.int(i64::from(distance), out);
                let other = self.emit(Op::Ext, vec![x, x, k], out);
                x = self.both(BinOp::Or, x, other, out);
                distance /= 2;
            }
            let zero = self.int(0, out);
            scalar = self.typed(Op::Extract, vec![x, zero], ty, out);
        }
        if self.body[scalar].ty != width {
            scalar = self.typed(Op::Zext, vec![scalar], width, out);
        }
        let old = self.typed(Op::StateGet(state), vec![], width, out);
        let new = self.typed(Op::Bin(BinOp::Or), vec![old, scalar], width, out);
        self.typed(Op::StateSet(state), vec![new], Ty::Unit, out);
        Some(())
    }

    /// Ones in the lanes of the loop, of `e` bits, from lane `first` on.
    fn lane_mask(&mut self, e: u32, first: Option<ValueId>, out: &mut Out) -> ValueId {
        let (ones, width, all) = (self.bits128(u128::MAX, out), self.int(i64::from(e), out), self.int(128, out));
        let used = self.number(Op::IntMul, self.count, width, out);
        let unused = self.number(Op::IntSub, all, used, out);
        let mask = self.emit(Op::ShrInt, vec![ones, unused], out);
        match first {
            Some(first) => {
                let at = self.number(Op::IntMul, first, width, out);
                self.emit(Op::ShlInt, vec![mask, at], out)
            }
            None => mask,
        }
    }
}

/// Parts.
impl Widen<'_> {
    fn typed(&mut self, op: Op, args: Vec<ValueId>, ty: Ty, out: &mut Out) -> ValueId {
        let v = self.body.value(op, args, ty, Time::Fixed, self.span);
        out.push(Stmt::Eval(v));
        v
    }

    pub(super) fn emit(&mut self, op: Op, args: Vec<ValueId>, out: &mut Out) -> ValueId {
        self.typed(op, args, V128, out)
    }

    pub(super) fn int(&mut self, i: i64, out: &mut Out) -> ValueId {
        self.typed(Op::Int(i), vec![], Ty::Int, out)
    }

    pub(super) fn number(&mut self, op: Op, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        self.typed(op, vec![a, b], Ty::Int, out)
    }

    pub(super) fn bits128(&mut self, v: u128, out: &mut Out) -> ValueId {
        self.emit(Op::Bits(v), vec![], out)
    }

    /// The same number in all lanes.
    pub(super) fn konst(&mut self, lane: u128, out: &mut Out) -> ValueId {
        self.bits128(fixed::splat(self.shape.e, lane), out)
    }

    pub(super) fn both(&mut self, op: BinOp, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        self.emit(Op::Bin(op), vec![a, b], out)
    }

    pub(super) fn not(&mut self, a: ValueId, out: &mut Out) -> ValueId {
        self.emit(Op::Un(UnOp::Not), vec![a], out)
    }

    pub(super) fn unary(&mut self, op: &'static str, e: u32, a: ValueId, out: &mut Out) -> ValueId {
        let e = self.int(i64::from(e), out);
        self.emit(Op::VUn(op), vec![e, a], out)
    }

    pub(super) fn binary(&mut self, op: &'static str, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        let e = self.int(i64::from(self.shape.e), out);
        self.emit(Op::VBin(op), vec![e, a, b], out)
    }

    pub(super) fn shift(&mut self, op: &'static str, a: ValueId, k: u32, out: &mut Out) -> ValueId {
        if k == 0 {
            return a;
        }
        if k >= self.shape.e && op != "Sar" {
            return self.konst(0, out);
        }
        let (e, k) = (self.int(i64::from(self.shape.e), out), self.int(i64::from(k), out));
        self.emit(Op::VShift(op), vec![e, a, k], out)
    }

    /// The low `w` bits of each lane.
    pub(super) fn trim(&mut self, a: ValueId, w: u32, out: &mut Out) -> ValueId {
        if w >= self.shape.e {
            return a;
        }
        let mask = self.konst(fixed::mask(w), out);
        self.both(BinOp::And, a, mask, out)
    }

    /// The low `w` bits of each lane as a signed number of the lane's width.
    pub(super) fn sign_extended(&mut self, a: ValueId, w: u32, out: &mut Out) -> ValueId {
        let up = self.shape.e - w;
        let high = self.shift("Shl", a, up, out);
        self.shift("Sar", high, up, out)
    }

    pub(super) fn int_of(&self, v: ValueId) -> Option<u32> {
        match self.body[v].op {
            Op::Int(n) => u32::try_from(n).ok(),
            _ => None,
        }
    }

    pub(super) fn width(&self, v: ValueId) -> Option<u32> {
        const_width(self.body[v].ty)
    }

    /// A varying `int` less the index.
    pub(super) fn offset(&self, v: ValueId) -> Option<ValueId> {
        self.shape.varying.contains(&v).then(|| self.values.get(&v).copied())?
    }

    /// An `int` computed from the index.
    fn index(&mut self, v: ValueId, out: &mut Out) -> Option<ValueId> {
        let (op, args) = (self.body[v].op.clone(), self.body[v].args.clone());
        let fixed = |w: &Self, v| !w.shape.varying.contains(&v);
        let (of, by) = match op {
            Op::IntAdd if fixed(self, args[1]) => (args[0], args[1]),
            Op::IntAdd if fixed(self, args[0]) => (args[1], args[0]),
            Op::IntSub if fixed(self, args[1]) => (args[0], args[1]),
            _ => return None,
        };
        let of = self.offset(of)?;
        Some(self.number(op, of, by, out))
    }

    /// The vector of a value.
    pub(super) fn lanes(&mut self, v: ValueId, out: &mut Out) -> Option<ValueId> {
        if self.shape.varying.contains(&v) {
            if let (None, Some(&x)) = (self.values.get(&v), self.complements.get(&v)) {
                return Some(self.not(x, out));
            }
            return if self.body[v].ty == Ty::Int { None } else { self.values.get(&v).copied() };
        }
        let e = self.shape.e;
        let wide = Ty::Bits(Width::Const(e));
        let scalar = match (&self.body[v].op, self.body[v].ty) {
            (&Op::Bits(k), Ty::Bits(Width::Const(w))) if w <= e => return Some(self.konst(k, out)),
            (&Op::Bool(b), _) => return Some(self.bits128(if b { u128::MAX } else { 0 }, out)),
            (_, Ty::Bits(Width::Const(w))) if w == e => v,
            (_, Ty::Bits(Width::Const(w))) if w < e => self.typed(Op::Zext, vec![v], wide, out),
            (_, Ty::Bool) => {
                let bit = self.typed(Op::BoolToBit, vec![v], Ty::Bits(Width::Const(1)), out);
                self.typed(Op::Sext, vec![bit], wide, out)
            }
            _ => return None,
        };
        let e = self.int(i64::from(e), out);
        Some(self.emit(Op::Splat, vec![e, scalar], out))
    }
}
