//! Asking Bentos whether they are ready.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

use crate::{
    domain::deployment::{DeploymentSpec, UpstreamUrl},
    http::client,
};

/// Longest wait for connection and response together. The `bentoml` client waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer counts, and who asks meanwhile gets the same one.
const FRESH: Duration = Duration::from_secs(1);
/// Upstreams that are asked at the same time, for everybody.
const PROBES_AT_ONCE: usize = 32;

/// What was asked of upstreams lately. However many look at Deployments, an upstream is asked once a second.
pub struct Probes {
    asked: Mutex<HashMap<UpstreamUrl, Asked>>,
    turns: Semaphore,
}

#[derive(Clone)]
struct Asked {
    at: Instant,
    /// Empty: the answer has not come yet.
    ready: Arc<OnceCell<bool>>,
}

impl Probes {
    pub fn new() -> Self {
        Self { asked: Mutex::default(), turns: Semaphore::new(PROBES_AT_ONCE) }
    }

    /// `running`, `unhealthy` or `terminated`, each as it is now or was a second ago. Nothing is asked any more when the
    /// caller leaves.
    pub async fn statuses(self: &Arc<Self>, specs: &[DeploymentSpec]) -> Vec<&'static str> {
        let mut asking = JoinSet::new();
        for (at, spec) in specs.iter().cloned().enumerate() {
            let probes = Arc::clone(self);
            asking.spawn(async move { (at, probes.status(&spec).await) });
        }
        let mut statuses = vec!["unknown"; specs.len()];
        while let Some(done) = asking.join_next().await {
            if let Ok((at, status)) = done
                && let Some(place) = statuses.get_mut(at)
            {
                *place = status;
            }
        }
        statuses
    }

    async fn status(&self, spec: &DeploymentSpec) -> &'static str {
        if spec.terminated {
            return "terminated";
        }
        for upstream in &spec.upstreams {
            if self.is_ready(upstream).await {
                return "running";
            }
        }
        "unhealthy"
    }

    /// Whether the upstream answers `GET /readyz` with 200 within a second.
    async fn is_ready(&self, upstream: &UpstreamUrl) -> bool {
        let asked = self.asked(upstream, Instant::now());
        let ask = || async {
            let _turn = self.turns.acquire().await;
            let response = client::plain(TIMEOUT).get(&format!("{upstream}/readyz")).await;
            response.is_ok_and(|response| response.status() == StatusCode::OK)
        };
        *asked.ready.get_or_init(ask).await
    }

    fn asked(&self, upstream: &UpstreamUrl, now: Instant) -> Asked {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, asked| now.duration_since(asked.at) < FRESH);
        let new = || Asked { at: now, ready: Arc::default() };
        asked.entry(upstream.clone()).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_within_a_second_gets_the_same_answer_and_nothing_is_kept() {
        let (probes, now) = (Probes::new(), Instant::now());
        let upstream: UpstreamUrl = "http://127.0.0.1:3000".parse().unwrap();
        let first = probes.asked(&upstream, now).ready;
        assert!(Arc::ptr_eq(&first, &probes.asked(&upstream, now + FRESH / 2).ready));
        assert!(!Arc::ptr_eq(&first, &probes.asked(&upstream, now + FRESH).ready));
        probes.asked(&"http://127.0.0.1:3001".parse().unwrap(), now + FRESH * 3);
        assert_eq!(probes.asked.lock().unwrap().len(), 1);
    }
}
