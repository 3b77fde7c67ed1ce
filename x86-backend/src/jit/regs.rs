//! Register allocation while emitting: where each live value is, and getting it to where it is needed.
//!
//! A value may be in a general register, a vector register, a frame slot and its *home* (the guest state slot it was
//! read from or stored to) at the same time; constants and *lazy* values (comparisons, flags) are nowhere until somebody
//! wants them. Liveness is a count of outstanding uses: the operands of operations still to come, one for each pending
//! store of the value to guest state, and one for each lazy value that would read it.
//!
//! Pending stores are what makes precise state cheap: a `Put` only notes which value belongs into which slot; stores are
//! made when control leaves, or out of line before a slow path. Invariants: pending slots do not overlap each other, and
//! no home overlaps a pending slot.
//!
//! While one operation is lowered, registers handed out are pinned; [`Gen::end_op`] unpins them and drops dead values.

use super::asm::{Asm, Fixup, Gpr, Mem, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Rm, Xmm};
use super::asm::{R8, R9, R10, R11, R12, R13, R14, R15};
use super::ir::{Code, Ir, Op, Val};
use super::places::NO_REG;
pub(super) use super::places::{Loc, NONE, Pending, Place, frame};
use crate::runtime::STATE_BIAS;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Allocation order: registers that need no REX prefix and survive calls come first, the special ones last.
pub(super) const GPRS: [Gpr; 14] = [RBX, RSI, RDI, R12, R13, R14, R15, R8, R9, R10, R11, RDX, RCX, RAX];
/// The same order in groups, a bit for each register, lowest first; what is in none comes last, RAX the very last.
const GPR_CLASSES: [u16; 3] =
    [1 << RBX.0 | 1 << RSI.0 | 1 << RDI.0, 1 << R12.0 | 1 << R13.0 | 1 << R14.0 | 1 << R15.0, 0x0f << R8.0];
/// Registers that calls destroy.
pub(super) const CALLER_SAVED: [Gpr; 9] = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11];

/// The code generator's state for one block.
pub(super) struct Gen {
    pub asm: Asm,
    pub ir: Box<Ir>,
    pub place: Place,
    /// Memory for copies of it.
    pub spare: Vec<Place>,
    /// Outstanding uses; and, once somebody asked, the index of the last operation that uses the value.
    pub uses: Vec<u32>,
    pub last: Vec<u32>,
    /// Uses before emission began.
    pub uses_total: Vec<u32>,
    /// Scalars that are better off in a vector register.
    pub wants_xmm: Vec<bool>,
    /// Scratch space of the backward pass.
    pub covered: Vec<(u32, u32)>,
    /// Constants to be loaded from behind the block.
    pub constants: Vec<(super::asm::Fixup, u128)>,
    /// The address of the guest instruction being lowered.
    pub pc: u64,
    pub chains: Vec<super::control::ChainStub>,
    pub far_exits: Vec<super::control::ChainStub>,
    pub deferred: Vec<super::control::Deferred>,
    pub joins: Vec<super::control::Join>,
    pub loop_head: Option<super::loops::Head>,
    pub mem_stubs: Vec<super::stubs::MemStub>,
    pub reach_stubs: Vec<super::reach::ReachStub>,
    /// The value that the last of them is for.
    pub last_reach: Val,
    /// By the value of the operation that found the way.
    pub aims: Vec<(u32, super::reach::Aim)>,
    /// Of all blocks in the buffer.
    pub sites: super::reach::Sites,
    pub cold_exits: Vec<super::stubs::ColdExit>,
    pub stub_stores: Vec<super::stubs::ColdStore>,
    pub cold_flags: Vec<super::stubs::ColdFlags>,
    pub slow_evals: Vec<super::fp::SlowEval>,
    /// Comparisons for equality: where they go when operands are unordered, and where that goes on.
    pub unordered: Vec<(Fixup, usize)>,
    /// What is known of each value's lanes, where denormals are flushed.
    pub normal: Vec<super::denormals::Normal>,
    pub denormal_stubs: Vec<super::denormals::DenormalStub>,
    /// Operations whose results wait for a check, and the registers of those.
    pub waiting: Vec<super::checks::Waiting>,
    pub waiting_pins: u16,
    pub members: Vec<super::checks::Member>,
    pub failed_checks: Vec<super::checks::FailedCheck>,
    /// Arms that leave the block are being emitted.
    pub out_of_line: bool,
    pub gpr_pins: u16,
    pub xmm_pins: u16,
    /// The frame overflowed, or the IR was inconsistent: the block cannot be used.
    pub failed: bool,
    pub shared: super::Shared,
    pub clock: super::Clock,
}

