//! Whose memory is worth windows, where faults are dear.
//!
//! A page in a window costs about a fault's time before the processor has the mapping, and hot code is translated again, to use
//! windows. What that gives is, for code whose pages the software TLB has, a part of the time from then on; for code that keeps
//! missing it, the time of its slow paths. Nobody knows what is still to come. But whoever waits until windows would have paid
//! already, and opens them then, never loses much more than they cost (the ski rental problem): so code of an address space gets
//! windows when its slow paths and one part in [`AGE`] of the time that it ran make up for their cost. Whoever comes and goes
//! has none.
//!
//! Privileged code is the same in all address spaces, and is one here. It gets windows for its slow paths alone, and only those of
//! times when these are much of it: a kernel goes everywhere. Where nothing but privileged code runs for long, that is the program,
//! and gets windows for its time, too. If it has come to few pages lately ([`Calm`]), as programs without an operating system do
//! which a kernel never does, it is taken to need those that it has.
//!
//! Code that spends much of its time in slow paths ([`HASTE`]) is lent a part of the cost: it will hardly stop just then. All that
//! was lent stays a small share of the time ([`LENT`]). A kernel gets nothing once it has programs to run: it leaves for them.
//!
//! The code that runs first has windows from the start, on trial: no regions have to be made again for them. A few strikes or much
//! code ([`TRIAL`]) end it, as a kernel has soon. Programs that end before anything else would have spoken for windows often need few.
//! As long as it is alone, what it does with other code's rights counts as its own.
//!
//! A program that starts when an earlier one of its code had windows finds that code to look for some, in vain. What that takes
//! speaks for windows as slow paths do: code is here already that uses them.
//!
//! Windows that fault too often ([`SHARE`]) close; what they have cost by then counts, so that all such attempts together stay
//! a small share of the time. What the guest invalidates as soon as it was mapped counts more than what it has just come to.
//! Nothing speaks for windows that the guest would have emptied before they repaid as much as a fault.

use super::spaces::Spaces;
use x86_backend::runtime::MMU_MODES;

/// Cycles a slow path takes that walks the guest's tables, and one that finds the page in the software TLB's second place.
pub(crate) const WALK: u64 = 250;
pub(crate) const SECOND_PLACE: u64 = 100;
/// Below this many walks for a page, windows are for all code from the start.
const CHEAP: u64 = 25;
/// Cycles to translate an instruction of a region again, about, half of them being hot still.
const TRANSLATION: u64 = 2500;
/// What windows save of the time where there are no slow paths: one part in so many is taken for granted; a larger one where
/// they will hardly fault, ...
const AGE: u64 = 20;
const AGE_CALM: u64 = 10;
/// ... and of privileged code that is alone, which a kernel is at first, too, [`AGE`] if it is calm and a smaller one if not.
const AGE_ALONE: u64 = 100;
/// Pages that code is taken to need at least: its first ones are soon followed by others, ...
const FEW: u64 = 128;
/// ... if it isn't settled.
const FEW_SETTLED: u64 = 16;
/// Slow paths are much of privileged code's time from one part in so many.
const MUCH: u64 = 8;
/// Windows that closed may open again when slow paths have taken so many times what they had cost, or when it is a small share.
const AGAIN: u64 = 12;
/// Code in a hurry: slow paths, which take more than [`WALK`] says where they miss the processor's caches, are one part in so
/// many of its time of late, ...
const HASTE: u64 = 6;
/// ... which is since they took so many pages' costs less, and at most twice as long: programs that have just begun touch many
/// pages for the first time.
const LATE: u64 = FEW;
/// Of the cost of its pages it is lent all but one part in so many, ...
const OWN: u64 = 4;
/// ... yet no more than these many pages' cost, ...
const GRANT: u64 = 384;
/// ... and all together no more than that and one part in so many of the time.
const LENT: u64 = 32;
/// Windows close when so many strikes, at first half of that and two for each page, or one for so many if it was time that opened
/// them, or few if it was because they would hardly be struck, ...
const FAULTS: u64 = 64;
const FAULTS_SETTLED: u64 = 8;
const PAGES_PER_FAULT: u64 = 8;
/// ... or so many on trial, which much code ends, too, as that would be dear to translate again, ...
const TRIAL: u64 = 32;
const TRIAL_INSNS: u64 = 1000;
/// ... took more than one part in so many of the time. A fault is one strike, an invalidated page is one, a page that the guest
/// keeps invalidating more, and an invalidation of everything many.
const SHARE: u64 = 24;
const STRIKES_AGAIN: u64 = 4;
const STRIKES_ALL: u64 = 16;
/// Pages' costs that a fault takes, with what is mapped at it, and that a call of the nucleus takes.
const FAULT: u64 = 3;
const CALL: u64 = 2;

