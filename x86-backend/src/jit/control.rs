//! Leaving the block, and structured control flow within it.

use super::asm::{Alu, Cc, Fixup, Mem, RAX, RBP, RCX, RDX};
use super::flags::Carry;
use super::ir::{ANEW, Code, Op, Val};
use super::regs::{Gen, Place};
use crate::runtime::{ARRIVAL_STRIDE, JUMP_ENTRIES, PAGE_BITS, Runtime};
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
    /// Whether a jump to `pc` may be patched: the block's page, or another page of the region, holds it.
    fn same_page(&self, pc: u64) -> bool {
        let page = |of: u64| (pc ^ of) >> PAGE_BITS == 0;
        page(self.shared.block_pc) || self.shared.region.is_some_and(|r| r.pages().iter().any(|p| page(*p)))
    }

    /// For branches of that `Runtime::exit_arrival`: where their entries begin in the jump cache, their key, and where they go when
    /// nothing is found.
    fn jump_lookup(&self, arrival: u16) -> (i32, Mem, usize) {
        let arrival = usize::from(arrival);
        let entries = self.rt(offset_of!(Runtime, jump)).disp + (arrival * ARRIVAL_STRIDE * 16) as i32;
        let key = match arrival.checked_sub(1) {
            None => offset_of!(Runtime, jump_key),
            Some(i) => offset_of!(Runtime, arrival_keys) + 8 * i,
        };
        (entries, self.rt(key), self.shared.thunks.lookup[arrival])
    }

    /// Everything is flushed; goes to a constant address.
    pub fn exit_to(&mut self, pc: u64) {
        self.exit_arriving(pc, 0);
    }

    fn exit_arriving(&mut self, pc: u64, arrival: u16) {
        let anew = arrival == ANEW;
        let arrival = if anew { 0 } else { arrival };
        if arrival == 0 && !anew && self.same_page(pc) {
            let site = self.asm.jmp();
            self.chains.push(ChainStub { site, pc });
            return;
        }
        self.asm.mov_ri(RAX, pc);
        let (entries, key, missing) = self.jump_lookup(arrival);
        let at = entries + ((pc >> 2) as usize & (JUMP_ENTRIES - 1)) as i32 * 16;
        self.asm.load(8, RDX, key);
        self.asm.alu(Alu::Xor, true, RDX, RAX);
        self.asm.alu(Alu::Cmp, true, RDX, Mem::new(RBP, at));
        self.asm.jcc_to(Cc::NE, missing);
        self.asm.jmp_rm(Mem::new(RBP, at + 8));
    }

    /// Everything is flushed; goes to the address in RAX.
    fn exit_indirect(&mut self, arrival: u16) {
        let (at, key, missing) = self.jump_lookup(arrival);
        self.asm.load(8, RDX, key);
        self.asm.mov_rr(false, RCX, RAX);
        self.asm.shift_i(super::asm::Sh::Shl, false, RCX, 2);
        self.asm.alu_i(Alu::And, false, RCX, (JUMP_ENTRIES as i32 - 1) << 4);
        self.asm.alu(Alu::Xor, true, RDX, RAX);
        self.asm.alu(Alu::Cmp, true, RDX, Mem::indexed(RBP, RCX, 0, at));
        self.asm.jcc_to(Cc::NE, missing);
        self.asm.jmp_rm(Mem::indexed(RBP, RCX, 0, at + 8));
    }

    pub fn lower_goto(&mut self, op: Op) {
        match op.code {
            Code::Goto => {
                self.flush_all();
                self.exit_arriving(op.imm, op.aux);
            }
            Code::GotoInd => {
                self.flush_all();
                self.copy_to(RAX, op.va());
                self.exit_indirect(op.aux);
            }
            _ => {
                self.flush_all();
                self.copy_to(RAX, op.va());
                self.asm.store(8, Self::state(self.shared.pc_offset), RAX);
                self.asm.jmp_to(self.shared.thunks.state);
            }
        }
    }

    /// Whether the block goes on behind a conditional exit.
    pub fn goes_on(&self, exit: usize) -> bool {
        self.ir.ops[exit + 1..].iter().any(|op| matches!(op.code, Code::Insn | Code::LoopBack))
    }

    pub fn lower_cond_exit(&mut self, v: Val, op: Op) {
        let c = op.va();
        // If the block goes on, stores are made where the exit is taken; at its end they have to be made anyway.
        let goes_on = self.goes_on(v.index());
        let temps = self.check_temps();
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
            self.add_cold_exit(site, op.imm, temps);
        } else if self.same_page(op.imm) {
            self.chains.push(ChainStub { site, pc: op.imm });
        } else {
            self.far_exits.push(ChainStub { site, pc: op.imm });
        }
        self.end_op(v);
    }

    /// Returns the index of the next operation to lower.
    #[inline(never)]
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
            let place = self.snapshot();
            self.deferred.push(Deferred { from, to, label, place, pc: self.pc });
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
        let place = self.snapshot();
        self.joins.push(Join { place, otherwise, done: None });
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
                Code::Call | Code::LoopBack => {
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

    /// A copy of the allocation state.
    pub fn snapshot(&mut self) -> Place {
        let mut place = self.spare.pop().unwrap_or_else(Place::new);
        place.copy_from(&self.place);
        place
    }

    #[inline(never)]
    pub fn lower_else(&mut self, end: usize) {
        self.finish_arm(end, false);
        let done = self.asm.jmp();
        let Some(mut join) = self.joins.pop() else { return };
        join.done = Some(done);
        self.place.copy_from(&join.place);
        self.asm.bind(join.otherwise);
        self.joins.push(join);
        self.prune();
    }

    #[inline(never)]
    pub fn lower_end_if(&mut self, end: usize) {
        self.finish_arm(end, true);
        let Some(mut join) = self.joins.pop() else { return };
        if let Some(done) = join.done {
            self.asm.bind(done);
        }
        core::mem::swap(&mut self.place, &mut join.place);
        self.spare.push(join.place);
        self.forget_registers();
        self.prune();
    }
}