impl Gen {
    pub fn new(asm: Asm, shared: super::Shared) -> Self {
        Self {
            asm,
            ir: Box::default(),
            place: Place::new(),
            spare: Vec::new(),
            uses: Vec::new(),
            last: Vec::new(),
            uses_total: Vec::new(),
            wants_xmm: Vec::new(),
            covered: Vec::new(),
            constants: Vec::new(),
            pc: 0,
            chains: Vec::new(),
            far_exits: Vec::new(),
            deferred: Vec::new(),
            joins: Vec::new(),
            loop_head: None,
            mem_stubs: Vec::new(),
            reach_stubs: Vec::new(),
            last_reach: Val::NONE,
            aims: Vec::new(),
            sites: super::reach::Sites::default(),
            cold_exits: Vec::new(),
            stub_stores: Vec::new(),
            cold_flags: Vec::new(),
            slow_evals: Vec::new(),
            unordered: Vec::new(),
            normal: Vec::new(),
            denormal_stubs: Vec::new(),
            waiting: Vec::new(),
            waiting_pins: 0,
            members: Vec::new(),
            failed_checks: Vec::new(),
            out_of_line: false,
            gpr_pins: 0,
            xmm_pins: 0,
            failed: false,
            shared,
            clock: super::Clock::default(),
        }
    }

    pub fn start_places(&mut self) {
        let n = self.ir.len();
        let p = &mut self.place;
        p.locs.clear();
        p.locs.resize(n, Loc::NOWHERE);
        p.clear_registers();
        p.frame.clear();
        p.pending.clear();
        p.homes.clear();
        p.lazies.clear();
        self.constants.clear();
        self.chains.clear();
        self.far_exits.clear();
        self.spare.extend(self.deferred.drain(..).map(|arm| arm.place));
        self.joins.clear();
        self.mem_stubs.clear();
        self.reach_stubs.clear();
        self.aims.clear();
        self.cold_exits.clear();
        self.stub_stores.clear();
        self.cold_flags.clear();
        self.denormal_stubs.clear();
        self.unordered.clear();
        self.out_of_line = false;
        self.waiting.clear();
        self.waiting_pins = 0;
        self.members.clear();
        self.failed_checks.clear();
        self.gpr_pins = 0;
        self.xmm_pins = 0;
        if let Some(head) = self.loop_head.take() {
            self.spare.push(head.place);
        }
        self.failed = false;
    }

    // Addresses.

    /// Guest state at a byte offset.
    pub fn state(offset: u32) -> Mem {
        Mem::new(RBP, offset as i32 - STATE_BIAS)
    }
    /// A field of the runtime.
    pub fn rt(&self, offset: usize) -> Mem {
        Mem::new(RBP, self.shared.rt_offset as i32 + offset as i32 - STATE_BIAS)
    }
    pub fn spill_slot(slot: u16) -> Mem {
        Mem::new(RSP, frame::SPILL + i32::from(slot) * 16)
    }

    // Values.

