//! Which of its upstreams a Deployment's request is tried at first.
//!
//! The one with the least under way, for its weight. Among those with equally little, they take turns by weight, as start-time
//! fair queueing gives them: so a small share is kept where there is little to do, too.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::upstream::{Place, Upstream};

/// What a request costs an upstream of weight 1, in turns.
const COST: u64 = 1 << 20;
/// A weight of 1 has so many parts.
const WHOLE: u64 = 1000;
/// Who was away begins with this part of its weight.
const FIRST_PART: u64 = 10;

#[derive(Debug)]
pub struct Upstreams {
    all: Box<[Arc<Upstream>]>,
    /// Without those that are drained.
    taking: Box<[Arc<Upstream>]>,
    /// Of these. How much more another one takes before it counts as loaded.
    least_weight: u64,
    /// When the last request had its turn.
    turn: AtomicU64,
    /// How long the share of one that was away grows.
    slow_start: Duration,
}

/// What is compared.
type Rank = (Place, u64, u64);

impl Upstreams {
    pub fn new(all: Vec<Arc<Upstream>>, slow_start: Duration) -> Self {
        let taking: Box<[_]> = all.iter().filter(|upstream| upstream.weight > 0).map(Arc::clone).collect();
        let least_weight = taking.iter().map(|upstream| u64::from(upstream.weight)).min().unwrap_or(1) * WHOLE;
        Self { all: all.into(), taking, least_weight, turn: AtomicU64::new(0), slow_start }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.iter()
    }

    /// Those that may get requests.
    pub fn taking(&self) -> &[Arc<Upstream>] {
        &self.taking
    }

    /// Whether standing probes hear of all of these that they are not ready.
    pub fn none_is_ready(&self) -> bool {
        self.taking.iter().all(|upstream| !upstream.health.is_ready())
    }

