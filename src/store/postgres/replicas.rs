//! The running gateways. Times are the database's own, so that theirs need not agree.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::types::Uuid;

use super::PostgresStore;
use crate::store::{Replica, ReplicaId, ReplicaStore, StoreError};

const BEAT: &str = "
    INSERT INTO replicas (id, name, applied_seq, beat_at)
    VALUES ($1, $2, $3, now())
    ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, beat_at = excluded.beat_at";

const FORGET: &str = "DELETE FROM replicas WHERE beat_at < now() - interval '1 day'";

const LEAVE: &str = "DELETE FROM replicas WHERE id = $1";

const LIVE: &str = "
    SELECT id, name, applied_seq FROM replicas
    WHERE beat_at > now() - make_interval(secs => $1) ORDER BY name, id";

pub(super) const STATEMENTS: &[&str] = &[BEAT, FORGET, LEAVE, LIVE];

#[async_trait]
impl ReplicaStore for PostgresStore {
    async fn beat(&self, id: ReplicaId, name: &str, applied_seq: i64) -> Result<(), StoreError> {
        self.perform(async {
            sqlx::query(BEAT).bind(id.0).bind(name).bind(applied_seq).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        self.perform(async {
            sqlx::query(LEAVE).bind(id.0).execute(&self.pool).await?;
            sqlx::query(FORGET).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn live_replicas(&self, within: Duration) -> Result<Vec<Replica>, StoreError> {
        self.perform(async {
            let rows: Vec<(Uuid, String, i64)> =
                sqlx::query_as(LIVE).bind(within.as_secs_f64()).fetch_all(&self.pool).await?;
            let replica =
                |(id, name, applied_seq): (Uuid, String, i64)| Replica { id: ReplicaId(id), name, applied_seq };
            Ok(rows.into_iter().map(replica).collect())
        })
        .await
    }
}
