//! Guest memory: the inline software TLB probe and access, and the out-of-line slow paths.
//!
//! The probe compares the page of the access's last byte with the entry's tag, so an access that crosses a page misses;
//! where alignment is checked, the low address bits take part instead. A miss jumps to a stub behind the block: it makes
//! the pending stores of guest state (precisely as of this instruction), stores the program counter and calls the
//! engine through a thunk that keeps every register. When the engine returns normally, the block goes on.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, Opc, RAX, RBP, RBX, RCX, RDX, RSP, Sh, Xmm};
use super::features::HostFeatures;
use super::ir::{Op, Val};
use super::regs::{Gen, frame};
use super::stubs::{Data, Operands, Slow};
use crate::emit::{Access, AtomicOp};
use crate::runtime::{MemDesc, Runtime, TLB_ENTRIES, TlbEntry};
use core::mem::offset_of;

const ENTRY: usize = size_of::<TlbEntry>();
const ENTRY_BITS: u32 = ENTRY.trailing_zeros();

/// Registers of a probe: the entry's byte offset (then the addend), and the tag.
#[derive(Clone, Copy)]
struct Probe {
    t: Gpr,
    u: Gpr,
}

impl Gen {
    fn mode(&self, acc: Access) -> u32 {
        if acc.contains(Access::UNPRIV) { self.shared.unpriv_mode } else { self.shared.mmu_mode }
    }

    pub fn desc(&self, op: Op) -> MemDesc {
        let acc = Access::from_bits_truncate(op.aux);
        MemDesc::new((op.imm & 255) as u32, self.mode(acc), acc)
    }

    fn tlb(&self, mode: u32, t: Gpr, field: usize) -> Mem {
        let table = offset_of!(Runtime, tlb) + mode as usize * TLB_ENTRIES * ENTRY + field;
        Mem::indexed(RBP, t, 0, self.rt(table).disp)
    }

    /// Computes the entry's offset and the tag to compare, for `count` accesses next to each other.
    fn probe(&mut self, op: Op, va: Gpr, p: Probe, count: i32) {
        let size = (op.imm & 255) as i32;
        let acc = Access::from_bits_truncate(op.aux);
        let shift = crate::runtime::PAGE_BITS - ENTRY_BITS;
        if self.has(HostFeatures::BMI2) {
            self.asm.rorx(true, p.t, va, shift as u8);
        } else {
            self.asm.mov_rr(true, p.t, va);
            self.asm.shift_i(Sh::Shr, true, p.t, shift as u8);
        }
        self.asm.alu_i(Alu::And, false, p.t, ((TLB_ENTRIES - 1) << ENTRY_BITS) as i32);
        let strict = self.shared.strict_align || acc.intersects(Access::ALIGNED | Access::ATOMIC | Access::EXCLUSIVE);
        // The address whose page must be the entry's: of the last byte, or of the last access when each is aligned.
        let (last, low) = if strict { ((count - 1) * size, size - 1) } else { (count * size - 1, 0) };
        if last == 0 {
            self.asm.mov_rr(true, p.u, va);
        } else {
            self.asm.lea(true, p.u, Mem::new(va, last));
        }
        self.asm.alu_i(Alu::And, true, p.u, -4096 | low);
    }

    /// Compares the tag; the result is taken on a miss.
    fn miss(&mut self, op: Op, p: Probe, field: usize) -> Fixup {
        let m = self.tlb(self.mode(Access::from_bits_truncate(op.aux)), p.t, field);
        self.asm.alu(Alu::Cmp, true, p.u, m);
        self.asm.jcc(Cc::NE)
    }

    fn addend(&mut self, op: Op, p: Probe) {
        let m = self.tlb(self.mode(Access::from_bits_truncate(op.aux)), p.t, offset_of!(TlbEntry, addend));
        self.asm.load(8, p.t, m);
    }

    fn two_scratch(&mut self) -> Probe {
        Probe { t: self.scratch(), u: self.scratch() }
    }

    /// Where a loaded value goes: a vector register if it is wanted there, else `r`.
    fn load_target(&mut self, v: Val, size: u32, r: Gpr) -> Data {
        if self.op(v).is_vector() {
            Data::Vector(self.def_xmm(v))
        } else if size >= 4 && self.wants_xmm[v.index()] && self.uses[v.index()] > 0 {
            Data::Low(self.def_xmm(v))
        } else {
            Data::Gpr(r)
        }
    }

    fn load_data(&mut self, v: Val, size: u32, m: Mem, target: Data) {
        match target {
            Data::Vector(x) => self.asm.movups_load(x, m),
            Data::Low(x) => self.asm.load_x(size, x, m),
            Data::Gpr(r) => {
                self.asm.load(size, r, m);
                if self.uses[v.index()] > 0 {
                    self.assign(v, r);
                }
            }
            Data::None | Data::Const(_) => {}
        }
    }

