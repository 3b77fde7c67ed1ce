//! Loops in registers: what a region that ends where it began carries from one turn to the next.
//!
//! The builder records such a region twice. The first copy is the first turn: it loads what it needs and leaves
//! constants, addresses and unchanging state known. Between the copies stand [`Code::LoopPhi`]s for the state that changes,
//! and [`Code::LoopHead`]. The second copy is the loop. At its head the *carried* state is in the phis' registers and its
//! memory is stale: the second copy begins with `Put`s of the phis, so that every way out stores it like any other pending
//! state. At its end [`Code::LoopBack`] looks at pending events, brings every value to where the head expects it, and jumps;
//! so does the end of every arm that leads back.
//!
//! What was computed before the head and is used behind it is used in every turn: the head counts one use more of it, so
//! that it never dies, and the branch back reloads what lost its register meanwhile.

use super::asm::{Alu, Cc, Gpr, Xmm};
use super::ir::{Code, Op, Val};
use super::places::NO_REG;
use super::regs::{Gen, NONE, Place};
use crate::runtime::Runtime;
use alloc::vec::Vec;
use core::mem::offset_of;

/// Registers that may be occupied at a loop's head, so that its operations have some to work with.
const GPRS_AT_HEAD: usize = 10;
const XMMS_AT_HEAD: usize = 12;
/// A loop doesn't begin in so many last bytes of a line: the processor would get next to nothing when it fetches from there.
const LINE_END: usize = 16;

/// The allocation state at the head of a loop.
pub(super) struct Head {
    pub place: Place,
    /// What every turn needs: computed before the head and used behind it.
    kept: Vec<u32>,
    /// Its code, and its phis: those from `first` to the head itself.
    code: usize,
    first: usize,
    head: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Gpr(Gpr),
    Xmm(Xmm),
}

impl Gen {
    /// Whether a phi's register is a vector register.
    fn phi_in_xmm(&self, v: Val, op: Op) -> bool {
        let narrow = op.aux != 0 || self.op(op.va()).w < op.w;
        op.is_vector() || (self.wants_xmm[v.index()] && op.w >= 32 && !narrow)
    }

    pub fn lower_loop_phi(&mut self, v: Val, op: Op) {
        if self.ir.ops[v.index() - 1].code != Code::LoopPhi {
            // The first: carried state need not be stored on the way into the loop.
            self.discard_carried();
            self.make_room_for_phis(v.index());
        }
        if self.uses[v.index()] > 0 {
            if self.phi_in_xmm(v, op) {
                self.def_xmm_from(v, op.va());
            } else {
                self.def_from(v, op.va());
            }
        }
        self.end_op(v);
    }

    fn is_carried(&self, offset: u32, size: u32) -> bool {
        self.ir.carried.contains(&(offset, size, true))
    }

    /// Whether the value is state that no turn of the loop stores, as long as it stays in it: then its place is the frame.
    pub fn stays_pending(&self, v: Val) -> bool {
        let mut stores = self.place.pending.iter().filter(|p| p.val == v.0);
        self.loop_head.is_some() && self.op(v).w == 64 && stores.all(|p| self.is_carried(p.offset, p.size))
    }

    /// Drops pending stores of carried state.
    fn discard_carried(&mut self) {
        let mut i = 0;
        while i < self.place.pending.len() {
            let p = self.place.pending[i];
            if self.is_carried(p.offset, p.size) {
                self.place.pending.swap_remove(i);
                self.release(Val(p.val));
            } else {
                i += 1;
            }
        }
    }

    pub fn lower_loop_head(&mut self, at: usize, op: Op) {
        self.discard_carried();
        self.flush_all();
        // State that the loop writes is not where it was read from for long.
        for i in 0..self.ir.carried.len() {
            let (offset, size, _) = self.ir.carried[i];
            self.drop_homes(offset, size);
            self.unpin();
        }
        let first = op.imm as usize;
        let mut kept = Vec::new();
        for v in self.place.values() {
            let v = Val(v);
            if self.uses[v.index()] == 0 {
                if !self.loc(v).lazy {
                    self.drop_value(v);
                }
            } else if !(first..at).contains(&v.index()) {
                self.uses[v.index()] += 1;
                kept.push(v.0);
            }
        }
        let in_registers = (first..at).all(|i| {
            let loc = self.place.locs[i];
            self.ir.ops[i].code != Code::LoopPhi || self.uses[i] == 0 || loc.gpr().is_some() || loc.xmm().is_some()
        });
        // Otherwise what seems to be the loop is left at its end like any region.
        self.loop_head = in_registers.then(|| {
            let place = self.snapshot();
            self.asm.skip_end_of_line(LINE_END);
            Head { place, kept, code: self.asm.pos(), first, head: at }
        });
    }

