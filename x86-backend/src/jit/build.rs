//! The state of the IR builder: constants, common subexpressions, and which values guest state is known to hold.

use super::ir::{Code, Ir, NO_RESULT, Op, Val};
use crate::emit::{FLAGS, Slot, Width};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A piece of guest state whose value is known.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub offset: u32,
    pub size: u32,
    pub val: Val,
}

const CSE: usize = 256;

/// What is recorded of the block being built. Reused from block to block.
pub(super) struct Build {
    pub ir: Box<Ir>,
    pub known: Vec<Known>,
    /// A bit for each eight bytes of state, modulo 64, of which something was known at some time: for the others nobody need look.
    noted: u64,
    /// Saved `known`s of the enclosing arms, one after the other.
    pub saved: Vec<Known>,
    cse: [u32; CSE],
    /// Values below this index may not be common subexpressions: they may not dominate.
    cse_floor: u32,
    /// Values from one index to another that may not be common subexpressions: those of arms that have left.
    cse_gaps: Vec<(u32, u32)>,
    /// Open arms.
    pub depth: u32,
    /// How many of them are a region's, whose end is not the end of the path.
    pub base: u32,
    pub end_block: bool,
    /// The path being recorded has left.
    pub ended: bool,
    pub has_branch: bool,
    /// The path ended in a call of a function.
    pub calls: bool,
    /// It ended without a branch: control goes on behind it.
    pub falls: bool,
    /// Where a branch goes that is always taken, if that is known.
    pub target: Option<u64>,
    pub insns: u32,
    pub pc: u64,
    pub context: super::BlockContext,
    /// A region is recorded: uses of state are noted, and state is read as a whole.
    pub region: bool,
    /// A helper that may change state was called in it.
    pub clobbered: bool,
    pub touched: Vec<super::regions::Touched>,
    /// State that the arms of the region use.
    pub surveyed: Vec<super::regions::Touched>,
    pub carried: Vec<super::regions::Carried>,
    /// A loop writes state that wasn't known to be written when it began.
    pub astray: bool,
    pub loop_first: usize,
    pub loop_head: usize,
    /// How the state divides into elements.
    pub layout: &'static [crate::guest::Elements],
    /// The operation that counts the current block's instructions and accesses, and how many there were before it.
    pub counting: Option<(usize, u32, u32)>,
    /// Accesses recorded, in whatever arm.
    pub accesses: u32,
}

/// Bytes that a slot of this width occupies.
#[inline(always)]
pub(super) fn storage(width: Width) -> u32 {
    /// By width, up to 128; anything above is as wide.
    const TABLE: [u8; 256] = {
        let mut table = [16; 256];
        let mut width = 0;
        while width <= 64 {
            table[width] = match width as Width {
                FLAGS => 2,
                1..=8 => 1,
                9..=16 => 2,
                17..=32 => 4,
                _ => 8,
            };
            width += 1;
        }
        table
    };
    u32::from(TABLE[width as usize & 255])
}

/// Container of a width.
#[inline(always)]
pub(super) const fn container(n: Width) -> u32 {
    match n {
        FLAGS => 0,
        1..=32 => 32,
        33..=64 => 64,
        _ => 128,
    }
}

pub(super) const fn mask64(n: Width) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

impl Build {
    pub fn new(layout: &'static [crate::guest::Elements]) -> Self {
        Self {
            ir: Box::default(),
            known: Vec::new(),
            noted: 0,
            saved: Vec::new(),
            cse: [0; CSE],
            cse_floor: 0,
            cse_gaps: Vec::new(),
            depth: 0,
            base: 0,
            end_block: false,
            ended: false,
            has_branch: false,
            calls: false,
            falls: false,
            target: None,
            insns: 0,
            pc: 0,
            context: super::BlockContext::default(),
            region: false,
            clobbered: false,
            touched: Vec::new(),
            surveyed: Vec::new(),
            carried: Vec::new(),
            astray: false,
            loop_first: 0,
            loop_head: 0,
            layout,
            counting: None,
            accesses: 0,
        }
    }

