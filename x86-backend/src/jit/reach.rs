//! How translated code reaches guest memory: through the host's MMU, through the software TLB, or by the engine.
//!
//! Every access is one of these ways, and falls back to the next:
//!
//! * **Window** (only where [`super::Windows`] says so): the host's page tables map a whole span of guest addresses,
//!   so that the access itself is all there is to translation. Beside it, not before it, stands a check that the address
//!   lies in the span that this place of the code is aimed at ([`crate::runtime::Span`], in the vCPU block: a changed
//!   entry changes all code at once). What the page tables don't permit faults, and goes on at the slow path: [`Site`].
//! * **Software TLB**: a probe compares the page of the access's last byte with the entry's tag, so an access that crosses
//!   a page misses. Without windows it stands in the block; with them it is out of line, for places that are aimed at
//!   another span.
//! * **Slow path** (`stubs`): the engine makes the access, precisely as of this instruction.
//!
//! Where alignment is checked, the low address bits take part in either check. Accesses around one address may share the first
//! two steps: `share`.

use super::Windows;
use super::asm::{Alu, Cc, Fixup, Gpr, Mem, RBP, RSP, Sh, TlbProbe};
use super::features::HostFeatures;
use super::ir::{Op, Val};
use super::regs::{GPRS, Gen, frame};
use super::share::Extent;
use super::stubs::{Data, Operands, Slow};
use crate::emit::Access;
use crate::runtime::{MemDesc, PATIENCE, Runtime, SPAN_BITS, SPANS, Span, TLB_ENTRIES, TlbEntry};
use alloc::vec::Vec;
use core::mem::offset_of;

const ENTRY: usize = size_of::<TlbEntry>();
pub(super) const ENTRY_BITS: u32 = ENTRY.trailing_zeros();

/// The two registers an access has to itself: the entry's byte offset and then the addend; the tag.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    pub t: Gpr,
    pub u: Gpr,
}

/// One access, or two to adjacent places that are checked together.
#[derive(Clone, Copy)]
pub(super) struct MemAccess {
    pub kind: Slow,
    pub desc: MemDesc,
    pub va: Gpr,
    /// From `va` to the place.
    pub offset: i32,
    pub probe: Probe,
    /// The probe's registers both hold what [`super::ir::Code::Reach`] found.
    pub shared: bool,
    pub operands: Operands,
    pub second: Option<Operands>,
}

/// Up to three ways out.
pub(super) type Misses = [Option<Fixup>; 3];

/// An access through a window, in buffer offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Site {
    /// The instructions that may fault.
    pub start: u32,
    pub end: u32,
    /// Where a fault goes on.
    pub slow: u32,
    /// The displacements of the span's key and addend, perhaps shared with other sites.
    pub aim: Aim,
}

/// Where code says which entry of [`Runtime::spans`] it is aimed at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aim {
    pub key: u32,
    pub addend: u32,
}

/// Out of line, for a [`super::ir::Code::Reach`] that finds nothing.
#[derive(Clone, Copy)]
pub(super) struct ReachStub {
    addend: Gpr,
    misses: Misses,
    back: usize,
    window: Option<ReachWindow>,
    /// The stub of the access that stands right at `back`, and does not look itself.
    first: Option<usize>,
}

/// A look at a window, where software TLB may serve instead.
#[derive(Clone, Copy)]
struct ReachWindow {
    base: Gpr,
    mode: usize,
    extent: Extent,
    /// The site whose patience this uses up.
    site: usize,
}

/// All sites in the code buffer, in the order of their addresses.
#[derive(Default)]
pub(super) struct Sites(pub Vec<Site>);

impl Sites {
    /// The number of the site with the instruction at `at`.
    pub fn find(&self, at: u32) -> Option<usize> {
        let after = self.0.partition_point(|site| site.start <= at);
        let index = after.checked_sub(1)?;
        (at < self.0[index].end).then_some(index)
    }
}

