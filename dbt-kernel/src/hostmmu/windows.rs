//! Windows: places in the host's address space where the host's MMU shows spans of guest virtual addresses.
//!
//! A span is 2^39 bytes ([`SPAN_BITS`]), what one entry of the root page table maps. A window shows one span as one
//! MMU mode of the guest sees it, in one address space or, if its mappings hold in all of them, in every one. It occupies a
//! *slot*; between slots the host's address space is empty, so that an access that runs over a span's end faults.
//!
//! Invariants:
//! * A window maps only what a walk of the guest's tables gave since the guest last invalidated that address, with no more
//!   rights than the walk gave, never a device, and never writable where translated code came from.
//! * What a window no longer maps, the processor has forgotten when the call that unmapped it returns; or the window is given
//!   up, and nobody knows its slot's address any more until the processor has forgotten everything.
//!
//! Giving up windows costs the same whatever is mapped in them: slot and tables go to lists of retired ones, which one flush of
//! the processor's translations makes free again. When slots or tables run out, the windows used longest ago are given up.

use super::frequent::Frequent;
use super::reverse::{Note, Reverse};
use super::tables::{Change, LARGE_BITS, Place, Pool};
use crate::platform::Platform;
use crate::services::Mappings;
use crate::shared::{Stats, add, layout};
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;
use hashbrown::{HashMap, HashSet};
use x86_backend::guest::Mapping;
use x86_backend::runtime::{PAGE_BITS, SPAN_BITS, Span};

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// Pages mapped in a table after which they may become one large page.
pub(super) const CROWDED: usize = 64;

/// From one slot to the next, in entries of the root: a slot and an empty one.
const STRIDE: usize = 2;
/// Addresses are compared without their top byte, which a guest may use as a tag.
const TAGLESS: u64 = (1 << (56 - SPAN_BITS)) - 1;

/// What a window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub mode: usize,
    /// `None`: every address space.
    pub space: Option<u64>,
    /// Guest virtual address divided by the span's size.
    pub span: u64,
}

struct Window {
    view: View,
    /// Which use of the slot this is.
    generation: u32,
    live: bool,
    last_used: u64,
    top: u32,
    tables: Vec<u32>,
}

/// The windows of one vCPU.
pub(crate) struct Windows {
    pool: Pool,
    slots: Vec<Window>,
    index: HashMap<View, u8, Words>,
    free: Vec<u8>,
    retired: Vec<u8>,
    reverse: Reverse,
    clock: u64,
    /// Guest mappings larger than a page that something was mapped from: dropping one address of them drops them whole.
    large: Mappings,
    /// Pages that the guest keeps invalidating: mapping them is a waste.
    restless: Frequent,
    /// Frames that keep getting code translated from them and written: they stay read-only.
    rewritten: Frequent,
    /// Large pages, as slot and offset, that single pages were not to become, or no more.
    piecemeal: HashSet<(u8, u64), Words>,
    /// Slots or tables are short, and only windows of the current address space could be given up.
    pub pressure: bool,
}

/// A page to be mapped.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    /// VM-physical address of the byte at the guest virtual address asked for.
    pub frame: u64,
    pub writable: bool,
    /// The 2 MiB around are RAM, mapped alike by the guest, and hold no translated code if writable.
    pub large: bool,
}

fn count(counter: &AtomicU64, n: usize) {
    add(counter, n as u64);
}

impl Windows {
    /// # Safety
    /// As for [`Pool::new`]; the root's entries for [`layout::WINDOWS`] are this value's.
    pub unsafe fn new(place: Place) -> Self {
        // SAFETY: the caller's promise.
        let pool = unsafe { Pool::new(place) };
        let unused = |_| Window {
            view: View { mode: 0, space: None, span: u64::MAX },
            generation: 0,
            live: false,
            last_used: 0,
            top: 0,
            tables: Vec::new(),
        };
        Self {
            pool,
            slots: (0..layout::WINDOW_COUNT).map(unused).collect(),
            index: HashMap::default(),
            free: (0..layout::WINDOW_COUNT as u8).rev().collect(),
            retired: Vec::new(),
            reverse: Reverse::default(),
            clock: 0,
            large: Mappings::default(),
            restless: Frequent::new(32),
            rewritten: Frequent::new(4),
            piecemeal: HashSet::default(),
            pressure: false,
        }
    }

