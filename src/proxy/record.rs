//! What the access log will say of one request, and what is counted of it. The stages fill it in, in any order; dropping it hands it on, so that there
//! is a line whatever happens, also when the caller has left.

use std::{
    fmt::{self, Write},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use super::{connection_state::Active, deadlines::Cut, metering::Meter, permit::Permit, rejection::Rejection};
use crate::{
    domain::{deployment::DeploymentSpec, timestamp::Timestamp, token::TokenUid},
    http::peer::Peer,
    telemetry::{
        histogram::REQUEST,
        line::{Line, RequestOutcome, Span},
        request_metrics::{DeploymentMetrics, RequestMetrics},
        unsent::UnsentLine,
        worker::WorkerTelemetry,
    },
};

/// Room for all texts of most lines, bytes.
const TEXTS: usize = 160;

/// The growing record of one request.
pub struct Record {
    worker: Arc<WorkerTelemetry>,
    /// What the worker counts of the Deployment. `None`: permitted to none yet.
    deployment: Option<Arc<RequestMetrics>>,
    line: Line,
    /// All texts of the line, in one allocation; its spans say where each is.
    text: String,
    /// As far as it is known yet.
    client: IpAddr,
    started: Instant,
    /// When the gateway turned to the upstreams. `None`: not yet.
    forwarded: Option<Instant>,
    /// From then to the head of the service's response. `None`: there is none yet.
    waited: Option<Duration>,
    /// `None`: nothing is counted of the response.
    meter: Option<Box<Meter>>,
    /// Keeps the downstream connection from counting as idle.
    active: Option<Active>,
}

impl Record {
    pub fn new(worker: Arc<WorkerTelemetry>, at: Timestamp, peer: &Peer, active: Option<Active>) -> Self {
        worker.begun();
        let line = Line { at, ..Line::default() };
        let text = String::with_capacity(TEXTS);
        let (client, started) = (peer.address(), Instant::now());
        let (deployment, forwarded, waited, meter) = (None, None, None, None);
        let mut record = Self { worker, deployment, line, text, client, started, forwarded, waited, meter, active };
        record.line.client = record.append(peer.address_text());
        record
    }

    pub fn request(&mut self, request_id: &str, method: &Method, path: &str) {
        self.line.request_id = self.append(request_id);
        self.line.path = self.append(path);
        self.line.method = Some(method.clone());
    }

    /// `host`: as it was parsed. What was sent may hold a password (`user:password@host`).
    pub fn host(&mut self, host: &str) {
        self.line.host = self.append(host);
    }

    pub fn is_for_head(&self) -> bool {
        self.line.method == Some(Method::HEAD)
    }

    pub fn began(&self) -> Timestamp {
        self.line.at
    }

    /// The client's address, as far as it is known yet.
    pub fn client_address(&self) -> IpAddr {
        self.client
    }

    /// The client as trusted proxies name it.
    pub fn client(&mut self, client: IpAddr) {
        if self.client != client {
            self.client = client;
            self.line.client = self.append_shown(client);
        }
    }

    /// It may pass.
    pub fn permitted(&mut self, permit: &Permit) {
        self.deployment(permit.spec(), permit.metrics());
        let let_through = permit.let_through().map(Rejection::from);
        self.line.let_through = let_through.map_or("", Rejection::code);
        self.token(let_through.map_or(permit.token_uid(), Rejection::token));
        self.line.probe = permit.is_probe();
    }

    /// The Deployment that the request was permitted to.
    fn deployment(&mut self, spec: &DeploymentSpec, metrics: &DeploymentMetrics) {
        self.deployment = Some(self.worker.of(metrics));
        self.line.deployment = self.append(spec.name.as_str());
        if let Some(active) = &mut self.active {
            active.idle_timeout = spec.settings.idle_timeout;
        }
    }

    fn token(&mut self, uid: Option<TokenUid>) {
        self.line.token = uid;
    }

    /// `status` of `None`: nothing could be answered. `reason`: empty where the response is the service's.
    pub fn responded(&mut self, status: impl Into<Option<u16>>, reason: &'static str) {
        self.line.status = status.into();
        self.line.reason = reason;
    }

    /// It was rejected, and answered with `status`.
    pub fn rejected(&mut self, status: StatusCode, rejection: Rejection) {
        self.responded(status.as_u16(), rejection.code());
        self.because(rejection);
        if let Some(uid) = rejection.token() {
            self.token(Some(uid));
        }
    }

    /// Which of several causes a rejection has, if its code stands for several.
    pub fn because(&mut self, rejection: Rejection) {
        if let Some(cause) = rejection.cause() {
            self.because_of(cause);
        }
    }

    /// In words that hold nothing secret.
    pub fn because_of(&mut self, cause: impl fmt::Display) {
        self.line.cause = self.append_shown(cause);
    }

    /// Whether the caller asks for the connection to be kept.
    pub fn persistent(&mut self, persistent: bool) {
        if let Some(active) = &mut self.active {
            active.persistent = persistent;
        }
    }

    /// All of the request was read.
    pub fn request_ended(&mut self) {
        if let Some(active) = &mut self.active {
            active.read = true;
        }
    }

    /// Adds bytes of the request's body.
    pub fn received(&mut self, bytes: u64) {
        self.line.bytes_in += bytes;
    }

    /// Adds bytes of the response's body.
    pub fn sent(&mut self, bytes: usize) {
        self.line.bytes_out += bytes as u64;
        if self.line.first_byte.is_none() {
            self.first_byte();
        }
    }

    /// Has what comes of the response's body read.
    pub fn meter(&mut self, meter: Option<Box<Meter>>) {
        self.meter = meter;
    }

    /// The next bytes of the response's body.
    pub fn passed_on(&mut self, data: &[u8]) {
        if let Some(meter) = &mut self.meter {
            meter.read(data);
        }
        self.sent(data.len());
    }

    /// It has waited for a slot.
    pub fn queued(&mut self, waited: Duration) {
        self.waits(waited);
        if let Some(deployment) = &self.deployment {
            deployment.queued.observe(REQUEST, waited);
        }
    }

    /// It has waited for the service to start.
    pub fn waited_for_start(&mut self, waited: Duration) {
        self.waits(waited);
    }

    fn waits(&mut self, waited: Duration) {
        *self.line.queued.get_or_insert_default() += waited;
    }

    /// The gateway has turned to the upstreams in vain, or need not: it waits for them. Returns since when.
    pub fn turns_away(&mut self) -> Instant {
        self.forwarded.take().unwrap_or_else(Instant::now)
    }

    /// The gateway turns to the upstreams. Returns when.
    pub fn forwards(&mut self) -> Instant {
        *self.forwarded.insert(Instant::now())
    }

    /// The head of the service's response was complete at `at`. How long it was waited for.
    pub fn waited_until(&mut self, at: Instant) -> Duration {
        let waited = self.forwarded.map_or(Duration::ZERO, |forwarded| at.saturating_duration_since(forwarded));
        self.waited = Some(waited);
        waited
    }

    /// The upstream has nothing more to do with it. The first call counts; without any, it has until the end. `now` is asked
    /// only where it counts.
    pub fn left_upstream(&mut self, now: impl FnOnce() -> Instant) {
        if self.line.upstream.is_none() {
            self.line.upstream = self.forwarded.map(|forwarded| now().saturating_duration_since(forwarded));
        }
    }

    /// The head of the service's response is on its way.
    pub fn answered(&mut self) {
        let first_byte = self.first_byte();
        if let (Some(deployment), Some(waited)) = (&self.deployment, self.waited) {
            let elsewhere = waited + self.line.queued.unwrap_or_default();
            self.worker.answered(deployment, first_byte, first_byte.saturating_sub(elsewhere));
        }
    }

    fn first_byte(&mut self) -> Duration {
        *self.line.first_byte.get_or_insert_with(|| self.started.elapsed())
    }

    /// The last call counts. Without any, the caller has left.
    pub fn ended(&mut self, outcome: RequestOutcome) {
        self.line.outcome = outcome;
        if let Some(active) = self.active.as_mut().filter(|_| outcome == RequestOutcome::Complete) {
            active.rests();
        }
    }

    fn append_shown(&mut self, shown: impl fmt::Display) -> Span {
        let start = self.text.len();
        // Into a `String`, which takes everything.
        let _ = write!(self.text, "{shown}");
        Span::new(start, self.text.len())
    }

    fn append(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.left_upstream(Instant::now);
        if let Some(meter) = self.meter.take() {
            self.line.metered = meter.metered();
        }
        let line = UnsentLine {
            worker: Arc::clone(&self.worker),
            deployment: self.deployment.take(),
            line: std::mem::take(&mut self.line),
            text: std::mem::take(&mut self.text),
            started: self.started,
        };
        match self.active.take() {
            Some(active) if line.line.outcome == RequestOutcome::Complete => active.responded(line),
            _ => line.push(),
        }
    }
}

impl From<Cut> for RequestOutcome {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Timeout(_) => Self::Timeout,
            Cut::Token(_) => Self::TokenEnded,
            Cut::Drained => Self::Drained,
        }
    }
}
