//! The audit trail and the traffic, to look at.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::{Json, Uuid};
use time::OffsetDateTime;

use super::PostgresStore;
use crate::{
    domain::{
        token::TokenUid,
        usage::{Day, Traffic},
        user::UserId,
    },
    store::{EventFilter, FigureStore, StoreError, StoredEvent},
};

const EVENTS: &str = "
    SELECT id, at, action, actor_kind, actor_id, target, detail FROM audit_events
    WHERE ($1::text IS NULL OR starts_with(action, $1))
        AND ($2::uuid IS NULL OR actor_id = $2)
        AND ($3::text IS NULL OR target = $3)
        AND ($4::uuid IS NULL OR id < $4)
    ORDER BY id DESC LIMIT $5";

/// In the order of the key, so that two gateways do not wait for each other.
const ADD: &str = "
    INSERT INTO traffic (minute, metric, subject, total)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) AS t (minute, metric, subject, total)
    ORDER BY minute, metric, subject
    ON CONFLICT (minute, metric, subject) DO UPDATE SET total = traffic.total + excluded.total";

const TRAFFIC: &str = "
    SELECT minute / $2 * $2 AS first, metric, subject, sum(total)::bigint FROM traffic
    WHERE minute >= $1 GROUP BY first, metric, subject ORDER BY first, metric, subject";

const FORGET: &str = "DELETE FROM traffic WHERE minute < $1";

const USAGE: &str = "
    SELECT token_id, sum(requests)::bigint FROM token_usage
    WHERE token_id = ANY ($1) AND day >= $2 GROUP BY token_id";

pub(super) const STATEMENTS: &[&str] = &[EVENTS, ADD, TRAFFIC, FORGET, USAGE];

#[async_trait]
impl FigureStore for PostgresStore {
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        self.perform(async {
            let rows: Vec<EventRow> = sqlx::query_as(EVENTS)
                .bind(some(&filter.action))
                .bind(filter.actor.map(|UserId(id)| id))
                .bind(some(&filter.target))
                .bind(filter.before)
                .bind(i64::from(filter.limit))
                .fetch_all(&self.pool)
                .await?;
            Ok(rows.into_iter().map(StoredEvent::from).collect())
        })
        .await
    }

    async fn add_traffic(&self, counts: &[Traffic]) -> Result<(), StoreError> {
        let minutes: Vec<i64> = counts.iter().map(|count| count.minute).collect();
        let metrics: Vec<&str> = counts.iter().map(|count| &*count.metric).collect();
        let subjects: Vec<&str> = counts.iter().map(|count| &*count.subject).collect();
        let totals: Vec<i64> = counts.iter().map(|count| count.total.cast_signed()).collect();
        self.perform(async {
            let query = sqlx::query(ADD).bind(minutes).bind(metrics).bind(subjects).bind(totals);
            query.execute(&self.pool).await.map(drop)
        })
        .await
    }

    async fn traffic(&self, since: i64, step: i64) -> Result<Vec<Traffic>, StoreError> {
        self.perform(async {
            let rows: Vec<(i64, String, String, i64)> =
                sqlx::query_as(TRAFFIC).bind(since).bind(step.max(1)).fetch_all(&self.pool).await?;
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
        self.perform(async { sqlx::query(FORGET).bind(before).execute(&self.pool).await.map(drop) }).await
    }

    async fn usage_of(&self, tokens: &[TokenUid], from: Day) -> Result<HashMap<TokenUid, u64>, StoreError> {
        let uids: Vec<_> = tokens.iter().map(|uid| uid.0).collect();
        self.perform(async {
            let rows: Vec<(Uuid, i64)> = sqlx::query_as(USAGE).bind(uids).bind(from.0).fetch_all(&self.pool).await?;
            Ok(rows.into_iter().map(|(uid, total)| (TokenUid(uid), total.unsigned_abs())).collect())
        })
        .await
    }
}

#[derive(FromRow)]
struct EventRow {
    id: Uuid,
    at: OffsetDateTime,
    action: String,
    actor_kind: String,
    actor_id: Option<Uuid>,
    target: String,
    detail: Json<Value>,
}

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            at: row.at.into(),
            action: row.action,
            actor_kind: row.actor_kind,
            actor: row.actor_id.map(UserId),
            target: row.target,
            detail: row.detail.0,
        }
    }
}
