//! Medians and means.

/// Which figure stands for those of all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistic {
    #[default]
    Median,
    /// What the machine can do when nothing disturbs it.
    Least,
}

impl Statistic {
    /// NaN of nothing.
    #[must_use]
    pub fn of(self, figures: &[f64]) -> f64 {
        match self {
            Self::Median => median(figures),
            Self::Least => figures.iter().copied().fold(f64::NAN, f64::min),
        }
    }
}

/// The middle figure; of an even number halfway between the two. NaN of nothing.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => f64::midpoint(*below, *above),
        _ => f64::NAN,
    }
}

/// The geometric mean of ratios, which treats "twice as fast" and "half as fast" alike. `None` of nothing.
#[must_use]
pub fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = ratios.into_iter().fold((0.0, 0u32), |(sum, count), ratio| (sum + ratio.ln(), count + 1));
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!((median(&[4.0, 1.0, 3.0, 2.0]), median(&[7.0])), (2.5, 7.0));
        assert!(median(&[]).is_nan());
        assert_eq!(Statistic::Least.of(&[3.0, 1.0, 2.0]), 1.0);
        assert!(Statistic::Least.of(&[]).is_nan());
    }

    #[test]
    fn the_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean([4.0, 0.25]).unwrap() - 1.0).abs() < 1e-12);
        assert!((geometric_mean([2.0, 8.0]).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}
