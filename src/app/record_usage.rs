//! Writes when tokens were last used, and how many requests went through.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::Shutdown;
use crate::{
    domain::usage::{TokenUse, Traffic},
    gateway::Gateway,
    store::SharedStore,
    system,
    telemetry::traffic::{self, TrafficCounts},
};

/// How long the store keeps the overview's figures, minutes: the longest period it shows, and an hour more.
const TRAFFIC_KEPT: i64 = 25 * 60;
/// How often older figures are deleted, minutes.
const TRAFFIC_CLEANUP: i64 = 60;
/// How many figures wait for a store that is away. Those beyond are dropped: they are there to be looked at only.
const MAX_PENDING: usize = 10_000;

pub struct UsageRecorder {
    pub gateway: Arc<Gateway>,
    pub traffic: Arc<TrafficCounts>,
    pub store: SharedStore,
    pub interval: Duration,
    pub shutdown: Shutdown,
}

impl UsageRecorder {
    /// Writes every `interval`, and one last time at the end.
    pub async fn run(self) {
        let (mut pending, mut cleaned_up, mut last) = (Vec::new(), 0, false);
        while !last {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.shutdown.requested() => last = true,
            }
            let uses = self.gateway.usage.take(&self.gateway.index.tokens);
            self.write_traffic(&uses, &mut pending).await;
            let now = traffic::minute(system::now());
            if now - cleaned_up >= TRAFFIC_CLEANUP {
                cleaned_up = now;
                let _ = self.store.forget_traffic(now - TRAFFIC_KEPT).await;
            }
            self.write_uses(uses, last).await;
        }
    }

    async fn write_traffic(&self, uses: &[TokenUse], pending: &mut Vec<Traffic>) {
        pending.extend(self.traffic.take());
        pending.extend(traffic::of_tokens(uses));
        *pending = traffic::merged(std::mem::take(pending));
        if !pending.is_empty() && self.store.add_traffic(pending).await.is_ok() {
            pending.clear();
        }
        pending.truncate(MAX_PENDING);
    }

    async fn write_uses(&self, uses: Vec<TokenUse>, last: bool) {
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.record_use(&uses).await {
            let next = if last { "they are lost" } else { "they are written with the next ones" };
            warn!(%error, "the last uses of tokens could not be written; {next}");
            self.gateway.usage.put_back(uses);
        }
    }
}
