//! Integer operations of the builder: folding, algebra, and the reduction of odd widths to containers.
//!
//! Operands have zero upper bits, and so must results; where a container operation can leave garbage above the width,
//! a mask is added, and known bounds on significant bits make most masks vanish.

use super::asm::Cc;
use super::build::{Build, container, mask64};
use super::ir::{Code, Op, Val};
use crate::emit::{BinOp, CmpOp, Cond, UnOp, Width, flags};
use crate::eval;

impl Build {
    /// The low 32 bits are all that counts: drops truncations.
    fn low32(&self, mut v: Val) -> Val {
        loop {
            let op = self.op(v);
            match op.code {
                Code::And if op.w != 128 => match self.konst(op.vb()) {
                    Some(k) if k as u32 == u32::MAX => v = op.va(),
                    _ => return v,
                },
                _ => return v,
            }
        }
    }

    fn operand(&self, w: u32, v: Val) -> Val {
        if w == 32 { self.low32(v) } else { v }
    }

    /// The low `n` bits of a value.
    pub fn trunc(&mut self, v: Val, n: Width) -> Val {
        if self.sig(v) <= n {
            return v;
        }
        let w = if n <= 32 { 32 } else { 64 };
        if n == 32 {
            let k = self.int(64, 0xffff_ffff);
            return self.and(64, v, k);
        }
        let k = self.int(64, mask64(n));
        self.and(w, v, k)
    }

    fn two(&mut self, code: Code, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = (self.operand(w, a), self.operand(w, b));
        if let (Some(x), Some(y)) = (self.konst(a), self.konst(b)) {
            let k = match code {
                Code::And => Some(x & y),
                Code::Or => Some(x | y),
                Code::Xor => Some(x ^ y),
                _ => None,
            };
            if let Some(k) = k {
                return self.int(w, k & mask64(w));
            }
        }
        self.pure(Op::new(code, w).ab(a, b))
    }

    fn one(&mut self, code: Code, w: u32, a: Val) -> Val {
        let a = self.operand(w, a);
        self.pure(Op::new(code, w).a(a))
    }

    pub fn add(&mut self, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = if self.konst(a).is_some() { (b, a) } else { (a, b) };
        let (a, b) = (self.operand(w, a), self.operand(w, b));
        if let Some(k) = self.konst(b) {
            let k = k & mask64(w);
            if k == 0 {
                return self.trunc(a, w);
            }
            let x = self.op(a);
            if x.code == Code::Add
                && u32::from(x.w) == w
                && let Some(j) = self.konst(x.vb())
            {
                let sum = self.int(w, j.wrapping_add(k) & mask64(w));
                return self.add(w, x.va(), sum);
            }
            let k = self.int(w, k);
            return self.pure(Op::new(Code::Add, w).ab(a, k));
        }
        for (x, y) in [(a, b), (b, a)] {
            let op = self.op(y);
            if op.code == Code::Not && u32::from(op.w) == w {
                let diff = self.sub(w, x, op.va());
                let minus1 = self.int(w, mask64(w));
                return self.add(w, diff, minus1);
            }
            if op.code == Code::Neg && u32::from(op.w) == w {
                return self.sub(w, x, op.va());
            }
        }
        self.pure(Op::new(Code::Add, w).ab(a, b))
    }

    pub fn sub(&mut self, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = (self.operand(w, a), self.operand(w, b));
        if let Some(k) = self.konst(b) {
            let k = self.int(w, k.wrapping_neg() & mask64(w));
            return self.add(w, a, k);
        }
        if a == b {
            return self.int(w, 0);
        }
        if self.konst(a).is_some_and(|k| k & mask64(w) == 0) {
            return self.one(Code::Neg, w, b);
        }
        if let Some(remainder) = self.remainder(w, a, b) {
            return self.pure(remainder);
        }
        self.pure(Op::new(Code::Sub, w).ab(a, b))
    }

