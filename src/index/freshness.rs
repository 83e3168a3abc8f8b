//! Whether the gateway can decide: the index was loaded and is not too old.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Written by the follower, read by every request and by `/readyz`.
pub struct Freshness {
    started: Instant,
    /// Milliseconds after `started` until which the index may be used; 0 before it was first loaded.
    fresh_until: AtomicU64,
    /// Milliseconds after `started` when the last look began that has succeeded, and 1 more; 0: none has.
    looked_at: AtomicU64,
    /// The last poll of the store succeeded: what is not in the index does not exist.
    current: AtomicBool,
    draining: AtomicBool,
}

/// Why the gateway cannot decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFresh {
    /// The store was never reached.
    NeverLoaded,
    /// The store has not been reached for longer than `store.max_staleness`.
    Stale,
}

/// Why a load balancer should send no requests here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    NotFresh(NotFresh),
    Draining,
}

impl Freshness {
    #[expect(clippy::new_without_default, reason = "it begins now, which a default should not say")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            fresh_until: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            current: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// # Errors
    /// [`NotFresh`].
    pub fn check(&self) -> Result<(), NotFresh> {
        match self.fresh_until.load(Relaxed) {
            0 => Err(NotFresh::NeverLoaded),
            u64::MAX => Ok(()),
            until if self.millis() < until => Ok(()),
            _ => Err(NotFresh::Stale),
        }
    }

    /// What `/readyz` says.
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn check_ready(&self) -> Result<(), NotReady> {
        if self.draining.load(Relaxed) { Err(NotReady::Draining) } else { self.check().map_err(NotReady::NotFresh) }
    }

    /// Whether a token that is not in the index does not exist. Else it may have been made since the store was away.
    pub fn is_current(&self) -> bool {
        self.current.load(Relaxed)
    }

    /// The index is as the store was when it was `asked`: a process that was frozen since then knows nothing newer.
    /// `max_staleness` of `None` is without limit.
    pub fn mark_fresh(&self, asked: Instant, max_staleness: Option<Duration>) {
        let until = max_staleness.map_or(u64::MAX, |limit| {
            let until = asked.checked_add(limit).map(|until| until.saturating_duration_since(self.started));
            until.and_then(|until| u64::try_from(until.as_millis()).ok()).unwrap_or(u64::MAX).saturating_add(1)
        });
        self.fresh_until.store(until, Relaxed);
        let asked = asked.saturating_duration_since(self.started);
        self.looked_at.store(u64::try_from(asked.as_millis()).unwrap_or(u64::MAX).saturating_add(1), Relaxed);
        self.current.store(true, Relaxed);
    }

    /// How long ago the store was as the index is. `None`: it was never loaded.
    pub fn age(&self) -> Option<Duration> {
        let looked_at = self.looked_at.load(Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.millis().saturating_sub(looked_at)))
    }

    pub fn mark_stale(&self) {
        self.current.store(false, Relaxed);
    }

    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_long_ago_is_not_fresh() {
        let (freshness, limit) = (Freshness::new(), Some(Duration::from_secs(60)));
        freshness.mark_fresh(Instant::now(), limit);
        assert_eq!(freshness.check(), Ok(()));
        std::thread::sleep(Duration::from_millis(5));
        // The process was frozen between the look and its end.
        let asked = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
        freshness.mark_fresh(asked, limit);
        assert_eq!(freshness.check(), Err(NotFresh::Stale));
        freshness.mark_fresh(asked, None);
        assert_eq!(freshness.check(), Ok(()));
        freshness.mark_fresh(asked, Some(Duration::MAX));
        assert_eq!(freshness.check(), Ok(()));
    }
}
