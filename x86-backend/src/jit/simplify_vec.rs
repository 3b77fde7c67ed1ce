//! Vector operations of the builder: what reduces to moves, lanes and logic; the rest is recorded as it is.

use super::build::{Build, container};
use super::ir::{Code, FIRST_FP, Op, Val};
use super::simd::permutation_cost;
use crate::emit::{BinOp, CmpOp, FLAGS, FpFmt, UnOp, Width};
use crate::eval::{
    self,
    entry::{EvalOp, Negated},
};

/// The index of no byte of a shuffle's operands.
const ZERO: u8 = 0x80;

impl Build {
    /// The vector `hi:lo` of two 64-bit values.
    pub fn pair(&mut self, lo: Val, hi: Val) -> Val {
        let (l, h) = (self.op(lo), self.op(hi));
        if l.code == Code::Lane && h.code == Code::Lane && l.a == h.a && l.aux == 64 << 8 && h.aux == 64 << 8 | 1 {
            return l.va();
        }
        match (self.konst(lo), self.konst(hi)) {
            (Some(x), Some(y)) => self.vector(u128::from(y) << 64 | u128::from(x)),
            (None, Some(0)) => self.pure(Op::new(Code::ZextV, 128).a(lo)),
            _ => self.pure(Op::new(Code::Pair, 128).ab(lo, hi)),
        }
    }

    pub fn zext(&mut self, from: Width, to: Width, a: Val) -> Val {
        if to != 128 || from == 128 {
            return a;
        }
        match self.konst(a) {
            Some(k) => self.vector(u128::from(k)),
            None => self.pure(Op::new(Code::ZextV, 128).a(a)),
        }
    }

    pub fn lane(&mut self, e: Width, a: Val, i: u32) -> Val {
        if e >= 128 {
            return a;
        }
        let op = self.op(a);
        match op.code {
            Code::Const128 => {
                let v = eval::lane(e, self.ir.pool[op.imm as usize], i) as u64;
                return self.int(container(e), v);
            }
            Code::ZextV if e * i >= 64 => return self.int(container(e), 0),
            Code::ZextV => return self.extract(64, op.va(), e * i, e),
            Code::Pair => {
                let half = if e * i < 64 { op.va() } else { op.vb() };
                return self.extract(64, half, e * i % 64, e);
            }
            Code::SetLane if u32::from(op.aux >> 8) == e => {
                let v = op.vb();
                let same = u32::from(op.aux & 255) == i;
                return if same { v } else { self.lane(e, op.va(), i) };
            }
            Code::Splat if u32::from(op.aux >> 8) == e => return op.va(),
            _ => {}
        }
        self.pure(Op::new(Code::Lane, container(e)).aux((e << 8 | i) as u16).a(a))
    }

    pub fn set_lane(&mut self, e: Width, a: Val, i: u32, v: Val) -> Val {
        if e >= 128 {
            return v;
        }
        if let (Some(x), Some(y)) = (self.konst128(a), self.konst(v)) {
            return self.vector(eval::set_lane(e, x, i, u128::from(y)));
        }
        if i == 0 && self.konst128(a) == Some(0) {
            return self.zext(e, 128, v);
        }
        self.pure(Op::new(Code::SetLane, 128).aux((e << 8 | i) as u16).ab(a, v))
    }

    pub fn splat(&mut self, e: Width, v: Val) -> Val {
        if e >= 128 {
            return v;
        }
        match self.konst(v) {
            Some(k) => self.vector(eval::splat(e, u128::from(k))),
            None => self.pure(Op::new(Code::Splat, 128).aux((e << 8) as u16).a(v)),
        }
    }

    pub fn extract128(&mut self, a: Val, lo: u32, len: Width) -> Val {
        if len == 128 {
            return a;
        }
        if len > 64 || lo + len > 128 {
            let w = EvalOp::Extract { n: 128, lo, len };
            return self.eval(w, len, [a, Val::NONE, Val::NONE]);
        }
        if matches!(len, 8 | 16 | 32 | 64) && lo.is_multiple_of(len) {
            return self.lane(len, a, lo / len);
        }
        if lo / 64 == (lo + len - 1) / 64 {
            let half = self.lane(64, a, lo / 64);
            return self.extract(64, half, lo % 64, len);
        }
        let (low, high) = (self.lane(64, a, 0), self.lane(64, a, 1));
        let low = self.shr_i(64, low, lo);
        let high = self.shl_i(64, high, 64 - lo);
        let both = self.or(64, low, high);
        self.trunc(both, len)
    }

    pub fn bin128(&mut self, op: BinOp, a: Val, b: Val) -> Val {
        let (ka, kb) = (self.konst128(a), self.konst128(b));
        if let (Some(x), Some(y)) = (ka, kb) {
            return self.vector(eval::bin(op, 128, x, y));
        }
        let code = match op {
            BinOp::And => Code::And,
            BinOp::Or => Code::Or,
            BinOp::Xor => Code::Xor,
            _ => return self.eval(EvalOp::Bin { op, n: 128 }, 128, [a, b, Val::NONE]),
        };
        let (a, b, kb) = if ka.is_some() { (b, a, ka) } else { (a, b, kb) };
        match (code, kb) {
            (Code::And, Some(0)) => return b,
            (Code::And, Some(u128::MAX)) | (Code::Or | Code::Xor, Some(0)) => return a,
            (Code::Or, Some(u128::MAX)) => return b,
            _ => {}
        }
        if a == b {
            return if code == Code::Xor { self.vector(0) } else { a };
        }
        self.pure(Op::new(code, 128).ab(a, b))
    }