    /// The operation that gives `a - b`, where that is what a division of `a` leaves. The division must be close: if both results are
    /// wanted, one instruction gives both.
    fn remainder(&self, w: u32, a: Val, b: Val) -> Option<Op> {
        let product = self.op(b);
        if product.code != Code::Mul || u32::from(product.w) != w {
            return None;
        }
        let of = |quotient: Val, divisor: Val| {
            let op = self.op(quotient);
            let code = match op.code {
                Code::UDiv => Code::URem,
                Code::SDiv => Code::SRem,
                _ => return None,
            };
            let same = u32::from(op.w) == w && op.va() == a && op.vb() == divisor;
            (same && self.ir.division_reaches(quotient, self.ir.len())).then(|| Op::new(code, w).ab(a, divisor))
        };
        of(product.va(), product.vb()).or_else(|| of(product.vb(), product.va()))
    }

    pub fn and(&mut self, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = if self.konst(a).is_some() { (b, a) } else { (a, b) };
        if let Some(k) = self.konst(b) {
            let k = k & mask64(w) & mask64(self.sig(a));
            if k == 0 {
                return self.int(w, 0);
            }
            if k == mask64(self.sig(a)) && self.sig(a) <= w {
                return a;
            }
            let x = self.op(a);
            if x.code == Code::And
                && x.w != 128
                && let Some(j) = self.konst(x.vb())
            {
                let k = self.int(w, j & k);
                return self.and(w, x.va(), k);
            }
            // A mask that fits 32 bits makes it a 32-bit operation.
            let w = if k >> 32 == 0 && k != 0xffff_ffff { 32 } else { w };
            let k = self.int(w, k);
            return self.pure(Op::new(Code::And, w).ab(a, k));
        }
        if a == b {
            return self.trunc(a, w);
        }
        self.two(Code::And, w, a, b)
    }

    pub fn or(&mut self, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = if self.konst(a).is_some() { (b, a) } else { (a, b) };
        if let Some(k) = self.konst(b)
            && k & mask64(w) == 0
        {
            return self.trunc(a, w);
        }
        if a == b {
            return self.trunc(a, w);
        }
        self.two(Code::Or, w, a, b)
    }

    pub fn xor(&mut self, w: u32, a: Val, b: Val) -> Val {
        let (a, b) = if self.konst(a).is_some() { (b, a) } else { (a, b) };
        if let Some(k) = self.konst(b) {
            let k = k & mask64(w);
            if k == 0 {
                return self.trunc(a, w);
            }
            if k == mask64(w) {
                return self.not(w, a);
            }
            if k == 1
                && self.sig(a) == 1
                && let Some(v) = self.inverse(a)
            {
                return v;
            }
        }
        if a == b {
            return self.int(w, 0);
        }
        self.two(Code::Xor, w, a, b)
    }

    fn not(&mut self, w: u32, a: Val) -> Val {
        let x = self.op(a);
        if x.code == Code::Not && u32::from(x.w) == w {
            return self.trunc(x.va(), w);
        }
        self.one(Code::Not, w, a)
    }

    /// The negation of a truth value, where it is another operation of the same cost.
    pub fn inverse(&mut self, a: Val) -> Option<Val> {
        let op = self.op(a);
        match op.code {
            Code::Cmp | Code::Test => Some(self.pure(op.aux(op.aux ^ 1))),
            Code::Cond => Some(self.pure(op.aux(op.aux ^ 1))),
            _ => None,
        }
    }

    pub fn not1(&mut self, a: Val) -> Val {
        let one = self.int(32, 1);
        match self.konst(a) {
            Some(k) => self.int(32, k ^ 1),
            None => self.xor(32, a, one),
        }
    }

    pub fn shl_i(&mut self, w: u32, a: Val, k: u32) -> Val {
        if k == 0 {
            return self.trunc(a, w);
        }
        if k >= w {
            return self.int(w, 0);
        }
        if let Some(v) = self.konst(a) {
            return self.int(w, (v << k) & mask64(w));
        }
        let k = self.int(w, u64::from(k));
        self.two(Code::Shl, w, a, k)
    }