/// Address spaces change all the time if one has so many cycles.
const SOON: u64 = 10_000;

/// Where only time speaks for windows, that is looked at once in so many faults' time.
const LOOK: u64 = 32;

/// What windows of a program can suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// An access faulted.
    Fault,
    /// The guest invalidated a page, which it has done before or not.
    Dropped { again: bool },
    /// The guest invalidated everything.
    AllDropped,
}

/// Since when code hardly comes to other pages, nor is refused any: windows would not close again. Times are what it ran.
#[derive(Clone, Copy, Default)]
struct Calm {
    /// Pages it came to and accesses it was refused since the last look, and when that was.
    stirs: u64,
    looked: u64,
    since: u64,
}

impl Calm {
    fn look(&mut self, ran: u64, fault_cost: u64) {
        let lost = core::mem::take(&mut self.stirs) * FAULT * fault_cost;
        if lost * SHARE > ran - core::mem::replace(&mut self.looked, ran) {
            self.since = ran;
        }
    }

    /// Whether it has been so for half of the time that it `ran`.
    fn lasts(&self, ran: u64) -> bool {
        ran - self.since >= ran / 2
    }
}

/// What is known of code that runs in one MMU mode, in an address space or in all. Times are what its address space ran, or all did.
#[derive(Default)]
struct Record {
    open: bool,
    trial: bool,
    /// Since when there is evidence; when its windows closed, if they did; what programs had run by then; and the gain that is the
    /// reason for the next look.
    from: u64,
    closed: u64,
    own: u64,
    looked: u64,
    /// Cycles in slow paths for want of an entry in the software TLB, and how many are a reason to look.
    slow: u64,
    asks: u64,
    /// These and the time at two moments, the first of which is where "of late" begins.
    marks: [(u64, u64); 2],
    /// How often everything was invalidated since `from`.
    swept: u64,
    /// Instructions of its regions.
    insns: u64,
    /// Cycles lost, and strikes, since a time, and how many strikes there may be.
    lost: u64,
    strikes: u64,
    since: u64,
    allowed: u64,
    /// Cycles that opening its windows will have cost.
    paid: u64,
    /// Cycles that windows which closed again have cost.
    wasted: u64,
}

impl Record {
    /// What windows would cost, for `pages` pages.
    fn cost(&self, pages: u64, fault_cost: u64) -> u64 {
        pages * fault_cost + self.insns * TRANSLATION
    }

    /// Whether slow paths are much of the time of late.
    fn hurries(&mut self, age: u64, fault_cost: u64) -> bool {
        let [then, last] = self.marks;
        if self.slow >= last.0 + LATE * fault_cost {
            self.marks = [last, (self.slow, age)];
        }
        let slow = self.slow - then.0;
        slow >= LATE * fault_cost && slow * HASTE >= age.saturating_sub(then.1)
    }
}

#[derive(Default)]
struct Space {
    /// Cycles that it ran, those of them that its programs did, as looks found, and when the last was.
    ran: u64,
    own: u64,
    looked: u64,
    /// Of its programs; of all code if it is everywhere.
    calm: Calm,
    modes: [Record; MMU_MODES],
}

/// What is known of all code.
pub(crate) struct Demand {
    fault_cost: u64,
    spaces: Spaces<Space>,
    /// Of privileged code, and in which modes it runs.
    everywhere: Space,
    privileged: [bool; MMU_MODES],
    /// Other code runs, too.
    users: bool,
    /// Cycles that code in a hurry was lent.
    lent: u64,
    /// When the time that the current address space runs was last counted, how many changes of it there were since then, and how many
    /// more there may be before it is counted again.
    counted: u64,
    changes: u64,
    uncounted: u64,
    /// When to look whether windows open; or at once, because of slow paths.
    due: u64,
    asked: bool,
}

impl Demand {
    /// `None`: a fault that costs `fault_cost` cycles is no reason to wait.
    pub fn new(fault_cost: u64, now: u64) -> Option<Self> {
        let dear = 2 * fault_cost / WALK >= CHEAP;
        dear.then(|| Self {
            fault_cost,
            spaces: Spaces::new(),
            everywhere: Space::default(),
            privileged: [false; MMU_MODES],
            users: false,
            lent: 0,
            counted: now,
            changes: 0,
            uncounted: 0,
            due: now,
            asked: false,
        })
    }

    /// Accesses of `mode` are privileged code's.
    pub fn note_privileged(&mut self, mode: usize) {
        self.privileged[mode] = true;
    }

