//! Code emitted once: entering and leaving translated code, and the shared halves of the slow paths.

use super::asm::{Alu, Cc, Gpr, Mem, R8, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Sh, Xmm};
use super::reach::ENTRY_BITS;
use super::regs::{CALLER_SAVED, Gen, frame};
use super::stubs::Slow;
use crate::runtime::{FpEnv, MemDesc, PAGE_BITS, Runtime, STATE_BIAS, SlowPaths, TLB_ENTRIES, TlbEntry, exit};
use core::mem::offset_of;

/// Buffer offsets of the thunks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thunks {
    /// `extern "sysv64" fn(vcpu, code)`
    pub enter: usize,
    /// Exits: RAX is the guest address to go on at; CHAIN also has the jump's rel32 field's address in RCX.
    pub chain: usize,
    /// By `Runtime::exit_arrival`.
    pub lookup: [usize; 4],
    pub events: usize,
    /// A block counts its entries: for whichever of pending events and a counter that ran out it is.
    pub head: usize,
    pub recheck: usize,
    /// The state already says where to go on.
    pub state: usize,
    /// By slow path; the second of each keeps the vector registers too.
    pub slow: [[usize; 2]; 4],
    /// The same for loads and stores by the binary logarithm of their size, which look into the software TLB first.
    pub probing: [[[usize; 5]; 2]; 2],
    /// The reference semantics of one operation.
    pub eval: usize,
    /// Tables of estimates of reciprocals, of reciprocal square roots.
    pub estimates: [usize; 2],
}

const CALLEE_SAVED: [Gpr; 6] = [RBX, RBP, R12, R13, R14, R15];
/// After the return address and the saved registers, this keeps RSP a multiple of 16 in translated code.
const FRAME: i32 = frame::SIZE + 8;

impl Gen {
    /// Emits all thunks at the current position.
    pub fn emit_thunks(&mut self) -> Thunks {
        let mut t = Thunks { enter: self.asm.pos(), ..Thunks::default() };
        let mxcsr = self.rt(offset_of!(Runtime, fp) + offset_of!(FpEnv, mxcsr));
        let host_sp = self.rt(offset_of!(Runtime, host_sp));
        let exit_pc = self.rt(offset_of!(Runtime, exit_pc));
        let exit_site = self.rt(offset_of!(Runtime, exit_site));
        let exit_reason = self.rt(offset_of!(Runtime, exit_reason));
        let host_mxcsr = Mem::new(RSP, frame::HOST_MXCSR);
        for r in CALLEE_SAVED {
            self.asm.push(r);
        }
        self.asm.alu_i(Alu::Sub, true, RSP, FRAME);
        self.asm.lea(true, RBP, Mem::new(RDI, STATE_BIAS));
        self.asm.stmxcsr(host_mxcsr);
        self.asm.ldmxcsr(mxcsr);
        self.asm.store(8, host_sp, RSP);
        self.asm.jmp_rm(RSI);

        self.asm.align(16);
        t.chain = self.asm.pos();
        self.asm.store(8, exit_site, RCX);
        self.asm.store_imm(4, exit_reason, exit::CHAIN as i32);
        let chain = self.asm.jmp();
        t.events = self.asm.pos();
        self.asm.store_imm(4, exit_reason, exit::EVENTS as i32);
        let events = self.asm.jmp();
        t.head = self.asm.pos();
        let pending = self.rt(offset_of!(Runtime, events));
        self.asm.alu_i_mem(Alu::Cmp, false, pending, 0);
        self.asm.jcc_to(Cc::NE, t.events);
        self.asm.store_imm(4, exit_reason, exit::HOT as i32);
        let hot = self.asm.jmp();
        t.recheck = self.asm.pos();
        self.asm.store_imm(4, exit_reason, exit::RECHECK as i32);
        let recheck = self.asm.jmp();
        let mut others = alloc::vec![chain, events, hot, recheck];
        for arrival in (0..t.lookup.len()).rev() {
            t.lookup[arrival] = self.asm.pos();
            self.asm.store_imm(4, exit_reason, exit::LOOKUP as i32);
            self.asm.store_imm(4, self.rt(offset_of!(Runtime, exit_arrival)), arrival as i32);
            if arrival != 0 {
                others.push(self.asm.jmp());
            }
        }
        for other in others {
            self.asm.bind(other);
        }
        self.asm.store(8, exit_pc, RAX);
        self.asm.store(8, Self::state(self.shared.pc_offset), RAX);
        let leave = self.asm.jmp();
        t.state = self.asm.pos();
        self.asm.store_imm(4, exit_reason, exit::STATE as i32);
        self.asm.bind(leave);
        self.asm.load(8, RSP, host_sp);
        self.asm.stmxcsr(mxcsr);
        self.asm.ldmxcsr(host_mxcsr);
        self.asm.alu_i(Alu::Add, true, RSP, FRAME);
        for r in CALLEE_SAVED.into_iter().rev() {
            self.asm.pop(r);
        }
        self.asm.ret();

        let entries = [
            offset_of!(SlowPaths, load),
            offset_of!(SlowPaths, store),
            offset_of!(SlowPaths, atomic),
            offset_of!(SlowPaths, cas),
        ];
        for (kind, entry) in entries.into_iter().enumerate() {
            for vectors in [false, true] {
                self.asm.align(16);
                t.slow[kind][usize::from(vectors)] = self.asm.pos();
                self.emit_slow(kind, offset_of!(Runtime, slow) + entry, vectors, t.state);
            }
        }
        for kind in [Slow::Load, Slow::Store] {
            for vectors in 0..2 {
                for bits in 0..5 {
                    self.asm.align(16);
                    t.probing[kind as usize][vectors][bits] = self.asm.pos();
                    self.emit_probing(kind, 1 << bits, t.slow[kind as usize][vectors]);
                }
            }
        }
        self.asm.align(16);
        t.eval = self.asm.pos();
        self.emit_eval();
        self.asm.align(16);
        t.estimates = self.emit_estimates();
        t
    }

