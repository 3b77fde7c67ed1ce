//! Hot code: the path that the guest takes from a block entered often becomes a region, translated as one piece.
//!
//! Every block counts its entries down. When a counter runs out the dispatcher *records*: it runs the guest block by
//! block, which a pending event makes every block's entry do, until control is back where it began, at another region, or
//! the path is long enough. What the guest did then is what it most likely does often (the next-executing-tail idea of
//! Duesterwald and Bala, 2000). The path is translated into a region with one entry; where the guest leaves the path it
//! leaves the region, and what is hot there becomes a region in its turn; or, if the way from there leads back to the head of the
//! loop that was left, a branch of that ([`Tree`]), which is then translated anew.
//!
//! A hot block that nothing joins, as an interpreter's operations are, gains nothing by that. But where regions alone use windows
//! (`hostmmu`), it becomes a region of one block once its code has some.
//!
//! A region may span pages. It dies when any of them is written to. Whether they are still mapped as they were is looked at
//! whenever the jump key is another than at the last look, by the region's own first instructions.

use crate::code_cache::{Key, Region};
use crate::machine::Cpu;
use crate::platform::Platform;
use crate::ram::{PAGE, Ram};
use crate::shared::add;
use crate::tree::Tree;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use x86_backend::guest::Guest;
use x86_backend::jit::{BlockEnd, Builder, CompiledBlock, MAX_PAGES, Mechanisms, RegionContext};
use x86_backend::runtime::{HEAT_ENTRIES, REGION_KEYS, event, exit};

/// Entries after which a block is hot, unless the launcher says otherwise.
pub const HOT: u32 = 1000;
/// Entries until the next attempt after one that an event cut short.
const AGAIN: i32 = 100;
/// The same after one in which the guest went where it seldom goes.
const AFTER_STRAYING: i32 = 400;
/// No further attempt.
const NEVER: i32 = i32::MAX;

/// Limits of a path.
const MAX_BLOCKS: usize = 64;
const MAX_INSNS: u32 = 384;
/// A branch goes seldom where it was seen to go once while it went elsewhere so many times.
const SELDOM: i64 = 3;
/// A loop gets new branches when the guest was found on ways to them once for so many instructions that it will have.
const INSNS_PER_ATTEMPT: u32 = 64;
/// One of so many paths is taken that went where the guest seldom goes.
const MAX_STRAYS: u32 = 16;

/// Hot blocks without a region that are remembered.
const MAX_LONE: usize = 4096;

/// The counter of the block at `pc`.
pub(crate) fn heat_index(pc: u64) -> usize {
    (pc >> 2) as usize & (HEAT_ENTRIES - 1)
}

/// A block on a path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    key: Key,
    end: BlockEnd,
    /// The address behind the block, where a call that ends it returns to.
    behind: u64,
}

/// Where the guest went.
struct Path {
    blocks: Vec<Key>,
    /// Back to the first block.
    closed: bool,
    /// The beginning of a loop that is a region, where the path came to.
    end: Option<Key>,
    /// How many blocks came before another region.
    own: usize,
}

impl Path {
    fn new(steps: &[Step], closed: bool) -> Self {
        Self { blocks: steps.iter().map(|step| step.key).collect(), closed, end: None, own: steps.len() }
    }

    /// The loop that the guest is in, if the path has come back to the block `key`.
    ///
    /// A turn with an indirect branch counts once it was seen twice: an interpreter's loop does something else every time. Not so
    /// returns from calls that are part of the turn: they go where they went.
    fn closed_at(steps: &[Step], key: Key) -> Option<Self> {
        let at = steps.iter().rposition(|step| step.key == key)?;
        let turn = &steps[at..];
        let next = |i: usize| turn.get(i + 1).map_or(key.virt, |step| step.key.virt);
        let calls = |i: usize, to: u64| {
            let goes = |s: &Step| matches!(s.end, BlockEnd::Goes(_));
            turn[..i].iter().enumerate().any(|(i, s)| goes(s) && s.behind == to && next(i) != to)
        };
        if (0..turn.len()).all(|i| turn[i].end != BlockEnd::Indirect || calls(i, next(i))) {
            return Some(Self::new(turn, true));
        }
        let len = (1..=steps.len() / 2).find(|len| {
            let (before, last) = steps.split_at(steps.len() - len);
            last[0].key == key && before.ends_with(last)
        })?;
        Some(Self::new(&steps[steps.len() - len..], true))
    }
}

