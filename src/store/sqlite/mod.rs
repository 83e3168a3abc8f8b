//! The SQLite adapter, the default: one file, one gateway, and the command line beside it.
//! One file per noun with its SQL on top, the same names in the same order as in `../postgres`; `changes` holds what
//! every change has in common, `rows` the way from columns to values, `errors` the one reading of sqlx's errors.

mod changes;
mod deployments;
mod errors;
mod feed;
mod figures;
mod file;
mod logins;
mod people;
mod replicas;
mod rows;
mod tokens;
mod users;

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::StoreError;
use crate::config::StoreConfig;

/// How long a writer waits for another process, the command line above all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers do not block each other or the writer; this many threads are enough for the management API.
const READERS: u32 = 4;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) struct SqliteStore {
    /// One connection: the writers of this process queue here, in order, and not in SQLite's busy handler.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
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

    /// Every method's work passes here: sqlx's errors end here.
    async fn perform<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        work.await.map_err(errors::store_error)
    }
}

async fn migrate(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await.map_err(errors::store_error)?;
    let mut transaction = connection.begin_with(changes::BEGIN).await.map_err(errors::store_error)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: the file may be opened by an older command line.
    migrator.set_ignore_missing(true);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    migrator.run_direct(None, &mut *transaction, false).await.map_err(errors::migration_error)?;

    transaction.commit().await.map_err(errors::store_error)?;
    connection.close().await.map_err(errors::store_error)
}

/// Every statement of this adapter, to be prepared by a test.
pub(super) fn statements() -> Vec<&'static str> {
    [
        changes::STATEMENTS,
        tokens::STATEMENTS,
        users::STATEMENTS,
        deployments::STATEMENTS,
        logins::STATEMENTS,
        people::STATEMENTS,
        figures::STATEMENTS,
        replicas::STATEMENTS,
        feed::STATEMENTS,
    ]
    .concat()
}
