//! Types, conversions between them, and operands of a wanted type.

use super::ast::{Expr, Type, TypeKind};
use super::lower::{Lowerer, Res, T, Val, mask};
use super::parser::Reported;
use crate::diag::{Error, Span};
use crate::ssa::{Op, Time, Ty, ValueId, Width};

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
            (Val::Tuple(vs), T::Tuple(ts)) if vs.len() == ts.len() => {
                Ok(Val::Tuple(vs.into_iter().zip(ts).map(|(v, t)| self.coerce(v, t, span)).collect::<Res<_>>()?))
            }
            (Val::Unit, T::Unit) => Ok(Val::Unit),
            (v @ (Val::Leaf(_) | Val::Big(_)), T::Leaf(ty)) => Ok(Val::Leaf(self.coerce_leaf(v, *ty, span)?)),
            (v, t) => {
                let message = format!("expected {}, found {}", self.describe_t(t), self.describe_val(&v));
                self.fail(span, message)
            }
        }
    }

    pub fn coerce_leaf(&mut self, v: Val, ty: Ty, span: Span) -> Res<ValueId> {
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
                    return Err(self.error(
                        e.note("`int` values, widths, register numbers, loop bounds and lane numbers are fixed"),
                    ));
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
                if let (Ty::Bits(_), Ty::Bits(_)) = (from, ty)
                    && !matches!((from, ty), (Ty::Bits(Width::Const(_)), Ty::Bits(Width::Const(_))))
                {
                    e = e.note("if the widths are equal for another reason, say so with `as bits(W)`");
                }
                Err(self.error(e))
            }
        }
    }

    pub fn leaf(&mut self, v: Val, span: Span) -> Res<ValueId> {
        match v {
            Val::Leaf(v) => Ok(v),
            Val::Big(_) => {
                self.fail(span, "a number this large needs to be where `bits` of a known width are expected")
            }
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

    pub fn width_of(&self, v: &Val) -> Option<Width> {
        match v {
            Val::Leaf(v) => match self.ty(*v) {
                Ty::Bits(w) => Some(w),
                _ => None,
            },
            _ => None,
        }
    }
}
