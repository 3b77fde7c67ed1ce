//! Which writable mappings show a page of guest RAM, so that they can be taken back when code is translated from it.
//!
//! Only what is needed to find an entry again is kept, and what it says may be out of date: a window that was given up or
//! a page that was unmapped leave their notes behind. Whoever follows a note has to check it; notes found stale go.

use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::HashMap;

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// Pages whose notes lie together.
const CHUNK: u64 = 512;

/// Where a page was mapped: the window's slot, its generation, the page's number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub slot: u8,
    pub generation: u32,
    pub page: u32,
}

impl Note {
    const PAGE_BITS: u32 = 27;
    const SLOT_BITS: u32 = 8;
    /// Generations are compared modulo this: a note that survives so many of them is a miracle, and harmless.
    const GENERATIONS: u32 = 1 << 28;

    fn pack(self) -> u64 {
        let generation = u64::from(self.generation % Self::GENERATIONS);
        u64::from(self.page) | u64::from(self.slot) << Self::PAGE_BITS | generation << 35 | 1 << 63
    }

    /// Whether it was made in that generation of its slot.
    pub fn is_of(&self, generation: u32) -> bool {
        self.generation % Self::GENERATIONS == generation % Self::GENERATIONS
    }

    fn unpack(bits: u64) -> Option<Self> {
        (bits >> 63 != 0).then_some(Self {
            page: bits as u32 & ((1 << Self::PAGE_BITS) - 1),
            slot: (bits >> Self::PAGE_BITS) as u8,
            generation: (bits >> (Self::PAGE_BITS + Self::SLOT_BITS)) as u32 % Self::GENERATIONS,
        })
    }
}

/// Notes of pages, in two places each, and of large pages.
struct Chunk {
    pages: Box<[[u64; 2]]>,
    large: Vec<Note>,
}

/// All notes.
#[derive(Default)]
pub(super) struct Reverse {
    chunks: HashMap<u64, Chunk, Words>,
    /// Of pages with more than two.
    more: HashMap<u64, Vec<Note>, Words>,
}

impl Reverse {
    fn chunk(&mut self, page: u64) -> &mut Chunk {
        self.chunks.entry(page / CHUNK).or_insert_with(|| Chunk {
            pages: alloc::vec![[0; 2]; CHUNK as usize].into_boxed_slice(),
            large: Vec::new(),
        })
    }

    /// Notes a writable mapping of guest page `page`; `live` tells whether an older note can still be true.
    pub fn add(&mut self, page: u64, note: Note, live: impl Fn(&Note) -> bool) {
        let places = &mut self.chunk(page).pages[(page % CHUNK) as usize];
        let bits = note.pack();
        if places.contains(&bits) {
            return;
        }
        for place in places {
            if Note::unpack(*place).is_none_or(|old| !live(&old)) {
                *place = bits;
                return;
            }
        }
        let more = self.more.entry(page).or_default();
        more.retain(&live);
        if !more.contains(&note) {
            more.push(note);
        }
    }

    /// Notes a writable mapping of the large page around `page`.
    pub fn add_large(&mut self, page: u64, note: Note, live: impl Fn(&Note) -> bool) {
        let large = &mut self.chunk(page).large;
        large.retain(live);
        if !large.contains(&note) {
            large.push(note);
        }
    }

    /// Takes all notes of `page`. Those of the large page around it stay, with the page numbers of `page` itself.
    pub fn take(&mut self, page: u64) -> Vec<Note> {
        let mut notes = self.more.remove(&page).unwrap_or_default();
        if let Some(chunk) = self.chunks.get_mut(&(page / CHUNK)) {
            let places = core::mem::take(&mut chunk.pages[(page % CHUNK) as usize]);
            notes.extend(places.into_iter().filter_map(Note::unpack));
            let inside = (page % CHUNK) as u32;
            notes.extend(chunk.large.iter().map(|note| Note { page: note.page | inside, ..*note }));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_packing() {
        let note = Note { slot: 94, generation: 0xabc_def0, page: (1 << 27) - 1 };
        assert_eq!(Note::unpack(note.pack()), Some(note));
        assert_eq!(Note::unpack(0), None);
    }

    #[test]
    fn every_live_mapping_is_remembered() {
        let mut reverse = Reverse::default();
        let note = |slot| Note { slot, generation: 1, page: 7 };
        for slot in 0..5 {
            reverse.add(1000, note(slot), |_| true);
            reverse.add(1000, note(slot), |_| true);
        }
        let mut notes = reverse.take(1000);
        notes.sort_by_key(|n| n.slot);
        assert_eq!(notes, (0..5).map(note).collect::<Vec<_>>());
        assert!(reverse.take(1000).is_empty());
        // Stale ones make room.
        for slot in 0..5 {
            reverse.add(1000, note(slot), |_| false);
        }
        assert_eq!(reverse.take(1000), [note(4)]);
    }

    #[test]
    fn large_pages_are_found_through_each_of_theirs() {
        let mut reverse = Reverse::default();
        reverse.add_large(1024, Note { slot: 3, generation: 9, page: 512 }, |_| true);
        assert_eq!(reverse.take(1030), [Note { slot: 3, generation: 9, page: 518 }]);
        assert_eq!(reverse.take(1535), [Note { slot: 3, generation: 9, page: 1023 }]);
        assert!(reverse.take(1536).is_empty());
    }
}
