//! Moving a store: a copy in another database, a backup, and what a backup does not have.

use serde::Serialize;

use super::{
    Error,
    audit::{self, EventView, VerificationView},
    receipt,
};
use crate::{
    config::StoreConfig,
    domain::{
        audit_chain::{Chain, Checkpoint},
        timestamp::Timestamp,
    },
    store::{self, CopyError, Look, SharedStore, Store, StoreError},
};

/// Events in one statement.
const AT_ONCE: u32 = 1000;

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("there is no store: the file does not exist, or is empty")]
    NoSource,
    #[error("the store has not had all migrations of this release: another release has made it")]
    EarlierSource,
    #[error("the store has migrations that this release does not have: a later release has used it")]
    LaterSource,
    #[error("{} on the store to copy from: what they change after the copy would be lost", listed(.0))]
    SourceRuns(Vec<String>),
    #[error("the backup and the previous store are not of one history: what was changed since cannot be told")]
    OtherHistory,
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<StoreError> for MoveError {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

/// What was copied, and verified.
#[derive(Debug, Serialize)]
pub struct Moved {
    /// The last change, which has the same number in both stores.
    pub seq: i64,
    pub tables: Vec<Rows>,
    /// Of the copy.
    pub audit: VerificationView,
}

#[derive(Debug, Serialize)]
pub struct Rows {
    pub table: &'static str,
    pub rows: u64,
}

/// The store as it is. It is only read: nothing is migrated.
///
/// # Errors
/// [`MoveError`].
pub async fn source(config: &StoreConfig) -> Result<SharedStore, MoveError> {
    let found = store::inspect(config, Look::Whole).await?.ok_or(MoveError::NoSource)?;
    match found.store {
        Some(store) if found.schema.is_current() => Ok(store),
        Some(_) => Err(MoveError::LaterSource),
        None => Err(MoveError::EarlierSource),
    }
}

/// Whether a copy of it would be all there is, and stay so.
///
/// # Errors
/// [`MoveError::SourceRuns`].
pub async fn expect_nobody_on(store: &Store) -> Result<(), MoveError> {
    let replicas = store.replicas().await?;
    let running = replicas.into_iter().filter(|replica| replica.silent < receipt::RUNNING);
    let names: Vec<String> = running.map(|replica| replica.name).collect();
    if names.is_empty() { Ok(()) } else { Err(MoveError::SourceRuns(names)) }
}

/// Everything that `from` has at this moment, into `to`, which is empty. Every row is compared, and the audit trail of the copy
/// verified.
///
/// # Errors
/// [`MoveError`].
pub async fn copy(from: &Store, to: &Store, now: Timestamp) -> Result<Moved, MoveError> {
    let copied = store::copy(from, to).await?;
    let tables = copied.rows.into_iter().map(|(table, rows)| Rows { table, rows }).collect();
    let audit = audit::verify(to, now, &[]).await?.into();
    Ok(Moved { seq: copied.seq, tables, audit })
}

/// What `previous` had been told after the moment that `restored` is of: it is lost. Oldest first; who signed in is not told.
///
/// # Errors
/// [`MoveError::OtherHistory`].
pub async fn lost(previous: &Store, restored: &Store) -> Result<Vec<EventView>, MoveError> {
    let ends = restored.snapshot().await?.audit_chains().await?;
    let end =
        ends.into_iter().map(|ends| ends.end).find(|end| end.chain == Chain::Changes).ok_or(MoveError::OtherHistory)?;
    let mut snapshot = previous.snapshot().await?;
    if !has(&mut snapshot, &end).await? {
        return Err(MoveError::OtherHistory);
    }
    let emails = audit::emails(previous).await?;
    let (mut events, mut last) = (Vec::new(), end.number);
    loop {
        let page = snapshot.chained(Chain::Changes, last, AT_ONCE).await?;
        let Some(place) = page.last().and_then(|event| event.place.as_ref()) else { return Ok(events) };
        last = place.number;
        events.extend(page.into_iter().map(|event| EventView::new(event, &emails)));
    }
}

async fn has(snapshot: &mut store::Snapshot, end: &Checkpoint) -> Result<bool, StoreError> {
    if end.number == 0 {
        return Ok(true);
    }
    let found = snapshot.chained(end.chain, end.number - 1, 1).await?;
    Ok(found.first().and_then(|event| event.place.as_ref()) == Some(end))
}

fn listed(names: &[String]) -> String {
    match names {
        [name] => format!("the gateway {name} is running"),
        names => format!("the gateways {} are running", names.join(", ")),
    }
}