    pub fn un128(&mut self, op: UnOp, a: Val) -> Val {
        if let Some(x) = self.konst128(a) {
            return self.vector(eval::un(op, 128, x));
        }
        if op == UnOp::Not {
            let x = self.op(a);
            if x.code == Code::Not {
                return x.va();
            }
            return self.pure(Op::new(Code::Not, 128).a(a));
        }
        self.eval(EvalOp::Un { op, n: 128 }, 128, [a, Val::NONE, Val::NONE])
    }

    pub fn cmp128(&mut self, op: CmpOp, a: Val, b: Val) -> Val {
        match op {
            CmpOp::Eq | CmpOp::Ne => {
                let d = self.bin128(BinOp::Xor, a, b);
                let (lo, hi) = (self.lane(64, d, 0), self.lane(64, d, 1));
                let any = self.or(64, lo, hi);
                let zero = self.int(64, 0);
                self.cmp(op, 64, any, zero)
            }
            _ => self.eval(EvalOp::Cmp { op, n: 128 }, 1, [a, b, Val::NONE]),
        }
    }

    /// Bytes of `b:a`, see [`crate::emit::Emit::shuffle`]. Shuffles of shuffles are taken together, so that state which stands in
    /// another order than operations want it, and is put back in order behind each, stays as it is between them.
    pub fn shuffle(&mut self, a: Val, b: Val, idx: [u8; 16]) -> Val {
        let (mut sources, mut bytes, mut many) = ([Val::NONE; 2], [ZERO; 16], false);
        for (byte, i) in bytes.iter_mut().zip(idx) {
            let source = match i {
                0..16 => Some((a, i)),
                16..32 => Some((b, i - 16)),
                _ => None,
            };
            let Some((v, i)) = source.and_then(|(v, i)| self.byte_source(v, i)) else { continue };
            match sources.iter().position(|s| *s == v || *s == Val::NONE) {
                Some(k) => {
                    sources[k] = v;
                    *byte = 16 * k as u8 + i;
                }
                None => many = true,
            }
        }
        if many || permutation_cost(bytes) > permutation_cost(idx) {
            return self.shuffle_as_is(a, b, idx);
        }
        let [a, b] = sources;
        if a == Val::NONE {
            return self.vector(0);
        }
        if (0..16).all(|i| bytes[i] == i as u8) {
            return a;
        }
        self.shuffle_as_is(a, if b == Val::NONE { a } else { b }, bytes)
    }

    /// Where byte `i` of a vector comes from, if that is a shuffle; `None`: it is zero.
    fn byte_source(&self, v: Val, i: u8) -> Option<(Val, u8)> {
        let op = self.op(v);
        if op.code == Code::Eval
            && EvalOp::unpack(op.imm) == Some(EvalOp::Shuffle)
            && let Some(idx) = self.konst128(op.vc())
        {
            return match idx.to_le_bytes()[usize::from(i & 15)] {
                j @ 0..16 => Some((op.va(), j)),
                j @ 16..32 => Some((op.vb(), j - 16)),
                _ => None,
            };
        }
        Some((v, i))
    }

    fn shuffle_as_is(&mut self, a: Val, b: Val, idx: [u8; 16]) -> Val {
        let idx = self.vector(u128::from_le_bytes(idx));
        self.eval(EvalOp::Shuffle, 128, [a, b, idx])
    }

    /// A fused multiplication and addition: changes of its operands' signs become part of it.
    pub fn fma(&mut self, fmt: FpFmt, lanes: u32, width: Width, addend: Val, x: Val, y: Val) -> Val {
        let unsigned = |v: Val| {
            let op = self.op(v);
            let constant = || self.konst(op.vb()).map(u128::from).or_else(|| self.konst128(op.vb()));
            let signs = eval::splat(fmt.width(), 1 << (fmt.width() - 1));
            let bits = eval::mask(fmt.width() * lanes);
            (op.code == Code::Xor && constant()? & bits == signs & bits).then(|| op.va())
        };
        let (c, n) = (unsigned(addend), unsigned(x));
        let negated = Negated::new(c.is_some(), n.is_some());
        let args = [c.unwrap_or(addend), n.unwrap_or(x), y];
        self.eval(EvalOp::FpFma { fmt, lanes, negated }, width, args)
    }

    /// An operation recorded as such; lowered inline where there is a way, else by a call to its reference semantics.
    pub fn eval(&mut self, op: EvalOp, width: Width, args: [Val; 3]) -> Val {
        let word = op.pack();
        let n = args.iter().take_while(|v| **v != Val::NONE).count();
        let new = Op { w: container(width) as u8, ..Op::new(Code::Eval, 0) };
        let new = new.aux(n as u16).abc(args[0], args[1], args[2]).imm(word);
        let pure = word & 255 < FIRST_FP;
        let folded =
            pure && width != FLAGS && args[..n].iter().all(|v| self.konst(*v).is_some() || self.konst128(*v).is_some());
        if folded {
            let mut vals = [0; 3];
            for (val, v) in vals.iter_mut().zip(&args[..n]) {
                *val = self.konst(*v).map(u128::from).or_else(|| self.konst128(*v)).unwrap_or(0);
            }
            let r = op.eval(&mut crate::runtime::FpEnv::default(), vals);
            return if width == 128 { self.vector(r) } else { self.int(container(width), r as u64) };
        }
        let v = if pure { self.pure(new) } else { self.push(new) };
        if width < 64 && width != FLAGS {
            self.ir.sig[v.index()] = width as u8;
        }
        v
    }
}
