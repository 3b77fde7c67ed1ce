//! `if`: arms, their common type, results, and what a fixed condition tells within an arm.

use super::lower::{Lowerer, Res, T, Val};
use super::parser::Reported;
use super::poly::Poly;
use crate::diag::{Error, Span};
use crate::ssa::{Op, Region, Stmt, Time, Ty, ValueId, Width};

enum Joined {
    None,
    Value(T, Vec<ValueId>, Vec<ValueId>),
}

impl Lowerer<'_> {
    /// An arm's value, converted within the arm when the type is known.
    pub fn arm_value(&mut self, f: impl FnOnce(&mut Self) -> Res<Val>, hint: Option<&T>, span: Span) -> Res<Val> {
        let v = f(self)?;
        match hint {
            Some(t) if !matches!(v, Val::Never) => {
                // A conversion that can't be left to the caller: literals and one-bit values.
                if matches!((&v, t), (Val::Unit, _)) { Ok(v) } else { self.coerce(v, t, span) }
            }
            _ => Ok(v),
        }
    }

    // Conditions

    /// Within an arm: what the (fixed) condition tells about `int`s.
    pub fn assume_condition(&mut self, c: ValueId, holds: bool) {
        let number = self.canon(c);
        for (cond, then, otherwise, result) in self.if_ints.clone() {
            if cond == number {
                let p = self.number_poly(if holds { then } else { otherwise });
                self.assume_equal(result, p);
            }
        }
        let d = self.body[c].clone();
        match d.op {
            Op::IntEq if holds => {
                let (p, q) = (self.poly(d.args[0]), self.poly(d.args[1]));
                match (p.as_atom(), q.as_atom()) {
                    (Some(a), _) if q.as_const().is_some() => self.assume_equal(a, q),
                    (_, Some(b)) if p.as_const().is_some() => self.assume_equal(b, p),
                    (Some(a), _) => self.assume_equal(a, q),
                    (_, Some(b)) => self.assume_equal(b, p),
                    _ => {}
                }
            }
            Op::BoolNot => self.assume_condition(d.args[0], !holds),
            Op::BoolAnd if holds => {
                self.assume_condition(d.args[0], true);
                self.assume_condition(d.args[1], true);
            }
            Op::BoolOr if !holds => {
                self.assume_condition(d.args[0], false);
                self.assume_condition(d.args[1], false);
            }
            _ => {}
        }
    }

    fn assume_equal(&mut self, atom: u32, p: Poly) {
        let p = self.normal(p);
        if p.terms().all(|(m, _)| !m.contains(&atom)) {
            self.assume.push((atom, p));
        }
    }

    /// Lowers an `if` whose arms `then` and `otherwise` lower.
    #[allow(clippy::too_many_arguments)]
    pub fn if_with(
        &mut self,
        c: ValueId,
        discard: bool,
        has_else: bool,
        span: Span,
        then: impl FnOnce(&mut Self) -> Res<Val>,
        otherwise: impl FnOnce(&mut Self) -> Res<Val>,
    ) -> Res<Val> {
        if let Some(known) = self.const_bool(c) {
            let v = if known { then(self)? } else { otherwise(self)? };
            if !has_else && !matches!(v, Val::Unit | Val::Never) && !discard {
                return self.fail(span, "an `if` with a value needs an `else`");
            }
            return Ok(if discard && !matches!(v, Val::Never) { Val::Unit } else { v });
        }
        let fixed = self.time(c) == Time::Fixed;
        let limit = self.body.values.len() as u32;
        let start = self.assume.len();
        let arm = |l: &mut Self, holds: bool, f: &mut dyn FnMut(&mut Self) -> Res<Val>| {
            l.push_region(Region::default());
            if fixed {
                l.assume_condition(c, holds);
            } else {
                l.depth += 1;
            }
            let v = f(l);
            if !fixed {
                l.depth -= 1;
            }
            l.assume.truncate(start);
            (v, l.pop_region())
        };
        let (mut then, mut otherwise) = (Some(then), Some(otherwise));
        let (tv, mut tr) = arm(self, true, &mut |l| then.take().map_or(Err(Reported), |f| f(l)));
        let (ev, mut er) = arm(self, false, &mut |l| otherwise.take().map_or(Err(Reported), |f| f(l)));
        self.forget_after(limit);
        let (tv, ev) = (tv?, ev?);
        let tv = if tr.diverges { Val::Never } else { tv };
        let ev = if er.diverges { Val::Never } else { ev };
        if !has_else && !discard && !matches!(tv, Val::Unit | Val::Never) {
            return self.fail(span, "an `if` with a value needs an `else`");
        }
        let value = if discard { Joined::None } else { self.join(c, &tv, &mut tr, &ev, &mut er, span)? };
        let mut results = Vec::new();
        let v = match value {
            Joined::None => Val::Unit,
            Joined::Value(t, tvs, evs) => {
                let v = self.results(&t, &tvs, &evs, c, limit, &mut results, span)?;
                tr.results = tvs;
                er.results = evs;
                v
            }
        };
        let both = tr.diverges && er.diverges;
        self.place(Stmt::If { cond: c, then: tr, otherwise: er, results });
        if both {
            self.region().diverges = true;
            return Ok(Val::Never);
        }
        Ok(v)
    }

    /// Runs `f` with what a fixed condition tells.
    fn under<X>(&mut self, c: ValueId, holds: bool, f: impl FnOnce(&mut Self) -> X) -> X {
        let start = self.assume.len();
        if self.time(c) == Time::Fixed {
            self.assume_condition(c, holds);
        }
        let x = f(self);
        self.assume.truncate(start);
        x
    }

    /// One type for the values of two arms, converting in the arms.
    fn join(&mut self, c: ValueId, tv: &Val, tr: &mut Region, ev: &Val, er: &mut Region, span: Span) -> Res<Joined> {
        match (tv, ev) {
            (Val::Poison, _) | (_, Val::Poison) => Err(Reported),
            (Val::Unit | Val::Never, Val::Unit | Val::Never) => Ok(Joined::None),
            (v, Val::Never) => {
                let (t, leaves) = self.flatten(v, span)?;
                Ok(Joined::Value(t, leaves, Vec::new()))
            }
            (Val::Never, v) => {
                let (t, leaves) = self.flatten(v, span)?;
                Ok(Joined::Value(t, Vec::new(), leaves))
            }
            _ => {
                let t = self.common(c, tv, ev, span)?;
                let mut convert = |v: &Val, region: &mut Region, holds| {
                    self.push_region(std::mem::take(region));
                    let v = self.under(c, holds, |l| l.coerce(v.clone(), &t, span));
                    *region = self.pop_region();
                    v
                };
                let a = convert(tv, tr, true);
                let b = convert(ev, er, false);
                let (_, a) = self.flatten(&a?, span)?;
                let (_, b) = self.flatten(&b?, span)?;
                Ok(Joined::Value(t, a, b))
            }
        }
    }

    fn flatten(&mut self, v: &Val, span: Span) -> Res<(T, Vec<ValueId>)> {
        match v {
            Val::Leaf(v) => Ok((T::Leaf(self.ty(*v)), vec![*v])),
            Val::Tuple(vs) => {
                let (mut ts, mut leaves) = (Vec::new(), Vec::new());
                for v in vs {
                    let (t, l) = self.flatten(v, span)?;
                    ts.push(t);
                    leaves.extend(l);
                }
                Ok((T::Tuple(ts), leaves))
            }
            Val::Unit => Ok((T::Unit, Vec::new())),
            v => {
                let v = v.clone();
                self.leaf(v, span).map(|v| (T::Unit, vec![v]))
            }
        }
    }

    /// The type both arms' values convert to.
    fn common(&mut self, c: ValueId, a: &Val, b: &Val, span: Span) -> Res<T> {
        match (a, b) {
            (Val::Tuple(xs), Val::Tuple(ys)) if xs.len() == ys.len() => {
                Ok(T::Tuple(xs.iter().zip(ys).map(|(x, y)| self.common(c, x, y, span)).collect::<Res<_>>()?))
            }
            (Val::Big(_), Val::Leaf(v)) | (Val::Leaf(v), Val::Big(_)) => Ok(T::Leaf(self.ty(*v))),
            (Val::Unit, Val::Unit) => Ok(T::Unit),
            (Val::Leaf(x), Val::Leaf(y)) => {
                let (p, q) = (self.ty(*x), self.ty(*y));
                let one = Width::Const(1);
                match (p, q) {
                    (Ty::Int, Ty::Int) | (Ty::Bool, Ty::Bool) | (Ty::Flags, Ty::Flags) => Ok(T::Leaf(p)),
                    (Ty::Bits(v), Ty::Bits(w)) if self.same_width(v, w) => {
                        Ok(T::Leaf(if matches!(w, Width::Const(_)) { q } else { p }))
                    }
                    (Ty::Bits(v), Ty::Bits(w)) if self.under(c, true, |l| l.same_width(v, w)) => Ok(T::Leaf(q)),
                    (Ty::Bits(v), Ty::Bits(w)) if self.under(c, false, |l| l.same_width(v, w)) => Ok(T::Leaf(p)),
                    (Ty::Bits(w), Ty::Bool) | (Ty::Bool, Ty::Bits(w)) if self.same_width(w, one) => {
                        Ok(T::Leaf(Ty::Bool))
                    }
                    (Ty::Bool, Ty::Int) | (Ty::Int, Ty::Bool) => Ok(T::Leaf(Ty::Bits(one))),
                    (Ty::Bits(_), Ty::Int) if self.const_int(*y).is_some() => Ok(T::Leaf(p)),
                    (Ty::Int, Ty::Bits(_)) if self.const_int(*x).is_some() => Ok(T::Leaf(q)),
                    (Ty::Bits(_), Ty::Int) | (Ty::Int, Ty::Bits(_)) => Ok(T::Leaf(Ty::Int)),
                    _ => {
                        let (p, q) = (self.describe(p), self.describe(q));
                        self.fail(span, format!("the arms have different types: {p} and {q}"))
                    }
                }
            }
            _ => {
                let (p, q) = (self.describe_val(a), self.describe_val(b));
                self.fail(span, format!("the arms have different types: {p} and {q}"))
            }
        }
    }

    /// Makes the result values of an `if`.
    #[allow(clippy::too_many_arguments)]
    fn results(
        &mut self,
        t: &T,
        tvs: &[ValueId],
        evs: &[ValueId],
        c: ValueId,
        limit: u32,
        out: &mut Vec<ValueId>,
        span: Span,
    ) -> Res<Val> {
        match t {
            T::Unit => Ok(Val::Unit),
            T::Tuple(ts) => {
                let mut vs = Vec::new();
                for t in ts {
                    vs.push(self.results(t, tvs, evs, c, limit, out, span)?);
                }
                Ok(Val::Tuple(vs))
            }
            T::Leaf(ty) => {
                let i = out.len();
                let (a, b) = (tvs.get(i).copied(), evs.get(i).copied());
                let times = [a, b].into_iter().flatten().map(|v| self.time(v)).max();
                let time = self.time(c).max(times.unwrap_or(Time::Fixed));
                if *ty == Ty::Int && time == Time::Dynamic {
                    let e =
                        Error::new(span, "this `if` chooses between `int`s by a dynamic condition; `int`s are fixed");
                    return Err(self.error(e.note("give the numbers a width: `bits(W, n)`")));
                }
                let arms = match (a, b) {
                    (Some(a), Some(b)) => Some((self.canon(c), self.canon(a), self.canon(b))),
                    (Some(a), None) | (None, Some(a)) => Some((self.canon(c), self.canon(a), self.canon(a))),
                    (None, None) => None,
                };
                // The width must be known outside the arms.
                let mut ty = *ty;
                if let Ty::Bits(Width::Value(w)) = ty
                    && w.0 >= limit
                {
                    let candidates = [a, b].into_iter().flatten().map(|v| self.ty(v)).collect::<Vec<_>>();
                    let outside = candidates.iter().find_map(|t| match t {
                        Ty::Bits(Width::Const(c)) => Some(Width::Const(*c)),
                        Ty::Bits(Width::Value(v)) if v.0 < limit => Some(Width::Value(*v)),
                        _ => None,
                    });
                    let p = self.poly(w);
                    ty = match outside {
                        Some(w) => Ty::Bits(w),
                        None => match self.rebuild(&p, limit, span) {
                            Some(v) => Ty::Bits(self.as_width(v, span)?),
                            None => {
                                return self.fail(span, "the width of this value is not known outside the `if`");
                            }
                        },
                    };
                }
                let r = self.if_result(ty, time, arms, span);
                out.push(r);
                Ok(Val::Leaf(r))
            }
        }
    }
}
