//! How often something may be done, kept apart by who does it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many keys a limit keeps apart. Newcomers beyond share one bucket until others are forgotten.
const MAX_KEYS: usize = 16 * 1024;
/// How often keys are forgotten whose bucket is full again.
const SWEEP: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// Buckets that fill up again by time (GCRA): `burst` at once, then one each `interval`.
pub struct Limit<K> {
    interval: Duration,
    burst: u32,
    table: Mutex<Table<K>>,
}

struct Table<K> {
    /// When each bucket is full again. A key without one has a full bucket.
    full_at: HashMap<K, Instant>,
    /// The bucket of all keys for which there is no room.
    overflow: Option<Instant>,
    swept: Instant,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    pub allowed: bool,
    /// How many more are allowed now.
    pub left: u32,
    /// Until the bucket is full again; if it was not allowed, until one more is.
    pub wait: Duration,
}

impl<K: Eq + Hash> Limit<K> {
    /// `burst` at once, then one each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Self {
        let table = Table { full_at: HashMap::new(), overflow: None, swept: Instant::now() };
        Self { interval: interval.max(Duration::from_nanos(1)), burst, table: Mutex::new(table) }
    }

    /// `burst` at once, then `rate` a minute.
    pub fn per_minute(rate: u32, burst: u32) -> Self {
        Self::new(burst, MINUTE / rate.max(1))
    }

    /// Whether it may be done once more now, which is counted.
    pub fn allows(&self, key: K) -> bool {
        self.spend(key, Instant::now()).allowed
    }

    /// Counts one more at `now`, if it is allowed.
    pub fn spend(&self, key: K, now: Instant) -> Spent {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(table.swept) >= SWEEP {
            table.swept = now;
            table.full_at.retain(|_, full_at| *full_at > now);
        }
        let has_room = table.full_at.len() < MAX_KEYS || table.full_at.contains_key(&key);
        let bucket = if has_room { table.full_at.entry(key).or_insert(now) } else { table.overflow.get_or_insert(now) };
        let full_at = (*bucket).max(now) + self.interval;
        let latest = now + self.interval * self.burst;
        if full_at > latest {
            return Spent { allowed: false, left: 0, wait: full_at - latest };
        }
        *bucket = full_at;
        let left = (latest - full_at).as_nanos() / self.interval.as_nanos();
        Spent { allowed: true, left: u32::try_from(left).unwrap_or(u32::MAX), wait: full_at - now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_up_again_and_is_nobody_elses() {
        let (limit, now) = (Limit::per_minute(1, 3), Instant::now());
        let takes = |key, now| limit.spend(key, now).allowed;
        assert!((0..3).all(|_| takes(1, now)));
        assert!(!takes(1, now) && takes(2, now));
        assert!(!takes(1, now + MINUTE - SWEEP));
        assert!(takes(1, now + MINUTE) && !takes(1, now + MINUTE));
        assert!((0..3).all(|_| takes(1, now + MINUTE * 9)) && !takes(1, now + MINUTE * 9));
    }

    #[test]
    fn it_says_what_is_left_and_how_long_to_wait() {
        let (limit, now) = (Limit::new(3, Duration::from_secs(10)), Instant::now());
        let spent = |allowed, left, wait| Spent { allowed, left, wait: Duration::from_secs(wait) };
        assert_eq!(limit.spend("a", now), spent(true, 2, 10));
        assert_eq!(limit.spend("a", now), spent(true, 1, 20));
        assert_eq!(limit.spend("a", now), spent(true, 0, 30));
        assert_eq!(limit.spend("a", now), spent(false, 0, 10));
        let later = now + Duration::from_secs(4);
        assert_eq!(limit.spend("a", later), spent(false, 0, 6));
        assert_eq!(limit.spend("a", now + Duration::from_secs(10)), spent(true, 0, 30));
    }

    #[test]
    fn memory_is_bounded_and_only_newcomers_are_refused() {
        let (limit, now) = (Limit::per_minute(1, 2), Instant::now());
        let takes = |key, now| limit.spend(key, now).allowed;
        assert!((0..MAX_KEYS).all(|key| takes(key, now)));
        let newcomers = (MAX_KEYS..MAX_KEYS + 100).filter(|key| takes(*key, now)).count();
        assert_eq!(newcomers, 2, "they share one bucket");
        assert!(takes(0, now), "who was here before has their own");
        assert_eq!(limit.table.lock().unwrap().full_at.len(), MAX_KEYS);
        assert!(takes(MAX_KEYS, now + MINUTE) && takes(MAX_KEYS + 1, now + MINUTE));
        assert!(limit.table.lock().unwrap().full_at.len() < 10, "what is full again is forgotten");
    }
}
