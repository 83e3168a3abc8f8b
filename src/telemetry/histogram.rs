//! How long something took, counted in classes.

use std::time::Duration;

use super::counter::Counter;

/// Upper bounds of classes, nanoseconds, in ascending order; beyond the last one is a class of its own.
pub type Bounds = [u64];

/// Classes of the longest list of bounds.
const MOST: usize = 20;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// How long requests take. Up to 10 s the bounds of OpenTelemetry's conventions for HTTP, then for a model's.
pub const REQUEST: &Bounds = &[
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    7_500 * MILLISECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
];

/// How long the gateway works itself, or what it does in the background takes.
pub const WORK: &Bounds = &[
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
];

const _: () = assert!(REQUEST.len() < MOST && WORK.len() < MOST);

/// For one writing thread, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Histogram {
    classes: [Counter; MOST],
    nanos: Counter,
}

/// What several histograms with the same bounds have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    classes: [u64; MOST],
    nanos: u64,
}

impl Histogram {
    /// Every call for one histogram must have the same bounds.
    pub fn observe(&self, bounds: &Bounds, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // Most are in one of the first classes.
        let class = bounds.iter().take_while(|bound| nanos > **bound).count();
        self.classes[class].add(1);
        self.nanos.add(nanos);
    }
}

impl Counted {
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, class) in self.classes.iter_mut().zip(&histogram.classes) {
            *sum += class.get();
        }
        self.nanos = self.nanos.wrapping_add(histogram.nanos.get());
    }

    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / SECOND as f64
    }

    /// What is in each class of `bounds`, with its upper bound in seconds. The last one has none: infinity.
    pub fn classes(&self, bounds: &Bounds) -> Vec<(f64, u64)> {
        let seconds = bounds.iter().map(|bound| *bound as f64 / SECOND as f64).chain([f64::INFINITY]);
        seconds.zip(self.classes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let histogram = Histogram::default();
        let observed = [0, 5_000_000, 5_000_001, 600 * SECOND, 600 * SECOND + 1];
        observed.iter().for_each(|nanos| histogram.observe(REQUEST, Duration::from_nanos(*nanos)));
        let mut counted = Counted::default();
        counted.add(&histogram);
        let classes = counted.classes(REQUEST);
        assert_eq!((classes[0], classes[1]), ((0.005, 2), (0.01, 1)));
        assert_eq!(classes[18..], [(600.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((classes.len(), counted.count()), (20, 5));
        assert!((counted.seconds() - 1_200.010_000_001).abs() < 1e-6);
        counted.add(&histogram);
        assert_eq!(counted.count(), 10);
    }
}
