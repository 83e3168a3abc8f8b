//! One line per proxied request.
//!
//! A worker puts what it knows into a buffer of its own and goes on; one thread formats and writes. No request waits for
//! that: while nobody reads standard error, the worker drops and counts its lines, and the thread logs the count later.

use std::{
    borrow::Cow,
    io::Write,
    net::IpAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use http::Method;
use serde::Serialize;

use super::{Style, line::Line, traffic::TrafficCounts};
use crate::domain::{
    timestamp::Timestamp,
    token::TokenUid,
    token_text::{PREFIX, SECRET_LEN, SESSION_PREFIX},
};

/// How long a line may wait to be written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Lines that a worker may have waiting: about 10 MB, a second's worth at full speed.
const MAX_WAITING: usize = 50_000;

/// Where one worker leaves its lines.
pub struct AccessBuffer {
    waiting: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    /// Each with the place of its text, which holds all its fields.
    lines: Vec<(Line, Range<usize>)>,
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

impl AccessBuffer {
    pub fn push(&self, line: Line, text: &str) {
        let mut batch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.lines.len() >= MAX_WAITING {
            batch.dropped += 1;
            return;
        }
        let start = batch.text.len();
        batch.text.push_str(text);
        let end = batch.text.len();
        batch.lines.push((line, start..end));
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
        for (line, at) in lines.drain(..) {
            let text = &text[at];
            self.counts.count(&line, line.deployment.of(text));
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
    cause: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    end: &'static str,
}

fn write_json(line: &Line, text: &str, out: &mut Vec<u8>) {
    let deployment = line.deployment.of(text);
    let line = JsonLine {
        timestamp: line.at,
        message: "request",
        request_id: line.request_id.of(text),
        client: line.client,
        method: line.method.as_ref().map(Method::as_str),
        host: line.host.of(text),
        path: without_tokens(line.path.of(text)),
        deployment: Some(deployment).filter(|name| !name.is_empty()),
        status: line.status,
        token: line.token,
        reason: line.reason,
        cause: Some(line.cause.of(text)).filter(|cause| !cause.is_empty()),
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
    let (request_id, host, deployment) = (line.request_id.of(text), line.host.of(text), line.deployment.of(text));
    let path = without_tokens(line.path.of(text));
    let method = line.method.as_ref().map_or("-", Method::as_str);
    let status = line.status.map_or("-".to_owned(), |status| status.to_string());
    let _ = write!(out, "{} {} {method} {host}{} {status}", line.at, line.client, path.escape_debug());
    for (name, value) in [("deployment", deployment), ("reason", line.reason)] {
        if !value.is_empty() {
            let _ = write!(out, " {name}={value}");
        }
    }
    let cause = line.cause.of(text);
    if !cause.is_empty() {
        let _ = write!(out, " cause=\"{cause}\"");
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
