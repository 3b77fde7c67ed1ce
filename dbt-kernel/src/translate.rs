//! From a guest address to translated code.

use crate::code_cache::Key;
use crate::machine::Cpu;
use crate::platform::Platform;
use crate::ram::{PAGE, Ram};
use crate::regions::heat_index;
use crate::run::{RUN, Run};
use crate::shared::add;
use x86_backend::emit::{Access, BranchKind};
use x86_backend::guest::{AccessKind, Guest};
use x86_backend::jit::{BlockContext, BlockEnd, Builder, Jump, Mechanisms, Onward};
use x86_backend::runtime::Vcpu;

/// Entries of the fetch translation cache.
pub(crate) const FETCHES: usize = 256;

/// One run in so many is timed phase by phase, and stands for all.
const TIMED: u64 = 8;

/// Most instructions in a block.
const MAX_INSNS: u32 = 64;

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    pub(crate) fn pc(&self) -> u64 {
        // SAFETY: the block lives as long as `self`; the guest's description places the program counter there.
        unsafe { self.vcpu.cast::<u8>().add(G::PC_OFFSET as usize).cast::<u64>().read() }
    }

    fn jump_key(&self) -> u64 {
        // SAFETY: the block lives as long as `self`.
        unsafe { (*self.vcpu).rt.jump_key }
    }

    /// Guest-physical address of what is mapped for fetches at `pc`, and its page's part of the context; takes no exception if
    /// nothing is.
    pub(crate) fn fetch_lookup(&mut self, pc: u64, context: u64) -> Option<(u64, u64)> {
        // SAFETY: as in `fetch_address`.
        let cpu = unsafe { &mut *self.vcpu };
        let mapping = G::walk(cpu, pc, AccessKind::Fetch, G::mmu_mode(context, false)).ok()?;
        if !mapping.global && self.make_private(cpu) {
            self.refresh_jump_key();
        }
        let noted = if mapping.global { &mut self.global_fetches } else { &mut self.private_fetches };
        noted.note(pc, mapping.size_bits);
        Some((mapping.phys, mapping.code_context))
    }

    /// Code of the current context was reached through a mapping of this address space only. Gives whether that is news.
    fn make_private(&mut self, cpu: &Vcpu<G::State>) -> bool {
        self.keys.make_private(G::settled_context(G::context(&cpu.state)))
    }

    /// Guest-physical address of the instruction at `pc`, and its page's part of the context. `None`: the guest's exception for a
    /// failed fetch was taken.
    fn fetch_address(&mut self, pc: u64, context: u64) -> Option<(u64, u64)> {
        let page = pc & !(PAGE - 1);
        let slot = (pc / PAGE) as usize % FETCHES;
        let (tag, phys, code_context) = self.fetches[slot];
        let aligned = pc & u64::from(G::INSN_BYTES - 1) == 0;
        if aligned && tag == page ^ self.jump_key() {
            return Some((phys | (pc & (PAGE - 1)), code_context));
        }
        // SAFETY: the block lives as long as `self`, and only this reference to it is used until the end of the statement
        // that uses it (the engine's own accesses go to parts the guest's walker doesn't touch).
        let cpu = unsafe { &mut *self.vcpu };
        let result = if aligned {
            G::walk(cpu, pc, AccessKind::Fetch, G::mmu_mode(context, false))
        } else {
            Err(G::alignment_fault(AccessKind::Fetch))
        };
        let fault = match result {
            Ok(mapping) if self.shared().ram.pointer(mapping.phys, G::INSN_BYTES.into()).is_some() => {
                if !mapping.global && self.make_private(cpu) {
                    self.refresh_jump_key();
                }
                let noted = if mapping.global { &mut self.global_fetches } else { &mut self.private_fetches };
                noted.note(pc, mapping.size_bits);
                let matters = &mut self.arrivals_matter[G::mmu_mode(context, false)];
                if mapping.code_context != 0 && !core::mem::replace(matters, true) {
                    self.refresh_jump_key();
                }
                self.fetches[slot] = (page ^ self.jump_key(), mapping.phys & !(PAGE - 1), mapping.code_context);
                return Some((mapping.phys, mapping.code_context));
            }
            Ok(_) => G::bus_fault(AccessKind::Fetch),
            Err(fault) => fault,
        };
        add(&self.shared().control.stats.faults_fetch, 1);
        if let Some(kind) = self.arrived() {
            G::arrive(cpu, kind, None, 0);
            self.arrival = 0;
        }
        G::raise(cpu, fault, pc, AccessKind::Fetch, Access::empty());
        None
    }

    /// The block at the guest's current PC and state. `None`: an exception was taken instead.
    pub(crate) fn current_key(&mut self) -> Option<Key> {
        let pc = self.pc();
        // SAFETY: the block lives as long as `self`.
        let context = unsafe { G::context(&(*self.vcpu).state) };
        let (phys, code_context) = self.fetch_address(pc, context)?;
        if code_context != 0
            && let Some(kind) = self.arrived()
            && let Some(host) = self.shared().ram.pointer(phys, G::INSN_BYTES.into())
        {
            // SAFETY: as many bytes of guest RAM.
            let word = unsafe { crate::softmmu::read_host(host, G::INSN_BYTES) } as u32;
            // SAFETY: the block lives as long as `self`; the guest model gets the only reference.
            G::arrive(unsafe { &mut *self.vcpu }, kind, Some(word), code_context);
        }
        // SAFETY: the block lives as long as `self`.
        let context = unsafe { G::context(&(*self.vcpu).state) };
        Some(Key { phys, virt: pc, context: context | code_context })
    }

    /// The branch by which control came here, if the guest may want to know.
    fn arrived(&self) -> Option<BranchKind> {
        self.arrival.checked_sub(1).and_then(|i| BranchKind::ARRIVALS.get(i).copied())
    }

    /// The code of a block, never of a region, how many instructions it has, and how it ends.
    pub(crate) fn plain_block(&mut self, key: Key) -> (u64, u32, BlockEnd) {
        let entry = match self.shared().cache.block(&key) {
            Some(entry) => entry,
            None => self.translate_block(key),
        };
        let (insns, end) = self.shared().cache.shape(&key);
        (entry, insns, end)
    }

    /// Host address of the code for the guest's current PC and state. `None`: an exception was taken instead.
    pub(crate) fn find_block(&mut self) -> Option<u64> {
        let key = self.current_key()?;
        let shared = self.shared();
        add(&shared.control.stats.lookups, 1);
        if let Some(entry) = shared.cache.find(&key) {
            return Some(entry);
        }
        Some(self.translate_block(key))
    }

    /// Translates the block at `key`, and what comes next.
    fn translate_block(&mut self, key: Key) -> u64 {
        match self.translate_run(key) {
            Some(entry) => entry,
            None => {
                self.flush_code();
                // A block has a bounded size, far below the smallest code cache that `Machine::new` accepts.
                self.translate_run(key).expect("one block fits into an empty code cache")
            }
        }
    }

    /// Translates the block at `key` and those of its page to which control seems to come from it: most of the time a block costs goes into
    /// getting the translator and its tables into the processor's caches, where they are for the next ones, and jumps among them need no
    /// dispatcher then. For the same reason all are recorded before the first is compiled. `None`: the code cache is full.
    fn translate_run(&mut self, key: Key) -> Option<u64> {
        if self.shared().cache.is_full() {
            return None;
        }
        let start = self.shared().platform.tsc();
        self.runs = self.runs.wrapping_add(1);
        if self.runs.is_multiple_of(TIMED) {
            self.shared().jit.time_phases();
        }
        let mut run = Run::new(key);
        while let Some(next) = run.next() {
            if let Some(entry) = self.shared().cache.find(&next) {
                run.entries[run.blocks - 1] = entry;
                continue;
            }
            self.set_heat(next.virt, self.fresh_heat());
            let Some((len, onward)) = self.record_alone(&next) else {
                run.blocks -= 1;
                continue;
            };
            // In pages where code is made what stands there may be about to change, and would take the others with it.
            if !self.shared().cache.rewritten(key.phys) {
                run.goes_on(&next, len, onward);
            }
        }
        let mut jumps = [Jump::default(); 2 * RUN];
        for (i, place) in jumps.chunks_exact_mut(2).enumerate().take(run.blocks) {
            if run.entries[i] != 0 {
                continue;
            }
            let Some(Ok(block)) = self.shared().jit.compile_kept() else { break };
            if self.shared().cache.insert(run.keys[i], &block, u64::from(block.insns * G::INSN_BYTES)) {
                self.shared().ram.set_code(key.phys, true);
                self.protect_page(key.phys);
            }
            run.entries[i] = block.entry;
            place.copy_from_slice(&block.jumps);
            let stats = &self.shared().control.stats;
            add(&stats.blocks_translated, 1);
            add(&stats.insns_translated, block.insns.into());
            add(&stats.code_bytes, block.bytes());
        }
        for jump in jumps {
            self.link(jump, &run);
        }
        let phases = self.shared().jit.take_phases();
        let stats = &self.shared().control.stats;
        add(&stats.translate_record_cycles, phases.record * TIMED);
        add(&stats.translate_optimise_cycles, phases.optimise * TIMED);
        add(&stats.translate_emit_cycles, phases.emit * TIMED);
        add(&stats.translate_cold_cycles, phases.cold * TIMED);
        add(&stats.translate_cycles, self.shared().platform.tsc().saturating_sub(start));
        (run.entries[0] != 0).then_some(run.entries[0])
    }

    /// Makes a jump go to the block of the run it leads to, if it leads to one.
    fn link(&mut self, jump: Jump, run: &Run<G>) {
        let wanted = jump.site != 0 && self.shared().control.uses(Mechanisms::CHAINING);
        let entry = if wanted { run.entry_at(jump.pc) } else { None };
        if let Some(entry) = entry {
            self.shared().jit.patch(jump.site, entry);
            add(&self.shared().control.stats.chains, 1);
        }
    }

    /// Records one block, to be compiled later; gives its bytes and where control goes from it. `None`: there is no RAM at its address.
    fn record_alone(&mut self, key: &Key) -> Option<(u64, Onward)> {
        let heat = Some(heat_index(key.virt) as u32);
        let shared = self.shared();
        let mut builder = shared.jit.begin(BlockContext { heat, ..Self::block_context(key) });
        let fallthrough = Self::record_block(&shared.ram, &mut builder, key)?;
        Some((fallthrough.wrapping_sub(key.virt), builder.keep(fallthrough)))
    }

    pub(crate) fn block_context(key: &Key) -> BlockContext {
        BlockContext {
            pc: key.virt,
            mmu_mode: G::mmu_mode(key.context, false) as u32,
            unpriv_mode: G::mmu_mode(key.context, true) as u32,
            fp_inline: G::fp_inline(key.context),
            fp_flush: G::fp_flush(key.context),
            strict_align: G::strict_alignment(key.context),
            heat: None,
            region: None,
        }
    }

    /// Records the instructions of one block; gives the address behind it. `None`: there is no RAM at its address.
    pub(crate) fn record_block(ram: &Ram, builder: &mut Builder<'_>, key: &Key) -> Option<u64> {
        let room = (PAGE - (key.phys & (PAGE - 1))) as u32 / G::INSN_BYTES;
        let host = ram.pointer(key.phys, u64::from(room * G::INSN_BYTES).min(PAGE))?;
        builder.begin_block();
        let mut pc = key.virt;
        let mut context = key.context;
        for i in 0..room.min(MAX_INSNS) {
            let at = host.wrapping_add((i * G::INSN_BYTES) as usize);
            // SAFETY: within the page of guest RAM that `pointer` gave.
            let word = unsafe { crate::softmmu::read_host(at, G::INSN_BYTES) } as u32;
            builder.begin_insn(pc);
            let left = G::translate(builder, word, pc, context).is_err();
            context = G::settled_context(context);
            pc = pc.wrapping_add(G::INSN_BYTES.into());
            if left || builder.ended() || builder.has_branch() {
                break;
            }
        }
        Some(pc)
    }

    /// Reclaims all code memory.
    pub(crate) fn flush_code(&mut self) {
        let shared = self.shared();
        add(&shared.control.stats.cache_flushes, 1);
        shared.cache.clear();
        shared.jit.reset();
        shared.ram.clear_code();
        self.forget_sites();
        self.retire_jumps();
        self.reset_heat();
    }
}
