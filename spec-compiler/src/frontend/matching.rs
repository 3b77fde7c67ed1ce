//! `match`: patterns, conditions, exhaustiveness.

use super::ast::{Arm, Expr, Pat};
use super::lower::{Lowerer, Res, T, Val, mask};
use super::parser::Reported;
use crate::diag::Span;
use crate::ssa::{BinOp, CmpOp, Op, Ty, ValueId, Width};

/// A pattern with its constants evaluated.
#[derive(Clone, Debug)]
enum Pattern {
    Any,
    Range(i128, i128),
    /// Bits that count, and their values.
    Mask(u128, u128),
    Tuple(Vec<Pattern>),
}

impl Pattern {
    fn matches(&self, leaves: &mut dyn Iterator<Item = (u128, usize)>) -> bool {
        match self {
            Pattern::Tuple(ps) => ps.iter().fold(true, |all, p| p.matches(leaves) & all),
            p => {
                let Some((v, _)) = leaves.next() else { return false };
                match p {
                    Pattern::Any => true,
                    Pattern::Range(lo, hi) => (*lo..=*hi).contains(&(v as i128)),
                    Pattern::Mask(m, b) => v & m == *b,
                    Pattern::Tuple(_) => false,
                }
            }
        }
    }

    fn irrefutable(&self) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Tuple(ps) => ps.iter().all(Pattern::irrefutable),
            Pattern::Mask(m, _) => *m == 0,
            Pattern::Range(..) => false,
        }
    }
}

