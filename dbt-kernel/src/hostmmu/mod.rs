//! The host-MMU memory strategy: the engine's side of translated code's accesses through windows.
//!
//! Translated code looks a span up in the vCPU block and accesses memory at an address in a window
//! (`x86_backend::jit`, `reach`); what the window doesn't map faults, and the fault goes on in the access's slow path, which is
//! the software TLB's: so both strategies give the guest the same results. The slow path maps the page for the next time.
//!
//! Each access in the code is *aimed* at one of a few entries of the mode it runs in. An entry stands for a span, by
//! name; whether it has a window in the current address space is looked up when either changes. An access that finds
//! its span to be another one than it is aimed at goes through the software TLB, and is pointed at the right entry when its
//! patience is over. Accesses to devices, and stores that keep hitting pages with code beside their data, would fault each
//! time: once noticed they are aimed at nothing, for good. What an access that misses its span does at a device comes straight to
//! the engine.
//!
//! A fault costs much more than a walk of the guest's tables, so its neighbours are mapped along with a page that faulted,
//! and where many neighbours have turned up, the 2 MiB around as one large page if the guest maps them alike.
//!
//! Entries change hands and windows of the current address space are given up only between blocks or in calls that the guest's
//! instructions make: within a block, what one access has checked others may rely on.

mod demand;
mod frequent;
mod reverse;
mod spaces;
mod tables;
mod windows;

pub use tables::Place;

use crate::filled::Filled;
use crate::machine::Cpu;
use crate::platform::Platform;
use crate::ram::Ram;
use crate::services::Mappings;
use crate::shared::{Control, Stats, add, option};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
pub(crate) use demand::SECOND_PLACE;
use demand::{Demand, Setback, WALK};
use hashbrown::HashMap;
use windows::{Page, Windows};
use x86_backend::guest::{AccessKind, Guest, Mapping};
use x86_backend::jit;
use x86_backend::runtime::{MMU_MODES, MemDesc, PAGE_BITS, PATIENCE, SPAN_BITS, SPANS, Span, TlbEntry, Vcpu, event};

/// How many pages the software TLB's entries are, as far as windows' cost goes: 2 MiB that will be mapped as one are
/// [`LARGE_COST`] pages.
fn pages_in(tlb: &[TlbEntry], filled: &Filled, mappings: &Mappings) -> u64 {
    /// Pages of a block, whether its mapping is large, and where they are, if alike.
    struct Block(u64, bool, Option<u64>);
    let mut blocks = HashMap::<u64, Block, Words>::default();
    for TlbEntry { read: va, addend, .. } in filled.entries(tlb).filter(|entry| entry.read & (PAGE - 1) == 0) {
        let Block(pages, _, place) = blocks.entry(va & !(LARGE - 1)).or_insert_with(|| {
            let large = mappings.size_at(va).is_some_and(|bits| 1 << bits >= LARGE);
            Block(0, large, Some(addend))
        });
        *pages += 1;
        *place = place.filter(|place| *place == addend);
    }
    let cost = |&Block(pages, large, place): &Block| {
        let joined = large || (place.is_some() && pages >= windows::CROWDED as u64);
        if joined { pages.min(LARGE_COST) } else { pages }
    };
    blocks.values().map(cost).sum()
}

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// `Runtime::site` when no access through a window is under way.
pub(crate) const NO_SITE: u32 = u32::MAX;
/// Misses of its span after which an access that was aimed before is aimed again.
const AIM_AGAIN: i32 = 2048;
/// The same while windows are closed for its code, and cycles that each of these misses takes longer than an access that looks
/// into the software TLB at once, about.
const CLOSED_AGAIN: i32 = 256;
const ASIDE: u64 = 6;
/// Patience of a site whose misses go to devices: used up, so that they don't look into the software TLB on their way here.
const STRAIGHT: i32 = i32::MIN / 2;
/// Faults of a store, on pages with code that the store doesn't change, after which it is aimed at nothing.
const CODE_FAULTS: u8 = 8;
/// Most pages mapped at a fault: those of an aligned block, and more where the guest maps them by one entry.
const AROUND: u64 = 16;
const AROUND_ALIKE: u64 = 64;
const PAGE: u64 = 1 << PAGE_BITS;
const LARGE: u64 = 2 << 20;
/// What mapping them as one page costs, in pages.
const LARGE_COST: u64 = 5;
/// One part in so many of a second after the last look whether windows open there is another one, even if the guest's code goes
/// round a loop that never leaves it.
const LOOKS: u64 = 256;
/// An entry without a span.
const NAMELESS: u64 = u64::MAX;