    /// Evaluates the operation whose packed form the stub left in the frame, its operands in `Runtime::scratch`; every
    /// register but the flags survives.
    fn emit_eval(&mut self) {
        const DOWN: i32 = 16;
        self.asm.alu_i(Alu::Sub, true, RSP, 8);
        for (i, r) in CALLER_SAVED.into_iter().enumerate() {
            self.asm.store(8, Mem::new(RSP, DOWN + frame::GPR_SAVE + i as i32 * 8), r);
        }
        for i in 0..16 {
            self.asm.movups_store(Mem::new(RSP, DOWN + frame::XMM_SAVE + i * 16), Xmm(i as u8));
        }
        self.asm.lea(true, RDI, Mem::new(RBP, self.shared.rt_offset as i32 - STATE_BIAS));
        self.asm.load(8, RSI, Mem::new(RSP, DOWN + frame::ARGS));
        let target = self.rt(offset_of!(Runtime, slow) + offset_of!(SlowPaths, eval));
        self.asm.call_rm(target);
        for i in 0..16 {
            self.asm.movups_load(Xmm(i as u8), Mem::new(RSP, DOWN + frame::XMM_SAVE + i * 16));
        }
        for (i, r) in CALLER_SAVED.into_iter().enumerate() {
            self.asm.load(8, r, Mem::new(RSP, DOWN + frame::GPR_SAVE + i as i32 * 8));
        }
        self.asm.alu_i(Alu::Add, true, RSP, 8);
        self.asm.ret();
    }