impl Gen {
    fn tlb(&self, mode: usize, t: Gpr, field: usize) -> Mem {
        let table = offset_of!(Runtime, tlb) + mode * TLB_ENTRIES * ENTRY + field;
        Mem::indexed(RBP, t, 0, self.rt(table).disp)
    }

    /// Whether an unaligned access has to leave for the slow path.
    fn strict(&self, desc: MemDesc) -> bool {
        self.shared.strict_align || desc.access().intersects(Access::ALIGNED | Access::ATOMIC | Access::EXCLUSIVE)
    }

    /// Emits the software TLB's probe; afterwards `t` holds what to add to the address.
    pub fn tlb_probe(&mut self, a: &MemAccess) -> Misses {
        let (p, size) = (a.probe, a.desc.size() as i32);
        let count = 1 + i32::from(a.second.is_some());
        // The address whose page must be the entry's: of the last byte, or of the last access when each is aligned.
        let (last, low) = if self.strict(a.desc) { ((count - 1) * size, size - 1) } else { (count * size - 1, 0) };
        let table = self.rt(offset_of!(Runtime, tlb) + a.desc.mmu_mode() * TLB_ENTRIES * ENTRY).disp;
        let (read, write) = (offset_of!(TlbEntry, read) as i32 + table, offset_of!(TlbEntry, write) as i32 + table);
        let tags = match a.kind {
            Slow::Load => [read, read],
            Slow::Store => [write, write],
            Slow::Atomic | Slow::Cas => [write, read],
        };
        let both = matches!(a.kind, Slow::Atomic | Slow::Cas);
        self.asm.tlb_probe(&TlbProbe {
            va: a.va,
            t: p.t,
            u: p.u,
            rorx: self.has(HostFeatures::BMI2),
            shift: (crate::runtime::PAGE_BITS - ENTRY_BITS) as u8,
            mask: ((TLB_ENTRIES - 1) << ENTRY_BITS) as u32,
            last: last as u8,
            tag_bits: -4096 | low,
            tags: &tags[..1 + usize::from(both)],
            addend: offset_of!(TlbEntry, addend) as i32 + table,
        })
    }

    /// Byte offset of an entry of [`Runtime::spans`].
    fn span(mode: usize, index: usize) -> usize {
        offset_of!(Runtime, spans) + (mode * (SPANS + 1) + index) * size_of::<Span>()
    }

    /// Displacements, from the pinned register, of the key and the addend of an entry.
    pub fn span_fields(&self, mode: usize, index: usize) -> (i32, i32) {
        let entry = Self::span(mode, index);
        let key = self.rt(entry + offset_of!(Span, key)).disp;
        let addend = self.rt(entry + offset_of!(Span, addend)).disp;
        (key, addend)
    }

    /// Emits the check of a window; afterwards `t` holds what to add to the address. A new site is aimed at no span.
    #[inline(never)]
    pub fn window(&mut self, a: &MemAccess) -> (Misses, Site) {
        let mut misses = [None; 3];
        let size = a.desc.size() as i32;
        if self.strict(a.desc) && size > 1 {
            self.asm.test_ri(false, a.va, size - 1);
            misses[1] = Some(self.asm.jcc(Cc::NE));
        }
        let (miss, aim) = self.span_check(a.probe.t, a.va, 0, a.desc.mmu_mode());
        misses[0] = Some(miss);
        (misses, Site { start: self.asm.pos() as u32, aim, ..Site::default() })
    }

    /// Looks whether `va + low` lies in a span; afterwards `t` holds its addend. The new code is aimed at no span.
    fn span_check(&mut self, t: Gpr, va: Gpr, low: i32, mode: usize) -> (Fixup, Aim) {
        let (key, addend) = self.span_fields(mode, SPANS);
        self.sum(t, va, low);
        self.asm.shift_i(Sh::Shr, true, t, SPAN_BITS as u8);
        self.asm.alu(Alu::Cmp, true, t, Mem::new(RBP, key));
        let at = self.asm.pos() as u32 - 4;
        let miss = self.asm.jcc(Cc::NE);
        self.asm.load(8, t, Mem::new(RBP, addend));
        debug_assert!(i8::try_from(key).is_err() && i8::try_from(addend).is_err(), "displacements can be patched");
        (miss, Aim { key: at, addend: self.asm.pos() as u32 - 4 })
    }