    /// Moves what is least used, and no phi begins with, out of the registers, so that the phis find some.
    fn make_room_for_phis(&mut self, first: usize) {
        let phis = self.ir.ops[first..].iter().take_while(|op| op.code != Code::LoopHead);
        let phis: Vec<(u32, bool)> = (first as u32..)
            .zip(phis)
            .filter(|(v, op)| op.code == Code::LoopPhi && self.uses[*v as usize] > 0)
            .map(|(v, op)| (op.a, self.phi_in_xmm(Val(v), *op)))
            .collect();
        let xmms = phis.iter().filter(|(_, xmm)| *xmm).count();
        let gprs = phis.len() - xmms;
        let others =
            |table: &[u32; 16]| table.iter().filter(|v| **v != NONE && !phis.iter().any(|(a, _)| a == *v)).count();
        let least = |g: &Self, table: &[u32; 16]| {
            let it = table.iter().copied().enumerate();
            let it = it.filter(|(_, v)| *v != NONE && !phis.iter().any(|(a, _)| a == v));
            it.min_by_key(|(_, v)| g.uses[*v as usize]).map(|(r, _)| r as u8)
        };
        while others(&self.place.gprs) + gprs > GPRS_AT_HEAD {
            let Some(r) = least(self, &self.place.gprs) else { break };
            self.evict_gpr(Gpr(r));
        }
        while others(&self.place.xmms) + xmms > XMMS_AT_HEAD {
            let Some(x) = least(self, &self.place.xmms) else { break };
            self.evict_xmm(Xmm(x));
        }
    }

    /// In an arm that leads back to the head, what every turn needs stays alive.
    pub fn keep_for_loop(&mut self) {
        let Some(head) = self.loop_head.take() else { return };
        for v in &head.kept {
            self.acquire(Val(*v));
        }
        self.loop_head = Some(head);
    }

    pub fn lower_loop_back(&mut self, op: Op) {
        let Some(head) = self.loop_head.take() else {
            self.flush_all();
            self.exit_to(self.shared.block_pc);
            return;
        };
        let events = self.rt(offset_of!(Runtime, events));
        self.asm.alu_i_mem(Alu::Cmp, false, events, 0);
        let away = self.asm.jcc(Cc::NE);
        self.add_event_exit(away, self.shared.block_pc);
        self.discard_carried();
        self.flush_all();
        let of = |g: &Self, v: u32| {
            let phi = (head.first..head.head).contains(&(v as usize));
            Val(if phi { g.ir.args[op.a as usize + v as usize - head.first] } else { v })
        };
        // What is nowhere yet, or in a register of the wrong kind.
        for r in 0..16 {
            if head.place.gprs[r] != NONE {
                let next = of(self, head.place.gprs[r]);
                let loc = self.loc_if(next);
                if loc.gpr().is_none() && (loc.lazy || loc.xmm().is_some()) && !self.is_const(next) {
                    self.use_gpr(next);
                }
            }
            if head.place.xmms[r] != NONE {
                let next = of(self, head.place.xmms[r]);
                let loc = self.loc_if(next);
                if loc.xmm().is_none() && (loc.lazy || loc.gpr().is_some()) && !self.op(next).is_vector() {
                    self.use_xmm(next);
                }
            }
            self.unpin();
        }
        // Moves come first, and loads may not look at registers after them: what is to be loaded is in memory, or a constant.
        for r in 0..16 {
            for (v, xmm) in [(head.place.gprs[r], false), (head.place.xmms[r], true)] {
                if v != NONE {
                    let next = of(self, v);
                    self.prepare_for_head(next, xmm);
                }
            }
        }
        let mut moves = Vec::new();
        let mut loads = Vec::new();
        let mut bring = |g: &Self, v: Val, to: Register| {
            let from = match to {
                Register::Gpr(_) => g.loc(v).gpr().map(Register::Gpr),
                Register::Xmm(_) => g.loc(v).xmm().map(Register::Xmm),
            };
            match from {
                Some(from) if from == to => {}
                Some(from) => moves.push((to, from)),
                None => loads.push((to, v)),
            }
        };
        for r in 0..16 {
            let (g, x) = (head.place.gprs[r], head.place.xmms[r]);
            if g != NONE {
                bring(self, of(self, g), Register::Gpr(Gpr(r as u8)));
            }
            if x != NONE {
                bring(self, of(self, x), Register::Xmm(Xmm(r as u8)));
            }
        }
        self.move_all(&mut moves);
        for (to, v) in loads {
            match (to, self.loc(v).frame()) {
                (Register::Gpr(r), None) => self.copy_to(r, v),
                (Register::Gpr(r), Some(s)) => self.asm.load(self.container(v), r, Self::spill_slot(s)),
                (Register::Xmm(x), Some(s)) if self.op(v).is_vector() => self.asm.movups_load(x, Self::spill_slot(s)),
                (Register::Xmm(x), Some(s)) => self.asm.load_x(self.container(v), x, Self::spill_slot(s)),
                (Register::Xmm(x), None) => match self.konst(v) {
                    Some(k) => self.load_const128(x, k.into()),
                    None => self.copy_to_xmm(x, v),
                },
            }
        }
        self.asm.jmp_to(head.code);
        self.loop_head = Some(head);
    }

