//! Out-of-line code: stores of pending guest state, slow paths of memory accesses, conditional exits that are rarely taken.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, RAX, RSP, Xmm};
use super::checks::{Group, Temps};
use super::flags::Place1;
use super::ir::{Code, Op, Val};
use super::places::ALL_XMMS;
use super::reach::{MemAccess, Misses};
use super::regs::{Gen, Pending, frame};
use crate::runtime::{MemDesc, Runtime};
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
    /// A scalar, to be extended with zeros; in this many bits, above which nothing is known of the register.
    Low(u32, Xmm),
    /// In memory, in that many bytes.
    Mem(u8, Mem),
    Const(u64),
    /// Index into the block's constants of 128 bits.
    Const128(u32),
    /// Index into [`Gen::cold_flags`].
    Flags(u32),
}

/// Flags to be made out of line, from operands that are there by then.
pub(super) type ColdFlags = (Op, Place1, Place1);

/// What one access passes to its slow path, and gets from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    pub data: [Data; 2],
    pub result: Data,
}

impl Operands {
    pub const fn load(result: Data) -> Self {
        Self { data: [Data::None; 2], result }
    }
    pub const fn store(data: Data) -> Self {
        Self { data: [data, Data::None], result: Data::None }
    }
}

/// What stands out of line for one access.
#[derive(Clone, Copy)]
pub(super) struct MemStub {
    access: MemAccess,
    misses: Misses,
    /// Of an access through a window.
    site: Option<usize>,
    back: usize,
    pc: u64,
    stores: (usize, usize),
    waiting: Option<Group>,
    vectors: bool,
}

/// A conditional exit that makes the pending stores out of line, because the block goes on behind it.
#[derive(Clone, Copy)]
pub(super) struct ColdExit {
    site: Fixup,
    stores: (usize, usize),
    waiting: Option<Group>,
    pc: u64,
    /// For pending events, not by the guest's branch.
    events: bool,
}

impl Gen {
    /// Notes where the values of all pending stores are now.
    fn note_stores(&mut self) -> (usize, usize) {
        let first = self.stub_stores.len();
        for i in 0..self.place.pending.len() {
            let p = self.place.pending[i];
            let v = Val(p.val);
            let def = self.op(v);
            let loc = self.loc(v);
            if let (Some(x), None, 16, false) = (loc.xmm(), loc.gpr(), p.size, def.is_vector())
                && !self.is_const(v)
            {
                let width = if self.is_zero_above(v) { 128 } else { def.w.into() };
                self.stub_stores.push(ColdStore { offset: p.offset, size: p.size, what: Cold::Low(width, x) });
                continue;
            }
            let p = if p.size == 16 && !def.is_vector() && !self.is_const(v) {
                // A scalar: zeros above it.
                let upper = ColdStore { offset: p.offset + 8, size: 8, what: Cold::Const(0) };
                self.stub_stores.push(upper);
                Pending { size: 8, ..p }
            } else {
                p
            };
            let what = if loc.lazy && def.is_flags() {
                let a = self.place_of(def.va());
                let b = if def.operands() > 1 { self.place_of(def.vb()) } else { Some(Place1::Const(0)) };
                match (a, b) {
                    (Some(a), Some(b)) => {
                        self.cold_flags.push((def, a, b));
                        Cold::Flags(self.cold_flags.len() as u32 - 1)
                    }
                    _ => {
                        self.failed = true;
                        continue;
                    }
                }
            } else if def.code == Code::Const {
                Cold::Const(def.imm)
            } else if def.code == Code::Const128 {
                Cold::Const128(def.imm as u32)
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
                Cold::Mem(h.size as u8, Self::state(h.offset))
            } else {
                self.failed = true;
                continue;
            };
            self.stub_stores.push(ColdStore { offset: p.offset, size: p.size, what });
        }
        (first, self.stub_stores.len())
    }

