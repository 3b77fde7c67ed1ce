//! Recording regions: several blocks in the order in which the guest ran through them, and loops of them.
//!
//! A region has one entry. Where control went on is what the builder follows: [`Builder::follow`] turns the end of a block
//! into a conditional exit (or nothing) and goes on with the next. Values known at the end of one block are known in the
//! next, so a return to an address that a call left in the link register costs nothing at all.
//!
//! A region that ends where it began is recorded twice with [`Builder::begin_loop`] between the copies and
//! [`Builder::end_loop`] at the end; `loops` says what becomes of it. The second copy may have *arms*: where the guest often
//! leaves the path, another path is recorded between [`Builder::begin_arm`] and [`Builder::end_arm`], which ends with a way
//! back to the loop's head or out of the region. So a loop is a tree: whatever way a turn goes, it stays in registers. What
//! the arms write has to be known when the loop begins, so they are shown to [`Builder::survey`] first.

use super::Builder;
use super::arms::Arms;
use super::build::Known;
use super::ir::{ANEW, Code, NO_RESULT, Op, Val};
use crate::emit::{BranchKind, CmpOp, Emit};
use alloc::vec::Vec;

/// Pages besides its first that a region may span.
pub const MAX_PAGES: usize = 3;

/// What a region is, beyond a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionContext {
    /// Addresses in the other pages that the region spans.
    pub pages: [u64; MAX_PAGES],
    pub page_count: u8,
    /// Index into `Runtime::region_keys`, if the region must check that its pages are still mapped as they were.
    pub key: Option<u32>,
    /// It uses windows, if the configuration leaves that to regions.
    pub windows: bool,
}

impl RegionContext {
    #[must_use]
    pub fn pages(&self) -> &[u64] {
        &self.pages[..usize::from(self.page_count)]
    }
}

/// Phis that a loop may have, by register class.
const MAX_GPR_PHIS: usize = 8;
const MAX_XMM_PHIS: usize = 12;
/// Bits of a number that is carried in a larger slot, as 32-bit variables are: what extends it need not be done.
const NARROW: u32 = 32;

const NONE: u32 = NO_RESULT as u32;

/// State as the region under construction uses it.
#[derive(Clone, Copy)]
pub(super) struct Touched {
    pub offset: u32,
    pub size: u32,
    pub accesses: u32,
    pub written: bool,
    /// It is read before it is written.
    pub read_first: bool,
}

/// How a slot is put together from phis at the loop's head.
#[derive(Clone, Copy)]
enum Form {
    Whole(Val),
    /// The low part of a vector with zeros above.
    Low(Val),
    /// The same constant every time.
    Const(Val),
    /// Flags of an operation on two values; `None`: it is the same constant every time.
    Flags(Op, [Option<Val>; 2]),
}

#[derive(Clone, Copy)]
pub(super) struct Carried {
    offset: u32,
    size: u32,
    form: Form,
}

/// An arm of a region that is being recorded.
pub struct Arm {
    arms: Arms,
    rest: Rest,
}

/// How the path goes on that an arm branches off from.
enum Rest {
    /// At the next instruction.
    Next,
    Goto(u64),
    Indirect(Val),
}