/// A path in the making.
#[derive(Clone, Default)]
struct Recording {
    steps: Vec<Step>,
    insns: u32,
    /// How many blocks came before another region.
    own: Option<usize>,
}

impl Recording {
    fn path(&self, end: Option<Key>) -> Path {
        let path = Path::new(&self.steps, false);
        Path { end, own: self.own.unwrap_or(path.own), ..path }
    }
}

impl<G: Guest, P: Platform> Cpu<'_, G, P> {
    /// Entries that a new block has before it is hot.
    pub(crate) fn fresh_heat(&self) -> i32 {
        match self.shared().control.hot_after {
            0 => NEVER,
            n => i32::try_from(n).unwrap_or(NEVER),
        }
    }

    pub(crate) fn reset_heat(&mut self) {
        let heat = self.fresh_heat();
        // SAFETY: the block lives as long as `self`, and nothing else refers to the counters now.
        unsafe { (*self.vcpu).rt.heat.fill(heat) };
        self.region_keys_used = 0;
        self.lone.clear();
    }

    fn heat(&self, pc: u64) -> i32 {
        // SAFETY: as in `reset_heat`.
        unsafe { (*self.vcpu).rt.heat[heat_index(pc)] }
    }

    pub(crate) fn set_heat(&mut self, pc: u64, heat: i32) {
        // SAFETY: as in `reset_heat`.
        unsafe { (*self.vcpu).rt.heat[heat_index(pc)] = heat };
    }

    /// The block at the guest's PC has been entered often.
    pub(crate) fn hot(&mut self) {
        let pc = self.pc();
        self.set_heat(pc, NEVER);
        if let Some(key) = self.current_key()
            && self.timed(|this| this.remake_region(&key)).is_some()
        {
            return;
        }
        let path = match self.record() {
            Ok(path) => path,
            Err(entries) => return self.set_heat(pc, entries),
        };
        if path.blocks[0].virt != pc {
            self.set_heat(pc, AGAIN);
        }
        self.timed(|this| {
            if this.grow(&path) {
                // What still comes here comes from elsewhere.
                this.set_heat(pc, this.fresh_heat());
            } else if path.own > 1 || path.closed || this.wants_windows(path.blocks[0].context) {
                this.make_region(path);
            } else if this.may_want_windows() && this.lone.len() < MAX_LONE {
                this.lone.push((this.space, path.blocks[0]));
            }
        });
    }

    /// Does what takes time for regions' sake.
    fn timed<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let start = self.shared().platform.tsc();
        let result = f(self);
        let cycles = self.shared().platform.tsc().saturating_sub(start);
        add(&self.shared().control.stats.region_cycles, cycles);
        result
    }

    /// Makes a region again that was set aside, if there is one. Gives whether that could be.
    fn remake_region(&mut self, key: &Key) -> Option<bool> {
        let region = self.shared().cache.take_aside(key)?;
        let made = self.pages_hold(&pages(region.tree.blocks()), key)
            && self.install(Tree::clone(&region.tree), Some(&region));
        if !made {
            self.set_heat(key.virt, self.fresh_heat());
        }
        add(&self.shared().control.stats.regions_remade, made.into());
        Some(made)
    }

    /// Code of the current address space or privileged code should use windows from now on, or no longer: its regions that do
    /// otherwise are set aside, and made again if they are still hot. So are blocks made regions that would be ones for windows only.
    pub(crate) fn restyle_regions(&mut self) {
        let this = &*self;
        let here = |key: &Key, space| space == this.space || this.is_everywhere(key.context);
        let other = |key: &Key, region: &Region| region.windows != this.wants_windows(key.context);
        for (key, block, region) in self.shared().cache.set_aside(here, other) {
            self.drop_region(block, &region);
            self.set_heat(key.virt, AGAIN);
        }
        for (space, key) in core::mem::take(&mut self.lone) {
            let here = space == self.space || self.is_everywhere(key.context);
            if here && self.wants_windows(key.context) {
                self.set_heat(key.virt, AGAIN);
            } else {
                self.lone.push((space, key));
            }
        }
    }

    /// How often the block at `pc` was entered, as far as its counter tells.
    fn entries(&self, pc: u64) -> i64 {
        let (left, all) = (i64::from(self.heat(pc)), i64::from(self.fresh_heat()));
        if left > all { all } else { all - left }
    }

    /// Whether a block went where it seldom goes, as far as the counters tell.
    fn strayed(&self, step: &Step, next: u64) -> bool {
        let BlockEnd::Conditional(target) = step.end else { return false };
        let other = if next == target { step.behind } else { target };
        self.entries(next) * SELDOM < self.entries(other)
    }

    /// The path, if it ends before the block `key`.
    fn ends_before(&self, path: &mut Recording, key: &Key) -> Option<Path> {
        let first = path.steps.first()?;
        if let Some(closed) = Path::closed_at(&path.steps, *key) {
            return Some(closed);
        }
        match self.shared().cache.region(key) {
            Some(region) if region.tree.is_loop() => return Some(path.path(Some(*key))),
            Some(_) if path.own.is_none() => path.own = Some(path.steps.len()),
            _ => {}
        }
        let ends = key.context != first.key.context
            || path.steps.len() == MAX_BLOCKS
            || path.insns >= MAX_INSNS
            || pages(path.steps.iter().map(|step| &step.key).chain([key])).len() > MAX_PAGES + 1;
        ends.then(|| path.path(None))
    }

    /// Runs the guest block by block and notes where it goes. Otherwise something else came first:
    /// gives entries until the next attempt.
    fn record(&mut self) -> Result<Path, i32> {
        let mut path = Recording::default();
        loop {
            let key = self.current_key().ok_or(AGAIN)?;
            if let Some(path) = self.ends_before(&mut path, &key) {
                return Ok(path);
            }
            let (entry, len, end) = self.plain_block(key);
            if self.heat(key.virt) <= 0 {
                // It would leave at once, being hot itself.
                self.set_heat(key.virt, 1);
            }
            let step = Step { key, end, behind: key.virt.wrapping_add(u64::from(len * G::INSN_BYTES)) };
            path.steps.push(step);
            path.insns += len;
            self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
            let shared = self.shared();
            shared.jit.enter(self.vcpu.cast(), shared.jit.body(entry));
            if self.stop.is_some() || self.events().fetch_and(!event::LEAVE, Ordering::Relaxed) & !event::LEAVE != 0 {
                self.events().fetch_or(event::LEAVE, Ordering::Relaxed);
                self.note_exit();
                return Err(AGAIN);
            }
            if self.note_exit() == exit::STATE {
                return Ok(path.path(None));
            }
            if self.strayed(&step, self.pc()) {
                if let Some(path) = self.follow_counters(path.clone()) {
                    return Ok(path);
                }
                if self.may_stray() {
                    return Err(AFTER_STRAYING);
                }
            }
        }
    }

    /// Goes on with a path from where the guest has strayed from it, the way that it usually goes. `None`: the counters don't tell.
    fn follow_counters(&mut self, mut path: Recording) -> Option<Path> {
        loop {
            let Step { end, behind, .. } = *path.steps.last()?;
            let next = match end {
                BlockEnd::Goes(target) => target,
                BlockEnd::Conditional(target) if self.entries(target) > self.entries(behind) => target,
                BlockEnd::Conditional(_) => behind,
                BlockEnd::Indirect | BlockEnd::Other => return None,
            };
            let key = self.key_beside(&path.steps, next)?;
            if let Some(path) = self.ends_before(&mut path, &key) {
                return Some(path);
            }
            let cache = &self.shared().cache;
            cache.block(&key)?;
            let (len, end) = cache.shape(&key);
            let behind = next.wrapping_add(u64::from(len * G::INSN_BYTES));
            path.steps.push(Step { key, end, behind });
            path.insns += len;
        }
    }

    /// The key of the block at `virt`, in the same context as blocks of a path.
    fn key_beside(&mut self, steps: &[Step], virt: u64) -> Option<Key> {
        let known = |step: &&Step| (step.key.virt ^ virt) & !(PAGE - 1) == 0;
        let (phys, context) = match steps.iter().find(known) {
            Some(Step { key, .. }) => (key.phys, key.context),
            None => {
                let Key { virt: first, context, .. } = steps.first()?.key;
                let (_, own) = self.fetch_lookup(first, context)?;
                let (phys, other) = self.fetch_lookup(virt, context)?;
                (own == other).then_some((phys, context))?
            }
        };
        Some(Key { phys: phys & !(PAGE - 1) | virt & (PAGE - 1), virt, context: G::settled_context(context) })
    }

    /// Whether another attempt is likely to see what the guest usually does; once in a while what was seen is taken.
    fn may_stray(&mut self) -> bool {
        self.strays = (self.strays + 1) % MAX_STRAYS;
        self.strays != 0
    }

    fn make_region(&mut self, mut path: Path) {
        path.blocks.truncate(path.own);
        let first = path.blocks[0];
        // What was set aside has more branches.
        if self.shared().cache.region(&first).is_none()
            && self.remake_region(&first) != Some(true)
            && self.install(Tree::new(path.blocks, path.closed), None)
        {
            add(&self.shared().control.stats.regions, 1);
        }
    }

    /// Makes the path a branch of the loop at whose head it ended, if that is where it came from: at once, or, because all of the
    /// loop is translated again, when the guest was seen on such paths often enough for the loop's size. False: it is none.
    fn grow(&mut self, path: &Path) -> bool {
        if !self.shared().control.uses(Mechanisms::BRANCHES) {
            return false;
        }
        let Some(head) = path.end else { return false };
        let cache = &mut self.shared().cache;
        let Some(region) = cache.region(&head) else { return false };
        let shape = |key: &Key| {
            let (insns, end) = cache.shape(key);
            (end, key.virt.wrapping_add(u64::from(insns * G::INSN_BYTES)))
        };
        let mut tree = Tree::clone(&region.tree);
        for branch in &region.pending {
            tree = tree.grown(branch, shape).unwrap_or(tree);
        }
        let seen = region.pending.contains(&path.blocks);
        match tree.grown(&path.blocks, shape) {
            Some(grown) => tree = grown,
            None if seen => {}
            None => return false,
        }
        let insns: u32 = tree.blocks().map(|key| cache.shape(key).0).sum();
        let Some(region) = cache.region_mut(&head) else { return false };
        region.attempts += 1;
        if region.attempts * INSNS_PER_ATTEMPT < insns {
            if !seen {
                region.pending.push(path.blocks.clone());
            }
            return true;
        }
        // If it comes to nothing, it may be another path's fault: the next is tried alone.
        region.pending.clear();
        let region = region.clone();
        let pages = pages(tree.blocks());
        let fits = pages.len() <= MAX_PAGES + 1 && self.pages_hold(&pages, &head);
        let grown = fits && self.install(tree, Some(&region));
        let stats = &self.shared().control.stats;
        add(&stats.regions_grown, grown.into());
        grown
    }

    /// Whether pages, by virtual and physical address, are still mapped so, and with the same part of the context as `head`'s.
    fn pages_hold(&mut self, pages: &[(u64, u64)], head: &Key) -> bool {
        let Some((_, own)) = self.fetch_lookup(head.virt, head.context) else { return false };
        pages.iter().all(|(virt, phys)| self.fetch_lookup(*virt, head.context) == Some((*phys, own)))
    }

    /// Translates a region whose pages are mapped as its keys say, and lets the guest run it, instead of `old` if it is given.
    fn install(&mut self, tree: Tree, old: Option<&Region>) -> bool {
        let first = tree.head();
        let others = pages(tree.blocks()).split_off(1);
        // A page may have been written to meanwhile, and is not watched any more.
        if !tree.blocks().all(|key| self.shared().cache.block(key).is_some()) {
            return false;
        }
        let windows = self.wants_windows(first.context);
        let mut context = RegionContext { page_count: others.len() as u8, windows, ..RegionContext::default() };
        for (page, (virt, _)) in context.pages.iter_mut().zip(&others) {
            *page = *virt;
        }
        if !others.is_empty() {
            let key = match old.and_then(|old| old.key) {
                Some(key) => key,
                None if self.region_keys_used as usize == REGION_KEYS => return false,
                None => {
                    self.region_keys_used += 1;
                    self.region_keys_used - 1
                }
            };
            context.key = Some(key);
            // SAFETY: the block lives as long as `self`, and nothing else refers to these fields now.
            unsafe { (*self.vcpu).rt.region_keys[key as usize] = (*self.vcpu).rt.jump_key };
        }
        let Some(region) = self.compile_region(&tree, context) else { return false };
        self.note_region(first.context, region.insns);
        let shared = self.shared();
        let Some(block) = shared.cache.block(&first) else { return false };
        if old.is_some()
            && let Some((_, old)) = shared.cache.remove_region(&first)
        {
            shared.jit.restore(block, old.head);
            shared.jit.redirect(old.entry, region.entry);
        }
        let head = shared.jit.redirect(block, region.entry);
        let stats = &shared.control.stats;
        add(&stats.region_insns, region.insns.into());
        add(&stats.region_bytes, region.bytes());
        let (entry, key, space) = (region.entry, context.key, self.space);
        let region = Region {
            tree: Arc::new(tree),
            entry,
            head,
            pages: others,
            key,
            windows,
            space,
            pending: Vec::new(),
            attempts: 0,
        };
        shared.cache.insert_region(first, region);
        true
    }

    /// `None`: the code cache is full, or the region can't be translated.
    fn compile_region(&mut self, tree: &Tree, region: RegionContext) -> Option<CompiledBlock> {
        let first = tree.head();
        let context = Self::block_context(&first);
        let shared = self.shared();
        let context = x86_backend::jit::BlockContext { region: Some(region), ..context };
        let mut builder = shared.jit.begin(context);
        for key in tree.branch_blocks() {
            Self::record_block(&shared.ram, &mut builder, key)?;
            if !builder.survey() {
                return None;
            }
        }
        let mut end = Self::record_path(&shared.ram, &mut builder, tree, 0, false)?;
        if end.1 && tree.is_loop() && shared.control.uses(Mechanisms::LOOPS) {
            builder.begin_loop();
            end = Self::record_path(&shared.ram, &mut builder, tree, 0, true)?;
            if end.1 {
                return builder.end_loop(first.virt).ok();
            }
        }
        builder.finish(end.0).ok()
    }

    /// Records a path of a tree once, with its branches or without. Gives where control goes at its end if no branch says so, and
    /// whether all of it was recorded.
    fn record_path(
        ram: &Ram,
        builder: &mut Builder<'_>,
        tree: &Tree,
        path: usize,
        branches: bool,
    ) -> Option<(u64, bool)> {
        for (at, key) in tree.path(path).iter().enumerate() {
            let fallthrough = Self::record_block(ram, builder, key)?;
            let Some(next) = tree.next(path, at) else { return Some((fallthrough, true)) };
            for branch in tree.branches(path, at).filter(|_| branches) {
                let Some(arm) = builder.begin_arm(tree.path(branch)[0].virt, fallthrough) else { continue };
                match Self::record_path(ram, builder, tree, branch, true)? {
                    (_, true) => builder.loop_back(tree.head().virt),
                    (end, false) => builder.leave(end),
                }
                builder.end_arm(arm);
            }
            if !builder.follow(next, fallthrough) {
                return Some((fallthrough, false));
            }
        }
        Some((tree.head().virt, true))
    }

    /// The region at the guest's PC was made, or last looked at, under another jump key.
    pub(crate) fn recheck_region(&mut self) {
        add(&self.shared().control.stats.region_rechecks, 1);
        let Some(key) = self.current_key() else { return };
        let Some(region) = self.shared().cache.region(&key).cloned() else { return };
        let holds = self.pages_hold(&region.pages, &key);
        match region.key {
            Some(index) if holds => {
                // SAFETY: the block lives as long as `self`, and nothing else refers to these fields now.
                unsafe { (*self.vcpu).rt.region_keys[index as usize] = (*self.vcpu).rt.jump_key };
            }
            _ => {
                if let Some((block, region)) = self.shared().cache.remove_region(&key) {
                    self.drop_region(block, &region);
                    self.set_heat(key.virt, self.fresh_heat());
                }
            }
        }
    }

    /// The region leads to the block that it began with from now on.
    pub(crate) fn drop_region(&mut self, block: u64, region: &Region) {
        let shared = self.shared();
        shared.jit.restore(block, region.head);
        shared.jit.redirect(region.entry, block);
        add(&shared.control.stats.regions_dropped, 1);
    }
}

