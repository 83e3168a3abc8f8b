//! Whether decisions can be made: the index was loaded and is not too old.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Written by the follower, read by every request and by `/readyz`.
pub struct Condition {
    started: Instant,
    /// Milliseconds after `started` until which the index may be used; 0 before it was first loaded.
    usable_until: AtomicU64,
    /// The last look at the store succeeded: what is not in the index does not exist.
    current: AtomicBool,
    draining: AtomicBool,
}

/// Why no decision can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The store was never reached.
    NeverLoaded,
    /// The store has not been reached for longer than `store.max_staleness`.
    Stale,
}

/// Why nobody should send requests here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    Unusable(Unusable),
    Draining,
}

impl Condition {
    #[expect(clippy::new_without_default, reason = "it begins now, which a default should not say")]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            usable_until: AtomicU64::new(0),
            current: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// # Errors
    /// [`Unusable`].
    pub fn usable(&self) -> Result<(), Unusable> {
        match self.usable_until.load(Relaxed) {
            0 => Err(Unusable::NeverLoaded),
            u64::MAX => Ok(()),
            until if self.millis() < until => Ok(()),
            _ => Err(Unusable::Stale),
        }
    }

    /// What `/readyz` says.
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.draining.load(Relaxed) { Err(NotReady::Draining) } else { self.usable().map_err(NotReady::Unusable) }
    }

    /// Whether a token that is not in the index does not exist, as far as anyone can know.
    pub fn is_current(&self) -> bool {
        self.current.load(Relaxed)
    }

    /// The index is as the store was just now. `max_staleness` of `None` is without limit.
    pub fn loaded(&self, max_staleness: Option<Duration>) {
        let until = max_staleness.map_or(u64::MAX, |limit| {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            self.millis().saturating_add(limit).saturating_add(1)
        });
        self.usable_until.store(until, Relaxed);
        self.current.store(true, Relaxed);
    }

    pub fn lost_the_store(&self) {
        self.current.store(false, Relaxed);
    }

    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