    /// Emits an access's check and notes its stub; [`Gen::end_access`] sets the place where it goes on.
    pub fn begin_access(&mut self, access: &MemAccess, reach: Option<Val>) {
        let temps = self.check_temps();
        let (misses, site) = match reach {
            Some(reach) => self.shared_check(access, reach),
            None if self.through_windows() => {
                let (misses, site) = self.window(access);
                (misses, Some(site))
            }
            None => (self.tlb_probe(access), None),
        };
        let site = site.map(|site| {
            self.sites.0.push(site);
            self.sites.0.len() - 1
        });
        self.add_stub(access, misses, site, temps);
    }

    /// An access that the engine has to make in any case.
    pub fn add_slow_access(&mut self, access: &MemAccess, away: Fixup) {
        self.add_stub(access, [Some(away), None, None], None, None);
    }

    fn add_stub(&mut self, access: &MemAccess, misses: Misses, site: Option<usize>, temps: Option<Temps>) {
        let stores = self.note_stores();
        let waiting = self.waiting_group(temps);
        let vectors = self.place.free_xmms != ALL_XMMS;
        self.mem_stubs.push(MemStub { access: *access, misses, site, back: 0, pc: self.pc, stores, waiting, vectors });
    }

    pub fn add_cold_exit(&mut self, site: Fixup, pc: u64, temps: Option<Temps>) {
        let stores = self.note_stores();
        let waiting = self.waiting_group(temps);
        self.cold_exits.push(ColdExit { site, stores, waiting, pc, events: false });
    }

    /// A way out at a loop's end for pending events: the guest goes on at `pc`.
    pub fn add_event_exit(&mut self, site: Fixup, pc: u64) {
        let stores = self.note_stores();
        self.cold_exits.push(ColdExit { site, stores, waiting: None, pc, events: true });
    }

    pub fn end_access(&mut self) {
        let here = self.asm.pos();
        if let Some(stub) = self.mem_stubs.last_mut() {
            stub.back = here;
            if let Some(site) = stub.site {
                self.sites.0[site].end = here as u32;
            }
        }
    }

    fn cold_store(&mut self, s: ColdStore) {
        let m = Self::state(s.offset);
        let upper = m.offset(8);
        match s.what {
            Cold::Gpr(r) => self.asm.store(s.size, m, r),
            Cold::Low(width, x) => {
                // What is above a scalar is nobody's.
                if width < 128 {
                    self.zext_xmm(width, x, x);
                }
                self.asm.movups_store(m, x);
            }
            Cold::Xmm(x) if s.size == 16 => self.asm.movups_store(m, x),
            Cold::Xmm(x) if s.size >= 4 => self.asm.store_x(s.size, m, x),
            Cold::Xmm(x) => self.with_rax(|g| {
                g.asm.mov_rx(false, RAX, x);
                g.asm.store(s.size, m, RAX);
            }),
            Cold::Mem(from, at) => self.with_rax(|g| {
                g.asm.load(u32::from(from).min(8), RAX, at);
                g.asm.store(s.size.min(8), m, RAX);
                if s.size == 16 {
                    g.asm.load(8, RAX, at.offset(8));
                    g.asm.store(8, upper, RAX);
                }
            }),
            Cold::Const(k) => {
                self.cold_constant(s.size.min(8), m, k);
                if s.size == 16 {
                    self.cold_constant(8, upper, 0);
                }
            }
            Cold::Const128(at) => {
                let k = self.ir.pool[at as usize];
                self.cold_constant(s.size.min(8), m, k as u64);
                if s.size == 16 {
                    self.cold_constant(8, upper, (k >> 64) as u64);
                }
            }
            Cold::Flags(at) => {
                let (op, a, b) = self.cold_flags[at as usize];
                self.store_flags_cold(op, a, b, s.offset);
            }
        }
    }

    fn cold_constant(&mut self, size: u32, m: Mem, k: u64) {
        match i32::try_from(k as i64) {
            Ok(k) => self.asm.store_imm(size, m, k),
            Err(_) if size <= 4 => self.asm.store_imm(size, m, k as i32),
            Err(_) => self.with_rax(|g| {
                g.asm.mov_ri(RAX, k);
                g.asm.store(size, m, RAX);
            }),
        }
    }