    pub fn shr_i(&mut self, w: u32, a: Val, k: u32) -> Val {
        if k == 0 {
            return self.trunc(a, w);
        }
        if k >= w || (self.sig(a) <= w && k >= self.sig(a)) {
            return self.int(w, 0);
        }
        if let Some(v) = self.konst(a) {
            return self.int(w, (v & mask64(w)) >> k);
        }
        let k = self.int(w, u64::from(k));
        self.two(Code::Shr, w, a, k)
    }

    pub fn bin(&mut self, op: BinOp, n: Width, a: Val, b: Val) -> Val {
        if n == 128 {
            return self.bin128(op, a, b);
        }
        if let (Some(x), Some(y)) = (self.konst(a), self.konst(b)) {
            let r = eval::bin(op, n, u128::from(x), u128::from(y)) as u64;
            return self.int(container(n), r);
        }
        let w = container(n);
        match op {
            BinOp::Add => {
                let r = self.add(w, a, b);
                self.trunc(r, n)
            }
            BinOp::Sub => {
                let r = self.sub(w, a, b);
                self.trunc(r, n)
            }
            BinOp::Mul => {
                let (a, b) = if self.konst(a).is_some() { (b, a) } else { (a, b) };
                let r = match self.konst(b) {
                    Some(0) => return self.int(w, 0),
                    Some(k) if k.is_power_of_two() => self.shl_i(w, a, k.trailing_zeros()),
                    _ => self.two(Code::Mul, w, a, b),
                };
                self.trunc(r, n)
            }
            BinOp::UMulHi | BinOp::SMulHi if n <= 32 => {
                let signed = op == BinOp::SMulHi;
                let (a, b) = if signed { (self.sext(n, 64, a), self.sext(n, 64, b)) } else { (a, b) };
                let p = self.two(Code::Mul, 64, a, b);
                let h = self.shr_i(64, p, n);
                self.trunc(h, n)
            }
            BinOp::UMulHi => self.two(Code::UMulHi, 64, a, b),
            BinOp::SMulHi => self.two(Code::SMulHi, 64, a, b),
            BinOp::UDiv => match self.konst(b) {
                Some(k) if k.is_power_of_two() => self.shr_i(w, a, k.trailing_zeros()),
                _ => self.two(Code::UDiv, w, a, b),
            },
            BinOp::SDiv => {
                let (a, b) = (self.sext(n, w, a), self.sext(n, w, b));
                let r = self.two(Code::SDiv, w, a, b);
                self.trunc(r, n)
            }
            BinOp::And => self.and(w, a, b),
            BinOp::Or => self.or(w, a, b),
            BinOp::Xor => {
                if n == 1 {
                    for (x, y) in [(a, b), (b, a)] {
                        if self.konst(y) == Some(1) {
                            return self.not1(x);
                        }
                    }
                }
                self.xor(w, a, b)
            }
            BinOp::Shl | BinOp::Shr | BinOp::Sar | BinOp::Ror => self.shift(op, n, a, b),
        }
    }

    fn shift(&mut self, op: BinOp, n: Width, a: Val, b: Val) -> Val {
        let w = container(n);
        if let Some(k) = self.konst(b) {
            let k = (k % u64::from(n)) as u32;
            return match op {
                BinOp::Shl => {
                    let r = self.shl_i(w, a, k);
                    self.trunc(r, n)
                }
                BinOp::Shr => self.shr_i(w, a, k),
                BinOp::Sar if k == 0 => a,
                BinOp::Sar => {
                    let s = self.sext(n, w, a);
                    let kv = self.int(w, u64::from(k));
                    let r = self.two(Code::Sar, w, s, kv);
                    self.trunc(r, n)
                }
                _ if k == 0 => a,
                _ if n == w => {
                    let kv = self.int(w, u64::from(k));
                    self.two(Code::Ror, w, a, kv)
                }
                _ => {
                    let lo = self.shr_i(w, a, k);
                    let hi = self.shl_i(w, a, n - k);
                    let r = self.or(w, lo, hi);
                    self.trunc(r, n)
                }
            };
        }
        let amount = if n == w {
            b
        } else {
            let m = self.int(w, u64::from(n - 1));
            self.and(w, b, m)
        };
        match op {
            BinOp::Shl => {
                let r = self.two(Code::Shl, w, a, amount);
                self.trunc(r, n)
            }
            BinOp::Shr => self.two(Code::Shr, w, a, amount),
            BinOp::Sar => {
                let s = self.sext(n, w, a);
                let r = self.two(Code::Sar, w, s, amount);
                self.trunc(r, n)
            }
            _ if n == w => self.two(Code::Ror, w, a, amount),
            _ => {
                let hi = self.shl_i(w, a, n);
                let two = self.or(w, a, hi);
                let r = self.two(Code::Shr, w, two, amount);
                self.trunc(r, n)
            }
        }
    }

