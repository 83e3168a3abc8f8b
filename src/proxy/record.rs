//! What the access log will say of one request. The stages fill it in; it is handed on when it is dropped, so that there
//! is a line whatever happens, also when the caller has left.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::Method;

use super::deadlines::{Active, Cut};
use crate::{
    domain::{timestamp::Timestamp, token::TokenUid},
    telemetry::access_log::{AccessBuffer, Line, RequestOutcome},
};

/// The growing record of one request.
pub struct Record {
    buffer: Arc<AccessBuffer>,
    line: Line,
    /// Request id, path, host and Deployment, one after the other: one allocation.
    text: String,
    started: Instant,
    /// Keeps the caller's connection from counting as idle.
    _active: Option<Active>,
}

impl Record {
    pub fn new(buffer: Arc<AccessBuffer>, at: Timestamp, client: IpAddr, active: Option<Active>) -> Self {
        let line = Line { at, client, ..Line::default() };
        Self { buffer, line, text: String::new(), started: Instant::now(), _active: active }
    }

    /// To be called once, first.
    pub fn request(&mut self, request_id: &str, method: &Method, path: &str) {
        self.text.reserve(request_id.len() + path.len() + 64);
        self.text.push_str(request_id);
        self.text.push_str(path);
        self.line.request_id_len = request_id.len();
        self.line.path_len = path.len();
        self.line.method = Some(method.clone());
    }

    /// To be called at most once, after [`Record::request`] and with what was parsed: userinfo is a secret.
    pub fn host(&mut self, host: &str) {
        self.text.push_str(host);
        self.line.host_len = host.len();
    }

    pub fn request_id(&self) -> &str {
        &self.text[..self.line.request_id_len]
    }

    pub fn is_for_head(&self) -> bool {
        self.line.method == Some(Method::HEAD)
    }

    /// Who is answered.
    pub fn caller(&self) -> IpAddr {
        self.line.client
    }

    /// The client as trusted proxies tell it.
    pub fn client(&mut self, client: IpAddr) {
        self.line.client = client;
    }

    /// To be called at most once, after [`Record::host`].
    pub fn deployment(&mut self, name: &str) {
        self.text.push_str(name);
    }

    pub fn token(&mut self, uid: Option<TokenUid>) {
        self.line.token = uid;
    }

    pub fn responded(&mut self, status: u16, reason: &'static str) {
        self.line.status = Some(status);
        self.line.reason = reason;
    }

    pub fn received(&mut self, bytes: u64) {
        self.line.bytes_in += bytes;
    }

    pub fn sent(&mut self, bytes: usize) {
        self.line.bytes_out += bytes as u64;
        if self.line.first_byte.is_none() {
            self.first_byte();
        }
    }

    /// The head of the answer is on its way.
    pub fn first_byte(&mut self) {
        self.line.first_byte.get_or_insert_with(|| self.started.elapsed());
    }

    /// The last word counts. Without any, the caller has left.
    pub fn ended(&mut self, outcome: RequestOutcome) {
        self.line.outcome = outcome;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.line.total = self.started.elapsed();
        self.buffer.push(std::mem::take(&mut self.line), &self.text);
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
