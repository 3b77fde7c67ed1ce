//! Lowering of integer operations.

use super::asm::{Alu, Cc, F7, Mem, RAX, RCX, RDX, Rm, Sh};
use super::features::HostFeatures;
use super::ir::{Code, Op, Val};
use super::places::Loc;
use super::regs::Gen;

impl Gen {
    pub fn has(&self, f: HostFeatures) -> bool {
        self.shared.features.contains(f)
    }

    /// Lowers an integer operation; false when it is none.
    pub fn lower_int(&mut self, v: Val, op: Op) -> bool {
        if op.is_vector() {
            return false;
        }
        let w = u32::from(op.w);
        let q = w == 64;
        let (a, b) = (op.va(), op.vb());
        match op.code {
            Code::Add => self.lower_add(v, op, q),
            Code::Sub => {
                let d = self.def_from(v, a);
                match self.imm(w, b) {
                    Some(k) => self.asm.alu_i(Alu::Sub, q, d, k),
                    None => {
                        let rm = self.use_rm(w, b);
                        self.asm.alu(Alu::Sub, q, d, rm);
                    }
                }
            }
            Code::And => self.lower_and(v, op, q),
            Code::Or => self.commutative(Alu::Or, v, op, q),
            Code::Xor => self.commutative(Alu::Xor, v, op, q),
            Code::Mul => {
                if let Some(k) = self.imm(w, b) {
                    let rm = self.use_rm(w, a);
                    let d = self.def_gpr(v);
                    self.asm.imul_i(q, d, rm, k);
                } else {
                    let (a, b) = self.better_first(a, b);
                    let d = self.def_from(v, a);
                    let rm = self.use_rm(w, b);
                    self.asm.imul(q, d, rm);
                }
            }
            Code::UMulHi | Code::SMulHi => self.lower_mulhi(v, op),
            Code::UDiv | Code::SDiv | Code::URem | Code::SRem => self.lower_div(v, op, q),
            Code::Shl | Code::Shr | Code::Sar | Code::Ror => self.lower_shift(v, op, q),
            Code::Not | Code::Neg => {
                let d = self.def_from(v, a);
                self.asm.f7(if op.code == Code::Not { F7::Not } else { F7::Neg }, q, d);
            }
            Code::Clz | Code::Ctz => self.lower_count_zeros(v, op, q),
            Code::Popcnt => self.lower_popcnt(v, op, q),
            Code::ByteRev => {
                let d = self.def_from(v, a);
                self.asm.bswap(q, d);
            }
            Code::BitRev => self.lower_bitrev(v, op, q),
            Code::Sext => {
                let from = u32::from(op.aux);
                let rm = self.use_rm(from, a);
                let d = self.def_gpr(v);
                self.asm.movsx(from, q, d, rm);
            }
            Code::Select => self.lower_select(v, op),
            _ => return false,
        }
        true
    }

    /// Of two operands in either order, the one whose register can become the result comes first.
    fn better_first(&self, a: Val, b: Val) -> (Val, Val) {
        let takes = |v: Val| self.dies(v) && self.loc(v).gpr().is_some();
        let in_memory = |v: Val| self.loc(v).gpr().is_none();
        if (takes(b) && !takes(a)) || (!takes(a) && in_memory(a) && !in_memory(b) && self.dies(a)) {
            (b, a)
        } else {
            (a, b)
        }
    }

    fn commutative(&mut self, alu: Alu, v: Val, op: Op, q: bool) {
        let w = u32::from(op.w);
        let (a, b) = (op.va(), op.vb());
        if let Some(k) = self.imm(w, b) {
            let d = self.def_from(v, a);
            self.asm.alu_i(alu, q, d, k);
            return;
        }
        let (a, b) = self.better_first(a, b);
        let d = self.def_from(v, a);
        let rm = self.use_rm(w, b);
        self.asm.alu(alu, q, d, rm);
    }

    fn lower_add(&mut self, v: Val, op: Op, q: bool) {
        let w = u32::from(op.w);
        let (a, b) = (op.va(), op.vb());
        let in_place = |g: &Self, x: Val| g.dies(x) && (g.loc(x).gpr().is_some() || g.is_const(x));
        if let Some(k) = self.imm(w, b) {
            if in_place(self, a) || self.loc(a).gpr().is_none() && self.dies(a) {
                let d = self.def_from(v, a);
                self.asm.alu_i(Alu::Add, q, d, k);
            } else {
                let r = self.use_gpr(a);
                let d = self.def_gpr(v);
                self.asm.lea(q, d, Mem::new(r, k));
            }
            return;
        }
        if in_place(self, a) || in_place(self, b) || self.dies(a) || self.dies(b) {
            self.commutative(Alu::Add, v, op, q);
            return;
        }
        let (ra, rb) = (self.use_gpr(a), self.use_gpr(b));
        let d = self.def_gpr(v);
        self.asm.lea(q, d, Mem::indexed(ra, rb, 0, 0));
    }

