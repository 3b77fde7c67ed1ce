//! Checks the invariants of structured SSA; runs after every pass in debug builds and tests.
//!
//! A value is defined once, in a region that dominates its uses; widths are fixed `int`s defined before; arms agree with the
//! results of their `if`; operations have the operands they need; fixed positions hold fixed values.

use crate::model::Model;
use crate::print;
use crate::ssa::{Body, Op, Region, Stmt, Time, Ty, ValueId, VarId, Width};

/// Whether the operation may stand anywhere without a statement: it has no operands and no effect.
fn floating(op: &Op) -> bool {
    matches!(op, Op::Int(_) | Op::Bool(_) | Op::Bits(_) | Op::Field(_) | Op::Pc | Op::Param(_))
}

/// Number of operands, `None` if it varies.
fn arity(op: &Op) -> Option<usize> {
    Some(match op {
        Op::Int(_)
        | Op::Bool(_)
        | Op::Bits(_)
        | Op::Field(_)
        | Op::Pc
        | Op::Param(_)
        | Op::Index
        | Op::IfResult
        | Op::VarGet(_)
        | Op::Fence
        | Op::EndBlock => 0,
        Op::VarSet(_)
        | Op::IntNeg
        | Op::IntLog2
        | Op::ToInt
        | Op::ToIntSigned
        | Op::IntToBits
        | Op::BitToBool
        | Op::BoolToBit
        | Op::BoolNot
        | Op::Un(_)
        | Op::Zext
        | Op::Sext
        | Op::AsWidth
        | Op::LogicFlags
        | Op::PackFlags
        | Op::UnpackFlags
        | Op::Assert => 1,
        Op::IntAdd
        | Op::IntSub
        | Op::IntMul
        | Op::IntDiv
        | Op::IntRem
        | Op::IntShl
        | Op::IntShr
        | Op::IntAnd
        | Op::IntOr
        | Op::IntXor
        | Op::IntMin
        | Op::IntMax
        | Op::IntEq
        | Op::IntLt
        | Op::IntLe
        | Op::BoolAnd
        | Op::BoolOr
        | Op::BoolEq
        | Op::Bin(_)
        | Op::Cmp(_)
        | Op::ShlInt
        | Op::ShrInt
        | Op::SarInt
        | Op::RorInt
        | Op::Extract
        | Op::Concat
        | Op::Replicate
        | Op::CondHolds
        | Op::Splat
        | Op::VUn(_)
        | Op::Branch => 2,
        Op::Insert
        | Op::Select
        | Op::AddFlags
        | Op::Lane
        | Op::VBin(_)
        | Op::VShift(_)
        | Op::Ext
        | Op::FpUn(_)
        | Op::MemRead => 3,
        Op::SetLane | Op::VTern(_) | Op::FpBin(_) | Op::FpCmp(_) | Op::FpCmpFlags | Op::FpConvert | Op::MemWrite => 4,
        Op::FpRoundInt | Op::FpFma | Op::IntToFp | Op::MemAtomic | Op::MemCas | Op::SysregRead => 5,
        Op::FpToInt | Op::SysregWrite => 6,
        Op::Shuffle => 18,
        Op::StateGet(_) | Op::StateSet(_) | Op::Call(_) => return None,
    })
}

/// # Errors
/// The first broken invariant, with the body's text.
pub fn verify(model: &Model, body: &Body) -> Result<(), String> {
    let mut v = Verifier { model, body, defined: vec![false; body.values.len()], set: vec![false; body.vars.len()] };
    v.region(&body.root).map_err(|e| format!("{e}\n{}", print::body(model, body)))
}

struct Verifier<'a> {
    model: &'a Model,
    body: &'a Body,
    defined: Vec<bool>,
    set: Vec<bool>,
}