    /// `d = r + k`
    fn sum(&mut self, d: Gpr, r: Gpr, k: i32) {
        if k == 0 {
            self.asm.mov_rr(true, d, r);
        } else {
            self.asm.lea(true, d, Mem::new(r, k));
        }
    }

    /// Whether the code being made reaches memory through windows.
    pub fn through_windows(&self) -> bool {
        match self.shared.windows {
            Windows::Never => false,
            Windows::Regions => self.shared.region.is_some_and(|region| region.windows),
            Windows::Always => true,
        }
    }

    /// The way to all accesses of a group.
    #[inline(never)]
    pub fn lower_reach(&mut self, v: Val, op: Op) {
        let extent = Extent::of(&op);
        let mode = self.mode(Access::from_bits_truncate(op.aux)) as usize;
        let base = self.use_gpr(op.va());
        let mut misses = [None; 3];
        let (t, window);
        if self.through_windows() {
            t = self.def_gpr(v);
            let (miss, aim) = self.span_check(t, base, extent.low, mode);
            misses[0] = Some(miss);
            self.aims.push((v.0, aim));
            window = Some(ReachWindow { base, mode, extent, site: self.sites.0.len() });
        } else {
            let last = self.scratch();
            t = self.def_gpr(v);
            misses = self.reach_tlb(base, mode, extent, t, last);
            window = None;
        }
        self.reach_stubs.push(ReachStub { addend: t, misses, back: self.asm.pos(), window, first: None });
        self.end_op(v);
        self.last_reach = v;
    }

    /// Emits the software TLB's probe for all of an extent; afterwards `t` holds what to add to addresses.
    fn reach_tlb(&mut self, base: Gpr, mode: usize, extent: Extent, t: Gpr, last: Gpr) -> Misses {
        let Extent { low, extent, read, write } = extent;
        let shift = crate::runtime::PAGE_BITS - ENTRY_BITS;
        if low == 0 && self.has(HostFeatures::BMI2) {
            self.asm.rorx(true, t, base, shift as u8);
        } else {
            self.sum(t, base, low);
            self.asm.shift_i(Sh::Shr, true, t, shift as u8);
        }
        self.asm.alu_i(Alu::And, false, t, ((TLB_ENTRIES - 1) << ENTRY_BITS) as i32);
        self.sum(last, base, low + extent - 1);
        self.asm.alu_i(Alu::And, true, last, -4096);
        let mut misses = [None; 3];
        let fields = [(read, offset_of!(TlbEntry, read)), (write, offset_of!(TlbEntry, write))];
        for (miss, (_, field)) in misses.iter_mut().zip(fields.into_iter().filter(|(wanted, _)| *wanted)) {
            let m = self.tlb(mode, t, field);
            self.asm.alu(Alu::Cmp, true, last, m);
            *miss = Some(self.asm.jcc(Cc::NE));
        }
        let m = self.tlb(mode, t, offset_of!(TlbEntry, addend));
        self.asm.load(8, t, m);
        misses
    }

    pub fn emit_reach_stubs(&mut self) {
        for i in 0..self.reach_stubs.len() {
            let ReachStub { addend, misses, back, window, first } = self.reach_stubs[i];
            for miss in misses.into_iter().flatten() {
                self.asm.bind(miss);
            }
            if let Some(window) = window {
                self.reach_otherwise(window, addend, back);
            }
            self.asm.mov_ri(addend, 0);
            match first {
                Some(stub) => {
                    let away = self.asm.jmp();
                    self.add_miss(stub, away);
                }
                None => self.asm.jmp_to(back),
            }
        }
    }

