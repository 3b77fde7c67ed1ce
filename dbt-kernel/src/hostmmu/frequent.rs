//! Which of many numbers keep coming: a small table that forgets those that don't.

/// Places, chosen by the number.
const PLACES: usize = 64;

/// Counts numbers approximately.
pub(super) struct Frequent {
    places: [(u64, u8); PLACES],
    threshold: u8,
}

impl Frequent {
    /// `threshold` times make a number frequent.
    pub const fn new(threshold: u8) -> Self {
        Self { places: [(u64::MAX, 0); PLACES], threshold }
    }

    pub fn note(&mut self, number: u64) {
        let place = &mut self.places[number as usize % PLACES];
        if place.0 == number {
            // A frequent one keeps its place for a while when others want it.
            place.1 = place.1.saturating_add(1).min(self.threshold.saturating_mul(2));
        } else if place.1 > 0 {
            place.1 -= 1;
        } else {
            *place = (number, 1);
        }
    }

    /// How often it came of late.
    pub fn times(&self, number: u64) -> u8 {
        let (known, n) = self.places[number as usize % PLACES];
        if known == number { n } else { 0 }
    }

    pub fn holds(&self, number: u64) -> bool {
        self.times(number) >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_frequent_until_others_come_more_often() {
        let mut frequent = Frequent::new(3);
        for n in [7, 7, 7 + 64, 7] {
            frequent.note(n);
        }
        assert!(!frequent.holds(7), "its rival took one away");
        frequent.note(7);
        assert!(frequent.holds(7) && !frequent.holds(7 + 64) && !frequent.holds(8));
        for _ in 0..6 {
            frequent.note(7 + 64);
        }
        assert!(!frequent.holds(7));
    }
}
