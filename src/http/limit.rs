//! How often something may be done, kept apart by who does it.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many keys a limit keeps apart. For a newcomer beyond, that one is forgotten whose bucket is full soonest: it has spent
/// the least, and a newcomer is never refused for what others have spent.
const MAX_KEYS: usize = 16 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// Buckets that fill up again by time (GCRA): `burst` at once, then one each `interval`.
pub struct Limit<K> {
    interval: Duration,
    burst: u32,
    table: Mutex<Table<K>>,
}

/// Both have the same keys.
struct Table<K> {
    /// When each bucket is full again. A key without one has a full bucket.
    full_at: HashMap<K, Instant>,
    in_order: BTreeSet<(Instant, K)>,
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

impl<K: Clone + Eq + Hash + Ord> Limit<K> {
    /// `burst` at once, then one each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Self {
        let table = Table { full_at: HashMap::new(), in_order: BTreeSet::new() };
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
        table.forget_until(now);
        let full_at = table.full_at.get(&key).map_or(now, |full_at| (*full_at).max(now)) + self.interval;
        let latest = now + self.interval * self.burst;
        if full_at > latest {
            return Spent { allowed: false, left: 0, wait: full_at - latest };
        }
        table.put(key, full_at);
        let left = (latest - full_at).as_nanos() / self.interval.as_nanos();
        Spent { allowed: true, left: u32::try_from(left).unwrap_or(u32::MAX), wait: full_at - now }
    }
}

impl<K: Clone + Eq + Hash + Ord> Table<K> {
    /// Forgets keys whose buckets are full again.
    fn forget_until(&mut self, now: Instant) {
        while self.in_order.first().is_some_and(|(full_at, _)| *full_at <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.in_order.pop_first() {
            self.full_at.remove(&key);
        }
    }

    fn put(&mut self, key: K, full_at: Instant) {
        match self.full_at.insert(key.clone(), full_at) {
            Some(before) => {
                self.in_order.remove(&(before, key.clone()));
            }
            None if self.full_at.len() > MAX_KEYS => {
                // It is not the newcomer, which is in one of the two only.
                self.forget_first();
            }
            None => {}
        }
        self.in_order.insert((full_at, key));
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
        assert!(!takes(1, now + MINUTE - Duration::from_secs(1)));
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
    fn memory_is_bounded_and_a_newcomer_has_a_bucket_of_its_own() {
        let (limit, now) = (Limit::per_minute(1, 2), Instant::now());
        let takes = |key, now| limit.spend(key, now).allowed;
        assert!(takes(0, now) && takes(0, now) && !takes(0, now));
        assert!((1..MAX_KEYS * 3).all(|key| takes(key, now)), "somebody pays for what others have spent");
        assert!(takes(MAX_KEYS * 3, now) && takes(MAX_KEYS * 3, now) && !takes(MAX_KEYS * 3, now));
        assert!(!takes(0, now), "who has spent most is forgotten last");
        let kept = || {
            let table = limit.table.lock().unwrap();
            (table.full_at.len(), table.in_order.len())
        };
        assert_eq!(kept(), (MAX_KEYS, MAX_KEYS));
        assert!(takes(MAX_KEYS, now + MINUTE * 2));
        assert_eq!(kept(), (1, 1), "what is full again is forgotten");
    }
}