    pub fn un(&mut self, op: UnOp, n: Width, a: Val) -> Val {
        if n == 128 {
            return self.un128(op, a);
        }
        if let Some(x) = self.konst(a) {
            let r = eval::un(op, n, u128::from(x)) as u64;
            return self.int(container(n), r);
        }
        let w = container(n);
        match op {
            UnOp::Not if n == w => self.not(w, a),
            UnOp::Not if n == 1 => self.not1(a),
            UnOp::Not => {
                let m = self.int(w, mask64(n));
                self.xor(w, a, m)
            }
            UnOp::Neg => {
                let r = self.one(Code::Neg, w, a);
                self.trunc(r, n)
            }
            UnOp::Clz => {
                let r = self.one(Code::Clz, w, a);
                let k = self.int(w, u64::from(w - n));
                self.sub(w, r, k)
            }
            UnOp::Ctz => {
                let a = if n == w {
                    a
                } else {
                    let stop = self.int(w, 1 << n);
                    self.or(w, a, stop)
                };
                self.one(Code::Ctz, w, a)
            }
            UnOp::Popcnt => self.one(Code::Popcnt, w, a),
            UnOp::BitRev | UnOp::ByteRev => {
                let code = if op == UnOp::BitRev { Code::BitRev } else { Code::ByteRev };
                let r = self.one(code, w, a);
                self.shr_i(w, r, w - n)
            }
        }
    }

    pub fn sext(&mut self, from: Width, to: Width, a: Val) -> Val {
        if from >= to {
            return a;
        }
        if to == 128 {
            let lo = self.sext(from, 64, a);
            let k = self.int(64, 63);
            let hi = self.shift(BinOp::Sar, 64, lo, k);
            return self.pair(lo, hi);
        }
        if self.sig(a) < from {
            return a;
        }
        if let Some(x) = self.konst(a) {
            let r = eval::sext(from, to, u128::from(x)) as u64;
            return self.int(container(to), r);
        }
        let w = container(to);
        let r = match from {
            8 | 16 => {
                let a = self.operand(w.min(32), a);
                self.pure(Op::new(Code::Sext, w).aux(from as u16).a(a))
            }
            32 if w == 64 => {
                let a = self.low32(a);
                self.pure(Op::new(Code::Sext, w).aux(32).a(a))
            }
            _ => {
                let up = self.shl_i(w, a, w - from);
                let k = self.int(w, u64::from(w - from));
                self.two(Code::Sar, w, up, k)
            }
        };
        self.trunc(r, to)
    }

    pub fn extract(&mut self, n: Width, a: Val, lo: u32, len: Width) -> Val {
        if n == 128 {
            return self.extract128(a, lo, len);
        }
        if lo >= n {
            return self.int(container(len), 0);
        }
        if let Some(x) = self.konst(a) {
            return self.int(container(len), (x >> lo) & mask64(len));
        }
        let s = self.shr_i(if self.sig(a) <= 32 { 32 } else { 64 }, a, lo);
        self.trunc(s, len)
    }

