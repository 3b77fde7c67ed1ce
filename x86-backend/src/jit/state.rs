//! Guest state slots: reads are lazy, stores are pending until somebody may look.

use super::asm::Mem;
use super::features::HostFeatures;
use super::flags::Carry;
use super::ir::{Code, Op, Val};
use super::regs::{Gen, Loc, NONE, Pending};
use crate::emit::{FpBinOp, FpFmt, FpUnOp};
use crate::eval::entry::EvalOp;

impl Gen {
    pub fn lower_get(&mut self, v: Val, op: Op) {
        let (lo, size) = (op.imm as u32, u32::from(op.aux));
        self.flush_overlap(lo, size);
        self.loc_mut(v).home = true;
        self.place.homes.push(Pending { offset: lo, size, val: v.0 });
        if self.uses[v.index()] == 0 {
            self.drop_value(v);
        }
    }

    pub fn lower_put(&mut self, op: Op) {
        let (lo, size, v) = (op.imm as u32, u32::from(op.aux), op.va());
        // Old values of the slot must not be looked for there any more.
        let mut i = 0;
        while i < self.place.homes.len() {
            let h = self.place.homes[i];
            if h.offset >= lo + size || h.offset + h.size <= lo {
                i += 1;
                continue;
            }
            let old = Val(h.val);
            let loc = self.loc(old);
            if loc.gpr().is_none() && loc.xmm().is_none() && loc.frame().is_none() && !loc.lazy {
                if self.op(old).is_vector() {
                    self.use_xmm(old);
                } else {
                    self.use_gpr(old);
                }
            }
            self.unpin();
            // Loading it may have moved others.
            if let Some(i) = self.place.homes.iter().position(|x| x.val == h.val && x.offset == h.offset) {
                self.place.homes.swap_remove(i);
            }
            self.loc_mut(old).home = self.place.homes.iter().any(|x| x.val == h.val);
            i = 0;
        }
        // An older pending store is superseded, or must be made if only partly covered.
        let mut i = 0;
        while i < self.place.pending.len() {
            let p = self.place.pending[i];
            if p.offset >= lo + size || p.offset + p.size <= lo {
                i += 1;
            } else if lo <= p.offset && p.offset + p.size <= lo + size {
                self.place.pending.swap_remove(i);
                self.release(Val(p.val));
            } else {
                self.flush_one(i);
                // The value's home is about to be overwritten in part.
                self.drop_homes(lo, size);
            }
        }
        let loc = self.loc(v);
        let in_register = loc.gpr().is_some() || loc.xmm().is_some();
        let waits = loc.lazy && self.op(v).is_flags();
        if !in_register && !waits && !self.is_const(v) {
            if self.op(v).is_vector() || (size == 16 && self.wants_xmm[v.index()] && !loc.lazy) {
                self.use_xmm(v);
            } else {
                self.use_gpr(v);
            }
        }
        self.uses[v.index()] += 1;
        self.place.pending.push(Pending { offset: lo, size, val: v.0 });
        self.release(v);
        self.unpin();
    }

    /// Homes in a range become invalid; their values have another place (or get one).
    pub fn drop_homes(&mut self, lo: u32, size: u32) {
        while let Some(i) = self.place.homes.iter().position(|h| h.offset < lo + size && lo < h.offset + h.size) {
            let h = self.place.homes.swap_remove(i);
            let v = Val(h.val);
            self.place.homes.push(h);
            let loc = self.loc(v);
            if loc.gpr().is_none() && loc.xmm().is_none() && loc.frame().is_none() && !loc.lazy {
                if self.op(v).is_vector() {
                    self.use_xmm(v);
                } else {
                    self.use_gpr(v);
                }
            }
            self.place.homes.retain(|x| !(x.val == h.val && x.offset == h.offset));
            self.loc_mut(v).home = self.place.homes.iter().any(|x| x.val == h.val);
        }
    }

    /// Makes one pending store.
    fn flush_one(&mut self, i: usize) -> Option<Carry> {
        let p = self.place.pending.swap_remove(i);
        let v = Val(p.val);
        let carry = self.store_slot(p);
        if self.uses[v.index()] > 1 && !self.is_const(v) {
            self.loc_mut(v).home = true;
            let size = if self.op(v).is_vector() { p.size } else { p.size.min(8) };
            self.place.homes.push(Pending { size, ..p });
        }
        self.release(v);
        carry
    }

