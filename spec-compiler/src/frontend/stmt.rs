//! Statements, assignment places, `match`, loops.

use super::ast::{Binder, Block, Expr, ExprKind, Stmt as AstStmt, StmtKind, Type};
use super::lower::{Binding, Lowerer, Res, T, Val, VarTree};
use super::parser::Reported;
use crate::diag::{Error, Span};
use crate::ssa::{Op, Region, StateId, Stmt, Time, Ty, ValueId, Width};

/// Something that can be read or assigned.
#[derive(Clone, Debug)]
pub enum Place {
    Value(Val),
    Var(VarTree),
    State(StateId, Option<ValueId>),
    /// A view with its parameters bound.
    View(String, Vec<(String, Binding)>, Span),
    /// Bits `lo..` of another place.
    Slice(Box<Place>, ValueId, Width),
    Tuple(Vec<Place>),
    Ignore,
}

impl Lowerer<'_> {
    /// Statements and value of a block, in the current scope.
    pub fn block_in_scope(&mut self, b: &Block, hint: Option<&T>, discard: bool) -> Res<Val> {
        let mut failed = false;
        for (i, s) in b.stmts.iter().enumerate() {
            if self.region().diverges {
                let called = matches!(&b.stmts[i - 1].kind, StmtKind::Expr(e) if matches!(e.kind, ExprKind::Call(..)));
                if i > 0 && called {
                    return self.fail(s.span, "unreachable: the statement before never returns");
                }
                return Ok(Val::Never);
            }
            if self.stmt(s).is_err() {
                failed = true;
                self.poison(s);
            }
        }
        if failed {
            return Err(Reported);
        }
        if self.region().diverges {
            return Ok(Val::Never);
        }
        match &b.tail {
            None => Ok(Val::Unit),
            Some(e) if discard => self.effect(e),
            Some(e) => self.expr(e, hint),
        }
    }

    /// Names bound by a statement in error are known, but unusable.
    fn poison(&mut self, s: &AstStmt) {
        if let StmtKind::Let(b, ..) | StmtKind::Var(b, ..) = &s.kind {
            self.poison_binder(b);
        }
    }

    pub fn poison_binder(&mut self, b: &Binder) {
        match b {
            Binder::Ignore(_) => {}
            Binder::Name(n) => self.bind(&n.name, Binding::Val(Val::Poison)),
            Binder::Tuple(bs, _) => bs.iter().for_each(|b| self.poison_binder(b)),
        }
    }

    /// For its effect; a value is dropped.
    pub fn effect(&mut self, e: &Expr) -> Res<Val> {
        match &e.kind {
            ExprKind::If(cond, then, otherwise) => {
                let c = self.bool_expr(cond)?;
                self.if_with(
                    c,
                    true,
                    otherwise.is_some(),
                    e.span,
                    |l| l.block_effect(then),
                    |l| match otherwise {
                        Some(e) => l.effect(e),
                        None => Ok(Val::Unit),
                    },
                )
            }
            ExprKind::Match(s, arms) => self.match_expr(s, arms, None, true, e.span),
            ExprKind::Block(b) => self.block_effect(b),
            _ => {
                let v = self.expr(e, None)?;
                Ok(if matches!(v, Val::Never) { Val::Never } else { Val::Unit })
            }
        }
    }

    fn stmt(&mut self, s: &AstStmt) -> Res<()> {
        match &s.kind {
            StmtKind::Let(b, ty, e) => {
                let v = self.typed(ty.as_ref(), e)?;
                self.bind_let(b, v)
            }
            StmtKind::Var(b, ty, e) => {
                let v = self.typed(ty.as_ref(), e)?;
                self.bind_var(b, v, e.span)
            }
            StmtKind::Assign(target, e) => {
                let place = self.place_expr(target, true)?;
                let t = self.place_ty(&place)?;
                let v = match &t {
                    Some(t) => self.expr_as(e, t)?,
                    None => self.expr(e, None)?,
                };
                self.write(&place, v, s.span)
            }
            StmtKind::For(i, lo, hi, body) => self.for_loop(&i.name, lo, hi, body, s.span),
            StmtKind::Expr(e) => self.effect(e).map(|_| ()),
        }
    }

    pub fn typed(&mut self, ty: Option<&Type>, e: &Expr) -> Res<Val> {
        let v = match ty {
            Some(ty) => {
                let t = self.resolve_ty(ty)?;
                self.expr_as(e, &t)?
            }
            None => self.expr(e, None)?,
        };
        match v {
            Val::Unit => self.fail(e.span, "this has no value"),
            v => Ok(v),
        }
    }

    pub fn bind_let(&mut self, b: &Binder, v: Val) -> Res<()> {
        match (b, v) {
            (Binder::Ignore(_), _) | (_, Val::Never) => Ok(()),
            (Binder::Name(n), v) => {
                self.bind(&n.name, Binding::Val(v));
                Ok(())
            }
            (Binder::Tuple(bs, _), Val::Tuple(vs)) if bs.len() == vs.len() => {
                bs.iter().zip(vs).try_for_each(|(b, v)| self.bind_let(b, v))
            }
            (Binder::Tuple(bs, at), v) => {
                let found = self.describe_val(&v);
                self.fail(*at, format!("expected a tuple of {} elements, found {found}", bs.len()))
            }
        }
    }

    fn bind_var(&mut self, b: &Binder, v: Val, span: Span) -> Res<()> {
        match (b, v) {
            (Binder::Ignore(_), _) | (_, Val::Never) => Ok(()),
            (Binder::Name(n), v) => {
                let tree = self.make_var(&n.name, v, span)?;
                self.bind(&n.name, Binding::Var(tree));
                Ok(())
            }
            (Binder::Tuple(bs, _), Val::Tuple(vs)) if bs.len() == vs.len() => {
                bs.iter().zip(vs).try_for_each(|(b, v)| self.bind_var(b, v, span))
            }
            (Binder::Tuple(bs, at), v) => {
                let found = self.describe_val(&v);
                self.fail(*at, format!("expected a tuple of {} elements, found {found}", bs.len()))
            }
        }
    }

    fn make_var(&mut self, name: &str, v: Val, span: Span) -> Res<VarTree> {
        match v {
            Val::Tuple(vs) => {
                let trees = vs.into_iter().enumerate().map(|(i, v)| self.make_var(&format!("{name}_{i}"), v, span));
                Ok(VarTree::Tuple(trees.collect::<Res<_>>()?))
            }
            v => {
                let v = self.leaf(v, span)?;
                let ty = self.ty(v);
                let var = self.new_var(name, ty);
                self.set_var(var, v, span);
                Ok(VarTree::Leaf(var))
            }
        }
    }

    pub fn read_var(&mut self, tree: &VarTree, span: Span) -> Val {
        match tree {
            VarTree::Leaf(v) => Val::Leaf(self.get_var(*v, span)),
            VarTree::Tuple(ts) => Val::Tuple(ts.iter().map(|t| self.read_var(t, span)).collect()),
        }
    }

    fn for_loop(&mut self, name: &str, lo: &Expr, hi: &Expr, body: &Block, span: Span) -> Res<()> {
        let (l, h) = (self.int_expr(lo)?, self.int_expr(hi)?);
        if let (Some(a), Some(b)) = (self.const_int(l), self.const_int(h))
            && a >= b
        {
            return Ok(());
        }
        let limit = self.body.values.len() as u32;
        let index = self.bare(Op::Index, Ty::Int, Time::Fixed, span);
        self.push_region(Region::default());
        self.scopes.push(Vec::new());
        self.bind(name, Binding::Val(Val::Leaf(index)));
        let result = self.block_in_scope(body, None, true);
        self.scopes.pop();
        let body = self.pop_region();
        self.forget_after(limit);
        result?;
        self.place(Stmt::For { index, lo: l, hi: h, body });
        Ok(())
    }

    // Places

    /// What an expression names. Anything that isn't a place is a value (readable only).
    pub fn place_expr(&mut self, e: &Expr, assigned: bool) -> Res<Place> {
        let span = e.span;
        match &e.kind {
            ExprKind::Name(name) => {
                if name == "_" && assigned {
                    return Ok(Place::Ignore);
                }
                match self.lookup(name).cloned() {
                    Some(Binding::Var(tree)) => return Ok(Place::Var(tree)),
                    Some(_) => {
                        if assigned {
                            let e = Error::new(span, format!("`{name}` can't be assigned"));
                            return Err(self.error(e.note("`var` declares a variable")));
                        }
                        let v = self.expr(e, None)?;
                        return Ok(Place::Value(v));
                    }
                    None => {}
                }
                let prog = self.prog;
                if let Some(view) = prog.views.get(name) {
                    if !view.params.is_empty() {
                        return self.fail(span, format!("`{name}` needs parameters: `{name}[...]`"));
                    }
                    return Ok(Place::View(name.clone(), Vec::new(), span));
                }
                if let Some(id) = prog.state_ids.get(name) {
                    if prog.state[id.index()].count.is_some() {
                        return self.fail(span, format!("`{name}` is an array: `{name}[...]`"));
                    }
                    return Ok(Place::State(*id, None));
                }
                if assigned {
                    return self.fail(span, format!("`{name}` is not defined, or can't be assigned"));
                }
                let v = self.expr(e, None)?;
                Ok(Place::Value(v))
            }
            ExprKind::Index(base, indices) => {
                if let ExprKind::Name(name) = &base.kind
                    && self.lookup(name).is_none()
                {
                    let prog = self.prog;
                    if let Some(view) = prog.views.get(name)
                        && !view.params.is_empty()
                    {
                        let scope = self.bind_params(name, &view.params, indices, span)?;
                        return Ok(Place::View(name.clone(), scope, span));
                    }
                    if let Some(id) = prog.state_ids.get(name)
                        && let Some(count) = prog.state[id.index()].count
                    {
                        if indices.len() != 1 {
                            return self.fail(span, "a state array takes one index");
                        }
                        let i = self.int_expr(&indices[0])?;
                        if let Some(c) = self.const_int(i)
                            && (c < 0 || c >= i64::from(count))
                        {
                            return self.fail(
                                indices[0].span,
                                format!("index {c} is outside `{name}`, which has {count} elements"),
                            );
                        }
                        return Ok(Place::State(*id, Some(i)));
                    }
                }
                if indices.len() != 1 {
                    return self.fail(span, "this is not a view: one index expected");
                }
                let place = self.place_expr(base, assigned)?;
                let w = self.place_width(&place, base.span)?;
                let i = self.int_expr(&indices[0])?;
                self.check_slice(i, Width::Const(1), w, span)?;
                Ok(Place::Slice(Box::new(place), i, Width::Const(1)))
            }
            ExprKind::Slice(base, hi, lo) => {
                let place = self.place_expr(base, assigned)?;
                let w = self.place_width(&place, base.span)?;
                let h = self.int_expr(hi)?;
                let l = self.int_expr(lo)?;
                let one = self.int(1, span);
                let d = self.int_op(Op::IntSub, h, l, span);
                let len = self.int_op(Op::IntAdd, d, one, span);
                let len = self.as_width(len, span)?;
                self.check_slice(l, len, w, span)?;
                Ok(Place::Slice(Box::new(place), l, len))
            }
            ExprKind::Tuple(es) if assigned => {
                Ok(Place::Tuple(es.iter().map(|e| self.place_expr(e, true)).collect::<Res<_>>()?))
            }
            _ if assigned => self.fail(span, "this can't be assigned"),
            _ => {
                let v = self.expr(e, None)?;
                Ok(Place::Value(v))
            }
        }
    }

    fn check_slice(&mut self, lo: ValueId, len: Width, w: Width, span: Span) -> Res<()> {
        if let (Some(lo), Width::Const(len), Width::Const(w)) = (self.const_int(lo), len, w)
            && (lo < 0 || lo + i64::from(len) > i64::from(w))
        {
            return self.fail(span, format!("bits outside a value of {w} bits"));
        }
        Ok(())
    }

    fn place_width(&mut self, place: &Place, span: Span) -> Res<Width> {
        match self.place_ty(place)? {
            Some(T::Leaf(Ty::Bits(w))) => Ok(w),
            Some(T::Leaf(Ty::Bool)) => Ok(Width::Const(1)),
            Some(t) => {
                let found = self.describe_t(&t);
                self.fail(span, format!("only bits can be indexed; this is {found}"))
            }
            None => self.fail(span, "only bits can be indexed"),
        }
    }

    fn val_ty(&self, v: &Val) -> Option<T> {
        match v {
            Val::Leaf(v) => Some(T::Leaf(self.ty(*v))),
            Val::Tuple(vs) => Some(T::Tuple(vs.iter().map(|v| self.val_ty(v)).collect::<Option<_>>()?)),
            _ => None,
        }
    }

    fn place_ty(&mut self, place: &Place) -> Res<Option<T>> {
        Ok(match place {
            Place::Ignore => None,
            Place::Value(v) => self.val_ty(v),
            Place::Var(tree) => Some(self.var_ty(tree)),
            Place::State(id, _) => Some(T::Leaf(self.prog.state[id.index()].ty)),
            Place::View(name, scope, at) => {
                let prog = self.prog;
                let view = &prog.views[name];
                let (scope, at) = (scope.clone(), *at);
                Some(self.inlined(name, at, scope, |l| l.resolve_ty(&view.ty))?)
            }
            Place::Slice(_, _, w) => Some(T::Leaf(Ty::Bits(*w))),
            Place::Tuple(ps) => {
                let ts: Vec<Option<T>> = ps.iter().map(|p| self.place_ty(p)).collect::<Res<_>>()?;
                ts.into_iter().collect::<Option<Vec<T>>>().map(T::Tuple)
            }
        })
    }

    fn var_ty(&self, tree: &VarTree) -> T {
        match tree {
            VarTree::Leaf(v) => T::Leaf(self.body.vars[v.index()].ty),
            VarTree::Tuple(ts) => T::Tuple(ts.iter().map(|t| self.var_ty(t)).collect()),
        }
    }

    pub fn read(&mut self, place: &Place, span: Span) -> Res<Val> {
        match place {
            Place::Ignore => self.fail(span, "`_` has no value"),
            Place::Value(v) => Ok(v.clone()),
            Place::Var(tree) => Ok(self.read_var(tree, span)),
            Place::State(id, index) => {
                let ty = self.prog.state[id.index()].ty;
                let args = index.iter().copied().collect();
                Ok(Val::Leaf(self.emit(Op::StateGet(*id), args, ty, span)))
            }
            Place::View(name, scope, at) => {
                let prog = self.prog;
                let view = &prog.views[name];
                let Some(get) = &view.get else {
                    return self.fail(span, format!("`{name}` can only be written"));
                };
                self.inlined(name, *at, scope.clone(), |l| {
                    let t = l.resolve_ty(&view.ty)?;
                    let v = l.block(get, Some(&t))?;
                    l.coerce(v, &t, get.tail.as_ref().map_or(get.span, |e| e.span))
                })
            }
            Place::Slice(base, lo, w) => {
                let v = self.read(base, span)?;
                let mut v = self.leaf(v, span)?;
                if self.ty(v) == Ty::Bool {
                    v = self.bool_to_bit(v, span);
                }
                Ok(Val::Leaf(self.extract(v, *lo, *w, span)))
            }
            Place::Tuple(ps) => Ok(Val::Tuple(ps.iter().map(|p| self.read(p, span)).collect::<Res<_>>()?)),
        }
    }

    fn write(&mut self, place: &Place, v: Val, span: Span) -> Res<()> {
        if matches!(v, Val::Never) {
            return Ok(());
        }
        match (place, v) {
            (Place::Ignore, _) => Ok(()),
            (Place::Value(_), _) => self.fail(span, "this can't be assigned"),
            (Place::Var(tree), v) => self.write_var(tree, v, span),
            (Place::State(id, index), v) => {
                let ty = self.prog.state[id.index()].ty;
                let v = self.coerce(v, &T::Leaf(ty), span)?;
                let v = self.leaf(v, span)?;
                let mut args: Vec<ValueId> = index.iter().copied().collect();
                args.push(v);
                self.emit(Op::StateSet(*id), args, Ty::Unit, span);
                Ok(())
            }
            (Place::View(name, scope, at), v) => {
                let prog = self.prog;
                let view = &prog.views[name];
                let Some((param, set)) = &view.set else {
                    return self.fail(span, format!("`{name}` can only be read"));
                };
                let mut scope = scope.clone();
                scope.push((param.name.clone(), Binding::Val(v)));
                self.inlined(name, *at, scope, |l| l.block_effect(set)).map(|_| ())
            }
            (Place::Slice(base, lo, w), v) => {
                let old = self.read(base, span)?;
                let old = self.leaf(old, span)?;
                let ty = self.ty(old);
                let piece = self.coerce(v, &T::Leaf(Ty::Bits(*w)), span)?;
                let piece = self.leaf(piece, span)?;
                let new = self.emit(Op::Insert, vec![old, *lo, piece], ty, span);
                self.write(base, Val::Leaf(new), span)
            }
            (Place::Tuple(ps), Val::Tuple(vs)) if ps.len() == vs.len() => {
                ps.iter().zip(vs).try_for_each(|(p, v)| self.write(p, v, span))
            }
            (Place::Tuple(ps), v) => {
                let found = self.describe_val(&v);
                self.fail(span, format!("expected a tuple of {} elements, found {found}", ps.len()))
            }
        }
    }

    fn write_var(&mut self, tree: &VarTree, v: Val, span: Span) -> Res<()> {
        match (tree, v) {
            (VarTree::Leaf(var), v) => {
                let ty = self.body.vars[var.index()].ty;
                let v = self.coerce(v, &T::Leaf(ty), span)?;
                let v = self.leaf(v, span)?;
                if ty == Ty::Int && self.depth > 0 && self.under_dynamic(*var) {
                    let e =
                        Error::new(span, "an `int` variable is assigned under a dynamic condition; `int`s are fixed");
                    return Err(self.error(e));
                }
                self.set_var(*var, v, span);
                Ok(())
            }
            (VarTree::Tuple(ts), Val::Tuple(vs)) if ts.len() == vs.len() => {
                ts.iter().zip(vs).try_for_each(|(t, v)| self.write_var(t, v, span))
            }
            (VarTree::Tuple(_), v) => {
                let found = self.describe_val(&v);
                self.fail(span, format!("expected a tuple, found {found}"))
            }
        }
    }
}
