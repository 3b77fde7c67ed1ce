//! Loops of one block: a block that branches to its own beginning keeps guest registers in host registers around.
//!
//! The state that the block reads first is loaded once, before the loop; the branch back stores what is pending as every
//! exit does, moves each slot's value into the register it is expected in, and goes on behind the loads. So values carried
//! around the loop do not pass through memory, and what does not change is not loaded again. Pending events are looked at
//! each time around, as at the head of a block.

use super::asm::{Alu, Cc, Fixup, Gpr, R12, R13, R14, R15, RBX, RDI, RSI, Xmm};
use super::ir::{Code, Op, Val};
use super::regs::{Gen, Pending};
use crate::runtime::Runtime;
use core::mem::offset_of;

const GPRS: [Gpr; 7] = [RBX, R12, R13, R14, R15, RSI, RDI];
const XMMS: u8 = 8;

/// A slot that is in a register at the head of the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    offset: u32,
    size: u32,
    /// What reads it first, and its value at the end.
    first: Val,
    end: Val,
    register: Register,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Gpr(Gpr),
    Xmm(Xmm),
}

fn overlap(op: &Op, lo: u32, size: u32) -> bool {
    let (at, len) = (op.imm as u32, u32::from(op.aux));
    at < lo + size && lo < at + len
}

impl Gen {
    /// The operation that branches back to the block's beginning, if nothing is in the way of keeping registers.
    fn back_edge(&self) -> Option<usize> {
        let mut depth = 0;
        let mut found = None;
        for (i, op) in self.ir.ops.iter().enumerate() {
            match op.code {
                // Arms that join, and calls that may change state, end the knowledge of what is where.
                Code::If if op.aux == 0 => return None,
                Code::Call if !self.shared.helpers[op.aux as usize].pure_ && depth == 0 => return None,
                Code::If => depth += 1,
                Code::EndIf => depth -= 1,
                Code::CondExit | Code::Goto if depth == 0 && op.imm == self.shared.block_pc => found = Some(i),
                _ => {}
            }
        }
        let at = found?;
        // The block must end there: otherwise it is an exit like others.
        let last = self.ir.ops[at + 1..].iter().all(|op| op.code != Code::Insn);
        if last { Some(at) } else { None }
    }

    /// Finds the loop and its carried slots, and loads them. Code for the head is emitted before, the loop's after.
    pub fn begin_loop(&mut self) {
        self.carried.clear();
        self.loop_edge = None;
        let Some(edge) = self.back_edge() else { return };
        self.loop_edge = Some(edge);
        let mut gprs = GPRS.into_iter();
        let mut xmms = (0..XMMS).map(Xmm);
        // Slots that change first: only they save more than a load.
        for changing in [true, false] {
            for i in 0..edge {
                let op = self.ir.ops[i];
                if op.code != Code::Get || op.is_flags() || self.uses[i] == 0 {
                    continue;
                }
                let (offset, size) = (op.imm as u32, u32::from(op.aux));
                let Some(end) = self.value_at_end(i, edge, offset, size) else { continue };
                if (end.index() != i) != changing {
                    continue;
                }
                let vector = op.is_vector() || (self.wants_xmm[i] && size >= 4);
                let register = if vector { xmms.next().map(Register::Xmm) } else { gprs.next().map(Register::Gpr) };
                let Some(register) = register else { continue };
                self.carried.push(Carried { offset, size, first: Val(i as u32), end, register });
            }
        }
        for i in 0..self.carried.len() {
            let c = self.carried[i];
            self.uses[c.end.index()] += 1;
            self.load_slot(c.register, c.offset, c.size);
            match c.register {
                Register::Gpr(r) => self.assign(c.first, r),
                Register::Xmm(x) => self.assign_xmm(c.first, x),
            }
            self.loc_mut(c.first).home = true;
            self.place.homes.push(Pending { offset: c.offset, size: c.size, val: c.first.0 });
        }
    }