    pub fn op(&self, v: Val) -> Op {
        self.ir.ops[v.index()]
    }
    pub fn loc(&self, v: Val) -> Loc {
        self.place.locs[v.index()]
    }
    /// Where a value is that may be none.
    pub fn loc_if(&self, v: Val) -> Loc {
        self.place.locs.get(v.index()).copied().unwrap_or(Loc::NOWHERE)
    }
    pub fn loc_mut(&mut self, v: Val) -> &mut Loc {
        &mut self.place.locs[v.index()]
    }
    pub fn konst(&self, v: Val) -> Option<u64> {
        self.ir.konst(v)
    }
    pub fn is_const(&self, v: Val) -> bool {
        matches!(self.op(v).code, Code::Const | Code::Const128)
    }
    /// A constant that fits an instruction's immediate at this width.
    pub fn imm(&self, w: u32, v: Val) -> Option<i32> {
        let k = self.konst(v)?;
        if w == 32 { Some(k as u32 as i32) } else { i32::try_from(k as i64).ok() }
    }
    /// Only the operation being lowered still needs it.
    pub fn dies(&self, v: Val) -> bool {
        self.uses[v.index()] == 1
    }
    pub fn home_of(&self, v: Val) -> Option<Pending> {
        if !self.loc(v).home {
            return None;
        }
        self.place.homes.iter().find(|h| h.val == v.0).copied()
    }
    pub fn make_lazy(&mut self, v: Val) {
        self.loc_mut(v).lazy = true;
        self.place.lazies.push(v.0);
    }

    pub fn acquire(&mut self, v: Val) {
        self.uses[v.index()] += 1;
        if self.uses[v.index()] == 1 && self.loc(v).lazy {
            self.each_operand(self.op(v), Self::acquire);
        }
    }
    pub fn release(&mut self, v: Val) {
        let n = &mut self.uses[v.index()];
        if *n == 0 {
            return;
        }
        *n -= 1;
        if *n == 0 {
            self.drop_value(v);
        }
    }
    pub fn each_operand(&mut self, op: Op, f: fn(&mut Self, Val)) {
        let n = op.operands();
        for v in [op.a, op.b, op.c].into_iter().take(n) {
            f(self, Val(v));
        }
        if let Some((reach, _)) = op.shared() {
            f(self, reach);
        }
    }
    /// The value is no longer lazy: it stands somewhere.
    pub fn materialised(&mut self, v: Val) {
        if core::mem::replace(&mut self.loc_mut(v).lazy, false) {
            self.each_operand(self.op(v), Self::release);
        }
    }
    /// Forgets a value that nothing uses.
    pub fn drop_value(&mut self, v: Val) {
        let loc = core::mem::replace(self.loc_mut(v), Loc::NOWHERE);
        if let Some(r) = loc.gpr() {
            self.place.set_gpr(r, NONE);
        }
        if let Some(x) = loc.xmm() {
            self.place.set_xmm(x, NONE);
        }
        if loc.home {
            self.place.drop_home(v);
        }
        if loc.lazy || loc.frame().is_some() {
            self.drop_rest(v, loc);
        }
    }
    #[inline(never)]
    fn drop_rest(&mut self, v: Val, loc: Loc) {
        if let Some(s) = loc.frame() {
            self.place.frame[usize::from(s)] = NONE;
        }
        if loc.lazy {
            self.each_operand(self.op(v), Self::release);
        }
    }

    /// Ends the lowering of an operation: unpins registers, counts its operands as used.
    pub fn end_op(&mut self, v: Val) {
        let op = self.op(v);
        let n = op.operands();
        if n > 0 {
            self.release(op.va());
        }
        if n > 1 {
            self.release(op.vb());
        }
        if n > 2 {
            self.release(op.vc());
        }
        if let Some((reach, _)) = op.shared() {
            self.release(reach);
        }
        self.unpin();
        if self.uses[v.index()] == 0 {
            self.drop_value(v);
        }
    }
    pub fn unpin(&mut self) {
        self.gpr_pins = 0;
        self.xmm_pins = 0;
    }

    // Frame.

