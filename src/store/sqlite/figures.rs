//! The audit trail and the traffic, to look at.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::{Json, uuid::fmt::Hyphenated};

use super::SqliteStore;
use crate::{
    domain::{
        timestamp::Timestamp,
        token::TokenUid,
        usage::{Day, Traffic},
        user::UserId,
    },
    store::{EventFilter, FigureStore, StoreError, StoredEvent},
};

const EVENTS: &str = "
    SELECT id, at, action, actor_kind, actor_id, target, detail FROM audit_events
    WHERE ($1 IS NULL OR substr(action, 1, length($1)) = $1)
        AND ($2 IS NULL OR actor_id = $2)
        AND ($3 IS NULL OR target = $3)
        AND ($4 IS NULL OR id < $4)
    ORDER BY id DESC LIMIT $5";

/// `$1`: a JSON array of quadruples.
const ADD: &str = "
    INSERT INTO traffic (minute, metric, subject, total)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($1) WHERE true
    ON CONFLICT (minute, metric, subject) DO UPDATE SET total = total + excluded.total";

const TRAFFIC: &str = "
    SELECT minute / $2 * $2 AS first, metric, subject, sum(total) FROM traffic
    WHERE minute >= $1 GROUP BY first, metric, subject ORDER BY first, metric, subject";

const FORGET: &str = "DELETE FROM traffic WHERE minute < $1";

/// `$1`: a JSON array of ids.
const USAGE: &str = "
    SELECT token_id, sum(requests) FROM token_usage
    WHERE token_id IN (SELECT value FROM json_each($1)) AND day >= $2 GROUP BY token_id";

pub(super) const STATEMENTS: &[&str] = &[EVENTS, ADD, TRAFFIC, FORGET, USAGE];

#[async_trait]
impl FigureStore for SqliteStore {
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        self.perform(async {
            let rows: Vec<EventRow> = sqlx::query_as(EVENTS)
                .bind(some(&filter.action))
                .bind(filter.actor.map(|UserId(id)| id.hyphenated()))
                .bind(some(&filter.target))
                .bind(filter.before.map(|id| id.hyphenated()))
                .bind(i64::from(filter.limit))
                .fetch_all(&self.readers)
                .await?;
            Ok(rows.into_iter().map(StoredEvent::from).collect())
        })
        .await
    }

    async fn add_traffic(&self, counts: &[Traffic]) -> Result<(), StoreError> {
        let counts: Vec<(i64, &str, &str, u64)> =
            counts.iter().map(|count| (count.minute, &*count.metric, &*count.subject, count.total)).collect();
        self.perform(async { sqlx::query(ADD).bind(Json(counts)).execute(&self.writer).await.map(drop) }).await
    }

    async fn traffic(&self, since: i64, step: i64) -> Result<Vec<Traffic>, StoreError> {
        self.perform(async {
            let rows: Vec<(i64, String, String, i64)> =
                sqlx::query_as(TRAFFIC).bind(since).bind(step.max(1)).fetch_all(&self.readers).await?;
            let sum = |(minute, metric, subject, total): (i64, String, String, i64)| Traffic {
                minute,
                metric,
                subject,
                total: total.unsigned_abs(),
            };
            Ok(rows.into_iter().map(sum).collect())
        })
        .await
    }

    async fn forget_traffic(&self, before: i64) -> Result<(), StoreError> {
        self.perform(async { sqlx::query(FORGET).bind(before).execute(&self.writer).await.map(drop) }).await
    }

    async fn usage_of(&self, tokens: &[TokenUid], from: Day) -> Result<HashMap<TokenUid, u64>, StoreError> {
        let uids: Vec<_> = tokens.iter().map(|uid| uid.to_string()).collect();
        self.perform(async {
            let rows: Vec<(Hyphenated, i64)> =
                sqlx::query_as(USAGE).bind(Json(uids)).bind(from.0).fetch_all(&self.readers).await?;
            Ok(rows.into_iter().map(|(uid, total)| (TokenUid(uid.into()), total.unsigned_abs())).collect())
        })
        .await
    }
}

#[derive(FromRow)]
struct EventRow {
    id: Hyphenated,
    at: i64,
    action: String,
    actor_kind: String,
    actor_id: Option<Hyphenated>,
    target: String,
    detail: Json<Value>,
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id.into(),
            at: Timestamp::from_millis(row.at),
            action: row.action,
            actor_kind: row.actor_kind,
            actor: row.actor_id.map(|id| UserId(id.into())),
            target: row.target,
            detail: row.detail.0,
        }
    }
}
