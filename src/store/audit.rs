//! The audit trail: every event is written in the change that it tells of, behind the one before it in its chain.

use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Change, Snapshot, Store, StoreError,
    columns::{Id, sought},
    statement::{Sql, same, statements},
};
use crate::domain::{
    audit::AuditEvent,
    audit_chain::{Chain, Checkpoint, Facts},
    timestamp::Timestamp,
    user::UserId,
};

/// What a [`StoredEvent`] is read from.
macro_rules! select_event {
    ($rest:expr) => {
        concat!(
            "SELECT id, at, action, actor_kind, actor_id, target, detail, request_key, request_hash, chain, number, hash
            FROM audit_events ",
            $rest
        )
    };
}

statements! {
    CHAIN = same("SELECT number, hash FROM audit_chains WHERE chain = $1");

    INSERT = same(
        "INSERT INTO audit_events
            (id, at, action, actor_kind, actor_id, target, detail, request_key, request_hash, chain, number, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    );

    EXTEND = same("UPDATE audit_chains SET number = $2, hash = $3 WHERE chain = $1");

    EVENTS = Sql {
        sqlite: select_event!(
            "WHERE ($1 IS NULL OR substr(action, 1, length($1)) = $1) AND ($2 IS NULL OR actor_id = $2)
                AND ($3 IS NULL OR target = $3) AND ($4 IS NULL OR id < $4) AND ($5 IS NULL OR at >= $5)
                AND ($6 IS NULL OR at < $6)
            ORDER BY id DESC LIMIT $7"
        ),
        postgres: select_event!(
            "WHERE ($1::text IS NULL OR starts_with(action, $1)) AND ($2::uuid IS NULL OR actor_id = $2)
                AND ($3::text IS NULL OR target = $3) AND ($4::uuid IS NULL OR id < $4)
                AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
            ORDER BY id DESC LIMIT $7"
        ),
    };

    CHAINS = same("SELECT chain, number, hash, forgotten, forgotten_hash, forgotten_at FROM audit_chains ORDER BY chain");

    CHAINED = same(select_event!("WHERE chain = $1 AND number > $2 ORDER BY number LIMIT $3"));

    /// Before and behind the first event that is in a chain.
    UNCHAINED = same(
        "SELECT count(*) FROM audit_events WHERE number IS NULL
            AND at > (SELECT at FROM audit_events WHERE chain = $1 AND number = 1)",
    );

    FIRST_KEPT = same("SELECT number FROM audit_events WHERE chain = $1 AND at >= $2 ORDER BY number LIMIT 1");

    LAST_FORGOTTEN = same(
        "SELECT number, hash, at FROM audit_events WHERE chain = $1 AND number < $2 ORDER BY number DESC LIMIT 1",
    );

    FORGET = same("DELETE FROM audit_events WHERE chain = $1 AND number < $2");

    BEGIN_BEHIND = same(
        "UPDATE audit_chains SET forgotten = $2, forgotten_hash = $3, forgotten_at = $4 WHERE chain = $1",
    );

    FORGET_UNCHAINED = same(
        "DELETE FROM audit_events WHERE number IS NULL AND at < $1
            AND action IN ('session.signed_in', 'session.signed_out', 'browser.signed_in', 'browser.signed_out')",
    );
}

#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only actions that begin so, for example `token.`. Empty: all.
    pub action: String,
    /// Only what this user did. `None`: all.
    pub actor: Option<UserId>,
    /// Only what was done to this. Empty: all.
    pub target: String,
    /// Only what is older than the event of this id. `None`: from the newest on.
    pub before: Option<Uuid>,
    /// Not older. `None`: from the oldest on.
    pub since: Option<Timestamp>,
    /// Older. `None`: up to the newest.
    pub until: Option<Timestamp>,
    pub limit: u32,
}

/// An event as the trail has it.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub facts: Facts,
    /// Where it stands in its chain. `None`: an earlier release has written it.
    pub place: Option<Checkpoint>,
}

/// Where a chain begins and ends.
#[derive(Clone, Debug)]
pub struct ChainEnds {
    pub end: Checkpoint,
    /// Of the last event that was forgotten.
    pub forgotten: Checkpoint,
    /// When that event was. `None`: none was forgotten.
    pub forgotten_at: Option<Timestamp>,
}

impl Store {
    /// Newest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        let some = |text: &str| (!text.is_empty()).then(|| sought(text).into_owned());
        let (action, target) = (some(&filter.action), some(&filter.target));
        let EventFilter { actor, before, since, until, limit, .. } = *filter;
        let values = (action, actor, target, before.map(Id), since, until, i64::from(limit));
        self.read().await?.all(EVENTS, values).await
    }
}

impl Change {
    /// Adds an event to the audit trail, where a change consists of several; the last one is [`Change::commit`]'s.
    ///
    /// # Errors
    /// [`Conflict::RequestKey`](super::Conflict::RequestKey) if the event's actor has named an earlier request so.
    pub async fn record(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        let chain = Chain::of(event.action);
        // Nobody else writes an event meanwhile: the change is alone among all writers.
        let (number, hash) = self.connection.one(CHAIN, (chain,)).await?;
        let place = Checkpoint { chain, number, hash }.with(&Facts::from(event));
        let request = event.request.as_ref();
        let values = (
            Id(event.id),
            event.at,
            event.action.as_str(),
            event.actor.kind(),
            event.actor.id().map(UserId),
            &event.target,
            Json(&event.detail),
            request.map(|request| &request.key),
            request.map(|request| &request.hash),
            chain,
            place.number,
            &place.hash,
        );
        self.connection.execute(INSERT, values).await?;
        self.connection.execute(EXTEND, (chain, place.number, &place.hash)).await.map(drop)
    }

    /// Forgets who signed in and out before: events of which callers make as many as they like.
    pub async fn forget_sign_ins(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.connection.execute(FORGET_UNCHAINED, (before,)).await?;
        let chain = Chain::SignIns;
        let Some((kept,)) = self.connection.optional::<(i64,)>(FIRST_KEPT, (chain, before)).await? else {
            return Ok(());
        };
        let last: Option<(i64, String, Timestamp)> = self.connection.optional(LAST_FORGOTTEN, (chain, kept)).await?;
        let Some((number, hash, at)) = last else { return Ok(()) };
        self.connection.execute(FORGET, (chain, kept)).await?;
        self.connection.execute(BEGIN_BEHIND, (chain, number, hash, at)).await.map(drop)
    }
}

impl Snapshot {
    pub async fn audit_chains(&mut self) -> Result<Vec<ChainEnds>, StoreError> {
        self.connection().all(CHAINS, ()).await
    }

    /// At most `limit` events of a chain, from the one after `number` on.
    pub async fn chained(&mut self, chain: Chain, number: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.connection().all(CHAINED, (chain, number, i64::from(limit))).await
    }

    /// How many events without a place in a chain are later than the first one that has one.
    pub async fn unchained(&mut self) -> Result<u64, StoreError> {
        let (count,): (i64,) = self.connection().one(UNCHAINED, (Chain::Changes,)).await?;
        Ok(count.unsigned_abs())
    }
}
