//! What every change has in common: the sequence first, then its rows, the audit event and the notification, at once.

use sqlx::types::Json;

use super::{
    Store, StoreError,
    columns::Id,
    statement::{Connection, Sql, same, statements},
};
use crate::domain::{audit::AuditEvent, user::UserId};

statements! {
    BUMP = same("UPDATE change_seq SET seq = seq + 1 RETURNING seq");

    INSERT_EVENT = same(
        "INSERT INTO audit_events (id, at, action, actor_kind, actor_id, target, detail, request_key, request_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    );

    /// Delivered with the commit. [`super::postgres`] listens to the channel; a follower of SQLite polls.
    NOTIFY = Sql { sqlite: "SELECT 1", postgres: "SELECT pg_notify('bento_gateway_changes', '')" };
}

/// A transaction that changes something, alone among all writers: what it reads cannot be changed by others before it
/// ends, so that no update is lost. Dropped without [`Change::commit`], it changes nothing, and its sequence goes to the
/// next one.
pub struct Change {
    pub(super) connection: Connection,
    /// What the rows that are touched get as their `changed_seq`.
    pub(super) seq: i64,
}

impl Store {
    /// Waits for the writers before it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], here as in all that is done with the change.
    pub async fn change(&self) -> Result<Change, StoreError> {
        let mut connection = self.begin().await?;
        let (seq,) = connection.one(BUMP, ()).await?;
        Ok(Change { connection, seq })
    }
}

impl Change {
    /// # Errors
    /// [`Conflict::RequestKey`](super::Conflict::RequestKey) if the event's actor has named an earlier request so.
    pub async fn commit(mut self, event: &AuditEvent) -> Result<(), StoreError> {
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
        );
        self.connection.execute(INSERT_EVENT, values).await?;
        if let Connection::Postgres(..) = self.connection {
            self.connection.execute(NOTIFY, ()).await?;
        }
        self.connection.commit().await
    }
}
