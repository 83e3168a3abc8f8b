//! The telemetry listener: what the gateway counts, for Prometheus.
//!
//! A scrape reads what the workers and the rest of the process have left in memory, and adds it up. It waits for nobody: not
//! for a worker, and never for the store. [`exposition`] writes, each other file has the metrics of one part.
//! `docs/metrics.md` says what each means.

mod budgets;
mod decisions;
mod exposition;
mod negotiation;
mod process;
mod queues;
mod requests;
mod upstreams;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use self::{exposition::Exposition, negotiation::Format};
use crate::{
    domain::timestamp::Timestamp,
    gateway::Gateway,
    http::listener::Times,
    index::census::LastCensus,
    telemetry::{Lines, usage::UsageCounts, worker::WorkerTelemetry},
};

/// Connections that may be open at once: those of a few Prometheus servers, and of people who look.
pub const MAX_CONNECTIONS: usize = 16;
/// How long a connection may wait. Prometheus keeps one between two scrapes, a minute apart by default.
pub const TIMES: Times = Times { header: Duration::from_secs(10), keep_alive: Duration::from_secs(120) };

const PATH: &str = "/metrics";

/// What a scrape is read from.
pub struct Scraped {
    pub gateway: Arc<Gateway>,
    /// Of each worker.
    pub workers: Vec<Arc<WorkerTelemetry>>,
    /// Beside the proxy's.
    pub listeners: Vec<OpenConnections>,
    /// What waits for the store.
    pub usage: Arc<UsageCounts>,
    /// Of what the program says of itself.
    pub log: Lines,
    /// `store.max_staleness`, which is fixed at the start.
    pub max_staleness: Option<Duration>,
    /// When the process started.
    pub started: Timestamp,
    pub census: LastCensus,
}

/// The connections to a listener.
pub struct OpenConnections {
    pub name: &'static str,
    pub open: TaskTracker,
    pub max: usize,
}

struct Scraper {
    registry: Arc<Registry>,
    /// One scrape at a time: however many ask, at most one thread works for them.
    turn: Arc<Mutex<()>>,
}

/// All routes: one.
pub fn router(scraped: Scraped) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scraped));
    let scraper = Scraper { registry: Arc::new(registry), turn: Arc::default() };
    let elsewhere = |status| async move { (status, "The metrics of this gateway are at GET /metrics.\n") };
    Router::new()
        .route(PATH, get(scrape))
        .fallback(move || elsewhere(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(move || elsewhere(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(Arc::new(scraper))
}

async fn scrape(State(scraper): State<Arc<Scraper>>, headers: HeaderMap) -> Response {
    let format = Format::of(&headers);
    let turn = Arc::clone(&scraper.turn).lock_owned().await;
    let registry = Arc::clone(&scraper.registry);
    // With many tokens it takes longer than a thread that others wait for should be away.
    // The turn goes with the work, which goes on when the scraper has left.
    let encoded = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        format.encode(&registry)
    });
    let encoded = encoded.await;
    match encoded {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.\n").into_response(),
    }
}

impl Collector for Scraped {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Exposition::new(encoder);
        let routes = self.gateway.index.routes.load_full();
        requests::write(&mut out, &routes, &self.workers)?;
        queues::write(&mut out, &routes)?;
        budgets::write(&mut out, &routes)?;
        upstreams::write(&mut out, &routes)?;
        decisions::write(&mut out, self)?;
        process::write(&mut out, self)
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}
