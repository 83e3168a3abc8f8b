//! Whether a Bento says that it is ready.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::domain::deployment::{DeploymentSpec, UpstreamUrl};

/// For the connection and the answer together. The `bentoml` client waits while this goes on.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether one of the upstreams answers `GET /readyz` with 200 within a second.
pub async fn any_ready(upstreams: &[UpstreamUrl]) -> bool {
    for upstream in upstreams {
        let ready = timeout(TIMEOUT, readyz(upstream)).await;
        if matches!(ready, Ok(Some(StatusCode::OK))) {
            return true;
        }
    }
    false
}

/// `None`: nobody answered.
async fn readyz(upstream: &UpstreamUrl) -> Option<StatusCode> {
    let host = upstream.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, upstream.port())).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driven = tokio::spawn(connection);
    let request = Request::get(format!("{}/readyz", upstream.base_path()))
        .header(header::HOST, format!("{}:{}", upstream.host(), upstream.port()))
        .body(Body::empty())
        .ok()?;
    let status = sender.send_request(request).await.ok().map(|answer| answer.status());
    driven.abort();
    status
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
