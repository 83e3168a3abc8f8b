//! Asking Bentos whether they are ready.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::task::JoinSet;

use super::recent::Recent;
use crate::{
    domain::deployment::{DeploymentSpec, UpstreamUrl},
    http::client,
};

/// Longest wait for connection and response together. The `bentoml` client waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// However many look at Deployments, an upstream is asked once a second.
const FRESH: Duration = Duration::from_secs(1);
const PROBES_AT_ONCE: usize = 32;

/// Which upstreams were ready lately.
pub struct Probes(Recent<bool>);

impl Probes {
    pub fn new() -> Self {
        Self(Recent::new(FRESH, PROBES_AT_ONCE))
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
        let ask = || async {
            let response = client::plain(TIMEOUT).get(&format!("{upstream}/readyz")).await;
            response.is_ok_and(|response| response.status() == StatusCode::OK)
        };
        self.0.get(upstream, ask).await
    }
}
