//! The one reading of sqlx's errors.

use sqlx::{error::DatabaseError, migrate::MigrateError};

use crate::store::{Conflict, StoreError, rules};

pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => database_error(&*error),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("too many others are waiting to write".to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Configuration(_) => StoreError::Unusable(error.to_string()),
        sqlx::Error::Migrate(error) => migration_error(*error),
        _ => StoreError::Inconsistent(error.to_string()),
    }
}

/// By result code, <https://www.sqlite.org/rescode.html>. The lowest byte is the primary one.
fn database_error(error: &dyn DatabaseError) -> StoreError {
    let code: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let text = || format!("{} (SQLite result code {code})", error.message());
    // SQLite names the columns, or the index if that is over an expression.
    let conflict = match error.message().strip_prefix("UNIQUE constraint failed: ") {
        Some("api_tokens.owner_id, api_tokens.name") => Some(Conflict::TokenName),
        Some("deployments.name") => Some(Conflict::DeploymentName),
        Some("deployment_hosts.host") => Some(Conflict::DeploymentHost),
        Some("index 'users_email_key'") => Some(Conflict::Email),
        Some("audit_events.actor_id, audit_events.request_key") => Some(Conflict::RequestKey),
        _ => None,
    };
    match (code & 0xff, conflict) {
        (_, Some(conflict)) => StoreError::Conflict(conflict),
        // Busy, locked, no memory, read-only, I/O error, full, cannot open, locking protocol.
        (5 | 6 | 7 | 8 | 10 | 13 | 14 | 15, None) => StoreError::Unavailable(text()),
        // No permission, corrupt, not authorised, not a database.
        (3 | 11 | 23 | 26, None) => StoreError::Unusable(text()),
        _ => StoreError::Inconsistent(text()),
    }
}

pub(super) fn migration_error(error: MigrateError) -> StoreError {
    rules::migration_error(error, store_error)
}
