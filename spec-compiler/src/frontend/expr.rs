//! Expressions and conversions between types.

use super::ast::{Bin, Block, Expr, ExprKind, Type, TypeKind, Un};
use super::lower::{Binding, Lowerer, Res, T, Val, mask};
use super::parser::Reported;
use super::poly::Poly;
use super::program::builtin_const;
use crate::diag::{Error, Span};
use crate::ssa::{BinOp, CmpOp, Op, Region, Stmt, Time, Ty, UnOp, ValueId, Width};

impl Lowerer<'_> {
    pub fn resolve_ty(&mut self, ty: &Type) -> Res<T> {
        Ok(match &ty.kind {
            TypeKind::Int => T::Leaf(Ty::Int),
            TypeKind::Bool => T::Leaf(Ty::Bool),
            TypeKind::Flags => T::Leaf(Ty::Flags),
            TypeKind::Bits(w) => {
                let v = self.int_expr(w)?;
                T::Leaf(Ty::Bits(self.as_width(v, w.span)?))
            }
            TypeKind::Tuple(ts) if ts.is_empty() => T::Unit,
            TypeKind::Tuple(ts) => T::Tuple(ts.iter().map(|t| self.resolve_ty(t)).collect::<Res<_>>()?),
        })
    }

    // Conversions

    pub fn coerce(&mut self, v: Val, t: &T, span: Span) -> Res<Val> {
        match (v, t) {
            (Val::Never, _) => Ok(Val::Never),
            (Val::Poison, _) => Err(Reported),
            (Val::Tuple(vs), T::Tuple(ts)) if vs.len() == ts.len() => Ok(Val::Tuple(
                vs.into_iter().zip(ts).map(|(v, t)| self.coerce(v, t, span)).collect::<Res<_>>()?,
            )),
            (Val::Unit, T::Unit) => Ok(Val::Unit),
            (v @ (Val::Leaf(_) | Val::Big(_)), T::Leaf(ty)) => Ok(Val::Leaf(self.coerce_leaf(v, *ty, span)?)),
            (v, t) => {
                let message = format!("expected {}, found {}", self.describe_t(t), self.describe_val(&v));
                self.fail(span, message)
            }
        }
    }

    fn coerce_leaf(&mut self, v: Val, ty: Ty, span: Span) -> Res<ValueId> {
        let v = match v {
            Val::Big(b) => {
                return match ty {
                    Ty::Bits(w) => match self.settle(w) {
                        Width::Const(c) if b <= mask(c) => {
                            let v = self.bits(b, c, span);
                            self.coerce_leaf(Val::Leaf(v), Ty::Bits(w), span)
                        }
                        Width::Const(w) => self.fail(span, format!("the number does not fit {w} bits")),
                        Width::Value(_) => self.fail(span, "a number this large needs a constant width here"),
                    },
                    _ => self.fail(span, "the number does not fit an `int`"),
                };
            }
            Val::Leaf(v) => v,
            _ => return Err(Reported),
        };
        let from = self.ty(v);
        match (from, ty) {
            (Ty::Int, Ty::Int) | (Ty::Bool, Ty::Bool) | (Ty::Flags, Ty::Flags) => Ok(v),
            (Ty::Bits(a), Ty::Bits(b)) if self.same_width_everywhere(a, b) => Ok(v),
            (Ty::Bits(a), Ty::Bits(b)) if self.same_width(a, b) => {
                Ok(self.emit(Op::AsWidth, vec![v], Ty::Bits(b), span))
            }
            (Ty::Bits(a), Ty::Bool) if self.same_width(a, Width::Const(1)) => Ok(self.bit_to_bool(v, span)),
            (Ty::Bool, Ty::Bits(b)) if self.same_width(b, Width::Const(1)) => Ok(self.bool_to_bit(v, span)),
            (Ty::Bits(_), Ty::Int) => {
                if self.time(v) == Time::Dynamic {
                    let e = Error::new(span, "this is known only when the instruction runs, but must be fixed here");
                    return Err(self.error(e.note("`int` values, widths, register numbers, loop bounds and lane numbers are fixed")));
                }
                Ok(self.to_int(v, span))
            }
            (Ty::Int, Ty::Bits(w)) => {
                let Some(c) = self.const_int(v) else {
                    let to = self.describe(ty);
                    let e = Error::new(span, format!("expected {to}, found int"));
                    return Err(self.error(e.note("`bits(W, e)` converts a fixed `int`")));
                };
                if let Width::Const(w) = self.settle(w) {
                    let c = i128::from(c);
                    if w < 64 && (c >= 1 << w || c < -(1 << (w - 1))) {
                        return self.fail(span, format!("{c} does not fit {w} bits"));
                    }
                }
                Ok(self.int_to_bits(v, w, span))
            }
            _ => {
                let message = format!("expected {}, found {}", self.describe(ty), self.describe(from));
                let mut e = Error::new(span, message);
                if let (Ty::Bits(_), Ty::Bits(_)) = (from, ty) {
                    if !matches!((from, ty), (Ty::Bits(Width::Const(_)), Ty::Bits(Width::Const(_)))) {
                        e = e.note("if the widths are equal for another reason, say so with `as bits(W)`");
                    }
                }
                Err(self.error(e))
            }
        }
    }

    pub fn leaf(&mut self, v: Val, span: Span) -> Res<ValueId> {
        match v {
            Val::Leaf(v) => Ok(v),
            Val::Big(_) => self.fail(span, "a number this large needs to be where `bits` of a known width are expected"),
            Val::Never | Val::Poison => Err(Reported),
            Val::Tuple(_) => self.fail(span, "a tuple is not meant here"),
            Val::Unit => self.fail(span, "this has no value"),
        }
    }

    pub fn expr_as(&mut self, e: &Expr, t: &T) -> Res<Val> {
        let v = self.expr(e, Some(t))?;
        self.coerce(v, t, e.span)
    }

    fn leaf_as(&mut self, e: &Expr, ty: Ty) -> Res<ValueId> {
        let v = self.expr_as(e, &T::Leaf(ty))?;
        self.leaf(v, e.span)
    }

    pub fn int_expr(&mut self, e: &Expr) -> Res<ValueId> {
        self.leaf_as(e, Ty::Int)
    }

    pub fn bool_expr(&mut self, e: &Expr) -> Res<ValueId> {
        self.leaf_as(e, Ty::Bool)
    }

    pub fn flags_expr(&mut self, e: &Expr) -> Res<ValueId> {
        self.leaf_as(e, Ty::Flags)
    }

    pub fn bits_as(&mut self, e: &Expr, w: Width) -> Res<ValueId> {
        self.leaf_as(e, Ty::Bits(w))
    }

    pub fn vector(&mut self, e: &Expr) -> Res<ValueId> {
        self.bits_as(e, Width::Const(128))
    }

    pub fn width_expr(&mut self, e: &Expr) -> Res<Width> {
        let v = self.int_expr(e)?;
        self.as_width(v, e.span)
    }

    /// Bits of whatever width.
    pub fn bits_expr(&mut self, e: &Expr) -> Res<(ValueId, Width)> {
        let v = self.expr(e, None)?;
        let v = self.leaf(v, e.span)?;
        match self.ty(v) {
            Ty::Bits(w) => Ok((v, w)),
            Ty::Bool => Ok((self.bool_to_bit(v, e.span), Width::Const(1))),
            ty => {
                let found = self.describe(ty);
                self.fail(e.span, format!("expected bits, found {found}"))
            }
        }
    }

    /// Two operands of one width; a literal takes the other's.
    pub fn bits_pair(&mut self, a: &Expr, b: &Expr) -> Res<(ValueId, ValueId, Width)> {
        let x = self.expr(a, None)?;
        let y = self.expr(b, None)?;
        let w = match (self.width_of(&x), self.width_of(&y)) {
            (Some(w), _) | (None, Some(w)) => w,
            (None, None) => {
                let found = self.describe_val(&x);
                return self.fail(a.span.to(b.span), format!("expected bits, found {found}"));
            }
        };
        let t = T::Leaf(Ty::Bits(w));
        let x = self.coerce(x, &t, a.span)?;
        let y = self.coerce(y, &t, b.span)?;
        Ok((self.leaf(x, a.span)?, self.leaf(y, b.span)?, w))
    }

    fn width_of(&self, v: &Val) -> Option<Width> {
        match v {
            Val::Leaf(v) => match self.ty(*v) {
                Ty::Bits(w) => Some(w),
                _ => None,
            },
            _ => None,
        }
    }

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
                if let (T::Leaf(Ty::Bits(to)), Val::Leaf(id)) = (&t, &v) {
                    if let Ty::Bits(from) = self.ty(*id) {
                        let both = matches!((from, to), (Width::Const(_), Width::Const(_)));
                        if !both && !self.same_width_everywhere(from, *to) {
                            return Ok(Val::Leaf(self.emit(Op::AsWidth, vec![*id], Ty::Bits(*to), span)));
                        }
                    }
                }
                self.coerce(v, &t, span)
            }
            ExprKind::If(cond, then, otherwise) => {
                let c = self.bool_expr(cond)?;
                self.if_with(
                    c,
                    hint,
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
        if let (Val::Big(b), Un::Neg) = (&v, op) {
            if *b == 1 << 63 {
                return Ok(Val::Leaf(self.int(i64::MIN, span)));
            }
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
        if let (Some(p), Some(q)) = (self.big(&x), self.big(&y)) {
            if matches!(x, Val::Big(_)) || matches!(y, Val::Big(_)) {
                return self.big_op(op, p, q, span);
            }
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
                if let (Bin::Shl, Some(c), Some(k)) = (op, self.const_int(x), self.const_int(y)) {
                    if let (Ok(c), Ok(k @ 0..=127)) = (u128::try_from(c), u32::try_from(k)) {
                        if c.leading_zeros() >= k {
                            return Ok(self.literal(c << k, span));
                        }
                    }
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
        r.stmts.iter().any(|s| match s {
            Stmt::Eval(v) => match self.body[*v].op {
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
            },
            Stmt::If { then, otherwise, .. } => self.has_effects(then) || self.has_effects(otherwise),
            Stmt::For { body, .. } => self.has_effects(body),
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
                        Op::IntDiv | Op::IntRem | Op::IntShl | Op::IntShr | Op::IntLog2 | Op::Assert | Op::AsWidth => false,
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
        hint: Option<&T>,
        discard: bool,
        has_else: bool,
        span: Span,
        then: impl FnOnce(&mut Self) -> Res<Val>,
        otherwise: impl FnOnce(&mut Self) -> Res<Val>,
    ) -> Res<Val> {
        let _ = hint;
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
                    (Ty::Bits(w), Ty::Bool) | (Ty::Bool, Ty::Bits(w)) if self.same_width(w, one) => Ok(T::Leaf(Ty::Bool)),
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
                    let e = Error::new(span, "this `if` chooses between `int`s by a dynamic condition; `int`s are fixed");
                    return Err(self.error(e.note("give the numbers a width: `bits(W, n)`")));
                }
                let arms = match (a, b) {
                    (Some(a), Some(b)) => Some((self.canon(c), self.canon(a), self.canon(b))),
                    (Some(a), None) | (None, Some(a)) => Some((self.canon(c), self.canon(a), self.canon(a))),
                    (None, None) => None,
                };
                // The width must be known outside the arms.
                let mut ty = *ty;
                if let Ty::Bits(Width::Value(w)) = ty {
                    if w.0 >= limit {
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
                }
                let r = self.if_result(ty, time, arms, span);
                out.push(r);
                Ok(Val::Leaf(r))
            }
        }
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

enum Joined {
    None,
    Value(T, Vec<ValueId>, Vec<ValueId>),
}
