//! The management listener: for operators and machines that watch the gateway, never for callers of a Deployment.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde::Serialize;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use crate::index::{
    condition::{NotReady, Unusable},
    follow::Index,
};

/// Longest a management request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// All routes.
pub fn router(index: Arc<Index>) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(index).layer(
        ServiceBuilder::new()
            .layer(CatchPanicLayer::new())
            .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT)),
    )
}

#[derive(Serialize)]
struct Probe {
    status: &'static str,
    /// What is wrong and what will end it. `None`: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The process answers.
async fn livez() -> impl IntoResponse {
    Json(Probe { status: "live", reason: None })
}

/// Requests can be decided about. The store may be away: known tokens go on working, and taking every replica out of
/// rotation would make an outage of it.
async fn readyz(State(index): State<Arc<Index>>) -> impl IntoResponse {
    match index.condition.ready() {
        Ok(()) => (StatusCode::OK, Json(Probe { status: "ready", reason: None })),
        Err(reason) => {
            let reason = match reason {
                NotReady::Unusable(Unusable::NeverLoaded) => "the store has not been reached yet; the log says why",
                NotReady::Unusable(Unusable::Stale) => {
                    "the store has not been reached for longer than store.max_staleness"
                }
                NotReady::Draining => "shutting down",
            };
            (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not ready", reason: Some(reason) }))
        }
    }
}