    fn with_rax(&mut self, f: impl FnOnce(&mut Self)) {
        let keep = Mem::new(RSP, frame::TEMPS + 24);
        self.asm.store(8, keep, RAX);
        f(self);
        self.asm.load(8, RAX, keep);
    }

    fn cold_stores(&mut self, (from, to): (usize, usize)) {
        for k in from..to {
            let s = self.stub_stores[k];
            self.cold_store(s);
        }
    }

    pub fn emit_cold_exits(&mut self) {
        for i in 0..self.cold_exits.len() {
            let ColdExit { site, stores, waiting, pc, events } = self.cold_exits[i];
            self.asm.bind(site);
            self.check_out_of_line(waiting);
            self.cold_stores(stores);
            if events {
                self.asm.mov_ri(RAX, pc);
                self.asm.jmp_to(self.shared.thunks.events);
            } else {
                self.exit_to(pc);
            }
        }
    }

    /// The number of the next access's stub.
    pub fn next_stub(&self) -> usize {
        self.mem_stubs.len()
    }

    /// Another way to the stub of an access that has none.
    pub fn add_miss(&mut self, stub: usize, way: Fixup) {
        self.mem_stubs[stub].misses[0] = Some(way);
    }

    fn bind_misses(&mut self, misses: Misses) {
        for miss in misses.into_iter().flatten() {
            self.asm.bind(miss);
        }
    }

    pub fn emit_mem_stubs(&mut self) {
        for i in 0..self.mem_stubs.len() {
            let MemStub { access, misses, site, stores, waiting, pc, vectors, back } = self.mem_stubs[i];
            let MemAccess { kind, desc, va, offset, operands, second, shared, .. } = access;
            self.bind_misses(misses);
            let aim = site.map(|site| {
                let patience = self.patience(site);
                self.asm.alu_i_mem(Alu::Sub, false, patience, 1);
                self.asm.jcc(Cc::S)
            });
            if shared {
                self.lone_access(&access, back);
            } else if site.is_some() {
                let misses = self.tlb_probe(&access);
                self.emit_access(&access);
                self.asm.jmp_to(back);
                self.bind_misses(misses);
            }
            if let Some(aim) = aim {
                self.asm.bind(aim);
            }
            if let Some(site) = site {
                self.sites.0[site].slow = self.asm.pos() as u32;
                let number = self.rt(offset_of!(Runtime, site));
                self.asm.store_imm(4, number, site as i32);
            }
            self.check_out_of_line(waiting);
            self.cold_stores(stores);
            self.store_pc(pc);
            let bits = desc.size().trailing_zeros() as usize;
            let thunk = match second {
                // Where they miss together each may hit.
                Some(_) if site.is_none() => self.shared.thunks.probing[kind as usize][usize::from(vectors)][bits],
                _ => self.shared.thunks.slow[kind as usize][usize::from(vectors)],
            };
            self.slow_call(thunk, va, operands, desc, offset);
            if let Some(second) = second {
                self.slow_call(thunk, va, second, desc, offset + desc.size() as i32);
            }
            self.asm.jmp_to(back);
        }
    }

    /// One slow path, by `thunk`, for the access at `va + offset`.
    fn slow_call(&mut self, thunk: usize, va: Gpr, operands: Operands, desc: MemDesc, offset: i32) {
        let arg = |n: i32| Mem::new(RSP, frame::ARGS + n * 8);
        self.asm.store(8, arg(0), va);
        if offset != 0 {
            self.asm.alu_i(Alu::Add, true, arg(0), offset);
        }
        for (n, d) in operands.data.into_iter().enumerate() {
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
        self.asm.call_to(thunk);
        match operands.result {
            Data::Gpr(r) => self.asm.load(8, r, arg(0)),
            Data::Low(x) => self.asm.load_x(desc.size(), x, arg(0)),
            Data::Vector(x) => {
                let m = self.rt(offset_of!(Runtime, scratch));
                self.asm.movups_load(x, m);
            }
            Data::None | Data::Const(_) => {}
        }
    }
}