    /// Makes an aligned access whose page the software TLB has, and is `slow` for others. Who comes here was probed together with
    /// an access to the next page; an access that runs over a page's end is not aligned.
    fn emit_probing(&mut self, kind: Slow, size: u32, slow: usize) {
        // The return address.
        const DOWN: i32 = 8;
        let arg = |i: i32| Mem::new(RSP, DOWN + frame::ARGS + i * 8);
        let kept = [(RAX, 0), (RCX, 1)].map(|(r, i)| (r, Mem::new(RSP, DOWN + frame::GPR_SAVE + i * 8)));
        let table = |field: usize| Mem::indexed(RBP, RCX, 0, self.rt(offset_of!(Runtime, tlb) + field).disp);
        let tag = table(if kind == Slow::Load { offset_of!(TlbEntry, read) } else { offset_of!(TlbEntry, write) });
        let addend = table(offset_of!(TlbEntry, addend));
        for (r, m) in kept {
            self.asm.store(8, m, r);
        }
        self.asm.load(8, RAX, arg(0));
        let unaligned = (size > 1).then(|| {
            self.asm.test_ri(false, RAX, size as i32 - 1);
            self.asm.jcc(Cc::NE)
        });
        self.asm.shift_i(Sh::Shr, true, RAX, (PAGE_BITS - ENTRY_BITS) as u8);
        self.asm.alu_i(Alu::And, false, RAX, ((TLB_ENTRIES - 1) << ENTRY_BITS) as i32);
        self.asm.load(4, RCX, arg(3));
        self.asm.alu_i(Alu::And, false, RCX, MemDesc::MMU_MODE as i32);
        let mode_bits = (TLB_ENTRIES << ENTRY_BITS).trailing_zeros() - MemDesc::MMU_MODE.trailing_zeros();
        self.asm.shift_i(Sh::Shl, true, RCX, mode_bits as u8);
        self.asm.alu(Alu::Add, true, RCX, RAX);
        self.asm.load(8, RAX, arg(0));
        self.asm.alu_i(Alu::And, true, RAX, -1 << PAGE_BITS);
        self.asm.alu(Alu::Cmp, true, RAX, tag);
        let missed = self.asm.jcc(Cc::NE);
        self.asm.load(8, RCX, addend);
        self.asm.alu(Alu::Add, true, RCX, arg(0));
        let place = Mem::new(RCX, 0);
        let scratch = self.rt(offset_of!(Runtime, scratch));
        match kind {
            Slow::Store if size == 16 => {
                for part in [0, 8] {
                    self.asm.load(8, RAX, scratch.offset(part));
                    self.asm.store(8, place.offset(part), RAX);
                }
            }
            Slow::Store => {
                self.asm.load(8, RAX, arg(1));
                self.asm.store(size, place, RAX);
            }
            _ if size == 16 => {
                for part in [8, 0] {
                    self.asm.load(8, RAX, place.offset(part));
                    self.asm.store(8, scratch.offset(part), RAX);
                }
            }
            _ => {
                self.asm.load(size, RAX, place);
                self.asm.store(8, arg(0), RAX);
            }
        }
        for (r, m) in kept {
            self.asm.load(8, r, m);
        }
        self.asm.ret();
        for miss in [unaligned, Some(missed)].into_iter().flatten() {
            self.asm.bind(miss);
        }
        for (r, m) in kept {
            self.asm.load(8, r, m);
        }
        self.asm.jmp_to(slow);
    }

    /// Calls the engine with the operands the stub left in the frame; every register but the flags survives.
    fn emit_slow(&mut self, kind: usize, entry: usize, vectors: bool, state: usize) {
        // The return address and the alignment below it.
        const DOWN: i32 = 16;
        let saved_gpr = |i: usize| Mem::new(RSP, DOWN + frame::GPR_SAVE + i as i32 * 8);
        let saved_xmm = |i: usize| Mem::new(RSP, DOWN + frame::XMM_SAVE + i as i32 * 16);
        let arg = |i: i32| Mem::new(RSP, DOWN + frame::ARGS + i * 8);
        self.asm.alu_i(Alu::Sub, true, RSP, 8);
        for (i, r) in CALLER_SAVED.into_iter().enumerate() {
            self.asm.store(8, saved_gpr(i), r);
        }
        if vectors {
            for i in 0..16 {
                self.asm.movups_store(saved_xmm(i), Xmm(i as u8));
            }
        }
        self.asm.lea(true, RDI, Mem::new(RBP, -STATE_BIAS));
        self.asm.load(8, RSI, arg(0));
        self.asm.load(4, RDX, arg(3));
        if kind > 0 {
            self.asm.load(8, RCX, arg(1));
        }
        if kind == 3 {
            self.asm.load(8, R8, arg(2));
        }
        let target = self.rt(entry);
        self.asm.call_rm(target);
        self.asm.test_rr(true, RDX, RDX);
        self.asm.jcc_to(Cc::NE, state);
        self.asm.store(8, arg(0), RAX);
        if vectors {
            for i in 0..16 {
                self.asm.movups_load(Xmm(i as u8), saved_xmm(i));
            }
        }
        for (i, r) in CALLER_SAVED.into_iter().enumerate() {
            self.asm.load(8, r, saved_gpr(i));
        }
        self.asm.alu_i(Alu::Add, true, RSP, 8);
        self.asm.ret();
    }
}
