//! Guest RAM as the engine sees it, which of its pages hold translated code, and which the software TLB lets be written.
//!
//! Every region is mapped for the engine's whole life; [`Ram::new`] is the one place where the launcher's word for that is taken.

use crate::shared::RamRegion;
use alloc::vec;
use alloc::vec::Vec;
use x86_backend::runtime::PAGE_BITS;

/// Size of the pages code is tracked in.
pub const PAGE: u64 = 1 << PAGE_BITS;

struct Region {
    base: u64,
    size: u64,
    host: *mut u8,
    /// VM-physical address.
    frame: u64,
    /// One bit per page: holds translated code.
    code: Vec<u64>,
    /// One bit per page: an entry of the software TLB may permit writes to it.
    writable: Vec<u64>,
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
                writable: vec![0; (r.size / PAGE).div_ceil(64) as usize],
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
        Self::set_bit(&mut self.regions[r].code[word], bit, holds)
    }

    fn set_bit(word: &mut u64, bit: u64, on: bool) -> bool {
        let before = *word & bit != 0;
        *word = if on { *word | bit } else { *word & !bit };
        before
    }

    /// Records whether some entry of the software TLB may permit writes to the page; gives what was recorded before.
    pub fn set_writable(&mut self, phys: u64, may: bool) -> bool {
        let Some((r, word, bit)) = self.page_bit(phys) else { return false };
        Self::set_bit(&mut self.regions[r].writable[word], bit, may)
    }

    /// No entry permits writes to any page any more.
    pub fn clear_writable(&mut self) {
        for region in &mut self.regions {
            region.writable.fill(0);
        }
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
    fn writable_bits_say_what_was_before_and_are_cleared_together() {
        let mut buffer = vec![0u8; 8192];
        let mut ram = ram(&mut buffer, 0x4000_0000);
        assert!(!ram.set_writable(0x4000_1234, true) && ram.set_writable(0x4000_1000, true));
        assert!(!ram.set_writable(0x4000_0fff, false), "another page");
        assert!(ram.set_writable(0x4000_1fff, false) && !ram.set_writable(0x4000_1fff, true));
        ram.clear_writable();
        assert!(!ram.set_writable(0x4000_1000, false));
        assert!(!ram.set_writable(0x8000_0000, true), "no RAM");
    }
}
