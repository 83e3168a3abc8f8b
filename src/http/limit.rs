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

impl<K: Eq + Hash> Limit<K> {
    /// `burst` at once, then `rate` a minute.
    pub fn per_minute(rate: u32, burst: u32) -> Self {
        let table = Table { full_at: HashMap::new(), overflow: None, swept: Instant::now() };
        Self { interval: MINUTE / rate.max(1), burst, table: Mutex::new(table) }
    }

    /// Whether it may be done once more now, which is counted.
    pub fn allows(&self, key: K) -> bool {
        self.takes(key, Instant::now())
    }

    fn takes(&self, key: K, now: Instant) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(table.swept) >= SWEEP {
            table.swept = now;
            table.full_at.retain(|_, full_at| *full_at > now);
        }
        let has_room = table.full_at.len() < MAX_KEYS || table.full_at.contains_key(&key);
        let bucket = if has_room { table.full_at.entry(key).or_insert(now) } else { table.overflow.get_or_insert(now) };
        let full_at = (*bucket).max(now) + self.interval;
        let takes = full_at <= now + self.interval * self.burst;
        if takes {
            *bucket = full_at;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_up_again_and_is_nobody_elses() {
        let (limit, now) = (Limit::per_minute(1, 3), Instant::now());
        assert!((0..3).all(|_| limit.takes(1, now)));
        assert!(!limit.takes(1, now) && limit.takes(2, now));
        assert!(!limit.takes(1, now + MINUTE - SWEEP));
        assert!(limit.takes(1, now + MINUTE) && !limit.takes(1, now + MINUTE));
        assert!((0..3).all(|_| limit.takes(1, now + MINUTE * 9)) && !limit.takes(1, now + MINUTE * 9));
    }

    #[test]
    fn memory_is_bounded_and_only_newcomers_are_refused() {
        let (limit, now) = (Limit::per_minute(1, 2), Instant::now());
        assert!((0..MAX_KEYS).all(|key| limit.takes(key, now)));
        let newcomers = (MAX_KEYS..MAX_KEYS + 100).filter(|key| limit.takes(*key, now)).count();
        assert_eq!(newcomers, 2, "they share one bucket");
        assert!(limit.takes(0, now), "who was here before has their own");
        assert_eq!(limit.table.lock().unwrap().full_at.len(), MAX_KEYS);
        assert!(limit.takes(MAX_KEYS, now + MINUTE) && limit.takes(MAX_KEYS + 1, now + MINUTE));
        assert!(limit.table.lock().unwrap().full_at.len() < 10, "what is full again is forgotten");
    }
}
