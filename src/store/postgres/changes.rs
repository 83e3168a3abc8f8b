//! What every change has in common: the sequence first, then its rows, the audit event and the notification, at once.

use sqlx::{PgConnection, PgPool, Postgres, Transaction, types::Json};
use time::OffsetDateTime;

use crate::domain::audit::AuditEvent;

const BUMP: &str = "UPDATE change_seq SET seq = seq + 1 RETURNING seq";

const INSERT_EVENT: &str = "
    INSERT INTO audit_events (id, at, action, actor_kind, actor_id, target, detail, request_key, request_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Delivered with the commit. The channel is named again where it is listened to.
const NOTIFY: &str = "SELECT pg_notify('bento_gateway_changes', '')";

pub(super) const STATEMENTS: &[&str] = &[BUMP, INSERT_EVENT, NOTIFY];

/// A transaction that changes something, alone among all writers. Dropped without [`Change::commit`], it changes
/// nothing, and its sequence goes to the next one.
pub(super) struct Change {
    transaction: Transaction<'static, Postgres>,
    /// What the rows that are touched get as their `changed_seq`.
    pub seq: i64,
}

impl Change {
    pub async fn begin(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let mut transaction = pool.begin().await?;
        let seq = sqlx::query_scalar(BUMP).fetch_one(&mut *transaction).await?;
        Ok(Self { transaction, seq })
    }

    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    pub async fn commit(mut self, event: &AuditEvent) -> Result<(), sqlx::Error> {
        sqlx::query(INSERT_EVENT)
            .bind(event.id)
            .bind(OffsetDateTime::from(event.at))
            .bind(event.action.as_str())
            .bind(event.actor.kind())
            .bind(event.actor.id())
            .bind(&event.target)
            .bind(Json(&event.detail))
            .bind(event.request.as_ref().map(|request| &request.key))
            .bind(event.request.as_ref().map(|request| &request.hash))
            .execute(&mut *self.transaction)
            .await?;
        sqlx::query(NOTIFY).execute(&mut *self.transaction).await?;
        self.transaction.commit().await
    }
}
