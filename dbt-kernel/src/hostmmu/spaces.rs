//! What is known of address spaces, by their numbers. Guests switch between them often, mostly between a few.

use alloc::vec::Vec;
use hashbrown::HashMap;

type Words = core::hash::BuildHasherDefault<crate::code_cache::WordHasher>;

/// A value for each address space, at first the default.
pub(super) struct Spaces<T> {
    all: Vec<T>,
    /// Those that are no more.
    free: Vec<u32>,
    /// Where address spaces are in `all`, by number, and those last looked for. The current one is there once another one is.
    places: HashMap<u64, u32, Words>,
    recent: [Option<(u64, u32)>; RECENT],
    current: u32,
    known: bool,
}

const RECENT: usize = 16;

impl<T: Default> Spaces<T> {
    pub fn new() -> Self {
        Self {
            all: alloc::vec![T::default()],
            free: Vec::new(),
            places: HashMap::default(),
            recent: [None; RECENT],
            current: 0,
            known: false,
        }
    }

    /// Of the current address space.
    pub fn current(&self) -> &T {
        &self.all[self.current as usize]
    }

    pub fn current_mut(&mut self) -> &mut T {
        &mut self.all[self.current as usize]
    }

    fn recent(&mut self, number: u64) -> &mut Option<(u64, u32)> {
        &mut self.recent[(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % RECENT]
    }

    /// `to` is the current one instead of `from`.
    pub fn enter(&mut self, from: u64, to: u64) {
        if !self.known {
            self.places.insert(from, self.current);
            self.known = true;
        }
        let place = match *self.recent(to) {
            Some((number, place)) if number == to => place,
            _ => self.place(to),
        };
        *self.recent(to) = Some((to, place));
        self.current = place;
    }

    fn place(&mut self, number: u64) -> u32 {
        let (all, free) = (&mut self.all, &mut self.free);
        *self.places.entry(number).or_insert_with(|| {
            free.pop().unwrap_or_else(|| {
                all.push(T::default());
                all.len() as u32 - 1
            })
        })
    }

    /// Of another address space, if it was the current one since it began.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.places.get(&number).map(|place| &self.all[*place as usize])
    }

    /// All begin anew. Guests that do so do it often: nothing is allocated.
    pub fn forget_all(&mut self) {
        self.all.truncate(1);
        self.all[0] = T::default();
        self.free.clear();
        self.places.clear();
        self.recent = [None; RECENT];
        (self.current, self.known) = (0, false);
    }

    /// An address space that isn't the current one begins anew.
    pub fn forget(&mut self, number: u64) {
        *self.recent(number) = None;
        if let Some(place) = self.places.remove(&number) {
            self.all[place as usize] = T::default();
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_space_keeps_its_own_until_it_is_forgotten() {
        let mut spaces = Spaces::<u64>::new();
        *spaces.current_mut() = 1000;
        for number in 1..=100 {
            spaces.enter(number - 1, number);
            assert_eq!(*spaces.current(), 0, "{number}");
            *spaces.current_mut() = 1000 + number;
        }
        for number in (0..100).rev() {
            spaces.enter(number + 1, number);
            assert_eq!(*spaces.current(), 1000 + number);
            assert_eq!(spaces.get(100), Some(&1100));
        }
        spaces.forget(7);
        assert_eq!((spaces.get(7), spaces.get(101)), (None, None));
        // The place that became free is another's.
        spaces.enter(0, 101);
        assert_eq!(*spaces.current(), 0);
        *spaces.current_mut() = 5;
        spaces.enter(101, 7);
        assert_eq!((*spaces.current(), spaces.get(101)), (0, Some(&5)));
        spaces.forget_all();
        assert_eq!((*spaces.current(), spaces.get(101)), (0, None));
        spaces.enter(7, 8);
        assert_eq!((*spaces.current(), spaces.get(7)), (0, Some(&0)));
    }
}
