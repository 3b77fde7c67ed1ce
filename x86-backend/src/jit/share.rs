//! Accesses to one place share the way there: structures, stack frames, unrolled loops.
//!
//! In a region, accesses at constant distances from one address, with nothing between them that could change the guest's
//! mappings, form a *group*. [`Code::Reach`] looks once whether all bytes of the group lie in a page that the software TLB has, or in the
//! window that this place is aimed at; its value is what the accesses add to their guest addresses, or 0. An access of the
//! group finds 0 with one comparison, and then does out of line what it would have done by itself (`stubs`).
//!
//! [`Reach`](Code::Reach) stands before the group's first access, in a place that the builder left for it.

use super::ir::{Code, Ir, NO_RESULT, Op, Val};
use super::pairs::parts;
use crate::emit::Access;
use alloc::vec::Vec;

/// Bytes that a group may extend over: the more, the more often it lies across a page's end.
const EXTENT: i64 = 1024;
/// The same where windows are looked at first: there is nothing for as much behind a window as it is large. (An [`Extent`] has room for
/// so much.)
const EXTENT_IN_WINDOW: i64 = 1 << 15;

/// Accesses that may share their way.
struct Group {
    /// `None`: the addresses are constants.
    base: Option<Val>,
    /// The address that offsets count from, if they are constants.
    origin: u64,
    unprivileged: bool,
    /// How many arms are open around the first access.
    depth: usize,
    /// The first and the last byte, as offsets.
    low: i64,
    high: i64,
    members: Vec<usize>,
}

/// What a [`Code::Reach`] covers: from `low`, relative to its operand, `extent` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub low: i32,
    pub extent: i32,
    pub read: bool,
    pub write: bool,
}

impl Extent {
    fn pack(self) -> u64 {
        u64::from(self.low as u32)
            | (self.extent as u64) << 32
            | u64::from(self.read) << 62
            | u64::from(self.write) << 63
    }
    pub fn of(op: &Op) -> Self {
        let bit = |n: u32| op.imm >> n & 1 != 0;
        Self { low: op.imm as u32 as i32, extent: (op.imm >> 32) as i32 & 0xffff, read: bit(62), write: bit(63) }
    }
}

fn bytes(op: &Op) -> i64 {
    let count = if matches!(op.code, Code::LoadPair | Code::StorePair) { 2 } else { 1 };
    (op.imm & 255) as i64 * count
}

fn plain(op: &Op) -> bool {
    let acc = Access::from_bits_truncate(op.aux);
    (Access::UNPRIV | Access::STACK).contains(acc)
}

/// Finds groups and makes them share.
pub(super) fn share_reach(ir: &mut Ir, through_windows: bool) {
    let most = if through_windows { EXTENT_IN_WINDOW } else { EXTENT };
    let mut groups: Vec<Group> = Vec::new();
    let mut done: Vec<Group> = Vec::new();
    let mut depth = 0;
    for i in 0..ir.len() {
        let op = ir.ops[i];
        match op.code {
            Code::If => depth += 1,
            // What an arm looked up nobody else may rely on.
            Code::Else => done.extend(groups.extract_if(.., |g| g.depth >= depth)),
            Code::EndIf => {
                done.extend(groups.extract_if(.., |g| g.depth >= depth));
                depth -= 1;
            }
            Code::Call | Code::LoopHead => done.append(&mut groups),
            Code::Load | Code::Store | Code::LoadPair | Code::StorePair if plain(&op) => {
                join(ir, &mut groups, i, depth, most)
            }
            _ => {}
        }
    }
    done.append(&mut groups);
    for group in done.iter().filter(|group| group.members.len() > 1) {
        apply(ir, group);
    }
}

/// Puts access `i` into a group of at most that extent, perhaps one of its own.
fn join(ir: &Ir, groups: &mut Vec<Group>, i: usize, depth: usize, most: i64) {
    let op = ir.ops[i];
    let (base, offset) = parts(ir, op.va());
    let base = (base != Val::NONE).then_some(base);
    let unprivileged = Access::from_bits_truncate(op.aux).contains(Access::UNPRIV);
    let store = matches!(op.code, Code::Store | Code::StorePair);
    for group in groups.iter_mut() {
        if (group.base, group.unprivileged) != (base, unprivileged) || (store && group.depth != depth) {
            continue;
        }
        let at = offset.wrapping_sub(group.origin) as i64;
        let (low, high) = (group.low.min(at), group.high.max(at.wrapping_add(bytes(&op) - 1)));
        if at.unsigned_abs() < 1 << 30 && high - low < most {
            (group.low, group.high) = (low, high);
            group.members.push(i);
            return;
        }
    }
    if ir.ops[i - 1].code != Code::Nop {
        return;
    }
    let origin = if base.is_some() { 0 } else { offset };
    let at = offset.wrapping_sub(origin) as i64;
    if at.unsigned_abs() < 1 << 30 {
        let high = at + bytes(&op) - 1;
        groups.push(Group { base, origin, unprivileged, depth, low: at, high, members: alloc::vec![i] });
    }
}