    fn frame_slot(&mut self, v: Val) -> u16 {
        if let Some(s) = self.loc(v).frame() {
            return s;
        }
        let slots = &mut self.place.frame;
        let free = match slots.iter().position(|o| *o == NONE) {
            Some(i) => i,
            None if slots.len() < frame::SLOTS => {
                slots.push(NONE);
                slots.len() - 1
            }
            None => {
                self.failed = true;
                0
            }
        };
        slots[free] = v.0;
        self.loc_mut(v).frame = free as u16;
        free as u16
    }
    /// Reserves the value's frame slot, to be filled by others.
    pub fn reserve_frame(&mut self, v: Val) -> Mem {
        Self::spill_slot(self.frame_slot(v))
    }
    /// Stores a value that stands in a register to its frame slot, unless it is there.
    pub fn spill(&mut self, v: Val) {
        let loc = self.loc(v);
        if loc.frame().is_some() || self.is_const(v) {
            return;
        }
        let vector = self.op(v).is_vector();
        if let (Some(x), true) = (loc.xmm(), vector || loc.gpr().is_none()) {
            let m = self.reserve_frame(v);
            // A scalar leaves nothing above its container: it is reloaded as 64 bits.
            if vector {
                self.asm.movups_store(m, x);
            } else if self.op(v).w == 64 || self.is_zero_above(v) {
                self.asm.store_x(8, m, x);
            } else {
                self.asm.store_imm(8, m, 0);
                self.asm.store_x(4, m, x);
            }
        } else if let Some(r) = loc.gpr() {
            let m = self.reserve_frame(v);
            self.asm.store(8, m, r);
        }
    }

    // General registers.