impl Builder<'_> {
    /// Notes what state the block recorded so far uses and forgets it otherwise: it will be part of an arm. False if it can't be.
    pub fn survey(&mut self) -> bool {
        let b = self.b_mut();
        let mut surveyed = core::mem::take(&mut b.surveyed);
        for t in &b.touched {
            match surveyed.iter_mut().find(|s| (s.offset, s.size) == (t.offset, t.size)) {
                Some(s) => {
                    s.written |= t.written;
                    s.read_first |= t.read_first;
                }
                None => surveyed.push(*t),
            }
        }
        let usable = !b.clobbered;
        b.start();
        b.surveyed = surveyed;
        usable
    }

    /// Of the block recorded so far, the way to `target` becomes an arm, which is what is recorded until [`Builder::end_arm`].
    /// `fallthrough` is the address behind the block. `None`: it has no such way, or none that can be told apart.
    pub fn begin_arm(&mut self, target: u64, fallthrough: u64) -> Option<Arm> {
        let b = self.b_mut();
        if b.end_block {
            return None;
        }
        let at = b.ir.ops.iter().rposition(|op| !matches!(op.code, Code::Const | Code::Const128 | Code::Nop))?;
        let op = b.ir.ops[at];
        let (condition, rest) = match op.code {
            Code::CondExit if b.has_branch => {
                let taken = op.imm == target;
                if !taken && target != fallthrough {
                    return None;
                }
                b.ir.ops[at] = Op::new(Code::Nop, NONE);
                let condition = if (op.aux == 0) == taken {
                    op.va()
                } else {
                    match b.inverse(op.va()) {
                        Some(condition) => condition,
                        None => b.not1(op.va()),
                    }
                };
                (condition, if taken { Rest::Next } else { Rest::Goto(op.imm) })
            }
            Code::GotoInd if b.ended => {
                b.drop_last();
                let expected = b.int(64, target);
                let condition = self.cmp(CmpOp::Eq, 64, op.va(), expected);
                (condition, Rest::Indirect(op.va()))
            }
            _ => return None,
        };
        let b = self.b_mut();
        b.end_counting();
        let arms = b.open_arms(condition);
        b.base = b.depth;
        (b.ended, b.has_branch) = (false, false);
        Some(Arm { arms, rest })
    }

    /// An arm has left, and the path that it branched off from goes on.
    pub fn end_arm(&mut self, arm: Arm) {
        let Arm { mut arms, rest } = arm;
        let b = self.b_mut();
        b.end_counting();
        b.base -= 1;
        if !b.first_arm_ends(&mut arms, true) {
            b.second_arm_ends(&mut arms, true, false);
        }
        (b.ended, b.end_block, b.has_branch) = (false, false, false);
        match rest {
            Rest::Next => {}
            Rest::Goto(pc) => {
                b.push(Op::new(Code::Goto, NONE).imm(pc));
                b.ended = true;
            }
            Rest::Indirect(target) => {
                b.push(Op::new(Code::GotoInd, NONE).a(target));
                b.ended = true;
            }
        }
    }

    /// The block recorded so far ended at `fallthrough`, and control went on at `next`, which is recorded now. False when
    /// it can't be followed: then the region ends here, by itself.
    pub fn follow(&mut self, next: u64, fallthrough: u64) -> bool {
        let b = self.b_mut();
        if b.end_block {
            return false;
        }
        if b.ended {
            let Some(last) = b.ir.ops.last().copied() else { return false };
            match last.code {
                Code::Goto if last.imm == next && last.aux != ANEW => {
                    b.drop_last();
                    b.ended = false;
                    return true;
                }
                Code::GotoInd => {
                    b.drop_last();
                    b.ended = false;
                    let expected = b.int(64, next);
                    let other = self.cmp(CmpOp::Ne, 64, last.va(), expected);
                    let arrival = usize::from(last.aux).checked_sub(1);
                    let kind = arrival.map_or(BranchKind::Jump, |i| BranchKind::ARRIVALS[i]);
                    let guard = self.branch_on(other, [], |b| b.branch(last.va(), kind).map(|()| []), |_| Ok([]));
                    let b = self.b_mut();
                    b.has_branch = false;
                    return guard.is_ok();
                }
                _ => return false,
            }
        }
        if b.has_branch {
            let exit = b.ir.ops.iter().rposition(|op| !matches!(op.code, Code::Const | Code::Const128 | Code::Nop));
            let Some(exit) = exit.map(|i| &mut b.ir.ops[i]) else { return false };
            if exit.code != Code::CondExit {
                return false;
            }
            b.has_branch = false;
            if next != fallthrough {
                if exit.imm != next {
                    b.has_branch = true;
                    return false;
                }
                exit.imm = fallthrough;
                exit.aux ^= 1;
            }
            return true;
        }
        next == fallthrough
    }

    /// The first turn of a loop has been recorded; what follows is the loop itself.
    pub fn begin_loop(&mut self) {
        let b = self.b_mut();
        debug_assert!(b.depth == 0 && !b.ended);
        let mut touched = core::mem::take(&mut b.touched);
        for s in &b.surveyed {
            match touched.iter_mut().find(|t| (t.offset, t.size) == (s.offset, s.size)) {
                Some(t) => {
                    t.written |= s.written;
                    t.read_first |= s.read_first;
                }
                None => touched.push(Touched { accesses: 0, ..*s }),
            }
        }
        let mut written: Vec<Touched> = touched.iter().copied().filter(|t| t.written).collect();
        written.sort_unstable_by_key(|t| (!t.read_first, core::cmp::Reverse(t.accesses)));
        let overlaps = |t: &Touched| {
            let it =
                touched.iter().filter(|o| o.written && o.offset < t.offset + t.size && t.offset < o.offset + o.size);
            it.count() > 1
        };
        let (mut gprs, mut xmms) = (MAX_GPR_PHIS, MAX_XMM_PHIS);
        // Values of slots that get phis, for flags that were computed from them.
        let mut renamed: Vec<(Val, Val)> = Vec::new();
        let first = b.ir.len();
        b.carried.clear();
        b.ir.carried.clear();
        let mut flags = Vec::new();
        for t in &written {
            b.ir.carried.push((t.offset, t.size, false));
            let Some(v) = b.known_exactly(t.offset, t.size).filter(|_| !overlaps(t) && !b.clobbered) else { continue };
            let op = b.op(v);
            if matches!(op.code, Code::Const | Code::Const128) {
                b.carried.push(Carried { offset: t.offset, size: t.size, form: Form::Const(v) });
                continue;
            }
            if op.is_flags() {
                flags.push((*t, v));
                continue;
            }
            let (source, w) = match op.code {
                Code::ZextV => (op.va(), u32::from(b.op(op.va()).w)),
                _ if t.size == 16 => (v, 128),
                _ => (v, if t.size == 8 { 64 } else { 32 }),
            };
            let (room, most) = if t.size == 16 { (&mut xmms, MAX_XMM_PHIS) } else { (&mut gprs, MAX_GPR_PHIS) };
            // What each turn writes anew is as well off in memory as in a register that the turn could use.
            let reserve = if t.read_first { 0 } else { most / 2 };
            if *room <= reserve {
                continue;
            }
            *room -= 1;
            let phi = b.push(Op::new(Code::LoopPhi, w).a(source));
            if w == 64 && b.sig(source) <= NARROW {
                // So it is at the end of every turn like the first; arms that end otherwise don't close.
                b.ir.sig[phi.index()] = NARROW as u8;
            }
            renamed.push((source, phi));
            let form = if op.code == Code::ZextV { Form::Low(phi) } else { Form::Whole(phi) };
            b.carried.push(Carried { offset: t.offset, size: t.size, form });
        }
        for (t, v) in flags {
            let op = b.op(v);
            let form = match op.code {
                Code::AddFlags | Code::SubFlags | Code::LogicFlags | Code::Eval => {
                    let fp = op.code == Code::Eval;
                    let mut parts = [None; 2];
                    for (part, x) in parts.iter_mut().zip([op.va(), op.vb()]).take(op.operands()) {
                        if b.konst(x).is_none() {
                            let known = renamed.iter().find(|(from, _)| *from == x).map(|(_, phi)| *phi);
                            *part = Some(known.unwrap_or_else(|| {
                                let w = if fp { u32::from(b.op(x).w) } else { 64 };
                                b.push(Op::new(Code::LoopPhi, w).a(x))
                            }));
                        }
                    }
                    Form::Flags(op, parts)
                }
                _ => Form::Whole(b.push(Op::new(Code::LoopPhi, 0).a(v))),
            };
            b.carried.push(Carried { offset: t.offset, size: t.size, form });
        }
        b.loop_first = first;
        b.loop_head = b.ir.len();
        b.push(Op::new(Code::LoopHead, NONE).imm(first as u64));
        if b.clobbered {
            b.known.clear();
        } else {
            b.known.retain(|k| !written.iter().any(|t| t.offset < k.offset + k.size && k.offset < t.offset + t.size));
        }
        for i in 0..b.carried.len() {
            let c = b.carried[i];
            if let Some(entry) = b.ir.carried.iter_mut().find(|e| (e.0, e.1) == (c.offset, c.size)) {
                entry.2 = true;
            }
            let v = match c.form {
                Form::Whole(v) | Form::Const(v) => v,
                Form::Low(phi) => b.pure(Op::new(Code::ZextV, 128).a(phi)),
                Form::Flags(op, parts) => {
                    let operand = |old: u32, part: Option<Val>| part.map_or(old, |v| v.0);
                    b.pure(Op { a: operand(op.a, parts[0]), b: operand(op.b, parts[1]), ..op })
                }
            };
            b.put_raw(c.offset, c.size, v);
        }
    }

    /// The loop itself has been recorded; control goes back to its head, the block's beginning at `pc`.
    pub fn end_loop(mut self, pc: u64) -> Result<super::CompiledBlock, super::CodeFull> {
        self.loop_back(pc);
        self.finish(pc)
    }

    /// The path being recorded goes back to the loop's head, the block's beginning at `pc`.
    pub fn loop_back(&mut self, pc: u64) {
        let b = self.b_mut();
        b.end_counting();
        let op = match b.close_phis() {
            Some(values) => {
                let start = b.ir.args.len();
                b.ir.args.extend(values.iter().map(|v| v.0));
                let op = Op::new(Code::LoopBack, NONE).imm(pc);
                Op { a: start as u32, b: values.len() as u32, c: b.loop_head as u32, ..op }
            }
            None => Op::new(Code::Goto, NONE).imm(pc),
        };
        b.push(op);
        b.ended = true;
    }
}

