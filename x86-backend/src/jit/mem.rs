//! Guest memory: lowering of accesses. [`super::reach`] says how they get to it.

use super::asm::{Alu, Cc, Gpr, Mem, Opc, RAX, RBX, RCX, RDX, RSP, Xmm};
use super::features::HostFeatures;
use super::ir::{Code, Op, Val};
use super::reach::{MemAccess, Probe};
use super::regs::{Gen, frame};
use super::stubs::{Data, Operands, Slow};
use crate::emit::{Access, AtomicOp};
use crate::runtime::MemDesc;

impl Gen {
    pub fn mode(&self, acc: Access) -> u32 {
        if acc.contains(Access::UNPRIV) { self.shared.unpriv_mode } else { self.shared.mmu_mode }
    }

    pub fn desc(&self, op: Op) -> MemDesc {
        let acc = Access::from_bits_truncate(op.aux);
        let desc = MemDesc::new((op.imm & 255) as u32, self.mode(acc), acc);
        if op.code == Code::Atomic { MemDesc(desc.0 | ((op.imm >> 8) as u32 & 15) << 16) } else { desc }
    }

    fn two_scratch(&mut self) -> Probe {
        Probe { t: self.scratch(), u: self.scratch() }
    }

    /// The registers of an access's way: two to itself, or twice that of the way that it shares.
    fn way(&mut self, op: Op) -> Probe {
        match op.shared() {
            Some((reach, _)) => {
                let addend = self.use_gpr(reach);
                Probe { t: addend, u: addend }
            }
            None => self.two_scratch(),
        }
    }

    /// Emits an access with its check and its way out.
    fn make_access(&mut self, access: MemAccess) {
        self.begin_access(&access, None);
        self.emit_access(&access);
        self.end_access();
    }

    /// The same for the plain access `op`, which may share its way.
    fn make_plain_access(&mut self, op: Op, mut access: MemAccess) {
        let shared = op.shared();
        access.shared = shared.is_some();
        access.offset = shared.map_or(0, |(_, offset)| offset);
        self.begin_access(&access, shared.map(|(reach, _)| reach));
        self.emit_access(&access);
        self.end_access();
    }

    /// The instructions that touch guest memory, with the addend in `probe.t`. Allocates nothing: they are emitted a second
    /// time out of line.
    pub fn emit_access(&mut self, a: &MemAccess) {
        let size = a.desc.size();
        let m = Mem::indexed(a.probe.t, a.va, 0, a.offset);
        match a.kind {
            Slow::Load => {
                self.load_data(size, m, a.operands.result);
                if let Some(second) = a.second {
                    self.load_data(size, m.offset(size as i32), second.result);
                }
            }
            Slow::Store => {
                self.store_data(size, m, a.operands.data[0]);
                if let Some(second) = a.second {
                    self.store_data(size, m.offset(size as i32), second.data[0]);
                }
            }
            Slow::Atomic => self.emit_atomic(a, m),
            Slow::Cas => self.emit_cas(a, m),
        }
    }

    /// Where a value loaded by `op` goes: a vector register if it is wanted there, else a register of the access's own, `r`.
    fn load_target(&mut self, v: Val, size: u32, op: Op, r: Gpr) -> Data {
        if self.op(v).is_vector() {
            Data::Vector(self.def_xmm(v))
        } else if size >= 4 && self.wants_xmm[v.index()] && self.uses[v.index()] > 0 {
            Data::Low(self.def_xmm(v))
        } else if op.shared().is_some() {
            Data::Gpr(self.scratch())
        } else {
            Data::Gpr(r)
        }
    }

    fn load_data(&mut self, size: u32, m: Mem, target: Data) {
        match target {
            Data::Vector(x) => self.asm.movups_load(x, m),
            Data::Low(x) => self.asm.load_x(size, x, m),
            Data::Gpr(r) => self.asm.load(size, r, m),
            Data::None | Data::Const(_) => {}
        }
    }

