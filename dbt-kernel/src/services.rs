//! What the engine does for a guest's helpers and walkers.

use crate::dispatch::jump_index;
use crate::filled::{Filled, PRIVATE};
use crate::machine::Cpu;
use crate::platform::Platform;
use crate::ram::Writable;
use crate::shared::{add, host_feature, stopped};
use core::fmt::Write;
use core::sync::atomic::Ordering;
use hashbrown::HashSet;
use x86_backend::emit::BranchKind;
use x86_backend::guest::{BusError, Guest, Mapping, Services, SystemEvent};
use x86_backend::runtime::{JumpEntry, MMU_MODES, PAGE_BITS, TLB_ENTRIES, TlbEntry, event};

/// Where the software TLB may have the page with `va` besides the place where translated code looks: an entry that another page has
/// pushed out. Pages that share the first place mostly have different second ones: memory of several threads, say, begins at
/// multiples of a large power of two.
pub(crate) fn second_place(va: u64) -> usize {
    let page = (va & ADDRESS) >> PAGE_BITS;
    let above = (page >> TLB_ENTRIES.trailing_zeros()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (page ^ above ^ (TLB_ENTRIES as u64 / 2)) as usize & (TLB_ENTRIES - 1)
}

/// Whether an entry permits writes to the page at `phys`.
fn permits_writes(entry: &TlbEntry, phys: u64) -> bool {
    entry.write != TlbEntry::INVALID && (entry.phys ^ phys) >> PAGE_BITS == 0
}

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// Virtual mappings that something was derived from, to know whether dropping the mapping of one address concerns it,
/// whatever the mapping's size.
#[derive(Default)]
pub(crate) struct Mappings {
    bases: HashSet<u64, Words>,
    /// Bit n: a mapping of 2^n bytes is among them.
    sizes: u64,
}

/// Addresses are compared without their top byte, which a guest may use as a tag.
const ADDRESS: u64 = (1 << 56) - 1;

impl Mappings {
    fn key(va: u64, bits: u32) -> u64 {
        ((va & ADDRESS) >> bits << bits) | u64::from(bits)
    }

    /// Notes the mapping of 2^`bits` bytes that holds `va`.
    pub(crate) fn note(&mut self, va: u64, bits: u32) {
        let bits = bits.clamp(PAGE_BITS, 55);
        self.sizes |= 1 << bits;
        self.bases.insert(Self::key(va, bits));
    }

    /// Whether a noted mapping holds `va`.
    pub(crate) fn hold(&self, va: u64) -> bool {
        let mut sizes = self.sizes;
        while sizes != 0 {
            let bits = sizes.trailing_zeros();
            if self.bases.contains(&Self::key(va, bits)) {
                return true;
            }
            sizes &= sizes - 1;
        }
        false
    }

    /// The size (as its logarithm) of the largest noted mapping that holds `va`.
    pub(crate) fn size_at(&self, va: u64) -> Option<u32> {
        let mut sizes = self.sizes;
        while sizes != 0 {
            let bits = 63 - sizes.leading_zeros();
            if self.bases.contains(&Self::key(va, bits)) {
                return Some(bits);
            }
            sizes &= !(1 << bits);
        }
        None
    }

    pub(crate) fn clear(&mut self) {
        self.bases.clear();
        self.sizes = 0;
    }
}

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    pub(crate) fn tlb_entry(&mut self, mode: usize, index: usize) -> &mut TlbEntry {
        // SAFETY: the block lives as long as `self`; helpers that call into the engine hold no reference to the TLB.
        unsafe { &mut (*self.vcpu).rt.tlb[mode % MMU_MODES][index % TLB_ENTRIES] }
    }

    /// The software TLB of a mode, and which places of it hold something.
    pub(crate) fn filled_places(&mut self, mode: usize) -> (&mut Filled, &mut [TlbEntry; TLB_ENTRIES]) {
        // SAFETY: the block lives as long as `self`; helpers that call into the engine hold no reference to the TLB.
        let tlb = unsafe { &mut (*self.vcpu).rt.tlb[mode % MMU_MODES] };
        (&mut self.filled[mode], tlb)
    }

    fn flush_everything(&mut self) {
        add(&self.shared().control.stats.tlb_flushes, 1);
        for mode in 0..MMU_MODES {
            let (filled, tlb) = self.filled_places(mode);
            filled.drop_all(tlb);
        }
        self.data_mappings.clear();
    }

    /// Drops the software TLB's entries that hold in one address space only.
    fn flush_private(&mut self) {
        add(&self.shared().control.stats.tlb_space_flushes, 1);
        for mode in 0..MMU_MODES {
            let (filled, tlb) = self.filled_places(mode);
            filled.drop_private(tlb);
        }
    }

    /// Enters a translation of the page with `va` into the software TLB.
    pub(crate) fn fill_tlb(&mut self, mode: usize, va: u64, mapping: &Mapping, host: *mut u8, writable: bool) {
        self.enter_tlb(mode, va, mapping, mapping.write && writable, 0, (host as u64).wrapping_sub(va));
    }

    /// The same of a device's page: translated code will miss it, but the miss finds it.
    pub(crate) fn fill_tlb_device(&mut self, mode: usize, va: u64, mapping: &Mapping) {
        self.enter_tlb(mode, va, mapping, mapping.write, TlbEntry::DEVICE, 0);
    }

    fn enter_tlb(&mut self, mode: usize, va: u64, mapping: &Mapping, writable: bool, mark: u64, addend: u64) {
        let page = va >> PAGE_BITS << PAGE_BITS;
        let offset = va - page;
        let tag = |usable: bool| if usable { page | mark } else { TlbEntry::INVALID };
        let entry = TlbEntry {
            read: tag(mapping.read),
            write: tag(writable),
            addend,
            phys: (mapping.phys - offset) | if mapping.global { 0 } else { PRIVATE },
        };
        self.place_entry(mode, page, entry);
        if mapping.size_bits > PAGE_BITS {
            self.data_mappings.note(va, mapping.size_bits);
        }
    }

    /// Puts an entry where translated code looks for `page`. What is there moves to its second place if that is free.
    fn place_entry(&mut self, mode: usize, page: u64, entry: TlbEntry) {
        let index = (page >> PAGE_BITS) as usize & (TLB_ENTRIES - 1);
        let old = *self.tlb_entry(mode, index);
        self.set_entry(mode, index, entry);
        let tag = if old.read == TlbEntry::INVALID { old.write } else { old.read };
        if tag == TlbEntry::INVALID || tag & TlbEntry::DEVICE != 0 || tag == page {
            return;
        }
        let second = second_place(tag);
        let there = self.tlb_entry(mode, second);
        let tag = if there.read == TlbEntry::INVALID { there.write } else { there.read };
        // Others that were pushed out give way.
        let free = tag == TlbEntry::INVALID || (tag >> PAGE_BITS) as usize & (TLB_ENTRIES - 1) != second;
        if free && second != index {
            self.set_entry(mode, second, old);
        }
    }

    fn set_entry(&mut self, mode: usize, index: usize, entry: TlbEntry) {
        let (filled, tlb) = self.filled_places(mode);
        filled.set(tlb, index % TLB_ENTRIES, entry);
        if entry.write != TlbEntry::INVALID {
            self.note_writable(entry.phys, index % TLB_ENTRIES);
        }
    }

    /// An entry at `index` permits writes to the page at `phys`.
    fn note_writable(&mut self, phys: u64, index: usize) {
        let Some(&mut before) = self.shared().ram.writable(phys) else { return };
        let mut now = before.and(index);
        if now == Writable::ANYWHERE
            && let Some(others) = before.indices()
        {
            // Perhaps they are there no more.
            let still = |other: &usize| {
                (0..MMU_MODES).map(|mode| *self.tlb_entry(mode, *other)).any(|entry| permits_writes(&entry, phys))
            };
            now = others.filter(still).fold(Writable::default().and(index), Writable::and);
        }
        if let Some(writable) = self.shared().ram.writable(phys) {
            *writable = now;
        }
    }

    /// The entry in the second place of `va` goes back to the first.
    pub(crate) fn restore_entry(&mut self, mode: usize, va: u64) {
        let slot = self.tlb_entry(mode, second_place(va));
        let entry = *slot;
        // Stays listed as filled.
        (slot.read, slot.write) = (TlbEntry::INVALID, TlbEntry::INVALID);
        self.place_entry(mode, va >> PAGE_BITS << PAGE_BITS, entry);
    }

    /// Writes to the page at `phys` must take the slow path from now on: it holds translated code.
    pub(crate) fn protect_page(&mut self, phys: u64) {
        let writable = self.shared().ram.writable(phys).map(core::mem::take).unwrap_or_default();
        // Looking at every entry for each page of code would be dear.
        for mode in 0..MMU_MODES {
            let (filled, tlb) = self.filled_places(mode);
            let protect = |index: usize| {
                if permits_writes(&tlb[index], phys) {
                    tlb[index].write = TlbEntry::INVALID;
                }
            };
            match writable.indices() {
                Some(indices) => indices.for_each(protect),
                None => filled.places().for_each(protect),
            }
        }
        self.protect_windows(phys);
    }

    /// All jump cache entries and fetch translations become invalid.
    pub(crate) fn retire_jumps(&mut self) {
        self.keys.retire_all();
        self.global_fetches.clear();
        self.private_fetches.clear();
        self.refresh_jump_key();
    }

    /// The context word or the address space may have changed.
    pub(crate) fn refresh_jump_key(&mut self) {
        // SAFETY: the block lives as long as `self`, and nothing else refers to these fields now.
        unsafe {
            let context = G::context(&(*self.vcpu).state);
            let key = self.keys.key(G::settled_context(context), self.space);
            let separate = self.arrivals_matter[G::mmu_mode(context, false)];
            let rt = &raw mut (*self.vcpu).rt;
            (*rt).jump_key = key;
            (*rt).arrival_keys = self.arrival_salts.map(|salt| if separate { key ^ salt } else { key });
        }
    }

    /// Writes one line to the launcher's log; what doesn't fit is dropped.
    pub(crate) fn log_line(&self, message: core::fmt::Arguments<'_>) {
        struct Sink<'a>(&'a crate::shared::Control);
        impl Write for Sink<'_> {
            fn write_str(&mut self, s: &str) -> core::fmt::Result {
                s.bytes().for_each(|byte| {
                    self.0.log.push(byte);
                });
                Ok(())
            }
        }
        let _ = writeln!(Sink(self.shared().control), "{message}");
    }

    /// Drops translations of one page of guest RAM.
    pub(crate) fn invalidate_page(&mut self, phys: u64) {
        if self.shared().ram.set_code(phys, false) {
            add(&self.shared().control.stats.pages_invalidated, 1);
            // SAFETY: the block lives as long as `self`; helpers that call into the engine hold no reference to the jump cache.
            let jump = unsafe { &mut (*self.vcpu).rt.jump };
            let shared = self.shared();
            let dropped = shared.cache.invalidate_page(phys, |key| {
                for arrival in 0..=BranchKind::ARRIVALS.len() {
                    // Whatever is there: it may lead to the block by way of a region that is no more.
                    jump[jump_index(key.virt, arrival)] = JumpEntry::EMPTY;
                }
            });
            for (block, region) in dropped {
                self.drop_region(block, &region);
            }
        }
    }

    /// Reads what isn't RAM.
    pub(crate) fn device_read(&mut self, phys: u64, size: u32) -> Result<u64, BusError> {
        let shared = self.shared();
        add(&shared.control.stats.device_accesses, 1);
        let value = shared.board.read(phys, size, self.index, shared.control, shared.platform).ok_or(BusError)?;
        self.notice_interrupts();
        Ok(value)
    }

    /// Writes what isn't RAM.
    pub(crate) fn device_write(&mut self, phys: u64, size: u32, value: u64) -> Result<(), BusError> {
        let shared = self.shared();
        add(&shared.control.stats.device_accesses, 1);
        shared.board.write(phys, size, value, self.index, shared.control, shared.platform).ok_or(BusError)?;
        self.notice_interrupts();
        Ok(())
    }

    /// After anything that may have changed the interrupt controller's output.
    pub(crate) fn notice_interrupts(&mut self) {
        if self.shared().board.irq_asserted(self.index) {
            self.events().fetch_or(event::INTERRUPT, Ordering::Relaxed);
        }
    }
}

