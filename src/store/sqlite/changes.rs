//! What every change has in common: the sequence first, then its rows, the audit event at once.

use sqlx::{
    Sqlite, SqliteConnection, SqlitePool, Transaction,
    types::{Json, Uuid},
};

use crate::domain::audit::AuditEvent;

const BUMP: &str = "UPDATE change_seq SET seq = seq + 1 RETURNING seq";

const INSERT_EVENT: &str = "
    INSERT INTO audit_events (id, at, action, actor_kind, actor_id, target, detail, request_key, request_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Takes the write lock at once: a transaction that reads first and writes later could not wait for it.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

pub(super) const STATEMENTS: &[&str] = &[BUMP, INSERT_EVENT];

/// A transaction that changes something, alone among all writers. Dropped without [`Change::commit`], it changes
/// nothing, and its sequence goes to the next one.
pub(super) struct Change {
    transaction: Transaction<'static, Sqlite>,
    /// What the rows that are touched get as their `changed_seq`.
    pub seq: i64,
}

impl Change {
    pub async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        let mut transaction = pool.begin_with(BEGIN).await?;
        let seq = sqlx::query_scalar(BUMP).fetch_one(&mut *transaction).await?;
        Ok(Self { transaction, seq })
    }

    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    pub async fn commit(mut self, event: &AuditEvent) -> Result<(), sqlx::Error> {
        sqlx::query(INSERT_EVENT)
            .bind(event.id.hyphenated())
            .bind(event.at.as_millis())
            .bind(event.action.as_str())
            .bind(event.actor.kind())
            .bind(event.actor.id().map(Uuid::hyphenated))
            .bind(&event.target)
            .bind(Json(&event.detail))
            .bind(event.request.as_ref().map(|request| &request.key))
            .bind(event.request.as_ref().map(|request| &request.hash))
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.commit().await
    }
}
