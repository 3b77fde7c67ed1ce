//! The vCPU loop: run translated code, see why it came back, find what runs next.

use crate::machine::Cpu;
use crate::platform::Platform;
use crate::shared::{add, stopped};
use core::sync::atomic::Ordering;
use x86_backend::guest::Guest;
use x86_backend::jit::Mechanisms;
use x86_backend::runtime::{ARRIVAL_STRIDE, JUMP_ENTRIES, JumpEntry, event, exit};

/// Where translated code looks for jumps of that `Runtime::exit_arrival` to `pc`.
pub(crate) fn jump_index(pc: u64, arrival: usize) -> usize {
    ((pc >> 2) as usize & (JUMP_ENTRIES - 1)) + arrival * ARRIVAL_STRIDE
}

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    /// Runs until the guest or the launcher ends it; gives a [`stopped`] code.
    pub(crate) fn run(&mut self) -> u32 {
        let started = self.shared().platform.tsc();
        self.refresh_jump_key();
        let code = loop {
            if self.events().load(Ordering::Relaxed) != 0
                && let Some(code) = self.handle_events()
            {
                break code;
            }
            if let Some(entry) = self.find_block() {
                self.enter(entry);
            } else {
                self.refresh_jump_key();
            }
        };
        self.publish_counts(started);
        self.shared().control.stopped.store(code, Ordering::Release);
        code
    }

    /// Runs translated code from `entry`, following exits that need no look at events, until one does.
    fn enter(&mut self, entry: u64) {
        self.fill_jump_cache(entry);
        let mut next = Some(entry);
        let mut reason = exit::STATE;
        while let Some(entry) = next.take() {
            let shared = self.shared();
            add(&shared.control.stats.dispatches, 1);
            shared.jit.enter(self.vcpu.cast(), entry);
            reason = self.note_exit();
            // Exceptions, returns from them and barriers lead where the guest often was.
            if reason == exit::STATE && self.stop.is_none() {
                next = self.cached_jump();
            }
        }
        match reason {
            exit::CHAIN => {
                // SAFETY: the block lives as long as `self`.
                let site = unsafe { (*self.vcpu).rt.exit_site };
                self.chain(site, self.pc());
            }
            exit::HOT => self.hot(),
            exit::RECHECK => self.recheck_region(),
            _ => {}
        }
    }

    /// After translated code returned: counts the exit and gives its reason. The guest's PC is where it goes on.
    pub(crate) fn note_exit(&mut self) -> u32 {
        // SAFETY: the block lives as long as `self`.
        let (reason, arrival) = unsafe { ((*self.vcpu).rt.exit_reason, (*self.vcpu).rt.exit_arrival) };
        self.arrival = if reason == exit::LOOKUP { arrival as usize } else { 0 };
        let stats = &self.shared().control.stats;
        let counter = match reason {
            exit::LOOKUP => &stats.lookup_exits,
            exit::EVENTS => &stats.event_exits,
            exit::STATE => &stats.state_exits,
            exit::CHAIN => &stats.chain_exits,
            exit::HOT => &stats.hot_exits,
            _ => &stats.recheck_exits,
        };
        add(counter, 1);
        if reason == exit::STATE {
            self.refresh_jump_key();
        }
        reason
    }

    /// Makes the direct jump at `site` go to the block at `pc`, which is in the same guest page.
    fn chain(&mut self, site: u64, pc: u64) {
        let generation = self.shared().cache.generation();
        let Some(entry) = self.find_block() else {
            self.refresh_jump_key();
            return;
        };
        let shared = self.shared();
        let wanted = shared.control.uses(Mechanisms::CHAINING);
        if wanted && self.pc() == pc && shared.cache.generation() == generation {
            shared.jit.patch(site, entry);
            add(&shared.control.stats.chains, 1);
        }
    }

    /// The code for the guest's PC, if the jump cache has it: pending events are looked at where it begins.
    fn cached_jump(&self) -> Option<u64> {
        let pc = self.pc();
        // SAFETY: the block lives as long as `self`.
        let (context, rt) = unsafe { (G::context(&(*self.vcpu).state), &(*self.vcpu).rt) };
        let entry = rt.jump[jump_index(pc, 0)];
        (entry.tag == pc ^ rt.jump_key && G::settled_context(context) == context).then_some(entry.code)
    }

    fn fill_jump_cache(&mut self, entry: u64) {
        let pc = self.pc();
        let arrival = core::mem::take(&mut self.arrival);
        // SAFETY: the block lives as long as `self`.
        let (context, rt) = unsafe { (G::context(&(*self.vcpu).state), &mut (*self.vcpu).rt) };
        if G::settled_context(context) != context || !self.shared().control.uses(Mechanisms::JUMP_CACHE) {
            // The guest wants to be asked every time.
            return;
        }
        let key = arrival.checked_sub(1).map_or(rt.jump_key, |i| rt.arrival_keys[i]);
        rt.jump[jump_index(pc, arrival)] = JumpEntry { tag: pc ^ key, code: entry };
    }

    /// Takes note of pending events; `Some` ends the run.
    fn handle_events(&mut self) -> Option<u32> {
        let pending = self.events().swap(0, Ordering::Acquire);
        if pending & event::HOST != 0 {
            let shared = self.shared();
            if shared.control.stop_request.load(Ordering::Acquire) != 0 {
                return Some(stopped::REQUESTED);
            }
            shared.board.host_event(shared.control, shared.platform);
        }
        if let Some(code) = self.stop.take() {
            return Some(code);
        }
        self.settle_windows();
        // An interrupt saves what the guest says to the branch that led here.
        if self.arrival != 0 && self.current_key().is_none() {
            self.refresh_jump_key();
        }
        // SAFETY: the block lives as long as `self`; the guest model gets the only reference.
        if G::poll_events(unsafe { &mut *self.vcpu }) {
            add(&self.shared().control.stats.interrupts, 1);
            self.arrival = 0;
            self.refresh_jump_key();
        }
        None
    }

    fn publish_counts(&mut self, started: u64) {
        self.publish_windows();
        let shared = self.shared();
        let stats = &shared.control.stats;
        // SAFETY: the block lives as long as `self`.
        let rt = unsafe { &(*self.vcpu).rt };
        stats.blocks_run.store(rt.blocks_run, Ordering::Relaxed);
        stats.insns_run.store(rt.insns_run, Ordering::Relaxed);
        stats.accesses_run.store(rt.accesses_run, Ordering::Relaxed);
        add(&stats.run_cycles, shared.platform.tsc().saturating_sub(started));
    }
}