fn apply(ir: &mut Ir, group: &Group) {
    let first = group.members[0];
    let base = group.base.unwrap_or(ir.ops[first].va());
    let reach = Val(first as u32 - 1);
    let is_store = |i: &usize| matches!(ir.ops[*i].code, Code::Store | Code::StorePair);
    let (write, read) = (group.members.iter().any(is_store), !group.members.iter().all(is_store));
    let extent = Extent { low: group.low as i32, extent: (group.high - group.low + 1) as i32, read, write };
    let aux = ir.ops[first].aux;
    ir.ops[reach.index()] = Op::new(Code::Reach, 64).a(base).aux(aux).imm(extent.pack());
    for &i in &group.members {
        let (_, offset) = parts(ir, ir.ops[i].va());
        let at = offset.wrapping_sub(group.origin) as i32;
        ir.ops[i].a = base.0;
        ir.ops[i].share(reach, at);
    }
}

impl Op {
    /// An access goes on at `offset` from its operand, the way that `reach` has found.
    fn share(&mut self, reach: Val, offset: i32) {
        self.imm = self.imm & 255 | u64::from(reach.0 + 1) << 40 | u64::from(offset as u32) << 8;
    }

    /// Of an access that shares its way: the value of [`Code::Reach`] and the offset from the operand.
    pub(super) fn shared(&self) -> Option<(Val, i32)> {
        let access = matches!(self.code, Code::Load | Code::Store | Code::LoadPair | Code::StorePair);
        let reach = (self.imm >> 40) as u32;
        (access && reach != 0).then(|| (Val(reach - 1), (self.imm >> 8) as u32 as i32))
    }

    /// A place for [`Code::Reach`].
    pub(super) const fn room() -> Self {
        Self::new(Code::Nop, NO_RESULT as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(ir: &mut Ir, code: Code, base: u32, offset: u64) -> usize {
        let mut push = |op: Op| {
            ir.ops.push(op);
            Val(ir.ops.len() as u32 - 1)
        };
        let k = push(Op::new(Code::Const, 64).imm(offset));
        let va = push(Op::new(Code::Add, 64).ab(Val(base), k));
        push(Op::room());
        let w = if code == Code::Load { 64 } else { u32::from(NO_RESULT) };
        push(Op::new(code, w).ab(va, Val(base)).imm(8)).index()
    }

    fn start() -> Ir {
        let mut ir = Ir::default();
        ir.ops.push(Op::new(Code::Get, 64));
        ir
    }

    #[test]
    fn accesses_off_one_base_share_unless_a_call_lies_between() {
        let mut ir = start();
        let a = access(&mut ir, Code::Load, 0, 16);
        let b = access(&mut ir, Code::Store, 0, 8);
        let far = access(&mut ir, Code::Load, 0, 4096);
        ir.ops.push(Op::new(Code::Call, u32::from(NO_RESULT)));
        let c = access(&mut ir, Code::Load, 0, 16);
        let d = access(&mut ir, Code::Load, 0, 16);
        share_reach(&mut ir, false);
        assert_eq!(ir.ops[a].shared(), Some((Val(a as u32 - 1), 16)));
        assert_eq!(ir.ops[b].shared(), Some((Val(a as u32 - 1), 8)));
        assert_eq!(Extent::of(&ir.ops[a - 1]), Extent { low: 8, extent: 16, read: true, write: true });
        assert_eq!(ir.ops[far].shared(), None);
        assert_eq!([c, d].map(|i| ir.ops[i].shared()), [Some((Val(c as u32 - 1), 16)); 2]);
        assert_eq!(Extent::of(&ir.ops[c - 1]), Extent { low: 16, extent: 8, read: true, write: false });
    }

    #[test]
    fn accesses_further_apart_share_a_window() {
        let accesses = |ir: &mut Ir| [0, 4096, 40_000].map(|offset| access(ir, Code::Load, 0, offset));
        for (windows, shared) in [(true, [true, true, false]), (false, [false; 3])] {
            let mut ir = start();
            let all = accesses(&mut ir);
            share_reach(&mut ir, windows);
            assert_eq!(all.map(|i| ir.ops[i].shared().is_some()), shared);
        }
    }

    #[test]
    fn what_an_arm_looked_up_is_its_own() {
        let mut ir = start();
        ir.ops.push(Op::new(Code::If, u32::from(NO_RESULT)).a(Val(0)));
        let a = access(&mut ir, Code::Load, 0, 0);
        ir.ops.push(Op::new(Code::Else, u32::from(NO_RESULT)));
        let b = access(&mut ir, Code::Load, 0, 0);
        ir.ops.push(Op::new(Code::EndIf, u32::from(NO_RESULT)));
        let c = access(&mut ir, Code::Load, 0, 0);
        share_reach(&mut ir, false);
        assert_eq!([a, b, c].map(|i| ir.ops[i].shared()), [None; 3]);
    }
}