    fn lower_and(&mut self, v: Val, op: Op, q: bool) {
        let (a, b) = (op.va(), op.vb());
        match self.konst(b) {
            Some(k @ (0xff | 0xffff | 0xffff_ffff)) => {
                let bits = k.count_ones();
                if let (Some(_), true) = (self.loc(a).gpr(), self.dies(a)) {
                    let d = self.def_from(v, a);
                    self.asm.movzx(bits, d, d);
                    return;
                }
                let rm = self.use_rm(bits, a);
                let d = self.def_gpr(v);
                match rm {
                    Rm::Mem(m) => self.asm.load(bits / 8, d, m),
                    Rm::Reg(r) => self.asm.movzx(bits, d, super::asm::Gpr(r)),
                    Rm::Rip => {}
                }
            }
            _ => {
                self.commutative(Alu::And, v, op, q);
            }
        }
    }

    fn lower_mulhi(&mut self, v: Val, op: Op) {
        let (a, b) = (op.va(), op.vb());
        if op.code == Code::UMulHi && self.has(HostFeatures::BMI2) {
            // What is there already need not go through memory to get out of its own way.
            let (a, b) = if self.loc(b).gpr() == Some(RDX) { (b, a) } else { (a, b) };
            self.fixed(RDX);
            self.copy_to(RDX, a);
            let rm = self.use_rm(64, b);
            let lo = self.scratch();
            let d = self.def_gpr(v);
            self.asm.mulx(true, d, lo, rm);
            return;
        }
        self.fixed(RAX);
        self.fixed(RDX);
        self.copy_to(RAX, a);
        let rm = self.use_rm(64, b);
        self.asm.f7(if op.code == Code::UMulHi { F7::Mul } else { F7::Imul }, true, rm);
        self.assign(v, RDX);
    }

    /// A quotient or remainder, or both. x / 0 = 0 and MIN / -1 = MIN need branches around the instruction.
    fn lower_div(&mut self, v: Val, op: Op, q: bool) {
        if self.loc(v) != Loc::NOWHERE {
            // The division that gave the quotient gave the remainder as well.
            return;
        }
        let (a, b) = (op.va(), op.vb());
        let signed = matches!(op.code, Code::SDiv | Code::SRem);
        let (quotient, remainder) = match op.code {
            Code::UDiv | Code::SDiv => (Some(v), self.ir.remainder_of(v)),
            _ => (None, Some(v)),
        };
        self.fixed(RAX);
        self.fixed(RDX);
        let divisor = self.use_gpr(b);
        let dividend = self.use_gpr(a);
        if quotient.is_some() {
            self.asm.alu(Alu::Xor, false, RAX, RAX);
        }
        if remainder.is_some() {
            self.asm.mov_rr(q, RDX, dividend);
        }
        self.asm.test_rr(q, divisor, divisor);
        let zero = self.asm.jcc(Cc::E);
        self.asm.mov_rr(q, RAX, dividend);
        if signed {
            let known = self.konst(b).is_some_and(|k| k as i64 != -1 && k as i32 != -1);
            let minus1 = if known {
                None
            } else {
                self.asm.alu_i(Alu::Cmp, q, divisor, -1);
                Some(self.asm.jcc(Cc::E))
            };
            self.asm.sign_rdx(q);
            self.asm.f7(F7::Idiv, q, divisor);
            if let Some(minus1) = minus1 {
                let done = self.asm.jmp();
                self.asm.bind(minus1);
                if remainder.is_some() {
                    self.asm.alu(Alu::Xor, false, RDX, RDX);
                }
                if quotient.is_some() {
                    self.asm.f7(F7::Neg, q, RAX);
                }
                self.asm.bind(done);
            }
        } else {
            self.asm.alu(Alu::Xor, false, RDX, RDX);
            self.asm.f7(F7::Div, q, divisor);
        }
        self.asm.bind(zero);
        if let Some(v) = quotient {
            self.assign(v, RAX);
        }
        if let Some(v) = remainder {
            self.assign(v, RDX);
        }
    }

