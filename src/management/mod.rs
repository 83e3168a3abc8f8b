//! The management listener: for operators, their tools and monitoring, never for callers of a Deployment.
//!
//! [`api`] is the table of all operations and of who may call them. [`operation`] serves only operations that say so, and
//! [`caller`] checks it. [`console`] has the pages.

pub mod api;
mod audit;
mod bento;
mod body;
mod budgets;
mod caller;
mod console;
mod deployment_settings;
mod deployments;
mod device_login;
mod error;
mod explain;
mod hints;
mod leaked;
mod let_through;
mod limits;
mod openapi;
mod operation;
mod probe;
mod recent;
mod service_api;
mod tokens;
mod usage;
mod users;
mod views;

pub use console::{Audience, Page, table as console_pages};

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Json, Router,
    extract::{ConnectInfo, MatchedPath, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::IntoResponse,
    routing::get,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer, timeout::TimeoutLayer};

use self::{
    console::Providers,
    error::ApiError,
    limits::Limits,
    probe::Probes,
    service_api::{ServiceApi, ServiceApis},
};
use crate::{
    config::Config,
    domain::{audit::Actor, deployment::DeploymentSpec, host::HostName, origin::Origin},
    gateway::Gateway,
    http::{forwarding::Forwarding, peer::Peer},
    index::freshness::{NotFresh, NotReady},
    service::{
        deployments::address::{Addresses, Reach},
        refusals::Refused,
    },
    store::{Organization, SharedStore},
    system::System,
};

/// Longest a management request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What all management requests work with.
pub struct Management {
    pub gateway: Arc<Gateway>,
    /// The configuration in force; a reload replaces it.
    pub config: ArcSwap<Config>,
    /// Where the times, ids and secrets of answers come from.
    system: Arc<dyn System>,
    limits: Limits,
    /// Of single sign-on.
    providers: Providers,
    probes: Arc<Probes>,
    service_apis: ServiceApis,
}

impl Management {
    pub fn new(gateway: Arc<Gateway>, config: Config, system: Arc<dyn System>) -> Self {
        Self {
            gateway,
            config: ArcSwap::from_pointee(config),
            system,
            limits: Limits::new(),
            providers: Providers::default(),
            probes: Arc::new(Probes::new()),
            service_apis: ServiceApis::new(),
        }
    }

    /// Where a request came from, as far as it can be believed. The address is the key of every limit.
    fn forwarding(&self, head: &Parts) -> Forwarding {
        let peer = head.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.clone());
        // The listener gives every request its peer. Nobody's address is in no trusted network.
        let peer = peer.unwrap_or_else(|| Peer::new((Ipv4Addr::UNSPECIFIED, 0).into(), false));
        Forwarding::read(&head.headers, &peer, &self.gateway.settings.load().trusted_proxies)
    }

    /// What this gateway tells others of itself.
    pub fn addresses(&self) -> Addresses {
        Addresses::new(&self.config.load(), self.gateway.index.routes.load().default_deployment().cloned())
    }

    /// As [`Probes::statuses`](probe::Probes::statuses).
    pub async fn statuses(&self, specs: &[DeploymentSpec]) -> Vec<&'static str> {
        self.probes.statuses(specs, &self.config.load_full().declared).await
    }

    /// As [`ServiceApis::of`](service_api::ServiceApis::of).
    pub async fn service_api(&self, spec: &DeploymentSpec) -> Option<Arc<ServiceApi>> {
        self.service_apis.of(spec, &self.config.load_full().declared).await
    }

    /// Where callers reach services that have no address of their own. `here` as in [`Reach::deployment`].
    fn services(&self, here: Option<&HostName>) -> Origin {
        Reach::new(&self.config.load().proxy, None).common(here)
    }

    /// For the audit trail: whether a request that would change something was refused because of who has made it.
    fn refused_change(&self, method: &Method, path: &str, by: Actor, from: IpAddr, error: &ApiError) {
        if let Actor::User(user) = by
            && method != Method::GET
            && error.status() == StatusCode::FORBIDDEN
        {
            let change = Refused::Change(format!("{method} {path}"));
            self.gateway.refusals.note(change, Some(user), from, self.system.now());
        }
    }

    fn store(&self) -> Result<SharedStore, ApiError> {
        self.gateway.opened.get().cloned().ok_or_else(ApiError::store_away)
    }
}

/// A parameter of a query.
///
/// # Errors
/// 400, with its name.
fn parsed<T: FromStr<Err: fmt::Display>>(key: &str, text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(|text| text.parse().map_err(|error| ApiError::invalid(format!("{key}: {error}")))).transpose()
}

/// The path as it stands in the table of routes. What was asked for may hold anything, a token's text, too.
fn path_of(head: &Parts) -> &str {
    head.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

/// All routes.
pub fn router(management: Arc<Management>) -> Router {
    let (api, document) = api::routes();
    let document = Arc::new(LazyLock::new(move || Bytes::from(document.write().to_string())));
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    api.route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route(
            "/openapi.json",
            get(|| async move { ([(header::CONTENT_TYPE, "application/json")], Bytes::clone(&document)) }),
        )
        .merge(console::routes())
        .fallback(api::unknown)
        .method_not_allowed_fallback(api::wrong_method)
        .with_state(management)
        .layer(
            ServiceBuilder::new()
                .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                .layer(CatchPanicLayer::new())
                .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT)),
        )
}

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn openapi() -> Value {
    api::routes().1.write()
}

/// # Errors
/// The store's, or that there is none although it was set up.
async fn organization(store: &SharedStore) -> Result<Organization, ApiError> {
    store.organization().await?.ok_or_else(ApiError::store_away)
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

/// The proxy can decide on requests. The store may be away: known tokens keep working, and taking every replica out of
/// rotation would turn that into an outage.
async fn readyz(State(management): State<Arc<Management>>) -> impl IntoResponse {
    match management.gateway.index.freshness.check_ready() {
        Ok(()) => (StatusCode::OK, Json(Probe { status: "ready", reason: None })),
        Err(reason) => {
            let reason = match reason {
                NotReady::NotFresh(NotFresh::NeverLoaded) => "the store has not been reached yet; the log says why",
                NotReady::NotFresh(NotFresh::Stale) => {
                    "the store has not been reached for longer than store.max_staleness"
                }
                NotReady::Draining => "shutting down",
            };
            (StatusCode::SERVICE_UNAVAILABLE, Json(Probe { status: "not ready", reason: Some(reason) }))
        }
    }
}