    /// Code of `mode`, which is privileged, is the first to run; its accesses with the rights of others are those of mode `user`.
    pub fn begin(&mut self, mode: usize, user: usize) {
        self.note_privileged(mode);
        for mode in [mode, user] {
            let it = &mut self.everywhere.modes[mode];
            (it.open, it.trial, it.allowed, it.asks) = (true, true, TRIAL, u64::MAX);
        }
    }

    pub fn is_privileged(&self, mode: usize) -> bool {
        self.privileged[mode]
    }

    /// Whether code of `mode` is one in all address spaces.
    fn is_everywhere(&self, mode: usize) -> bool {
        self.privileged[mode] || !self.users
    }

    fn space(&mut self, mode: usize) -> &mut Space {
        if self.is_everywhere(mode) { &mut self.everywhere } else { self.spaces.current_mut() }
    }

    /// Whether code of `mode` has windows in the current address space.
    pub fn is_open(&self, mode: usize) -> bool {
        let space = if self.is_everywhere(mode) { &self.everywhere } else { self.spaces.current() };
        space.modes[mode].open
    }

    /// Whether it has in `space`, which is another one.
    pub fn is_open_in(&self, space: u64, mode: usize) -> bool {
        if self.is_everywhere(mode) {
            return self.everywhere.modes[mode].open;
        }
        self.spaces.get(space).is_some_and(|space| space.modes[mode].open)
    }

    /// Cycles that the address space of code of `mode` ran, or all code if it is everywhere.
    pub fn ran(&mut self, mode: usize) -> u64 {
        self.space(mode).ran
    }

    /// Until now the current address space ran.
    pub fn count(&mut self, now: u64) {
        let cycles = now.saturating_sub(core::mem::replace(&mut self.counted, now));
        self.everywhere.ran += cycles;
        self.spaces.current_mut().ran += cycles;
    }

    /// Code that is a program's or not is what runs now: it is taken to have since the last look. Gives whether windows have closed
    /// that were open only because there was none.
    pub fn look(&mut self, now: u64, user: bool) -> bool {
        self.count(now);
        let first = user && !self.users;
        self.users |= user;
        let Space { ran, own, looked, .. } = self.spaces.current_mut();
        let cycles = *ran - core::mem::replace(looked, *ran);
        *own += if user { cycles } else { 0 };
        first && (0..MMU_MODES).any(|mode| !self.privileged[mode] && self.everywhere.modes[mode].open)
    }

    /// The address space `to` is the current one instead of `from`. Reading the clock takes longer than all else that a change of
    /// address spaces takes: where they change all the time, the clock is read at every eighth change or so, and one of them has the
    /// time of all since the last. Each has its turn, as their number is irregular.
    pub fn enter(&mut self, from: u64, to: u64, clock: impl FnOnce() -> u64) {
        self.changes += 1;
        if self.uncounted != 0 {
            self.uncounted -= 1;
        } else {
            let (now, changes) = (clock(), core::mem::take(&mut self.changes));
            let soon = now.saturating_sub(self.counted) < changes * SOON;
            self.uncounted = if soon { 4 + (now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61) } else { 0 };
            self.count(now);
        }
        self.spaces.enter(from, to);
    }

    /// Until now none ran.
    pub fn skip(&mut self, now: u64) {
        self.counted = now;
    }

    /// The software TLB did not have an access's page where it belongs, which took `cycles`. Gives whether it is time to ask
    /// whether windows open.
    pub fn missed(&mut self, mode: usize, cycles: u64) -> bool {
        let least = 2 * self.fault_cost;
        let it = &mut self.space(mode).modes[mode];
        it.slow += cycles;
        let asks = it.slow >= it.asks.max(least);
        if asks {
            it.asks = it.slow + (it.slow / 8).max(least);
            self.asked = true;
        }
        asks
    }

    /// Code of `mode` came to a page that the software TLB didn't have, or was refused one.
    pub fn stirred(&mut self, mode: usize) {
        self.everywhere.calm.stirs += 1;
        if !self.privileged[mode] {
            self.spaces.current_mut().calm.stirs += 1;
        }
    }

    /// A region was made of `insns` instructions. Gives whether windows of `mode` have to close, and then counts them as closed.
    pub fn translated(&mut self, mode: usize, insns: u64) -> bool {
        let it = &mut self.space(mode).modes[mode];
        it.insns += insns;
        let ends = it.trial && it.insns > TRIAL_INSNS;
        if ends {
            self.close(mode, 0);
        }
        ends
    }

