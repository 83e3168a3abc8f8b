//! One line per proxied request.
//!
//! A worker puts what it knows into a buffer of its own and goes on; one thread formats and writes. No request waits for
//! a log: if the reader of standard error stands still, lines are dropped and counted, and the count is logged.

use std::{
    borrow::Cow,
    io::Write,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use http::Method;
use serde::Serialize;

use super::{Style, traffic::TrafficCounts};
use crate::domain::{
    timestamp::Timestamp,
    token::TokenUid,
    token_text::{PREFIX, SECRET_LEN, SESSION_PREFIX},
};

/// How long a line may wait to be written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Lines that a worker may have waiting: about 10 MB, a second's worth at full speed.
const MAX_WAITING: usize = 50_000;

/// What is known of one request at its end. Its texts stand in the buffer's text.
#[derive(Debug)]
pub struct Line {
    pub at: Timestamp,
    pub client: IpAddr,
    /// `None`: what came was not HTTP.
    pub method: Option<Method>,
    pub request_id_len: usize,
    pub host_len: usize,
    pub path_len: usize,
    pub text_start: usize,
    pub text_end: usize,
    /// `None`: no token was proven.
    pub token: Option<TokenUid>,
    /// `None`: the caller left before there was an answer.
    pub status: Option<u16>,
    /// Stable code of what we answered; empty where the upstream's answer was passed on.
    pub reason: &'static str,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the request's head to the answer's. `None`: no answer.
    pub first_byte: Option<Duration>,
    pub total: Duration,
    pub outcome: RequestOutcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    Complete,
    /// The caller closed its connection, or reset its stream, before the answer was whole.
    CallerLeft,
    /// The upstream broke off within its answer.
    UpstreamCut,
    Timeout,
    /// The token's permission ended while it was used.
    TokenEnded,
    Drained,
    /// The caller's connection became a tunnel, and the tunnel was closed.
    Tunnel,
}

/// Where one worker leaves its lines.
pub struct AccessBuffer {
    waiting: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    text: String,
    dropped: u64,
}

/// The writing thread.
pub struct AccessLog {
    /// Every line is counted here, also if none is written.
    pub traffic: Arc<TrafficCounts>,
    buffers: Vec<Arc<AccessBuffer>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RequestOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CallerLeft => "caller_left",
            Self::UpstreamCut => "upstream_cut",
            Self::Timeout => "timeout",
            Self::TokenEnded => "token_ended",
            Self::Drained => "drained",
            Self::Tunnel => "tunnel_closed",
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            at: Timestamp::from_millis(0),
            client: IpAddr::from([0, 0, 0, 0]),
            method: None,
            request_id_len: 0,
            host_len: 0,
            path_len: 0,
            text_start: 0,
            text_end: 0,
            token: None,
            status: None,
            reason: "",
            bytes_in: 0,
            bytes_out: 0,
            first_byte: None,
            total: Duration::ZERO,
            outcome: RequestOutcome::CallerLeft,
        }
    }
}

impl AccessBuffer {
    pub fn push(&self, mut line: Line, text: &str) {
        let mut batch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.lines.len() >= MAX_WAITING {
            batch.dropped += 1;
            return;
        }
        line.text_start = batch.text.len();
        batch.text.push_str(text);
        line.text_end = batch.text.len();
        batch.lines.push(line);
    }

