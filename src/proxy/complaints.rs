//! How often a worker may tell the operator of connections that come to nothing. Strangers make them, as many as they like.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Messages in [`PERIOD`]; what comes beyond is counted.
const MESSAGES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Complaints {
    /// When the period began.
    since: Cell<Option<Instant>>,
    written: Cell<u32>,
    /// Not written since the last message.
    withheld: Cell<u64>,
}

impl Complaints {
    /// Whether one more may be written: how many were not written since the last one. `None`: not this one either.
    pub fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Option<u64> {
        if self.since.get().is_none_or(|since| now.duration_since(since) >= PERIOD) {
            self.since.set(Some(now));
            self.written.set(0);
        }
        if self.written.get() == MESSAGES {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.written.set(self.written.get() + 1);
        Some(self.withheld.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_often_is_counted() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        for _ in 0..MESSAGES {
            assert_eq!(complaints.next_at(now), Some(0));
        }
        assert_eq!((complaints.next_at(now), complaints.next_at(now)), (None, None));
        assert_eq!(complaints.next_at(now + PERIOD), Some(2));
        assert_eq!(complaints.next_at(now + PERIOD), Some(0));
    }
}
