//! Expressions and conversions between types.

use super::ast::{Bin, Block, Expr, ExprKind, Un};
use super::lower::{Binding, Lowerer, Res, T, Val};
use super::parser::Reported;
use super::program::builtin_const;
use crate::diag::{Error, Span};
use crate::ssa::{BinOp, CmpOp, Op, Region, Stmt, Time, Ty, UnOp, ValueId, Width};

impl Lowerer<'_> {
    // Expressions

    /// The value of an expression. `hint` is the type wanted, for literals in the arms of an `if`; the result need not have it.
    pub fn expr(&mut self, e: &Expr, hint: Option<&T>) -> Res<Val> {
        let span = e.span;
        match &e.kind {
            ExprKind::Int(i) => Ok(match i64::try_from(*i) {
                Ok(i) => Val::Leaf(self.int(i, span)),
                Err(_) => Val::Big(*i),
            }),
            ExprKind::BitStr(s) => {
                if s.contains('x') {
                    return self.fail(span, "`x` is only meant in the patterns of a `match`");
                }
                let w = s.len() as u32;
                if w > 64 && w != 128 {
                    return self.fail(span, "a bit string has 1 to 64 or 128 bits");
                }
                let b = s.bytes().fold(0u128, |n, c| n << 1 | u128::from(c == b'1'));
                Ok(Val::Leaf(self.bits(b, w, span)))
            }
            ExprKind::Bool(b) => Ok(Val::Leaf(self.boolean(*b, span))),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Call(name, args) => self.call(name, args, span, hint),
            ExprKind::Index(..) | ExprKind::Slice(..) => {
                let place = self.place_expr(e, false)?;
                self.read(&place, span)
            }
            ExprKind::Un(op, a) => self.unary(*op, a, span, hint),
            ExprKind::Bin(op, a, b) => self.binary(*op, a, b, span, hint),
            ExprKind::As(a, ty) => {
                let t = self.resolve_ty(ty)?;
                let v = self.expr(a, Some(&t))?;
                if let (T::Leaf(Ty::Bits(to)), Val::Leaf(id)) = (&t, &v)
                    && let Ty::Bits(from) = self.ty(*id)
                {
                    let both = matches!((from, to), (Width::Const(_), Width::Const(_)));
                    if !both && !self.same_width_everywhere(from, *to) {
                        return Ok(Val::Leaf(self.emit(Op::AsWidth, vec![*id], Ty::Bits(*to), span)));
                    }
                }
                self.coerce(v, &t, span)
            }
            ExprKind::If(cond, then, otherwise) => {
                let c = self.bool_expr(cond)?;
                self.if_with(
                    c,
                    false,
                    otherwise.is_some(),
                    span,
                    |l| l.arm_value(|l| l.block(then, hint), hint, then.span),
                    |l| match otherwise {
                        Some(e) => l.arm_value(|l| l.expr(e, hint), hint, e.span),
                        None => Ok(Val::Unit),
                    },
                )
            }
            ExprKind::Match(scrutinee, arms) => self.match_expr(scrutinee, arms, hint, false, span),
            ExprKind::Block(b) => self.block(b, hint),
            ExprKind::Tuple(es) => {
                if es.is_empty() {
                    return Ok(Val::Unit);
                }
                let mut out = Vec::new();
                for (i, e) in es.iter().enumerate() {
                    let hint = match hint {
                        Some(T::Tuple(ts)) => ts.get(i),
                        _ => None,
                    };
                    let v = self.expr(e, hint)?;
                    out.push(match hint {
                        Some(t) => self.coerce(v, t, e.span)?,
                        None => v,
                    });
                }
                Ok(Val::Tuple(out))
            }
        }
    }

    fn name(&mut self, name: &str, span: Span) -> Res<Val> {
        if let Some(b) = self.lookup(name).cloned() {
            return match b {
                Binding::Val(v) => Ok(v),
                Binding::Var(tree) => Ok(self.read_var(&tree, span)),
                Binding::Field(f) => {
                    let w = self.fields[f.index()].width;
                    Ok(Val::Leaf(self.emit(Op::Field(f), Vec::new(), Ty::Bits(Width::Const(w)), span)))
                }
            };
        }
        if name == "PC" {
            return Ok(Val::Leaf(self.emit(Op::Pc, Vec::new(), Ty::Bits(Width::Const(64)), span)));
        }
        let prog = self.prog;
        if let Some(c) = prog.consts.get(name) {
            return self.inlined(name, span, Vec::new(), |l| match &c.ty {
                Some(ty) => {
                    let t = l.resolve_ty(ty)?;
                    l.expr_as(&c.value, &t)
                }
                None => l.expr(&c.value, None),
            });
        }
        if let Some(on) = prog.features.get(name) {
            return Ok(Val::Leaf(self.boolean(*on, span)));
        }
        if prog.views.contains_key(name) || prog.state_ids.contains_key(name) {
            let e = Expr { kind: ExprKind::Name(name.to_owned()), span };
            let place = self.place_expr(&e, false)?;
            return self.read(&place, span);
        }
        if let Some(i) = builtin_const(name) {
            return Ok(Val::Leaf(self.int(i, span)));
        }
        self.fail(span, format!("`{name}` is not defined"))
    }

    /// Runs `f` in a scope of its own, as the body of `name`.
    pub fn inlined<X>(
        &mut self,
        name: &str,
        span: Span,
        scope: Vec<(String, Binding)>,
        f: impl FnOnce(&mut Self) -> Res<X>,
    ) -> Res<X> {
        if self.stack.iter().any(|(n, _)| n == name) {
            return self.fail(span, format!("`{name}` uses itself; recursion is not possible"));
        }
        self.stack.push((name.to_owned(), span));
        let saved = std::mem::replace(&mut self.scopes, vec![scope]);
        let result = f(self);
        self.scopes = saved;
        self.stack.pop();
        result
    }

    fn unary(&mut self, op: Un, a: &Expr, span: Span, hint: Option<&T>) -> Res<Val> {
        let v = self.expr(a, hint)?;
        if let (Val::Big(b), Un::Neg) = (&v, op)
            && *b == 1 << 63
        {
            return Ok(Val::Leaf(self.int(i64::MIN, span)));
        }
        if let (Val::Big(_), Some(t @ T::Leaf(Ty::Bits(_)))) = (&v, hint) {
            let v = self.coerce(v, t, a.span)?;
            let v = self.leaf(v, a.span)?;
            return self.unary_value(op, v, span).map(Val::Leaf);
        }
        let mut v = self.leaf(v, a.span)?;
        if let (Un::Not, Ty::Int, Some(T::Leaf(ty @ Ty::Bits(_)))) = (op, self.ty(v), hint) {
            v = self.coerce_leaf(Val::Leaf(v), *ty, a.span)?;
        }
        self.unary_value(op, v, span).map(Val::Leaf)
    }

    fn unary_value(&mut self, op: Un, v: ValueId, span: Span) -> Res<ValueId> {
        let ty = self.ty(v);
        Ok(match (op, ty) {
            (Un::Neg, Ty::Int) => match self.const_int(v) {
                Some(c) => self.int(c.wrapping_neg(), span),
                None => self.emit(Op::IntNeg, vec![v], Ty::Int, span),
            },
            (Un::Not, Ty::Bool) => self.not(v, span),
            (_, Ty::Bits(_)) => match (self.const_bits(v), op) {
                (Some((b, w)), Un::Not) => self.bits(!b, w, span),
                (Some((b, w)), Un::Neg) => self.bits(b.wrapping_neg(), w, span),
                (None, _) => {
                    let op = if op == Un::Not { UnOp::Not } else { UnOp::Neg };
                    self.emit(Op::Un(op), vec![v], ty, span)
                }
            },
            _ => {
                let found = self.describe(ty);
                return self.fail(span, format!("this operator does not work on {found}"));
            }
        })
    }

    fn binary(&mut self, op: Bin, a: &Expr, b: &Expr, span: Span, hint: Option<&T>) -> Res<Val> {
        if matches!(op, Bin::AndAnd | Bin::OrOr) {
            return self.logical(op, a, b, span).map(Val::Leaf);
        }
        let comparison = matches!(op, Bin::Eq | Bin::Ne | Bin::Lt | Bin::Le | Bin::Gt | Bin::Ge);
        let shift = matches!(op, Bin::Shl | Bin::Shr | Bin::Sar);
        let hint = if comparison { None } else { hint };
        let x = self.expr(a, hint)?;
        let y = self.expr(b, if shift { None } else { hint })?;
        if shift {
            return self.shift(op, x, y, a, b, span);
        }
        if let (Some(p), Some(q)) = (self.big(&x), self.big(&y))
            && (matches!(x, Val::Big(_)) || matches!(y, Val::Big(_)))
        {
            return self.big_op(op, p, q, span);
        }
        let (mut x, mut y) = (x, y);
        // A large literal takes the other's type.
        if let (Val::Big(_), Some(w)) = (&x, self.width_of(&y)) {
            x = self.coerce(x, &T::Leaf(Ty::Bits(w)), a.span)?;
        }
        if let (Val::Big(_), Some(w)) = (&y, self.width_of(&x)) {
            y = self.coerce(y, &T::Leaf(Ty::Bits(w)), b.span)?;
        }
        let x = self.leaf(x, a.span)?;
        let y = self.leaf(y, b.span)?;
        self.binary_values(op, x, y, a.span, b.span, span).map(Val::Leaf)
    }

    /// A nonnegative constant as a large number.
    fn big(&self, v: &Val) -> Option<u128> {
        match v {
            Val::Big(b) => Some(*b),
            Val::Leaf(v) => self.const_int(*v).and_then(|i| u128::try_from(i).ok()),
            _ => None,
        }
    }

    fn big_op(&mut self, op: Bin, p: u128, q: u128, span: Span) -> Res<Val> {
        let r = match op {
            Bin::Add => p.checked_add(q),
            Bin::Sub => p.checked_sub(q),
            Bin::Mul => p.checked_mul(q),
            Bin::And => Some(p & q),
            Bin::Or => Some(p | q),
            Bin::Xor => Some(p ^ q),
            _ => None,
        };
        match r {
            Some(r) => Ok(self.literal(r, span)),
            None => self.fail(span, "these numbers are too large for this operator"),
        }
    }

    fn literal(&mut self, r: u128, span: Span) -> Val {
        match i64::try_from(r) {
            Ok(i) => Val::Leaf(self.int(i, span)),
            Err(_) => Val::Big(r),
        }
    }

    fn binary_values(&mut self, op: Bin, x: ValueId, y: ValueId, sa: Span, sb: Span, span: Span) -> Res<ValueId> {
        let comparison = matches!(op, Bin::Eq | Bin::Ne | Bin::Lt | Bin::Le | Bin::Gt | Bin::Ge);
        match (self.ty(x), self.ty(y)) {
            (Ty::Int, Ty::Int) => self.int_binary(op, x, y, span),
            (Ty::Bool, Ty::Bool) => self.bool_binary(op, x, y, span),
            (Ty::Bool, Ty::Bits(w)) if self.same_width(w, Width::Const(1)) => {
                let y = self.bit_to_bool(y, sb);
                self.bool_binary(op, x, y, span)
            }
            (Ty::Bits(w), Ty::Bool) if self.same_width(w, Width::Const(1)) => {
                let x = self.bit_to_bool(x, sa);
                self.bool_binary(op, x, y, span)
            }
            (Ty::Bool, Ty::Int) => {
                let y = self.coerce_leaf(Val::Leaf(y), Ty::Bits(Width::Const(1)), sb)?;
                self.binary_values(op, x, y, sa, sb, span)
            }
            (Ty::Int, Ty::Bool) => {
                let x = self.coerce_leaf(Val::Leaf(x), Ty::Bits(Width::Const(1)), sa)?;
                self.binary_values(op, x, y, sa, sb, span)
            }
            (Ty::Bits(w), Ty::Int) => {
                if self.int_wins(op, x, w, y, comparison) {
                    let x = self.coerce_leaf(Val::Leaf(x), Ty::Int, sa)?;
                    return self.int_binary(op, x, y, span);
                }
                let y = self.coerce_leaf(Val::Leaf(y), Ty::Bits(w), sb)?;
                self.bits_binary(op, x, y, span)
            }
            (Ty::Int, Ty::Bits(w)) => {
                if self.int_wins(op, y, w, x, comparison) {
                    let y = self.coerce_leaf(Val::Leaf(y), Ty::Int, sb)?;
                    return self.int_binary(op, x, y, span);
                }
                let x = self.coerce_leaf(Val::Leaf(x), Ty::Bits(w), sa)?;
                self.bits_binary(op, x, y, span)
            }
            (Ty::Bits(a), Ty::Bits(b)) => {
                if matches!(op, Bin::Div | Bin::Rem) {
                    let x = self.coerce_leaf(Val::Leaf(x), Ty::Int, sa)?;
                    let y = self.coerce_leaf(Val::Leaf(y), Ty::Int, sb)?;
                    return self.int_binary(op, x, y, span);
                }
                if !self.same_width(a, b) {
                    let (p, q) = (self.describe(Ty::Bits(a)), self.describe(Ty::Bits(b)));
                    let mut e = Error::new(span, "the operands have different widths").related(sa, p).related(sb, q);
                    if !matches!((a, b), (Width::Const(_), Width::Const(_))) {
                        e = e.note("if the widths are equal for another reason, say so with `as bits(W)`");
                    }
                    return Err(self.error(e));
                }
                self.bits_binary(op, x, y, span)
            }
            (a, b) => {
                let (a, b) = (self.describe(a), self.describe(b));
                let e = Error::new(span, "this operator does not work on these operands").related(sa, a).related(sb, b);
                Err(self.error(e))
            }
        }
    }

    /// Bits meet an `int`: is the operation one on `int`s? (Otherwise the `int` is a literal, and becomes bits.)
    fn int_wins(&self, op: Bin, bits: ValueId, w: Width, int: ValueId, comparison: bool) -> bool {
        if self.time(bits) == Time::Dynamic {
            return false;
        }
        if matches!(op, Bin::Div | Bin::Rem) {
            return true;
        }
        match (self.const_int(int), self.settle(w)) {
            (None, _) => true,
            (Some(c), Width::Const(w)) => comparison && w < 63 && (c < 0 || c >= 1 << w),
            (Some(_), Width::Value(_)) => false,
        }
    }

    fn int_binary(&mut self, op: Bin, x: ValueId, y: ValueId, span: Span) -> Res<ValueId> {
        if matches!(op, Bin::Div | Bin::Rem) && self.const_int(y) == Some(0) {
            return self.fail(span, "division by zero");
        }
        Ok(match op {
            Bin::Add => self.int_op(Op::IntAdd, x, y, span),
            Bin::Sub => self.int_op(Op::IntSub, x, y, span),
            Bin::Mul => self.int_op(Op::IntMul, x, y, span),
            Bin::Div => self.int_op(Op::IntDiv, x, y, span),
            Bin::Rem => self.int_op(Op::IntRem, x, y, span),
            Bin::And => self.int_op(Op::IntAnd, x, y, span),
            Bin::Or => self.int_op(Op::IntOr, x, y, span),
            Bin::Xor => self.int_op(Op::IntXor, x, y, span),
            Bin::Eq => self.int_cmp(Op::IntEq, x, y, span),
            Bin::Ne => {
                let e = self.int_cmp(Op::IntEq, x, y, span);
                self.not(e, span)
            }
            Bin::Lt => self.int_cmp(Op::IntLt, x, y, span),
            Bin::Le => self.int_cmp(Op::IntLe, x, y, span),
            Bin::Gt => self.int_cmp(Op::IntLt, y, x, span),
            Bin::Ge => self.int_cmp(Op::IntLe, y, x, span),
            Bin::Shl | Bin::Shr | Bin::Sar | Bin::AndAnd | Bin::OrOr => return Err(Reported),
        })
    }

    fn bool_binary(&mut self, op: Bin, x: ValueId, y: ValueId, span: Span) -> Res<ValueId> {
        Ok(match op {
            Bin::And => self.and(x, y, span),
            Bin::Or => self.or(x, y, span),
            Bin::Eq => self.bool_eq(x, y, span),
            Bin::Xor | Bin::Ne => {
                let e = self.bool_eq(x, y, span);
                self.not(e, span)
            }
            _ => return self.fail(span, "this operator does not work on bool"),
        })
    }

    fn bits_binary(&mut self, op: Bin, x: ValueId, y: ValueId, span: Span) -> Res<ValueId> {
        let ty = self.ty(x);
        let bin = match op {
            Bin::Add => BinOp::Add,
            Bin::Sub => BinOp::Sub,
            Bin::Mul => BinOp::Mul,
            Bin::And => BinOp::And,
            Bin::Or => BinOp::Or,
            Bin::Xor => BinOp::Xor,
            Bin::Eq => return Ok(self.cmp(CmpOp::Eq, x, y, span)),
            Bin::Ne => return Ok(self.cmp(CmpOp::Ne, x, y, span)),
            Bin::Lt => return Ok(self.cmp(CmpOp::Ult, x, y, span)),
            Bin::Le => return Ok(self.cmp(CmpOp::Ule, x, y, span)),
            Bin::Gt => return Ok(self.cmp(CmpOp::Ult, y, x, span)),
            Bin::Ge => return Ok(self.cmp(CmpOp::Ule, y, x, span)),
            _ => return self.fail(span, "this operator does not work on bits (`udiv` and `sdiv` divide)"),
        };
        Ok(self.bits_bin(bin, x, y, ty, span))
    }

    fn shift(&mut self, op: Bin, x: Val, y: Val, a: &Expr, b: &Expr, span: Span) -> Res<Val> {
        let y = self.leaf(y, b.span)?;
        if let (Val::Big(p), Some(k)) = (&x, self.const_int(y)) {
            let k = u32::try_from(k).unwrap_or(128).min(127);
            let r = if op == Bin::Shl { p.checked_shl(k).unwrap_or(0) } else { p >> k };
            return Ok(self.literal(r, span));
        }
        let x = self.leaf(x, a.span)?;
        match (self.ty(x), self.ty(y)) {
            (Ty::Int, _) => {
                let y = self.coerce_leaf(Val::Leaf(y), Ty::Int, b.span)?;
                // 1 << 63 and above are literals for bits.
                if let (Bin::Shl, Some(c), Some(k)) = (op, self.const_int(x), self.const_int(y))
                    && let (Ok(c), Ok(k @ 0..=127)) = (u128::try_from(c), u32::try_from(k))
                    && c.leading_zeros() >= k
                {
                    return Ok(self.literal(c << k, span));
                }
                let op = if op == Bin::Shl { Op::IntShl } else { Op::IntShr };
                Ok(Val::Leaf(self.int_op(op, x, y, span)))
            }
            (ty @ Ty::Bits(w), Ty::Bits(v)) => {
                if self.same_width(w, v) {
                    let op = match op {
                        Bin::Shl => BinOp::Shl,
                        Bin::Shr => BinOp::Shr,
                        _ => BinOp::Sar,
                    };
                    return Ok(Val::Leaf(self.emit(Op::Bin(op), vec![x, y], ty, span)));
                }
                if self.time(y) == Time::Dynamic {
                    let message = "a dynamic shift amount has the width of the value shifted";
                    let (p, q) = (self.describe(ty), self.describe(Ty::Bits(v)));
                    let e = Error::new(span, message).related(a.span, p).related(b.span, q);
                    return Err(self.error(e));
                }
                let y = self.to_int(y, b.span);
                Ok(Val::Leaf(self.shift_int(op, x, y, ty, span)))
            }
            (ty @ Ty::Bits(_), Ty::Int) => Ok(Val::Leaf(self.shift_int(op, x, y, ty, span))),
            (p, q) => {
                let (p, q) = (self.describe(p), self.describe(q));
                let e = Error::new(span, "this can't be shifted so").related(a.span, p).related(b.span, q);
                Err(self.error(e))
            }
        }
    }

    fn shift_int(&mut self, op: Bin, x: ValueId, y: ValueId, ty: Ty, span: Span) -> ValueId {
        let k = self.const_int(y);
        if k == Some(0) {
            return x;
        }
        if let (Some((v, w)), Some(k)) = (self.const_bits(x), k) {
            let k = u32::try_from(k).unwrap_or(0).min(128);
            match op {
                Bin::Shl => return self.bits(if k >= w { 0 } else { v << k }, w, span),
                Bin::Shr => return self.bits(if k >= w { 0 } else { v >> k }, w, span),
                _ => {}
            }
        }
        let op = match op {
            Bin::Shl => Op::ShlInt,
            Bin::Shr => Op::ShrInt,
            _ => Op::SarInt,
        };
        self.emit(op, vec![x, y], ty, span)
    }

    /// `&&` and `||`: with a fixed left side the right side is evaluated only if it matters.
    fn logical(&mut self, op: Bin, a: &Expr, b: &Expr, span: Span) -> Res<ValueId> {
        let x = self.bool_expr(a)?;
        let and = op == Bin::AndAnd;
        if let Some(known) = self.const_bool(x) {
            return if known == and { self.bool_expr(b) } else { Ok(x) };
        }
        let dynamic = self.time(x) == Time::Dynamic;
        let start = self.assume.len();
        if !dynamic {
            self.assume_condition(x, and);
        }
        self.push_region(Region::default());
        let y = self.bool_expr(b);
        let region = self.pop_region();
        self.assume.truncate(start);
        let y = y?;
        if dynamic && self.has_effects(&region) {
            return self.fail(b.span, "the right side of a dynamic `&&` or `||` must be free of effects");
        }
        if dynamic || self.is_total(&region) {
            for s in region.stmts {
                self.place(s);
            }
            return Ok(if and { self.and(x, y, span) } else { self.or(x, y, span) });
        }
        let mut other = Region::default();
        self.push_region(Region::default());
        let short = self.boolean(!and, span);
        other.stmts = self.pop_region().stmts;
        other.results = vec![short];
        let mut evaluated = region;
        evaluated.results = vec![y];
        let time = self.time(x).max(self.time(y));
        let (cx, cy, cs) = (self.canon(x), self.canon(y), self.canon(short));
        let arms = if and { (cx, cy, cs) } else { (cx, cs, cy) };
        let r = self.if_result(Ty::Bool, time, Some(arms), span);
        let (then, otherwise) = if and { (evaluated, other) } else { (other, evaluated) };
        self.place(Stmt::If { cond: x, then, otherwise, results: vec![r] });
        Ok(r)
    }

    fn has_effects(&self, r: &Region) -> bool {
        r.values().any(|v| match self.body[v].op {
            Op::Call(h) => !self.prog.helpers[h.index()].pure_,
            Op::MemRead
            | Op::MemWrite
            | Op::MemAtomic
            | Op::MemCas
            | Op::Fence
            | Op::SysregRead
            | Op::SysregWrite
            | Op::Branch
            | Op::EndBlock
            | Op::StateSet(_)
            | Op::VarSet(_) => true,
            _ => false,
        })
    }

    /// Can it be evaluated whatever the operands? Then it need not be guarded.
    fn is_total(&self, r: &Region) -> bool {
        let constant = |v: &ValueId| match self.ty(*v) {
            Ty::Int => self.const_int(*v).is_some(),
            Ty::Bits(w) => matches!(w, Width::Const(_)),
            _ => true,
        };
        !self.has_effects(r)
            && r.stmts.iter().all(|s| match s {
                Stmt::Eval(v) => {
                    let d = &self.body[*v];
                    match d.op {
                        Op::IntDiv | Op::IntRem | Op::IntShl | Op::IntShr | Op::IntLog2 | Op::Assert | Op::AsWidth => {
                            false
                        }
                        // With constant widths and positions these were checked.
                        Op::Extract | Op::Zext | Op::Sext | Op::Replicate | Op::StateGet(_) => {
                            constant(v) && d.args.iter().all(constant)
                        }
                        _ => true,
                    }
                }
                Stmt::If { .. } | Stmt::For { .. } => false,
            })
    }

    pub fn block(&mut self, b: &Block, hint: Option<&T>) -> Res<Val> {
        self.scopes.push(Vec::new());
        let v = self.block_in_scope(b, hint, false);
        self.scopes.pop();
        v
    }

    pub fn block_effect(&mut self, b: &Block) -> Res<Val> {
        self.scopes.push(Vec::new());
        let v = self.block_in_scope(b, None, true);
        self.scopes.pop();
        v
    }
}
