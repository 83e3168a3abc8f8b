//! Which of the running gateways decide by a change already.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{Replica, Store, StoreError};

/// How often a gateway says that it lives.
pub const BEAT: Duration = Duration::from_secs(2);
/// Without a beat for so long it counts as silent: three were lost.
const LIVE: Duration = Duration::from_secs(7);
/// A silent one that was heard of within this time may still run, cut off from the store.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How long a receipt is waited for.
const DEADLINE: Duration = Duration::from_secs(3);
/// Between two looks, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// How far a change has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Receipt {
    /// Running gateways on this store.
    pub replicas: usize,
    /// Those of them that decide by the change.
    pub acknowledged: usize,
    /// Milliseconds until the last of those did, or until nobody waited any longer.
    pub took_ms: u64,
    /// Those that do not yet, and those that have not been heard of for some seconds: they may be down, or cut off from
    /// the store and deciding by what they knew. By name.
    pub missing: Vec<String>,
}

/// Waits until every running gateway decides by all changes up to `seq`, or for 3 s.
///
/// # Errors
/// The store's. The change itself is committed all the same.
pub async fn receipt(store: &Store, seq: i64) -> Result<Receipt, StoreError> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let behind = |replica: &&Replica| replica.applied_seq < seq;
    loop {
        let live = store.live_replicas(LIVE).await?;
        let acknowledged = live.len() - live.iter().filter(behind).count();
        let over = started.elapsed() >= DEADLINE;
        if acknowledged == live.len() || over {
            let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let known = store.live_replicas(REMEMBERED).await?;
            let missing = known.iter().filter(behind).map(|replica| replica.name.clone()).collect();
            return Ok(Receipt { replicas: live.len(), acknowledged, took_ms, missing });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