    /// A loaded value that somebody uses is in its register now.
    fn loaded(&mut self, v: Val, target: Data) {
        if let (Data::Gpr(r), true) = (target, self.uses[v.index()] > 0) {
            self.assign(v, r);
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
            // Bits above a value's own are undefined in a vector register.
            (Some(x), None) if (4..=u32::from(self.op(v).w) / 8).contains(&size) => {
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
        let desc = self.desc(op);
        let va = self.use_gpr(op.va());
        let probe = self.way(op);
        let target = self.load_target(v, desc.size(), op, probe.t);
        let operands = Operands::load(target);
        self.make_plain_access(
            op,
            MemAccess { kind: Slow::Load, desc, va, offset: 0, probe, shared: false, operands, second: None },
        );
        self.loaded(v, target);
        self.end_op(v);
    }

    /// Two loads next to each other: `v` is the second, `op.b` the first.
    pub fn lower_load_pair(&mut self, v: Val, op: Op) {
        let desc = self.desc(op);
        let first = op.vb();
        let va = self.use_gpr(op.va());
        let probe = self.way(op);
        let a = self.load_target(first, desc.size(), op, probe.u);
        let b = self.load_target(v, desc.size(), op, probe.t);
        let (operands, second) = (Operands::load(a), Some(Operands::load(b)));
        self.make_plain_access(
            op,
            MemAccess { kind: Slow::Load, desc, va, offset: 0, probe, shared: false, operands, second },
        );
        self.loaded(first, a);
        self.loaded(v, b);
        if self.uses[first.index()] == 0 {
            self.drop_value(first);
        }
        self.end_op(v);
    }

    pub fn lower_store(&mut self, v: Val, op: Op) {
        let desc = self.desc(op);
        let va = self.use_gpr(op.va());
        let data = self.store_operand(op.vb(), desc.size());
        let probe = self.way(op);
        let operands = Operands::store(data);
        self.make_plain_access(
            op,
            MemAccess { kind: Slow::Store, desc, va, offset: 0, probe, shared: false, operands, second: None },
        );
        let acc = desc.access();
        if acc.contains(Access::RELEASE) && !acc.intersects(Access::EXCLUSIVE | Access::ATOMIC) {
            self.lower_fence();
        }
        self.end_op(v);
    }

    /// Two stores next to each other.
    pub fn lower_store_pair(&mut self, v: Val, op: Op) {
        let desc = self.desc(op);
        let va = self.use_gpr(op.va());
        let a = self.store_operand(op.vb(), desc.size());
        let b = self.store_operand(op.vc(), desc.size());
        let probe = self.way(op);
        let (operands, second) = (Operands::store(a), Some(Operands::store(b)));
        self.make_plain_access(
            op,
            MemAccess { kind: Slow::Store, desc, va, offset: 0, probe, shared: false, operands, second },
        );
        self.end_op(v);
    }

    /// A locked operation on the stack is a full barrier, and cheaper than MFENCE. A vCPU that is alone sees its own accesses in
    /// their order.
    pub fn lower_fence(&mut self) {
        if self.shared.parallel {
            self.asm.lock();
            self.asm.alu_i_mem(Alu::Or, false, Mem::new(RSP, frame::TEMPS), 0);
        }
    }

    /// Makes the next instruction atomic for other processors. For this one's guest, whom nothing interrupts within an
    /// instruction, every instruction is.
    fn lock(&mut self) {
        if self.shared.parallel {
            self.asm.lock();
        }
    }

    #[inline(never)]
    pub fn lower_atomic(&mut self, v: Val, op: Op) {
        let desc = self.desc(op);
        let direct = exchanges_directly(desc);
        if !direct {
            self.fixed(RAX);
        }
        let va = self.use_gpr(op.va());
        let value = if direct { self.def_from(v, op.vb()) } else { self.use_gpr(op.vb()) };
        let probe = self.two_scratch();
        let result = Data::Gpr(if direct { value } else { RAX });
        let operands = Operands { data: [Data::Gpr(value), Data::None], result };
        self.make_access(MemAccess {
            kind: Slow::Atomic,
            desc,
            va,
            offset: 0,
            probe,
            shared: false,
            operands,
            second: None,
        });
        if !direct {
            self.assign(v, RAX);
        }
        self.end_op(v);
    }

    #[inline(never)]
    fn emit_atomic(&mut self, a: &MemAccess, m: Mem) {
        let Data::Gpr(value) = a.operands.data[0] else { return };
        let (size, kind, u) = (a.desc.size(), a.desc.atomic_bits() as u8, a.probe.u);
        if kind == AtomicOp::Swap as u8 && self.shared.parallel {
            self.asm.xchg_m(size, m, value);
        } else if kind == AtomicOp::Swap as u8 {
            // XCHG always locks.
            self.asm.load(size, u, m);
            self.asm.store(size, m, value);
            self.asm.mov_rr(true, value, u);
        } else if exchanges_directly(a.desc) {
            self.lock();
            self.asm.xadd_m(size, m, value);
        } else {
            self.asm.load(size, RAX, m);
            let again = self.asm.pos();
            self.atomic_step(kind, size, u, value);
            if self.shared.parallel {
                self.asm.lock();
                self.asm.cmpxchg_m(size, m, u);
                self.asm.jcc_to(Cc::NE, again);
            } else {
                self.asm.store(size, m, u);
            }
        }
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

    #[inline(never)]
    pub fn lower_cas(&mut self, v: Val, op: Op) {
        let desc = self.desc(op);
        if desc.size() == 16 {
            self.lower_cas16(v, op, desc);
            return;
        }
        self.fixed(RAX);
        let va = self.use_gpr(op.va());
        let new = self.use_gpr(op.vc());
        let expected = self.use_gpr(op.vb());
        let probe = self.two_scratch();
        let data = [Data::Gpr(expected), Data::Gpr(new)];
        let operands = Operands { data, result: Data::Gpr(RAX) };
        self.make_access(MemAccess {
            kind: Slow::Cas,
            desc,
            va,
            offset: 0,
            probe,
            shared: false,
            operands,
            second: None,
        });
        self.assign(v, RAX);
        self.end_op(v);
    }

    fn lower_cas16(&mut self, v: Val, op: Op, desc: MemDesc) {
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
        let probe = if inline { self.two_scratch() } else { Probe { t: RAX, u: RAX } };
        let access = MemAccess { kind: Slow::Cas, desc, va, offset: 0, probe, shared: false, operands, second: None };
        if inline {
            self.make_access(access);
        } else {
            let away = self.asm.jmp();
            self.add_slow_access(&access, away);
            self.end_access();
        }
        self.end_op(v);
    }

    #[inline(never)]
    fn emit_cas(&mut self, a: &MemAccess, m: Mem) {
        const PEXTRQ: Opc = Opc::new(0x66, 3, 0x16);
        const PINSRQ: Opc = Opc::new(0x66, 3, 0x22);
        match (a.operands.data, a.operands.result) {
            ([Data::Gpr(expected), Data::Gpr(new)], _) => {
                self.asm.mov_rr(true, RAX, expected);
                self.lock();
                self.asm.cmpxchg_m(a.desc.size(), m, new);
            }
            ([Data::Vector(expected), Data::Vector(new)], Data::Vector(d)) => {
                let halves = |g: &mut Self, low: Gpr, high: Gpr, x: Xmm| {
                    g.asm.mov_rx(true, low, x);
                    g.asm.ins(PEXTRQ, true, x.0, high, 1, 1);
                };
                halves(self, RAX, RDX, expected);
                halves(self, RBX, RCX, new);
                self.lock();
                self.asm.cmpxchg16b(m);
                self.asm.mov_xr(true, d, RAX);
                self.asm.ins(PINSRQ, true, d.0, RDX, 1, 1);
            }
            _ => {}
        }
    }
}

/// One instruction does it all.
fn exchanges_directly(desc: MemDesc) -> bool {
    let kind = desc.atomic_bits();
    kind == AtomicOp::Swap as u32 || kind == AtomicOp::Add as u32
}
