//! Conditions and flags: comparisons, lazy flag values, and their storage format.
//!
//! Truth values and flags are lazy: their operation emits nothing, and whoever consumes them has the comparison made in
//! place, followed directly by the jump, set or move that looks at EFLAGS.

use super::asm::{Alu, Asm, Cc, Gpr, Mem, RAX, RSP, Sh, Xmm};
use super::ir::{Code, Op, Val};
use super::regs::{Gen, frame};
use crate::emit::Cond;

/// How EFLAGS stand for guest flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    /// CF is the guest's carry.
    Same,
    /// CF is a borrow: the complement.
    Borrow,
}

/// Where the operand of a lazy flags value is, for code that runs later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place1 {
    Reg(Gpr),
    /// In 64 bits, or in 32, above which nothing is known of the register.
    Low(bool, Xmm),
    Mem(u32, Mem),
    Const(u64),
}

impl Gen {
    /// Emits what sets EFLAGS for a truth value; the result is the condition under which it is true. Nothing that
    /// changes flags may be emitted before it is used.
    pub fn condition(&mut self, c: Val) -> Cc {
        let op = self.op(c);
        let w = u32::from(op.w);
        if !self.loc(c).lazy {
            let r = self.use_gpr(c);
            self.asm.test_rr(false, r, r);
            return Cc::NE;
        }
        match op.code {
            Code::Cmp => self.compare(w, op.va(), op.vb(), Cc(op.aux as u8)),
            Code::Test => self.test(w, op.va(), op.vb(), Cc(op.aux as u8)),
            _ => self.condition_on_flags(op.va(), op.cond()),
        }
    }

    fn compare(&mut self, w: u32, a: Val, b: Val, cc: Cc) -> Cc {
        let q = w == 64;
        if let Some(k) = self.imm(w, b) {
            if k == 0 {
                let r = self.use_gpr(a);
                self.asm.test_rr(q, r, r);
            } else {
                let rm = self.use_rm(w, a);
                self.asm.alu_i(Alu::Cmp, q, rm, k);
            }
        } else {
            let r = self.use_gpr(a);
            let rm = self.use_rm(w, b);
            self.asm.alu(Alu::Cmp, q, r, rm);
        }
        cc
    }

    fn test(&mut self, w: u32, a: Val, b: Val, cc: Cc) -> Cc {
        let q = w == 64;
        let r = self.use_gpr(a);
        match self.konst(b) {
            Some(k) if self.imm(w, b).is_some() || k >> 32 == 0 => {
                // A mask without upper bits tests the low half only.
                let q = q && k >> 31 != 0 && self.imm(w, b).is_some();
                self.asm.test_ri(q, r, k as i32);
                cc
            }
            Some(k) if k.is_power_of_two() => {
                self.asm.bt_i(q, r, k.trailing_zeros() as u8);
                if cc == Cc::E { Cc::AE } else { Cc::B }
            }
            _ => {
                let rb = self.use_gpr(b);
                self.asm.test_rr(q, r, rb);
                cc
            }
        }
    }

    /// Notes a lazy flags value. Its operands must be somewhere, for the stubs that may have to store the flags.
    pub fn lower_lazy_flags(&mut self, v: Val, op: Op) {
        for x in [op.va(), op.vb()].into_iter().take(op.operands()) {
            if self.loc(x).lazy && !self.is_const(x) {
                self.use_gpr(x);
                self.unpin();
            }
        }
        self.make_lazy(v);
    }

    /// Sets EFLAGS as a lazy flags value says.
    fn set_eflags(&mut self, f: Val) -> Carry {
        let op = self.op(f);
        let w = u32::from(op.w);
        let (a, b) = (op.va(), op.vb());
        match op.code {
            Code::SubFlags => {
                if w >= 32 {
                    self.compare_exact(w, a, b);
                } else {
                    let (ra, rb) = (self.use_gpr(a), self.use_gpr(b));
                    self.asm.alu_n(Alu::Cmp, w, ra, rb);
                }
                Carry::Borrow
            }
            Code::AddFlags => {
                let t = self.scratch();
                self.copy_to(t, a);
                match self.imm(w, b) {
                    Some(k) if w >= 32 => self.asm.alu_i(Alu::Add, w == 64, t, k),
                    _ => {
                        let rb = self.use_gpr(b);
                        self.asm.alu_n(Alu::Add, w, t, rb);
                    }
                }
                Carry::Same
            }
            _ => {
                let r = self.use_gpr(a);
                self.asm.test_n(w, r);
                Carry::Same
            }
        }
    }

