//! Writes what tokens have used of Deployments, by hour, and forgets what is old.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::Shutdown;
use crate::{
    domain::{timestamp::DAY, usage::Hour},
    management::Management,
    store::{SharedStore, UsageBatch},
    system::System,
    telemetry::usage::UsageCounts,
};

/// Sums in one transaction: other writers wait for no more.
const MOST_AT_ONCE: usize = 1000;
/// How long the store knows what was written: longer than a gateway tries to write the same again.
const BATCHES_KEPT: Duration = DAY.saturating_mul(7);

/// How long it is known who has passed what will refuse them, after the last time.
const LET_THROUGH_KEPT: Duration = DAY.saturating_mul(30);

pub struct HourlyUsageRecorder {
    pub management: Arc<Management>,
    pub counts: Arc<UsageCounts>,
    pub store: SharedStore,
    pub system: Arc<dyn System>,
    pub interval: Duration,
    pub shutdown: Shutdown,
}

impl HourlyUsageRecorder {
    /// Writes every `interval`, and one last time at the end.
    pub async fn run(self) {
        let (mut unwritten, mut cleaned_up, mut last) = (None, None, false);
        while !last {
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.shutdown.requested() => last = true,
            }
            self.write(&mut unwritten).await;
            let hour = Hour::from(self.system.now());
            if !last && cleaned_up.replace(hour) != Some(hour) {
                self.forget().await;
            }
        }
        self.counts.lose(&self.counts.take(usize::MAX));
        unwritten.iter().for_each(|batch: &UsageBatch| self.counts.lose(&batch.uses));
        if unwritten.is_some() {
            warn!("the last usage of tokens could not be written; it is lost");
        }
    }

    /// A batch of which nobody knows whether the store has it is written again before the next, as the same one.
    async fn write(&self, unwritten: &mut Option<UsageBatch>) {
        loop {
            let again = unwritten.is_some();
            let Some(batch) = unwritten.take().or_else(|| self.next_batch()) else { return };
            let is_last = !again && batch.uses.len() < MOST_AT_ONCE;
            if let Err(error) = self.store.add_usage(&batch).await {
                debug!(%error, "the usage of tokens could not be written; it is tried again");
                *unwritten = Some(batch);
                return;
            }
            if is_last {
                return;
            }
        }
    }

    fn next_batch(&self) -> Option<UsageBatch> {
        let at = self.system.now();
        let id = self.system.new_id(at).ok()?;
        let (uses, let_through) = (self.counts.take(MOST_AT_ONCE), self.counts.take_let_through());
        (!uses.is_empty() || !let_through.is_empty()).then_some(UsageBatch { id, at, uses, let_through })
    }

    /// One hour after the other, so that those who write meanwhile do not wait for all of them.
    async fn forget(&self) {
        let now = self.system.now();
        if let Some(retention) = self.management.config.load().usage.retention {
            let oldest = Hour::from(now.saturating_sub(retention));
            while matches!(self.store.forget_usage(oldest).await, Ok(true)) {}
        }
        let _ = self.store.forget_let_through(now.saturating_sub(LET_THROUGH_KEPT)).await;
        let _ = self.store.forget_usage_batches(now.saturating_sub(BATCHES_KEPT)).await;
    }
}