    /// Windows of `mode` close; cycles that windows were `wasted` on are all that is remembered.
    fn close(&mut self, mode: usize, wasted: u64) {
        let Space { ran, own, calm, modes, .. } = self.space(mode);
        let fresh = |wasted| Record { wasted, from: *ran, closed: *ran, own: *own, ..Record::default() };
        modes[mode] = fresh(wasted);
        // A trial is of all modes.
        modes.iter_mut().filter(|record| record.trial).for_each(|record| *record = fresh(0));
        calm.since = *ran;
    }

    /// Whether it is time to ask whether windows open.
    pub fn is_due(&mut self, now: u64) -> bool {
        let due = core::mem::take(&mut self.asked) || now >= self.due;
        if due {
            self.due = now + LOOK * self.fault_cost;
        }
        due
    }

    /// Whether code of `mode` should have windows now, if it uses as many pages as `pages` gives. Says yes once.
    pub fn opens(&mut self, mode: usize, pages: impl FnOnce() -> u64) -> bool {
        let (page, privileged) = (self.fault_cost, self.is_everywhere(mode));
        // A kernel leaves for its programs.
        let users = self.users;
        let leaves = privileged && users;
        let lendable = (GRANT * page + self.everywhere.ran / LENT).saturating_sub(self.lent).min(GRANT * page);
        let Space { ran, own, calm, modes, .. } = self.space(mode);
        calm.look(*ran, page);
        let settled = !leaves && calm.lasts(*ran);
        let alone = settled && !users;
        let (ran, it) = (*ran, &mut modes[mode]);
        if it.open {
            return false;
        }
        let share = match privileged {
            true if leaves => u64::MAX,
            true if !settled => AGE_ALONE,
            false if settled => AGE_CALM,
            _ => AGE,
        };
        let few = if settled { FEW_SETTLED } else { FEW };
        if privileged && it.slow * MUCH < ran - it.from {
            // Slow paths of another time are no evidence for this one.
            let Record { wasted, closed, insns, looked, .. } = *it;
            let looked = if leaves { 0 } else { looked };
            *it = Record { wasted, closed, insns, looked, from: ran, ..Record::default() };
        }
        let age = ran - it.from;
        let gain = it.slow + if privileged { ran - it.closed } else { *own - it.own } / share;
        let Some(gain) = gain.checked_sub(it.swept * FAULT * page) else {
            // It begins anew.
            let Record { wasted, insns, .. } = *it;
            *it = Record { wasted, insns, from: ran, closed: ran, asks: few * page, ..Record::default() };
            return false;
        };
        // Looking costs something, too.
        let soon = gain < it.looked || (ran - it.closed < it.wasted * SHARE && it.slow < it.wasted * AGAIN);
        let loan = if it.hurries(age, page) && it.wasted == 0 && !leaves { lendable } else { 0 };
        // Who has much code to translate again, as kernels have, makes up for that himself.
        let code = it.cost(0, page);
        let enough = |pages: u64| gain + loan.min(pages * page - pages * page / OWN) >= code + pages * page;
        if soon || !enough(few) {
            return false;
        }
        it.looked = gain / 8 * 9;
        let pages = pages();
        let cost = it.cost(pages.max(few), page);
        if pages == 0 || !enough(pages.max(few)) {
            return false;
        }
        (it.open, it.lost, it.strikes, it.since, it.asks) = (true, 0, 0, age, u64::MAX);
        it.paid = it.cost(pages, page);
        it.allowed = match it.slow > gain / 2 {
            true => (2 * pages).max(FAULTS / 2),
            false if alone => FAULTS_SETTLED,
            false if settled => FAULTS / 2,
            false => FAULTS.max(pages / PAGES_PER_FAULT),
        };
        self.lent += cost.saturating_sub(gain);
        true
    }

    /// So many faults in `mode` have led to a large page in a window, where each of many small ones would have cost a walk.
    pub fn repaid(&mut self, mode: usize, faults: u64) {
        let page = self.fault_cost;
        let it = &mut self.space(mode).modes[mode];
        it.lost = it.lost.saturating_sub(FAULT * faults * page);
        it.strikes = it.strikes.saturating_sub(faults);
    }

