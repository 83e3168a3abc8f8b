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

/// Times are milliseconds after the sweep was made. `u64::MAX` is none.
pub struct ConnectionClock {
    /// What the next sweep makes a deadline, milliseconds.
    armed: AtomicU64,
    deadline: AtomicU64,
    /// Until when at most an HTTP/2 connection without streams stays after our GOAWAY. None: none was sent.
    retired_until: AtomicU64,
    started: Instant,
}

impl ConnectionClock {
    /// Without a deadline. `started`: when the sweep was made.
    pub fn new(started: Instant) -> Self {
        let none = || AtomicU64::new(u64::MAX);
        Self { armed: none(), deadline: none(), retired_until: none(), started }
    }

    /// Counts from the next sweep on, which reads the clock once for all.
    pub fn arm(&self, limit: Duration) {
        self.deadline.store(u64::MAX, Relaxed);
        self.armed.store(millis(limit), Relaxed);
    }

    pub fn disarm(&self) {
        self.set(u64::MAX);
    }

    fn set(&self, deadline: u64) {
        self.armed.store(u64::MAX, Relaxed);
        self.deadline.store(deadline, Relaxed);
    }

    /// What was armed since the last sweep counts from `now` on.
    pub fn count_from(&self, now: u64) {
        let armed = self.armed.load(Relaxed);
        if armed != u64::MAX {
            self.set(now.saturating_add(armed));
        }
    }

    /// Whether the deadline is at most `rest` after `now`.
    pub fn is_due(&self, now: u64, rest: Duration) -> bool {
        self.deadline.load(Relaxed) <= now.saturating_add(millis(rest))
    }

    /// When the deadline was set, which is `limit` after that; `u64::MAX` if that was after the last sweep. `None`: there is
    /// none.
    pub fn since(&self, limit: Duration) -> Option<u64> {
        if self.armed.load(Relaxed) != u64::MAX {
            return Some(u64::MAX);
        }
        let deadline = self.deadline.load(Relaxed);
        (deadline != u64::MAX).then(|| deadline.saturating_sub(millis(limit)))
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
        self.set(self.millis_in(GOAWAY_GRACE).min(self.retired_until.load(Relaxed)));
    }

    fn millis_in(&self, limit: Duration) -> u64 {
        millis(self.started.elapsed() + limit)
    }
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
