//! When the hook is called that has a service started: once for each outage.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How long after a call that failed it is called again; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The hook of one Deployment.
#[derive(Debug, Default)]
pub struct WakeHook {
    /// Since the service has answered last.
    outage: Mutex<Outage>,
    /// How many calls were answered as they should be, and how many were not.
    answered: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Outage {
    /// `None`: it was not called.
    next_call: Option<Instant>,
    failed_calls: u32,
}

impl WakeHook {
    /// Whether it is to be called at `now`, which then counts as done. `lasts`: how long a call has for its effect. If the service
    /// is not there after it, another one is made.
    pub fn is_due(&self, now: Instant, lasts: Duration) -> bool {
        let mut outage = self.outage();
        if outage.next_call.is_some_and(|at| now < at) {
            return false;
        }
        outage.next_call = Some(now + lasts);
        true
    }

    pub fn answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// The call has failed at `now`, and is made again a little later. Returns whether it was the first of the outage.
    pub fn failed(&self, now: Instant) -> bool {
        self.failed.fetch_add(1, Relaxed);
        let mut outage = self.outage();
        let pause = FIRST_PAUSE.saturating_mul(1 << outage.failed_calls.min(10)).min(LONGEST_PAUSE);
        outage.next_call = Some(now + pause);
        outage.failed_calls = outage.failed_calls.saturating_add(1);
        outage.failed_calls == 1
    }

    /// The service has answered.
    pub fn outage_is_over(&self) {
        *self.outage() = Outage::default();
    }

    /// How many calls were made, by how they ended.
    pub fn calls(&self) -> [(&'static str, u64); 2] {
        [("answered", self.answered.load(Relaxed)), ("failed", self.failed.load(Relaxed))]
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_once_for_each_outage_and_again_where_that_was_in_vain() {
        let (hook, start, lasts) = (WakeHook::default(), Instant::now(), Duration::from_secs(100));
        let at = |seconds| start + Duration::from_secs(seconds);
        let due = |seconds| hook.is_due(at(seconds), lasts);
        assert!(due(0) && !due(99));
        assert!(due(100), "it has had no effect");
        assert!(hook.failed(at(100)) && !due(100) && due(101));
        assert!(!hook.failed(at(101)) && !due(102) && due(103));
        hook.outage_is_over();
        assert!(due(104) && !due(105) && hook.failed(at(105)));
        hook.answered();
        assert_eq!(hook.calls(), [("answered", 1), ("failed", 3)]);
    }
}