    /// What a slot that operation `first` reads holds at the end of the block, if it is read before it is written and
    /// always accessed as a whole.
    fn value_at_end(&self, first: usize, edge: usize, offset: u32, size: u32) -> Option<Val> {
        let mut depth = 0;
        let mut end = Val(first as u32);
        for (i, op) in self.ir.ops[..edge].iter().enumerate() {
            match op.code {
                Code::If => depth += 1,
                Code::EndIf => depth -= 1,
                // A slot that is read in an arm only may not be read at all.
                Code::Get if i == first && depth > 0 => return None,
                Code::Get if i != first && overlap(op, offset, size) => return None,
                Code::Put if depth == 0 && overlap(op, offset, size) => {
                    if i < first || op.imm as u32 != offset || u32::from(op.aux) != size {
                        return None;
                    }
                    end = op.va();
                }
                _ => {}
            }
        }
        Some(end)
    }

    fn load_slot(&mut self, register: Register, offset: u32, size: u32) {
        let m = Self::state(offset);
        match register {
            Register::Gpr(r) => self.asm.load(size, r, m),
            Register::Xmm(x) if size == 16 => self.asm.movups_load(x, m),
            Register::Xmm(x) => self.asm.load_x(size, x, m),
        }
    }

    /// Goes back to the loop's head. Everything is flushed; registers' contents are given up on this path only.
    pub fn branch_back(&mut self) {
        self.move_carried();
        let events = self.rt(offset_of!(Runtime, events));
        self.asm.alu_i_mem32(Alu::Cmp, events, 0);
        self.asm.jcc_to(Cc::E, self.loop_head);
        let away = self.asm.jmp();
        self.loop_events = Some(away);
    }

    /// After the conditional branch back: the values are not needed for it any more.
    pub fn release_carried(&mut self) {
        for i in 0..self.carried.len() {
            self.release(self.carried[i].end);
        }
    }

    fn source(&self, c: &Carried) -> Option<Register> {
        let loc = self.loc(c.end);
        match c.register {
            Register::Gpr(_) => loc.gpr().map(Register::Gpr),
            Register::Xmm(_) => loc.xmm().map(Register::Xmm),
        }
    }

    /// A parallel move of the values at the end into the registers of the beginning.
    fn move_carried(&mut self) {
        let mut moves: [Option<(Register, Register)>; GPRS.len() + XMMS as usize] = [None; _];
        for (slot, c) in moves.iter_mut().zip(&self.carried) {
            *slot = self.source(c).filter(|from| *from != c.register).map(|from| (c.register, from));
        }
        loop {
            let blocked = |to: Register| moves.iter().flatten().any(|(_, from)| *from == to);
            if let Some(i) = moves.iter().position(|m| m.is_some_and(|(to, _)| !blocked(to))) {
                if let Some((to, from)) = moves[i].take() {
                    self.move_register(to, from);
                }
                continue;
            }
            // Only cycles are left: after an exchange one register is right.
            let Some((to, from)) = moves.iter().flatten().next().copied() else { break };
            self.exchange(to, from);
            for m in moves.iter_mut() {
                if let Some((t, f)) = m {
                    *f = match *f {
                        f if f == to => from,
                        f if f == from => to,
                        f => f,
                    };
                    if t == f {
                        *m = None;
                    }
                }
            }
        }
        // The rest comes from elsewhere.
        for i in 0..self.carried.len() {
            let c = self.carried[i];
            if self.source(&c).is_some() {
                continue;
            }
            match (c.register, self.konst(c.end)) {
                (Register::Gpr(r), Some(k)) => self.asm.mov_ri(r, k),
                _ => self.load_slot(c.register, c.offset, c.size),
            }
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

    /// Whether operation `i` is the branch back.
    pub fn is_back_edge(&self, i: usize) -> bool {
        self.loop_edge == Some(i)
    }
}

/// Where the branch back goes when events are pending.
pub(super) type LoopEvents = Option<Fixup>;
