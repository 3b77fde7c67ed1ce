//! The guest's time base, derived from the host's time stamp counter.

/// Frequency of the guest's system counter: what QEMU's `virt` machine has, too.
pub const TICK_HZ: u64 = 62_500_000;

/// Converts between host TSC cycles and guest ticks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: u64,
    /// Ticks per cycle as a 0.64 fixed-point number.
    ticks_per_cycle: u64,
}

impl Clock {
    /// A clock that was zero at TSC value `origin`. A frequency of zero counts as 1 GHz.
    #[must_use]
    pub fn new(origin: u64, tsc_hz: u64) -> Self {
        let hz = if tsc_hz <= TICK_HZ { 1_000_000_000 } else { tsc_hz };
        Self { origin, ticks_per_cycle: ((u128::from(TICK_HZ) << 64) / u128::from(hz)) as u64 }
    }

    /// Ticks since power-on at TSC value `tsc`.
    #[must_use]
    pub fn ticks(&self, tsc: u64) -> u64 {
        ((u128::from(tsc.saturating_sub(self.origin)) * u128::from(self.ticks_per_cycle)) >> 64) as u64
    }

    /// The first TSC value at which [`Clock::ticks`] has reached `ticks`; `u64::MAX`: never.
    #[must_use]
    pub fn tsc_at(&self, ticks: u64) -> u64 {
        let cycles = (u128::from(ticks) << 64).div_ceil(u128::from(self.ticks_per_cycle));
        u64::try_from(cycles).ok().and_then(|c| self.origin.checked_add(c)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_passed_when_its_tsc_is_reached() {
        let clock = Clock::new(1_000_000, 2_449_843_000);
        for ticks in [0, 1, 62_500_000, 1 << 40, 123_456_789_012] {
            let tsc = clock.tsc_at(ticks);
            assert_eq!(clock.ticks(tsc), ticks);
            assert!(ticks == 0 || clock.ticks(tsc - 1) < ticks, "{ticks}");
        }
        assert_eq!(clock.tsc_at(u64::MAX), u64::MAX);
    }

    #[test]
    fn one_second_is_one_second() {
        let clock = Clock::new(0, 2_600_000_000);
        let ticks = clock.ticks(2_600_000_000);
        assert!(ticks.abs_diff(TICK_HZ) <= 1);
    }
}