    fn store_slot(&mut self, p: Pending) -> Option<Carry> {
        let v = Val(p.val);
        let m = Self::state(p.offset);
        let op = self.op(v);
        if op.code == Code::Const {
            if let Ok(k) = i32::try_from(op.imm as i64) {
                self.asm.store_imm(p.size.min(8), m, k);
            } else if p.size < 8 {
                self.asm.store_imm(p.size, m, op.imm as i32);
            } else {
                let pinned = self.gpr_pins;
                let r = self.use_gpr(v);
                self.asm.store(8, m, r);
                self.gpr_pins = pinned;
            }
            if p.size == 16 {
                self.asm.store_imm(8, m.offset(8), 0);
            }
            return None;
        }
        let loc = self.loc(v);
        if op.is_vector() {
            let pinned = self.xmm_pins;
            let x = self.use_xmm(v);
            self.asm.movups_store(m, x);
            self.xmm_pins = pinned;
        } else if p.size == 16
            && let Some(x) = loc.xmm()
            && self.is_zero_above(v)
        {
            self.asm.movups_store(m, x);
        } else if p.size == 16 && !(loc.xmm().is_some() && self.has_free_xmm()) {
            // Freeing a register may be what this store is made for.
            self.store_scalar(v, m);
        } else if p.size == 16 {
            // A scalar: zeros above it.
            let (gprs, xmms) = (self.gpr_pins, self.xmm_pins);
            let x = self.use_xmm(v);
            let t = self.scratch_xmm();
            self.zext_xmm(u32::from(op.w), t, x);
            self.asm.movups_store(m, t);
            (self.gpr_pins, self.xmm_pins) = (gprs, xmms);
        } else if loc.lazy && loc.gpr().is_none() && op.is_flags() && op.code != Code::Eval {
            self.store_flags(v, p.offset);
            return Some(if op.code == Code::SubFlags { Carry::Borrow } else { Carry::Same });
        } else if let (Some(x), None, true) = (loc.xmm(), loc.gpr(), (4..=u32::from(op.w) / 8).contains(&p.size)) {
            self.asm.store_x(p.size, m, x);
        } else {
            let pinned = self.gpr_pins;
            let r = self.use_gpr(v);
            self.asm.store(p.size, m, r);
            self.gpr_pins = pinned;
        }
        None
    }

    /// Whether a vector register that holds the scalar has zeros above it: what brings one there clears the rest, and the host's scalar
    /// operations take the rest from their first operand.
    pub fn is_zero_above(&self, v: Val) -> bool {
        /// Operations to look back through; who goes on copies zeros once more, at worst.
        const DEPTH: usize = 8;
        let mut v = v;
        for _ in 0..DEPTH {
            let op = self.op(v);
            let scalar = op.code == Code::Eval && !op.is_vector() && self.has(HostFeatures::AVX);
            let from = match op.code {
                Code::Load | Code::LoadHalf | Code::LoadPair => return !op.is_vector(),
                Code::Eval if scalar => match EvalOp::unpack(op.imm) {
                    Some(EvalOp::IntToFp { .. }) => return true,
                    Some(
                        EvalOp::FpBin {
                            op: FpBinOp::Add | FpBinOp::Sub | FpBinOp::Mul | FpBinOp::Div,
                            fmt: FpFmt::F32 | FpFmt::F64,
                            ..
                        }
                        | EvalOp::FpUn { op: FpUnOp::Sqrt, fmt: FpFmt::F32 | FpFmt::F64, .. }
                        | EvalOp::FpConvert { from: FpFmt::F32, to: FpFmt::F64, .. },
                    ) => op.va(),
                    Some(EvalOp::FpFma { fmt: FpFmt::F32 | FpFmt::F64, .. }) if self.has(HostFeatures::FMA) => op.va(),
                    _ => return false,
                },
                _ => return false,
            };
            if self.ir.sig[from.index()] > op.w {
                return false;
            }
            v = from;
        }
        false
    }

    /// Stores a scalar with zeros up to 16 bytes and takes no vector register for that: taking one may be what this store is made
    /// for, of a value in a register that is wanted, and with all registers full of such values there would be no end.
    fn store_scalar(&mut self, v: Val, m: Mem) {
        let size = u32::from(self.op(v).w) / 8;
        if let Some(x) = self.loc(v).xmm() {
            // What is above a scalar is nobody's.
            self.zext_xmm(size * 8, x, x);
            self.asm.movups_store(m, x);
            return;
        } else {
            let pinned = self.gpr_pins;
            let r = self.use_gpr(v);
            self.asm.store(size, m, r);
            self.gpr_pins = pinned;
        }
        if size == 4 {
            self.asm.store_imm(4, m.offset(4), 0);
        }
        self.asm.store_imm(8, m.offset(8), 0);
    }