    /// Out of line, where the window aimed at isn't the right one: the software TLB serves the whole group, as long as there is patience.
    fn reach_otherwise(&mut self, window: ReachWindow, addend: Gpr, back: usize) {
        let ReachWindow { base, mode, extent, site } = window;
        let Some(last) = GPRS.into_iter().find(|r| *r != base && *r != addend) else { return };
        let kept = Mem::new(RSP, frame::TEMPS);
        let patience = self.patience(site);
        self.asm.alu_i_mem(Alu::Sub, false, patience, 1);
        let impatient = self.asm.jcc(Cc::S);
        self.asm.store(8, kept, last);
        let misses = self.reach_tlb(base, mode, extent, addend, last);
        self.asm.load(8, last, kept);
        self.asm.jmp_to(back);
        for miss in misses.into_iter().flatten() {
            self.asm.bind(miss);
        }
        self.asm.load(8, last, kept);
        self.asm.bind(impatient);
    }

    /// Emits the look at what [`super::ir::Code::Reach`] found, for the access whose stub comes next. Where nothing stands between
    /// the two, who gets here has found something: what finds nothing goes to the access's stub.
    #[inline(never)]
    pub fn shared_check(&mut self, a: &MemAccess, reach: Val) -> (Misses, Option<Site>) {
        let (here, stub) = (self.asm.pos(), self.next_stub());
        let mut misses = [None; 3];
        match self.reach_stubs.last_mut() {
            Some(last) if self.last_reach == reach && last.back == here => last.first = Some(stub),
            _ => {
                let t = a.probe.t;
                self.asm.test_rr(true, t, t);
                misses[0] = Some(self.asm.jcc(Cc::E));
            }
        }
        let aim = self.aims.iter().find(|(v, _)| *v == reach.0).map(|(_, aim)| *aim);
        (misses, aim.map(|aim| Site { start: self.asm.pos() as u32, aim, ..Site::default() }))
    }

    /// Out of line, an access that shares its way and has none: through the software TLB by itself. Behind it, where the
    /// engine makes the access, all registers are as before.
    #[inline(never)]
    pub fn lone_access(&mut self, a: &MemAccess, back: usize) {
        let none = a.probe.t;
        let taken = [a.operands.data[0], a.operands.data[1], a.operands.result];
        let second = a.second.map_or([Data::None; 3], |s| [s.data[0], s.data[1], s.result]);
        let used = |r: Gpr| {
            r == a.va || r == none || taken.iter().chain(&second).any(|d| matches!(d, Data::Gpr(g) if *g == r))
        };
        let mut free = GPRS.into_iter().filter(|r| !used(*r));
        let (Some(va), Some(t)) = (free.next(), free.next()) else {
            self.failed = true;
            return;
        };
        let kept = [(va, Mem::new(RSP, frame::TEMPS)), (t, Mem::new(RSP, frame::TEMPS + 8))];
        for (r, m) in kept {
            self.asm.store(8, m, r);
        }
        self.sum(va, a.va, a.offset);
        let own = MemAccess { va, offset: 0, probe: Probe { t, u: none }, shared: false, ..*a };
        let misses = self.tlb_probe(&own);
        self.emit_access(&own);
        for end in [Some(back), None] {
            if end.is_none() {
                for miss in misses.into_iter().flatten() {
                    self.asm.bind(miss);
                }
            }
            for (r, m) in kept {
                self.asm.load(8, r, m);
            }
            self.asm.mov_ri(none, 0);
            if let Some(back) = end {
                self.asm.jmp_to(back);
            }
        }
    }

    /// Where a site's misses are counted.
    pub fn patience(&self, site: usize) -> Mem {
        self.rt(offset_of!(Runtime, patience) + site % PATIENCE * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_found_by_each_of_its_instructions() {
        let site = |start, end| Site { start, end, ..Site::default() };
        let sites = Sites(alloc::vec![site(10, 14), site(20, 21), site(21, 30)]);
        assert_eq!([9, 10, 13, 14, 19].map(|at| sites.find(at)), [None, Some(0), Some(0), None, None]);
        assert_eq!([20, 21, 29, 30].map(|at| sites.find(at)), [Some(1), Some(2), Some(2), None]);
    }
}
