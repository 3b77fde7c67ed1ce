//! Whose memory is worth windows, where faults are dear.
//!
//! A page in a window costs about a fault's time before the processor has the mapping, and hot code of the address space is translated
//! again, to use windows. What that gives is a part of the time from then on. So an address space gets windows when
//! it has run many times as long as they will cost ([`AGE`]), on the reckoning that what ran long goes on: whoever comes and goes
//! has none, and for the others the cost is a small share of their time. It gets them sooner when slow paths for want of entries in the software
//! TLB have cost as much already. Whose windows then fault too often ([`SHARE`]) loses them, and waits longer the next time.

use hashbrown::HashMap;

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// Cycles a slow path takes, about.
const SLOW_PATH: u64 = 800;
/// Below this many slow paths for a page, windows are for all code from the start.
const CHEAP: u64 = 8;
/// Cycles to translate an instruction of a region again, about, half of them being hot still.
const TRANSLATION: u64 = 2500;
/// Windows open after so many times their cost, or after so many if slow paths took as long as they cost.
const AGE: u64 = 10;
const HASTE: u64 = 4;
/// They close when of so many faults ...
const FAULTS: u64 = 64;
/// ... took more than one part in so many of the time.
const SHARE: u64 = 24;
/// Longest wait after windows closed, as a logarithm.
const LONGEST: u32 = 6;

/// An address space.
#[derive(Default)]
struct Space {
    open: bool,
    /// How often its windows closed.
    closed: u32,
    /// Cycles that it ran since it exists or its windows closed, and when that was last looked at.
    ran: u64,
    looked: u64,
    /// Slow paths for want of an entry in the software TLB.
    slow: u64,
    /// Instructions of its regions.
    insns: u64,
    /// Faults since a time, in what it ran.
    faults: u64,
    since: u64,
}

/// What is known of every address space.
pub(crate) struct Demand {
    fault_cost: u64,
    spaces: HashMap<u64, Space, Words>,
    /// When the time that the current one runs was last counted.
    counted: u64,
}

impl Demand {
    /// `None`: a fault that costs `fault_cost` cycles is no reason to wait.
    pub fn new(fault_cost: u64, now: u64) -> Option<Self> {
        let dear = 2 * fault_cost / SLOW_PATH >= CHEAP;
        dear.then(|| Self { fault_cost, spaces: HashMap::default(), counted: now })
    }

    fn space(&mut self, space: u64) -> &mut Space {
        self.spaces.entry(space).or_default()
    }

    /// Whether `space` has windows.
    pub fn is_open(&self, space: u64) -> bool {
        self.spaces.get(&space).is_some_and(|space| space.open)
    }

    /// `space` ran until now.
    pub fn count(&mut self, space: u64, now: u64) {
        let cycles = now.saturating_sub(core::mem::replace(&mut self.counted, now));
        self.space(space).ran += cycles;
    }

    /// Until now none ran.
    pub fn skip(&mut self, now: u64) {
        self.counted = now;
    }

    /// The software TLB had no entry for an access.
    pub fn missed(&mut self, space: u64) {
        self.space(space).slow += 1;
    }

    /// A region was made of `insns` instructions.
    pub fn translated(&mut self, space: u64, insns: u64) {
        self.space(space).insns += insns;
    }

    /// Whether `space` should have windows now, if it uses `pages` pages. Says yes once.
    pub fn opens(&mut self, space: u64, pages: u64) -> bool {
        let page = self.fault_cost;
        let it = self.space(space);
        // Looking costs something, too.
        if it.open || it.ran < it.looked {
            return false;
        }
        it.looked = it.ran + it.ran / 8;
        let cost = (pages * page + it.insns * TRANSLATION) << it.closed;
        let slow = it.slow * SLOW_PATH >= cost;
        if pages == 0 || it.ran < cost * if slow { HASTE } else { AGE } {
            return false;
        }
        (it.open, it.faults, it.since) = (true, 0, it.ran);
        true
    }

    /// An access through a window faulted. Gives whether the windows have to close, and then counts them as closed.
    pub fn faulted(&mut self, space: u64, now: u64) -> bool {
        self.count(space, now);
        let dear = 2 * FAULTS * self.fault_cost * SHARE;
        let it = self.space(space);
        it.faults += 1;
        if it.faults < FAULTS {
            return false;
        }
        let seldom = it.ran - it.since > dear;
        (it.faults, it.since) = (0, it.ran);
        if !seldom {
            *it = Space { closed: (it.closed + 1).min(LONGEST), ..Space::default() };
        }
        !seldom
    }

    /// The guest invalidated an address space: it, or another of its number, begins anew.
    pub fn forget(&mut self, space: u64) {
        self.spaces.remove(&space);
    }

    /// The guest invalidated all.
    pub fn forget_all(&mut self) {
        self.spaces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u64 = 50_000;

    fn demand() -> Demand {
        Demand::new(COST, 0).expect("faults are dear")
    }

    #[test]
    fn cheap_faults_need_no_demand() {
        assert!(Demand::new(SLOW_PATH * CHEAP / 2 - 1, 0).is_none());
    }

    #[test]
    fn windows_open_after_many_times_their_cost() {
        let mut d = demand();
        let mut now = 0;
        while !d.opens(7, 10) {
            assert!(!d.is_open(7));
            now += COST;
            d.count(7, now);
        }
        let least = 10 * COST * AGE;
        assert!((least..=least + least / 4).contains(&now), "{now}");
        assert!(d.is_open(7) && !d.is_open(8) && !d.opens(7, 10));
    }

    #[test]
    fn code_to_translate_again_counts_and_slow_paths_hasten() {
        let mut d = demand();
        d.count(7, 10 * COST * AGE);
        d.translated(7, 10_000);
        assert!(!d.opens(7, 10));
        let mut d = demand();
        d.count(7, 10 * COST * HASTE);
        (0..10 * COST / SLOW_PATH).for_each(|_| d.missed(7));
        assert!(d.opens(7, 10));
    }

    #[test]
    fn windows_that_fault_too_often_close_for_longer() {
        let mut d = demand();
        d.count(7, COST * AGE);
        assert!(d.opens(7, 1));
        let mut now = COST * AGE;
        let mut fault = |d: &mut Demand, pause: u64| {
            now += pause;
            d.faulted(7, now)
        };
        assert!((0..FAULTS).all(|_| !fault(&mut d, 2 * COST * SHARE + COST)), "seldom enough");
        assert_eq!((0..FAULTS).filter(|_| fault(&mut d, COST)).count(), 1);
        assert!(!d.is_open(7));
        d.count(7, now + COST * AGE);
        assert!(!d.opens(7, 1), "twice as long as the first time");
        d.count(7, now + 5 * COST * AGE / 2);
        assert!(d.opens(7, 1));
    }
}