    pub fn concat(&mut self, hi_n: Width, hi: Val, lo_n: Width, lo: Val) -> Val {
        let n = hi_n + lo_n;
        if n > 64 {
            return self.pair(lo, hi);
        }
        let w = container(n);
        let up = self.shl_i(w, hi, lo_n);
        if let (Some(x), Some(y)) = (self.konst(up), self.konst(lo)) {
            return self.int(w, x | y);
        }
        self.or(w, up, lo)
    }

    pub fn cmp(&mut self, op: CmpOp, n: Width, a: Val, b: Val) -> Val {
        if n == 128 {
            return self.cmp128(op, a, b);
        }
        if let (Some(x), Some(y)) = (self.konst(a), self.konst(b)) {
            let r = eval::cmp(op, n, u128::from(x), u128::from(y)) as u64;
            return self.int(32, r);
        }
        let mut cc = match op {
            CmpOp::Eq => Cc::E,
            CmpOp::Ne => Cc::NE,
            CmpOp::Ult => Cc::B,
            CmpOp::Ule => Cc::BE,
            CmpOp::Slt => Cc::L,
            CmpOp::Sle => Cc::LE,
        };
        if a == b {
            return self.int(32, u64::from(matches!(cc, Cc::E | Cc::BE | Cc::LE)));
        }
        let w = container(n);
        let (mut a, mut b) = (a, b);
        if matches!(cc, Cc::L | Cc::LE) && n != w {
            (a, b) = (self.sext(n, w, a), self.sext(n, w, b));
        }
        if self.konst(a).is_some() {
            (a, b, cc) = (b, a, cc.swapped());
        }
        if let (Cc::E | Cc::NE, Some(k)) = (cc, self.konst(b)) {
            let same = (cc == Cc::E) == (k == 1);
            if n == 1 || (self.sig(a) == 1 && k <= 1) {
                return if same { a } else { self.not1(a) };
            }
            if k == 0 {
                return self.test(cc, w, a);
            }
        }
        let (a, b) = (self.operand(w, a), self.operand(w, b));
        self.pure(Op::new(Code::Cmp, w).aux(u16::from(cc.0)).ab(a, b))
    }

    /// Whether a value is (not) zero.
    fn test(&mut self, cc: Cc, w: u32, a: Val) -> Val {
        let a = self.operand(w, a);
        let op = self.op(a);
        if op.code == Code::And && op.w != 128 {
            let w = u32::from(op.w);
            return self.pure(Op::new(Code::Test, w).aux(u16::from(cc.0)).ab(op.va(), op.vb()));
        }
        let w = if self.sig(a) <= 32 { 32 } else { w };
        let a = self.operand(w, a);
        self.pure(Op::new(Code::Test, w).aux(u16::from(cc.0)).ab(a, a))
    }

    /// A condition in the form that the branch and select lowering likes best.
    pub fn truth(&mut self, c: Val) -> Val {
        let op = self.op(c);
        if op.code == Code::Xor && self.konst(op.vb()) == Some(1) {
            let t = self.truth(op.va());
            return self.inverse(t).unwrap_or(c);
        }
        if !matches!(op.code, Code::And | Code::Shr) {
            return c;
        }
        let (shifted, w) = match op.code {
            Code::And if self.konst(op.vb()) == Some(1) => (op.va(), u32::from(op.w)),
            Code::Shr => (c, u32::from(op.w)),
            _ => return self.test(Cc::NE, u32::from(op.w), c),
        };
        let s = self.op(shifted);
        let (x, w, k) = match (s.code, self.konst(s.vb())) {
            (Code::Shr, Some(k)) => (s.va(), u32::from(s.w), k),
            _ => (shifted, w, 0),
        };
        let (w, x) = if k < 32 { (32, self.low32(x)) } else { (w, x) };
        let bit = self.int(w, 1 << k);
        self.pure(Op::new(Code::Test, w).aux(u16::from(Cc::NE.0)).ab(x, bit))
    }

