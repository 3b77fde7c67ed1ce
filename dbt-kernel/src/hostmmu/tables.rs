//! The x86 page tables of windows: a pool of pages that the launcher set aside, and editing them.
//!
//! A table is a page of the pool, named by its number. A window's tables hang below one of level 3 (which has 512 entries of
//! 1 GiB); addresses here are offsets into the window. Tables of a window that was given up stay out of use until the
//! processor has forgotten all translations: it may hold copies of their entries.
//!
//! Accessed and dirty bits are set from the start: nothing reads them.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

const PAGE_BITS: u32 = 12;
const INDEX_BITS: u32 = 9;
const ENTRIES: usize = 1 << INDEX_BITS;
/// log2 of a large page.
pub(super) const LARGE_BITS: u32 = PAGE_BITS + INDEX_BITS;

/// Where the engine finds the pool.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Engine address and VM-physical address of its first page; its size in bytes, and how many of them are in use.
    pub base: u64,
    pub phys: u64,
    pub size: u64,
    pub used: u64,
    /// VM-physical address of the root, a page of the pool.
    pub root: u64,
}

/// What making a mapping changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was there.
    Nothing,
    /// The processor can't have held anything against it.
    New,
    /// The processor may hold another translation, which has to go.
    Stale,
}

/// No table is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Pages for tables.
pub(super) struct Pool {
    base: *const AtomicU64,
    phys: u64,
    root: u32,
    next: u32,
    end: u32,
    free: Vec<u32>,
    retired: Vec<Vec<u32>>,
}

fn index(offset: u64, level: u32) -> usize {
    (offset >> (PAGE_BITS + INDEX_BITS * level)) as usize % ENTRIES
}

/// log2 of what an entry of a table of this level maps (0: a page).
fn span_bits(level: u32) -> u32 {
    PAGE_BITS + INDEX_BITS * level
}

impl Pool {
    /// # Safety
    /// The place's bytes are readable and writable as long as the value lives; nothing but the processor and this value
    /// touches them from `used` on, and the root's entries that [`Pool::set_root_entry`] is told to set.
    pub unsafe fn new(place: Place) -> Self {
        let page = |bytes: u64| (bytes >> PAGE_BITS) as u32;
        Self {
            base: place.base as *const AtomicU64,
            phys: place.phys,
            root: page(place.root.wrapping_sub(place.phys)),
            next: page(place.used),
            end: page(place.size),
            free: Vec::new(),
            retired: Vec::new(),
        }
    }

    fn entry(&self, table: u32, index: usize) -> &AtomicU64 {
        debug_assert!(table < self.end && index < ENTRIES);
        // SAFETY: tables are pages of the pool, which `new` was promised; the processor's accesses are atomic, too.
        unsafe { &*self.base.add(table as usize * ENTRIES + index) }
    }

    fn get(&self, table: u32, index: usize) -> u64 {
        self.entry(table, index).load(Ordering::Relaxed)
    }

    fn set(&self, table: u32, index: usize, value: u64) {
        self.entry(table, index).store(value, Ordering::Relaxed);
    }

    fn table_of(&self, entry: u64) -> u32 {
        (((entry & FRAME) - self.phys) >> PAGE_BITS) as u32
    }

    fn table_entry(&self, table: u32) -> u64 {
        (self.phys + (u64::from(table) << PAGE_BITS)) | PRESENT | WRITE | USER | ACCESSED
    }

    /// A table with nothing in it.
    pub fn allocate(&mut self) -> Result<u32, Full> {
        if let Some(table) = self.free.pop() {
            for i in 0..ENTRIES {
                self.set(table, i, 0);
            }
            return Ok(table);
        }
        if self.next == self.end {
            return Err(Full);
        }
        self.next += 1;
        // The launcher's memory is zero.
        Ok(self.next - 1)
    }

    /// The tables aren't used any more, but the processor may remember them.
    pub fn retire(&mut self, tables: Vec<u32>) {
        self.retired.push(tables);
    }

    /// Whether [`Pool::reclaim`] would gain anything.
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// The processor has forgotten every translation.
    pub fn reclaim(&mut self) {
        for mut tables in self.retired.drain(..) {
            self.free.append(&mut tables);
        }
    }

    /// Tables in use.
    pub fn used(&self) -> usize {
        self.next as usize - self.free.len() - self.retired.iter().map(Vec::len).sum::<usize>()
    }

    /// Makes an entry of the root lead to a window's table, or to nothing.
    pub fn set_root_entry(&mut self, index: usize, table: Option<u32>) {
        self.set(self.root, index, table.map_or(0, |table| self.table_entry(table)));
    }