    /// Windows of `mode` suffered a setback. Gives whether they have to close, and then counts them as closed.
    pub fn suffered(&mut self, mode: usize, setback: Setback, now: u64) -> bool {
        self.count(now);
        let page = self.fault_cost;
        let Space { ran, modes, .. } = self.space(mode);
        let (ran, it) = (*ran, &mut modes[mode]);
        let (pages, strikes) = match setback {
            Setback::Fault => (FAULT, 1),
            Setback::Dropped { again } => (CALL, if again { STRIKES_AGAIN } else { 1 }),
            Setback::AllDropped => (0, STRIKES_ALL),
        };
        it.lost += pages * page;
        it.strikes += strikes;
        // To close costs what opening did, which must have been lost. On trial there was nothing to translate again.
        let least = if it.trial { 0 } else { it.paid + it.insns * TRANSLATION };
        if !it.open || it.strikes < it.allowed || it.lost < least {
            return false;
        }
        let age = ran - it.from;
        let (lost, dear) = (it.lost, it.lost * SHARE >= age - it.since);
        (it.lost, it.strikes, it.since, it.allowed) = (0, 0, age, it.allowed.min(FAULTS));
        let trial = core::mem::take(&mut it.trial);
        if dear {
            // Translated to use windows, and back. A trial is no evidence.
            let wasted = if trial { 0 } else { 2 * (it.wasted + lost + it.paid + it.insns * TRANSLATION) };
            self.close(mode, wasted);
        }
        dear
    }

    /// The guest invalidated an address space that isn't the current one: another of its number begins anew.
    pub fn forget(&mut self, space: u64) {
        self.spaces.forget(space);
    }

