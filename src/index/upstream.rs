//! An upstream with what is remembered of it: how much is under way there, and whether it takes connections.

use std::{
    borrow::Cow,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{domain::deployment::UpstreamUrl, telemetry::upstream_metrics::UpstreamMetrics};

/// How long after the first failure the next attempt is made; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One upstream of one Deployment.
#[derive(Debug)]
pub struct Upstream {
    /// Never given twice in a process: the pools keep idle connections by it.
    pub id: u64,
    pub url: UpstreamUrl,
    /// Requests under way, over all workers, those that wait for a connection included.
    pub in_flight: AtomicUsize,
    pub reachability: Reachability,
    pub metrics: Arc<UpstreamMetrics>,
}

impl Upstream {
    /// `metrics`: of this URL, if it was an upstream of the Deployment before.
    pub fn new(url: &UpstreamUrl, metrics: Arc<UpstreamMetrics>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            url: url.clone(),
            in_flight: AtomicUsize::new(0),
            reachability: Reachability::default(),
            metrics,
        }
    }
}

/// The upstreams in the order in which they are tried: one whose probe is due, then those that take connections, the least
/// loaded first, then those that took none.
///
/// `now` is asked only if there is an order to choose.
pub fn in_order(upstreams: &[Arc<Upstream>], now: impl FnOnce() -> Instant) -> Cow<'_, [Arc<Upstream>]> {
    if upstreams.len() < 2 {
        return upstreams.into();
    }
    let (mut upstreams, now) = (upstreams.to_vec(), now());
    // The key is asked for once: `place` hands out the probe.
    upstreams.sort_by_cached_key(|upstream| (upstream.reachability.place(now), upstream.in_flight.load(Relaxed)));
    upstreams.into()
}

/// Whether something takes connections, as far as is known from trying. It takes no lock.
#[derive(Debug, Default)]
pub struct Reachability {
    /// Attempts that failed one after the other. 0: it takes connections.
    failures: AtomicU32,
    /// When the next probe is due, milliseconds of [`millis`].
    retry_at: AtomicU64,
}

/// Where something stands among others like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It took no connection, and whoever got this finds out whether it does again.
    Probe,
    Reachable,
    /// It took no connection a short time ago: only if nothing else is left.
    Last,
}

impl Reachability {
    /// Gives [`Place::Probe`] once for each pause: a probe counts as a failure until [`Reachability::connected`] is called.
    pub fn place(&self, now: Instant) -> Place {
        let failures = self.failures.load(Relaxed);
        if failures == 0 {
            return Place::Reachable;
        }
        let (due, now) = (self.retry_at.load(Relaxed), millis(now));
        let next = now + pause(failures + 1).as_millis() as u64;
        if due > now || self.retry_at.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return Place::Last;
        }
        self.failures.store(failures + 1, Relaxed);
        Place::Probe
    }

    pub fn is_reachable(&self) -> bool {
        self.failures.load(Relaxed) == 0
    }

    /// Returns whether it was unreachable until now.
    pub fn connected(&self) -> bool {
        self.failures.load(Relaxed) != 0 && self.failures.swap(0, Relaxed) != 0
    }

    /// Returns whether it was reachable until now.
    pub fn failed(&self, now: Instant) -> bool {
        if self.failures.load(Relaxed) != 0 {
            return false;
        }
        self.retry_at.store(millis(now) + pause(1).as_millis() as u64, Relaxed);
        self.failures.compare_exchange(0, 1, Relaxed, Relaxed).is_ok()
    }

    /// Whether nobody has tried it for so long that there is nothing worth remembering.
    pub fn is_forgotten(&self, now: Instant) -> bool {
        self.failures.load(Relaxed) == 0 || millis(now) > self.retry_at.load(Relaxed) + LONGEST_PAUSE.as_millis() as u64
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

/// Where [`millis`] begins to count.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Since [`START`].
fn millis(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_probed_by_one_at_a_time_after_growing_pauses() {
        LazyLock::force(&START);
        let reachability = Reachability::default();
        let mut now = Instant::now();
        assert_eq!(reachability.place(now), Place::Reachable);
        assert!(!reachability.connected());
        // Many that fail together are one failure.
        assert!(reachability.failed(now));
        assert!(!reachability.failed(now));
        for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let pause = Duration::from_millis(expected);
            assert_eq!(reachability.place(now + pause / 2), Place::Last);
            now += pause;
            assert_eq!(reachability.place(now), Place::Probe, "after {expected} ms");
            assert_eq!(reachability.place(now), Place::Last);
            assert!(!reachability.failed(now));
        }
        assert!(reachability.connected());
        assert_eq!(reachability.place(now), Place::Reachable);
        assert!(reachability.failed(now));
        assert_eq!(reachability.place(now + FIRST_PAUSE), Place::Probe);
    }

    #[test]
    fn the_order_is_probe_then_load_then_what_failed() {
        LazyLock::force(&START);
        let upstream =
            |port: u16| Arc::new(Upstream::new(&format!("http://127.0.0.1:{port}").parse().unwrap(), Arc::default()));
        let all = [upstream(1), upstream(2), upstream(3)];
        let order = |now| -> Vec<u16> { in_order(&all, || now).iter().map(|upstream| upstream.url.port()).collect() };
        let now = Instant::now();
        all[0].reachability.failed(now);
        all[1].in_flight.store(5, Relaxed);
        assert_eq!(order(now), [3, 2, 1]);
        assert_eq!(order(now + FIRST_PAUSE), [1, 3, 2]);
        assert_eq!(order(now + FIRST_PAUSE), [3, 2, 1]);
    }
}
