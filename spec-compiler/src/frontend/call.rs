//! Calls: functions (inlined), extern functions, and the integer, flag and control builtins.

use super::ast::{Expr, ExprKind, Ident, Param, TypeKind};
use super::lower::{Binding, Lowerer, Res, Scope, T, Val};
use super::parser::Reported;
use crate::diag::{Error, Span};
use crate::ssa::{BinOp, CmpOp, Op, Time, Ty, UnOp, ValueId, Width};

impl Lowerer<'_> {
    pub fn call(&mut self, name: &Ident, args: &[Expr], span: Span, hint: Option<&T>) -> Res<Val> {
        let prog = self.prog;
        if let Some(f) = prog.fns.get(&name.name) {
            let scope = self.bind_params(&name.name, &f.params, args, span)?;
            if f.outlined && self.any_dynamic(&scope) {
                return self.outlined_call(&name.name, &scope, span);
            }
            return self.inlined(&name.name, span, scope, |l| match &f.result {
                Some(ty) => {
                    let t = l.resolve_ty(ty)?;
                    let v = l.block(&f.body, Some(&t))?;
                    let at = f.body.tail.as_ref().map_or(f.body.span, |e| e.span);
                    l.coerce(v, &t, at)
                }
                None => l.block_effect(&f.body),
            });
        }
        if let Some(id) = prog.helper_ids.get(&name.name) {
            let h = &prog.helpers[id.index()];
            if args.len() != h.params.len() {
                return self.count(&name.name, h.params.len(), args.len(), span);
            }
            let mut vs = Vec::new();
            for (a, (_, ty)) in args.iter().zip(&h.params) {
                let v = self.expr_as(a, &T::Leaf(*ty))?;
                vs.push(self.leaf(v, a.span)?);
            }
            let v = self.emit(Op::Call(*id), vs, h.result.unwrap_or(Ty::Unit), span);
            if h.never {
                self.region().diverges = true;
                return Ok(Val::Never);
            }
            return Ok(if h.result.is_some() { Val::Leaf(v) } else { Val::Unit });
        }
        if let Some(v) = self.vector_call(&name.name, args, span)? {
            return Ok(v);
        }
        self.builtin(&name.name, name.span, args, span, hint)
    }

    fn any_dynamic(&self, scope: &Scope) -> bool {
        scope.iter().any(|(_, b)| matches!(b, Binding::Val(Val::Leaf(v)) if self.time(*v) == Time::Dynamic))
    }

    /// A call of an outlined function's Rust, with its arguments in the order of its parameters.
    fn outlined_call(&mut self, name: &str, scope: &Scope, span: Span) -> Res<Val> {
        // What is wrong with its declaration has been said.
        let id = *self.prog.helper_ids.get(name).ok_or(Reported)?;
        let mut args = Vec::new();
        for (_, binding) in scope {
            let Binding::Val(v) = binding else { return Err(Reported) };
            args.push(self.leaf(v.clone(), span)?);
        }
        let result = self.prog.helpers[id.index()].result.unwrap_or(Ty::Unit);
        Ok(Val::Leaf(self.emit(Op::Call(id), args, result, span)))
    }

    pub fn count<X>(&mut self, name: &str, wanted: usize, found: usize, span: Span) -> Res<X> {
        let s = if wanted == 1 { "" } else { "s" };
        self.fail(span, format!("`{name}` takes {wanted} argument{s}, found {found}"))
    }

    /// Evaluates arguments and binds them to parameters; omitted `int`s are inferred from widths.
    pub fn bind_params(&mut self, name: &str, params: &[Param], args: &[Expr], span: Span) -> Res<Scope> {
        let width_name = |p: &Param| match &p.ty.kind {
            TypeKind::Bits(w) => match &w.kind {
                ExprKind::Name(n) => Some(n.clone()),
                _ => None,
            },
            _ => None,
        };
        let inferable = |p: &Param| {
            matches!(p.ty.kind, TypeKind::Int)
                && params.iter().any(|q| width_name(q).as_deref() == Some(p.name.name.as_str()))
        };
        let omit = if args.len() == params.len() {
            false
        } else {
            let n = params.iter().filter(|p| inferable(p)).count();
            if n == 0 || args.len() + n != params.len() {
                return self.count(name, params.len(), args.len(), span);
            }
            true
        };
        let mut scope: Scope = Vec::new();
        let mut pending: Vec<(usize, Val, Span)> = Vec::new();
        let mut given = args.iter();
        let bound = |scope: &Scope, n: &str| scope.iter().any(|(m, _)| m == n);
        for (i, p) in params.iter().enumerate() {
            if omit && inferable(p) {
                continue;
            }
            let Some(a) = given.next() else { break };
            let wanted = width_name(p).filter(|n| omit && params.iter().any(|q| q.name.name == *n && inferable(q)));
            if let Some(n) = wanted.filter(|n| !bound(&scope, n)) {
                let v = self.expr(a, None)?;
                if let Val::Leaf(v) = v {
                    let w = match self.ty(v) {
                        Ty::Bits(w) => Some(w),
                        Ty::Bool => Some(Width::Const(1)),
                        _ => None,
                    };
                    if let Some(w) = w {
                        let w = self.width_value(w, a.span);
                        scope.push((n, Binding::Val(Val::Leaf(w))));
                    }
                }
                pending.push((i, v, a.span));
                continue;
            }
            let t = if self.depends(p, params, &scope) { None } else { Some(self.param_ty(p, &mut scope)?) };
            let v = match &t {
                Some(t) => self.expr_as(a, t)?,
                None => self.expr(a, None)?,
            };
            if t.is_some() {
                scope.push((p.name.name.clone(), Binding::Val(v)));
            } else {
                pending.push((i, v, a.span));
            }
        }
        if omit {
            for p in params.iter().filter(|p| inferable(p)) {
                if !bound(&scope, &p.name.name) {
                    return self.fail(span, format!("`{}` of `{name}` can't be inferred here; give it", p.name.name));
                }
            }
        }
        for (i, v, at) in pending {
            let p = &params[i];
            let t = self.param_ty(p, &mut scope)?;
            let v = self.coerce(v, &t, at)?;
            scope.push((p.name.name.clone(), Binding::Val(v)));
        }
        Ok(scope)
    }

    /// Does a parameter's type use a parameter that is not bound yet?
    fn depends(&self, p: &Param, params: &[Param], scope: &Scope) -> bool {
        let mut names = Default::default();
        super::uses::type_names(&p.ty, &mut names);
        params.iter().any(|q| names.contains(&q.name.name) && !scope.iter().any(|(n, _)| *n == q.name.name))
    }

    fn param_ty(&mut self, p: &Param, scope: &mut Scope) -> Res<T> {
        let saved = std::mem::replace(&mut self.scopes, vec![std::mem::take(scope)]);
        let t = self.resolve_ty(&p.ty);
        let mut inner = std::mem::replace(&mut self.scopes, saved);
        *scope = inner.pop().unwrap_or_default();
        t
    }

    fn builtin(&mut self, name: &str, at: Span, args: &[Expr], span: Span, hint: Option<&T>) -> Res<Val> {
        let arity = match name {
            "fence" | "end_block" | "unallocated" => 0,
            "sint" | "uint" | "clz" | "ctz" | "popcount" | "bit_reverse" | "byte_reverse" | "log2" | "is_zero"
            | "logic_flags" | "pack_flags" | "unpack_flags" | "assert" => 1,
            "zext" | "sext" | "trunc" | "bits" | "replicate" | "udiv" | "sdiv" | "umulh" | "smulh" | "ror" | "slt"
            | "sle" | "sgt" | "sge" | "min" | "max" | "cond_holds" | "branch" => 2,
            "select" | "add_flags" | "select_flags" | "mem_read" => 3,
            "mem_write" => 4,
            "mem_atomic" | "mem_cas" | "sysreg_read" => 5,
            "sysreg_write" => 6,
            "concat" => args.len(),
            _ => return self.fail(at, format!("there is no function `{name}`")),
        };
        if args.len() != arity {
            return self.count(name, arity, args.len(), span);
        }
        let one = Width::Const(1);
        let a = args;
        let v = match name {
            "zext" | "sext" => {
                let w = self.width_expr(&a[1])?;
                let x = self.expr(&a[0], None)?;
                if let Val::Leaf(i) = x
                    && self.ty(i) == Ty::Int
                    && self.const_int(i).is_some()
                {
                    return self.coerce(x, &T::Leaf(Ty::Bits(w)), a[0].span);
                }
                if matches!(x, Val::Big(_)) {
                    return self.coerce(x, &T::Leaf(Ty::Bits(w)), a[0].span);
                }
                let (x, from) = self.as_bits(x, a[0].span)?;
                self.wider(from, w, false, span)?;
                self.resize(if name == "zext" { Op::Zext } else { Op::Sext }, x, w, span)
            }
            "trunc" => {
                let (x, from) = self.bits_expr(&a[0])?;
                let w = self.width_expr(&a[1])?;
                self.wider(w, from, true, span)?;
                self.resize(Op::Extract, x, w, span)
            }
            "bits" => {
                let w = self.width_expr(&a[0])?;
                let x = self.expr(&a[1], Some(&T::Leaf(Ty::Int)))?;
                if let Val::Big(_) = x {
                    return self.coerce(x, &T::Leaf(Ty::Bits(w)), a[1].span);
                }
                let x = self.coerce(x, &T::Leaf(Ty::Int), a[1].span)?;
                let x = self.leaf(x, a[1].span)?;
                self.int_to_bits(x, w, span)
            }
            "concat" => return self.concat(args, span).map(Val::Leaf),
            "replicate" => {
                let (x, w) = self.bits_expr(&a[0])?;
                let k = self.int_expr(&a[1])?;
                let w = self.width_value(w, span);
                let total = self.int_op(Op::IntMul, w, k, span);
                let total = self.as_width(total, span)?;
                self.emit(Op::Replicate, vec![x, k], Ty::Bits(total), span)
            }
            "sint" | "uint" => {
                let (x, _) = self.bits_expr(&a[0])?;
                if self.time(x) == Time::Dynamic {
                    return self
                        .fail(a[0].span, "this is known only when the instruction runs, but must be fixed here");
                }
                match (name, self.const_bits(x)) {
                    ("uint", _) => self.to_int(x, span),
                    (_, Some((b, w @ 1..=64))) => {
                        let i = ((b << (128 - w)) as i128) >> (128 - w);
                        self.int(i64::try_from(i).unwrap_or(0), span)
                    }
                    _ => self.emit(Op::ToIntSigned, vec![x], Ty::Int, span),
                }
            }
            "clz" | "ctz" | "popcount" | "bit_reverse" | "byte_reverse" => {
                let (x, w) = self.bits_expr(&a[0])?;
                let op = match name {
                    "clz" => UnOp::Clz,
                    "ctz" => UnOp::Ctz,
                    "popcount" => UnOp::Popcnt,
                    "bit_reverse" => UnOp::BitRev,
                    _ => UnOp::ByteRev,
                };
                self.emit(Op::Un(op), vec![x], Ty::Bits(w), span)
            }
            "udiv" | "sdiv" | "umulh" | "smulh" => {
                let (x, y, w) = self.bits_pair(&a[0], &a[1])?;
                let op = match name {
                    "udiv" => BinOp::UDiv,
                    "sdiv" => BinOp::SDiv,
                    "umulh" => BinOp::UMulHi,
                    _ => BinOp::SMulHi,
                };
                self.emit(Op::Bin(op), vec![x, y], Ty::Bits(w), span)
            }
            "ror" => {
                let (x, w) = self.bits_expr(&a[0])?;
                let y = self.expr(&a[1], None)?;
                let y = self.leaf(y, a[1].span)?;
                match self.ty(y) {
                    Ty::Bits(v) if self.same_width(v, w) => {
                        self.emit(Op::Bin(BinOp::Ror), vec![x, y], Ty::Bits(w), span)
                    }
                    _ => {
                        let y = self.coerce(Val::Leaf(y), &T::Leaf(Ty::Int), a[1].span)?;
                        let y = self.leaf(y, a[1].span)?;
                        self.emit(Op::RorInt, vec![x, y], Ty::Bits(w), span)
                    }
                }
            }
            "slt" | "sle" | "sgt" | "sge" => {
                let (x, y, _) = self.bits_pair(&a[0], &a[1])?;
                match name {
                    "slt" => self.cmp(CmpOp::Slt, x, y, span),
                    "sle" => self.cmp(CmpOp::Sle, x, y, span),
                    "sgt" => self.cmp(CmpOp::Slt, y, x, span),
                    _ => self.cmp(CmpOp::Sle, y, x, span),
                }
            }
            "min" | "max" => {
                let (x, y) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
                self.int_op(if name == "min" { Op::IntMin } else { Op::IntMax }, x, y, span)
            }
            "log2" => {
                let x = self.int_expr(&a[0])?;
                match self.const_int(x) {
                    Some(c) if c > 0 => self.int(i64::from(c.ilog2()), span),
                    Some(_) => return self.fail(span, "`log2` of a number that is not positive"),
                    None => self.emit(Op::IntLog2, vec![x], Ty::Int, span),
                }
            }
            "is_zero" => {
                let (x, w) = self.bits_expr(&a[0])?;
                let zero = self.int(0, span);
                let zero = self.int_to_bits(zero, w, span);
                self.cmp(CmpOp::Eq, x, zero, span)
            }
            "select" | "select_flags" => {
                let c = self.bool_expr(&a[0])?;
                let hint = if name == "select" { hint.cloned() } else { Some(T::Leaf(Ty::Flags)) };
                let x = self.expr(&a[1], hint.as_ref())?;
                let y = self.expr(&a[2], hint.as_ref())?;
                let t = match hint {
                    Some(t) => t,
                    None => self.select_ty(&x, &y, span)?,
                };
                let x = self.coerce(x, &t, a[1].span)?;
                let y = self.coerce(y, &t, a[2].span)?;
                return self.select(c, x, y, span);
            }
            "add_flags" => {
                let (x, y, _) = self.bits_pair(&a[0], &a[1])?;
                let c = self.bits_as(&a[2], one)?;
                self.emit(Op::AddFlags, vec![x, y, c], Ty::Flags, span)
            }
            "logic_flags" => {
                let (x, _) = self.bits_expr(&a[0])?;
                self.emit(Op::LogicFlags, vec![x], Ty::Flags, span)
            }
            "pack_flags" => {
                let x = self.bits_as(&a[0], Width::Const(4))?;
                self.emit(Op::PackFlags, vec![x], Ty::Flags, span)
            }
            "unpack_flags" => {
                let x = self.flags_expr(&a[0])?;
                self.emit(Op::UnpackFlags, vec![x], Ty::Bits(Width::Const(4)), span)
            }
            "cond_holds" => {
                let f = self.flags_expr(&a[0])?;
                let cc = self.int_expr(&a[1])?;
                self.emit(Op::CondHolds, vec![f, cc], Ty::Bool, span)
            }
            "mem_read" => {
                let (n, w) = self.mem_width(&a[0])?;
                let addr = self.bits_as(&a[1], Width::Const(64))?;
                let acc = self.int_expr(&a[2])?;
                self.emit(Op::MemRead, vec![n, addr, acc], Ty::Bits(w), span)
            }
            "mem_write" => {
                let (n, w) = self.mem_width(&a[0])?;
                let addr = self.bits_as(&a[1], Width::Const(64))?;
                let v = self.bits_as(&a[2], w)?;
                let acc = self.int_expr(&a[3])?;
                self.emit(Op::MemWrite, vec![n, addr, v, acc], Ty::Unit, span);
                return Ok(Val::Unit);
            }
            "mem_atomic" => {
                let op = self.int_expr(&a[0])?;
                let (n, w) = self.mem_width(&a[1])?;
                let addr = self.bits_as(&a[2], Width::Const(64))?;
                let v = self.bits_as(&a[3], w)?;
                let acc = self.int_expr(&a[4])?;
                self.emit(Op::MemAtomic, vec![op, n, addr, v, acc], Ty::Bits(w), span)
            }
            "mem_cas" => {
                let (n, w) = self.mem_width(&a[0])?;
                let addr = self.bits_as(&a[1], Width::Const(64))?;
                let expected = self.bits_as(&a[2], w)?;
                let new = self.bits_as(&a[3], w)?;
                let acc = self.int_expr(&a[4])?;
                self.emit(Op::MemCas, vec![n, addr, expected, new, acc], Ty::Bits(w), span)
            }
            "fence" => {
                self.emit(Op::Fence, Vec::new(), Ty::Unit, span);
                return Ok(Val::Unit);
            }
            "end_block" => {
                self.emit(Op::EndBlock, Vec::new(), Ty::Unit, span);
                return Ok(Val::Unit);
            }
            "assert" => {
                let c = self.bool_expr(&a[0])?;
                if self.time(c) == Time::Dynamic {
                    return self.fail(a[0].span, "`assert` takes a fixed condition");
                }
                if self.const_bool(c) == Some(false) {
                    return self.fail(span, "this assertion does not hold");
                }
                self.emit(Op::Assert, vec![c], Ty::Unit, span);
                return Ok(Val::Unit);
            }
            "branch" => {
                let target = self.bits_as(&a[0], Width::Const(64))?;
                let kind = self.int_expr(&a[1])?;
                self.emit(Op::Branch, vec![target, kind], Ty::Unit, span);
                self.region().diverges = true;
                return Ok(Val::Never);
            }
            "unallocated" => {
                let Some(id) = self.prog.helper_ids.get("raise_undefined") else {
                    let e = Error::new(span, "`unallocated` calls `raise_undefined`, which is not declared");
                    return Err(self.error(e.note("extern never fn raise_undefined();")));
                };
                self.emit(Op::Call(*id), Vec::new(), Ty::Unit, span);
                self.region().diverges = true;
                return Ok(Val::Never);
            }
            "sysreg_read" | "sysreg_write" => {
                let mut vs = Vec::new();
                for e in &a[..5] {
                    vs.push(self.int_expr(e)?);
                }
                if name == "sysreg_write" {
                    vs.push(self.bits_as(&a[5], Width::Const(64))?);
                    self.emit(Op::SysregWrite, vs, Ty::Unit, span);
                    return Ok(Val::Unit);
                }
                self.emit(Op::SysregRead, vs, Ty::Bits(Width::Const(64)), span)
            }
            _ => return Err(Reported),
        };
        Ok(Val::Leaf(v))
    }

    pub fn as_bits(&mut self, v: Val, span: Span) -> Res<(ValueId, Width)> {
        let v = self.leaf(v, span)?;
        match self.ty(v) {
            Ty::Bits(w) => Ok((v, w)),
            Ty::Bool => Ok((self.bool_to_bit(v, span), Width::Const(1))),
            ty => {
                let found = self.describe(ty);
                self.fail(span, format!("expected bits, found {found}"))
            }
        }
    }

    /// `small` must not be known to exceed `large`.
    fn wider(&mut self, small: Width, large: Width, trunc: bool, span: Span) -> Res<()> {
        let d = self.width_poly(large).add(&self.width_poly(small).neg());
        if d.as_const().is_some_and(|d| d < 0) {
            let (s, l) = (self.describe(Ty::Bits(small)), self.describe(Ty::Bits(large)));
            return if trunc {
                self.fail(span, format!("`trunc` to {s}, but the operand is narrower: {l}"))
            } else {
                self.fail(span, format!("extended to {l}, but the operand is wider: {s}"))
            };
        }
        Ok(())
    }

    fn mem_width(&mut self, e: &Expr) -> Res<(ValueId, Width)> {
        let n = self.int_expr(e)?;
        if let Some(c) = self.const_int(n)
            && ![8, 16, 32, 64, 128].contains(&c)
        {
            return self.fail(e.span, "memory is accessed in 8, 16, 32, 64 or 128 bits");
        }
        Ok((n, self.as_width(n, e.span)?))
    }

    fn select_ty(&mut self, x: &Val, y: &Val, span: Span) -> Res<T> {
        match (x, y) {
            (Val::Leaf(a), Val::Leaf(b)) => {
                let (p, q) = (self.ty(*a), self.ty(*b));
                Ok(T::Leaf(if p == Ty::Int { q } else { p }))
            }
            (Val::Leaf(a), Val::Big(_)) | (Val::Big(_), Val::Leaf(a)) => Ok(T::Leaf(self.ty(*a))),
            (Val::Tuple(xs), Val::Tuple(ys)) if xs.len() == ys.len() => {
                Ok(T::Tuple(xs.iter().zip(ys).map(|(x, y)| self.select_ty(x, y, span)).collect::<Res<_>>()?))
            }
            _ => self.fail(span, "`select` chooses between values of one type"),
        }
    }

    fn select(&mut self, c: ValueId, x: Val, y: Val, span: Span) -> Res<Val> {
        match (x, y) {
            (Val::Tuple(xs), Val::Tuple(ys)) => {
                Ok(Val::Tuple(xs.into_iter().zip(ys).map(|(x, y)| self.select(c, x, y, span)).collect::<Res<_>>()?))
            }
            (x, y) => {
                let (x, y) = (self.leaf(x, span)?, self.leaf(y, span)?);
                if let Some(known) = self.const_bool(c) {
                    return Ok(Val::Leaf(if known { x } else { y }));
                }
                let ty = self.ty(x);
                if ty == Ty::Int && self.time(c) == Time::Dynamic {
                    return self.fail(span, "a dynamic condition can't choose between `int`s; give them a width");
                }
                Ok(Val::Leaf(self.emit(Op::Select, vec![c, x, y], ty, span)))
            }
        }
    }

    fn concat(&mut self, args: &[Expr], span: Span) -> Res<ValueId> {
        if args.is_empty() {
            return self.fail(span, "`concat` of nothing");
        }
        let mut parts = Vec::new();
        for e in args {
            parts.push(self.bits_expr(e)?.0);
        }
        let consts: Option<Vec<u32>> = parts
            .iter()
            .map(|v| match self.ty(*v) {
                Ty::Bits(Width::Const(w)) => Some(w),
                _ => None,
            })
            .collect();
        if consts.is_some_and(|ws| ws.iter().sum::<u32>() == 128) && parts.len() > 2 {
            return self.concat_128(&parts, span);
        }
        self.concat_tree(&parts, span)
    }

    /// Halves first: a total of 128 bits made of equal pieces never passes through a width between 65 and 127.
    fn concat_tree(&mut self, parts: &[ValueId], span: Span) -> Res<ValueId> {
        match parts {
            [v] => Ok(*v),
            _ => {
                let (hi, lo) = parts.split_at(parts.len() / 2);
                let hi = self.concat_tree(hi, span)?;
                let lo = self.concat_tree(lo, span)?;
                self.concat2(hi, lo, span)
            }
        }
    }

    /// Two halves of 64 bits; a piece that lies across the middle is split.
    fn concat_128(&mut self, parts: &[ValueId], span: Span) -> Res<ValueId> {
        let mut room = 64;
        let mut hi = Vec::new();
        let mut lo = Vec::new();
        for v in parts {
            let Ty::Bits(Width::Const(w)) = self.ty(*v) else { return Err(Reported) };
            if room >= w {
                hi.push(*v);
                room -= w;
            } else if room == 0 {
                lo.push(*v);
            } else {
                let cut = self.int(i64::from(w - room), span);
                hi.push(self.extract(*v, cut, Width::Const(room), span));
                let zero = self.int(0, span);
                lo.push(self.extract(*v, zero, Width::Const(w - room), span));
                room = 0;
            }
        }
        let hi = self.concat_tree(&hi, span)?;
        let lo = self.concat_tree(&lo, span)?;
        self.concat2(hi, lo, span)
    }
}
