//! Where tokens, users and Deployments are kept: in an SQLite file or a PostgreSQL database.
//!
//! The request path never comes here. One file for each noun, its statements on top in both databases' spelling, its
//! verbs below; what a database really is stands in [`sqlite`] and [`postgres`], how values are spelled in a column in
//! [`columns`].
//!
//! Each verb is one transaction. One that changes something is a [`Change`]: it bumps the single-row `change_seq` first
//! and so holds its row lock until the commit, which orders the writers: whoever has seen sequence N has seen all that
//! was committed up to N. A trigger of the database gives every sequence a random mark, since after a fail-over or a
//! restore a number may be passed again. Every changed row carries the sequence of its last change, and a follower asks for what lies
//! above the sequence it has applied.

mod audit;
mod browser_sessions;
mod change;
mod code_key;
mod columns;
mod copy;
mod deployments;
mod device_logins;
mod error;
mod expiry;
mod feed;
mod grantor;
mod inspection;
mod invitations;
mod let_through;
mod point;
mod pool;
mod postgres;
mod priority;
mod release;
mod replicas;
mod rows;
mod sessions;
mod shared;
mod sqlite;
mod statement;
mod token_list;
mod token_names;
mod tokens;
mod traffic;
mod usage;
mod users;
mod whole;

pub use audit::{ChainEnds, EventFilter, StoredEvent};
pub use change::{Change, Committed, Current};
#[doc(hidden)]
pub use copy::copied_tables;
pub use copy::{Copied, CopyError, copy};
pub use deployments::{StoredDeployment, TouchedToken};
pub use error::{Conflict, StoreError};
pub use feed::{ChangedDeployment, ChangedSecret, ChangedUser, Cursor, Head, IndexedSecret, Snapshot};
pub use inspection::{Inspection, Schema, inspect};
pub use point::Point;
pub use pool::PoolState;
pub use priority::{Priority, Reader};
pub use replicas::{Replica, ReplicaId};
pub use sqlite::Look;
pub use token_list::{TokenFilter, TokenOrder, Within};
pub use tokens::Page;
pub use usage::{UsageBatch, UsageFilter, UsageSum};
pub use users::{NamedRequest, Organization};

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, Semaphore};

use self::{
    postgres::PostgresServer,
    priority::{Reading, Turn, Writing},
    shared::{ByKey, Locks, SharedReads},
    sqlite::SqliteFile,
    statement::Connection,
};
use crate::{
    config::{StoreConfig, StoreUrl},
    domain::{
        audit::Actor,
        code::{CodeHash, CodeKey},
        session::ConsoleSession,
        token::{TokenRecord, TokenUid},
        user::User,
    },
};

pub type SharedStore = Arc<Store>;

/// Its verbs stand in the files of their nouns. All but those that only read change all or nothing; each fails with
/// [`StoreError::Unavailable`] while the database cannot be used, and names its other errors.
///
/// It works with one [`Priority`], the ordinary one unless another was asked for.
pub struct Store {
    shared: Arc<Shared>,
    priority: Priority,
    /// Of the connections for reading, that of whom it reads for. `None`: it has all.
    share: Option<Arc<Semaphore>>,
}

/// What all priorities have in common.
struct Shared {
    database: Database,
    codes: CodeKey,
    /// The turn of ordinary writers.
    ordinary_writer: Arc<Mutex<()>>,
    /// The turn of each actor's urgent writers.
    urgent_writers: Locks<Actor>,
    /// What each reader may have of the connections of a priority.
    shares: ByKey<(Priority, Reader), Semaphore>,
    /// How long one waits for a turn or a place.
    acquire_timeout: Duration,
    holders: SharedReads<(Priority, TokenUid), Option<(TokenRecord, User)>>,
    sessions: SharedReads<(Priority, CodeHash), Option<(ConsoleSession, User)>>,
    replicas: SharedReads<Priority, Vec<Replica>>,
}

enum Database {
    Sqlite(SqliteFile),
    Postgres(PostgresServer),
}

impl Database {
    async fn reader(&self, priority: Priority) -> Result<Connection, StoreError> {
        match self {
            Self::Sqlite(file) => file.reader(priority).await,
            Self::Postgres(server) => server.connection(priority).await,
        }
    }

    /// The next statement gets the patience that a statement gets: what takes many may take long.
    fn renew(&self, connection: &mut Connection) {
        if let (Self::Postgres(server), Connection::Postgres(_, deadline)) = (self, connection) {
            *deadline = server.deadline();
        }
    }
}

