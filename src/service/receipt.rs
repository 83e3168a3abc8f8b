//! Which of the running gateways decide by a change already.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{Point, Replica, Store, StoreError};

/// How often a gateway says that it lives, beside the word that follows each change.
pub const BEAT: Duration = Duration::from_millis(500);
/// One that was heard of within this time is running and gets its time to answer: two beats were lost otherwise.
const PROMPT: Duration = Duration::from_millis(1500);
/// One that was heard of within this time counts as running, though it is given only [`LATE_DEADLINE`].
const RUNNING: Duration = Duration::from_secs(7);
/// How long a receipt is waited for.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long one waits for those that are late: most of them were killed.
const LATE_DEADLINE: Duration = Duration::from_millis(300);
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
    /// Every gateway that may still decide without the change: running ones that are slow or starting, and those that
    /// have not been heard of, until their `store.max_staleness` is over or an operator removes them. By name.
    pub missing: Vec<String>,
}

/// Why nobody can say how far a change has come.
#[derive(Debug, thiserror::Error)]
pub enum NoReceipt {
    /// The change itself is committed all the same.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the store has lost the change: the database failed over to a server that did not have it, or was restored"
    )]
    Lost,
}

/// Waits until every running gateway decides by all changes up to `point`, or for 3 s. Nobody waits long for one that is
/// silent: it is named at once.
///
/// # Errors
/// [`NoReceipt`].
pub async fn receipt(store: &Store, point: &Point) -> Result<Receipt, NoReceipt> {
    let seq = point.seq;
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let known = store.replicas().await?;
        let elapsed = started.elapsed();
        if elapsed >= patience(&known, seq) {
            // After the look at the gateways: those that are counted have applied what is of this store's history.
            if !store.has(point).await? {
                return Err(NoReceipt::Lost);
            }
            let running = known.iter().filter(|replica| replica.silent < RUNNING);
            return Ok(Receipt {
                replicas: running.clone().count(),
                acknowledged: running.filter(|replica| replica.applied_seq >= seq).count(),
                took_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                missing: behind(&known, seq).map(|replica| replica.name.clone()).collect(),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

fn behind(known: &[Replica], seq: i64) -> impl Iterator<Item = &Replica> {
    known.iter().filter(move |replica| replica.applied_seq < seq)
}

/// How long, from the beginning, those that are behind are worth waiting for.
fn patience(known: &[Replica], seq: i64) -> Duration {
    let deadline = |replica: &Replica| match replica.silent {
        silent if silent < PROMPT => DEADLINE,
        silent if silent < RUNNING => LATE_DEADLINE,
        _ => Duration::ZERO,
    };
    behind(known, seq).map(deadline).max().unwrap_or_default()
}
