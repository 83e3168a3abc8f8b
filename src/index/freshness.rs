//! Whether the gateway can decide: the index was loaded and is not too old.

use std::{
    sync::atomic::{
        AtomicBool, AtomicI64, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use crate::{domain::timestamp::Timestamp, system::clock::ClockReading};

/// Of [`Freshness::holds`].
const WITHOUT_LIMIT: u64 = u64::MAX;

/// Written by the follower, read by every request and by `/readyz`.
pub struct Freshness {
    /// When the last look began that has succeeded.
    looked_at: SharedReading,
    /// Milliseconds after `looked_at` for which the index may be used; 0 before it was first loaded.
    holds: AtomicU64,
    /// The last poll of the store succeeded: what is not in the index does not exist.
    current: AtomicBool,
    draining: AtomicBool,
}

/// In whole milliseconds. Who reads it while it is written may get one clock's part of the look before, and decides as a
/// moment ago.
#[derive(Default)]
struct SharedReading {
    uptime: AtomicU64,
    wall: AtomicI64,
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
            looked_at: SharedReading::default(),
            holds: AtomicU64::new(0),
            current: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// # Errors
    /// [`NotFresh`].
    pub fn check(&self) -> Result<(), NotFresh> {
        self.check_at(ClockReading::now())
    }

    /// As [`Freshness::check`], for who has looked at the clock already.
    ///
    /// # Errors
    /// [`NotFresh`].
    pub fn check_at(&self, now: ClockReading) -> Result<(), NotFresh> {
        match self.holds.load(Acquire) {
            0 => Err(NotFresh::NeverLoaded),
            WITHOUT_LIMIT => Ok(()),
            holds if now.since(self.looked_at.load()) < Duration::from_millis(holds) => Ok(()),
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
    pub fn mark_fresh(&self, asked: ClockReading, max_staleness: Option<Duration>) {
        self.looked_at.store(asked);
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(WITHOUT_LIMIT).saturating_add(1);
        self.holds.store(max_staleness.map_or(WITHOUT_LIMIT, millis), Release);
        self.current.store(true, Relaxed);
    }

    /// How long ago the store was as the index is. `None`: it was never loaded.
    pub fn age(&self) -> Option<Duration> {
        let loaded = self.holds.load(Acquire) != 0;
        loaded.then(|| ClockReading::now().since(self.looked_at.load()))
    }

    pub fn mark_stale(&self) {
        self.current.store(false, Relaxed);
    }

    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }
}

impl SharedReading {
    fn store(&self, reading: ClockReading) {
        self.uptime.store(u64::try_from(reading.uptime.as_millis()).unwrap_or(u64::MAX), Relaxed);
        self.wall.store(reading.wall.as_millis(), Relaxed);
    }

    fn load(&self) -> ClockReading {
        let wall = Timestamp::from_millis(self.wall.load(Relaxed));
        ClockReading { uptime: Duration::from_millis(self.uptime.load(Relaxed)), wall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_asked_long_ago_is_not_fresh() {
        let (freshness, asked) = (Freshness::new(), ClockReading::now());
        assert_eq!(freshness.check(), Err(NotFresh::NeverLoaded));
        freshness.mark_fresh(asked, Some(LIMIT));
        assert_eq!(freshness.check(), Ok(()));
        assert_eq!(freshness.check_at(asked.after(LIMIT / 2)), Ok(()));
        assert_eq!(freshness.check_at(asked.after(LIMIT + LIMIT)), Err(NotFresh::Stale));
        // The process was frozen between the look and its end.
        let later = asked.after(LIMIT + LIMIT);
        freshness.mark_fresh(asked, Some(LIMIT));
        assert_eq!(freshness.check_at(later), Err(NotFresh::Stale));
        for limit in [None, Some(Duration::MAX)] {
            freshness.mark_fresh(asked, limit);
            assert_eq!(freshness.check_at(later), Ok(()), "{limit:?}");
        }
    }

    #[test]
    fn a_machine_that_slept_or_was_held_knows_nothing_newer() {
        let (freshness, asked) = (Freshness::new(), ClockReading::now());
        freshness.mark_fresh(asked, Some(LIMIT));
        let hours = Duration::from_secs(3 * 3600);
        let suspended = ClockReading { uptime: asked.uptime + hours, ..asked };
        let held_by_a_hypervisor = ClockReading { wall: asked.wall.saturating_add(hours), ..asked };
        let then_set_back = ClockReading { wall: asked.wall.saturating_sub(hours), ..suspended };
        for now in [suspended, held_by_a_hypervisor, then_set_back] {
            assert_eq!(freshness.check_at(now), Err(NotFresh::Stale), "{now:?}");
        }
        // A wall clock that is set back revives nothing, and ends nothing.
        let set_back = ClockReading { wall: asked.wall.saturating_sub(hours), ..asked.after(LIMIT / 2) };
        assert_eq!(freshness.check_at(set_back), Ok(()));
        freshness.mark_fresh(suspended, Some(LIMIT));
        assert_eq!(freshness.check_at(suspended.after(LIMIT / 2)), Ok(()), "it has asked since");
    }
}