    /// Like [`Gen::compare`], with carry and overflow meant.
    fn compare_exact(&mut self, w: u32, a: Val, b: Val) {
        let q = w == 64;
        if let (Some(k), false) = (self.imm(w, b), self.is_const(a)) {
            let rm = self.use_rm(w, a);
            self.asm.alu_i(Alu::Cmp, q, rm, k);
        } else {
            let r = self.use_gpr(a);
            let rm = self.use_rm(w, b);
            self.asm.alu(Alu::Cmp, q, r, rm);
        }
    }

    /// The x86 condition for a guest condition, complementing the carry first where it takes that.
    pub fn map_cond(&mut self, carry: Carry, cond: Cond) -> Cc {
        let same = carry == Carry::Same;
        if same && matches!(cond, Cond::Hi | Cond::Ls) {
            self.asm.cmc();
        }
        match cond {
            Cond::Eq => Cc::E,
            Cond::Ne => Cc::NE,
            Cond::Cs if same => Cc::B,
            Cond::Cs => Cc::AE,
            Cond::Cc if same => Cc::AE,
            Cond::Cc => Cc::B,
            Cond::Mi => Cc::S,
            Cond::Pl => Cc::NS,
            Cond::Vs => Cc::O,
            Cond::Vc => Cc::NO,
            Cond::Hi => Cc::A,
            Cond::Ls => Cc::BE,
            Cond::Ge => Cc::GE,
            Cond::Lt => Cc::L,
            Cond::Gt => Cc::G,
            // The builder folds Al and Nv.
            Cond::Le | Cond::Al | Cond::Nv => Cc::LE,
        }
    }

    fn condition_on_flags(&mut self, f: Val, cond: Cond) -> Cc {
        if self.loc(f).lazy && self.op(f).code == Code::Eval {
            match self.fp_condition(self.op(f), cond) {
                Some(cc) => return cc,
                None => {
                    self.use_gpr(f);
                }
            }
        } else if self.loc(f).lazy {
            let carry = self.set_eflags(f);
            return self.map_cond(carry, cond);
        }
        let bit = match cond {
            Cond::Eq | Cond::Ne => Some(14),
            Cond::Cs | Cond::Cc => Some(8),
            Cond::Mi | Cond::Pl => Some(15),
            Cond::Vs | Cond::Vc => Some(0),
            _ => None,
        };
        if let Some(bit) = bit {
            let loc = self.loc(f);
            let mem = match (loc.gpr(), loc.frame(), self.home_of(f)) {
                (Some(_), ..) => None,
                (None, Some(s), _) => Some(Self::spill_slot(s)),
                (None, None, h) => h.map(|h| Self::state(h.offset)),
            };
            match mem {
                Some(m) => self.asm.test_mi8(m.offset(bit / 8), 1 << (bit % 8)),
                None => {
                    let r = self.use_gpr(f);
                    self.asm.test_ri(false, r, 1 << bit);
                }
            }
            return if cond as u8 & 1 == 0 { Cc::NE } else { Cc::E };
        }
        // Bit 15 becomes N ^ V and bit 14 stays Z; or bit 8 becomes !C.
        let t = self.scratch();
        self.copy_to(t, f);
        let mask = match cond {
            Cond::Hi | Cond::Ls => {
                self.asm.alu_i(Alu::Xor, false, t, 0x100);
                0x4100
            }
            _ => {
                let r = self.use_gpr(f);
                self.asm.shift_i(Sh::Shl, false, t, 15);
                self.asm.alu(Alu::Xor, false, t, r);
                if matches!(cond, Cond::Ge | Cond::Lt) { 0x8000 } else { 0xc000 }
            }
        };
        self.asm.test_ri(false, t, mask);
        if matches!(cond, Cond::Hi | Cond::Ge | Cond::Gt) { Cc::E } else { Cc::NE }
    }

    /// EFLAGS to AX in storage format; the carry is the guest's afterwards. RAX must be free.
    fn eflags_to_ax(asm: &mut Asm, carry: Carry) {
        if carry == Carry::Borrow {
            asm.cmc();
        }
        asm.lahf();
        asm.setcc(Cc::O, RAX);
    }

