//! A line of the access log that waits until its response has left the process.

use std::{sync::Arc, time::Instant};

use super::{
    line::{CALLER_TOOK_NOTHING, Line, RequestOutcome, Span},
    request_metrics::RequestMetrics,
    worker::WorkerTelemetry,
};

/// hyper has taken the whole response; whether the caller gets it is not settled yet.
pub struct UnsentLine {
    pub worker: Arc<WorkerTelemetry>,
    /// `None`: permitted to no Deployment.
    pub deployment: Option<Arc<RequestMetrics>>,
    pub line: Line,
    /// All texts of the line.
    pub text: String,
    /// When the request's header was complete.
    pub started: Instant,
}

impl UnsentLine {
    /// The request ends now, as its line says.
    pub fn push(mut self) {
        self.line.total = self.started.elapsed();
        self.worker.ended(self.line, &self.text, self.deployment.as_deref());
    }

    /// The request ends now, and otherwise than its line says.
    pub fn push_as(mut self, outcome: RequestOutcome) {
        self.line.outcome = outcome;
        if outcome == RequestOutcome::Timeout {
            let start = self.text.len();
            self.text.push_str(CALLER_TOOK_NOTHING);
            self.line.cause = Span::new(start, self.text.len());
        }
        self.push();
    }
}
