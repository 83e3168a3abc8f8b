//! The audit trail, to look at. [`super::change`] writes it.

use serde_json::Value;
use uuid::Uuid;

use super::{
    Store, StoreError,
    columns::Id,
    statement::{Sql, statements},
};
use crate::domain::{timestamp::Timestamp, user::UserId};

statements! {
    EVENTS = Sql {
        sqlite: "SELECT id, at, action, actor_kind, actor_id, target, detail FROM audit_events
            WHERE ($1 IS NULL OR substr(action, 1, length($1)) = $1) AND ($2 IS NULL OR actor_id = $2)
                AND ($3 IS NULL OR target = $3) AND ($4 IS NULL OR id < $4)
            ORDER BY id DESC LIMIT $5",
        postgres: "SELECT id, at, action, actor_kind, actor_id, target, detail FROM audit_events
            WHERE ($1::text IS NULL OR starts_with(action, $1)) AND ($2::uuid IS NULL OR actor_id = $2)
                AND ($3::text IS NULL OR target = $3) AND ($4::uuid IS NULL OR id < $4)
            ORDER BY id DESC LIMIT $5",
    };
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
    pub limit: u32,
}

/// An event as the trail has it; an older release may have known other actions.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub id: Uuid,
    pub at: Timestamp,
    pub action: String,
    /// `cli`, `system` or `user`.
    pub actor_kind: String,
    pub actor: Option<UserId>,
    pub target: String,
    pub detail: Value,
}

impl Store {
    /// Newest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        let some = |text: &'_ String| (!text.is_empty()).then(|| text.clone());
        let (action, target) = (some(&filter.action), some(&filter.target));
        let values = (action, filter.actor, target, filter.before.map(Id), i64::from(filter.limit));
        self.read().await?.all(EVENTS, values).await
    }
}
