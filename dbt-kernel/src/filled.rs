//! Which places of the software TLB hold something, so that emptying it costs what is in it.

use alloc::vec::Vec;
use x86_backend::runtime::TlbEntry;

/// Bit of [`TlbEntry::phys`]: the entry holds in one address space only.
pub(crate) const PRIVATE: u64 = 2;
/// Bits of [`TlbEntry::phys`]: the place is among [`Filled::global`], and among [`Filled::private`].
const LISTED_GLOBAL: u64 = 4;
const LISTED_PRIVATE: u64 = 8;
const LISTED: u64 = LISTED_GLOBAL | LISTED_PRIVATE;

/// Places of one MMU mode that may hold something: those that held what is valid in all address spaces, and those that held what is in
/// one, since the list was last emptied. Some are both; none is on a list twice.
#[derive(Default)]
pub(crate) struct Filled {
    global: Vec<u16>,
    private: Vec<u16>,
}

impl Filled {
    /// Puts an entry into a place.
    pub(crate) fn set(&mut self, tlb: &mut [TlbEntry], index: usize, entry: TlbEntry) {
        let (list, bit) = if entry.phys & PRIVATE != 0 {
            (&mut self.private, LISTED_PRIVATE)
        } else {
            (&mut self.global, LISTED_GLOBAL)
        };
        let slot = &mut tlb[index];
        let listed = slot.phys & LISTED;
        *slot = TlbEntry { phys: entry.phys & !LISTED | listed | bit, ..entry };
        if listed & bit == 0 {
            list.push(index as u16);
        }
    }

    /// Drops all entries.
    pub(crate) fn drop_all(&mut self, tlb: &mut [TlbEntry]) {
        for index in self.global.drain(..).chain(self.private.drain(..)) {
            tlb[usize::from(index)] = TlbEntry::EMPTY;
        }
    }

    /// Drops the entries that hold in one address space only.
    pub(crate) fn drop_private(&mut self, tlb: &mut [TlbEntry]) {
        for index in self.private.drain(..) {
            let slot = &mut tlb[usize::from(index)];
            if slot.phys & PRIVATE != 0 {
                *slot = TlbEntry { phys: slot.phys & LISTED, ..TlbEntry::EMPTY };
            }
            slot.phys &= !LISTED_PRIVATE;
        }
    }

    /// What can be read, each entry once.
    pub(crate) fn entries<'a>(&'a self, tlb: &'a [TlbEntry]) -> impl Iterator<Item = TlbEntry> + 'a {
        let of = |list: &'a [u16], kind: u64| {
            let entries = list.iter().map(|&index| tlb[usize::from(index)]);
            entries.filter(move |entry| entry.read != TlbEntry::INVALID && entry.phys & PRIVATE == kind)
        };
        of(&self.global, 0).chain(of(&self.private, PRIVATE))
    }

    /// All places, some of them twice.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        self.global.iter().chain(&self.private).map(|&index| usize::from(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(page: u64, mark: u64) -> TlbEntry {
        TlbEntry { read: page << 12, write: TlbEntry::INVALID, addend: 0, phys: page << 12 | mark }
    }

    fn pages(filled: &Filled, tlb: &[TlbEntry]) -> Vec<u64> {
        let mut pages: Vec<u64> = filled.entries(tlb).map(|entry| entry.read >> 12).collect();
        pages.sort_unstable();
        pages
    }

    #[test]
    fn what_holds_everywhere_outlives_an_address_space() {
        let (mut filled, mut tlb) = (Filled::default(), [TlbEntry::EMPTY; 8]);
        filled.set(&mut tlb, 1, entry(1, 0));
        filled.set(&mut tlb, 2, entry(2, PRIVATE));
        assert_eq!(pages(&filled, &tlb), [1, 2]);
        filled.drop_private(&mut tlb);
        assert_eq!(pages(&filled, &tlb), [1]);
        assert_eq!(tlb[2].read, TlbEntry::INVALID);
        filled.drop_all(&mut tlb);
        assert!(pages(&filled, &tlb).is_empty() && tlb.iter().all(|entry| entry.phys == 0));
    }

    #[test]
    fn a_place_that_changes_hands_is_listed_once_for_each_kind() {
        let (mut filled, mut tlb) = (Filled::default(), [TlbEntry::EMPTY; 8]);
        for round in 0..100 {
            // An entry that comes from another place brings marks of that.
            filled.set(&mut tlb, 3, entry(8 + round, LISTED));
            filled.set(&mut tlb, 3, entry(9, PRIVATE));
            assert_eq!(pages(&filled, &tlb), [9]);
            if round % 2 == 0 {
                filled.set(&mut tlb, 3, entry(7, 0));
                assert_eq!(pages(&filled, &tlb), [7]);
            }
            filled.drop_private(&mut tlb);
            assert_eq!(pages(&filled, &tlb), [7][..usize::from(round % 2 == 0)]);
            assert!(filled.places().count() == 1, "{round}");
        }
        filled.drop_all(&mut tlb);
        assert!(filled.places().count() == 0 && tlb.iter().all(|entry| entry.phys == 0));
    }
}
