//! Asking Bentos whether they are ready.

use std::time::Duration;

use http::StatusCode;

use crate::{
    domain::deployment::{DeploymentSpec, UpstreamUrl},
    http::client,
};

/// Longest wait for connection and response together. The `bentoml` client waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether one of the upstreams answers `GET /readyz` with 200 within a second.
pub async fn any_ready(upstreams: &[UpstreamUrl]) -> bool {
    let client = client::plain(TIMEOUT);
    for upstream in upstreams {
        let response = client.get(&format!("{upstream}/readyz")).await;
        if response.is_ok_and(|response| response.status() == StatusCode::OK) {
            return true;
        }
    }
    false
}

/// Deployments whose upstreams are asked at the same time.
const PROBES_AT_ONCE: usize = 32;

/// `running`, `unhealthy` or `terminated`, each as it is now.
pub async fn statuses(specs: &[DeploymentSpec]) -> Vec<&'static str> {
    let mut statuses = Vec::with_capacity(specs.len());
    for some in specs.chunks(PROBES_AT_ONCE) {
        let asked: Vec<_> = some.iter().map(|spec| tokio::spawn(status(spec.clone()))).collect();
        for status in asked {
            statuses.push(status.await.unwrap_or("unknown"));
        }
    }
    statuses
}

async fn status(spec: DeploymentSpec) -> &'static str {
    match spec {
        spec if spec.terminated => "terminated",
        spec if any_ready(&spec.upstreams).await => "running",
        _ => "unhealthy",
    }
}
