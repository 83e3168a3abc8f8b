//! From when on a Deployment refuses whom it would refuse.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::domain::timestamp::Timestamp;

#[derive(Debug, Default)]
pub struct Enforcement {
    /// `None`: always.
    from: Option<Timestamp>,
    /// It has begun, and a clock that is set back does not end it.
    begun: AtomicBool,
}

impl Enforcement {
    /// `earlier`: that of the Deployment before it was changed.
    pub fn new(from: Option<Timestamp>, earlier: Option<&Self>) -> Self {
        let begun = earlier.is_some_and(|earlier| earlier.from == from && earlier.begun.load(Relaxed));
        Self { from, begun: AtomicBool::new(begun) }
    }

    /// Whether who would be refused passes for now. Once this has said no, it never says yes again. `now` is asked only where
    /// there is a date.
    pub fn lets_through(&self, now: impl FnOnce() -> Timestamp) -> bool {
        if self.from.is_none() {
            return false;
        }
        let lets_through = self.would_let_through(now());
        if !lets_through {
            self.begun.store(true, Relaxed);
        }
        lets_through
    }

    /// The same for whoever only wants to know.
    pub fn would_let_through(&self, at: Timestamp) -> bool {
        self.from.is_some_and(|from| at < from) && !self.begun.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_goes_on_whatever_the_clock_says() {
        let [before, from, after] = [1, 2, 3].map(Timestamp::from_millis);
        let enforcement = Enforcement::new(Some(from), None);
        assert!(enforcement.lets_through(|| before) && !enforcement.would_let_through(after));
        assert!(enforcement.lets_through(|| before), "asking for another time has no effect");
        assert!(!enforcement.lets_through(|| from) && !enforcement.lets_through(|| before));
        let changed = Enforcement::new(Some(from), Some(&enforcement));
        assert!(!changed.lets_through(|| before), "another setting was changed");
        assert!(Enforcement::new(Some(after), Some(&enforcement)).lets_through(|| before), "it was put off");
        assert!(!Enforcement::new(None, None).lets_through(|| before));
    }
}