    fn lower_shift(&mut self, v: Val, op: Op, q: bool) {
        let (a, b) = (op.va(), op.vb());
        let w = u32::from(op.w);
        let sh = match op.code {
            Code::Shl => Sh::Shl,
            Code::Shr => Sh::Shr,
            Code::Sar => Sh::Sar,
            _ => Sh::Ror,
        };
        if let Some(k) = self.konst(b) {
            let k = (k & u64::from(w - 1)) as u8;
            if sh == Sh::Ror && self.has(HostFeatures::BMI2) && !(self.dies(a) && self.loc(a).gpr().is_some()) {
                let rm = self.use_rm(w, a);
                let d = self.def_gpr(v);
                self.asm.rorx(q, d, rm, k);
                return;
            }
            if sh == Sh::Shl && k <= 3 && !self.dies(a) {
                let r = self.use_gpr(a);
                let d = self.def_gpr(v);
                if k == 1 {
                    self.asm.lea(q, d, Mem::indexed(r, r, 0, 0));
                } else {
                    self.asm.mov_rr(q, d, r);
                    self.asm.shift_i(sh, q, d, k);
                }
                return;
            }
            let d = self.def_from(v, a);
            self.asm.shift_i(sh, q, d, k);
            return;
        }
        if sh != Sh::Ror && self.has(HostFeatures::BMI2) {
            let n = self.use_gpr(b);
            let rm = self.use_rm(w, a);
            let d = self.def_gpr(v);
            self.asm.shiftx(sh, q, d, rm, n);
            return;
        }
        self.fixed(RCX);
        self.copy_to(RCX, b);
        let d = self.def_from(v, a);
        self.asm.shift_cl(sh, q, d);
    }

    fn lower_count_zeros(&mut self, v: Val, op: Op, q: bool) {
        let w = u32::from(op.w);
        let r = self.use_gpr(op.va());
        let d = self.def_gpr(v);
        if op.code == Code::Clz && self.has(HostFeatures::LZCNT) {
            self.asm.lzcnt(q, d, r);
        } else if op.code == Code::Clz {
            // The result of BSR for zero is undefined: 2w - 1 makes it come out as w.
            let t = self.scratch();
            self.asm.bsr(q, d, r);
            self.asm.mov_ri(t, u64::from(2 * w - 1));
            self.asm.cmov(Cc::E, q, d, t);
            self.asm.alu_i(Alu::Xor, q, d, w as i32 - 1);
        } else if self.has(HostFeatures::BMI1) {
            self.asm.tzcnt(q, d, r);
        } else {
            let t = self.scratch();
            self.asm.bsf(q, d, r);
            self.asm.mov_ri(t, u64::from(w));
            self.asm.cmov(Cc::E, q, d, t);
        }
    }

    fn lower_popcnt(&mut self, v: Val, op: Op, q: bool) {
        // Part of x86-64-v2.
        let r = self.use_gpr(op.va());
        let d = self.def_gpr(v);
        self.asm.popcnt(q, d, r);
    }

    /// Swaps bytes, then nibbles, pairs and bits within them.
    fn lower_bitrev(&mut self, v: Val, op: Op, q: bool) {
        let d = self.def_from(v, op.va());
        let (t, m) = (self.scratch(), self.scratch());
        self.asm.bswap(q, d);
        for (shift, mask) in [(4, 0x0f0f_0f0f_0f0f_0f0fu64), (2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)] {
            self.asm.mov_ri(m, if q { mask } else { mask & 0xffff_ffff });
            self.asm.mov_rr(q, t, d);
            self.asm.shift_i(Sh::Shr, q, t, shift);
            self.asm.alu(Alu::And, q, t, m);
            self.asm.alu(Alu::And, q, d, m);
            self.asm.shift_i(Sh::Shl, q, d, shift);
            self.asm.alu(Alu::Or, q, d, t);
        }
    }

    fn lower_select(&mut self, v: Val, op: Op) {
        let (c, a, b) = (op.va(), op.vb(), op.vc());
        let q = op.w == 64;
        if op.is_flags() {
            // Making flags values takes RAX: both before any register is settled.
            self.use_gpr(b);
            self.use_gpr(a);
        }
        let ra = self.use_gpr(a);
        let d = self.def_from(v, b);
        let cc = self.condition(c);
        self.asm.cmov(cc, q, d, ra);
    }
}
