//! The running gateways. Times are the database's own, so that theirs need not agree.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::types::uuid::fmt::Hyphenated;

use super::SqliteStore;
use crate::store::{Replica, ReplicaId, ReplicaStore, StoreError};

const BEAT: &str = "
    INSERT INTO replicas (id, name, applied_seq, beat_at)
    VALUES ($1, $2, $3, CAST(unixepoch('subsec') * 1000 AS INTEGER))
    ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, beat_at = excluded.beat_at";

const FORGET: &str = "DELETE FROM replicas WHERE beat_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - 86400000";

const LEAVE: &str = "DELETE FROM replicas WHERE id = $1";

const LIVE: &str = "
    SELECT id, name, applied_seq FROM replicas
    WHERE beat_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1 ORDER BY name, id";

pub(super) const STATEMENTS: &[&str] = &[BEAT, FORGET, LEAVE, LIVE];

#[async_trait]
impl ReplicaStore for SqliteStore {
    async fn beat(&self, id: ReplicaId, name: &str, applied_seq: i64) -> Result<(), StoreError> {
        self.perform(async {
            sqlx::query(BEAT).bind(id.0.hyphenated()).bind(name).bind(applied_seq).execute(&self.writer).await?;
            Ok(())
        })
        .await
    }

    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        self.perform(async {
            sqlx::query(LEAVE).bind(id.0.hyphenated()).execute(&self.writer).await?;
            sqlx::query(FORGET).execute(&self.writer).await?;
            Ok(())
        })
        .await
    }

    async fn live_replicas(&self, within: Duration) -> Result<Vec<Replica>, StoreError> {
        self.perform(async {
            let rows: Vec<(Hyphenated, String, i64)> = sqlx::query_as(LIVE)
                .bind(i64::try_from(within.as_millis()).unwrap_or(i64::MAX))
                .fetch_all(&self.readers)
                .await?;
            let replica = |(id, name, applied_seq): (Hyphenated, String, i64)| Replica {
                id: ReplicaId(id.into()),
                name,
                applied_seq,
            };
            Ok(rows.into_iter().map(replica).collect())
        })
        .await
    }
}