    /// Maps `offset` of the window at `top` to the page, or large page, at VM-physical address `frame`; tables this takes are
    /// noted in `tables`.
    pub fn map(
        &mut self,
        top: u32,
        tables: &mut Vec<u32>,
        offset: u64,
        frame: u64,
        writable: bool,
        large: bool,
    ) -> Result<Change, Full> {
        let leaf = u32::from(large);
        let mut table = top;
        let mut stale = false;
        for level in (leaf + 1..3).rev() {
            let i = index(offset, level);
            let value = self.get(table, i);
            table = if value & PRESENT == 0 || value & LARGE != 0 {
                stale |= value & PRESENT != 0;
                let new = self.allocate()?;
                tables.push(new);
                self.set(table, i, self.table_entry(new));
                new
            } else {
                self.table_of(value)
            };
        }
        let i = index(offset, leaf);
        let before = self.get(table, i);
        let flags = PRESENT | USER | ACCESSED | DIRTY | NO_EXECUTE;
        let size = if large { LARGE } else { 0 };
        let value = (frame & FRAME) | flags | size | if writable { WRITE } else { 0 };
        if before == value {
            return Ok(Change::Nothing);
        }
        if before & PRESENT != 0 {
            // More rights are noticed by a processor that lacks them.
            stale |= value & !WRITE != before & !WRITE || before & WRITE > value & WRITE;
        }
        self.set(table, i, value);
        Ok(if stale { Change::Stale } else { Change::New })
    }

    /// Whether a table of pages stands where a large page of `offset` would.
    pub fn has_pages(&self, top: u32, offset: u64) -> bool {
        let above = self.get(top, index(offset, 2));
        if above & PRESENT == 0 {
            return false;
        }
        let value = self.get(self.table_of(above), index(offset, 1));
        value & (PRESENT | LARGE) == PRESENT
    }

    /// The leaf entry for `offset`: its table, its index, its level.
    fn leaf(&self, top: u32, offset: u64) -> Option<(u32, usize, u32)> {
        let mut table = top;
        for level in (0..3).rev() {
            let i = index(offset, level);
            let value = self.get(table, i);
            if value & PRESENT == 0 {
                return None;
            }
            if level == 0 || value & LARGE != 0 {
                return Some((table, i, level));
            }
            table = self.table_of(value);
        }
        None
    }

    /// Pages mapped in the table of pages that stands where a large page of `offset` would.
    pub fn pages_around(&self, top: u32, offset: u64) -> usize {
        let above = self.get(top, index(offset, 2));
        let value = if above & PRESENT == 0 { 0 } else { self.get(self.table_of(above), index(offset, 1)) };
        if value & (PRESENT | LARGE) != PRESENT {
            return 0;
        }
        let table = self.table_of(value);
        (0..ENTRIES).filter(|i| self.get(table, *i) & PRESENT != 0).count()
    }

    /// What `offset` is mapped to: VM-physical address, and whether it is writable.
    pub fn lookup(&self, top: u32, offset: u64) -> Option<(u64, bool)> {
        let (table, i, level) = self.leaf(top, offset)?;
        let value = self.get(table, i);
        let mask = (1 << span_bits(level)) - 1;
        Some(((value & FRAME & !mask) | (offset & mask), value & WRITE != 0))
    }

    /// Unmaps the 2^`bits` bytes around `offset`, and more where a larger page stands. Gives whether anything was mapped.
    pub fn unmap(&mut self, top: u32, offset: u64, bits: u32) -> bool {
        let start = offset >> bits << bits;
        let end = start + (1 << bits);
        self.unmap_below(top, 2, 0, start, end.min(1 << span_bits(3)))
    }

    /// In `table`, whose first address is `base`.
    fn unmap_below(&mut self, table: u32, level: u32, base: u64, start: u64, end: u64) -> bool {
        let span = span_bits(level);
        let last = ((end - 1 - base) >> span) as usize;
        let mut any = false;
        for i in (start.saturating_sub(base) >> span) as usize..=last.min(ENTRIES - 1) {
            let value = self.get(table, i);
            if value & PRESENT == 0 {
                continue;
            }
            let at = base + ((i as u64) << span);
            if level == 0 || value & LARGE != 0 {
                self.set(table, i, 0);
                any = true;
            } else {
                any |= self.unmap_below(self.table_of(value), level - 1, at, start.max(at), end.min(at + (1 << span)));
            }
        }
        any
    }

