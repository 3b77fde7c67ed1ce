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
use crate::ssa::{BinOp, Body, CmpOp, Op, Region, StateId, Stmt, Time, Ty, UnOp, ValueId, VarId, Width};

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

struct Widen<'a> {
    body: &'a mut Body,
    shape: &'a Shape,
    /// Number of lanes, fixed.
    count: ValueId,
    /// What stands for a varying value: its vector. For an `int`, which is the index plus something fixed: that.
    values: HashMap<ValueId, ValueId>,
    /// The opposite of a truth value, where that is what there is.
    complements: HashMap<ValueId, ValueId>,
    /// What stands for a turn's variable.
    vars: HashMap<VarId, VarId>,
    /// Where the operation at hand comes from.
    span: Span,
}

type Out = Vec<Stmt>;

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

    /// A truth value whose opposite is cheaper than itself; whoever wants itself inverts it.
    fn truth(&mut self, v: ValueId, out: &mut Out) -> Option<()> {
        let (op, args) = (self.body[v].op.clone(), self.body[v].args.clone());
        match op {
            Op::BoolNot => match self.complements.get(&args[0]) {
                Some(&x) => drop(self.values.insert(v, x)),
                None => {
                    let x = self.lanes(args[0], out)?;
                    self.complements.insert(v, x);
                }
            },
            Op::BoolAnd | Op::BoolOr => {
                let opposites = args.iter().map(|a| self.complements.get(a).copied()).collect::<Option<Vec<_>>>();
                let (op, dual) = match op {
                    Op::BoolAnd => (BinOp::And, BinOp::Or),
                    _ => (BinOp::Or, BinOp::And),
                };
                if let Some(x) = opposites {
                    let x = self.both(dual, x[0], x[1], out);
                    self.complements.insert(v, x);
                } else {
                    let (x, y) = (self.lanes(args[0], out)?, self.lanes(args[1], out)?);
                    let both = self.both(op, x, y, out);
                    self.values.insert(v, both);
                }
            }
            Op::Cmp(op) => self.compare(v, op, &args, out)?,
            _ => return None,
        }
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

    fn emit(&mut self, op: Op, args: Vec<ValueId>, out: &mut Out) -> ValueId {
        self.typed(op, args, V128, out)
    }

    fn int(&mut self, i: i64, out: &mut Out) -> ValueId {
        self.typed(Op::Int(i), vec![], Ty::Int, out)
    }

    fn number(&mut self, op: Op, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        self.typed(op, vec![a, b], Ty::Int, out)
    }

    fn bits128(&mut self, v: u128, out: &mut Out) -> ValueId {
        self.emit(Op::Bits(v), vec![], out)
    }

    /// The same number in all lanes.
    fn konst(&mut self, lane: u128, out: &mut Out) -> ValueId {
        self.bits128(fixed::splat(self.shape.e, lane), out)
    }

    fn both(&mut self, op: BinOp, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        self.emit(Op::Bin(op), vec![a, b], out)
    }

    fn not(&mut self, a: ValueId, out: &mut Out) -> ValueId {
        self.emit(Op::Un(UnOp::Not), vec![a], out)
    }

    fn unary(&mut self, op: &'static str, e: u32, a: ValueId, out: &mut Out) -> ValueId {
        let e = self.int(i64::from(e), out);
        self.emit(Op::VUn(op), vec![e, a], out)
    }

    fn binary(&mut self, op: &'static str, a: ValueId, b: ValueId, out: &mut Out) -> ValueId {
        let e = self.int(i64::from(self.shape.e), out);
        self.emit(Op::VBin(op), vec![e, a, b], out)
    }

    fn shift(&mut self, op: &'static str, a: ValueId, k: u32, out: &mut Out) -> ValueId {
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
    fn trim(&mut self, a: ValueId, w: u32, out: &mut Out) -> ValueId {
        if w >= self.shape.e {
            return a;
        }
        let mask = self.konst(fixed::mask(w), out);
        self.both(BinOp::And, a, mask, out)
    }

    /// The low `w` bits of each lane as a signed number of the lane's width.
    fn sign_extended(&mut self, a: ValueId, w: u32, out: &mut Out) -> ValueId {
        let up = self.shape.e - w;
        let high = self.shift("Shl", a, up, out);
        self.shift("Sar", high, up, out)
    }

    fn int_of(&self, v: ValueId) -> Option<u32> {
        match self.body[v].op {
            Op::Int(n) => u32::try_from(n).ok(),
            _ => None,
        }
    }

    fn width(&self, v: ValueId) -> Option<u32> {
        const_width(self.body[v].ty)
    }

    /// A varying `int` less the index.
    fn offset(&self, v: ValueId) -> Option<ValueId> {
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
    fn lanes(&mut self, v: ValueId, out: &mut Out) -> Option<ValueId> {
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

    /// Whether a value of the lanes' width is known to be less than half of what it can be.
    fn is_positive(&self, v: ValueId) -> bool {
        let data = &self.body[v];
        let Some(w) = self.width(v) else { return false };
        if w < self.shape.e {
            return true;
        }
        match data.op {
            Op::Bits(k) => k >> (w - 1) == 0,
            Op::Bin(BinOp::And) => data.args.iter().any(|&a| self.is_positive(a)),
            Op::Bin(BinOp::Or) => data.args.iter().all(|&a| self.is_positive(a)),
            Op::Select => data.args[1..].iter().all(|&a| self.is_positive(a)),
            Op::ShrInt => self.int_of(data.args[1]).is_some_and(|k| k > 0) || self.is_positive(data.args[0]),
            Op::Zext => self.width(data.args[0]).is_some_and(|from| from < w) || self.is_positive(data.args[0]),
            Op::Un(UnOp::Clz) => true,
            _ => false,
        }
    }
}

/// Operations.
impl Widen<'_> {
    /// The operation on all lanes; `None` where there is none that the backend expands inline.
    fn operation(&mut self, v: ValueId, out: &mut Out) -> Option<ValueId> {
        let data = self.body[v].clone();
        let (e, w) = (self.shape.e, const_width(data.ty)?);
        let args = &data.args;
        Some(match data.op {
            Op::Lane => self.lane(args, out)?,
            Op::Zext => self.lanes(args[0], out)?,
            Op::Sext => {
                let from = self.width(args[0])?;
                let x = self.lanes(args[0], out)?;
                let x = self.sign_extended(x, from, out);
                self.trim(x, w, out)
            }
            Op::Extract => {
                let (from, lo) = (self.width(args[0])?, self.int_of(args[1])?);
                let x = self.lanes(args[0], out)?;
                let x = self.shift("Shr", x, lo, out);
                if lo + w >= from { x } else { self.trim(x, w, out) }
            }
            Op::Concat => {
                let low = self.width(args[1])?;
                let (hi, lo) = (self.lanes(args[0], out)?, self.lanes(args[1], out)?);
                let hi = self.shift("Shl", hi, low, out);
                self.both(BinOp::Or, hi, lo, out)
            }
            Op::ShlInt => {
                let k = self.int_of(args[1])?;
                let x = self.lanes(args[0], out)?;
                let x = self.shift("Shl", x, k, out);
                self.trim(x, w, out)
            }
            Op::ShrInt => {
                let k = self.int_of(args[1])?;
                let x = self.lanes(args[0], out)?;
                self.shift("Shr", x, k, out)
            }
            Op::SarInt => {
                let k = self.int_of(args[1])?.min(w - 1);
                let x = self.lanes(args[0], out)?;
                let x = self.sign_extended(x, w, out);
                let x = self.shift("Sar", x, k, out);
                self.trim(x, w, out)
            }
            Op::Un(op) => self.un(op, args[0], w, out)?,
            Op::Bin(op) => self.bin(op, args, w, out)?,
            Op::BitToBool => {
                let x = self.lanes(args[0], out)?;
                self.unary("Neg", e, x, out)
            }
            Op::BoolToBit => {
                let x = self.lanes(args[0], out)?;
                self.shift("Shr", x, e - 1, out)
            }
            Op::BoolEq => {
                let (x, y) = (self.lanes(args[0], out)?, self.lanes(args[1], out)?);
                let differ = self.both(BinOp::Xor, x, y, out);
                self.not(differ, out)
            }
            Op::Select => self.select(args, out)?,
            Op::FpUn(_) | Op::FpRoundInt | Op::FpBin(_) | Op::FpFma | Op::FpCmp(_) => {
                self.floating(&data.op, args, out)?
            }
            _ => return None,
        })
    }

    /// Lanes of a vector that is the same in all turns, from a fixed one on.
    fn lane(&mut self, args: &[ValueId], out: &mut Out) -> Option<ValueId> {
        let (mut e, mut x) = (self.int_of(args[0])?, args[1]);
        if self.shape.varying.contains(&x) {
            return None;
        }
        let first = self.offset(args[2])?;
        if self.int_of(first) != Some(0) {
            let bytes = self.int(i64::from(e / 8), out);
            let at = self.number(Op::IntMul, first, bytes, out);
            x = self.emit(Op::Ext, vec![x, x, at], out);
        }
        while e < self.shape.e {
            x = self.unary("ZextLow", e, x, out);
            e *= 2;
        }
        Some(x)
    }

    fn un(&mut self, op: UnOp, a: ValueId, w: u32, out: &mut Out) -> Option<ValueId> {
        let e = self.shape.e;
        let x = self.lanes(a, out)?;
        match op {
            UnOp::Not if w == e => Some(self.not(x, out)),
            UnOp::Not => {
                let mask = self.konst(fixed::mask(w), out);
                Some(self.both(BinOp::Xor, x, mask, out))
            }
            UnOp::Neg => {
                let x = self.unary("Neg", e, x, out);
                Some(self.trim(x, w, out))
            }
            UnOp::Clz if matches!(e, 8 | 32) => {
                let n = self.unary("Clz", e, x, out);
                if w == e {
                    return Some(n);
                }
                let more = self.konst(u128::from(e - w), out);
                Some(self.binary("Sub", n, more, out))
            }
            UnOp::Popcnt if e == 8 => Some(self.unary("Popcnt", e, x, out)),
            _ => None,
        }
    }

    fn bin(&mut self, op: BinOp, args: &[ValueId], w: u32, out: &mut Out) -> Option<ValueId> {
        let e = self.shape.e;
        let (x, y) = (self.lanes(args[0], out)?, self.lanes(args[1], out)?);
        let whole = match op {
            BinOp::And | BinOp::Or | BinOp::Xor => return Some(self.both(op, x, y, out)),
            BinOp::Add => self.binary("Add", x, y, out),
            BinOp::Sub => self.binary("Sub", x, y, out),
            BinOp::Mul if e < 64 => self.binary("Mul", x, y, out),
            BinOp::Shl | BinOp::Shr if matches!(e, 32 | 64) && w.is_power_of_two() => {
                let amount = self.konst(u128::from(w - 1), out);
                let mut amount = self.both(BinOp::And, y, amount, out);
                if op == BinOp::Shr {
                    amount = self.unary("Neg", e, amount, out);
                }
                self.binary("UShlVar", x, amount, out)
            }
            BinOp::Sar if e == 32 && w.is_power_of_two() => {
                let amount = self.konst(u128::from(w - 1), out);
                let amount = self.both(BinOp::And, y, amount, out);
                let amount = self.unary("Neg", e, amount, out);
                let x = self.sign_extended(x, w, out);
                self.binary("SShlVar", x, amount, out)
            }
            _ => return None,
        };
        Some(self.trim(whole, w, out))
    }

    fn compare(&mut self, v: ValueId, op: CmpOp, args: &[ValueId], out: &mut Out) -> Option<()> {
        let w = self.width(args[0])?;
        // Both small: the signed comparison, which the host has.
        let small = args.iter().all(|&a| self.is_positive(a));
        let (mut x, mut y) = (self.lanes(args[0], out)?, self.lanes(args[1], out)?);
        if matches!(op, CmpOp::Slt | CmpOp::Sle) {
            let up = self.shape.e - w;
            (x, y) = (self.shift("Shl", x, up, out), self.shift("Shl", y, up, out));
        }
        let (is_it, mask) = match op {
            CmpOp::Eq => (true, self.binary("CmpEq", x, y, out)),
            CmpOp::Ne => (false, self.binary("CmpEq", x, y, out)),
            CmpOp::Slt => (true, self.binary("CmpSgt", y, x, out)),
            CmpOp::Sle => (false, self.binary("CmpSgt", x, y, out)),
            CmpOp::Ult if small => (true, self.binary("CmpSgt", y, x, out)),
            CmpOp::Ule if small => (false, self.binary("CmpSgt", x, y, out)),
            CmpOp::Ult => (false, self.binary("CmpUge", x, y, out)),
            CmpOp::Ule => (true, self.binary("CmpUge", y, x, out)),
        };
        if is_it { &mut self.values } else { &mut self.complements }.insert(v, mask);
        Some(())
    }

    fn select(&mut self, args: &[ValueId], out: &mut Out) -> Option<ValueId> {
        let (mut a, mut b) = (self.lanes(args[1], out)?, self.lanes(args[2], out)?);
        if !self.shape.varying.contains(&args[0]) {
            return Some(self.emit(Op::Select, vec![args[0], a, b], out));
        }
        let mask = match self.complements.get(&args[0]) {
            Some(&opposite) => {
                (a, b) = (b, a);
                opposite
            }
            None => self.lanes(args[0], out)?,
        };
        let constant = |w: &Self, v: ValueId| match w.body[v].op {
            Op::Bits(k) => Some(k),
            _ => None,
        };
        Some(match (constant(self, a), constant(self, b)) {
            (Some(one), Some(other)) if one != 0 && other != 0 => {
                let differ = self.bits128(one ^ other, out);
                let taken = self.both(BinOp::And, mask, differ, out);
                self.both(BinOp::Xor, taken, b, out)
            }
            (_, Some(0)) => self.both(BinOp::And, a, mask, out),
            (Some(u128::MAX), _) => self.both(BinOp::Or, b, mask, out),
            (Some(0), _) => {
                let taken = self.both(BinOp::And, b, mask, out);
                self.both(BinOp::Xor, b, taken, out)
            }
            _ => {
                let differ = self.both(BinOp::Xor, a, b, out);
                let taken = self.both(BinOp::And, differ, mask, out);
                self.both(BinOp::Xor, b, taken, out)
            }
        })
    }

    /// Operations on one lane, which are there for more lanes too.
    fn floating(&mut self, op: &Op, args: &[ValueId], out: &mut Out) -> Option<ValueId> {
        if self.int_of(args[0]) != Some(self.shape.e) || self.int_of(args[1]) != Some(1) {
            return None;
        }
        let operands = match op {
            Op::FpRoundInt => 2..3,
            _ => 2..args.len(),
        };
        let mut new = args.to_vec();
        new[1] = self.count;
        for i in operands {
            new[i] = self.lanes(args[i], out)?;
        }
        Some(self.emit(op.clone(), new, out))
    }
}
