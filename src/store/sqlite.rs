//! What SQLite really is: one file, one gateway, and the command line beside it.

mod file;

use std::{path::Path, time::Duration};

use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Priority, StoreError, error,
    pool::{Pool, PoolState},
    statement::{Connection, Held},
};
use crate::config::StoreConfig;

/// How long a writer waits for another process, the command line above all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers do not block each other or the writer; this many threads are enough for the management API.
const READERS: u32 = 4;
/// Beside those.
const URGENT_READERS: u32 = 2;

/// Takes the write lock at once: a transaction that reads first and writes later could not wait for it.
const BEGIN: &str = "BEGIN IMMEDIATE";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) struct SqliteFile {
    /// One connection: the writers of this process queue here, in order, and not in SQLite's busy handler.
    writer: Pool<Sqlite>,
    readers: Pool<Sqlite>,
    urgent_readers: Pool<Sqlite>,
    /// The follower's, which may read for long.
    feed_reader: Pool<Sqlite>,
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

        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(config.acquire_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .before_acquire(|connection, _| Box::pin(is_as_new(connection)))
        };
        let writer = pool().max_connections(1).connect_lazy_with(options.clone());

        // Held until the schema stands: SQLite does not wait where two processes switch a new file to WAL.
        let alone = file::lock_directory(&path).await?;
        file::create(&path)?;
        migrate(&writer).await.map_err(|error| file::name_path(error, &path))?;
        drop(alone);

        let options = options.pragma("query_only", "on");
        let readers = |name, number| Pool::new(name, pool().max_connections(number).connect_lazy_with(options.clone()));
        Ok(Self {
            writer: Pool::new("writer", writer),
            readers: readers("ordinary_readers", READERS),
            urgent_readers: readers("urgent_readers", URGENT_READERS),
            feed_reader: readers("feed_reader", 1),
        })
    }

    pub fn pools(&self) -> Vec<PoolState> {
        [&self.writer, &self.readers, &self.urgent_readers, &self.feed_reader].map(Pool::state).into()
    }

    fn readers(&self, priority: Priority) -> &Pool<Sqlite> {
        match priority {
            Priority::Ordinary => &self.readers,
            Priority::Urgent => &self.urgent_readers,
            Priority::Feed => &self.feed_reader,
        }
    }

    pub async fn reader(&self, priority: Priority) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.readers(priority).acquire().await)?)))
    }

    /// Reads one state of the store, whatever is committed meanwhile.
    pub async fn snapshot(&self, priority: Priority) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::InTransaction(read(self.readers(priority).begin().await)?)))
    }

    pub async fn writer(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.writer.acquire().await)?)))
    }

    pub async fn begin(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::InTransaction(read(self.writer.begin_with(BEGIN).await)?)))
    }
}

/// The last migration of this release.
pub(super) fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// On the connection that stays: SQLite writes the whole log into the file when the last one is closed, and begins a new
/// log for the next.
async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut transaction = read(writer.begin_with(BEGIN).await)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: the file may be opened by an older command line.
    migrator.set_ignore_missing(true);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    let migrated = migrator.run_direct(None, &mut *transaction, false).await;
    migrated.map_err(|error| error::of_migration(error, error::of_sqlite))?;

    read(transaction.commit().await)
}

/// Whether the next one may have this connection; if not, it gets a new one. A full disk makes SQLite roll back by itself,
/// after which sqlx believes for ever that the connection is in a transaction.
async fn is_as_new(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    Ok(!connection.is_in_transaction())
}

/// sqlx's errors end here.
fn read<T>(done: Result<T, sqlx::Error>) -> Result<T, StoreError> {
    done.map_err(error::of_sqlite)
}
