//! Operations on one lane and what they are on all.

use super::widen::{Out, Widen};
use crate::fixed;
use crate::passes::times::const_width;
use crate::ssa::{BinOp, CmpOp, Op, UnOp, ValueId};

impl Widen<'_> {
    /// The operation on all lanes; `None` where there is none that the backend expands inline.
    pub(super) fn operation(&mut self, v: ValueId, out: &mut Out) -> Option<ValueId> {
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

    /// A truth value whose opposite is cheaper than itself; whoever wants itself inverts it.
    pub(super) fn truth(&mut self, v: ValueId, out: &mut Out) -> Option<()> {
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