    /// Puts a value that a loop's head expects in a register of one kind, and that is only in one of the other kind, into one of
    /// that kind if one is free, else into the frame.
    fn prepare_for_head(&mut self, v: Val, xmm: bool) {
        let loc = self.loc_if(v);
        let (there, elsewhere) = if xmm { (loc.xmm, loc.gpr) } else { (loc.gpr, loc.xmm) };
        // A small one in its home comes into a vector register through a general one.
        let small = xmm && self.home_of(v).is_some_and(|home| home.size < 4);
        if there != NO_REG || (elsewhere == NO_REG && !small) || loc.frame().is_some() || self.is_const(v) {
            return;
        }
        if xmm && self.has_free_xmm() {
            self.use_xmm(v);
        } else if !xmm && self.has_free_gpr() {
            self.use_gpr(v);
        } else {
            if elsewhere == NO_REG {
                self.use_gpr(v);
            }
            self.spill(v);
        }
        self.unpin();
    }

    /// A parallel move.
    fn move_all(&mut self, moves: &mut Vec<(Register, Register)>) {
        while !moves.is_empty() {
            if let Some(i) = moves.iter().position(|(to, _)| moves.iter().all(|(_, from)| from != to)) {
                let (to, from) = moves.swap_remove(i);
                self.move_register(to, from);
                continue;
            }
            // Only cycles are left: after an exchange one register is right.
            let (to, from) = moves.swap_remove(0);
            self.exchange(to, from);
            for (_, f) in moves.iter_mut() {
                *f = match *f {
                    f if f == to => from,
                    f if f == from => to,
                    f => f,
                };
            }
            moves.retain(|(t, f)| t != f);
        }
    }

    fn move_register(&mut self, to: Register, from: Register) {
        match (to, from) {
            (Register::Gpr(d), Register::Gpr(s)) => self.asm.mov_rr(true, d, s),
            (Register::Xmm(d), Register::Xmm(s)) => self.asm.movaps(d, s),
            _ => self.failed = true,
        }
    }

    fn exchange(&mut self, a: Register, b: Register) {
        match (a, b) {
            (Register::Gpr(a), Register::Gpr(b)) => self.asm.xchg_rr(true, a, b),
            (Register::Xmm(a), Register::Xmm(b)) => {
                for (d, s) in [(a, b), (b, a), (a, b)] {
                    self.asm.sse(super::vector::PXOR, d, s);
                }
            }
            _ => self.failed = true,
        }
    }
}