    pub fn start(&mut self) {
        self.ir.clear();
        self.known.clear();
        self.noted = 0;
        self.saved.clear();
        self.cse_floor = 0;
        self.cse_gaps.clear();
        self.depth = 0;
        self.base = 0;
        self.end_block = false;
        self.ended = false;
        self.has_branch = false;
        self.calls = false;
        self.falls = false;
        self.target = None;
        self.insns = 0;
        self.clobbered = false;
        self.touched.clear();
        self.surveyed.clear();
        self.carried.clear();
        self.loop_head = 0;
        self.astray = false;
        self.counting = None;
        self.accesses = 0;
    }

    /// Significant bits of a result.
    fn bound(&self, op: &Op) -> u8 {
        let sig = |v: u32| self.ir.sig[v as usize];
        let konst = |v: u32| self.ir.konst(Val(v));
        let w = op.w;
        match op.code {
            Code::Const => (64 - op.imm.leading_zeros()) as u8,
            Code::And => {
                if w == 128 {
                    255
                } else {
                    sig(op.a).min(sig(op.b)).min(w)
                }
            }
            Code::Or | Code::Xor if w != 128 => sig(op.a).max(sig(op.b)).min(w),
            Code::Shr => match konst(op.b) {
                Some(k) => sig(op.a).min(w).saturating_sub(k as u8),
                None => sig(op.a).min(w),
            },
            Code::Shl => match konst(op.b) {
                Some(k) => sig(op.a).saturating_add(k as u8).min(w),
                None => w,
            },
            Code::Cmp | Code::Test | Code::Cond => 1,
            Code::Clz | Code::Ctz | Code::Popcnt => 7,
            Code::Get | Code::Load if w != 0 => {
                (if op.code == Code::Get { u64::from(op.aux) } else { op.imm } * 8).min(255) as u8
            }
            Code::Select if w != 0 && w != 128 => sig(op.b).max(sig(op.c)).min(w),
            Code::Phi if w != 0 && w != 128 => sig(op.a).max(sig(op.b)).min(w),
            Code::FlagsBits => 16,
            Code::Lane => (op.aux >> 8) as u8,
            _ => match w {
                0 => 16,
                128 => 255,
                w => w,
            },
        }
    }

    /// Enters how many instructions and accesses the block had that is being counted.
    pub fn end_counting(&mut self) {
        if let Some((at, insns, accesses)) = self.counting.take() {
            self.ir.ops[at].imm = u64::from(self.insns - insns) | u64::from(self.accesses - accesses) << 32;
        }
    }

    /// Appends an operation.
    pub fn push(&mut self, op: Op) -> Val {
        let sig = if op.w == NO_RESULT { 0 } else { self.bound(&op) };
        self.push_of(op, sig)
    }

    /// Appends an operation whose result has that many significant bits; 0: it has none.
    #[inline]
    pub fn push_of(&mut self, op: Op, sig: u8) -> Val {
        let Ir { ops, sig: sigs, .. } = &mut *self.ir;
        if ops.len() == ops.capacity() || sigs.len() == sigs.capacity() {
            return self.ir.append_growing(op, sig);
        }
        let v = Val(ops.len() as u32);
        ops.push(op);
        sigs.push(sig);
        v
    }

    /// Appends a load or store; in a region, behind room for [`Code::Reach`].
    pub fn access(&mut self, op: Op) -> Val {
        self.accesses += 1;
        if self.region {
            self.push(Op::room());
        }
        let v = self.push(op);
        self.ir.accesses.push(v.0);
        v
    }

    /// Appends an operation that defines nothing.
    pub fn effect(&mut self, code: Code) -> Op {
        Op::new(code, u32::from(NO_RESULT))
    }

    /// Appends a pure operation, or finds an equal one.
    pub fn pure(&mut self, op: Op) -> Val {
        let slot = Self::slot(&op);
        let old = self.cse[slot];
        let dominates = || old >= self.cse_floor && !self.cse_gaps.iter().any(|(from, to)| (*from..*to).contains(&old));
        if self.ir.ops.get(old as usize) == Some(&op) && dominates() {
            return Val(old);
        }
        self.cse[slot] = self.ir.ops.len() as u32;
        self.push(op)
    }

