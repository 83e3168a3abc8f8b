//! Asking Bentos whether they are ready.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::task::JoinSet;

use super::{bento::Bento, recent::Recent};
use crate::domain::{deployment::DeploymentSpec, routing::Declared};

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
    pub async fn statuses(self: &Arc<Self>, specs: &[DeploymentSpec], declared: &Declared) -> Vec<&'static str> {
        let mut asking = JoinSet::new();
        for (at, spec) in specs.iter().enumerate() {
            let (probes, bentos, terminated) = (Arc::clone(self), Bento::all(spec, declared), spec.terminated);
            asking.spawn(async move { (at, if terminated { "terminated" } else { probes.status(&bentos).await }) });
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

    async fn status(&self, bentos: &[Bento]) -> &'static str {
        for bento in bentos {
            if self.is_ready(bento).await {
                return "running";
            }
        }
        "unhealthy"
    }

    /// Whether it answers `GET /readyz` with 200 within a second.
    async fn is_ready(&self, bento: &Bento) -> bool {
        let ask = || async {
            let response = bento.get("/readyz", TIMEOUT).await;
            response.is_some_and(|response| response.status() == StatusCode::OK)
        };
        self.0.get(&bento.url, ask).await
    }
}
