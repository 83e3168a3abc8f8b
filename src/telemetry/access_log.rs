//! One line per proxied request.
//!
//! A worker puts what it knows into a buffer of its own and goes on; one thread formats and writes. No request waits for
//! that: while nobody reads standard error, the worker drops and counts its lines, and the thread logs the count later.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;

use super::{
    Style, access_buffer::Batch, counter::WorkerNumber, json_line::JsonLines, line::Line, redact::without_tokens,
    traffic::TrafficCounts, usage::UsageCounts, worker::WorkerTelemetry, writing_thread::WritingThread,
};

/// How long a line may wait to be written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// The writing thread.
pub struct AccessLog {
    /// Every line is counted here, also if none is written.
    pub traffic: Arc<TrafficCounts>,
    /// So is what it says of usage, also if it was dropped.
    pub usage: Arc<UsageCounts>,
    workers: Vec<Arc<WorkerTelemetry>>,
    stop: Arc<AtomicBool>,
    thread: WritingThread,
}

impl AccessLog {
    /// For so many workers. A thread counts the lines and, if `enabled`, writes them to standard error.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(workers: usize, enabled: bool, style: Style) -> std::io::Result<Self> {
        let worker = |number| Arc::new(WorkerTelemetry::new(WorkerNumber { number, of: workers }));
        let workers: Vec<_> = (0..workers).map(worker).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let traffic = Arc::new(TrafficCounts::default());
        let usage = Arc::<UsageCounts>::default();
        let writer = Writer {
            workers: workers.clone(),
            traffic: Arc::clone(&traffic),
            usage: Arc::clone(&usage),
            style: enabled.then_some(style),
            json: JsonLines::default(),
            spare: Batch::default(),
            out: Vec::new(),
        };
        let stops = Arc::clone(&stop);
        let thread = WritingThread::start("access-log", move || writer.run(&stops))?;
        Ok(Self { traffic, usage, workers, stop, thread })
    }

    /// One for each worker, in their order.
    pub fn workers(&self) -> &[Arc<WorkerTelemetry>] {
        &self.workers
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.unpark();
        self.thread.wait();
        // Where nobody reads standard error, there are lines left.
        for worker in &self.workers {
            let mut left = Batch::default();
            worker.access.swap(&mut left);
            count_usage(&mut left, &self.usage);
        }
    }
}

struct Writer {
    workers: Vec<Arc<WorkerTelemetry>>,
    traffic: Arc<TrafficCounts>,
    usage: Arc<UsageCounts>,
    /// `None`: nothing is written.
    style: Option<Style>,
    json: JsonLines,
    spare: Batch,
    out: Vec<u8>,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) {
        loop {
            let last = stop.load(Relaxed);
            for at in 0..self.workers.len() {
                self.write_lines_of(at);
            }
            if last {
                return;
            }
            std::thread::park_timeout(FLUSH_INTERVAL);
        }
    }

    fn write_lines_of(&mut self, at: usize) {
        self.workers[at].access.swap(&mut self.spare);
        count_usage(&mut self.spare, &self.usage);
        let Batch { lines, text, dropped, .. } = &mut self.spare;
        for (line, at) in lines.drain(..) {
            let text = &text[at];
            self.traffic.count(&line, line.deployment.of(text));
            match self.style {
                Some(Style::Json) => self.json.write(&line, text, &mut self.out),
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

fn count_usage(batch: &mut Batch, usage: &UsageCounts) {
    for (line, at) in &batch.lines {
        batch.usage.count(line, &batch.text[at.clone()]);
    }
    usage.add(&mut batch.usage);
}

fn write_pretty(line: &Line, text: &str, out: &mut Vec<u8>) {
    let (request_id, host, deployment) = (line.request_id.of(text), line.host.of(text), line.deployment.of(text));
    let path = without_tokens(line.path.of(text));
    let method = without_tokens(line.method.as_ref().map_or("-", Method::as_str));
    let status = line.status.map_or("-".to_owned(), |status| status.to_string());
    let _ = write!(out, "{} {} {method} {host}{} {status}", line.at, line.client.of(text), path.escape_debug());
    for (name, value) in [("deployment", deployment), ("reason", line.reason), ("let_through", line.let_through)] {
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

/// Milliseconds with microseconds behind the point.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
