//! Which blocks are translated.
//!
//! A block is found by guest-physical address, guest virtual address (translated code has PC-relative values as constants)
//! and context word. It lies within one guest page, so a page is the unit of invalidation: all its blocks die together, which
//! is why direct jumps between blocks of one page never need unlinking. Memory of dead blocks is reclaimed when the whole
//! cache is reset.

use crate::tree::Tree;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};
use hashbrown::HashMap;
use x86_backend::jit::{BlockEnd, CompiledBlock, Head};

/// What identifies a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub phys: u64,
    pub virt: u64,
    pub context: u64,
}

/// A multiply-rotate hasher for keys of a few words; the keys are not chosen by an adversary who could gain more than
/// slowness for himself.
#[derive(Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

type Words = BuildHasherDefault<WordHasher>;

#[derive(Default)]
struct Page {
    keys: Vec<Key>,
    /// Blocks elsewhere whose regions include code of this page, some of them perhaps no longer.
    regions: Vec<Key>,
    /// One bit per 64 bytes: translated code came from there.
    coverage: u64,
}

/// Several blocks translated as one piece, in the place of the first.
#[derive(Clone, Debug)]
pub struct Region {
    pub tree: Arc<Tree>,
    /// Host address of its code.
    pub entry: u64,
    /// The beginning of the first block's own code, which leads to the region now.
    pub head: Head,
    /// The pages besides the first block's: virtual and physical address.
    pub pages: Vec<(u64, u64)>,
    /// Index into `Runtime::region_keys`, if it has such pages.
    pub key: Option<u32>,
    /// It accesses memory through windows.
    pub windows: bool,
    /// The address space it was made in.
    pub space: u64,
    /// Paths that will be branches of it.
    pub pending: Vec<Vec<Key>>,
    /// How often the guest was found on one.
    pub attempts: u32,
}

struct Block {
    entry: u64,
    insns: u32,
    end: BlockEnd,
    /// Few have one.
    region: Option<Box<Region>>,
}

/// Of very many blocks each look at one waits for memory: for one line.
const _: () = assert!(size_of::<(Key, Block)>() == 64);

/// The blocks of one machine.
#[derive(Default)]
pub struct CodeCache {
    blocks: HashMap<Key, Block, Words>,
    pages: HashMap<u64, Page, Words>,
    /// The blocks that begin regions, with the address spaces those were made in: few of very many.
    heads: HashMap<Key, u64, Words>,
    /// What were regions of those that begin with these blocks, and may be made ones again.
    aside: HashMap<Key, Region, Words>,
    /// How often each page's code was dropped.
    rewritten: HashMap<u64, u32, Words>,
    generation: u64,
}

/// Blocks that the largest table the heap has room for holds: one of 2^18 places.
const MAX_BLOCKS: usize = (1 << 18) / 8 * 7;

const PAGE_MASK: u64 = crate::ram::PAGE - 1;