    /// A lazy value in a register of its own.
    pub fn materialise(&mut self, v: Val) -> Gpr {
        let op = self.op(v);
        let r = if op.code == Code::Eval {
            self.fp_flags(op)
        } else if op.is_flags() {
            self.fixed(RAX);
            let carry = self.set_eflags(v);
            Self::eflags_to_ax(&mut self.asm, carry);
            self.asm.movzx(16, RAX, RAX);
            RAX
        } else {
            let cc = self.condition(v);
            let r = self.scratch();
            self.asm.setcc(cc, r);
            self.asm.movzx(8, r, r);
            r
        };
        self.assign(v, r);
        self.materialised(v);
        r
    }

    /// Stores a lazy flags value to its guest slot. EFLAGS then hold the flags with the guest's carry.
    pub fn store_flags(&mut self, f: Val, offset: u32) {
        self.fixed(RAX);
        let carry = self.set_eflags(f);
        Self::eflags_to_ax(&mut self.asm, carry);
        self.asm.store(2, Self::state(offset), RAX);
        self.gpr_pins &= !1;
    }

    /// Flags of a + b + carry.
    #[inline(never)]
    pub fn lower_adc_flags(&mut self, v: Val, op: Op) {
        let w = u32::from(op.w);
        self.fixed(RAX);
        let rb = self.use_gpr(op.vb());
        let c = self.use_gpr(op.vc());
        let t = self.scratch();
        self.copy_to(t, op.va());
        self.asm.bt_i(false, c, 0);
        self.asm.alu_n(Alu::Adc, w, t, rb);
        Self::eflags_to_ax(&mut self.asm, Carry::Same);
        self.asm.movzx(16, RAX, RAX);
        self.assign(v, RAX);
    }

    /// Where an operand is right now.
    pub fn place_of(&self, v: Val) -> Option<Place1> {
        if let Some(k) = self.konst(v) {
            return Some(Place1::Const(k));
        }
        let loc = self.loc(v);
        if let Some(r) = loc.gpr() {
            return Some(Place1::Reg(r));
        }
        if let Some(x) = loc.xmm() {
            return Some(Place1::Low(self.op(v).w == 64, x));
        }
        if let Some(s) = loc.frame() {
            return Some(Place1::Mem(8, Self::spill_slot(s)));
        }
        self.home_of(v).map(|h| Place1::Mem(h.size, Self::state(h.offset)))
    }

    /// Out-of-line version of [`Gen::store_flags`]: changes no register that is in use.
    #[inline(never)]
    pub fn store_flags_cold(&mut self, op: Op, a: Place1, b: Place1, offset: u32) {
        let w = u32::from(op.w);
        let busy = |r: Gpr| [a, b].iter().any(|p| matches!(p, Place1::Reg(x) if *x == r));
        let mut temps = (1..16).filter(|r| !(4..6).contains(r)).map(Gpr).filter(|r| !busy(*r));
        let (Some(ta), Some(tb)) = (temps.next(), temps.next()) else { return };
        let saved = [RAX, ta, tb];
        for (i, r) in saved.into_iter().enumerate() {
            self.asm.store(8, Mem::new(RSP, frame::TEMPS + i as i32 * 8), r);
        }
        let load = |asm: &mut Asm, d: Gpr, p: Place1| match p {
            Place1::Reg(r) => asm.mov_rr(true, d, r),
            Place1::Low(wide, x) => asm.mov_rx(wide, d, x),
            Place1::Mem(size, m) => asm.load(size, d, m),
            Place1::Const(k) => asm.mov_ri(d, k),
        };
        load(&mut self.asm, ta, a);
        if op.code == Code::Eval {
            load(&mut self.asm, tb, b);
            self.fp_flags_cold(op, ta, tb);
            self.asm.store(2, Self::state(offset), RAX);
            for (i, r) in saved.into_iter().enumerate() {
                self.asm.load(8, r, Mem::new(RSP, frame::TEMPS + i as i32 * 8));
            }
            return;
        }
        let carry = match op.code {
            Code::SubFlags => {
                load(&mut self.asm, tb, b);
                self.asm.alu_n(Alu::Cmp, w, ta, tb);
                Carry::Borrow
            }
            Code::AddFlags => {
                load(&mut self.asm, tb, b);
                self.asm.alu_n(Alu::Add, w, ta, tb);
                Carry::Same
            }
            _ => {
                self.asm.test_n(w, ta);
                Carry::Same
            }
        };
        Self::eflags_to_ax(&mut self.asm, carry);
        self.asm.store(2, Self::state(offset), RAX);
        for (i, r) in saved.into_iter().enumerate() {
            self.asm.load(8, r, Mem::new(RSP, frame::TEMPS + i as i32 * 8));
        }
    }
}