    /// The guest invalidated all: every address space begins anew. Privileged code goes on.
    pub fn forget_all(&mut self) {
        self.spaces.forget_all();
        self.everywhere.modes.iter_mut().for_each(|record| record.swept += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u64 = 50_000;
    const USER: usize = 0;
    const KERNEL: usize = 2;

    /// Without programs.
    fn alone() -> Demand {
        let mut demand = Demand::new(COST, 0).expect("faults are dear");
        demand.note_privileged(KERNEL);
        demand
    }

    /// With programs to run.
    fn demand() -> Demand {
        let mut demand = alone();
        demand.look(0, true);
        demand
    }

    /// Another address space, after no time.
    fn change(d: &mut Demand, from: u64, to: u64) {
        let now = d.counted;
        d.enter(from, to, || now);
    }

    /// Runs in steps of a fault's time until windows open, and gives when they did; comes to a page at each step.
    fn opened(d: &mut Demand, mode: usize, pages: u64, slow: u64) -> u64 {
        opened_stirred(d, mode, pages, slow, 1)
    }

    /// Comes to a page at one step in so many.
    fn opened_stirred(d: &mut Demand, mode: usize, pages: u64, slow: u64, steps: u64) -> u64 {
        let start = d.counted;
        for step in 1..100_000 {
            let now = d.counted + COST;
            d.missed(mode, slow);
            if step % steps == 0 {
                d.stirred(mode);
            }
            d.look(now, d.users && mode == USER);
            if d.opens(mode, || pages) {
                return now - start;
            }
        }
        u64::MAX
    }

    #[test]
    fn cheap_faults_need_no_demand() {
        assert!(Demand::new(WALK * CHEAP / 2 - 1, 0).is_none());
    }

    #[test]
    fn windows_open_when_a_part_of_the_time_has_made_up_for_their_cost() {
        let mut d = demand();
        let least = 1000 * COST * AGE;
        let at = opened(&mut d, USER, 1000, 0);
        assert!((least..=least + least / 4).contains(&at), "{at}");
        assert!(d.is_open(USER) && !d.is_open(KERNEL) && !d.opens(USER, || 1000));
        change(&mut d, 7, 8);
        assert!(!d.is_open(USER) && d.is_open_in(7, USER) && !d.is_open_in(9, USER));
        change(&mut d, 8, 7);
        assert!(d.is_open(USER) && !d.is_open_in(8, USER));
    }

    #[test]
    fn code_that_has_just_begun_is_taken_to_need_more_pages() {
        assert!(opened(&mut demand(), USER, 2, 0) >= FEW * COST * AGE);
    }

    #[test]
    fn code_to_translate_again_counts_and_slow_paths_hasten() {
        let mut d = demand();
        d.translated(USER, 10_000);
        assert!(opened(&mut d, USER, 10, 0) >= 10_000 * TRANSLATION * AGE);
        // An eighth of the time goes to slow paths.
        let at = opened(&mut demand(), USER, 10, COST / 8);
        assert!((FEW * COST..FEW * COST * 9 / 8).contains(&(at / 8 + at / AGE)), "{at}");
    }

    #[test]
    fn code_in_a_hurry_is_lent_most_of_the_cost_within_limits() {
        let at = opened(&mut demand(), USER, 4 * FEW, COST / 2);
        assert!((LATE * COST * 4 / 5..LATE * COST * 5 / 4).contains(&(at / 2)), "{at}");
        // So many pages' cost has to be made up for, but for the most that is lent.
        let at = opened(&mut demand(), USER, 10 * GRANT, COST / 2);
        assert!((9 * GRANT * COST..10 * GRANT * COST).contains(&(at / 2 + at / AGE)), "{at}");
        // Slow paths long ago are no hurry.
        let mut d = demand();
        d.missed(USER, FEW * COST / 4);
        (0..FEW).for_each(|_| d.stirred(USER));
        d.look(d.counted + 2 * FEW * COST, true);
        assert!(!d.opens(USER, || 10));
    }

    #[test]
    fn all_that_is_lent_is_a_small_share_of_the_time() {
        let mut d = demand();
        for number in 0..200 {
            change(&mut d, number, number + 1);
            assert!(opened(&mut d, USER, 2 * FEW, COST / 2) < u64::MAX);
            assert!(d.lent <= GRANT * COST + d.everywhere.ran / LENT, "{number}");
        }
    }

    #[test]
    fn a_kernel_has_windows_for_its_slow_paths_only() {
        assert_eq!(opened(&mut demand(), KERNEL, 10, 0), u64::MAX);
        assert_eq!(opened(&mut demand(), KERNEL, 10, COST / MUCH - 1), u64::MAX);
        assert!(opened(&mut demand(), KERNEL, 10, COST / 2) < 300 * COST);
    }

    #[test]
    fn privileged_code_alone_has_windows_for_its_time_after_long() {
        let least = FEW * COST * AGE_ALONE;
        let mut d = alone();
        let at = opened(&mut d, KERNEL, 10, COST / MUCH / 2);
        assert!((least..=least + least / 4).contains(&at), "{at}");
        // Again after it was closed.
        (0..).find(|_| d.suffered(KERNEL, Setback::Dropped { again: true }, d.counted + COST));
        assert!(!d.is_open(KERNEL) && opened(&mut d, KERNEL, 10, 0) >= least);
    }

    #[test]
    fn calm_code_has_windows_for_its_time_and_the_pages_it_has() {
        const SELDOM: u64 = u64::MAX;
        for (new, mode, age) in [(demand as fn() -> _, USER, AGE_CALM), (alone, USER, AGE), (alone, KERNEL, AGE)] {
            let mut d = new();
            d.translated(mode, 100);
            let least = (20 * COST + 100 * TRANSLATION) * age;
            let at = opened_stirred(&mut d, mode, 20, 0, SELDOM);
            assert!((least..=least + least / 4).contains(&at), "{mode}: {at}");
            // It comes to other pages as often as windows may fault, or more often.
            assert!(opened_stirred(&mut new(), mode, 20, 0, FAULT * SHARE) >= FEW * COST * AGE, "{mode}");
        }
        // Until it has been calm for half of its time.
        for (mut d, mode) in [(demand(), USER), (alone(), KERNEL)] {
            for _ in 0..500 {
                d.stirred(mode);
                d.look(d.counted + COST, mode == USER);
                assert!(!d.opens(mode, || 10));
            }
            let at = opened_stirred(&mut d, mode, 10, 0, SELDOM);
            assert!((500 * COST..=501 * COST).contains(&at), "{mode}: {at}");
        }
    }

    #[test]
    fn only_what_programs_run_themselves_speaks_for_their_windows() {
        let mut d = demand();
        let looked = (1..).find(|n| {
            d.look(d.counted + COST, n % 4 == 0);
            d.opens(USER, || 200)
        });
        let least = 4 * 200 * AGE_CALM;
        assert!(looked.is_some_and(|n| (least..=least + least / 4).contains(&n)), "{looked:?}");
    }

    #[test]
    fn what_code_that_is_alone_does_with_others_rights_is_its_own() {
        let mut d = alone();
        d.begin(KERNEL, USER);
        change(&mut d, 1, 2);
        d.forget_all();
        assert!(d.is_open(USER) && d.is_open_in(1, USER) && !d.look(COST, false));
        // Until a program runs.
        assert!(d.look(2 * COST, true) && !d.look(3 * COST, true));
        assert!(d.is_open(KERNEL) && !d.is_open(USER) && !d.is_open_in(1, USER));
        // What ends the trial ends it for both.
        let mut d = alone();
        d.begin(KERNEL, USER);
        assert!(d.translated(KERNEL, TRIAL_INSNS + 1) && !d.is_open(KERNEL) && !d.is_open(USER));
    }

    #[test]
    fn slow_paths_of_privileged_code_count_while_they_are_much_of_the_time() {
        let mut d = demand();
        // As many as for windows, but seldom.
        assert_eq!(opened(&mut d, KERNEL, 10, COST / 10), u64::MAX);
        let at = opened(&mut d, KERNEL, 10, COST / 2);
        assert!((2 * LATE * COST..3 * LATE * COST).contains(&at), "{at}");
    }

    #[test]
    fn windows_that_fault_too_often_close_and_all_that_they_cost_stays_a_small_share() {
        let mut d = demand();
        assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
        assert!((0..FAULTS / 2).all(|_| !fault_after(&mut d, FAULT * COST * SHARE + COST)), "seldom enough");
        assert_eq!((0..FAULTS).filter(|_| fault_after(&mut d, COST)).count(), 1);
        assert!(!d.is_open(USER));
        let first = opened(&mut d, USER, 1, COST / 2);
        assert!(first >= FAULTS * FAULT * COST * AGAIN, "{first}");
        assert_eq!((0..FAULTS).filter(|_| fault_after(&mut d, COST)).count(), 1);
        assert!(opened(&mut d, USER, 1, COST / 2) >= 2 * first, "twice as long as the first time");
    }

    #[test]
    fn windows_for_many_pages_may_fault_often_at_first() {
        let mut d = demand();
        let pages = 10 * FAULTS;
        assert!(opened(&mut d, USER, pages, COST / 2) < u64::MAX);
        assert!((1..2 * pages).all(|_| !fault_after(&mut d, COST)));
        assert!(fault_after(&mut d, COST));
    }

    #[test]
    fn faults_that_led_to_large_pages_close_nothing() {
        let mut d = demand();
        assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
        for _ in 0..10 * FAULTS {
            assert!(!fault_after(&mut d, COST) && !fault_after(&mut d, COST));
            d.repaid(USER, 2);
        }
    }

    #[test]
    fn slow_paths_of_privileged_code_add_up_over_address_spaces() {
        let mut d = demand();
        let opened = (1..6000).find(|turn| {
            change(&mut d, turn % 3, (turn + 1) % 3);
            let asks = (0..8).filter(|_| d.missed(KERNEL, WALK)).count() > 0;
            d.stirred(KERNEL);
            d.count(d.counted + 10 * WALK);
            asks && d.opens(KERNEL, || 4)
        });
        let least = LATE * COST / WALK / 8;
        assert!(opened.is_some_and(|turn| (least..2 * least).contains(&turn)), "{opened:?}");
    }

    #[test]
    fn time_is_looked_at_once_in_a_while_and_slow_paths_at_once() {
        let mut d = demand();
        assert!(d.is_due(0) && !d.is_due(1) && !d.is_due(LOOK * COST - 1) && d.is_due(LOOK * COST));
        assert!(!d.is_due(LOOK * COST + 1) && d.missed(USER, 2 * COST) && d.is_due(LOOK * COST + 2));
    }

    #[test]
    fn many_slow_paths_ask_seldom_whether_windows_open() {
        let mut d = demand();
        let asked = (0..100_000).filter(|_| d.missed(USER, WALK)).count();
        assert!((10..100).contains(&asked), "{asked}");
    }

    fn fault_after(d: &mut Demand, pause: u64) -> bool {
        d.suffered(USER, Setback::Fault, d.counted + pause)
    }

    #[test]
    fn windows_of_much_code_close_when_much_was_lost() {
        let closes_after = |insns| {
            let mut d = demand();
            assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
            d.translated(USER, insns);
            (1..).find(|_| d.suffered(USER, Setback::Dropped { again: true }, d.counted + COST))
        };
        assert_eq!(closes_after(0), Some(FAULTS / 2 / STRIKES_AGAIN));
        for insns in [1000, 1_000_000] {
            assert_eq!(closes_after(insns), Some((COST + insns * TRANSLATION).div_ceil(CALL * COST)));
        }
    }

    #[test]
    fn nothing_is_lent_for_code() {
        let at = |insns| {
            let mut d = demand();
            d.translated(USER, insns);
            opened(&mut d, USER, 10, COST / 2)
        };
        assert!(at(10_000) - at(0) >= 10_000 * TRANSLATION);
    }

    #[test]
    fn invalidations_count_and_those_that_come_again_more() {
        let closes_after = |setback| {
            let mut d = demand();
            assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
            (1..).find(|_| d.suffered(USER, setback, d.counted + COST))
        };
        assert_eq!(closes_after(Setback::Dropped { again: false }), Some(FAULTS / 2));
        assert_eq!(closes_after(Setback::Dropped { again: true }), Some(FAULTS / 2 / STRIKES_AGAIN));
        // What it costs shows in the faults that follow.
        let mut d = demand();
        assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
        assert!(!d.suffered(USER, Setback::AllDropped, d.counted) && !fault_after(&mut d, COST));
        assert!(d.suffered(USER, Setback::AllDropped, d.counted));
    }

    #[test]
    fn who_keeps_invalidating_everything_gets_no_windows() {
        // Whenever slow paths have taken half as much as the faults that windows would have, or twice as much.
        for (sweeps, every, opens) in [(2, 1, false), (1, 2, true)] {
            let mut d = alone();
            let opened = (1..10_000).any(|step| {
                d.missed(KERNEL, FAULT * COST);
                d.look(d.counted + 2 * FAULT * COST, false);
                if step % every == 0 {
                    (0..sweeps).for_each(|_| d.forget_all());
                }
                d.opens(KERNEL, || 10)
            });
            assert_eq!(opened, opens);
        }
        // Once it does so no longer it gets them as if it never had.
        let mut d = alone();
        for _ in 0..1000 {
            d.missed(KERNEL, COST);
            d.forget_all();
            assert!(!d.opens(KERNEL, || 10));
        }
        assert_eq!(opened(&mut d, KERNEL, 10, COST / 2), opened(&mut alone(), KERNEL, 10, COST / 2));
    }

    #[test]
    fn each_address_space_has_its_time_though_the_clock_is_seldom_read() {
        const SPACES: u64 = 8;
        for (stint, most) in [(1000, 4), (100 * SOON, 1)] {
            let (mut d, mut now, mut reads) = (demand(), 0, 0);
            let changes = 8000;
            for i in 0..changes {
                now += stint;
                d.enter(i % SPACES, (i + 1) % SPACES, || {
                    reads += 1;
                    now
                });
            }
            assert!(reads * most <= changes, "{reads}");
            let fair = changes / SPACES * stint;
            for i in 0..SPACES {
                let ran = d.spaces.get(i).unwrap().ran;
                assert!((fair * 3 / 4..=fair * 5 / 4).contains(&ran), "{i}: {ran} instead of {fair}");
            }
        }
    }

    #[test]
    fn address_spaces_keep_what_is_known_of_them_until_they_are_forgotten() {
        let mut d = demand();
        change(&mut d, 0, 1);
        assert!(opened(&mut d, USER, 1, COST / 2) < u64::MAX);
        for number in 1..100 {
            change(&mut d, number, number + 1);
            assert!(!d.is_open(USER) && d.is_open_in(1, USER), "{number}");
        }
        change(&mut d, 100, 1);
        assert!(d.is_open(USER));
        change(&mut d, 1, 2);
        d.forget(1);
        change(&mut d, 2, 1);
        assert!(!d.is_open(USER) && opened(&mut d, USER, 1, COST / 2) < u64::MAX);
        change(&mut d, 1, 101);
        assert!(!d.is_open(USER), "the place that became free is another's");
        change(&mut d, 101, 1);
        d.forget_all();
        assert!(!d.is_open(USER));
        change(&mut d, 1, 2);
        assert!(!d.is_open(USER) && !d.is_open_in(1, USER));
    }

    #[test]
    fn code_that_runs_first_has_windows_on_trial() {
        let fault = |d: &mut Demand, pause| d.suffered(KERNEL, Setback::Fault, d.counted + pause);
        let mut d = alone();
        d.begin(KERNEL, USER);
        d.translated(KERNEL, 1000);
        assert!(d.is_open(KERNEL) && !d.opens(KERNEL, || 10));
        assert_eq!((1..).find(|_| fault(&mut d, COST)), Some(TRIAL));
        assert!(!d.is_open(KERNEL));
        // Then it is as if there had been none.
        assert_eq!(opened(&mut d, KERNEL, 10, COST / 2), opened(&mut alone(), KERNEL, 10, COST / 2));
        // Or with much code.
        let mut d = alone();
        d.begin(KERNEL, USER);
        assert!(!d.translated(KERNEL, TRIAL_INSNS) && d.translated(KERNEL, 1) && !d.is_open(KERNEL));
        assert!(!d.translated(KERNEL, 2 * TRIAL_INSNS));
        // Who passes it has windows like others.
        let mut d = alone();
        d.begin(KERNEL, USER);
        d.translated(KERNEL, 1000);
        assert!((0..TRIAL).all(|_| !fault(&mut d, FAULT * COST * SHARE + COST)));
        assert!(!d.translated(KERNEL, TRIAL_INSNS) && d.is_open(KERNEL));
        assert_eq!(
            (1..).find(|_| fault(&mut d, COST)),
            Some(((1000 + TRIAL_INSNS) * TRANSLATION).div_ceil(FAULT * COST).max(TRIAL))
        );
    }

    #[test]
    fn faults_of_code_without_windows_close_nothing() {
        let mut d = demand();
        assert!((0..2 * FAULTS).all(|_| !fault_after(&mut d, COST)));
    }
}