/// The strategy's state for one vCPU.
pub(crate) struct HostMmu {
    windows: Windows,
    /// Who has windows, if not everybody.
    demand: Option<Demand>,
    /// The spans that entries stand for.
    names: [[u64; SPANS]; MMU_MODES],
    /// The entry that changes hands next, when a span has none.
    victim: usize,
    wanted: Option<(usize, u64)>,
    /// Windows closed: entries must hear of it, and code that uses them should no longer.
    closed: bool,
    /// Accesses that keep faulting: how often they did so; at [`CODE_FAULTS`] they are aimed at nothing.
    hopeless: HashMap<u32, u8, Words>,
    /// The access under way is one through a window, and came by a fault at this site.
    at_site: bool,
    fault_site: Option<u32>,
    /// The access under way is one that is aimed at nothing for good: windows learn nothing from it.
    aimless: bool,
}

impl HostMmu {
    /// The strategy, if the launcher set page tables aside.
    ///
    /// # Safety
    /// The memory for page tables is as [`Control`] says, and the engine's alone.
    pub(crate) unsafe fn new(control: &Control, now: u64) -> Option<Self> {
        let eager = control.options & option::HOST_MMU != 0;
        let fault_cost = control.stats.fault_cost.load(Ordering::Relaxed);
        if control.page_tables_size == 0 {
            return None;
        }
        let place = Place {
            base: crate::shared::layout::PAGE_TABLES,
            phys: control.page_tables_phys,
            size: control.page_tables_size,
            used: control.page_tables_used,
            root: control.page_tables_root,
        };
        let demand = if eager { None } else { Demand::new(fault_cost, now) };
        if demand.is_some() {
            look_again(control, now);
        }
        Some(Self {
            // SAFETY: the caller's promise.
            windows: unsafe { Windows::new(place) },
            demand,
            names: [[NAMELESS; SPANS]; MMU_MODES],
            victim: 0,
            wanted: None,
            closed: false,
            hopeless: HashMap::default(),
            at_site: false,
            fault_site: None,
            aimless: false,
        })
    }
}

impl HostMmu {
    fn repaid(&mut self, mode: usize, faults: u64) {
        if let Some(demand) = &mut self.demand {
            demand.repaid(mode, faults);
        }
    }

    /// Which code uses windows: where faults are dear, that which is hot.
    pub(crate) fn users(&self) -> jit::Windows {
        if self.demand.is_some() { jit::Windows::Regions } else { jit::Windows::Always }
    }
}

/// The access under way goes to a device, as others of its site that miss their span will. One that doesn't makes it patient again.
pub(crate) fn come_straight<S>(cpu: &mut Vcpu<S>) {
    let site = core::mem::replace(&mut cpu.rt.site, NO_SITE);
    if site != NO_SITE {
        cpu.rt.patience[site as usize % PATIENCE] = STRAIGHT;
    }
}

/// Asks the launcher for a look at windows in a while.
fn look_again(control: &Control, now: u64) {
    control.look.store(now + control.tsc_hz / LOOKS, Ordering::Relaxed);
}