    fn store_operand(&mut self, v: Val, size: u32) -> Data {
        if self.op(v).is_vector() {
            return Data::Vector(self.use_xmm(v));
        }
        if let Some(k) = self.imm(if size == 8 { 64 } else { 32 }, v) {
            return Data::Const(k as u64);
        }
        match (self.loc(v).xmm(), self.loc(v).gpr()) {
            (Some(x), None) if size >= 4 => {
                self.pin_xmm(x);
                Data::Low(x)
            }
            _ => Data::Gpr(self.use_gpr(v)),
        }
    }

    fn store_data(&mut self, size: u32, m: Mem, data: Data) {
        match data {
            Data::Vector(x) => self.asm.movups_store(m, x),
            Data::Low(x) => self.asm.store_x(size, m, x),
            Data::Gpr(r) => self.asm.store(size, m, r),
            Data::Const(k) => self.asm.store_imm(size, m, k as i32),
            Data::None => {}
        }
    }

    pub fn lower_load(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let va = self.use_gpr(op.va());
        let p = self.two_scratch();
        let target = self.load_target(v, size, p.t);
        self.probe(op, va, p, 1);
        let miss = self.miss(op, p, offset_of!(TlbEntry, read));
        self.add_stub(Slow::Load, op, [Some(miss), None], va, Operands::load(target));
        self.addend(op, p);
        self.load_data(v, size, Mem::indexed(p.t, va, 0, 0), target);
        self.end_access();
        self.end_op(v);
    }

    /// Two loads next to each other: `v` is the second, `op.b` the first.
    pub fn lower_load_pair(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let first = op.vb();
        let va = self.use_gpr(op.va());
        let p = self.two_scratch();
        let a = self.load_target(first, size, p.u);
        let b = self.load_target(v, size, p.t);
        self.probe(op, va, p, 2);
        let miss = self.miss(op, p, offset_of!(TlbEntry, read));
        self.add_stub(Slow::Load, op, [Some(miss), None], va, Operands::load(a));
        self.add_second(Operands::load(b));
        self.addend(op, p);
        self.load_data(first, size, Mem::indexed(p.t, va, 0, 0), a);
        self.load_data(v, size, Mem::indexed(p.t, va, 0, size as i32), b);
        self.end_access();
        if self.uses[first.index()] == 0 {
            self.drop_value(first);
        }
        self.end_op(v);
    }

    pub fn lower_store(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let acc = Access::from_bits_truncate(op.aux);
        let va = self.use_gpr(op.va());
        let data = self.store_operand(op.vb(), size);
        let p = self.two_scratch();
        self.probe(op, va, p, 1);
        let miss = self.miss(op, p, offset_of!(TlbEntry, write));
        self.add_stub(Slow::Store, op, [Some(miss), None], va, Operands::store(data));
        self.addend(op, p);
        self.store_data(size, Mem::indexed(p.t, va, 0, 0), data);
        self.end_access();
        if acc.contains(Access::RELEASE) && !acc.intersects(Access::EXCLUSIVE | Access::ATOMIC) {
            self.lower_fence();
        }
        self.end_op(v);
    }

    /// Two stores next to each other.
    pub fn lower_store_pair(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let va = self.use_gpr(op.va());
        let a = self.store_operand(op.vb(), size);
        let b = self.store_operand(op.vc(), size);
        let p = self.two_scratch();
        self.probe(op, va, p, 2);
        let miss = self.miss(op, p, offset_of!(TlbEntry, write));
        self.add_stub(Slow::Store, op, [Some(miss), None], va, Operands::store(a));
        self.add_second(Operands::store(b));
        self.addend(op, p);
        self.store_data(size, Mem::indexed(p.t, va, 0, 0), a);
        self.store_data(size, Mem::indexed(p.t, va, 0, size as i32), b);
        self.end_access();
        self.end_op(v);
    }

    /// A locked operation on the stack is a full barrier, and cheaper than MFENCE.
    pub fn lower_fence(&mut self) {
        self.asm.lock();
        self.asm.alu_i_mem32(Alu::Or, Mem::new(RSP, frame::TEMPS), 0);
    }

    pub fn lower_atomic(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let kind = (op.imm >> 8) as u8;
        let direct = kind == AtomicOp::Swap as u8 || kind == AtomicOp::Add as u8;
        if !direct {
            self.fixed(RAX);
        }
        let va = self.use_gpr(op.va());
        let value = if direct { self.def_from(v, op.vb()) } else { self.use_gpr(op.vb()) };
        let p = self.two_scratch();
        let result = if direct { value } else { RAX };
        self.probe(op, va, p, 1);
        let no_write = self.miss(op, p, offset_of!(TlbEntry, write));
        let no_read = self.miss(op, p, offset_of!(TlbEntry, read));
        let sites = [Some(no_write), Some(no_read)];
        let operands = Operands { data: [Data::Gpr(value), Data::None], result: Data::Gpr(result) };
        self.add_stub(Slow::Atomic, op, sites, va, operands);
        self.addend(op, p);
        let m = Mem::indexed(p.t, va, 0, 0);
        if kind == AtomicOp::Swap as u8 {
            self.asm.xchg_m(size, m, value);
        } else if direct {
            self.asm.lock();
            self.asm.xadd_m(size, m, value);
        } else {
            self.asm.load(size, RAX, m);
            let again = self.asm.pos();
            self.atomic_step(kind, size, p.u, value);
            self.asm.lock();
            self.asm.cmpxchg_m(size, m, p.u);
            self.asm.jcc_to(Cc::NE, again);
            self.assign(v, RAX);
        }
        self.end_access();
        self.end_op(v);
    }

