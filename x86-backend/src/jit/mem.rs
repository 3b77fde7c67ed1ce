//! Guest memory: the inline software TLB probe and access, and the out-of-line slow paths.
//!
//! The probe compares the page of the access's last byte with the entry's tag, so an access that crosses a page misses;
//! where alignment is checked, the low address bits take part instead. A miss jumps to a stub behind the block: it makes
//! the pending stores of guest state (precisely as of this instruction), stores the program counter and calls the
//! engine through a thunk that keeps every register. When the engine returns normally, the block goes on.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, RAX, RBP, RSP, Sh, Xmm};
use super::features::HostFeatures;
use super::flags::Place1;
use super::ir::{Code, Op, Val};
use super::regs::{Gen, NONE, frame};
use crate::emit::{Access, AtomicOp};
use crate::runtime::{MemDesc, Runtime, TLB_ENTRIES, TlbEntry};
use core::mem::offset_of;

/// Which of the engine's slow paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    Load = 0,
    Store = 1,
    Atomic = 2,
    Cas = 3,
}

/// An operand or result of a slow path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    None,
    Gpr(Gpr),
    /// The low 4 or 8 bytes of a vector register.
    Low(Xmm),
    Vector(Xmm),
    Const(u64),
}

/// A store of guest state to be made out of line.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColdStore {
    offset: u32,
    size: u32,
    what: Cold,
}

#[derive(Clone, Copy, Debug)]
enum Cold {
    Gpr(Gpr),
    Xmm(Xmm),
    Mem(u32, Mem),
    Const(u128),
    Flags(Op, Place1, Place1),
}

