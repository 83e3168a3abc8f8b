//! Which of the running gateways decide by a change already.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{Point, Replica, ReplicaId, Store, StoreError};

/// How often a gateway says that it lives, beside the word that follows each change.
pub const BEAT: Duration = Duration::from_millis(500);
/// One that was heard of within this time is running and gets its time to answer: two beats were lost otherwise.
const PROMPT: Duration = Duration::from_millis(1200);
/// One that was heard of within this time counts as running, though it is given only [`LATE_DEADLINE`].
pub const RUNNING: Duration = Duration::from_secs(7);
/// How long a receipt is waited for.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long one waits for those that are late: most of them were killed, and one that lives answers within some 10 ms.
const LATE_DEADLINE: Duration = Duration::from_millis(100);
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

/// As [`Receipts::of`], of a process that makes one change.
///
/// # Errors
/// [`NoReceipt`].
pub async fn receipt(store: &Store, point: &Point) -> Result<Receipt, NoReceipt> {
    Receipts::default().of(store, point).await
}

/// Those of one process. It remembers whom it has waited for in vain, and since when: one that has said nothing since is not
/// waited for again. After a gateway was killed, one change is slow, and not all changes of the next seconds.
#[derive(Default)]
pub struct Receipts {
    given_up: Mutex<HashMap<ReplicaId, Instant>>,
}

impl Receipts {
    /// Waits until every running gateway decides by all changes up to `point`, or for 3 s. Nobody waits long for one that is
    /// silent: it is named at once.
    ///
    /// # Errors
    /// [`NoReceipt`].
    pub async fn of(&self, store: &Store, point: &Point) -> Result<Receipt, NoReceipt> {
        let seq = point.seq;
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let known = store.replicas().await?;
            let elapsed = started.elapsed();
            if elapsed >= self.patience(&known, seq) {
                // After the look at the gateways: those that are counted have applied what is of this store's history.
                if !store.has(point).await? {
                    return Err(NoReceipt::Lost);
                }
                self.give_up(behind(&known, seq));
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

    /// How long, from the beginning, those that are behind are worth waiting for.
    fn patience(&self, known: &[Replica], seq: i64) -> Duration {
        let given_up = self.given_up();
        let heard_since =
            |replica: &Replica| given_up.get(&replica.id).is_none_or(|since| replica.silent < since.elapsed());
        let deadline = |replica: &Replica| match replica.silent {
            silent if silent < PROMPT => DEADLINE,
            silent if silent < RUNNING && heard_since(replica) => LATE_DEADLINE,
            _ => Duration::ZERO,
        };
        behind(known, seq).map(deadline).max().unwrap_or_default()
    }

    /// One that still beats is only slow.
    fn give_up<'a>(&self, behind: impl Iterator<Item = &'a Replica>) {
        let now = Instant::now();
        *self.given_up() = behind.filter(|replica| replica.silent >= PROMPT).map(|replica| (replica.id, now)).collect();
    }

    fn given_up(&self) -> MutexGuard<'_, HashMap<ReplicaId, Instant>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn behind(known: &[Replica], seq: i64) -> impl Iterator<Item = &Replica> {
    known.iter().filter(move |replica| replica.applied_seq < seq)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn replica(applied_seq: i64, silent: Duration) -> Replica {
        Replica {
            id: ReplicaId(Uuid::nil()),
            name: "a".to_owned(),
            applied_seq,
            silent,
            holds: None,
            clock_ahead_ms: None,
        }
    }

    #[test]
    fn who_was_waited_for_in_vain_and_has_said_nothing_since_is_not_waited_for() {
        let receipts = Receipts::default();
        let patience = |silent| receipts.patience(&[replica(1, silent)], 2);
        let beat = Duration::from_millis(1);
        assert_eq!([beat, PROMPT, RUNNING].map(patience), [DEADLINE, LATE_DEADLINE, Duration::ZERO]);
        // One that beats is slow.
        receipts.give_up([replica(1, beat)].iter());
        assert_eq!([beat, PROMPT].map(patience), [DEADLINE, LATE_DEADLINE]);
        receipts.give_up([replica(1, PROMPT)].iter());
        assert_eq!(patience(PROMPT), Duration::ZERO);
        std::thread::sleep(2 * PROMPT);
        assert_eq!(patience(PROMPT), LATE_DEADLINE, "it has been heard of since");
        assert_eq!(patience(3 * PROMPT), Duration::ZERO);
    }
}
