//! Builds one [`Body`]: values, regions, types and binding times.
//!
//! Type checking and lowering are one walk, because functions are inlined: each call is checked with the widths it has
//! there. Facts about fixed values are kept beside the body: every value has a *canonical number* (equal numbers: provably
//! equal values), and every `int` a polynomial over the numbers of opaque ones. Widths are compared through these; within
//! an arm of a fixed `if` what the condition says is assumed.
//!
//! Whether a variable is dynamic is known only after its last assignment. A body is therefore lowered under an
//! assumption about its variables (at first: all fixed) and lowered again if that turned out wrong.

use std::collections::HashMap;

use super::parser::Reported;
use super::poly::Poly;
use super::program::Program;
use crate::diag::{Error, Session, Span};
use crate::model::Field;
use crate::ssa::{Body, FieldId, Op, Region, Stmt, Time, Ty, ValueId, VarId, Width};

pub type Res<X> = Result<X, Reported>;

/// A value of the source language.
#[derive(Clone, Debug)]
pub enum Val {
    Leaf(ValueId),
    /// A literal too large for `int`.
    Big(u128),
    Tuple(Vec<Val>),
    Unit,
    /// Control doesn't get here.
    Never,
    /// Something was wrong with it, and that has been said.
    Poison,
}

/// A type of the source language.
#[derive(Clone, Debug)]
pub enum T {
    Leaf(Ty),
    Tuple(Vec<T>),
    Unit,
}

#[derive(Clone, Debug)]
pub enum VarTree {
    Leaf(VarId),
    Tuple(Vec<VarTree>),
}

#[derive(Clone, Debug)]
pub enum Binding {
    Val(Val),
    Var(VarTree),
    Field(FieldId),
}

pub type Scope = Vec<(String, Binding)>;

pub struct Lowerer<'a> {
    pub prog: &'a Program,
    pub fields: &'a [Field],
    pub body: Body,
    pub(super) regions: Vec<Region>,
    canon: Vec<u32>,
    next_canon: u32,
    numbers: HashMap<(Op, Vec<u32>, TyKey), u32>,
    polys: HashMap<u32, Poly>,
    poly_numbers: HashMap<Poly, u32>,
    first_value: HashMap<u32, ValueId>,
    /// Fixed `int` results of `if`s: condition, arms, result.
    pub(super) if_ints: Vec<(u32, u32, u32, u32)>,
    pub(super) assume: Vec<(u32, Poly)>,
    pub scopes: Vec<Scope>,
    pub errors: Vec<Error>,
    /// Functions being inlined, with their calls.
    pub(super) stack: Vec<(String, Span)>,
    assumed_dynamic: Vec<bool>,
    found_dynamic: Vec<bool>,
    var_depth: Vec<u32>,
    /// Dynamic `if`s around.
    pub(super) depth: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TyKey {
    Int,
    Bool,
    Bits(u32),
    BitsConst(u32),
    Flags,
    Unit,
}

