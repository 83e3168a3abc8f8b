//! An upstream with what is remembered of it: how much is under way there, and whether it takes connections.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::health::Health;
use crate::{
    domain::{upstream_access::TlsPeer, upstream_url::UpstreamUrl, weighted_url::WeightedUrl},
    telemetry::upstream_metrics::UpstreamMetrics,
};

/// How long after the first failure the next attempt is made; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One upstream of one Deployment.
#[derive(Debug)]
pub struct Upstream {
    /// Never given twice in a process: the pools keep idle connections by it.
    pub id: u64,
    pub url: UpstreamUrl,
    /// Its share of the requests. 0: none.
    pub weight: u16,
    /// `None`: it is reached without TLS.
    pub tls: Option<TlsPeer>,
    /// When it is its turn among its sisters, at the earliest: as [`Upstreams`](super::balance::Upstreams) counts.
    pub next_turn: AtomicU64,
    pub standing: Arc<Standing>,
    /// What standing probes hear.
    pub health: Arc<Health>,
    pub metrics: Arc<UpstreamMetrics>,
}

/// What requests have shown of an upstream.
#[derive(Debug, Default)]
pub struct Standing {
    /// Requests under way, over all workers, those that wait for a connection included.
    pub in_flight: AtomicUsize,
    pub reachability: Reachability,
    /// When it came back last, milliseconds of [`millis`]. 0: it was never away.
    returned_at: AtomicU64,
}

/// What goes on when a Deployment is changed and keeps the upstream.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub metrics: Arc<UpstreamMetrics>,
    pub health: Arc<Health>,
    pub standing: Arc<Standing>,
}

impl Upstream {
    /// What is remembered is of this URL, if it was an upstream of the Deployment before.
    pub fn new(upstream: &WeightedUrl, tls: Option<TlsPeer>, remembered: Remembered) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let Remembered { metrics, health, standing } = remembered;
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            url: upstream.url.clone(),
            weight: upstream.weight,
            tls,
            next_turn: AtomicU64::new(0),
            standing,
            health,
            metrics,
        }
    }

    pub fn remembered(&self) -> Remembered {
        Remembered {
            metrics: Arc::clone(&self.metrics),
            health: Arc::clone(&self.health),
            standing: Arc::clone(&self.standing),
        }
    }

    /// Where it stands among its sisters.
    pub fn place(&self, now: Instant) -> Place {
        match (self.health.is_ready(), self.standing.reachability.is_reachable()) {
            (true, _) => self.standing.reachability.place(now),
            (false, true) => Place::Unready,
            // Whether it is back is found out by standing probes, and no request is needed for it.
            (false, false) => Place::Last,
        }
    }

    /// It was away, and is not any more.
    pub fn returned(&self, now: Instant) {
        self.standing.returned_at.store(millis(now).max(1), Relaxed);
    }

    /// How long it has been back. `None`: it was never away.
    pub fn back_for(&self, now: Instant) -> Option<Duration> {
        let returned_at = Some(self.standing.returned_at.load(Relaxed)).filter(|at| *at > 0)?;
        Some(Duration::from_millis(millis(now).saturating_sub(returned_at)))
    }
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
    /// It takes connections, and says that it is not ready.
    Unready,
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
pub(super) static START: LazyLock<Instant> = LazyLock::new(Instant::now);

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
}