fn coverage(phys: u64, len: u64) -> u64 {
    let first = (phys & PAGE_MASK) / 64;
    let last = ((phys & PAGE_MASK) + len.max(1) - 1).min(PAGE_MASK) / 64;
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

impl CodeCache {
    /// An empty cache with room for as many blocks as the boot of an operating system has: a table that grows is moved, block by block.
    #[must_use]
    pub fn new() -> Self {
        Self { blocks: HashMap::with_capacity_and_hasher(MAX_BLOCKS / 2, Words::default()), ..Self::default() }
    }

    /// Host address to go on at: the region's, if the block begins one.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<u64> {
        self.blocks.get(key).map(|block| block.region.as_ref().map_or(block.entry, |region| region.entry))
    }

    /// Host address of the block alone.
    #[must_use]
    pub fn block(&self, key: &Key) -> Option<u64> {
        self.blocks.get(key).map(|block| block.entry)
    }

    /// Guest instructions of a block, and how it ends.
    #[must_use]
    pub fn shape(&self, key: &Key) -> (u32, BlockEnd) {
        self.blocks.get(key).map_or_else(Default::default, |block| (block.insns, block.end))
    }

    #[must_use]
    pub fn region(&self, key: &Key) -> Option<&Region> {
        // The small table tells that most have none.
        self.heads.get(key)?;
        self.blocks.get(key)?.region.as_deref()
    }

    pub fn region_mut(&mut self, key: &Key) -> Option<&mut Region> {
        self.blocks.get_mut(key)?.region.as_deref_mut()
    }

    /// Adds a block that was translated from `len` guest bytes. Gives whether its page held none before.
    pub fn insert(&mut self, key: Key, block: &CompiledBlock, len: u64) -> bool {
        let CompiledBlock { entry, insns, end, .. } = *block;
        self.blocks.insert(key, Block { entry, insns, end, region: None });
        let page = self.pages.entry(key.phys & !PAGE_MASK).or_default();
        let first = page.keys.is_empty();
        page.keys.push(key);
        page.coverage |= coverage(key.phys, len);
        first
    }

    /// Adds the region that begins with the block `key`.
    pub fn insert_region(&mut self, key: Key, region: Region) {
        for (_, phys) in &region.pages {
            self.pages.entry(phys & !PAGE_MASK).or_default().regions.push(key);
        }
        if let Some(block) = self.blocks.get_mut(&key) {
            self.heads.insert(key, region.space);
            block.region = Some(Box::new(region));
        }
    }

    /// Forgets the region that begins with the block `key`; gives the block's entry and the region.
    pub fn remove_region(&mut self, key: &Key) -> Option<(u64, Region)> {
        let block = self.blocks.get_mut(key)?;
        let region = block.region.take()?;
        self.heads.remove(key);
        Some((block.entry, *region))
    }

    /// Sets aside the regions that `which` picks of those that `whose` does by their first blocks and address spaces; gives their
    /// first blocks, those blocks' entries, and the regions.
    pub fn set_aside(
        &mut self,
        whose: impl Fn(&Key, u64) -> bool,
        which: impl Fn(&Key, &Region) -> bool,
    ) -> Vec<(Key, u64, Region)> {
        let Self { blocks, heads, aside, .. } = self;
        let chosen = heads.extract_if(|key, space| {
            let region = || blocks.get(key)?.region.as_ref();
            whose(key, *space) && region().is_some_and(|region| which(key, region))
        });
        let chosen: Vec<Key> = chosen.map(|(key, _)| key).collect();
        let take = |key: Key| {
            let block = blocks.get_mut(&key)?;
            let region = block.region.take()?;
            aside.insert(key, Region::clone(&region));
            Some((key, block.entry, *region))
        };
        chosen.into_iter().filter_map(take).collect()
    }

    /// The region set aside that began with the block `key`.
    pub fn take_aside(&mut self, key: &Key) -> Option<Region> {
        self.aside.remove(key)
    }

    /// Whether translated code came from the bytes `phys..phys+len` (within one page).
    #[must_use]
    pub fn covers(&self, phys: u64, len: u64) -> bool {
        self.pages.get(&(phys & !PAGE_MASK)).is_some_and(|page| page.coverage & coverage(phys, len) != 0)
    }

    /// Forgets all blocks of the page with `phys`, calling `gone` for each. Gives the regions of other blocks that died with it,
    /// and those blocks' entries.
    pub fn invalidate_page(&mut self, phys: u64, mut gone: impl FnMut(&Key)) -> Vec<(u64, Region)> {
        let Some(page) = self.pages.remove(&(phys & !PAGE_MASK)) else { return Vec::new() };
        *self.rewritten.entry(phys & !PAGE_MASK).or_default() += 1;
        for key in &page.keys {
            if let Some(block) = self.blocks.remove(key) {
                if block.region.is_some() {
                    self.heads.remove(key);
                }
                self.aside.remove(key);
                gone(key);
            }
        }
        page.regions.iter().filter_map(|key| self.remove_region(key)).collect()
    }

    /// Whether code of the page with `phys` was dropped so often that it seems to be made there. (A kernel that chooses among
    /// alternatives when it boots rewrites its pages, too, but once.)
    #[must_use]
    pub fn rewritten(&self, phys: u64) -> bool {
        const OFTEN: u32 = 3;
        self.rewritten.get(&(phys & !PAGE_MASK)).is_some_and(|times| *times >= OFTEN)
    }

    /// Forgets everything; the caller resets the code buffer.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.pages.clear();
        self.heads.clear();
        self.aside.clear();
        self.rewritten.clear();
        self.generation += 1;
    }

    /// Changes whenever code memory is reclaimed: a host address noted under another generation means nothing now.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether the table of blocks would have to grow beyond [`MAX_BLOCKS`]. What was removed may leave places unusable, until so many
    /// have been that it is put in order instead of growing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        /// Blocks that may come before the next look.
        const ROOM: usize = 16;
        let blocks = self.blocks.len();
        blocks + ROOM > self.blocks.capacity() && blocks > MAX_BLOCKS / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86_backend::jit::Jump;

    fn key(phys: u64) -> Key {
        Key { phys, virt: phys | 0xffff_0000_0000_0000, context: 1 }
    }

    fn block(entry: u64) -> CompiledBlock {
        CompiledBlock {
            entry,
            code_len: 64,
            cold: 0,
            cold_len: 0,
            insns: 1,
            end: BlockEnd::Other,
            jumps: [Jump::default(); 2],
        }
    }

    #[test]
    fn a_page_dies_as_a_whole_and_alone() {
        let mut cache = CodeCache::default();
        assert!(cache.insert(key(0x1000), &block(1), 16));
        assert!(!cache.insert(key(0x1ffc), &block(2), 4));
        assert!(cache.insert(key(0x2000), &block(3), 4));
        let mut gone = Vec::new();
        assert!(cache.invalidate_page(0x1abc, |gone_key| gone.push(*gone_key)).is_empty());
        assert_eq!(gone, [key(0x1000), key(0x1ffc)]);
        assert!(cache.invalidate_page(0x1abc, |_| unreachable!()).is_empty());
        assert_eq!(cache.find(&key(0x1000)), None);
        assert_eq!(cache.find(&key(0x1ffc)), None);
        assert_eq!(cache.find(&key(0x2000)), Some(3));
    }

    fn region(at: Key, entry: u64, windows: bool, space: u64) -> Region {
        Region {
            tree: Arc::new(Tree::new([at].into(), false)),
            entry,
            head: Head::default(),
            pages: Vec::new(),
            key: None,
            windows,
            space,
            pending: Vec::new(),
            attempts: 0,
        }
    }

    #[test]
    fn regions_stand_for_their_first_blocks_until_they_are_removed_or_set_aside() {
        let mut cache = CodeCache::default();
        let keys = [0x1000, 0x1100, 0x2000, 0x2100].map(key);
        for (key, entry) in keys.iter().zip(1..) {
            cache.insert(*key, &block(entry), 4);
        }
        // The last block has none.
        for (i, (windows, space)) in [(true, 1), (false, 1), (true, 2)].into_iter().enumerate() {
            cache.insert_region(keys[i], region(keys[i], 10 + i as u64, windows, space));
        }
        let found = |cache: &CodeCache| keys.map(|key| cache.find(&key).unwrap());
        assert_eq!(found(&cache), [10, 11, 12, 4]);
        assert!(cache.region(&keys[3]).is_none() && cache.region(&keys[2]).is_some_and(|region| region.entry == 12));
        // Those with windows in one address space.
        let aside = |cache: &mut CodeCache| cache.set_aside(|_, space| space == 1, |_, region| region.windows);
        let gone: Vec<_> =
            aside(&mut cache).into_iter().map(|(key, entry, region)| (key, entry, region.entry)).collect();
        assert_eq!(gone, [(keys[0], 1, 10)]);
        assert!(aside(&mut cache).is_empty() && cache.region(&keys[0]).is_none());
        assert_eq!(found(&cache), [1, 11, 12, 4]);
        assert!(
            cache.take_aside(&keys[0]).is_some_and(|region| region.entry == 10) && cache.take_aside(&keys[0]).is_none()
        );
        assert_eq!(cache.remove_region(&keys[1]).map(|(entry, region)| (entry, region.entry)), Some((2, 11)));
        assert_eq!(found(&cache), [1, 2, 12, 4]);
        assert_eq!(cache.set_aside(|_, _| true, |_, _| true).len(), 1);
        // A page takes with it what was set aside.
        cache.invalidate_page(0x2000, |_| {});
        assert!(cache.take_aside(&keys[2]).is_none());
    }

    #[test]
    fn a_page_that_is_dropped_again_and_again_is_noticed() {
        let mut cache = CodeCache::default();
        for times in 0..5 {
            assert_eq!(
                (cache.rewritten(0x1ffc), cache.rewritten(0x2000)),
                (times >= 3, false),
                "dropped {times} times"
            );
            cache.insert(key(0x1000), &block(1), 16);
            cache.invalidate_page(0x1abc, |_| {});
            cache.invalidate_page(0x1abc, |_| {});
        }
        cache.clear();
        assert!(!cache.rewritten(0x1000));
    }

    #[test]
    fn the_table_of_blocks_stays_small() {
        let mut cache = CodeCache::default();
        // Every third page is dropped again.
        for page in (0_u64..).map(|n| n << 12) {
            if cache.is_full() {
                break;
            }
            (0..8).for_each(|i| _ = cache.insert(key(page | i << 4), &block(1), 4));
            if page >> 12 & 3 == 3 {
                cache.invalidate_page(page, |_| {});
            }
        }
        assert!(cache.blocks.capacity() <= MAX_BLOCKS && cache.len() > MAX_BLOCKS / 2, "{}", cache.len());
        cache.clear();
        assert!(!cache.is_full());
    }

    #[test]
    fn coverage_is_per_64_bytes() {
        let mut cache = CodeCache::default();
        cache.insert(key(0x1040), &block(1), 8);
        assert!(cache.covers(0x1078, 1));
        assert!(!cache.covers(0x1080, 8) && !cache.covers(0x1038, 8));
        assert!(cache.covers(0x1038, 9));
        cache.insert(key(0x1fc0), &block(2), 64);
        assert!(cache.covers(0x1fff, 1));
    }
}