    pub fn pin(&mut self, r: Gpr) {
        self.gpr_pins |= 1 << r.0;
    }
    fn set_gpr(&mut self, v: Val, r: Gpr) {
        self.place.set_gpr(r, v.0);
        self.loc_mut(v).gpr = r.0;
    }
    /// Takes a register away from the value in it, which lives on elsewhere.
    pub fn evict_gpr(&mut self, r: Gpr) {
        let v = self.place.gprs[usize::from(r.0)];
        if v == NONE {
            return;
        }
        let v = Val(v);
        if !self.is_const(v) {
            self.flush_value(v);
        }
        if self.place.gprs[usize::from(r.0)] == NONE {
            return;
        }
        let loc = self.loc(v);
        if !loc.home && loc.frame().is_none() && loc.xmm().is_none() && !self.is_const(v) {
            self.spill(v);
        }
        self.place.set_gpr(r, NONE);
        self.loc_mut(v).gpr = NO_REG;
    }
    /// The free register to use first.
    fn free_gpr(&self) -> Option<Gpr> {
        let free = self.place.free_gprs & !self.gpr_pins;
        for class in GPR_CLASSES {
            if free & class != 0 {
                return Some(Gpr((free & class).trailing_zeros() as u8));
            }
        }
        // Those with special roles, RAX last.
        (free != 0).then(|| Gpr(15 - free.leading_zeros() as u8))
    }
    pub fn has_free_gpr(&self) -> bool {
        self.place.free_gprs & !self.gpr_pins != 0
    }
    /// A register with nothing in it, pinned.
    pub fn scratch(&mut self) -> Gpr {
        let r = match self.free_gpr() {
            Some(r) => r,
            None => self.make_room(),
        };
        self.pin(r);
        r
    }
    /// Empties the register whose value is dispensable, or needed last.
    #[cold]
    fn make_room(&mut self) -> Gpr {
        let mut best = None;
        for r in GPRS {
            if self.gpr_pins & 1 << r.0 != 0 {
                continue;
            }
            let v = self.place.gprs[usize::from(r.0)];
            let loc = self.place.locs[v as usize];
            let cheap = self.is_const(Val(v)) || loc.home || loc.frame().is_some();
            let score = (cheap, self.last_use(v));
            if best.is_none_or(|(b, _)| score > b) {
                best = Some((score, r));
            }
        }
        let Some((_, r)) = best else {
            self.failed = true;
            return RAX;
        };
        self.pin(r);
        self.evict_gpr(r);
        r
    }
    /// One particular register with nothing in it, pinned. What was in it moves elsewhere.
    pub fn fixed(&mut self, r: Gpr) {
        let v = self.place.gprs[usize::from(r.0)];
        self.pin(r);
        if v == NONE {
            return;
        }
        let free = GPRS.iter().copied().find(|f| {
            self.place.gprs[usize::from(f.0)] == NONE && self.gpr_pins & 1 << f.0 == 0 && !matches!(*f, RAX | RCX | RDX)
        });
        match free {
            Some(f) if !self.is_const(Val(v)) => {
                self.asm.mov_rr(true, f, r);
                self.place.set_gpr(r, NONE);
                self.set_gpr(Val(v), f);
            }
            _ => self.evict_gpr(r),
        }
    }
    /// Gives a pinned, empty register to a new value.
    pub fn assign(&mut self, v: Val, r: Gpr) {
        self.set_gpr(v, r);
    }
    /// A register for a new value.
    pub fn def_gpr(&mut self, v: Val) -> Gpr {
        let r = self.scratch();
        self.assign(v, r);
        r
    }
    /// Bytes to load of a scalar that is in memory. It may have been stored as its own 32 bits and zeros above them, and a processor
    /// forwards no load from two stores.
    pub fn container(&self, v: Val) -> u32 {
        if (1..=32).contains(&self.op(v).w) { 4 } else { 8 }
    }
    /// Copies a value into a register that is not its own; no flags are touched.
    pub fn copy_to(&mut self, d: Gpr, v: Val) {
        if let Some(k) = self.konst(v) {
            self.asm.mov_ri(d, k);
            return;
        }
        if self.loc(v).lazy && self.loc(v).gpr().is_none() {
            self.use_gpr(v);
        }
        let loc = self.loc(v);
        if let Some(r) = loc.gpr() {
            if r != d {
                self.asm.mov_rr(true, d, r);
            }
        } else if let Some(x) = loc.xmm() {
            self.asm.mov_rx(self.op(v).w == 64, d, x);
        } else if let Some(s) = loc.frame() {
            self.asm.load(self.container(v), d, Self::spill_slot(s));
        } else if let Some(h) = self.home_of(v) {
            self.asm.load(h.size.min(self.container(v)), d, Self::state(h.offset));
        } else {
            self.failed = true;
        }
    }
    /// The value in a general register, pinned.
    pub fn use_gpr(&mut self, v: Val) -> Gpr {
        if let Some(r) = self.loc(v).gpr() {
            self.pin(r);
            return r;
        }
        self.fetch_gpr(v)
    }
    #[inline(never)]
    fn fetch_gpr(&mut self, v: Val) -> Gpr {
        if self.loc(v).lazy && self.konst(v).is_none() {
            return self.materialise(v);
        }
        let r = self.scratch();
        self.copy_to(r, v);
        self.set_gpr(v, r);
        r
    }
    /// The value in a register or, when this is its only use, in memory. `w` is the operand's width.
    pub fn use_rm(&mut self, w: u32, v: Val) -> Rm {
        let loc = self.loc(v);
        if loc.gpr().is_none() && loc.xmm().is_none() && self.dies(v) && !loc.lazy && !self.is_const(v) {
            if let Some(s) = loc.frame() {
                return Rm::Mem(Self::spill_slot(s));
            }
            if let Some(h) = self.home_of(v)
                && h.size * 8 >= w
            {
                return Rm::Mem(Self::state(h.offset));
            }
        }
        self.use_gpr(v).into()
    }
    /// A register for the new value `v` that starts out as a copy of `from`: its register if that dies here.
    pub fn def_from(&mut self, v: Val, from: Val) -> Gpr {
        if self.dies(from) {
            if let Some(r) = self.loc(from).gpr() {
                self.pin(r);
                self.loc_mut(from).gpr = NO_REG;
                self.set_gpr(v, r);
                return r;
            }
        } else if !self.is_const(from) {
            self.use_gpr(from);
        }
        let d = self.scratch();
        self.copy_to(d, from);
        self.assign(v, d);
        d
    }

