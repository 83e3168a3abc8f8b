//! The audit trail: looking at it, and proving that nobody has changed it.

use std::{collections::HashMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Result;
use crate::{
    domain::{
        audit_chain::{Chain, Checkpoint, Finding, Walk},
        timestamp::{DAY, Timestamp},
        user::{Email, UserId},
    },
    store::{EventFilter, Store, StoredEvent},
};

/// How long the audit trail keeps who signed in and out, and what was refused.
pub const SIGN_INS_KEPT: Duration = DAY.saturating_mul(90);
/// Events in one statement.
const AT_ONCE: u32 = 1000;
/// Findings that are told one by one.
const MOST_FINDINGS: usize = 100;

/// What came of looking at the whole trail.
#[derive(Debug)]
pub struct Verification {
    pub chains: Vec<VerifiedChain>,
    /// Nothing: the trail is as it was written.
    pub findings: Vec<Finding>,
}

/// A chain from its first event that is kept to its last.
#[derive(Debug)]
pub struct VerifiedChain {
    pub events: u64,
    /// Events before those, which were old and are forgotten.
    pub forgotten: i64,
    pub end: Checkpoint,
}

/// An event, as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEvent")]
pub struct EventView {
    pub id: String,
    /// UTC.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// For example `token.revoked`.
    pub action: String,
    /// `cli`, `system` or `user`.
    pub actor_kind: String,
    /// The user's id. Null: it was no user.
    #[schemars(with = "Option<String>")]
    pub actor: Option<UserId>,
    #[schemars(with = "Option<String>")]
    pub actor_email: Option<Email>,
    /// The uid or name of what was acted on.
    pub target: String,
    pub detail: Value,
    /// Its place in its chain, with its hash. Null: an earlier release has written it.
    pub checkpoint: Option<String>,
    pub idempotency_key: Option<String>,
}

/// Whether the trail is as it was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditVerification")]
pub struct VerificationView {
    /// Nobody has changed it, as far as it can be known.
    pub intact: bool,
    pub chains: Vec<ChainView>,
    /// What is wrong: the first hundred.
    pub findings: Vec<String>,
    /// How many there are in all.
    pub found: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditChain")]
pub struct ChainView {
    /// `changes` or `sign_ins`.
    pub chain: &'static str,
    /// Events that are kept.
    pub events: u64,
    /// Events before those, which were old and are forgotten.
    pub forgotten: i64,
    /// The end. Keep it elsewhere.
    pub checkpoint: String,
}

impl EventView {
    pub fn new(StoredEvent { facts, place }: StoredEvent, emails: &HashMap<UserId, Email>) -> Self {
        Self {
            id: facts.id.to_string(),
            at: facts.at,
            action: facts.action,
            actor_kind: facts.actor_kind,
            actor_email: facts.actor.and_then(|id| emails.get(&id).cloned()),
            actor: facts.actor,
            target: facts.target,
            detail: facts.detail,
            checkpoint: place.map(|place| place.to_string()),
            idempotency_key: facts.request.map(|request| request.key),
        }
    }
}

impl From<Verification> for VerificationView {
    fn from(Verification { chains, findings }: Verification) -> Self {
        let chain = |VerifiedChain { events, forgotten, end }: VerifiedChain| ChainView {
            chain: end.chain.as_str(),
            events,
            forgotten,
            checkpoint: end.to_string(),
        };
        Self {
            intact: findings.is_empty(),
            chains: chains.into_iter().map(chain).collect(),
            found: findings.len(),
            findings: findings.iter().take(MOST_FINDINGS).map(ToString::to_string).collect(),
        }
    }
}

/// The addresses of all users, for [`EventView::new`].
///
/// # Errors
/// The store's.
pub async fn emails(store: &Store) -> Result<HashMap<UserId, Email>> {
    Ok(store.list_users().await?.into_iter().map(|user| (user.id, user.email)).collect())
}

/// Goes along all chains. `kept`: checkpoints that were kept elsewhere; those of events that are forgotten by now cannot be
/// compared.
///
/// # Errors
/// The store's.
pub async fn verify(store: &Store, now: Timestamp, kept: &[Checkpoint]) -> Result<Verification> {
    let mut snapshot = store.snapshot().await?;
    let (mut chains, mut findings) = (Vec::new(), Vec::new());
    let all = snapshot.audit_chains().await?;
    for chain in Chain::ALL.into_iter().filter(|chain| !all.iter().any(|ends| ends.end.chain == *chain)) {
        findings.push(Finding::NoChain { chain });
        findings.extend(kept.iter().filter(|kept| kept.chain == chain).cloned().map(Finding::NotAt));
    }
    for ends in all {
        let chain = ends.end.chain;
        let is_early = ends.forgotten_at.is_none_or(|at| at > now.saturating_sub(SIGN_INS_KEPT));
        if ends.forgotten.number > 0 && (chain == Chain::Changes || is_early) {
            findings.push(Finding::ForgottenEarly { chain, number: ends.forgotten.number });
        }
        let (mut events, mut last) = (0, ends.forgotten.number);
        let mut walk = Walk::behind(ends.forgotten.clone(), kept);
        loop {
            let page = snapshot.chained(chain, last, AT_ONCE).await?;
            for StoredEvent { facts, place } in &page {
                let Some(place) = place else { continue };
                last = place.number;
                events += 1;
                walk.step(facts, place.clone());
            }
            if page.len() < AT_ONCE as usize {
                break;
            }
        }
        findings.extend(walk.finish(&ends.end));
        chains.push(VerifiedChain { events, forgotten: ends.forgotten.number, end: ends.end });
    }
    let count = snapshot.unchained().await?;
    if count > 0 {
        findings.push(Finding::Unchained { count });
    }
    Ok(Verification { chains, findings })
}

/// The ends of all chains, to be kept elsewhere.
///
/// # Errors
/// The store's.
pub async fn checkpoints(store: &Store) -> Result<Vec<Checkpoint>> {
    Ok(store.snapshot().await?.audit_chains().await?.into_iter().map(|ends| ends.end).collect())
}

/// All events that the filter finds, whatever its limit, newest first, in pages that `each` is handed one after the other.
///
/// # Errors
/// The store's, and those of `each`.
pub async fn each_page<E: From<super::Error>>(
    store: &Store,
    filter: EventFilter,
    mut each: impl FnMut(Vec<StoredEvent>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut filter = EventFilter { limit: AT_ONCE, ..filter };
    loop {
        let page = store.events(&filter).await.map_err(super::Error::from)?;
        let more = page.len() == AT_ONCE as usize;
        filter.before = page.last().map(|last| last.facts.id);
        each(page)?;
        if !more {
            return Ok(());
        }
    }
}
