//! Guest RAM as the engine sees it, which of its pages hold translated code, and which the software TLB lets be written.
//!
//! Every region is mapped for the engine's whole life; [`Ram::new`] is the one place where the launcher's word for that is taken.

use crate::shared::RamRegion;
use alloc::vec;
use alloc::vec::Vec;
use x86_backend::runtime::PAGE_BITS;

/// Size of the pages code is tracked in.
pub const PAGE: u64 = 1 << PAGE_BITS;

/// At which indices of the software TLB, of any MMU mode, an entry may permit writes to a page: at most two, or anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writable(u32);

impl Writable {
    pub const ANYWHERE: Self = Self(u32::MAX);
    const FIELD: u32 = 16;

    /// One more than each index; 0: none.
    fn fields(self) -> [u32; 2] {
        [self.0 & 0xffff, self.0 >> Self::FIELD]
    }

    /// `None`: anywhere.
    pub fn indices(self) -> Option<impl Iterator<Item = usize>> {
        let some = self.fields().into_iter().filter(|field| *field != 0).map(|field| field as usize - 1);
        (self != Self::ANYWHERE).then_some(some)
    }

    /// At `index`, too.
    #[must_use]
    pub fn and(self, index: usize) -> Self {
        let field = index as u32 + 1;
        match self.fields() {
            fields if field > 0xffff || self == Self::ANYWHERE || !fields.contains(&0) && !fields.contains(&field) => {
                Self::ANYWHERE
            }
            fields if fields.contains(&field) => self,
            [0, _] => Self(self.0 | field),
            _ => Self(self.0 | field << Self::FIELD),
        }
    }
}

struct Region {
    base: u64,
    size: u64,
    host: *mut u8,
    /// VM-physical address.
    frame: u64,
    /// One bit per page: holds translated code.
    code: Vec<u64>,
    /// By page.
    writable: Vec<Writable>,
}

/// All RAM of the machine.
pub struct Ram {
    regions: Vec<Region>,
}

impl Ram {
    /// # Safety
    /// Each region's `size` bytes at `engine_addr` are readable and writable as long as the value lives, and nothing but
    /// guest data is kept there.
    #[must_use]
    pub unsafe fn new(regions: &[RamRegion]) -> Self {
        let regions = regions
            .iter()
            .filter(|r| r.size != 0)
            .map(|r| Region {
                base: r.guest_phys,
                size: r.size,
                host: r.engine_addr as *mut u8,
                frame: r.vm_phys,
                code: vec![0; (r.size / PAGE).div_ceil(64) as usize],
                writable: vec![Writable::default(); r.size.div_ceil(PAGE) as usize],
            })
            .collect();
        Self { regions }
    }

    fn region(&self, phys: u64, len: u64) -> Option<(&Region, u64)> {
        self.regions.iter().find_map(|r| {
            let offset = phys.checked_sub(r.base)?;
            (offset < r.size && len <= r.size - offset).then_some((r, offset))
        })
    }

    /// Host pointer to `len` bytes at `phys`, if all of it is RAM of one region.
    #[must_use]
    pub fn pointer(&self, phys: u64, len: u64) -> Option<*mut u8> {
        self.region(phys, len).map(|(r, offset)| r.host.wrapping_add(offset as usize))
    }

    /// VM-physical address of the byte at `phys`, if it is RAM.
    #[must_use]
    pub fn frame(&self, phys: u64) -> Option<u64> {
        self.region(phys, 1).map(|(r, offset)| r.frame + offset)
    }

    /// Whether any page of `phys..phys + len` (of one region) holds translated code; both are multiples of 64 pages.
    #[must_use]
    pub fn has_code_in(&self, phys: u64, len: u64) -> bool {
        self.region(phys, len).is_some_and(|(r, offset)| {
            let word = (offset / PAGE / 64) as usize;
            r.code[word..word + (len / PAGE / 64) as usize].iter().any(|bits| *bits != 0)
        })
    }

