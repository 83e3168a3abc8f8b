//! What SQLite really is: one file, one gateway, and the command line beside it.

mod file;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sqlx::{
    Connection as _, Sqlite, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Mutex, time::timeout};

use self::file::Identity;
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
    path: PathBuf,
    purpose: Purpose,
    acquire_timeout: Duration,
    open: ArcSwap<OpenFile>,
    /// Of whoever opens it anew.
    turn: Mutex<()>,
}

/// How long somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A few statements. Of an SQLite file that nobody has open, nothing is locked, and no file is made beside it.
    Glance,
    /// All that is there, as of one moment. An SQLite file has others beside it meanwhile.
    Whole,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Use,
    /// For a look at what is there: nothing is made, migrated or locked.
    Inspection,
}

/// A file that was opened, whatever is at its path by now.
struct OpenFile {
    identity: Identity,
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
        let acquire_timeout = config.acquire_timeout;
        // Held until the schema stands: SQLite does not wait where two processes switch a new file to WAL.
        let alone = file::lock_directory(&path).await?;
        file::create(&path)?;
        let open = OpenFile::open(&path, Identity::of(&path)?, acquire_timeout).await?;
        drop(alone);
        Ok(Self::of(path, Purpose::Use, acquire_timeout, open))
    }

    /// For reading what is there, whether a gateway runs on it or not: nothing is made or migrated. `None`: there is no file,
    /// or an empty one.
    ///
    /// # Errors
    /// [`StoreError::Unusable`].
    pub fn inspect(path: &Path, config: &StoreConfig, look: Look) -> Result<Option<Self>, StoreError> {
        let path = file::absolute(path)?;
        if !file::has_content(&path)? {
            return Ok(None);
        }
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
        let options = match look {
            // What nobody has open, and is whole, needs no files beside it, which SQLite would make.
            Look::Glance => options.read_only(true).immutable(!file::has_log(&path)),
            Look::Whole => options.pragma("query_only", "on"),
        };
        let writer = pool("writer", 1, config.acquire_timeout, options.clone());
        let open = OpenFile::of(Identity::of(&path)?, writer, config.acquire_timeout, &options);
        Ok(Some(Self::of(path, Purpose::Inspection, config.acquire_timeout, open)))
    }

    fn of(path: PathBuf, purpose: Purpose, acquire_timeout: Duration, open: OpenFile) -> Self {
        Self { path, purpose, acquire_timeout, open: ArcSwap::from_pointee(open), turn: Mutex::default() }
    }

    /// Whether this user may write the file, and make those that SQLite keeps beside it.
    ///
    /// # Errors
    /// Why not, in words for the operator.
    pub fn is_writable(&self) -> Result<(), String> {
        file::is_writable(&self.path)
    }

    /// The file that is at the path now. Another one than was opened, as after a restore, is opened in its place: the gateway
    /// would go on deciding by a file that nobody else sees, and write into it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also while there is none, or one that is not whole yet.
    async fn current(&self) -> Result<Arc<OpenFile>, StoreError> {
        let open = self.open.load_full();
        if self.purpose == Purpose::Inspection || open.is(Identity::of(&self.path)?) {
            return Ok(open);
        }
        self.open_anew().await
    }

    async fn open_anew(&self) -> Result<Arc<OpenFile>, StoreError> {
        let _turn = self.turn.lock().await;
        let (before, found) = (self.open.load_full(), Identity::of(&self.path)?);
        if before.is(found) {
            return Ok(before);
        }
        file::expect_content(&self.path)?;
        // What is under way ends first. Whoever waits for it here holds no connection that is waited for.
        if timeout(self.acquire_timeout, before.close()).await.is_err() {
            let text = "the file of store.url was replaced, and the connections to the old one are still in use";
            return Err(StoreError::Unavailable(text.to_owned()));
        }
        let alone = file::lock_directory(&self.path).await?;
        let open = Arc::new(OpenFile::open(&self.path, found, self.acquire_timeout).await?);
        drop(alone);
        tracing::warn!(path = %self.path.display(), "the file of store.url was replaced by another one, which is open now");
        self.open.store(Arc::clone(&open));
        Ok(open)
    }

    pub async fn close(&self) {
        self.open.load_full().close().await;
    }

    pub fn pools(&self) -> Vec<PoolState> {
        self.open.load().pools().map(Pool::state).into()
    }

    /// How many may read at once with this priority.
    pub fn max_readers(priority: Priority) -> u32 {
        match priority {
            Priority::Ordinary => READERS,
            Priority::Urgent => URGENT_READERS,
            Priority::Feed => 1,
        }
    }

    pub async fn reader(&self, priority: Priority) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.current().await?.readers(priority).acquire().await)?)))
    }

    /// Reads one state of the store, whatever is committed meanwhile.
    pub async fn snapshot(&self, priority: Priority) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::InTransaction(read(self.current().await?.readers(priority).begin().await)?)))
    }

    pub async fn writer(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::Pooled(read(self.current().await?.writer.acquire().await)?)))
    }

    pub async fn begin(&self) -> Result<Connection, StoreError> {
        Ok(Connection::Sqlite(Held::InTransaction(read(self.current().await?.writer.begin_with(BEGIN).await)?)))
    }
}

impl OpenFile {
    /// `identity`: of what was found at the path. Whoever calls it has locked the directory.
    async fn open(path: &Path, identity: Identity, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A committed token survives a power failure, too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);

        let writer = pool("writer", 1, acquire_timeout, options.clone());
        migrate(&writer).await.map_err(|error| file::name_path(error, path))?;
        Ok(Self::of(identity, writer, acquire_timeout, &options.pragma("query_only", "on")))
    }

    /// `options`: for readers.
    fn of(identity: Identity, writer: Pool<Sqlite>, acquire_timeout: Duration, options: &SqliteConnectOptions) -> Self {
        let readers = |name, number| pool(name, number, acquire_timeout, options.clone());
        Self {
            identity,
            writer,
            readers: readers("ordinary_readers", READERS),
            urgent_readers: readers("urgent_readers", URGENT_READERS),
            feed_reader: readers("feed_reader", 1),
        }
    }

    /// Whether it is the file that was found, and not closed meanwhile.
    fn is(&self, found: Identity) -> bool {
        self.identity == found && !self.writer.is_closed()
    }

    fn pools(&self) -> [&Pool<Sqlite>; 4] {
        [&self.writer, &self.readers, &self.urgent_readers, &self.feed_reader]
    }

    async fn close(&self) {
        for pool in self.pools() {
            pool.close().await;
        }
    }

    pub fn readers(&self, priority: Priority) -> &Pool<Sqlite> {
        match priority {
            Priority::Ordinary => &self.readers,
            Priority::Urgent => &self.urgent_readers,
            Priority::Feed => &self.feed_reader,
        }
    }
}

fn pool(
    name: &'static str,
    max_connections: u32,
    acquire_timeout: Duration,
    options: SqliteConnectOptions,
) -> Pool<Sqlite> {
    let pool = SqlitePoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .before_acquire(|connection, _| Box::pin(is_as_new(connection)));
    Pool::new(name, pool.connect_lazy_with(options))
}

/// The migrations of this release.
pub(super) fn migrations() -> &'static Migrator {
    &MIGRATIONS
}

/// On the connection that stays: SQLite writes the whole log into the file when the last one is closed, and begins a new
/// log for the next.
async fn migrate(writer: &Pool<Sqlite>) -> Result<(), StoreError> {
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