    fn root_index(slot: u8) -> usize {
        (layout::WINDOWS >> SPAN_BITS) as usize + usize::from(slot) * STRIDE
    }

    fn address(slot: u8) -> u64 {
        (Self::root_index(slot) as u64) << SPAN_BITS
    }

    /// The slot that shows `span` to `mode` in address space `space`.
    fn find(&self, mode: usize, space: u64, span: u64) -> Option<u8> {
        let private = self.index.get(&View { mode, space: Some(space), span });
        private.or_else(|| self.index.get(&View { mode, space: None, span })).copied()
    }

    /// How translated code reaches `span`.
    pub fn entry(&mut self, mode: usize, space: u64, span: u64) -> Span {
        let Some(slot) = self.find(mode, space, span) else { return Span::NONE };
        self.clock += 1;
        let window = &mut self.slots[usize::from(slot)];
        window.last_used = self.clock;
        Span { key: span, addend: Self::address(slot).wrapping_sub(span << SPAN_BITS) }
    }

    /// Lets the processor forget everything, so that what is retired can be used again.
    fn reclaim(&mut self, platform: &impl Platform, stats: &Stats) {
        for &slot in &self.retired {
            self.pool.set_root_entry(Self::root_index(slot), None);
        }
        platform.flush_translations();
        count(&stats.window_flushes, 1);
        self.pool.reclaim();
        self.free.append(&mut self.retired);
    }

    fn retire(&mut self, slot: u8) {
        let window = &mut self.slots[usize::from(slot)];
        window.live = false;
        self.piecemeal.retain(|(s, _)| *s != slot);
        self.index.remove(&window.view);
        let tables = core::mem::take(&mut window.tables);
        self.pool.retire(tables);
        self.retired.push(slot);
    }

    /// Makes slots and tables free: of retired windows, else of the one used longest ago outside address space `space`.
    fn make_room(&mut self, space: u64, platform: &impl Platform, stats: &Stats) -> bool {
        if self.retired.is_empty() && !self.pool.has_retired() {
            let elsewhere = |w: &Window| w.live && w.view.space.is_some_and(|s| s != space);
            let oldest = self.slots.iter().enumerate().filter(|(_, w)| elsewhere(w)).min_by_key(|(_, w)| w.last_used);
            let Some((slot, _)) = oldest else {
                self.pressure = true;
                return false;
            };
            count(&stats.windows_evicted, 1);
            self.retire(slot as u8);
        }
        self.reclaim(platform, stats);
        true
    }

    fn create(&mut self, view: View, space: u64, platform: &impl Platform, stats: &Stats) -> Option<u8> {
        if self.free.is_empty() && !self.make_room(space, platform, stats) {
            return None;
        }
        let top = loop {
            match self.pool.allocate() {
                Ok(top) => break top,
                Err(_) => {
                    if !self.make_room(space, platform, stats) {
                        return None;
                    }
                }
            }
        };
        let slot = self.free.pop()?;
        self.clock += 1;
        let window = &mut self.slots[usize::from(slot)];
        window.view = view;
        window.generation = window.generation.wrapping_add(1);
        window.live = true;
        window.last_used = self.clock;
        window.top = top;
        window.tables = alloc::vec![top];
        self.pool.set_root_entry(Self::root_index(slot), Some(top));
        self.index.insert(view, slot);
        count(&stats.windows_made, 1);
        Some(slot)
    }