    fn page_bit(&self, phys: u64) -> Option<(usize, usize, u64)> {
        self.regions.iter().enumerate().find_map(|(i, r)| {
            let offset = phys.checked_sub(r.base)?;
            let page = offset / PAGE;
            (offset < r.size).then_some((i, (page / 64) as usize, 1 << (page % 64)))
        })
    }

    /// Whether the page with `phys` holds translated code.
    #[must_use]
    pub fn has_code(&self, phys: u64) -> bool {
        self.page_bit(phys).is_some_and(|(r, word, bit)| self.regions[r].code[word] & bit != 0)
    }

    /// Records whether the page holds translated code; gives what was recorded before.
    pub fn set_code(&mut self, phys: u64, holds: bool) -> bool {
        let Some((r, word, bit)) = self.page_bit(phys) else { return false };
        let word = &mut self.regions[r].code[word];
        let before = *word & bit != 0;
        *word = if holds { *word | bit } else { *word & !bit };
        before
    }

    /// Where entries of the software TLB may permit writes to the page.
    pub fn writable(&mut self, phys: u64) -> Option<&mut Writable> {
        self.regions.iter_mut().find_map(|r| r.writable.get_mut((phys.checked_sub(r.base)? / PAGE) as usize))
    }

    /// No page holds code any more.
    pub fn clear_code(&mut self) {
        for region in &mut self.regions {
            region.code.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(buffer: &mut [u8], base: u64) -> Ram {
        let region = RamRegion {
            guest_phys: base,
            size: buffer.len() as u64,
            engine_addr: buffer.as_mut_ptr() as u64,
            vm_phys: 0,
        };
        // SAFETY: the buffer outlives every use in the test.
        unsafe { Ram::new(&[region]) }
    }

    #[test]
    fn pointer_rejects_ranges_that_leave_the_region() {
        let mut buffer = vec![0u8; 8192];
        let base = buffer.as_mut_ptr();
        let ram = ram(&mut buffer, 0x4000_0000);
        assert_eq!(ram.pointer(0x4000_0008, 8), Some(base.wrapping_add(8)));
        assert_eq!(ram.pointer(0x4000_1ff8, 8), Some(base.wrapping_add(0x1ff8)));
        assert_eq!(ram.pointer(0x4000_1ff9, 8), None);
        assert_eq!(ram.pointer(0x3fff_ffff, 2), None);
        assert_eq!(ram.pointer(0x4000_0000, u64::MAX), None);
    }

    #[test]
    fn code_bits_are_per_page() {
        let mut buffer = vec![0u8; 8192];
        let mut ram = ram(&mut buffer, 0x4000_0000);
        assert!(!ram.set_code(0x4000_1234, true));
        assert!(ram.has_code(0x4000_1000) && ram.has_code(0x4000_1fff) && !ram.has_code(0x4000_0fff));
        assert!(ram.set_code(0x4000_1000, false));
        assert!(!ram.has_code(0x4000_1000));
    }

    #[test]
    fn a_page_is_writable_at_two_places_or_anywhere() {
        let at = |w: Writable| w.indices().map(Iterator::collect::<Vec<_>>);
        let none = Writable::default();
        assert_eq!(at(none), Some(vec![]));
        assert_eq!(at(none.and(0).and(0xfffe).and(0)), Some(vec![0, 0xfffe]));
        assert_eq!(at(none.and(0xfffe).and(7)), Some(vec![0xfffe, 7]));
        assert_eq!(at(none.and(1).and(2).and(3)), None);
        assert_eq!(at(none.and(1).and(0xffff)), None);
        assert_eq!(at(Writable::ANYWHERE.and(1)), None);
        let mut buffer = vec![0u8; 8192];
        let mut ram = ram(&mut buffer, 0x4000_0000);
        *ram.writable(0x4000_1234).expect("RAM") = none.and(5);
        assert_eq!(ram.writable(0x4000_1fff).copied(), Some(none.and(5)));
        assert_eq!(ram.writable(0x4000_0fff).copied(), Some(none), "another page");
        assert!(ram.writable(0x8000_0000).is_none() && ram.writable(0x3fff_ffff).is_none(), "no RAM");
    }
}