    /// `u = op(RAX, value)`
    fn atomic_step(&mut self, kind: u8, size: u32, u: Gpr, value: Gpr) {
        let q = size == 8;
        let minmax = |g: &mut Self, cc: Cc| {
            g.asm.mov_rr(q, u, RAX);
            g.asm.alu_n(Alu::Cmp, size * 8, RAX, value);
            g.asm.cmov(cc, q, u, value);
        };
        match kind {
            k if k == AtomicOp::Clear as u8 => {
                self.asm.mov_rr(q, u, value);
                self.asm.f7(super::asm::F7::Not, q, u);
                self.asm.alu(Alu::And, q, u, RAX);
            }
            k if k == AtomicOp::Xor as u8 => {
                self.asm.mov_rr(q, u, value);
                self.asm.alu(Alu::Xor, q, u, RAX);
            }
            k if k == AtomicOp::Or as u8 => {
                self.asm.mov_rr(q, u, value);
                self.asm.alu(Alu::Or, q, u, RAX);
            }
            k if k == AtomicOp::SMax as u8 => minmax(self, Cc::L),
            k if k == AtomicOp::SMin as u8 => minmax(self, Cc::G),
            k if k == AtomicOp::UMax as u8 => minmax(self, Cc::B),
            _ => minmax(self, Cc::A),
        }
    }

    pub fn lower_cas(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        if size == 16 {
            self.lower_cas16(v, op);
            return;
        }
        self.fixed(RAX);
        let va = self.use_gpr(op.va());
        let new = self.use_gpr(op.vc());
        let expected = self.use_gpr(op.vb());
        let p = self.two_scratch();
        self.probe(op, va, p, 1);
        let no_write = self.miss(op, p, offset_of!(TlbEntry, write));
        let no_read = self.miss(op, p, offset_of!(TlbEntry, read));
        let data = [Data::Gpr(expected), Data::Gpr(new)];
        let operands = Operands { data, result: Data::Gpr(RAX) };
        self.add_stub(Slow::Cas, op, [Some(no_write), Some(no_read)], va, operands);
        self.addend(op, p);
        self.asm.mov_rr(true, RAX, expected);
        self.asm.lock();
        self.asm.cmpxchg_m(size, Mem::indexed(p.t, va, 0, 0), new);
        self.assign(v, RAX);
        self.end_access();
        self.end_op(v);
    }

    fn lower_cas16(&mut self, v: Val, op: Op) {
        const PEXTRQ: Opc = Opc::new(0x66, 3, 0x16);
        const PINSRQ: Opc = Opc::new(0x66, 3, 0x22);
        let inline = self.has(HostFeatures::CX16);
        if inline {
            for r in [RAX, RDX, RCX, RBX] {
                self.fixed(r);
            }
        }
        let va = self.use_gpr(op.va());
        let (expected, new) = (self.use_xmm(op.vb()), self.use_xmm(op.vc()));
        let d = self.def_xmm(v);
        let operands = Operands { data: [Data::Vector(expected), Data::Vector(new)], result: Data::Vector(d) };
        if !inline {
            let away = self.asm.jmp();
            self.add_stub(Slow::Cas, op, [Some(away), None], va, operands);
            self.end_access();
            self.end_op(v);
            return;
        }
        let p = self.two_scratch();
        self.probe(op, va, p, 1);
        let no_write = self.miss(op, p, offset_of!(TlbEntry, write));
        let no_read = self.miss(op, p, offset_of!(TlbEntry, read));
        self.add_stub(Slow::Cas, op, [Some(no_write), Some(no_read)], va, operands);
        self.addend(op, p);
        let halves = |g: &mut Self, low: Gpr, high: Gpr, x: Xmm| {
            g.asm.mov_rx(true, low, x);
            g.asm.ins(PEXTRQ, true, x.0, high, 1, 1);
        };
        halves(self, RAX, RDX, expected);
        halves(self, RBX, RCX, new);
        self.asm.lock();
        self.asm.cmpxchg16b(Mem::indexed(p.t, va, 0, 0));
        self.asm.mov_xr(true, d, RAX);
        self.asm.ins(PINSRQ, true, d.0, RDX, 1, 1);
        self.end_access();
        self.end_op(v);
    }
}