impl Verifier<'_> {
    fn used(&self, v: ValueId, by: &str) -> Result<(), String> {
        match self.body.values.get(v.index()) {
            None => Err(format!("{by} uses v{}, which does not exist", v.0)),
            Some(d) if !self.defined[v.index()] && !floating(&d.op) => {
                Err(format!("{by} uses v{}, which is not defined there", v.0))
            }
            Some(_) => Ok(()),
        }
    }

    fn width(&self, ty: Ty, of: &str) -> Result<(), String> {
        let Ty::Bits(Width::Value(w)) = ty else { return Ok(()) };
        self.used(w, &format!("the width of {of}"))?;
        if self.body[w].ty != Ty::Int || self.body[w].time != Time::Fixed {
            return Err(format!("the width of {of} is not a fixed int"));
        }
        Ok(())
    }

    fn define(&mut self, v: ValueId) -> Result<(), String> {
        if std::mem::replace(&mut self.defined[v.index()], true) {
            return Err(format!("v{} is defined twice", v.0));
        }
        self.width(self.body[v].ty, &format!("v{}", v.0))
    }

    fn var(&self, var: VarId) -> Result<(), String> {
        if var.index() < self.body.vars.len() { Ok(()) } else { Err(format!("variable {} does not exist", var.0)) }
    }

    fn region(&mut self, region: &Region) -> Result<(), String> {
        for stmt in &region.stmts {
            match stmt {
                Stmt::Eval(v) => self.eval(*v)?,
                Stmt::If { cond, then, otherwise, results } => {
                    self.used(*cond, "an if")?;
                    if self.body[*cond].ty != Ty::Bool {
                        return Err(format!("condition v{} is no bool", cond.0));
                    }
                    for arm in [then, otherwise] {
                        let saved = (self.defined.clone(), self.set.clone());
                        self.region(arm)?;
                        if !arm.diverges && arm.results.len() != results.len() {
                            return Err(format!("an arm of the if on v{} has {} results", cond.0, arm.results.len()));
                        }
                        if arm.diverges && !arm.results.is_empty() {
                            return Err("a region that diverges has results".to_owned());
                        }
                        (self.defined, self.set) = saved;
                    }
                    for &r in results {
                        self.define(r)?;
                    }
                }
                Stmt::For { index, lo, hi, body } => {
                    for b in [lo, hi] {
                        self.used(*b, "a for")?;
                        if self.body[*b].ty != Ty::Int {
                            return Err(format!("bound v{} is no int", b.0));
                        }
                    }
                    let saved = (self.defined.clone(), self.set.clone());
                    self.define(*index)?;
                    self.region(body)?;
                    (self.defined, self.set) = saved;
                }
            }
        }
        for &r in &region.results {
            self.used(r, "a region's result")?;
        }
        Ok(())
    }

    fn eval(&mut self, v: ValueId) -> Result<(), String> {
        let data = self.body.values.get(v.index()).ok_or_else(|| format!("v{} does not exist", v.0))?;
        let name = format!("v{} ({:?})", v.0, data.op);
        for &a in &data.args {
            self.used(a, &name)?;
        }
        if let Some(n) = arity(&data.op)
            && n != data.args.len()
        {
            return Err(format!("{name} has {} operands instead of {n}", data.args.len()));
        }
        match data.op {
            Op::VarGet(var) => {
                self.var(var)?;
                if !self.set[var.index()] {
                    return Err(format!("{name} reads a variable that is not set"));
                }
            }
            Op::VarSet(var) => {
                self.var(var)?;
                self.set[var.index()] = true;
            }
            Op::StateGet(s) | Op::StateSet(s) => {
                let element = self.model.state.get(s.index()).ok_or_else(|| format!("{name}: no such state"))?;
                let value = usize::from(matches!(data.op, Op::StateSet(_)));
                if data.args.len() != value + usize::from(element.count.is_some()) {
                    return Err(format!("{name} has {} operands", data.args.len()));
                }
            }
            Op::Call(h) => {
                let helper = self.model.helpers.get(h.index()).ok_or_else(|| format!("{name}: no such function"))?;
                if helper.params.len() != data.args.len() {
                    return Err(format!("{name} has {} arguments", data.args.len()));
                }
            }
            Op::Index | Op::IfResult => return Err(format!("{name} is defined by no control flow")),
            _ => {}
        }
        self.define(v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssa::{BinOp, Op};
    use crate::testing::{Builder, bits, model};

    #[test]
    fn accepts_good_and_rejects_bad() {
        let m = model();
        let mut b = Builder::new();
        let x = b.get(0, 64);
        let y = b.op(Op::Bin(BinOp::Add), &[x, x], bits(64));
        b.set(1, y);
        let mut body = b.finish();
        assert_eq!(verify(&m, &body), Ok(()));
        body.root.stmts.swap(0, 1);
        assert!(verify(&m, &body).is_err_and(|e| e.contains("not defined")));
    }
}
