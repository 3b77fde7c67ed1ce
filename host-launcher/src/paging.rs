//! x86-64 page tables for the engine's address space, built in memory that the virtual machine will see.
//!
//! Accessed and dirty bits are set from the start: nothing reads them, and a processor or hypervisor that needn't set them
//! is faster.

use crate::mapping::Mapping;

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const ENTRIES: usize = 512;

pub const PAGE: u64 = 4096;
pub const LARGE_PAGE: u64 = 2 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub user: bool,
    pub write: bool,
    pub execute: bool,
}

impl Rights {
    fn bits(self) -> u64 {
        PRESENT
            | ACCESSED
            | DIRTY
            | if self.user { USER } else { 0 }
            | if self.write { WRITE } else { 0 }
            | if self.execute { 0 } else { NO_EXECUTE }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PagingError {
    #[error("no memory is left for page tables")]
    Full,
    #[error("{0:#x} is mapped twice")]
    Taken(u64),
}

/// Tables in `mapping`, which the virtual machine sees at `phys`. The root is the first page.
pub struct PageTables<'a> {
    mapping: &'a Mapping,
    phys: u64,
    used: u64,
}

impl<'a> PageTables<'a> {
    /// # Errors
    /// The memory hasn't room for one page.
    pub fn new(mapping: &'a Mapping, phys: u64) -> Result<Self, PagingError> {
        let mut tables = Self { mapping, phys, used: 0 };
        tables.table()?;
        Ok(tables)
    }

    #[must_use]
    pub fn root(&self) -> u64 {
        self.phys
    }

    /// Bytes used so far.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// A new table (the memory is zero); its physical address.
    fn table(&mut self) -> Result<u64, PagingError> {
        if self.used + PAGE > self.mapping.size() as u64 {
            return Err(PagingError::Full);
        }
        self.used += PAGE;
        Ok(self.phys + self.used - PAGE)
    }

    fn entry(&self, table: u64, index: usize) -> *mut u64 {
        let offset = (table - self.phys) as usize + index * 8;
        self.mapping.at(offset, 8).expect("tables lie within their memory").cast()
    }

    /// Maps `size` bytes, with large pages where everything is aligned for them.
    ///
    /// # Errors
    /// Something is mapped there already, or there is no memory for tables.
    pub fn map(&mut self, virt: u64, phys: u64, size: u64, rights: Rights) -> Result<(), PagingError> {
        debug_assert!((virt | phys | size).is_multiple_of(PAGE));
        let mut done = 0;
        while done < size {
            let large = (virt + done) | (phys + done);
            let step = if large.is_multiple_of(LARGE_PAGE) && size - done >= LARGE_PAGE { LARGE_PAGE } else { PAGE };
            self.map_page(virt + done, phys + done, step, rights)?;
            done += step;
        }
        Ok(())
    }

    fn map_page(&mut self, virt: u64, phys: u64, size: u64, rights: Rights) -> Result<(), PagingError> {
        let leaf_level = if size == LARGE_PAGE { 1 } else { 0 };
        let mut table = self.phys;
        for level in (leaf_level + 1..4).rev() {
            let entry = self.entry(table, index(virt, level));
            // SAFETY: an aligned entry within our memory, which only we use.
            let value = unsafe { entry.read() };
            table = if value & PRESENT == 0 {
                let new = self.table()?;
                // SAFETY: as above. Rights are the leaf's business.
                unsafe { entry.write(new | PRESENT | WRITE | USER | ACCESSED) };
                new
            } else if value & LARGE != 0 {
                return Err(PagingError::Taken(virt));
            } else {
                value & ADDRESS
            };
        }
        let entry = self.entry(table, index(virt, leaf_level));
        // SAFETY: as above.
        if unsafe { entry.read() } & PRESENT != 0 {
            return Err(PagingError::Taken(virt));
        }
        let large = if leaf_level == 1 { LARGE } else { 0 };
        // SAFETY: as above.
        unsafe { entry.write(phys | rights.bits() | large) };
        Ok(())
    }
}

fn index(virt: u64, level: u32) -> usize {
    (virt >> (12 + 9 * level)) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: Rights = Rights { user: true, write: false, execute: false };

    /// What the processor would find: physical address and leaf bits.
    fn walk(tables: &PageTables<'_>, virt: u64) -> Option<(u64, u64)> {
        let mut table = tables.root();
        for level in (0..4).rev() {
            // SAFETY: an aligned entry within the tables' memory.
            let value = unsafe { tables.entry(table, index(virt, level)).read() };
            if value & PRESENT == 0 {
                return None;
            }
            if level == 0 || value & LARGE != 0 {
                let mask = (1 << (12 + 9 * level)) - 1;
                return Some(((value & ADDRESS & !mask) | (virt & mask), value & !(ADDRESS & !mask)));
            }
            table = value & ADDRESS;
        }
        None
    }

    #[test]
    fn mappings_translate() {
        let memory = Mapping::new(1 << 20, false).unwrap();
        let mut tables = PageTables::new(&memory, 0x8000_0000).unwrap();
        tables.map(0x40_0000_0000, 0x20_0000, LARGE_PAGE + PAGE, RIGHTS).unwrap();
        tables.map(0x100_4000_0000, 0x1_0000_1000, PAGE, Rights { write: true, ..RIGHTS }).unwrap();
        let (phys, bits) = walk(&tables, 0x40_0012_3456).unwrap();
        assert_eq!((phys, bits & LARGE, bits & WRITE, bits & NO_EXECUTE), (0x32_3456, LARGE, 0, NO_EXECUTE));
        let (phys, bits) = walk(&tables, 0x40_0020_0fff).unwrap();
        assert_eq!((phys, bits & LARGE), (0x40_0fff, 0));
        assert_eq!(walk(&tables, 0x40_0020_1000), None);
        assert_eq!(walk(&tables, 0x100_4000_0008).unwrap().0, 0x1_0000_1008);
        assert_eq!(tables.map(0x40_0000_0000, 0, PAGE, RIGHTS), Err(PagingError::Taken(0x40_0000_0000)));
    }

    #[test]
    fn running_out_of_tables_is_an_error() {
        let memory = Mapping::new(1, false).unwrap();
        let mut tables = PageTables::new(&memory, 0).unwrap();
        let error = (0..1000).find_map(|slot: u64| tables.map(slot << 30, 0, PAGE, RIGHTS).err());
        assert_eq!(error, Some(PagingError::Full));
    }
}
