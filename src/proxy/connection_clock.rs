//! The one deadline of a downstream connection, and the time that is left to it after a GOAWAY.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How long an HTTP/2 caller without streams gets to answer our GOAWAY: several times the longest round trip. Requests that
/// it had sent before are served.
const GOAWAY_GRACE: Duration = Duration::from_secs(2);
/// How long bytes that still leave for a slow reader may prolong [`GOAWAY_GRACE`]. Answers to PING prolong it, too.
const MAX_GRACE: Duration = Duration::from_secs(60);

/// Times are milliseconds after the sweep was made.
pub struct ConnectionClock {
    /// `u64::MAX` for none.
    deadline: AtomicU64,
    /// Until when at most an HTTP/2 connection without streams stays after our GOAWAY; `u64::MAX`: none was sent.
    retired_until: AtomicU64,
    started: Instant,
}

impl ConnectionClock {
    /// Without a deadline. `started`: when the sweep was made.
    pub fn new(started: Instant) -> Self {
        Self { deadline: AtomicU64::new(u64::MAX), retired_until: AtomicU64::new(u64::MAX), started }
    }

    pub fn arm(&self, limit: Duration) {
        self.deadline.store(self.millis_in(limit), Relaxed);
    }

    pub fn disarm(&self) {
        self.deadline.store(u64::MAX, Relaxed);
    }

    /// Whether the deadline is at most `rest` after `now`.
    pub fn is_due(&self, now: u64, rest: Duration) -> bool {
        self.deadline.load(Relaxed) <= now.saturating_add(millis(rest))
    }

    /// The caller is told to begin no further request.
    pub fn retire(&self) {
        self.retired_until.store(self.millis_in(MAX_GRACE), Relaxed);
    }

    pub fn is_retired(&self) -> bool {
        self.retired_until.load(Relaxed) != u64::MAX
    }

    /// Leaves a retired connection [`GOAWAY_GRACE`].
    pub fn await_goaway(&self) {
        let deadline = self.millis_in(GOAWAY_GRACE).min(self.retired_until.load(Relaxed));
        self.deadline.store(deadline, Relaxed);
    }

    fn millis_in(&self, limit: Duration) -> u64 {
        millis(self.started.elapsed() + limit)
    }
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
