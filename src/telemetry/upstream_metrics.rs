//! What is counted of one upstream of one Deployment.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    counter::{PerWorker, WorkerNumber},
    histogram::{Histogram, REQUEST},
};

#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// From when the gateway turned to the upstreams to the head of the response of this one.
    pub answered: PerWorker<Histogram>,
    connect_failures: AtomicU64,
}

impl UpstreamMetrics {
    pub fn answered(&self, worker: WorkerNumber, waited: Duration) {
        self.answered.of(worker).observe(REQUEST, waited);
    }

    /// An attempt to connect has failed.
    pub fn took_no_connection(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    pub fn connect_failures(&self) -> u64 {
        self.connect_failures.load(Relaxed)
    }
}