/// Connects, and migrates the schema if this release has migrations that the store has not had. Safe to be called by
/// any number of processes at once.
///
/// # Errors
/// [`StoreError::Unavailable`] if the database cannot be reached now, [`StoreError::Unusable`] if it never can as
/// configured.
pub async fn open(config: &StoreConfig) -> Result<SharedStore, StoreError> {
    let database = match &config.url {
        StoreUrl::Sqlite(path) => Database::Sqlite(SqliteFile::open(path, config).await?),
        StoreUrl::Postgres(url) => Database::Postgres(PostgresServer::open(url, config).await?),
    };
    store_of(database, config).await
}

async fn store_of(database: Database, config: &StoreConfig) -> Result<SharedStore, StoreError> {
    let codes = code_key::read(&database).await?;
    let shared = Shared {
        database,
        codes,
        ordinary_writer: Arc::default(),
        urgent_writers: Locks::default(),
        shares: ByKey::default(),
        acquire_timeout: config.acquire_timeout,
        holders: SharedReads::default(),
        sessions: SharedReads::default(),
        replicas: SharedReads::default(),
    };
    Ok(Arc::new(Store { shared: Arc::new(shared), priority: Priority::Ordinary, share: None }))
}

impl Store {
    /// Makes the codes that stand for something in this store, and tells invented ones.
    pub fn codes(&self) -> &CodeKey {
        &self.shared.codes
    }

    /// The same store, with all connections of `priority`.
    pub fn at(&self, priority: Priority) -> SharedStore {
        Arc::new(Self { shared: Arc::clone(&self.shared), priority, share: None })
    }

    /// Ends all connections. SQLite then has all in the one file.
    pub async fn close(&self) {
        match &self.shared.database {
            Database::Sqlite(file) => file.close().await,
            Database::Postgres(server) => server.close().await,
        }
    }

    /// How the pools of connections stand, of all priorities.
    pub fn pools(&self) -> Vec<PoolState> {
        match &self.shared.database {
            Database::Sqlite(file) => file.pools(),
            Database::Postgres(server) => server.pools(),
        }
    }

    /// For reading only.
    async fn read(&self) -> Result<Reading, StoreError> {
        let place = self.place().await?;
        Ok(Reading::new(self.shared.database.reader(self.priority).await?, place))
    }

    /// How many may read at once with this priority.
    fn readers(&self) -> u32 {
        match &self.shared.database {
            Database::Sqlite(_) => SqliteFile::max_readers(self.priority),
            Database::Postgres(server) => server.pool(self.priority).max(),
        }
    }

    /// For statements each of which is committed by itself, and of which no follower needs to know.
    async fn write(&self) -> Result<Writing, StoreError> {
        let turn = self.turn().await?;
        let connection = match &self.shared.database {
            Database::Sqlite(file) => file.writer().await,
            Database::Postgres(server) => server.connection(self.priority.of_writing()).await,
        };
        Ok(Writing::new(connection?, turn))
    }

    /// A transaction of which no follower needs to know; any other one is a [`Change`].
    async fn begin(&self) -> Result<Writing, StoreError> {
        let turn = self.turn().await?;
        self.begin_in(self.priority.of_writing(), turn).await
    }

    async fn begin_in(&self, priority: Priority, turn: Turn) -> Result<Writing, StoreError> {
        let connection = match &self.shared.database {
            Database::Sqlite(file) => file.begin().await,
            Database::Postgres(server) => server.begin(priority).await,
        };
        Ok(Writing::new(connection?, turn))
    }
}

/// All SQL of both databases, for a test that prepares it.
#[doc(hidden)]
pub fn statements() -> Statements {
    let mut all = [
        audit::STATEMENTS,
        browser_sessions::STATEMENTS,
        change::STATEMENTS,
        code_key::STATEMENTS,
        deployments::STATEMENTS,
        device_logins::STATEMENTS,
        expiry::STATEMENTS,
        feed::STATEMENTS,
        grantor::STATEMENTS,
        inspection::STATEMENTS,
        invitations::STATEMENTS,
        let_through::STATEMENTS,
        release::STATEMENTS,
        replicas::STATEMENTS,
        sessions::STATEMENTS,
        token_list::STATEMENTS,
        token_names::STATEMENTS,
        tokens::STATEMENTS,
        traffic::STATEMENTS,
        usage::STATEMENTS,
        users::STATEMENTS,
        whole::STATEMENTS,
    ]
    .concat();
    all.extend(copy::statements());
    let sqlite = all.iter().map(|sql| sql.sqlite).collect();
    let postgres = all.iter().map(|sql| sql.postgres).chain(postgres::STATEMENTS.iter().copied()).collect();
    Statements { sqlite, postgres }
}

#[doc(hidden)]
pub struct Statements {
    pub sqlite: Vec<&'static str>,
    pub postgres: Vec<&'static str>,
}