    /// Makes the pending stores of one value (which is about to lose its register).
    pub fn flush_value(&mut self, v: Val) {
        while let Some(i) = self.place.pending.iter().position(|p| p.val == v.0) {
            self.flush_one(i);
        }
    }

    fn flush_overlap(&mut self, lo: u32, size: u32) {
        while let Some(i) = self.place.pending.iter().position(|p| p.offset < lo + size && lo < p.offset + p.size) {
            self.flush_one(i);
            self.unpin();
        }
    }

    /// Before an access to memory, makes the pending stores that its slow path would have to make. A block seldom writes a piece of state
    /// twice, so most would be made anyway, but once instead of in every slow path that follows. Regions write the same again and again,
    /// and flags cost more to store than to keep; results that wait for a check may be wrong.
    pub fn flush_early(&mut self) {
        if self.shared.region.is_some() || !self.waiting.is_empty() {
            return;
        }
        let mut i = 0;
        while i < self.place.pending.len() {
            let v = Val(self.place.pending[i].val);
            if self.loc(v).lazy && self.op(v).is_flags() {
                i += 1;
            } else {
                self.flush_one(i);
                self.unpin();
                // Making room for it may have made others.
                i = 0;
            }
        }
    }

    /// Makes all pending stores, lazy flags last: EFLAGS hold them (with the guest's carry) if a value is returned.
    pub fn flush_all(&mut self) -> Option<Val> {
        loop {
            let lazy = |g: &Self, p: &Pending| g.loc(Val(p.val)).lazy && g.op(Val(p.val)).is_flags();
            let next = self.place.pending.iter().position(|p| !lazy(self, p));
            match next.or(if self.place.pending.is_empty() { None } else { Some(0) }) {
                None => return None,
                Some(i) => {
                    let v = Val(self.place.pending[i].val);
                    let carry = self.flush_one(i);
                    if carry.is_some() && self.place.pending.is_empty() {
                        self.unpin();
                        return Some(v);
                    }
                }
            }
            self.unpin();
        }
    }

    /// Stores the program counter.
    pub fn store_pc(&mut self, pc: u64) {
        let m = Self::state(self.shared.pc_offset);
        match i32::try_from(pc as i64) {
            Ok(k) => self.asm.store_imm(8, m, k),
            Err(_) => {
                self.asm.store_imm(4, m, pc as i32);
                self.asm.store_imm(4, m.offset(4), (pc >> 32) as i32);
            }
        }
    }

    /// Every live value gets a place in the frame (constants need none); state is stored, homes are forgotten.
    pub fn settle(&mut self, keep_lazy: Val) {
        self.flush_all();
        let lazies = core::mem::take(&mut self.place.lazies);
        for v in &lazies {
            let v = Val(*v);
            if self.loc(v).lazy && self.uses[v.index()] > 0 && !(v == keep_lazy && self.dies(v)) {
                self.use_gpr(v);
                self.spill(v);
                self.unpin();
            }
        }
        self.place.lazies = lazies;
        self.place.lazies.retain(|v| *v == keep_lazy.0);
        while let Some(h) = self.place.homes.pop() {
            let v = Val(h.val);
            let loc = self.loc(v);
            if loc.frame().is_none() && loc.gpr().is_none() && loc.xmm().is_none() && !loc.lazy {
                self.place.homes.push(h);
                if self.op(v).is_vector() {
                    self.use_xmm(v);
                } else {
                    self.use_gpr(v);
                }
                self.place.homes.retain(|x| x.val != h.val);
            }
            self.loc_mut(v).home = false;
            self.spill(v);
            self.unpin();
        }
        for i in 0..16 {
            for v in [self.place.gprs[i], self.place.xmms[i]] {
                if v != NONE {
                    self.spill(Val(v));
                }
            }
        }
    }

    /// Before state is seen or changed by others: no value may live in its home only.
    pub fn leave_homes(&mut self) {
        while let Some(h) = self.place.homes.pop() {
            let v = Val(h.val);
            let loc = self.loc(v);
            if loc == Loc::NOWHERE || (loc.frame().is_none() && loc.gpr().is_none() && loc.xmm().is_none() && !loc.lazy)
            {
                self.place.homes.push(h);
                if self.op(v).is_vector() {
                    self.use_xmm(v);
                } else {
                    self.use_gpr(v);
                }
                self.place.homes.retain(|x| x.val != h.val);
                self.loc_mut(v).home = false;
                self.spill(v);
                self.unpin();
            }
            self.loc_mut(v).home = false;
        }
    }
}