    // Vector registers.

    pub fn pin_xmm(&mut self, x: Xmm) {
        self.xmm_pins |= 1 << x.0;
    }
    fn set_xmm(&mut self, v: Val, x: Xmm) {
        self.place.set_xmm(x, v.0);
        self.loc_mut(v).xmm = x.0;
    }
    pub fn evict_xmm(&mut self, x: Xmm) {
        let v = self.place.xmms[usize::from(x.0)];
        if v == NONE {
            return;
        }
        let v = Val(v);
        if !self.stays_pending(v) {
            self.flush_value(v);
        }
        if self.place.xmms[usize::from(x.0)] == NONE {
            return;
        }
        let loc = self.loc(v);
        if !loc.home && loc.frame().is_none() && loc.gpr().is_none() {
            self.spill(v);
        }
        self.place.set_xmm(x, NONE);
        self.loc_mut(v).xmm = NO_REG;
    }
    /// Whether a vector register can be had without taking it away from a value.
    pub fn has_free_xmm(&self) -> bool {
        self.place.free_xmms & !(self.xmm_pins | self.waiting_pins) != 0
    }
    pub fn scratch_xmm(&mut self) -> Xmm {
        let free = self.place.free_xmms & !(self.xmm_pins | self.waiting_pins);
        if free != 0 {
            let x = Xmm(free.trailing_zeros() as u8);
            self.pin_xmm(x);
            return x;
        }
        let mut best = None;
        for i in 0..16u8 {
            if (self.xmm_pins | self.waiting_pins) & 1 << i != 0 {
                continue;
            }
            let v = self.place.xmms[usize::from(i)];
            let loc = self.place.locs[v as usize];
            let cheap = self.is_const(Val(v)) || loc.home || loc.frame().is_some();
            let score = (cheap, self.last_use(v));
            if best.is_none_or(|(b, _)| score > b) {
                best = Some((score, i));
            }
        }
        let Some((_, i)) = best else {
            self.failed = true;
            return Xmm(0);
        };
        self.pin_xmm(Xmm(i));
        self.evict_xmm(Xmm(i));
        Xmm(i)
    }
    /// One particular vector register with nothing in it, pinned. What was in it moves elsewhere. No result waits for a check.
    pub fn fixed_xmm(&mut self, x: Xmm) {
        debug_assert!(self.waiting.is_empty(), "results that wait stay in their registers");
        let v = self.place.xmms[usize::from(x.0)];
        self.pin_xmm(x);
        if v == NONE {
            return;
        }
        if self.has_free_xmm() && !self.is_const(Val(v)) {
            let d = self.scratch_xmm();
            self.asm.movaps(d, x);
            self.place.set_xmm(x, NONE);
            self.set_xmm(Val(v), d);
        } else {
            self.evict_xmm(x);
        }
    }
    pub fn assign_xmm(&mut self, v: Val, x: Xmm) {
        self.set_xmm(v, x);
    }
    pub fn def_xmm(&mut self, v: Val) -> Xmm {
        let x = self.scratch_xmm();
        self.set_xmm(v, x);
        x
    }
    /// Copies a value into a vector register that is not its own. A scalar's bits above its container are undefined.
    pub fn copy_to_xmm(&mut self, d: Xmm, v: Val) {
        let op = self.op(v);
        if op.code == Code::Const128 {
            let k = self.ir.pool[op.imm as usize];
            self.load_const128(d, k);
            return;
        }
        let loc = self.loc(v);
        if let Some(x) = loc.xmm() {
            if x != d {
                self.asm.movaps(d, x);
            }
        } else if op.is_vector() {
            if let Some(s) = loc.frame() {
                self.asm.movups_load(d, Self::spill_slot(s));
            } else if let Some(h) = self.home_of(v) {
                self.asm.movups_load(d, Self::state(h.offset));
            } else {
                self.failed = true;
            }
        } else if let Some(r) = loc.gpr() {
            self.asm.mov_xr(op.w == 64, d, r);
        } else if let (Some(s), false) = (loc.frame(), loc.lazy) {
            self.asm.load_x(self.container(v), d, Self::spill_slot(s));
        } else {
            match self.home_of(v) {
                Some(h) if h.size >= 4 => self.asm.load_x(h.size.min(self.container(v)), d, Self::state(h.offset)),
                _ => {
                    let r = self.use_gpr(v);
                    self.asm.mov_xr(op.w == 64, d, r);
                }
            }
        }
    }
    pub fn use_xmm(&mut self, v: Val) -> Xmm {
        if let Some(x) = self.loc(v).xmm() {
            self.pin_xmm(x);
            return x;
        }
        let x = self.scratch_xmm();
        self.copy_to_xmm(x, v);
        self.set_xmm(v, x);
        x
    }
    /// A vector register for the new value `v` that starts out as a copy of `from`.
    pub fn def_xmm_from(&mut self, v: Val, from: Val) -> Xmm {
        if self.dies(from) {
            if let Some(x) = self.loc(from).xmm() {
                self.pin_xmm(x);
                self.loc_mut(from).xmm = NO_REG;
                self.set_xmm(v, x);
                return x;
            }
        } else if !self.is_const(from) {
            self.use_xmm(from);
        }
        let d = self.scratch_xmm();
        self.copy_to_xmm(d, from);
        self.set_xmm(v, d);
        d
    }

