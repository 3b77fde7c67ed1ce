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
//! Where alignment is checked, the low address bits take part in either check.

use super::asm::{Alu, Cc, Fixup, Gpr, Mem, RBP, Sh};
use super::features::HostFeatures;
use super::regs::Gen;
use super::stubs::{Operands, Slow};
use crate::emit::Access;
use crate::runtime::{MemDesc, PATIENCE, Runtime, SPAN_BITS, SPANS, Span, TLB_ENTRIES, TlbEntry};
use alloc::vec::Vec;
use core::mem::offset_of;

const ENTRY: usize = size_of::<TlbEntry>();
const ENTRY_BITS: u32 = ENTRY.trailing_zeros();

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
    pub probe: Probe,
    pub operands: Operands,
    pub second: Option<Operands>,
}

/// Up to three ways out.
pub(super) type Misses = [Option<Fixup>; 3];

/// An access through a window, in buffer offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Site {
    /// The instructions that may fault. The displacement of the span's addend ends where they start.
    pub start: u32,
    pub end: u32,
    /// Where a fault goes on.
    pub slow: u32,
    /// The displacement of the span's key.
    pub check: u32,
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
    fn tlb(&self, desc: MemDesc, t: Gpr, field: usize) -> Mem {
        let table = offset_of!(Runtime, tlb) + desc.mmu_mode() * TLB_ENTRIES * ENTRY + field;
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
        let shift = crate::runtime::PAGE_BITS - ENTRY_BITS;
        if self.has(HostFeatures::BMI2) {
            self.asm.rorx(true, p.t, a.va, shift as u8);
        } else {
            self.asm.mov_rr(true, p.t, a.va);
            self.asm.shift_i(Sh::Shr, true, p.t, shift as u8);
        }
        self.asm.alu_i(Alu::And, false, p.t, ((TLB_ENTRIES - 1) << ENTRY_BITS) as i32);
        // The address whose page must be the entry's: of the last byte, or of the last access when each is aligned.
        let (last, low) = if self.strict(a.desc) { ((count - 1) * size, size - 1) } else { (count * size - 1, 0) };
        if last == 0 {
            self.asm.mov_rr(true, p.u, a.va);
        } else {
            self.asm.lea(true, p.u, Mem::new(a.va, last));
        }
        self.asm.alu_i(Alu::And, true, p.u, -4096 | low);
        let mut misses = [None; 3];
        let (read, write) = (offset_of!(TlbEntry, read), offset_of!(TlbEntry, write));
        let fields: &[usize] = match a.kind {
            Slow::Load => &[read],
            Slow::Store => &[write],
            Slow::Atomic | Slow::Cas => &[write, read],
        };
        for (miss, field) in misses.iter_mut().zip(fields) {
            let m = self.tlb(a.desc, p.t, *field);
            self.asm.alu(Alu::Cmp, true, p.u, m);
            *miss = Some(self.asm.jcc(Cc::NE));
        }
        let m = self.tlb(a.desc, p.t, offset_of!(TlbEntry, addend));
        self.asm.load(8, p.t, m);
        misses
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
    pub fn window(&mut self, a: &MemAccess) -> (Misses, Site) {
        let mut misses = [None; 3];
        let size = a.desc.size() as i32;
        if self.strict(a.desc) && size > 1 {
            self.asm.test_ri(false, a.va, size - 1);
            misses[1] = Some(self.asm.jcc(Cc::NE));
        }
        let p = a.probe;
        let (key, addend) = self.span_fields(a.desc.mmu_mode(), SPANS);
        self.asm.mov_rr(true, p.t, a.va);
        self.asm.shift_i(Sh::Shr, true, p.t, SPAN_BITS as u8);
        self.asm.alu(Alu::Cmp, true, p.t, Mem::new(RBP, key));
        let check = self.asm.pos() as u32 - 4;
        misses[0] = Some(self.asm.jcc(Cc::NE));
        self.asm.load(8, p.t, Mem::new(RBP, addend));
        debug_assert!(i8::try_from(key).is_err() && i8::try_from(addend).is_err(), "displacements can be patched");
        (misses, Site { start: self.asm.pos() as u32, check, ..Site::default() })
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
