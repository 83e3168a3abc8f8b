//! What SQLite really is: one file, one gateway, and the command line beside it.

mod file;

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection as _, SqlitePool,
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Conflict, StoreError, migration_error,
    statement::{Connection, Held},
};
use crate::config::StoreConfig;

/// How long a writer waits for another process, the command line above all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers do not block each other or the writer; this many threads are enough for the management API.
const READERS: u32 = 4;

/// Takes the write lock at once: a transaction that reads first and writes later could not wait for it.
const BEGIN: &str = "BEGIN IMMEDIATE";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) struct SqliteFile {
    /// One connection: the writers of this process queue here, in order, and not in SQLite's busy handler.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteFile {
    /// Creates the file, readable by this user only, if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], [`StoreError::Unavailable`].
    pub async fn open(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        let path = file::absolute(path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A committed token survives a power failure, too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);

        // Held until the schema stands: SQLite does not wait where two processes switch a new file to WAL.
        let alone = file::lock_directory(&path).await?;
        file::create(&path)?;
        migrate(&options).await.map_err(|error| file::name_path(error, &path))?;
        drop(alone);

        let pool =
            || SqlitePoolOptions::new().acquire_timeout(config.acquire_timeout).idle_timeout(None).max_lifetime(None);
        let writer = pool().max_connections(1).connect_lazy_with(options.clone());
        let readers = pool().max_connections(READERS).connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self { writer, readers })
    }

    pub async fn reader(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.readers.acquire().await)?)))
    }

    pub async fn writer(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.writer.acquire().await)?)))
    }

    pub async fn begin(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::InTransaction(read(self.writer.begin_with(BEGIN).await)?)))
    }
}

async fn migrate(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection = read(options.connect().await)?;
    let mut transaction = read(connection.begin_with(BEGIN).await)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: the file may be opened by an older command line.
    migrator.set_ignore_missing(true);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    let migrated = migrator.run_direct(None, &mut *transaction, false).await;
    migrated.map_err(|error| migration_error(error, store_error))?;

    read(transaction.commit().await)?;
    read(connection.close().await)
}

/// sqlx's errors end here.
pub(super) fn read<T>(done: Result<T, sqlx::Error>) -> Result<T, StoreError> {
    done.map_err(store_error)
}

fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => database_error(&*error),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("too many others are waiting to write".to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Configuration(_) => StoreError::Unusable(error.to_string()),
        sqlx::Error::Migrate(error) => migrate_error(*error),
        _ => StoreError::Inconsistent(error.to_string()),
    }
}

fn migrate_error(error: MigrateError) -> StoreError {
    migration_error(error, store_error)
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
