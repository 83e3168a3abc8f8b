//! The one reading of sqlx's errors. No text made here may hold the database's URL or password.

use std::time::Duration;

use sqlx::{error::DatabaseError, migrate::MigrateError};

use crate::store::{Conflict, StoreError, rules};

pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => database_error(&*error),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("no connection in time".to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => StoreError::Unusable(error.to_string()),
        sqlx::Error::Migrate(error) => migration_error(*error),
        _ => StoreError::Inconsistent(error.to_string()),
    }
}

/// By SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn database_error(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    let text = || format!("{} (SQLSTATE {code})", error.message());
    let conflict = match error.constraint() {
        Some("api_tokens_live_name_key") => Some(Conflict::TokenName),
        Some("deployments_pkey") => Some(Conflict::DeploymentName),
        Some("deployment_hosts_pkey") => Some(Conflict::DeploymentHost),
        Some("users_email_key") => Some(Conflict::Email),
        Some("audit_events_request_key") => Some(Conflict::RequestKey),
        _ => None,
    };
    match (&*code, conflict) {
        ("23505", Some(conflict)) => StoreError::Conflict(conflict),
        // A privilege, a database, a schema or a table that is missing.
        ("42501" | "3D000" | "3F000" | "42P01" | "42703", _) => StoreError::Unusable(text()),
        // 55P03: a lock was not available in time. 25006: a standby, before it is promoted.
        ("55P03" | "25006" | "25P03", _) => StoreError::Unavailable(text()),
        _ => match code.get(..2) {
            // Who are you?
            Some("28") => StoreError::Unusable(text()),
            // Connection, serialisation and deadlock, resources, the operator's intervention and timeouts, the system.
            Some("08" | "40" | "53" | "57" | "58") => StoreError::Unavailable(text()),
            _ => StoreError::Inconsistent(text()),
        },
    }
}

pub(super) fn migration_error(error: MigrateError) -> StoreError {
    rules::migration_error(error, store_error)
}

pub(super) fn no_answer(within: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {} ms", within.as_millis()))
}
