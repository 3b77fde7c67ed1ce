//! Calls of helpers, and of the reference semantics of operations.

use super::asm::{Alu, Cc, Gpr, Mem, R8, R9, RAX, RBP, RCX, RDI, RDX, RSI, RSP, Sh};
use super::ir::{Op, Val};
use super::regs::Gen;
use crate::runtime::{FpEnv, Runtime, STATE_BIAS, SlowPaths};
use core::mem::offset_of;

impl Gen {
    /// Calls an address with everything that calls destroy saved.
    pub fn call_address(&mut self, address: u64) {
        self.asm.mov_ri(RAX, address);
        self.asm.call_rm(RAX);
    }

    #[inline(never)]
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
        let mxcsr = self.rt(offset_of!(Runtime, fp) + offset_of!(FpEnv, mxcsr));
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
    #[inline(never)]
    pub fn lower_eval_call(&mut self, v: Val, op: Op) {
        debug_assert!(self.waiting.is_empty(), "a call ends a group of results to be checked");
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
        let entry = self.rt(offset_of!(Runtime, slow) + offset_of!(SlowPaths, eval));
        self.asm.call_rm(entry);
        if op.is_flags() && self.uses[v.index()] > 0 {
            // N:Z:C:V to storage format.
            let t = RCX;
            self.asm.mov_rr(false, t, RAX);
            self.asm.mov_rr(false, RDX, RAX);
            self.asm.alu_i(Alu::And, false, RAX, 12);
            self.asm.shift_i(Sh::Shl, false, RAX, 12);
            self.asm.alu_i(Alu::And, false, t, 2);
            self.asm.shift_i(Sh::Shl, false, t, 7);
            self.asm.alu_i(Alu::And, false, RDX, 1);
            self.asm.alu(Alu::Or, false, RAX, t);
            self.asm.alu(Alu::Or, false, RAX, RDX);
        }
        self.call_result(v, op, Some(u32::from(op.w)));
    }
}
