//! Why a store did not do something, and the one reading of sqlx's errors. No text made here may hold the database's URL
//! or password.

use std::fmt;

use sqlx::{error::DatabaseError, migrate::MigrateError};

use crate::domain::rights::Lapse;

/// Why the store did not do it. Nothing was changed, unless it is [`StoreError::Uncertain`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The change contradicts what is there: the caller's mistake.
    #[error("{0} already exists")]
    Conflict(Conflict),
    /// Whoever asks for the change has no right to it any more.
    #[error(transparent)]
    Lapsed(Lapse),
    /// The database cannot be reached, did not answer in time or refused the work: the operator's trouble, and worth a
    /// retry. The text never holds the database's URL, whose password it would show.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// It was lost during the commit, which no database can spare us: nobody knows whether the change was made.
    #[error("the database was lost while it committed the change ({0}); whether the change was made is not known")]
    Uncertain(String),
    /// The database was reached and will go on refusing: wrong password, no such database, no permission, a newer
    /// schema. A retry without the operator's help is in vain.
    #[error("the database cannot be used: {0}")]
    Unusable(String),
    /// What is stored breaks a rule of this program: our mistake, or a manual edit.
    #[error("the database holds something this gateway cannot read: {0}")]
    Inconsistent(String),
}

/// What there may be only one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A live token of the same owner and name.
    TokenName,
    DeploymentName,
    /// A host name that another Deployment of the store has.
    DeploymentHost,
    Email,
    /// The same actor has named an earlier request so (`Idempotency-Key`).
    RequestKey,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenName => "a live token of that name",
            Self::DeploymentName => "a Deployment of that name",
            Self::DeploymentHost => "a Deployment with that host name",
            Self::Email => "a user with that e-mail address",
            Self::RequestKey => "a request with that Idempotency-Key",
        })
    }
}

/// SQLite's reading of sqlx's errors.
pub(super) fn of_sqlite(error: sqlx::Error) -> StoreError {
    read(error, of_sqlite_itself)
}

/// PostgreSQL's reading of sqlx's errors.
pub(super) fn of_postgres(error: sqlx::Error) -> StoreError {
    read(error, of_postgres_itself)
}

/// `reading` is the database's reading of errors. What it has no better word for will fail again at the next start.
pub(super) fn of_migration(error: MigrateError, reading: fn(sqlx::Error) -> StoreError) -> StoreError {
    let unusable = |text: String| StoreError::Unusable(format!("its schema could not be migrated: {text}"));
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match reading(error) {
            StoreError::Inconsistent(text) => unusable(text),
            other => other,
        },
        other => unusable(other.to_string()),
    }
}

impl StoreError {
    pub fn no_answer() -> Self {
        Self::Unavailable("it did not answer in time".to_owned())
    }

    /// What it means if it comes in answer to a commit.
    pub(super) fn of_commit(self) -> Self {
        match self {
            Self::Unavailable(text) => Self::Uncertain(text),
            other => other,
        }
    }
}

fn read(error: sqlx::Error, of_database: fn(&dyn DatabaseError) -> StoreError) -> StoreError {
    match error {
        sqlx::Error::Database(error) => of_database(&*error),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("all connections to it are in use".to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => StoreError::Unusable(error.to_string()),
        _ => StoreError::Inconsistent(error.to_string()),
    }
}

/// By result code, <https://www.sqlite.org/rescode.html>. The lowest byte is the primary one.
fn of_sqlite_itself(error: &dyn DatabaseError) -> StoreError {
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

/// By SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_postgres_itself(error: &dyn DatabaseError) -> StoreError {
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