    /// In the order in which they are tried: one whose probe is due, then those that take connections, the least loaded first,
    /// then those that took none.
    ///
    /// `now` is asked only if there is an order to choose.
    pub fn in_order(&self, now: impl FnOnce() -> Instant) -> Cow<'_, [Arc<Upstream>]> {
        if self.taking.len() < 2 {
            return (&*self.taking).into();
        }
        let (mut upstreams, now) = (self.taking.to_vec(), now());
        // The rank is asked for once: `place` hands out the probe.
        upstreams.sort_by_cached_key(|upstream| self.rank(upstream, now));
        if let Some(first) = upstreams.first() {
            self.take_turn(first, now);
        }
        upstreams.into()
    }

    fn rank(&self, upstream: &Upstream, now: Instant) -> Rank {
        let in_flight = upstream.standing.in_flight.load(Relaxed) as u64;
        let load = in_flight * self.least_weight / self.weight(upstream, now);
        (upstream.place(now), load, self.start(upstream))
    }

    /// In parts of [`WHOLE`]: all of its weight, or the part that it has after it was away. At least 1.
    fn weight(&self, upstream: &Upstream, now: Instant) -> u64 {
        let growing = upstream.back_for(now).filter(|back_for| *back_for < self.slow_start);
        let part = growing.map_or(WHOLE, |back_for| {
            let (back_for, slow_start) = (back_for.as_millis() as u64, self.slow_start.as_millis() as u64);
            WHOLE * back_for.max(slow_start / FIRST_PART) / slow_start.max(1)
        });
        (u64::from(upstream.weight) * part).max(1)
    }

    /// When it is its turn. Who was passed over has missed it, and is not given several at once.
    fn start(&self, upstream: &Upstream) -> u64 {
        upstream.next_turn.load(Relaxed).max(self.turn.load(Relaxed))
    }

    fn take_turn(&self, upstream: &Upstream, now: Instant) {
        let start = self.start(upstream);
        upstream.next_turn.store(start + COST * WHOLE / self.weight(upstream, now), Relaxed);
        self.turn.fetch_max(start, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, num::NonZeroU32, sync::LazyLock};

    use super::*;
    use crate::index::upstream::{Remembered, START};

    const SLOW_START: Duration = Duration::from_secs(10);

    fn upstreams(weights: &[u16]) -> Upstreams {
        let one = |(at, weight): (usize, &u16)| {
            let text = format!("http://127.0.0.1:{}#weight={weight}", at + 1);
            Arc::new(Upstream::new(&text.parse().unwrap(), None, Remembered::default()))
        };
        Upstreams::new(weights.iter().enumerate().map(one).collect(), SLOW_START)
    }

    fn order(upstreams: &Upstreams, now: Instant) -> Vec<u16> {
        upstreams.in_order(|| now).iter().map(|upstream| upstream.url.port()).collect()
    }

    /// How many of `count` requests each gets, of which so many are under way at once, each equally long.
    fn shares(weights: &[u16], count: usize, at_once: usize) -> Vec<usize> {
        let (upstreams, now) = (upstreams(weights), Instant::now());
        let (mut under_way, mut shares) = (Vec::new(), BTreeMap::<u16, usize>::new());
        for _ in 0..count {
            if under_way.len() == at_once {
                let ended: Arc<Upstream> = under_way.remove(0);
                ended.standing.in_flight.fetch_sub(1, Relaxed);
            }
            let first = Arc::clone(&upstreams.in_order(|| now)[0]);
            first.standing.in_flight.fetch_add(1, Relaxed);
            *shares.entry(first.url.port()).or_default() += 1;
            under_way.push(first);
        }
        (1..=weights.len()).map(|port| shares.get(&(port as u16)).copied().unwrap_or(0)).collect()
    }

    #[test]
    fn the_order_is_probe_then_load_then_what_failed() {
        LazyLock::force(&START);
        let upstreams = upstreams(&[1, 1, 1]);
        let now = Instant::now();
        upstreams.all[0].standing.reachability.failed(now);
        upstreams.all[1].standing.in_flight.store(5, Relaxed);
        assert_eq!(order(&upstreams, now), [3, 2, 1]);
        assert_eq!(order(&upstreams, now + Duration::from_millis(500)), [1, 3, 2]);
        assert_eq!(order(&upstreams, now + Duration::from_millis(500)), [3, 2, 1]);
    }

    #[test]
    fn requests_are_shared_by_weight_whether_few_or_many_are_under_way() {
        for at_once in [1, 2, 3, 40, 200] {
            for weights in [&[1, 1][..], &[3, 1], &[19, 1], &[1, 2, 3], &[1000, 1]] {
                let sum: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
                let rounds = 40 * sum.min(100);
                let shares = shares(weights, rounds, at_once);
                for (share, weight) in shares.iter().zip(weights) {
                    let expected = rounds * usize::from(*weight) / sum;
                    assert!(share.abs_diff(expected) <= 2 + rounds / 20, "{weights:?}, {at_once} at once: {shares:?}");
                }
            }
        }
    }

    #[test]
    fn who_is_drained_gets_nothing_and_who_comes_back_gets_no_more_than_its_share() {
        assert_eq!(shares(&[1, 0, 1], 10, 3)[1], 0);
        assert_eq!(order(&upstreams(&[0, 5]), Instant::now()), [2]);
        LazyLock::force(&START);
        let (upstreams, now) = (upstreams(&[1, 1]), Instant::now());
        upstreams.all[0].standing.reachability.failed(now);
        (0..100).for_each(|_| assert_eq!(order(&upstreams, now)[0], 2));
        upstreams.all[0].standing.reachability.connected();
        let firsts: Vec<u16> = (0..10).map(|_| order(&upstreams, now)[0]).collect();
        // The turn that it has not missed may come first.
        assert!((5..=6).contains(&firsts.iter().filter(|first| **first == 1).count()), "{firsts:?}");
    }

    #[test]
    fn who_is_not_ready_is_tried_last_but_for_who_takes_no_connection() {
        LazyLock::force(&START);
        let (upstreams, now) = (upstreams(&[1, 1, 1]), Instant::now());
        let hears = |at: usize, ready| upstreams.all[at].health.note(ready, NonZeroU32::MIN, NonZeroU32::MIN);
        upstreams.all[0].standing.reachability.failed(now);
        hears(1, false);
        assert_eq!(order(&upstreams, now), [3, 2, 1]);
        // Who is neither gets no request as its probe.
        hears(0, false);
        assert_eq!(order(&upstreams, now + Duration::from_secs(60)), [3, 2, 1]);
        hears(1, true);
        hears(2, false);
        assert_eq!(order(&upstreams, now), [2, 3, 1]);
    }

    #[test]
    fn the_share_of_who_comes_back_grows() {
        LazyLock::force(&START);
        let (upstreams, back) = (upstreams(&[1, 1]), Instant::now() + Duration::from_secs(1));
        upstreams.all[0].returned(back);
        let share = |after: Duration| {
            let firsts = (0..110).filter(|_| order(&upstreams, back + after)[0] == 1).count();
            firsts as f64 / 110.0
        };
        for (after, expected) in [(0, 0.1 / 1.1), (500, 0.1 / 1.1), (5_000, 0.5 / 1.5), (10_000, 0.5)] {
            let share = share(Duration::from_millis(after));
            assert!((share - expected).abs() < 0.03, "{share} after {after} ms, expected {expected}");
        }
        // It also counts as loaded with less.
        upstreams.all.iter().for_each(|upstream| upstream.standing.in_flight.store(1, Relaxed));
        assert_eq!(order(&upstreams, back), [2, 1]);
    }
}