pub(super) struct MemStub {
    sites: [Option<Fixup>; 2],
    back: usize,
    kind: Slow,
    va: Gpr,
    data: [Data; 2],
    result: Data,
    desc: MemDesc,
    pc: u64,
    stores: (usize, usize),
    vectors: bool,
}

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

    fn desc(&self, op: Op) -> MemDesc {
        let acc = Access::from_bits_truncate(op.aux);
        MemDesc::new((op.imm & 255) as u32, self.mode(acc), acc)
    }

    fn tlb(&self, mode: u32, t: Gpr, field: usize) -> Mem {
        let table = offset_of!(Runtime, tlb) + mode as usize * TLB_ENTRIES * ENTRY + field;
        Mem::indexed(RBP, t, 0, self.rt(table).disp)
    }

    /// Computes the entry's offset and the tag to compare.
    fn probe(&mut self, op: Op, va: Gpr, p: Probe) {
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
        if strict || size == 1 {
            self.asm.mov_rr(true, p.u, va);
            self.asm.alu_i(Alu::And, true, p.u, -4096 | (size - 1));
        } else {
            self.asm.lea(true, p.u, Mem::new(va, size - 1));
            self.asm.alu_i(Alu::And, true, p.u, -4096);
        }
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

    /// Notes the stub for accesses that leave by `sites`; its return point is set by [`Gen::end_access`].
    fn add_stub(&mut self, kind: Slow, op: Op, sites: [Option<Fixup>; 2], va: Gpr, data: [Data; 2], result: Data) {
        let first = self.stub_stores.len();
        for i in 0..self.place.pending.len() {
            let p = self.place.pending[i];
            let v = Val(p.val);
            let def = self.op(v);
            let loc = self.loc(v);
            let what = if loc.lazy && def.is_flags() {
                let a = self.place_of(def.va());
                let b = if def.operands() > 1 { self.place_of(def.vb()) } else { Some(Place1::Const(0)) };
                match (a, b) {
                    (Some(a), Some(b)) => Cold::Flags(def, a, b),
                    _ => {
                        self.failed = true;
                        continue;
                    }
                }
            } else if def.code == Code::Const {
                Cold::Const(u128::from(def.imm))
            } else if def.code == Code::Const128 {
                Cold::Const(self.ir.pool[def.imm as usize])
            } else if let (Some(x), true) = (loc.xmm(), def.is_vector() || loc.gpr().is_none()) {
                if def.w == 32 && p.size > 4 {
                    // Nothing is known of the register's bits above the container.
                    let upper = ColdStore { offset: p.offset + 4, size: p.size - 4, what: Cold::Const(0) };
                    self.stub_stores.push(upper);
                    self.stub_stores.push(ColdStore { offset: p.offset, size: 4, what: Cold::Xmm(x) });
                    continue;
                }
                Cold::Xmm(x)
            } else if let Some(r) = loc.gpr() {
                Cold::Gpr(r)
            } else if let Some(s) = loc.frame() {
                Cold::Mem(if def.is_vector() { 16 } else { 8 }, Self::spill_slot(s))
            } else if let Some(h) = self.home_of(v) {
                Cold::Mem(h.size, Self::state(h.offset))
            } else {
                self.failed = true;
                continue;
            };
            self.stub_stores.push(ColdStore { offset: p.offset, size: p.size, what });
        }
        let vectors = self.place.xmms.iter().any(|v| *v != NONE);
        let mut desc = self.desc(op);
        if op.code == Code::Atomic {
            desc = MemDesc(desc.0 | ((op.imm >> 8) as u32 & 15) << 16);
        }
        let stores = (first, self.stub_stores.len());
        self.mem_stubs.push(MemStub { sites, back: 0, kind, va, data, result, desc, pc: self.pc, stores, vectors });
    }

    fn end_access(&mut self) {
        let here = self.asm.pos();
        if let Some(stub) = self.mem_stubs.last_mut() {
            stub.back = here;
        }
    }

    fn two_scratch(&mut self) -> Probe {
        Probe { t: self.scratch(), u: self.scratch() }
    }

    pub fn lower_load(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let va = self.use_gpr(op.va());
        let p = self.two_scratch();
        let vector = op.is_vector();
        let scalar = size >= 4 && self.wants_xmm[v.index()];
        let x = if vector || scalar { Some(self.def_xmm(v)) } else { None };
        self.probe(op, va, p);
        let miss = self.miss(op, p, offset_of!(TlbEntry, read));
        let result = x.map_or(Data::Gpr(p.t), if vector { Data::Vector } else { Data::Low });
        self.add_stub(Slow::Load, op, [Some(miss), None], va, [Data::None; 2], result);
        self.addend(op, p);
        let m = Mem::indexed(p.t, va, 0, 0);
        match x {
            Some(x) if vector => self.asm.movups_load(x, m),
            Some(x) => self.asm.load_x(size, x, m),
            None => {
                self.asm.load(size, p.t, m);
                self.assign(v, p.t);
            }
        }
        self.end_access();
        self.end_op(v);
    }

    pub fn lower_store(&mut self, v: Val, op: Op) {
        let size = (op.imm & 255) as u32;
        let acc = Access::from_bits_truncate(op.aux);
        let value = op.vb();
        let va = self.use_gpr(op.va());
        let data = if self.op(value).is_vector() {
            Data::Vector(self.use_xmm(value))
        } else if let Some(k) = self.imm(if size == 8 { 64 } else { 32 }, value) {
            Data::Const(k as u64)
        } else if let (Some(x), None, true) =
            (self.loc(value).xmm(), self.loc(value).gpr(), (4..=u32::from(self.op(value).w) / 8).contains(&size))
        {
            self.pin_xmm(x);
            Data::Low(x)
        } else {
            Data::Gpr(self.use_gpr(value))
        };
        let p = self.two_scratch();
        self.probe(op, va, p);
        let miss = self.miss(op, p, offset_of!(TlbEntry, write));
        self.add_stub(Slow::Store, op, [Some(miss), None], va, [data, Data::None], Data::None);
        self.addend(op, p);
        let m = Mem::indexed(p.t, va, 0, 0);
        match data {
            Data::Vector(x) => self.asm.movups_store(m, x),
            Data::Low(x) => self.asm.store_x(size, m, x),
            Data::Gpr(r) => self.asm.store(size, m, r),
            Data::Const(k) => self.asm.store_imm(size, m, k as i32),
            Data::None => {}
        }
        self.end_access();
        if acc.contains(Access::RELEASE) && !acc.intersects(Access::EXCLUSIVE | Access::ATOMIC) {
            self.lower_fence();
        }
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
        self.probe(op, va, p);
        let no_write = self.miss(op, p, offset_of!(TlbEntry, write));
        let no_read = self.miss(op, p, offset_of!(TlbEntry, read));
        let sites = [Some(no_write), Some(no_read)];
        self.add_stub(Slow::Atomic, op, sites, va, [Data::Gpr(value), Data::None], Data::Gpr(result));
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
            let va = self.use_gpr(op.va());
            let data = [Data::Vector(self.use_xmm(op.vb())), Data::Vector(self.use_xmm(op.vc()))];
            let x = self.def_xmm(v);
            let away = self.asm.jmp();
            self.add_stub(Slow::Cas, op, [Some(away), None], va, data, Data::Vector(x));
            self.end_access();
            self.end_op(v);
            return;
        }
        self.fixed(RAX);
        let va = self.use_gpr(op.va());
        let new = self.use_gpr(op.vc());
        let expected = self.use_gpr(op.vb());
        let p = self.two_scratch();
        self.probe(op, va, p);
        let no_write = self.miss(op, p, offset_of!(TlbEntry, write));
        let no_read = self.miss(op, p, offset_of!(TlbEntry, read));
        let data = [Data::Gpr(expected), Data::Gpr(new)];
        self.add_stub(Slow::Cas, op, [Some(no_write), Some(no_read)], va, data, Data::Gpr(RAX));
        self.addend(op, p);
        self.asm.mov_rr(true, RAX, expected);
        self.asm.lock();
        self.asm.cmpxchg_m(size, Mem::indexed(p.t, va, 0, 0), new);
        self.assign(v, RAX);
        self.end_access();
        self.end_op(v);
    }

    // Out of line.

    fn cold_store(&mut self, s: ColdStore) {
        let m = Self::state(s.offset);
        let upper = m.offset(8);
        match s.what {
            Cold::Gpr(r) => self.asm.store(s.size, m, r),
            Cold::Xmm(x) if s.size == 16 => self.asm.movups_store(m, x),
            Cold::Xmm(x) if s.size >= 4 => self.asm.store_x(s.size, m, x),
            Cold::Xmm(x) => self.with_rax(|g| {
                g.asm.mov_rx(false, RAX, x);
                g.asm.store(s.size, m, RAX);
            }),
            Cold::Mem(from, at) => self.with_rax(|g| {
                g.asm.load(from.min(8), RAX, at);
                g.asm.store(s.size.min(8), m, RAX);
                if s.size == 16 {
                    g.asm.load(8, RAX, at.offset(8));
                    g.asm.store(8, upper, RAX);
                }
            }),
            Cold::Const(k) => self.with_rax(|g| {
                g.asm.mov_ri(RAX, k as u64);
                g.asm.store(s.size.min(8), m, RAX);
                if s.size == 16 {
                    g.asm.mov_ri(RAX, (k >> 64) as u64);
                    g.asm.store(8, upper, RAX);
                }
            }),
            Cold::Flags(op, a, b) => self.store_flags_cold(op, a, b, s.offset),
        }
    }

    fn with_rax(&mut self, f: impl FnOnce(&mut Self)) {
        let keep = Mem::new(RSP, frame::TEMPS + 24);
        self.asm.store(8, keep, RAX);
        f(self);
        self.asm.load(8, RAX, keep);
    }

    pub fn emit_mem_stubs(&mut self) {
        for i in 0..self.mem_stubs.len() {
            for site in self.mem_stubs[i].sites.into_iter().flatten() {
                self.asm.bind(site);
            }
            let (from, to) = self.mem_stubs[i].stores;
            for k in from..to {
                let s = self.stub_stores[k];
                self.cold_store(s);
            }
            let MemStub { pc, va, data, desc, kind, vectors, result, back, .. } = self.mem_stubs[i];
            self.store_pc(pc);
            let arg = |n: i32| Mem::new(RSP, frame::ARGS + n * 8);
            self.asm.store(8, arg(0), va);
            for (n, d) in data.into_iter().enumerate() {
                let at = arg(n as i32 + 1);
                match d {
                    Data::None => {}
                    Data::Gpr(r) => self.asm.store(8, at, r),
                    Data::Low(x) if desc.size() == 8 => self.asm.store_x(8, at, x),
                    Data::Low(x) => {
                        self.asm.store_imm(8, at, 0);
                        self.asm.store_x(4, at, x);
                    }
                    Data::Const(k) => {
                        // As wide as the access: the engine gets a zero-extended value.
                        let k = k & super::build::mask64(desc.size() * 8);
                        self.asm.store_imm(4, at, k as i32);
                        self.asm.store_imm(4, at.offset(4), (k >> 32) as i32);
                    }
                    Data::Vector(x) => {
                        let m = self.rt(offset_of!(Runtime, scratch) + 16 * n);
                        self.asm.movups_store(m, x);
                    }
                }
            }
            self.asm.store_imm(4, arg(3), desc.0 as i32);
            self.asm.call_to(self.shared.thunks.slow[kind as usize][usize::from(vectors)]);
            match result {
                Data::Gpr(r) => self.asm.load(8, r, arg(0)),
                Data::Low(x) => self.asm.load_x(desc.size(), x, arg(0)),
                Data::Vector(x) => {
                    let m = self.rt(offset_of!(Runtime, scratch));
                    self.asm.movups_load(x, m);
                }
                _ => {}
            }
            self.asm.jmp_to(back);
        }
    }
}