    #[inline(always)]
    fn slot(op: &Op) -> usize {
        let mut h = u64::from(op.code as u8) | u64::from(op.w) << 8 | u64::from(op.aux) << 16 | u64::from(op.a) << 32;
        h ^= u64::from(op.b).wrapping_mul(0x9e37_79b9) ^ u64::from(op.c).wrapping_mul(0x85eb_ca6b) ^ op.imm;
        Self::hash(h)
    }

    #[inline(always)]
    fn hash(v: u64) -> usize {
        (v.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize & (CSE - 1)
    }

    /// Appends a constant of 64 bits, or of flags (`w` = 0), or finds it; constants count wherever they are.
    fn constant(&mut self, w: u8, v: u64) -> Val {
        let op = Op::new(Code::Const, w.into()).imm(v);
        let last = &mut self.cse[Self::hash(v ^ u64::from(w))];
        let same = |old: &Op| old.code == Code::Const && old.w == w && old.imm == v;
        if self.ir.ops.get(*last as usize).is_some_and(same) {
            return Val(*last);
        }
        *last = self.ir.ops.len() as u32;
        self.push_of(op, (64 - v.leading_zeros()) as u8)
    }

    /// Values defined since index `from` don't count as common subexpressions from now on.
    pub fn cse_gap(&mut self, from: usize) {
        // Gaps within this one are parts of it.
        self.cse_gaps.retain(|gap| (gap.0 as usize) < from);
        self.cse_gaps.push((from as u32, self.ir.ops.len() as u32));
    }

    /// Values defined so far no longer count as common subexpressions.
    pub fn cse_barrier(&mut self) {
        self.cse_floor = self.ir.ops.len() as u32;
    }

    pub fn int(&mut self, w: u32, v: u64) -> Val {
        // One container for all: a constant of 32 bits is the same value in both.
        let _ = w;
        self.constant(64, v)
    }

    pub fn flags_const(&mut self, stored: u16) -> Val {
        self.constant(0, u64::from(stored))
    }

    pub fn vector(&mut self, v: u128) -> Val {
        let idx = match self.ir.pool.iter().position(|x| *x == v) {
            Some(i) => i,
            None => {
                self.ir.pool.push(v);
                self.ir.pool.len() - 1
            }
        };
        self.pure(Op::new(Code::Const128, 128).imm(idx as u64))
    }

    pub fn konst(&self, v: Val) -> Option<u64> {
        self.ir.konst(v)
    }

    pub fn konst128(&self, v: Val) -> Option<u128> {
        let op = self.ir.op(v);
        match op.code {
            Code::Const128 => Some(self.ir.pool[op.imm as usize]),
            _ => None,
        }
    }

    pub fn op(&self, v: Val) -> Op {
        self.ir.op(v)
    }

    pub fn sig(&self, v: Val) -> u32 {
        u32::from(self.ir.sig[v.index()])
    }

    // Guest state.

    /// The element that holds the slot as a part.
    fn whole(&self, slot: Slot, size: u32) -> Option<Slot> {
        let e = self.layout.iter().find(|e| (e.offset..e.offset + e.size * e.count).contains(&slot.offset))?;
        let offset = slot.offset - (slot.offset - e.offset) % e.size;
        let part = size < e.size && slot.offset + size <= offset + e.size && !slot.is_flags;
        if part { Some(Slot { offset, width: e.size * 8, is_flags: false }) } else { None }
    }

    /// From now on something is known of this state. Gives whether something may have been before, of it or a part.
    #[inline(always)]
    fn note(&mut self, offset: u32, size: u32) -> bool {
        let pieces = ((offset & 7) + size + 7) >> 3;
        let bits = (!(u64::MAX << pieces)).rotate_left(offset >> 3);
        let before = self.noted & bits != 0;
        self.noted |= bits;
        before
    }

    /// A piece of state is known to hold a value.
    pub fn know(&mut self, known: Known) {
        self.note(known.offset, known.size);
        self.known.push(known);
    }

    pub fn get(&mut self, slot: Slot) -> Val {
        let size = storage(slot.width);
        let (lo, hi) = (slot.offset, slot.offset + size);
        if self.region {
            if let Some(whole) = self.whole(slot, size) {
                let v = self.get(whole);
                return self.extract(whole.width, v, (lo - whole.offset) * 8, size * 8);
            }
            self.touch(lo, size, false);
        }
        let mut inside = None;
        let before = if self.note(lo, size) { self.known.len() } else { 0 };
        for k in self.known[..before].iter().rev() {
            if k.offset == lo && k.size == size && self.op(k.val).is_flags() == slot.is_flags {
                return k.val;
            }
            if k.offset <= lo && hi <= k.offset + k.size && !self.op(k.val).is_flags() {
                inside = Some(*k);
            }
        }
        if let (Some(k), false) = (inside, slot.is_flags) {
            let v = self.extract(k.size * 8, k.val, (lo - k.offset) * 8, size * 8);
            self.known.push(Known { offset: lo, size, val: v });
            return v;
        }
        let op = Op::new(Code::Get, container(slot.width)).aux(size as u16).imm(u64::from(lo));
        let bits = match slot.width {
            FLAGS => 16,
            n @ 1..64 => n as u8,
            _ => (size * 8).min(255) as u8,
        };
        let v = self.push_of(op, bits);
        self.known.push(Known { offset: lo, size, val: v });
        v
    }

    /// What a `Put` of this value stores: a scalar in a vector's slot is extended with zeros when it is stored.
    pub fn stored(&self, v: Val) -> Val {
        let op = self.op(v);
        if op.code == Code::ZextV { op.va() } else { v }
    }

    pub fn put(&mut self, slot: Slot, v: Val) {
        let size = storage(slot.width);
        let (lo, hi) = (slot.offset, slot.offset + size);
        if self.region {
            self.touch(lo, size, true);
            let carried = |c: &(u32, u32, bool)| c.0 <= lo && hi <= c.0 + c.1;
            self.astray |= self.loop_head != 0 && !self.ir.carried.iter().any(carried);
        }
        // What is known of overlapping slots: usually nothing, or of this very slot.
        let (mut overlaps, mut same) = (0, None);
        let before = if self.note(lo, size) { self.known.len() } else { 0 };
        for (i, k) in self.known[..before].iter().enumerate() {
            if k.offset < hi && lo < k.offset + k.size {
                overlaps += 1;
                if k.offset == lo && k.size == size {
                    if k.val == v {
                        return;
                    }
                    same = Some(i);
                }
            }
        }
        let known = Known { offset: lo, size, val: v };
        match same {
            Some(i) if overlaps == 1 => self.known[i] = known,
            _ => {
                if overlaps != 0 {
                    self.known.retain(|k| k.offset >= hi || k.offset + k.size <= lo);
                }
                self.known.push(known);
            }
        }
        let op = Op { w: container(slot.width) as u8, ..self.effect(Code::Put) };
        // The container tells the store's kind; a put defines nothing all the same.
        let op = Op { c: u32::from(op.w), w: NO_RESULT, ..op };
        let stored = self.stored(v);
        self.push_of(op.aux(size as u16).a(stored).imm(u64::from(lo)), 0);
    }

    /// Guest state may have changed in any way.
    pub fn forget_state(&mut self) {
        self.known.clear();
        self.clobbered = true;
    }

    /// Drops what operations from index `from` on may have changed.
    pub fn forget_written(&mut self, from: usize) {
        for i in from..self.ir.ops.len() {
            let op = self.ir.ops[i];
            match op.code {
                Code::Put => {
                    let (lo, hi) = (op.imm as u32, op.imm as u32 + u32::from(op.aux));
                    self.known.retain(|k| k.offset >= hi || k.offset + k.size <= lo);
                }
                Code::Call => self.known.clear(),
                _ => {}
            }
        }
    }
}