    /// Makes `offset` read-only if it is mapped to the page at `frame`; a large page is unmapped instead. Gives whether
    /// anything changed.
    pub fn protect(&mut self, top: u32, offset: u64, frame: u64) -> bool {
        let Some((table, i, level)) = self.leaf(top, offset) else { return false };
        let value = self.get(table, i);
        let same = (value & FRAME) >> span_bits(level) == frame >> span_bits(level);
        if !same || value & WRITE == 0 {
            return false;
        }
        self.set(table, i, if level == 0 { value & !WRITE } else { 0 });
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::boxed::Box;

    /// Memory for `pages` tables, the root first.
    pub(in crate::hostmmu) fn place(pages: usize) -> (Box<[u64]>, Place) {
        let memory = alloc::vec![0u64; (pages + 1) * ENTRIES].into_boxed_slice();
        let base = (memory.as_ptr() as u64).next_multiple_of(4096);
        let place = Place { base, phys: 0x1000_0000, size: pages as u64 * 4096, used: 4096, root: 0x1000_0000 };
        (memory, place)
    }

    fn pool(pages: usize) -> (Box<[u64]>, Pool, u32, Vec<u32>) {
        let (memory, place) = place(pages);
        // SAFETY: the memory goes with the pool.
        let mut pool = unsafe { Pool::new(place) };
        let top = pool.allocate().unwrap();
        (memory, pool, top, alloc::vec![top])
    }

    #[test]
    fn pages_and_large_pages() {
        let (_memory, mut pool, top, mut tables) = pool(16);
        assert_eq!(pool.map(top, &mut tables, 0x1234_5000, 0xabc_d000, false, false), Ok(Change::New));
        assert_eq!(pool.lookup(top, 0x1234_5678), Some((0xabc_d678, false)));
        assert_eq!(pool.lookup(top, 0x1234_6000), None);
        assert_eq!(pool.map(top, &mut tables, 0x1234_5000, 0xabc_d000, true, false), Ok(Change::New), "more rights");
        assert_eq!(pool.map(top, &mut tables, 0x1234_5000, 0xabc_d000, false, false), Ok(Change::Stale), "less rights");
        assert_eq!(
            pool.map(top, &mut tables, 0x1234_5000, 0xabc_e000, false, false),
            Ok(Change::Stale),
            "another page"
        );
        assert_eq!(pool.map(top, &mut tables, 0x1234_5000, 0xabc_e000, false, false), Ok(Change::Nothing));
        assert_eq!((pool.pages_around(top, 0x1220_0000), pool.pages_around(top, 0)), (1, 0));
        assert_eq!(pool.map(top, &mut tables, 0x7f_c020_0000, 0x4000_0000, true, true), Ok(Change::New));
        assert_eq!(pool.lookup(top, 0x7f_c03f_ffff), Some((0x401f_ffff, true)));
        assert!(pool.has_pages(top, 0x1220_0000) && !pool.has_pages(top, 0x7f_c020_0000) && !pool.has_pages(top, 0));
        // A page where a large one stood.
        assert_eq!(pool.map(top, &mut tables, 0x7f_c020_1000, 0x4000_1000, false, false), Ok(Change::Stale));
        assert_eq!(pool.lookup(top, 0x7f_c020_1000), Some((0x4000_1000, false)));
        assert_eq!(pool.lookup(top, 0x7f_c020_0000), None);
        assert_eq!(pool.used(), 1 + tables.len());
    }

    #[test]
    fn unmapping_takes_what_overlaps() {
        let (_memory, mut pool, top, mut tables) = pool(16);
        for page in 0..4 {
            pool.map(top, &mut tables, 0x4000_0000 + page * 0x1000, 0x5000, true, false).unwrap();
        }
        pool.map(top, &mut tables, 0x4020_0000, 0x4000_0000, true, true).unwrap();
        assert!(pool.unmap(top, 0x4000_1abc, 12));
        assert!(!pool.unmap(top, 0x4000_1000, 12));
        assert!(pool.lookup(top, 0x4000_0000).is_some() && pool.lookup(top, 0x4000_1000).is_none());
        assert!(pool.unmap(top, 0x4023_4000, 12), "of a large page, too");
        assert_eq!(pool.lookup(top, 0x4020_0000), None);
        assert!(pool.unmap(top, 0x4000_3000, 30));
        assert_eq!(pool.lookup(top, 0x4000_0000), None);
        assert_eq!(pool.lookup(top, 0x4000_3000), None);
        pool.map(top, &mut tables, 0x7f_ffff_f000, 0x5000, true, false).unwrap();
        assert!(pool.unmap(top, 0x7f_ffff_f000, 39) && !pool.unmap(top, 0, 39));
    }

    #[test]
    fn protection_is_for_one_frame() {
        let (_memory, mut pool, top, mut tables) = pool(16);
        pool.map(top, &mut tables, 0x1000, 0x8000, true, false).unwrap();
        assert!(!pool.protect(top, 0x1000, 0x9000), "maps another page by now");
        assert!(pool.protect(top, 0x1000, 0x8000) && !pool.protect(top, 0x1000, 0x8000));
        assert_eq!(pool.lookup(top, 0x1000), Some((0x8000, false)));
        pool.map(top, &mut tables, 0x20_0000, 0x40_0000, true, true).unwrap();
        assert!(!pool.protect(top, 0x20_3000, 0x60_3000));
        assert!(pool.protect(top, 0x20_3000, 0x40_3000));
        assert_eq!(pool.lookup(top, 0x20_0000), None);
    }

    #[test]
    fn tables_come_back_empty_once_reclaimed() {
        let (_memory, mut pool, top, mut tables) = pool(5);
        pool.map(top, &mut tables, 0, 0x8000, true, false).unwrap();
        assert_eq!(pool.map(top, &mut tables, 1 << 30, 0x8000, true, false), Err(Full));
        pool.retire(tables);
        assert_eq!(pool.allocate(), Err(Full));
        assert!(pool.has_retired());
        pool.reclaim();
        let top = pool.allocate().unwrap();
        assert_eq!(pool.lookup(top, 0), None);
        assert_eq!(pool.used(), 2);
    }
}
