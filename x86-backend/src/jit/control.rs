//! Guest state slots, exits, structured control flow and calls.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, R8, R9, RAX, RBP, RCX, RDI, RDX, RSI, RSP};
use super::flags::Carry;
use super::ir::{Code, Op, Val};
use super::regs::{Gen, Loc, NONE, Pending, Place};
use crate::runtime::{JUMP_ENTRIES, PAGE_BITS, Runtime, STATE_BIAS};
use core::mem::offset_of;

/// An arm that leaves the block, emitted after the main path.
pub(super) struct Deferred {
    pub from: usize,
    pub to: usize,
    pub label: Fixup,
    pub place: Place,
    pub pc: u64,
}

/// A direct jump that waits to be patched.
pub(super) struct ChainStub {
    pub site: Fixup,
    pub pc: u64,
}

/// A join that is being emitted.
pub(super) struct Join {
    pub place: Place,
    pub otherwise: Fixup,
    pub done: Option<Fixup>,
}

impl Gen {
    // Guest state.

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
            if self.op(v).is_vector() {
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
    fn drop_homes(&mut self, lo: u32, size: u32) {
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
            self.place.homes.push(p);
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
        } else if loc.lazy && loc.gpr().is_none() && op.is_flags() {
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

    // Exits.

    fn same_page(&self, pc: u64) -> bool {
        (pc ^ self.shared.block_pc) >> PAGE_BITS == 0
    }

    /// Everything is flushed; goes to a constant address.
    pub fn exit_to(&mut self, pc: u64) {
        if self.same_page(pc) {
            let site = self.asm.jmp();
            self.chains.push(ChainStub { site, pc });
            return;
        }
        self.asm.mov_ri(RAX, pc);
        let entry = (pc >> 2) as usize & (JUMP_ENTRIES - 1);
        let at = self.rt(offset_of!(Runtime, jump)).disp + (entry * 16) as i32;
        let key = self.rt(offset_of!(Runtime, jump_key));
        self.asm.load(8, RDX, key);
        self.asm.alu(Alu::Xor, true, RDX, RAX);
        self.asm.alu(Alu::Cmp, true, RDX, Mem::new(RBP, at));
        self.asm.jcc_to(Cc::NE, self.shared.thunks.lookup);
        self.asm.jmp_rm(Mem::new(RBP, at + 8));
    }

    /// Everything is flushed; goes to the address in RAX.
    fn exit_indirect(&mut self) {
        let at = self.rt(offset_of!(Runtime, jump)).disp;
        let key = self.rt(offset_of!(Runtime, jump_key));
        self.asm.load(8, RDX, key);
        self.asm.mov_rr(false, RCX, RAX);
        self.asm.shift_i(super::asm::Sh::Shl, false, RCX, 2);
        self.asm.alu_i(Alu::And, false, RCX, (JUMP_ENTRIES as i32 - 1) << 4);
        self.asm.alu(Alu::Xor, true, RDX, RAX);
        self.asm.alu(Alu::Cmp, true, RDX, Mem::indexed(RBP, RCX, 0, at));
        self.asm.jcc_to(Cc::NE, self.shared.thunks.lookup);
        self.asm.jmp_rm(Mem::indexed(RBP, RCX, 0, at + 8));
    }

    pub fn lower_goto(&mut self, op: Op) {
        match op.code {
            Code::Goto => {
                self.flush_all();
                self.exit_to(op.imm);
            }
            Code::GotoInd => {
                self.flush_all();
                self.copy_to(RAX, op.va());
                self.exit_indirect();
            }
            _ => {
                self.flush_all();
                self.copy_to(RAX, op.va());
                self.asm.store(8, Self::state(self.shared.pc_offset), RAX);
                self.asm.jmp_to(self.shared.thunks.state);
            }
        }
    }

    pub fn lower_cond_exit(&mut self, v: Val, op: Op) {
        let c = op.va();
        // If the block goes on, stores are made where the exit is taken; at its end they have to be made anyway.
        let goes_on = self.ir.ops[v.index() + 1..].iter().any(|op| op.code == Code::Insn);
        let stored = if goes_on { None } else { self.flush_all() };
        let cond = self.op(c);
        let cc = match stored {
            Some(f) if cond.code == Code::Cond && cond.va() == f && self.loc(c).lazy => {
                self.map_cond(Carry::Same, cond.cond())
            }
            _ => self.condition(c),
        };
        let cc = if op.aux == 1 { cc.not() } else { cc };
        let site = self.asm.jcc(cc);
        if goes_on {
            self.add_cold_exit(site, op.imm);
        } else if self.same_page(op.imm) {
            self.chains.push(ChainStub { site, pc: op.imm });
        } else {
            self.far_exits.push(ChainStub { site, pc: op.imm });
        }
        self.end_op(v);
    }

    // Structured control flow.

    /// Every live value gets a place in the frame (constants need none); state is stored, homes are forgotten.
    fn settle(&mut self, keep_lazy: Val) {
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

    /// Returns the index of the next operation to lower.
    pub fn lower_if(&mut self, at: usize, op: Op) -> usize {
        let c = op.va();
        let v = Val(at as u32);
        let (else_at, end) = (op.b as usize, op.c as usize);
        if op.aux != 0 {
            // The first arm stops: it goes out of line; otherwise the second.
            let first = op.aux & 1 != 0;
            let cc = self.condition(c);
            let label = self.asm.jcc(if first { cc } else { cc.not() });
            let (from, to) = if first { (at + 1, else_at) } else { (else_at + 1, end) };
            self.end_op(v);
            self.deferred.push(Deferred { from, to, label, place: self.place.clone(), pc: self.pc });
            self.for_uses(from, to, Self::release);
            return if first { else_at + 1 } else { at + 1 };
        }
        self.settle(c);
        for i in end + 1..self.ir.len() {
            if !matches!(self.ir.ops[i].code, Code::Phi | Code::Nop) {
                break;
            }
            if self.ir.ops[i].code == Code::Phi && self.uses[i] > 0 {
                self.reserve_frame(Val(i as u32));
            }
        }
        let cc = self.condition(c);
        let otherwise = self.asm.jcc(cc.not());
        self.end_op(v);
        self.joins.push(Join { place: self.place.clone(), otherwise, done: None });
        at + 1
    }

    /// Calls `f` for every use that a range of operations makes.
    pub fn for_uses(&mut self, from: usize, to: usize, f: fn(&mut Self, Val)) {
        for i in from..to {
            let op = self.ir.ops[i];
            match op.code {
                Code::Phi if self.uses_total[i] > 0 => {
                    f(self, op.va());
                    f(self, op.vb());
                }
                Code::Call => {
                    for k in op.a..op.a + op.b {
                        let v = self.ir.args[k as usize];
                        f(self, Val(v));
                    }
                }
                _ => self.each_operand(op, f),
            }
        }
    }

    /// Moves an arm's results into the frame slots of the phis.
    fn finish_arm(&mut self, end: usize, second: bool) {
        self.flush_all();
        for i in end + 1..self.ir.len() {
            let op = self.ir.ops[i];
            if op.code == Code::Nop {
                continue;
            }
            if op.code != Code::Phi {
                break;
            }
            if self.uses_total[i] == 0 {
                continue;
            }
            let phi = Val(i as u32);
            let v = if second { op.vb() } else { op.va() };
            let m = self.reserve_frame(phi);
            if op.is_vector() {
                let x = self.use_xmm(v);
                self.asm.movups_store(m, x);
            } else {
                let r = self.use_gpr(v);
                self.asm.store(8, m, r);
            }
            self.unpin();
            self.release(v);
        }
    }

    pub fn lower_else(&mut self, at: usize, end: usize) {
        let _ = at;
        self.finish_arm(end, false);
        let done = self.asm.jmp();
        let Some(join) = self.joins.last_mut() else { return };
        join.done = Some(done);
        self.place = join.place.clone();
        let otherwise = join.otherwise;
        self.asm.bind(otherwise);
        self.prune();
    }

    pub fn lower_end_if(&mut self, end: usize) {
        self.finish_arm(end, true);
        let Some(join) = self.joins.pop() else { return };
        if let Some(done) = join.done {
            self.asm.bind(done);
        }
        self.place = join.place;
        self.forget_registers();
        self.prune();
    }

    // Calls.

    /// Before state is seen or changed by others: no value may live in its home only.
    fn leave_homes(&mut self) {
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

    /// Calls an address with everything that calls destroy saved.
    pub fn call_address(&mut self, address: u64) {
        self.asm.mov_ri(RAX, address);
        self.asm.call_rm(RAX);
    }

    pub fn lower_call(&mut self, v: Val, op: Op) {
        let decl = self.shared.helpers[op.aux as usize];
        let (first, count) = (op.a as usize, op.b as usize);
        // Lazy arguments are made while registers are free to move.
        for i in first..first + count {
            let a = Val(self.ir.args[i]);
            if self.loc(a).lazy && !self.is_const(a) {
                self.use_gpr(a);
                self.unpin();
            }
        }
        if !decl.pure_ {
            self.flush_all();
            self.store_pc(self.pc);
            self.leave_homes();
        }
        self.clobber_calls();
        const REGS: [Gpr; 5] = [RSI, RDX, RCX, R8, R9];
        let mut next = 0;
        for i in 0..count {
            let a = Val(self.ir.args[first + i]);
            let width = decl.params.get(i).copied().unwrap_or(64);
            if width > 64 {
                let x = self.scratch_xmm();
                self.copy_to_xmm(x, a);
                let m = self.rt(offset_of!(Runtime, scratch) + 16 * i);
                self.asm.movups_store(m, x);
                self.unpin();
            }
        }
        for i in 0..count {
            let a = Val(self.ir.args[first + i]);
            if decl.params.get(i).is_some_and(|w| *w > 64) {
                continue;
            }
            if next < REGS.len() {
                self.copy_to(REGS[next], a);
            } else {
                self.copy_to(RAX, a);
                self.asm.store(8, Mem::new(RSP, (next - REGS.len()) as i32 * 8), RAX);
            }
            next += 1;
        }
        self.asm.lea(true, RDI, Mem::new(RBP, -STATE_BIAS));
        let mxcsr = self.rt(offset_of!(Runtime, fp) + offset_of!(crate::runtime::FpEnv, mxcsr));
        if !decl.pure_ {
            self.asm.stmxcsr(mxcsr);
        }
        self.call_address(decl.entry as u64);
        if !decl.pure_ {
            self.asm.ldmxcsr(mxcsr);
        }
        if decl.never {
            self.asm.jmp_to(self.shared.thunks.state);
        } else if decl.raises {
            self.asm.test_rr(true, RDX, RDX);
            self.asm.jcc_to(Cc::NE, self.shared.thunks.state);
        }
        for i in first..first + count {
            let a = Val(self.ir.args[i]);
            self.release(a);
        }
        self.call_result(v, op, decl.result);
    }

    fn call_result(&mut self, v: Val, op: Op, result: Option<u32>) {
        match result {
            None => {}
            Some(_) if self.uses[v.index()] == 0 => {}
            Some(_) if op.is_vector() => {
                let m = self.rt(offset_of!(Runtime, scratch));
                let x = self.def_xmm(v);
                self.asm.movups_load(x, m);
            }
            Some(_) => self.assign(v, RAX),
        }
        self.unpin();
    }

    /// An operation without inline lowering: its reference semantics are called.
    pub fn lower_eval_call(&mut self, v: Val, op: Op) {
        let n = op.operands();
        let args = [op.va(), op.vb(), op.vc()];
        for (i, a) in args.into_iter().take(n).enumerate() {
            let at = self.rt(offset_of!(Runtime, scratch) + 16 * i);
            let high = at.offset(8);
            let wide = self.op(a).is_vector();
            if wide {
                let x = self.use_xmm(a);
                self.asm.movups_store(at, x);
            } else {
                let r = self.use_gpr(a);
                self.asm.store(8, at, r);
                self.asm.store_imm(8, high, 0);
            }
            self.unpin();
        }
        for a in args.into_iter().take(n) {
            self.release(a);
        }
        self.clobber_calls();
        self.asm.lea(true, RDI, Mem::new(RBP, self.shared.rt_offset as i32 - STATE_BIAS));
        self.asm.mov_ri(RSI, op.imm);
        let entry = self.rt(offset_of!(Runtime, slow) + offset_of!(crate::runtime::SlowPaths, eval));
        self.asm.call_rm(entry);
        if op.is_flags() && self.uses[v.index()] > 0 {
            // N:Z:C:V to storage format.
            let t = RCX;
            self.asm.mov_rr(false, t, RAX);
            self.asm.mov_rr(false, RDX, RAX);
            self.asm.alu_i(Alu::And, false, RAX, 12);
            self.asm.shift_i(super::asm::Sh::Shl, false, RAX, 12);
            self.asm.alu_i(Alu::And, false, t, 2);
            self.asm.shift_i(super::asm::Sh::Shl, false, t, 7);
            self.asm.alu_i(Alu::And, false, RDX, 1);
            self.asm.alu(Alu::Or, false, RAX, t);
            self.asm.alu(Alu::Or, false, RAX, RDX);
        }
        self.call_result(v, op, Some(u32::from(op.w)));
    }
}