/// Lowers a body with `f` until the assumption about its variables holds.
pub fn run<X>(
    prog: &Program,
    session: &mut Session,
    fields: &[Field],
    f: impl Fn(&mut Lowerer<'_>) -> Res<X>,
) -> Option<(Body, X)> {
    let mut assumed = Vec::new();
    loop {
        let mut l = Lowerer::new(prog, fields, assumed);
        let result = f(&mut l);
        let wrong =
            l.found_dynamic.iter().enumerate().any(|(i, d)| *d && !l.assumed_dynamic.get(i).is_some_and(|a| *a));
        if wrong {
            let n = l.found_dynamic.len().max(l.assumed_dynamic.len());
            assumed = (0..n)
                .map(|i| l.found_dynamic.get(i) == Some(&true) || l.assumed_dynamic.get(i) == Some(&true))
                .collect();
            continue;
        }
        let failed = !l.errors.is_empty();
        for e in std::mem::take(&mut l.errors) {
            session.error(e);
        }
        return match result {
            Ok(x) if !failed => Some((l.finish(), x)),
            _ => None,
        };
    }
}

#[must_use]
pub fn mask(w: u32) -> u128 {
    if w >= 128 { u128::MAX } else { (1 << w) - 1 }
}

impl<'a> Lowerer<'a> {
    fn new(prog: &'a Program, fields: &'a [Field], assumed_dynamic: Vec<bool>) -> Self {
        let scope =
            fields.iter().enumerate().map(|(i, f)| (f.name.clone(), Binding::Field(FieldId(i as u32)))).collect();
        Lowerer {
            prog,
            fields,
            body: Body::default(),
            regions: vec![Region::default()],
            canon: Vec::new(),
            next_canon: 0,
            numbers: HashMap::new(),
            polys: HashMap::new(),
            poly_numbers: HashMap::new(),
            first_value: HashMap::new(),
            if_ints: Vec::new(),
            assume: Vec::new(),
            scopes: vec![scope],
            errors: Vec::new(),
            stack: Vec::new(),
            assumed_dynamic,
            found_dynamic: Vec::new(),
            var_depth: Vec::new(),
            depth: 0,
        }
    }

    fn finish(mut self) -> Body {
        self.body.root = self.regions.pop().unwrap_or_default();
        self.body
    }

    // Errors

    pub fn error(&mut self, mut e: Error) -> Reported {
        for (name, span) in self.stack.iter().rev() {
            if *span != e.span {
                e = e.related(*span, format!("in this use of `{name}`"));
            }
        }
        self.errors.push(e);
        Reported
    }

    pub fn fail<X>(&mut self, span: Span, message: impl Into<String>) -> Res<X> {
        Err(self.error(Error::new(span, message)))
    }

    // Regions

    pub fn region(&mut self) -> &mut Region {
        self.regions.last_mut().expect("the root region is open while lowering")
    }

    pub fn push_region(&mut self, r: Region) {
        self.regions.push(r);
    }

    pub fn pop_region(&mut self) -> Region {
        self.regions.pop().unwrap_or_default()
    }

    pub fn place(&mut self, s: Stmt) {
        self.region().stmts.push(s);
    }

    // Facts

    fn fresh(&mut self) -> u32 {
        self.next_canon += 1;
        self.next_canon - 1
    }

    pub fn canon(&self, v: ValueId) -> u32 {
        self.canon[v.index()]
    }

    pub fn number_poly(&self, n: u32) -> Poly {
        self.normal(self.poly_of_number(n))
    }

    /// Values made since are no longer in scope: don't build on them.
    pub fn forget_after(&mut self, limit: u32) {
        self.first_value.retain(|_, v| v.0 < limit);
    }

    fn poly_of_number(&self, n: u32) -> Poly {
        self.polys.get(&n).cloned().unwrap_or_else(|| Poly::atom(n))
    }

    fn number_of_poly(&mut self, p: Poly) -> u32 {
        if let Some(a) = p.as_atom() {
            return a;
        }
        if let Some(n) = self.poly_numbers.get(&p) {
            return *n;
        }
        let n = self.fresh();
        self.poly_numbers.insert(p.clone(), n);
        self.polys.insert(n, p);
        n
    }

    /// The polynomial of an `int`, under the current assumptions.
    pub fn poly(&self, v: ValueId) -> Poly {
        self.normal(self.poly_of_number(self.canon(v)))
    }

    pub fn normal(&self, mut p: Poly) -> Poly {
        for (atom, by) in &self.assume {
            p = p.substitute(*atom, by);
        }
        p
    }

    pub fn width_poly(&self, w: Width) -> Poly {
        match w {
            Width::Const(c) => Poly::constant(i64::from(c)),
            Width::Value(v) => self.poly(v),
        }
    }

    pub fn same_width(&self, a: Width, b: Width) -> bool {
        a == b || self.width_poly(a) == self.width_poly(b)
    }

    /// Equal without what is assumed here.
    pub fn same_width_everywhere(&self, a: Width, b: Width) -> bool {
        let p = |w| match w {
            Width::Const(c) => Poly::constant(i64::from(c)),
            Width::Value(v) => self.poly_of_number(self.canon(v)),
        };
        a == b || p(a) == p(b)
    }

    /// A width that is a constant here although not everywhere, as that constant.
    pub fn settle(&self, w: Width) -> Width {
        match self.width_poly(w).as_const() {
            Some(c) if (0..=128).contains(&c) => Width::Const(c as u32),
            _ => w,
        }
    }

    pub fn const_int(&self, v: ValueId) -> Option<i64> {
        match self.body[v].ty {
            Ty::Int => self.poly_of_number(self.canon(v)).as_const(),
            _ => None,
        }
    }

    pub fn const_bool(&self, v: ValueId) -> Option<bool> {
        match self.body[v].op {
            Op::Bool(b) => Some(b),
            _ => None,
        }
    }

    pub fn const_bits(&self, v: ValueId) -> Option<(u128, u32)> {
        match (&self.body[v].op, self.body[v].ty) {
            (Op::Bits(b), Ty::Bits(Width::Const(w))) => Some((*b, w)),
            _ => None,
        }
    }

    fn ty_key(&self, ty: Ty) -> TyKey {
        match ty {
            Ty::Int => TyKey::Int,
            Ty::Bool => TyKey::Bool,
            Ty::Bits(Width::Const(c)) => TyKey::BitsConst(c),
            Ty::Bits(Width::Value(v)) => TyKey::Bits(self.canon(v)),
            Ty::Flags => TyKey::Flags,
            Ty::Unit => TyKey::Unit,
        }
    }

    /// The canonical number of a value about to be made.
    fn number(&mut self, op: &Op, args: &[ValueId], ty: Ty, time: Time) -> u32 {
        if let Op::Int(i) = op {
            return self.number_of_poly(Poly::constant(*i));
        }
        if ty == Ty::Int {
            let p = |l: &Self, i: usize| l.poly_of_number(l.canon(args[i]));
            let sum = match op {
                Op::IntAdd => Some(p(self, 0).add(&p(self, 1))),
                Op::IntSub => Some(p(self, 0).add(&p(self, 1).neg())),
                Op::IntMul => Some(p(self, 0).mul(&p(self, 1))),
                Op::IntNeg => Some(p(self, 0).neg()),
                Op::IntDiv => p(self, 0).div_exact(&p(self, 1)),
                Op::IntShl => match p(self, 1).as_const() {
                    Some(k @ 0..=62) => Some(p(self, 0).mul(&Poly::constant(1 << k))),
                    _ => None,
                },
                _ => None,
            };
            if let Some(p) = sum {
                return self.number_of_poly(p);
            }
        }
        if time == Time::Dynamic || matches!(op, Op::VarGet(_) | Op::Index | Op::IfResult) || ty == Ty::Unit {
            return self.fresh();
        }
        let key = (op.clone(), args.iter().map(|a| self.canon(*a)).collect(), self.ty_key(ty));
        self.numbered(key)
    }

    fn numbered(&mut self, key: (Op, Vec<u32>, TyKey)) -> u32 {
        if let Some(n) = self.numbers.get(&key) {
            return *n;
        }
        let n = self.fresh();
        self.numbers.insert(key, n);
        n
    }

    /// A value without its statement: the result of an `if`, or a loop's index.
    pub fn bare(&mut self, op: Op, ty: Ty, time: Time, span: Span) -> ValueId {
        let n = self.number(&op, &[], ty, time);
        let v = self.body.value(op, Vec::new(), ty, time, span);
        self.canon.push(n);
        self.first_value.entry(n).or_insert(v);
        v
    }

    /// Result of a fixed `if`: the same condition and arms give the same number.
    pub fn if_result(&mut self, ty: Ty, time: Time, arms: Option<(u32, u32, u32)>, span: Span) -> ValueId {
        let n = match arms {
            Some((c, t, e)) if time == Time::Fixed => {
                if t == e {
                    t
                } else {
                    let key = (Op::IfResult, vec![c, t, e], self.ty_key(ty));
                    let n = self.numbered(key);
                    if ty == Ty::Int && !self.if_ints.contains(&(c, t, e, n)) {
                        self.if_ints.push((c, t, e, n));
                    }
                    n
                }
            }
            _ => self.fresh(),
        };
        let v = self.body.value(Op::IfResult, Vec::new(), ty, time, span);
        self.canon.push(n);
        self.first_value.entry(n).or_insert(v);
        v
    }

    fn natural_time(&self, op: &Op, args: &[ValueId]) -> Time {
        match op {
            Op::StateGet(s) => {
                if self.prog.state[s.index()].context {
                    Time::Fixed
                } else {
                    Time::Dynamic
                }
            }
            Op::Param(_)
            | Op::StateSet(_)
            | Op::VUn(_)
            | Op::VBin(_)
            | Op::VTern(_)
            | Op::VShift(_)
            | Op::Shuffle
            | Op::Ext
            | Op::FpUn(_)
            | Op::FpRoundInt
            | Op::FpBin(_)
            | Op::FpFma
            | Op::FpCmp(_)
            | Op::FpCmpFlags
            | Op::FpConvert
            | Op::FpToInt
            | Op::IntToFp
            | Op::MemRead
            | Op::MemWrite
            | Op::MemAtomic
            | Op::MemCas
            | Op::Fence
            | Op::Call(_)
            | Op::SysregRead
            | Op::SysregWrite
            | Op::Branch
            | Op::EndBlock => Time::Dynamic,
            Op::VarGet(v) | Op::VarSet(v) => self.body.vars[v.index()].time,
            _ => args.iter().map(|a| self.body[*a].time).max().unwrap_or(Time::Fixed),
        }
    }

    /// Computes a value in the current region.
    pub fn emit(&mut self, op: Op, args: Vec<ValueId>, ty: Ty, span: Span) -> ValueId {
        let time = self.natural_time(&op, &args);
        let n = self.number(&op, &args, ty, time);
        // What is a constant by its polynomial becomes one.
        let (op, args) = match self.polys.get(&n).and_then(Poly::as_const) {
            Some(c) if ty == Ty::Int => (Op::Int(c), Vec::new()),
            _ => (op, args),
        };
        let v = self.body.value(op, args, ty, time, span);
        self.canon.push(n);
        self.first_value.entry(n).or_insert(v);
        self.place(Stmt::Eval(v));
        v
    }

    pub fn time(&self, v: ValueId) -> Time {
        self.body[v].time
    }

    pub fn ty(&self, v: ValueId) -> Ty {
        self.body[v].ty
    }

    /// An `int` value of the polynomial from values made before `limit` only.
    pub fn rebuild(&mut self, p: &Poly, limit: u32, span: Span) -> Option<ValueId> {
        let terms: Vec<(Vec<u32>, i64)> = p.terms().map(|(m, c)| (m.to_vec(), c)).collect();
        let atoms = terms.iter().flat_map(|(m, _)| m);
        for a in atoms {
            if self.first_value.get(a).is_none_or(|v| v.0 >= limit) {
                return None;
            }
        }
        let mut sum: Option<ValueId> = None;
        for (m, c) in terms {
            let mut product = self.int(c, span);
            for a in m {
                let v = self.first_value[&a];
                product = self.int_op(Op::IntMul, product, v, span);
            }
            sum = Some(match sum {
                None => product,
                Some(s) => self.int_op(Op::IntAdd, s, product, span),
            });
        }
        Some(sum.unwrap_or_else(|| self.int(0, span)))
    }

    // Variables

    pub fn new_var(&mut self, name: &str, ty: Ty) -> VarId {
        let i = self.body.vars.len();
        let dynamic = self.assumed_dynamic.get(i) == Some(&true);
        let v = self.body.var(name, ty, if dynamic { Time::Dynamic } else { Time::Fixed });
        self.var_depth.push(self.depth);
        self.found_dynamic.push(false);
        v
    }

    pub fn set_var(&mut self, var: VarId, v: ValueId, span: Span) {
        let i = var.index();
        if self.time(v) == Time::Dynamic || self.depth > self.var_depth[i] {
            self.found_dynamic[i] = true;
        }
        self.emit(Op::VarSet(var), vec![v], Ty::Unit, span);
    }

    /// Is an assignment here under a dynamic condition that the variable isn't under?
    pub fn under_dynamic(&self, var: VarId) -> bool {
        self.depth > self.var_depth[var.index()]
    }

    pub fn get_var(&mut self, var: VarId, span: Span) -> ValueId {
        let ty = self.body.vars[var.index()].ty;
        self.emit(Op::VarGet(var), Vec::new(), ty, span)
    }

    pub fn lookup(&self, name: &str) -> Option<&Binding> {
        self.scopes.iter().rev().flat_map(|s| s.iter().rev()).find(|(n, _)| n == name).map(|(_, b)| b)
    }

    pub fn bind(&mut self, name: &str, b: Binding) {
        if let Binding::Val(Val::Leaf(v)) = &b
            && self.body[*v].name.is_none()
            && !matches!(self.body[*v].op, Op::Int(_) | Op::Bool(_) | Op::Bits(_))
        {
            self.body[*v].name = Some(name.to_owned());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push((name.to_owned(), b));
        }
    }

    /// For messages.
    pub fn describe(&self, ty: Ty) -> String {
        match ty {
            Ty::Int => "int".into(),
            Ty::Bool => "bool".into(),
            Ty::Flags => "flags".into(),
            Ty::Unit => "nothing".into(),
            Ty::Bits(w) => format!("bits({})", self.describe_width(w)),
        }
    }

    fn describe_width(&self, w: Width) -> String {
        let p = self.width_poly(w);
        let mut out = String::new();
        for (m, c) in p.terms() {
            if !out.is_empty() {
                out.push_str(if c < 0 { " - " } else { " + " });
            } else if c < 0 {
                out.push('-');
            }
            let names: Vec<String> = m
                .iter()
                .map(|a| {
                    let v = self.first_value.get(a).map(|v| &self.body[*v]);
                    v.and_then(|d| d.name.clone()).unwrap_or_else(|| match v.map(|d| (&d.op, &d.args)) {
                        Some((Op::IntShl, args)) => format!("({} << ...)", self.arg_name(args[0])),
                        Some((Op::ToInt, args)) => self.arg_name(args[0]),
                        _ => format!("?{a}"),
                    })
                })
                .collect();
            let c = c.unsigned_abs();
            if m.is_empty() {
                out.push_str(&c.to_string());
            } else if c == 1 {
                out.push_str(&names.join(" * "));
            } else {
                out.push_str(&format!("{c} * {}", names.join(" * ")));
            }
        }
        if out.is_empty() { "0".into() } else { out }
    }

    fn arg_name(&self, v: ValueId) -> String {
        let d = &self.body[v];
        match d.op {
            Op::Int(i) => i.to_string(),
            Op::Field(f) => self.fields.get(f.index()).map_or_else(|| "?".into(), |f| f.name.clone()),
            _ => d.name.clone().unwrap_or_else(|| "?".into()),
        }
    }

    pub fn describe_val(&self, v: &Val) -> String {
        match v {
            Val::Leaf(v) => self.describe(self.ty(*v)),
            Val::Big(_) => "int".into(),
            Val::Tuple(vs) => format!("({})", vs.iter().map(|v| self.describe_val(v)).collect::<Vec<_>>().join(", ")),
            Val::Unit | Val::Never | Val::Poison => "nothing".into(),
        }
    }

    pub fn describe_t(&self, t: &T) -> String {
        match t {
            T::Leaf(ty) => self.describe(*ty),
            T::Tuple(ts) => format!("({})", ts.iter().map(|t| self.describe_t(t)).collect::<Vec<_>>().join(", ")),
            T::Unit => "nothing".into(),
        }
    }
}