impl Lowerer<'_> {
    pub fn match_expr(
        &mut self,
        scrutinee: &Expr,
        arms: &[Arm],
        hint: Option<&T>,
        discard: bool,
        span: Span,
    ) -> Res<Val> {
        let v = self.expr(scrutinee, None)?;
        if matches!(v, Val::Big(_) | Val::Unit) {
            return self.fail(scrutinee.span, "this can't be matched");
        }
        let mut patterns = Vec::new();
        for arm in arms {
            let ps: Vec<Pattern> = arm.pats.iter().map(|p| self.pattern(p, &v)).collect::<Res<_>>()?;
            patterns.push(ps);
        }
        let mut last = patterns.iter().position(|ps| ps.iter().any(Pattern::irrefutable));
        if let Some(i) = last {
            if i + 1 < arms.len() {
                return self.fail(arms[i + 1].span, "unreachable: the arms before match everything");
            }
        } else {
            match self.covers(&v, &patterns) {
                Some(true) => last = arms.len().checked_sub(1),
                Some(false) => {
                    return self.fail(span, "this `match` is not exhaustive; add an arm `_ => ...`");
                }
                None => return self.fail(span, "this `match` needs an arm `_ => ...`"),
            }
        }
        let Some(last) = last else {
            return self.fail(span, "a `match` needs arms");
        };
        self.match_from(0, last, &v, arms, &patterns, hint, discard, span)
    }

    #[allow(clippy::too_many_arguments)]
    fn match_from(
        &mut self,
        i: usize,
        last: usize,
        v: &Val,
        arms: &[Arm],
        patterns: &[Vec<Pattern>],
        hint: Option<&T>,
        discard: bool,
        span: Span,
    ) -> Res<Val> {
        let arm = |l: &mut Self| {
            if discard {
                l.effect(&arms[i].body)
            } else {
                l.arm_value(|l| l.expr(&arms[i].body, hint), hint, arms[i].body.span)
            }
        };
        if i == last {
            return arm(self);
        }
        let mut c = self.boolean(false, arms[i].span);
        for p in &patterns[i] {
            let m = self.pattern_condition(p, v, arms[i].span)?;
            c = self.or(c, m, arms[i].span);
        }
        self.if_with(c, discard, true, span, arm, |l| l.match_from(i + 1, last, v, arms, patterns, hint, discard, span))
    }

    fn pattern(&mut self, p: &Pat, v: &Val) -> Res<Pattern> {
        match (p, v) {
            (Pat::Any(_), _) => Ok(Pattern::Any),
            (Pat::Tuple(ps, span), Val::Tuple(vs)) => {
                if ps.len() != vs.len() {
                    return self.fail(*span, format!("expected {} patterns", vs.len()));
                }
                Ok(Pattern::Tuple(ps.iter().zip(vs).map(|(p, v)| self.pattern(p, v)).collect::<Res<_>>()?))
            }
            (Pat::Tuple(_, span), _) => self.fail(*span, "a tuple pattern for a value that is no tuple"),
            (Pat::Bits(s, span), Val::Leaf(v)) => {
                let w = match self.ty(*v) {
                    Ty::Bits(w) => w,
                    Ty::Bool => Width::Const(1),
                    ty => {
                        let found = self.describe(ty);
                        return self.fail(*span, format!("a bit pattern for {found}"));
                    }
                };
                if !self.same_width(w, Width::Const(s.len() as u32)) {
                    let found = self.describe(Ty::Bits(w));
                    return self.fail(*span, format!("a pattern of {} bits for {found}", s.len()));
                }
                let m = s.bytes().fold(0u128, |n, c| n << 1 | u128::from(c != b'x'));
                let b = s.bytes().fold(0u128, |n, c| n << 1 | u128::from(c == b'1'));
                Ok(Pattern::Mask(m, b))
            }
            (Pat::Value(e), Val::Leaf(v)) => {
                let c = self.pattern_const(e, *v, false)?;
                Ok(Pattern::Range(c, c))
            }
            (Pat::Range(lo, hi, inclusive), Val::Leaf(v)) => {
                let (l, h) = (self.pattern_const(lo, *v, false)?, self.pattern_const(hi, *v, !*inclusive)?);
                Ok(Pattern::Range(l, if *inclusive { h } else { h - 1 }))
            }
            (Pat::Value(e) | Pat::Range(e, ..), _) => self.fail(e.span, "this pattern does not fit the value matched"),
            (Pat::Bits(_, span), _) => self.fail(*span, "this pattern does not fit the value matched"),
        }
    }

    /// A bound that is not included may be one above the largest value.
    fn pattern_const(&mut self, e: &Expr, matched: ValueId, excluded: bool) -> Res<i128> {
        let v = self.expr(e, None)?;
        let big = if let Val::Big(b) = v { i128::try_from(b).ok() } else { None };
        if let Some(b) = big {
            return Ok(b);
        }
        let v = self.leaf(v, e.span)?;
        let c = if let Some(b) = self.const_bool(v) {
            i128::from(b)
        } else if let Some((b, _)) = self.const_bits(v) {
            b as i128
        } else if let Some(c) = self.const_int(v) {
            i128::from(c)
        } else {
            return self.fail(e.span, "a pattern is a constant");
        };
        let w = match self.ty(matched) {
            Ty::Bits(w) => self.settle(w),
            Ty::Bool => Width::Const(1),
            _ => return Ok(c),
        };
        match w {
            Width::Const(w) if w < 127 && c < 0 && -c <= 1 << (w - 1) => Ok(c & mask(w) as i128),
            Width::Const(w) if w < 127 && !(0..(1 << w) + i128::from(excluded)).contains(&c) => {
                self.fail(e.span, format!("this never matches: the value has {w} bits"))
            }
            _ => Ok(c),
        }
    }

    fn pattern_condition(&mut self, p: &Pattern, v: &Val, span: Span) -> Res<ValueId> {
        match (p, v) {
            (Pattern::Any, _) => Ok(self.boolean(true, span)),
            (Pattern::Tuple(ps), Val::Tuple(vs)) => {
                let mut all = self.boolean(true, span);
                for (p, v) in ps.iter().zip(vs) {
                    let c = self.pattern_condition(p, v, span)?;
                    all = self.and(all, c, span);
                }
                Ok(all)
            }
            (p, Val::Leaf(v)) => self.leaf_condition(p, *v, span),
            _ => Err(Reported),
        }
    }

    fn leaf_condition(&mut self, p: &Pattern, v: ValueId, span: Span) -> Res<ValueId> {
        let ty = self.ty(v);
        match (p, ty) {
            (Pattern::Range(lo, hi), Ty::Bool) => match (lo <= &0 && hi >= &0, lo <= &1 && hi >= &1) {
                (true, true) => Ok(self.boolean(true, span)),
                (false, true) => Ok(v),
                (true, false) => Ok(self.not(v, span)),
                (false, false) => Ok(self.boolean(false, span)),
            },
            (Pattern::Mask(m, b), Ty::Bool) => Ok(match (*m, *b) {
                (0, _) => self.boolean(true, span),
                (_, 0) => self.not(v, span),
                _ => v,
            }),
            (Pattern::Range(lo, hi), Ty::Int) => {
                let (l, h) = (i64::try_from(*lo).unwrap_or(i64::MIN), i64::try_from(*hi).unwrap_or(i64::MAX));
                let l = self.int(l, span);
                if lo == hi {
                    return Ok(self.int_cmp(Op::IntEq, v, l, span));
                }
                let h = self.int(h, span);
                let a = self.int_cmp(Op::IntLe, l, v, span);
                let b = self.int_cmp(Op::IntLe, v, h, span);
                Ok(self.and(a, b, span))
            }
            (Pattern::Range(lo, hi), Ty::Bits(w)) => {
                let konst = |l: &mut Self, c: i128| match w {
                    Width::Const(w) => l.bits(c as u128, w, span),
                    Width::Value(_) => {
                        let i = l.int(i64::try_from(c).unwrap_or(i64::MAX), span);
                        l.int_to_bits(i, w, span)
                    }
                };
                if lo == hi {
                    let k = konst(self, *lo);
                    return Ok(self.cmp(CmpOp::Eq, v, k, span));
                }
                let (top, low) = match w {
                    Width::Const(w) => (*hi as u128 >= mask(w), *lo <= 0),
                    Width::Value(_) => (false, *lo <= 0),
                };
                let mut all = self.boolean(true, span);
                if !low {
                    let k = konst(self, *lo);
                    all = self.cmp(CmpOp::Ule, k, v, span);
                }
                if !top {
                    let k = konst(self, *hi);
                    let c = self.cmp(CmpOp::Ule, v, k, span);
                    all = self.and(all, c, span);
                }
                Ok(all)
            }
            (Pattern::Mask(m, b), Ty::Bits(w)) => {
                let n = match self.settle(w) {
                    Width::Const(n) => n,
                    Width::Value(_) => return Err(Reported),
                };
                let k = self.bits(*b, n, span);
                if *m == mask(n) {
                    return Ok(self.cmp(CmpOp::Eq, v, k, span));
                }
                let m = self.bits(*m, n, span);
                let masked = self.bits_bin(BinOp::And, v, m, ty, span);
                Ok(self.cmp(CmpOp::Eq, masked, k, span))
            }
            _ => self.fail(span, "this pattern does not fit the value matched"),
        }
    }

    /// Do the patterns match every value? Found by trying all of them, when there are at most 2^16.
    fn covers(&self, v: &Val, patterns: &[Vec<Pattern>]) -> Option<bool> {
        let mut widths = Vec::new();
        self.leaf_widths(v, &mut widths)?;
        let total: u32 = widths.iter().sum();
        if total > 16 {
            return None;
        }
        Some((0..1u128 << total).all(|n| {
            patterns.iter().flatten().any(|p| {
                let mut at = total;
                let mut leaves = widths.iter().enumerate().map(|(i, w)| {
                    at -= w;
                    ((n >> at) & mask(*w), i)
                });
                p.matches(&mut leaves)
            })
        }))
    }

    fn leaf_widths(&self, v: &Val, out: &mut Vec<u32>) -> Option<()> {
        match v {
            Val::Leaf(v) => {
                out.push(match self.ty(*v) {
                    Ty::Bool => 1,
                    Ty::Bits(w) => match self.settle(w) {
                        Width::Const(w) => w,
                        Width::Value(_) => return None,
                    },
                    _ => return None,
                });
                Some(())
            }
            Val::Tuple(vs) => vs.iter().try_for_each(|v| self.leaf_widths(v, out)),
            _ => None,
        }
    }
}