    /// Maps the page with `va` where `mode` sees it in address space `space`. Gives whether a window was made for it.
    #[allow(clippy::too_many_arguments)]
    pub fn fill(
        &mut self,
        mode: usize,
        space: u64,
        va: u64,
        mapping: &Mapping,
        page: Page,
        platform: &impl Platform,
        stats: &Stats,
    ) -> bool {
        let span = va >> SPAN_BITS;
        let found = self.find(mode, space, span);
        // What holds in one address space only must not be in a window for all.
        let usable = found.filter(|&slot| mapping.global || self.slots[usize::from(slot)].view.space.is_some());
        let slot = match usable {
            Some(slot) => slot,
            None => {
                let view = View { mode, space: (!mapping.global).then_some(space), span };
                match self.create(view, space, platform, stats) {
                    Some(slot) => slot,
                    None => return false,
                }
            }
        };
        let offset = va & ((1 << SPAN_BITS) - 1);
        if mapping.size_bits > PAGE_BITS {
            self.large.note(va, mapping.size_bits);
        }
        let window = &mut self.slots[usize::from(slot)];
        let large = page.large && !self.pool.has_pages(window.top, offset);
        let bits = if large { LARGE_BITS } else { PAGE_BITS };
        let frame = page.frame >> bits << bits;
        let mapped = self.pool.map(window.top, &mut window.tables, offset, frame, page.writable, large);
        let Ok(change) = mapped else {
            // The next fault finds room.
            self.make_room(space, platform, stats);
            return usable.is_none();
        };
        if change == Change::Nothing {
            return usable.is_none();
        }
        if page.writable {
            let page = (offset >> bits << bits >> PAGE_BITS) as u32;
            let note = Note { slot, generation: window.generation, page };
            let (slots, number) = (&self.slots, frame >> PAGE_BITS);
            let live = |note: &Note| alive(slots, note);
            if large {
                self.reverse.add_large(number, note, live);
            } else {
                self.reverse.add(number, note, live);
            }
        }
        count(if large { &stats.window_fills_large } else { &stats.window_fills }, 1);
        if change == Change::Stale {
            count(&stats.window_replacements, 1);
            self.invalidate(slot, offset, platform);
        }
        usable.is_none()
    }

    fn invalidate(&self, slot: u8, offset: u64, platform: &impl Platform) {
        let at = Self::address(slot) + (offset >> PAGE_BITS << PAGE_BITS);
        platform.forget_translation(at);
    }

    /// The guest invalidated `va`, in every address space. Gives a mode in which it was mapped, if it was: then the nucleus had to
    /// be called.
    pub fn drop_page(&mut self, va: u64, platform: &impl Platform, stats: &Stats) -> Option<usize> {
        if self.index.is_empty() {
            return None;
        }
        let (span, offset) = (va >> SPAN_BITS & TAGLESS, va & ((1 << SPAN_BITS) - 1));
        // A mapping larger than a span reaches into others.
        let bits = self.large.size_at(va).unwrap_or(PAGE_BITS);
        let beyond = bits.saturating_sub(SPAN_BITS);
        let mut changed: Option<u8> = None;
        let mut many = bits > LARGE_BITS;
        for &slot in self.index.values() {
            let window = &self.slots[usize::from(slot)];
            if (window.view.span & TAGLESS) >> beyond != span >> beyond {
                continue;
            }
            let top = window.top;
            many |= bits > PAGE_BITS && self.pool.has_pages(top, offset);
            if self.pool.unmap(top, offset, bits.min(SPAN_BITS)) {
                if !self.pool.has_pages(top, offset) {
                    self.piecemeal.insert((slot, offset >> LARGE_BITS));
                }
                many |= changed.is_some();
                changed = Some(slot);
            }
        }
        if changed.is_some() && bits == PAGE_BITS {
            self.restless.note(va >> PAGE_BITS);
        }
        match changed {
            None => {}
            Some(slot) if !many => {
                count(&stats.window_drops, 1);
                self.invalidate(slot, offset, platform);
            }
            Some(_) => self.reclaim(platform, stats),
        }
        changed.map(|slot| self.slots[usize::from(slot)].view.mode)
    }

    /// Whether the guest invalidated the page with `va` more than once of late.
    pub fn is_often_dropped(&self, va: u64) -> bool {
        self.restless.times(va >> PAGE_BITS) > 1
    }

    /// Whether the page with `va` is better left unmapped.
    pub fn is_restless(&self, va: u64) -> bool {
        self.restless.holds(va >> PAGE_BITS)
    }

    /// Whether the page at VM-physical address `frame` is better not mapped writable.
    pub fn is_rewritten(&self, frame: u64) -> bool {
        self.rewritten.holds(frame >> PAGE_BITS)
    }

    /// Whether the page with `va` is mapped.
    pub fn maps(&self, mode: usize, space: u64, va: u64) -> bool {
        let slot = self.find(mode, space, va >> SPAN_BITS);
        slot.is_some_and(|slot| {
            let offset = va & ((1 << SPAN_BITS) - 1);
            self.pool.lookup(self.slots[usize::from(slot)].top, offset).is_some()
        })
    }