/// What to map for the page with `va`, which the guest maps by `mapping`.
fn page(ram: &Ram, va: u64, mapping: &Mapping) -> Option<Page> {
    let frame = ram.frame(mapping.phys)?;
    let writable = mapping.write && !ram.has_code(mapping.phys);
    let start = mapping.phys & !(LARGE - 1);
    let alike = (va ^ frame) & (LARGE - 1) == 0 && (va ^ mapping.phys) & (LARGE - 1) == 0;
    let large = mapping.size_bits >= 21
        && alike
        && ram.pointer(start, LARGE).is_some()
        && (!mapping.write || !ram.has_code_in(start, LARGE));
    Some(Page { frame, writable, large })
}

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    fn stats(&self) -> &Stats {
        &self.shared().control.stats
    }

    fn span_entry(&mut self, mode: usize, index: usize) -> &mut Span {
        // SAFETY: the block lives as long as `self`; helpers and slow paths that call into the engine hold no reference to the
        // entries.
        unsafe { &mut (*self.vcpu).rt.spans[mode % MMU_MODES][index % (SPANS + 1)] }
    }

    /// Code is about to run, the first.
    pub(crate) fn begin_windows(&mut self) {
        // SAFETY: the block lives as long as `self`.
        let context = unsafe { G::context(&(*self.vcpu).state) };
        let (own, user) = (G::mmu_mode(context, false), G::mmu_mode(context, true));
        if let Some(HostMmu { demand: Some(demand), .. }) = &mut self.host
            && own != user
        {
            demand.begin(own, user);
        }
    }

    /// Entries again say what windows there are.
    pub(crate) fn refresh_spans(&mut self) {
        for mode in 0..MMU_MODES {
            // Entries get their names in order.
            let named = |host: &HostMmu| host.names[mode].iter().take_while(|name| **name != NAMELESS).count();
            for index in 0..self.host.as_ref().map_or(0, named) {
                self.refresh_span(mode, index);
            }
        }
    }

    fn refresh_span(&mut self, mode: usize, index: usize) {
        let space = self.space;
        let Some(host) = &mut self.host else { return };
        let name = host.names[mode][index];
        let entry = if name == NAMELESS { Span::NONE } else { host.windows.entry(mode, space, name) };
        *self.span_entry(mode, index) = entry;
    }

    /// A slow path begins.
    pub(crate) fn arrive(&mut self, cpu: &mut Vcpu<G::State>, va: u64, desc: MemDesc) {
        let Some(host) = &mut self.host else { return };
        let site = core::mem::replace(&mut cpu.rt.site, NO_SITE);
        let faulted = core::mem::replace(&mut cpu.rt.faulted, 0) != 0;
        host.at_site = site != NO_SITE;
        host.fault_site = (faulted && site != NO_SITE).then_some(site);
        host.aimless = false;
        let (mode, span) = (desc.mmu_mode(), va >> SPAN_BITS);
        if faulted {
            add(&self.stats().window_faults, 1);
            self.suffer(mode, Setback::Fault);
        } else if site != NO_SITE {
            let patience = &mut cpu.rt.patience[site as usize % PATIENCE];
            if host.hopeless.get(&site).is_some_and(|n| *n >= CODE_FAULTS) {
                *patience = i32::MAX;
                host.aimless = true;
                return;
            }
            let closed = host.demand.as_ref().is_some_and(|demand| !demand.is_open(mode));
            let vain = closed && *patience == -1;
            if *patience < 0 {
                *patience = if closed { CLOSED_AGAIN } else { AIM_AGAIN };
            }
            if !self.aim(site, mode, span) && vain {
                // An earlier program with this code had windows.
                self.note_miss(mode, CLOSED_AGAIN as u64 * ASIDE);
            }
        }
    }

    /// Points an access at the entry for `span`, or asks for one. Gives whether it was not aimed there already.
    fn aim(&mut self, site: u32, mode: usize, span: u64) -> bool {
        let Some(host) = &mut self.host else { return false };
        let names = &mut host.names[mode];
        let index = names.iter().position(|name| *name == span).or_else(|| {
            let free = names.iter().position(|name| *name == NAMELESS)?;
            names[free] = span;
            Some(free)
        });
        match index {
            Some(index) => {
                self.refresh_span(mode, index);
                let news = self.shared().jit.aim(site, mode, index);
                add(&self.stats().sites_aimed, news.into());
                news
            }
            None => {
                host.wanted = Some((mode, span));
                self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
                true
            }
        }
    }

    /// Between blocks: what could not be done within one.
    pub(crate) fn settle_windows(&mut self) {
        let Some(host) = &mut self.host else { return };
        if let Some((mode, span)) = host.wanted.take() {
            host.victim = (host.victim + 1) % SPANS;
            let index = host.victim;
            host.names[mode][index] = span;
            self.refresh_span(mode, index);
        }
        let Some(host) = &mut self.host else { return };
        if core::mem::take(&mut host.closed) {
            let space = self.space;
            let open = |mode, of: Option<u64>| {
                host.demand.as_ref().is_some_and(|demand| match of {
                    Some(other) if other != space => demand.is_open_in(other, mode),
                    _ => demand.is_open(mode),
                })
            };
            host.windows.keep(open);
            self.refresh_spans();
            self.restyle_regions();
        }
        let Some(host) = &mut self.host else { return };
        if host.windows.pressure {
            host.windows.drop_all();
            add(&self.stats().windows_evicted, 1);
            self.refresh_spans();
        }
        self.open_windows();
    }

    /// Windows of `mode` in the current address space suffered a setback: one too many closes them.
    fn suffer(&mut self, mode: usize, setback: Setback) {
        let Some((HostMmu { demand: Some(demand), .. }, shared)) = self.host_parts() else { return };
        if demand.suffered(mode, setback, shared.platform.tsc()) {
            add(&shared.control.stats.windows_closed, 1);
            self.log_line(format_args!("windows of mode {mode} close in address space {:#x}: {setback:?}", self.space));
            self.close_windows();
        }
    }

    /// Code of the current address space should not use windows any more, or they are gone.
    fn close_windows(&mut self) {
        if let Some(host) = &mut self.host {
            host.closed = true;
            self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
        }
    }

    /// Gives code of the current address space windows if it is time, with what the software TLB has of its memory.
    fn open_windows(&mut self) {
        // SAFETY: the block lives as long as `self`.
        let context = unsafe { G::context(&(*self.vcpu).state) };
        let (own, user) = (G::mmu_mode(context, false), G::mmu_mode(context, true));
        let Some((HostMmu { demand: Some(demand), .. }, shared)) = self.host_parts() else { return };
        let now = shared.platform.tsc();
        if !demand.is_due(now) {
            return;
        }
        look_again(shared.control, now);
        if own != user {
            demand.note_privileged(own);
        }
        if demand.look(now, own == user) {
            self.close_windows();
        }
        if own != user {
            self.open_windows_for(own);
        }
        self.open_windows_for(user);
    }

    fn open_windows_for(&mut self, mode: usize) {
        let space = self.space;
        let Some(host) = &mut self.host else { return };
        let (Some(demand), mappings, filled) = (&mut host.demand, &self.data_mappings, &self.filled[mode]) else {
            return;
        };
        // SAFETY: the block lives as long as `self`; nothing else refers to the software TLB now.
        let tlb = unsafe { &(*self.vcpu).rt.tlb[mode % MMU_MODES] };
        if !demand.opens(mode, || pages_in(tlb, filled, mappings)) {
            return;
        }
        let ran = demand.ran(mode) / 1000;
        add(&self.stats().windows_opened, 1);
        let pages: Vec<u64> = filled.entries(tlb).map(|entry| entry.read).filter(|va| va & (PAGE - 1) == 0).collect();
        let known = pages.len();
        self.log_line(format_args!(
            "windows of mode {mode} open in address space {space:#x} after {ran}k cycles: {known} pages"
        ));
        for va in pages {
            let mapped = |host: &HostMmu| host.windows.maps(mode, space, va);
            if self.host.as_ref().is_some_and(mapped) {
                continue;
            }
            // SAFETY: the block lives as long as `self`; the guest model gets the only reference.
            let cpu = unsafe { &mut *self.vcpu };
            if let Ok(mapping) = G::walk(cpu, va, AccessKind::Read, mode)
                && !self.join_if_bare(cpu, mode, va, &mapping, false)
            {
                self.fill_window(mode, va, &mapping, AccessKind::Read, None);
                self.join_if_crowded(cpu, mode, va, &mapping);
            }
        }
        self.refresh_spans();
        self.restyle_regions();
    }

    /// Whether windows are for some code only, for now.
    pub(crate) fn may_want_windows(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.demand.is_some())
    }

    /// Whether a region of code in this context should use windows.
    pub(crate) fn wants_windows(&self, context: u64) -> bool {
        let demand = self.host.as_ref().and_then(|host| host.demand.as_ref());
        demand.is_some_and(|demand| demand.is_open(G::mmu_mode(context, false)))
    }

    /// Whether code in this context is in all address spaces the same.
    pub(crate) fn is_everywhere(&self, context: u64) -> bool {
        let demand = self.host.as_ref().and_then(|host| host.demand.as_ref());
        demand.is_some_and(|demand| demand.is_privileged(G::mmu_mode(context, false)))
    }

    /// A region of `insns` instructions was made for code in this context.
    pub(crate) fn note_region(&mut self, context: u64, insns: u32) {
        let Some(HostMmu { demand: Some(demand), .. }) = &mut self.host else { return };
        if demand.translated(G::mmu_mode(context, false), insns.into()) {
            add(&self.stats().windows_closed, 1);
            self.close_windows();
        }
    }

    /// Another address space is the current one from now on.
    pub(crate) fn leave_space(&mut self, to: u64) {
        let from = core::mem::replace(&mut self.space, to);
        if let Some((HostMmu { demand: Some(demand), .. }, shared)) = self.host_parts() {
            demand.enter(from, to, || shared.platform.tsc());
        }
    }

    /// The current address space has run until now; the guest begins to wait.
    pub(crate) fn count_run(&mut self) {
        if let Some((HostMmu { demand: Some(demand), .. }, shared)) = self.host_parts() {
            demand.count(shared.platform.tsc());
        }
    }

    /// The guest has waited.
    pub(crate) fn count_wait(&mut self) {
        if let Some((HostMmu { demand: Some(demand), .. }, shared)) = self.host_parts() {
            demand.skip(shared.platform.tsc());
        }
    }

    /// A walk gave `mapping` for `va`: maps it in a window, and learns from the fault that brought the access here.
    pub(crate) fn fill_windows(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        mode: usize,
        va: u64,
        mapping: &Mapping,
        kind: AccessKind,
    ) {
        let Some(host) = &mut self.host else { return };
        // Code that doesn't use windows is no reason to have one.
        let at_site = core::mem::take(&mut host.at_site);
        let site = host.fault_site.take();
        let open = |demand: &Demand| at_site && (site.is_some() || demand.is_open(mode));
        let wanted = !host.aimless && host.demand.as_ref().is_none_or(open);
        self.note_miss(mode, WALK);
        self.note_stir(mode);
        if !wanted {
            return;
        }
        if self.join_if_bare(cpu, mode, va, mapping, site.is_some()) {
            return;
        }
        self.fill_window(mode, va, mapping, kind, site);
        if mapping.device {
            return;
        }
        let one = mapping.size_bits == PAGE_BITS;
        let size = if one { AROUND } else { (1 << (mapping.size_bits - PAGE_BITS)).min(AROUND_ALIKE) } * PAGE;
        let (start, space) = (va & !(size - 1), self.space);
        let around = if site.is_some() { start..start + size } else { 0..0 };
        for at in around.step_by(PAGE as usize) {
            if self.host.as_ref().is_some_and(|host| host.windows.maps(mode, space, at)) {
                continue;
            }
            if let Ok(mapping) = G::walk(cpu, at, AccessKind::Read, mode) {
                self.fill_window(mode, at, &mapping, AccessKind::Read, None);
            }
        }
        if one {
            self.join_if_crowded(cpu, mode, va, mapping);
        }
    }

    fn join_if_crowded(&mut self, cpu: &mut Vcpu<G::State>, mode: usize, va: u64, mapping: &Mapping) {
        let space = self.space;
        if self.host.as_mut().is_some_and(|host| host.windows.is_crowded(mode, space, va)) {
            self.join_pages(cpu, mode, va, mapping, windows::CROWDED as u64 / AROUND);
        }
    }

    /// Maps the 2 MiB around `va` as one page if none of them is mapped yet and that can be. Most pages' addresses rule it out.
    fn join_if_bare(
        &mut self,
        cpu: &mut Vcpu<G::State>,
        mode: usize,
        va: u64,
        mapping: &Mapping,
        faulted: bool,
    ) -> bool {
        let space = self.space;
        let may = !mapping.device && mapping.size_bits == PAGE_BITS && (va ^ mapping.phys) & (LARGE - 1) == 0;
        may && self.host.as_ref().is_some_and(|host| host.windows.is_bare(mode, space, va))
            && self.join_pages(cpu, mode, va, mapping, faulted.into())
    }

    /// Maps the 2 MiB around `va` as one large page, if they are RAM that the guest maps as one, and alike. So many `faults` led to
    /// it.
    fn join_pages(&mut self, cpu: &mut Vcpu<G::State>, mode: usize, va: u64, mapping: &Mapping, faults: u64) -> bool {
        let (start, space) = (va & !(LARGE - 1), self.space);
        let phys = mapping.phys.wrapping_sub(va - start);
        let ram = &self.shared().ram;
        let (Some(frame), Some(_)) = (ram.frame(phys), ram.pointer(phys, LARGE)) else { return false };
        if !frame.is_multiple_of(LARGE) || (mapping.write && ram.has_code_in(phys, LARGE)) {
            return false;
        }
        // Memory that is growing lacks the end.
        for offset in (0..LARGE / PAGE).rev().map(|page| page * PAGE) {
            let alike =
                |other: &Mapping| *other == Mapping { phys: phys + offset, ..*mapping } && !other.device && other.read;
            if !G::walk(cpu, start + offset, AccessKind::Read, mode).is_ok_and(|other| alike(&other)) {
                return false;
            }
        }
        let Some((host, shared)) = self.host_parts() else { return false };
        host.repaid(mode, faults);
        host.windows.join(mode, space, va, frame, mapping.write, shared.platform, &shared.control.stats)
    }

    /// Whether windows have nothing to learn from the access under way, which goes to a page that the software TLB has.
    pub(crate) fn needs_no_walk(&mut self, mode: usize, device: bool) -> bool {
        let Some(host) = &mut self.host else { return true };
        if host.fault_site.is_some() {
            return false;
        }
        if device || !host.at_site || host.aimless {
            return true;
        }
        match &mut host.demand {
            Some(demand) if !demand.is_open(mode) => {
                host.at_site = false;
                true
            }
            _ => false,
        }
    }

    /// Windows would have faulted.
    fn note_stir(&mut self, mode: usize) {
        if let Some(HostMmu { demand: Some(demand), .. }) = &mut self.host {
            demand.stirred(mode);
        }
    }

    /// An access missed the software TLB where it would not have missed a window, which took `cycles`.
    pub(crate) fn note_miss(&mut self, mode: usize, cycles: u64) {
        if let Some(HostMmu { demand: Some(demand), .. }) = &mut self.host
            && demand.missed(mode, cycles)
        {
            self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
        }
    }

    /// The guest permits no access: a fault that brought it here is the guest's to handle.
    pub(crate) fn note_guest_fault(&mut self, mode: usize) {
        self.note_stir(mode);
        if self.host.as_mut().is_some_and(|host| host.fault_site.take().is_some()) {
            add(&self.stats().window_faults_guest, 1);
        }
    }

    fn fill_window(&mut self, mode: usize, va: u64, mapping: &Mapping, kind: AccessKind, site: Option<u32>) {
        let space = self.space;
        let Some((host, shared)) = self.host_parts() else { return };
        let restless = host.windows.is_restless(va);
        if restless || mapping.device || shared.ram.pointer(mapping.phys, 1).is_none() {
            if let Some(site) = site {
                host.hopeless.insert(site, CODE_FAULTS);
                shared.jit.aim(site, mode, SPANS);
                if !restless {
                    add(&shared.control.stats.window_faults_device, 1);
                }
            }
            return;
        }
        let Some(mut page) = page(&shared.ram, va, mapping) else { return };
        let rewritten = host.windows.is_rewritten(page.frame);
        if rewritten {
            (page.writable, page.large) = (false, false);
        }
        let has_code = rewritten || shared.ram.has_code(mapping.phys);
        if let (Some(site), AccessKind::Write, true) = (site, kind, has_code) {
            add(&shared.control.stats.window_faults_code, 1);
            let faults = host.hopeless.entry(site).or_insert(0);
            *faults = faults.saturating_add(1);
            if *faults >= CODE_FAULTS {
                shared.jit.aim(site, mode, SPANS);
            }
        }
        if !mapping.read {
            return;
        }
        let stats = &shared.control.stats;
        if page.large && site.is_some() {
            host.repaid(mode, 1);
        }
        let made = host.windows.fill(mode, space, va, mapping, page, shared.platform, stats);
        if host.windows.pressure {
            self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
        }
        if made {
            let span = va >> SPAN_BITS;
            for index in 0..SPANS {
                if self.host.as_ref().is_some_and(|host| host.names[mode][index] == span) {
                    self.refresh_span(mode, index);
                }
            }
        }
    }

    /// The guest invalidated one address, or all.
    pub(crate) fn drop_windows(&mut self, va: Option<u64>) {
        let Some((host, shared)) = self.host_parts() else { return };
        match va {
            Some(va) => {
                if let Some(mode) = host.windows.drop_page(va, shared.platform, &shared.control.stats) {
                    let again = host.windows.is_often_dropped(va);
                    self.suffer(mode, Setback::Dropped { again });
                }
            }
            None => {
                if host.windows.drop_all() {
                    (0..MMU_MODES).for_each(|mode| self.suffer(mode, Setback::AllDropped));
                    self.refresh_spans();
                }
                self.forget_demand(None);
            }
        }
    }

    /// The guest invalidated one address space.
    pub(crate) fn drop_space_windows(&mut self, space: u64) {
        if let Some(host) = &mut self.host {
            host.windows.drop_space(space);
            self.refresh_spans();
            self.forget_demand(Some(space));
        }
    }

    /// An address space, or every one, begins anew; the current one only with all others, since one that is in use goes on.
    fn forget_demand(&mut self, space: Option<u64>) {
        let current = self.space;
        let Some(HostMmu { demand: Some(demand), .. }) = &mut self.host else { return };
        let open = |demand: &Demand| (0..MMU_MODES).any(|mode| demand.is_open(mode));
        let before = open(demand);
        match space {
            Some(space) if space == current => {}
            Some(space) => demand.forget(space),
            None => demand.forget_all(),
        }
        if before && !open(demand) {
            self.close_windows();
        }
    }

    /// The page at `phys` holds translated code now.
    pub(crate) fn protect_windows(&mut self, phys: u64) {
        let Some((host, shared)) = self.host_parts() else { return };
        if let Some(frame) = shared.ram.frame(phys) {
            host.windows.protect(frame, shared.platform, &shared.control.stats);
        }
    }

    /// All code is gone, and what was learnt about it.
    pub(crate) fn forget_sites(&mut self) {
        if let Some(host) = &mut self.host {
            host.hopeless.clear();
            // SAFETY: the block lives as long as `self`; nothing else refers to the counters now.
            unsafe { (*self.vcpu).rt.patience.fill(0) };
        }
    }

    /// Where translated code goes on after a page fault at host address `rip`; `None`: it isn't an access of the guest.
    ///
    /// # Safety
    /// `vcpu` is this value's block; the fault struck while its translated code ran.
    pub(crate) unsafe fn fault_target(vcpu: *mut u8, rip: u64) -> Option<u64> {
        // SAFETY: by the contract both exist; translated code holds no reference to either.
        unsafe {
            let vcpu = vcpu.cast::<Vcpu<G::State>>();
            let engine = (*vcpu).rt.engine.cast::<Self>();
            let target = (*(*engine).shared).jit.fault_target(rip)?;
            (*vcpu).rt.faulted = 1;
            Some(target)
        }
    }

    /// Figures for the end of the run.
    pub(crate) fn publish_windows(&mut self) {
        if let Some(host) = &self.host {
            let (windows, tables) = host.windows.in_use();
            self.stats().windows_in_use.store(windows as u64, Ordering::Relaxed);
            self.stats().window_tables.store(tables as u64, Ordering::Relaxed);
        }
    }
}

/// Where translated code of `vcpu` goes on after a page fault at host address `rip`; `None`: a bug.
///
/// # Safety
/// `vcpu` is the block of a vCPU of a [`crate::machine::Machine`] with this guest and platform, and the fault struck on the
/// thread that runs it.
#[must_use]
pub unsafe fn fault_target<G: Guest, P: Platform>(vcpu: *mut u8, rip: u64) -> Option<u64> {
    // SAFETY: the caller's promise.
    unsafe { Cpu::<'_, G, P>::fault_target(vcpu, rip) }
}