    /// Takes what is waiting, and leaves the room of what was written before.
    fn swap(&self, empty: &mut Batch) {
        std::mem::swap(empty, &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl AccessLog {
    /// One buffer per worker, and a thread that counts the lines and, if `enabled`, writes them to standard error.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(workers: usize, enabled: bool, style: Style) -> std::io::Result<Self> {
        let buffer = || Arc::new(AccessBuffer { waiting: Mutex::default() });
        let buffers: Vec<_> = (0..workers).map(|_| buffer()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let traffic = Arc::new(TrafficCounts::default());
        let counts = Arc::clone(&traffic);
        let writer = Writer {
            buffers: buffers.clone(),
            counts,
            style: enabled.then_some(style),
            spare: Batch::default(),
            out: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || writer.run(&stop)
        })?;
        Ok(Self { traffic, buffers, stop, thread: Some(thread) })
    }

    pub fn buffer(&self, worker: usize) -> Arc<AccessBuffer> {
        Arc::clone(&self.buffers[worker])
    }
}

impl Drop for AccessLog {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Writer {
    buffers: Vec<Arc<AccessBuffer>>,
    counts: Arc<TrafficCounts>,
    /// `None`: nothing is written.
    style: Option<Style>,
    spare: Batch,
    out: Vec<u8>,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) {
        loop {
            let last = stop.load(Relaxed);
            for at in 0..self.buffers.len() {
                self.write_buffer(at);
            }
            if last {
                return;
            }
            std::thread::park_timeout(FLUSH_INTERVAL);
        }
    }

    fn write_buffer(&mut self, at: usize) {
        self.buffers[at].swap(&mut self.spare);
        let Batch { lines, text, dropped } = &mut self.spare;
        for line in lines.drain(..) {
            let text = &text[line.text_start..line.text_end];
            self.counts.count(&line, Texts::of(&line, text).deployment);
            match self.style {
                Some(Style::Json) => write_json(&line, text, &mut self.out),
                Some(Style::Pretty) => write_pretty(&line, text, &mut self.out),
                None => {}
            }
        }
        text.clear();
        if std::mem::take(dropped) > 0 {
            tracing::warn!(dropped, "access log lines were dropped: standard error was not read fast enough");
        }
        if !self.out.is_empty() {
            // Nobody is left to be told if standard error is gone.
            let _ = std::io::stderr().lock().write_all(&self.out);
            self.out.clear();
        }
    }
}

/// One line as JSON. `docs/request-log.md` explains every field.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: Timestamp,
    message: &'static str,
    request_id: &'a str,
    client: IpAddr,
    method: Option<&'a str>,
    host: &'a str,
    path: Cow<'a, str>,
    deployment: Option<&'a str>,
    status: Option<u16>,
    token: Option<TokenUid>,
    reason: &'static str,
    bytes_in: u64,
    bytes_out: u64,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    end: &'static str,
}

fn write_json(line: &Line, text: &str, out: &mut Vec<u8>) {
    let Texts { request_id, host, path, deployment } = Texts::of(line, text);
    let line = JsonLine {
        timestamp: line.at,
        message: "request",
        request_id,
        client: line.client,
        method: line.method.as_ref().map(Method::as_str),
        host,
        path,
        deployment: Some(deployment).filter(|name| !name.is_empty()),
        status: line.status,
        token: line.token,
        reason: line.reason,
        bytes_in: line.bytes_in,
        bytes_out: line.bytes_out,
        first_byte_ms: line.first_byte.map(millis),
        total_ms: millis(line.total),
        end: line.outcome.as_str(),
    };
    // Writing to memory and serialising texts and numbers cannot fail.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

fn write_pretty(line: &Line, text: &str, out: &mut Vec<u8>) {
    let Texts { request_id, host, path, deployment } = Texts::of(line, text);
    let method = line.method.as_ref().map_or("-", Method::as_str);
    let status = line.status.map_or("-".to_owned(), |status| status.to_string());
    let _ = write!(out, "{} {} {method} {host}{} {status}", line.at, line.client, path.escape_debug());
    for (name, value) in [("deployment", deployment), ("reason", line.reason)] {
        if !value.is_empty() {
            let _ = write!(out, " {name}={value}");
        }
    }
    if let Some(token) = line.token {
        let _ = write!(out, " token={token}");
    }
    let _ = writeln!(
        out,
        " in={} out={} total={:.1}ms end={} id={request_id}",
        line.bytes_in,
        line.bytes_out,
        millis(line.total),
        line.outcome.as_str()
    );
}

struct Texts<'a> {
    request_id: &'a str,
    host: &'a str,
    path: Cow<'a, str>,
    /// Empty: refused before a Deployment was found.
    deployment: &'a str,
}

impl<'a> Texts<'a> {
    fn of(line: &Line, text: &'a str) -> Self {
        let (request_id, rest) = text.split_at(line.request_id_len);
        let (path, rest) = rest.split_at(line.path_len);
        let (host, deployment) = rest.split_at(line.host_len);
        Self { request_id, host, path: without_tokens(path), deployment }
    }
}

/// A token has no business in a path, but some put it there, and it would let in all who read the log.
fn without_tokens(text: &str) -> Cow<'_, str> {
    [PREFIX, SESSION_PREFIX].into_iter().fold(text.into(), |text, prefix| match without(prefix, &text) {
        Some(redacted) => redacted.into(),
        None => text,
    })
}

/// `None`: there is nothing to redact.
fn without(prefix: &str, text: &str) -> Option<String> {
    if !text.contains(prefix) {
        return None;
    }
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let redacted =
            if part.len() - rest.len() >= SECRET_LEN { "[redacted]" } else { &part[..part.len() - rest.len()] };
        out.extend([prefix, redacted, rest]);
    }
    Some(out)
}

/// Milliseconds with microseconds behind the point.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_out_and_nothing_else() {
        let token = crate::system::new_token_text().unwrap();
        let token = token.expose();
        for (text, expected) in [
            ("/a/b".to_owned(), "/a/b"),
            (format!("/{token}"), "/bgw_[redacted]"),
            (format!("/a/{token}/b/{token}"), "/a/bgw_[redacted]/b/bgw_[redacted]"),
            (format!("/{token}%20x"), "/bgw_[redacted]%20x"),
            (token[..60].to_owned(), "bgw_[redacted]"),
            ("/bgw_model/bgw_".to_owned(), "/bgw_model/bgw_"),
        ] {
            assert_eq!(without_tokens(&text), expected);
        }
    }
}