    /// Takes a value out of all registers that calls destroy; it stays available.
    pub fn clobber_calls(&mut self) {
        for r in CALLER_SAVED {
            self.clobber(r);
        }
        for i in 0..16u8 {
            let v = self.place.xmms[usize::from(i)];
            if v != NONE {
                let loc = self.loc(Val(v));
                if !loc.home && loc.frame().is_none() {
                    self.spill(Val(v));
                }
                self.place.set_xmm(Xmm(i), NONE);
                self.loc_mut(Val(v)).xmm = NO_REG;
            }
        }
    }
    fn clobber(&mut self, r: Gpr) {
        let v = self.place.gprs[usize::from(r.0)];
        if v == NONE {
            return;
        }
        let v = Val(v);
        let loc = self.loc(v);
        if !loc.home && loc.frame().is_none() && !self.is_const(v) {
            self.spill(v);
        }
        self.place.set_gpr(r, NONE);
        self.loc_mut(v).gpr = NO_REG;
    }
    /// Drops all registers without saving anything.
    pub fn forget_registers(&mut self) {
        for i in 0..16 {
            for v in [self.place.gprs[i], self.place.xmms[i]] {
                if v != NONE {
                    let loc = self.loc_mut(Val(v));
                    loc.gpr = NO_REG;
                    loc.xmm = NO_REG;
                }
            }
        }
        self.place.clear_registers();
    }
    /// Drops values that lost their last use on another path.
    pub fn prune(&mut self) {
        for i in 0..16 {
            for v in [self.place.gprs[i], self.place.xmms[i]] {
                if v != NONE && self.uses[v as usize] == 0 {
                    self.drop_value(Val(v));
                }
            }
        }
        for i in 0..self.place.frame.len() {
            let v = self.place.frame[i];
            if v != NONE && self.uses[v as usize] == 0 {
                self.drop_value(Val(v));
            }
        }
        let uses = &self.uses;
        let locs = &mut self.place.locs;
        self.place.homes.retain(|h| {
            let live = uses[h.val as usize] != 0;
            if !live {
                locs[h.val as usize].home = false;
            }
            live
        });
    }
}