    /// Whether so many pages around `va` are mapped that a large page should be tried; asked once of each.
    pub fn is_crowded(&mut self, mode: usize, space: u64, va: u64) -> bool {
        let Some(slot) = self.find(mode, space, va >> SPAN_BITS) else { return false };
        let offset = va & ((1 << SPAN_BITS) - 1);
        self.pool.pages_around(self.slots[usize::from(slot)].top, offset) >= CROWDED
            && self.piecemeal.insert((slot, offset >> LARGE_BITS))
    }

    /// Whether a window shows the span of `va`, but nothing of the 2 MiB around, and these were not taken apart before.
    pub fn is_bare(&self, mode: usize, space: u64, va: u64) -> bool {
        let Some(slot) = self.find(mode, space, va >> SPAN_BITS) else { return false };
        let (top, offset) = (self.slots[usize::from(slot)].top, va & ((1 << SPAN_BITS) - 1));
        !self.pool.has_pages(top, offset)
            && self.pool.lookup(top, offset).is_none()
            && !self.piecemeal.contains(&(slot, offset >> LARGE_BITS))
    }

    /// Maps the 2 MiB around `va`, which the guest maps by pages that are alike, as a large page. Gives whether it could.
    #[allow(clippy::too_many_arguments)]
    pub fn join(
        &mut self,
        mode: usize,
        space: u64,
        va: u64,
        frame: u64,
        writable: bool,
        platform: &impl Platform,
        stats: &Stats,
    ) -> bool {
        let Some(slot) = self.find(mode, space, va >> SPAN_BITS) else { return false };
        let offset = (va & ((1 << SPAN_BITS) - 1)) >> LARGE_BITS << LARGE_BITS;
        let window = &mut self.slots[usize::from(slot)];
        let generation = window.generation;
        let bare = !self.pool.has_pages(window.top, offset);
        if self.pool.map(window.top, &mut window.tables, offset, frame, writable, true).is_err() {
            return false;
        }
        if writable {
            let note = Note { slot, generation, page: (offset >> PAGE_BITS) as u32 };
            let slots = &self.slots;
            self.reverse.add_large(frame >> PAGE_BITS, note, |note| alive(slots, note));
        }
        count(&stats.window_fills_large, 1);
        // The processor may hold translations of single pages, and would keep them when the large one goes.
        if !bare {
            self.reclaim(platform, stats);
        }
        true
    }

    /// Gives up every window. Gives whether there were any.
    pub fn drop_all(&mut self) -> bool {
        self.pressure = false;
        if self.index.is_empty() {
            return false;
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].live {
                self.retire(slot as u8);
            }
        }
        self.large.clear();
        true
    }

    /// Gives up the windows of one address space.
    pub fn drop_space(&mut self, space: u64) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].live && self.slots[slot].view.space == Some(space) {
                self.retire(slot as u8);
            }
        }
    }

    /// Gives up the windows, by mode and address space, that are not `open`.
    pub fn keep(&mut self, open: impl Fn(usize, Option<u64>) -> bool) {
        for slot in 0..self.slots.len() {
            let Window { live, view: View { mode, space, .. }, .. } = self.slots[slot];
            if live && !open(mode, space) {
                self.retire(slot as u8);
            }
        }
    }

    /// No window may show the page at VM-physical address `frame` writable any more.
    pub fn protect(&mut self, frame: u64, platform: &impl Platform, stats: &Stats) {
        let mut changed = Vec::new();
        for note in self.reverse.take(frame >> PAGE_BITS) {
            if alive(&self.slots, &note) {
                let offset = u64::from(note.page) << PAGE_BITS;
                let window = &self.slots[usize::from(note.slot)];
                if self.pool.protect(window.top, offset, frame) {
                    changed.push((note.slot, offset));
                }
            }
        }
        count(&stats.window_protections, changed.len());
        if !changed.is_empty() {
            self.rewritten.note(frame >> PAGE_BITS);
        }
        if changed.len() > 1 {
            self.reclaim(platform, stats);
        } else if let Some(&(slot, offset)) = changed.first() {
            self.invalidate(slot, offset, platform);
        }
    }

    /// Windows in use, and tables.
    pub fn in_use(&self) -> (usize, usize) {
        (self.index.len(), self.pool.used())
    }
}

/// Whether the window that a note is about still exists.
fn alive(slots: &[Window], note: &Note) -> bool {
    let window = &slots[usize::from(note.slot)];
    window.live && note.is_of(window.generation)
}