/// The distinct pages of blocks, by virtual and physical address; the first block's page first.
fn pages<'a>(blocks: impl IntoIterator<Item = &'a Key>) -> Vec<(u64, u64)> {
    let mut pages: Vec<(u64, u64)> = Vec::new();
    for key in blocks {
        let page = (key.virt & !(PAGE - 1), key.phys & !(PAGE - 1));
        if !pages.contains(&page) {
            pages.push(page);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of four instructions at these addresses.
    fn path(blocks: &[(u64, BlockEnd)]) -> Vec<Step> {
        let key = |virt| Key { phys: virt, virt, context: 0 };
        blocks.iter().map(|&(virt, end)| Step { key: key(virt), end, behind: virt + 16 }).collect()
    }

    fn closed(blocks: &[(u64, BlockEnd)], at: u64) -> Option<usize> {
        let path = Path::closed_at(&path(blocks), Key { phys: at, virt: at, context: 0 })?;
        Some(path.blocks.len())
    }

    #[test]
    fn a_turn_with_returns_from_its_own_calls_is_one() {
        use BlockEnd::{Goes, Indirect};
        let call =
            [(0x100, Goes(0x800)), (0x800, Goes(0x810)), (0x810, Indirect), (0x110, BlockEnd::Conditional(0x100))];
        assert_eq!(closed(&call, 0x100), Some(4));
        // The function's own beginning, called from two places, is no loop: it returns elsewhere the second time.
        let twice = [(0x800, Goes(0x810)), (0x810, Indirect), (0x110, Goes(0x800))];
        assert_eq!(closed(&twice, 0x800), None);
        // A dispatch goes anywhere.
        let dispatch = [(0x100, Indirect), (0x800, Goes(0x100))];
        assert_eq!(closed(&dispatch, 0x100), None);
        assert_eq!(closed(&[dispatch, dispatch].concat(), 0x100), Some(2));
    }
}