    pub fn select(&mut self, n: Width, c: Val, a: Val, b: Val) -> Val {
        match self.konst(c) {
            Some(0) => return b,
            Some(_) => return a,
            None => {}
        }
        if a == b {
            return a;
        }
        if n <= 64 && n != 0 {
            match (self.konst(a), self.konst(b)) {
                (Some(1), Some(0)) => return c,
                (Some(0), Some(1)) => return self.not1(c),
                _ => {}
            }
        }
        let c = self.truth(c);
        self.pure(Op::new(Code::Select, container(n)).abc(c, a, b))
    }

    // Flags.

    pub fn add_flags(&mut self, n: Width, a: Val, b: Val, cin: Val) -> Val {
        if let (Some(x), Some(y), Some(c)) = (self.konst(a), self.konst(b), self.konst(cin)) {
            let f = eval::add_flags(n, u128::from(x), u128::from(y), u128::from(c));
            return self.flags_const(flags::from_nzcv(f as u8));
        }
        let (a, b) = (self.operand(n, a), self.operand(n, b));
        match self.konst(cin) {
            Some(0) => self.pure(Op::new(Code::AddFlags, n).ab(a, b)),
            Some(_) => {
                let y = self.un(UnOp::Not, n, b);
                let y = self.operand(n, y);
                self.pure(Op::new(Code::SubFlags, n).ab(a, y))
            }
            None => self.pure(Op::new(Code::AdcFlags, n).abc(a, b, cin)),
        }
    }

    pub fn logic_flags(&mut self, n: Width, a: Val) -> Val {
        if let Some(x) = self.konst(a) {
            return self.flags_const(flags::from_nzcv(eval::logic_flags(n, u128::from(x)) as u8));
        }
        let a = self.operand(n, a);
        self.pure(Op::new(Code::LogicFlags, n).a(a))
    }

    pub fn pack_flags(&mut self, x: Val) -> Val {
        if let Some(k) = self.konst(x) {
            return self.flags_const(flags::from_nzcv(k as u8 & 15));
        }
        let part = |this: &mut Self, m: u64, up: u32| {
            let k = this.int(32, m);
            let bits = this.and(32, x, k);
            this.shl_i(32, bits, up)
        };
        let nz = part(self, 12, 12);
        let c = part(self, 2, 7);
        let v = part(self, 1, 0);
        let cv = self.or(32, c, v);
        let all = self.or(32, nz, cv);
        self.pure(Op::new(Code::BitsFlags, 0).a(all))
    }

    pub fn unpack_flags(&mut self, f: Val) -> Val {
        let op = self.op(f);
        if op.code == Code::Const {
            return self.int(32, u64::from(flags::to_nzcv(op.imm as u16)));
        }
        let x = if op.code == Code::BitsFlags { op.va() } else { self.pure(Op::new(Code::FlagsBits, 32).a(f)) };
        let part = |this: &mut Self, down: u32, m: u64| {
            let s = this.shr_i(32, x, down);
            let k = this.int(32, m);
            this.and(32, s, k)
        };
        let nz = part(self, 12, 12);
        let c = part(self, 7, 2);
        let v = part(self, 0, 1);
        let cv = self.or(32, c, v);
        self.or(32, nz, cv)
    }

    pub fn cond(&mut self, f: Val, cond: Cond) -> Val {
        if matches!(cond, Cond::Al | Cond::Nv) {
            return self.int(32, 1);
        }
        let op = self.op(f);
        if op.code == Code::Const {
            let nzcv = u128::from(flags::to_nzcv(op.imm as u16));
            return self.int(32, eval::cond(nzcv, cond) as u64);
        }
        let mut cond = cond;
        if op.code == Code::LogicFlags {
            // C = V = 0.
            match cond {
                Cond::Cs | Cond::Vs | Cond::Hi => return self.int(32, 0),
                Cond::Cc | Cond::Vc | Cond::Ls => return self.int(32, 1),
                Cond::Ge => cond = Cond::Pl,
                Cond::Lt => cond = Cond::Mi,
                _ => {}
            }
        }
        self.pure(Op::new(Code::Cond, 32).aux(cond as u16).a(f))
    }
}