impl super::build::Build {
    fn drop_last(&mut self) {
        self.ir.ops.pop();
        self.ir.sig.pop();
    }

    fn known_exactly(&self, offset: u32, size: u32) -> Option<Val> {
        self.known.iter().rev().find(|k| k.offset == offset && k.size == size).map(|k| k.val)
    }

    fn put_raw(&mut self, offset: u32, size: u32, v: Val) {
        let w = self.op(v);
        let w = if w.is_flags() { 0 } else { u32::from(w.w) };
        let op = Op { c: w, ..self.effect(Code::Put) };
        let stored = self.stored(v);
        self.push(op.aux(size as u16).a(stored).imm(u64::from(offset)));
        self.know(Known { offset, size, val: v });
    }

    /// Notes an access to state, while a region is recorded.
    pub fn touch(&mut self, offset: u32, size: u32, written: bool) {
        match self.touched.iter_mut().find(|t| t.offset == offset && t.size == size) {
            Some(t) => {
                t.accesses += 1;
                t.written |= written;
            }
            None => self.touched.push(Touched { offset, size, accesses: 1, written, read_first: !written }),
        }
    }

    /// The value of every phi at the end of the turn. `None` when the end is not like the beginning, which happens when more is
    /// known there, or where an arm leaves other flags behind, or a number of more bits.
    fn close_phis(&mut self) -> Option<Vec<Val>> {
        let mut values = alloc::vec![Val::NONE; self.loop_head - self.loop_first];
        for i in 0..self.carried.len() {
            let c = self.carried[i];
            let v = self.known_exactly(c.offset, c.size)?;
            let op = self.op(v);
            let mut close = |phi: Val, v: Val| {
                if self.sig(phi) == NARROW && self.sig(v) > NARROW {
                    return false;
                }
                let value = &mut values[phi.index() - self.loop_first];
                if *value == Val::NONE {
                    *value = v;
                }
                *value == v
            };
            let ok = match c.form {
                Form::Const(old) => old == v,
                Form::Whole(phi) => op.is_flags() == self.op(phi).is_flags() && close(phi, v),
                Form::Low(phi) => op.code == Code::ZextV && self.op(op.va()).w == self.op(phi).w && close(phi, op.va()),
                Form::Flags(old, parts) => {
                    let like = (op.code, op.w, op.aux, op.imm) == (old.code, old.w, old.aux, old.imm);
                    let each = parts.into_iter().zip([(old.a, op.a), (old.b, op.b)]);
                    let count = old.operands();
                    like && each.take(count).all(|(part, (old, new))| match part {
                        Some(phi) => close(phi, Val(new)),
                        None => old == new,
                    })
                }
            };
            if !ok {
                return None;
            }
        }
        for (i, v) in values.iter().enumerate() {
            let narrow = *v != Val::NONE && self.op(*v).w < self.ir.ops[self.loop_first + i].w;
            self.ir.ops[self.loop_first + i].aux |= u16::from(narrow);
        }
        (!values.contains(&Val::NONE)).then_some(values)
    }
}
