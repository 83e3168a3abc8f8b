//! What one worker of the proxy tells of its requests: to the access log, and to whoever asks for metrics.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    access_buffer::AccessBuffer,
    counter::{Counter, WorkerNumber},
    histogram::{Histogram, REQUEST, WORK},
    line::Line,
    request_metrics::{DeploymentMetrics, RequestMetrics},
};

/// Only its worker writes.
#[derive(Debug)]
pub struct WorkerTelemetry {
    pub(super) access: AccessBuffer,
    number: WorkerNumber,
    /// Requests that were permitted to no Deployment.
    pub refused: RequestMetrics,
    /// Empty until the worker has started.
    pub connections: OnceLock<ConnectionSlots>,
    /// Requests under way.
    pub active: Counter,
    /// As [`WorkerTelemetry::answered`].
    pub overhead: Histogram,
}

/// The connections that a worker may have open.
#[derive(Debug)]
pub struct ConnectionSlots {
    pub free: Arc<Semaphore>,
    pub all: usize,
}

impl ConnectionSlots {
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }
}

impl WorkerTelemetry {
    pub(super) fn new(number: WorkerNumber) -> Self {
        Self {
            access: AccessBuffer::default(),
            number,
            refused: RequestMetrics::default(),
            connections: OnceLock::new(),
            active: Counter::default(),
            overhead: Histogram::default(),
        }
    }

    pub fn number(&self) -> WorkerNumber {
        self.number
    }

    /// What this worker counts of a Deployment.
    pub fn of(&self, deployment: &DeploymentMetrics) -> Arc<RequestMetrics> {
        Arc::clone(deployment.of(self.number))
    }

    /// A request begins. [`WorkerTelemetry::ended`] has to follow.
    pub fn begun(&self) {
        self.active.add(1);
    }

    /// The head of the service's response is on its way `first_byte` after the request's. For `overhead` of that the gateway
    /// waited neither for its caller nor for the service.
    pub fn answered(&self, deployment: &RequestMetrics, first_byte: Duration, overhead: Duration) {
        deployment.first_byte.observe(REQUEST, first_byte);
        self.overhead.observe(WORK, overhead);
    }

    /// A request has ended as its line says. `deployment` of `None`: it was permitted to none.
    pub fn ended(&self, line: Line, text: &str, deployment: Option<&RequestMetrics>) {
        deployment.unwrap_or(&self.refused).ended(&line);
        self.active.take_back(1);
        self.access.push(line, text);
    }

    /// Lines of the access log that nobody will read.
    pub fn lines_dropped(&self) -> u64 {
        self.access.dropped.get()
    }
}
