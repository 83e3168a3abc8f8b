//! How often the operator is told of connections that come to nothing. Strangers make them, as many as they like.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Messages in [`PERIOD`]; what comes beyond is counted.
const MESSAGES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

/// Of one worker, or one listener.
#[derive(Default)]
pub struct Complaints(Mutex<Period>);

#[derive(Default)]
struct Period {
    /// When it began.
    since: Option<Instant>,
    written: u32,
    /// Not written since the last message.
    withheld: u64,
}

impl Complaints {
    /// Whether one more may be written: how many were not written since the last one. `None`: not this one either.
    pub fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Option<u64> {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if period.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (period.since, period.written) = (Some(now), 0);
        }
        if period.written == MESSAGES {
            period.withheld += 1;
            return None;
        }
        period.written += 1;
        Some(std::mem::take(&mut period.withheld))
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