impl<G: Guest, P: Platform> Services for Cpu<'_, G, P> {
    fn ram(&mut self, phys: u64, len: u64) -> Option<*mut u8> {
        self.shared().ram.pointer(phys, len)
    }

    fn phys_read(&mut self, phys: u64, size: u32) -> Result<u64, BusError> {
        if let Some(host) = self.shared().ram.pointer(phys, size.into()) {
            // SAFETY: `size` bytes of guest RAM.
            return Ok(unsafe { crate::softmmu::read_host(host, size) });
        }
        self.device_read(phys, size)
    }

    fn phys_write(&mut self, phys: u64, size: u32, value: u64) -> Result<(), BusError> {
        if let Some(host) = self.shared().ram.pointer(phys, size.into()) {
            self.invalidate_code(phys, size.into());
            // SAFETY: `size` bytes of guest RAM.
            unsafe { crate::softmmu::write_host(host, size, value) };
            return Ok(());
        }
        self.device_write(phys, size, value)
    }

    fn invalidate_code(&mut self, phys: u64, len: u64) {
        let mut at = phys;
        let end = phys.saturating_add(len);
        while at < end {
            let next = ((at >> PAGE_BITS) + 1) << PAGE_BITS;
            if self.shared().ram.has_code(at) && self.shared().cache.covers(at, next.min(end) - at) {
                self.invalidate_page(at);
            }
            at = next;
        }
    }

    fn fetch_mapping_changed(&mut self, va: Option<u64>) {
        if va.is_none_or(|va| self.global_fetches.hold(va)) {
            self.retire_jumps();
        } else if va.is_some_and(|va| self.private_fetches.hold(va)) {
            self.keys.retire_private();
            self.private_fetches.clear();
            self.refresh_jump_key();
        }
    }

    fn tlb_flush(&mut self, va: Option<u64>) {
        self.drop_windows(va);
        match va {
            Some(va) if !self.data_mappings.hold(va) => {
                add(&self.shared().control.stats.tlb_page_flushes, 1);
                for (mode, index) in
                    (0..MMU_MODES).flat_map(|mode| [(mode, (va >> PAGE_BITS) as usize), (mode, second_place(va))])
                {
                    // Stays listed as filled.
                    let entry = self.tlb_entry(mode, index);
                    entry.read = TlbEntry::INVALID;
                    entry.write = TlbEntry::INVALID;
                }
            }
            _ => self.flush_everything(),
        }
    }

    fn address_space_changed(&mut self, id: u64) {
        if self.space == id {
            return;
        }
        self.leave_space(id);
        self.flush_private();
        self.refresh_spans();
        self.refresh_jump_key();
    }

    fn forget_address_space(&mut self, id: u64) {
        // The software TLB holds private translations of the current address space only.
        if self.space == id {
            self.flush_private();
        }
        self.drop_space_windows(id);
        self.keys.retire_space(id);
        self.refresh_jump_key();
    }

    fn ticks(&mut self) -> u64 {
        let shared = self.shared();
        shared.clock.ticks(shared.platform.tsc())
    }

    fn tick_hz(&self) -> u64 {
        crate::clock::TICK_HZ
    }

    fn set_deadline(&mut self, ticks: u64) {
        let shared = self.shared();
        let tsc = if ticks == u64::MAX { u64::MAX } else { shared.clock.tsc_at(ticks) };
        shared.control.deadline[self.index as usize].store(tsc, Ordering::Release);
        if tsc <= shared.platform.tsc() {
            self.events().fetch_or(event::HOST, Ordering::Relaxed);
        }
    }

    fn set_private_irq(&mut self, irq: u32, level: bool) {
        self.shared().board.set_private_irq(self.index, irq, level);
    }

    fn irq_asserted(&mut self) -> bool {
        self.shared().board.irq_asserted(self.index)
    }

    fn wait_for_event(&mut self) {
        self.count_run();
        let shared = self.shared();
        let start = shared.platform.tsc();
        shared.control.waiting[self.index as usize].store(1, Ordering::SeqCst);
        if self.events().load(Ordering::SeqCst) == 0 {
            shared.platform.wait(self.index);
        }
        shared.control.waiting[self.index as usize].store(0, Ordering::SeqCst);
        add(&shared.control.stats.waits, 1);
        let cycles = shared.platform.tsc().saturating_sub(start);
        add(&shared.control.stats.wait_cycles, cycles);
        self.count_wait();
        self.events().fetch_or(event::INTERRUPT, Ordering::Relaxed);
    }

    fn system_event(&mut self, event: SystemEvent) {
        let no_reboot = self.shared().control.options & crate::shared::option::NO_REBOOT != 0;
        self.stop = Some(match event {
            SystemEvent::PowerOff => stopped::POWER_OFF,
            SystemEvent::Reset if no_reboot => stopped::RESET,
            SystemEvent::Reset => stopped::REBOOT,
        });
        self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
    }

    fn random(&mut self) -> Option<u64> {
        /// Tries after which the generator counts as exhausted.
        const TRIES: u32 = 10;
        if self.shared().control.host_features & host_feature::RDRAND == 0 {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let (value, ok): (u64, u8);
            // SAFETY: the processor has the instruction, as just checked.
            unsafe {
                core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack))
            };
            (ok != 0).then_some(value)
        })
    }

    fn undefined_instruction(&mut self, word: u64, pc: u64) {
        /// Different words that are logged; a guest can make up as many as it likes.
        const LOGGED: usize = 64;
        struct Text<'a, G>(u32, u64, core::marker::PhantomData<&'a G>);
        impl<G: Guest> core::fmt::Display for Text<'_, G> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                G::disassemble(self.0, self.1, f)
            }
        }
        add(&self.shared().control.stats.undefined_insns, 1);
        if self.undefined.len() < LOGGED && !self.undefined.contains(&word) {
            self.undefined.push(word);
            let text = Text::<G>(word as u32, pc, core::marker::PhantomData);
            self.log_line(format_args!("undefined instruction {word:08x} at {pc:#x}: {text}"));
        }
    }

    fn log(&mut self, message: core::fmt::Arguments<'_>) {
        self.log_line(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_share_a_first_place_have_different_second_ones() {
        let first = |va: u64| (va >> PAGE_BITS) as usize & (TLB_ENTRIES - 1);
        let reach = (TLB_ENTRIES as u64) << PAGE_BITS;
        let heaps: Vec<u64> = (0..16).map(|i| 0xffff_a001_5000 + i * reach).collect();
        let mut places: Vec<usize> = heaps.iter().map(|va| second_place(*va)).collect();
        assert!(heaps.iter().all(|va| first(*va) == first(heaps[0]) && second_place(*va) != first(*va)));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), heaps.len());
        assert_eq!(second_place(0xab00_ffff_a001_5000), second_place(0xffff_a001_5000), "the tag byte does not count");
    }

    #[test]
    fn mappings_hold_their_whole_size() {
        let mut mappings = Mappings::default();
        mappings.note(0xffff_8000_0020_1000, 21);
        mappings.note(0x1000, 12);
        assert!(mappings.hold(0xffff_8000_003f_ffff));
        assert!(!mappings.hold(0xffff_8000_0040_0000));
        assert!(mappings.hold(0x1fff) && !mappings.hold(0x2000));
        assert_eq!([0xffff_8000_0020_1000, 0x1800, 0x2000].map(|va| mappings.size_at(va)), [Some(21), Some(12), None]);
        assert!(mappings.hold(0xab00_0000_0000_1008), "the tag byte does not count");
        mappings.clear();
        assert!(!mappings.hold(0x1000));
    }
}
