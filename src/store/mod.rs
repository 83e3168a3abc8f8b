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
mod deployments;
mod device_logins;
mod error;
mod expiry;
mod feed;
mod grantor;
mod invitations;
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
mod token_names;
mod tokens;
mod traffic;
mod users;
mod whole;

pub use audit::{EventFilter, StoredEvent};
pub use change::{Change, Committed, Current};
pub use deployments::{StoredDeployment, TouchedToken};
pub use error::{Conflict, StoreError};
pub use feed::{ChangedDeployment, ChangedSecret, ChangedUser, Cursor, Head, IndexedSecret, Snapshot};
pub use point::Point;
pub use pool::PoolState;
pub use priority::Priority;
pub use replicas::{Replica, ReplicaId};
pub use tokens::{Page, TokenFilter, TokenOrder};
pub use users::{NamedRequest, Organization};

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use self::{
    postgres::PostgresServer,
    priority::{Turn, Writing},
    shared::{Locks, SharedReads},
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
}

/// What all priorities have in common.
struct Shared {
    database: Database,
    codes: CodeKey,
    /// The turn of ordinary writers.
    ordinary_writer: Arc<Mutex<()>>,
    /// The turn of each actor's urgent writers.
    urgent_writers: Locks<Actor>,
    /// How long one waits for a turn.
    acquire_timeout: Duration,
    holders: SharedReads<(Priority, TokenUid), Option<(TokenRecord, User)>>,
    sessions: SharedReads<(Priority, CodeHash), Option<(ConsoleSession, User)>>,
    replicas: SharedReads<Priority, Vec<Replica>>,
}

enum Database {
    Sqlite(SqliteFile),
    Postgres(PostgresServer),
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
    let codes = code_key::read(&database).await?;
    let shared = Shared {
        database,
        codes,
        ordinary_writer: Arc::default(),
        urgent_writers: Locks::default(),
        acquire_timeout: config.acquire_timeout,
        holders: SharedReads::default(),
        sessions: SharedReads::default(),
        replicas: SharedReads::default(),
    };
    Ok(Arc::new(Store { shared: Arc::new(shared), priority: Priority::Ordinary }))
}

impl Store {
    /// Makes the codes that stand for something in this store, and tells invented ones.
    pub fn codes(&self) -> &CodeKey {
        &self.shared.codes
    }

    /// The same store, with the connections of `priority`.
    pub fn at(&self, priority: Priority) -> SharedStore {
        Arc::new(Self { shared: Arc::clone(&self.shared), priority })
    }

    /// How the pools of connections stand, of all priorities.
    pub fn pools(&self) -> Vec<PoolState> {
        match &self.shared.database {
            Database::Sqlite(file) => file.pools(),
            Database::Postgres(server) => server.pools(),
        }
    }

    /// For reading only.
    async fn read(&self) -> Result<Connection, StoreError> {
        match &self.shared.database {
            Database::Sqlite(file) => file.reader(self.priority).await,
            Database::Postgres(server) => server.connection(self.priority).await,
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
    let all = [
        audit::STATEMENTS,
        browser_sessions::STATEMENTS,
        change::STATEMENTS,
        code_key::STATEMENTS,
        deployments::STATEMENTS,
        device_logins::STATEMENTS,
        expiry::STATEMENTS,
        feed::STATEMENTS,
        grantor::STATEMENTS,
        invitations::STATEMENTS,
        release::STATEMENTS,
        replicas::STATEMENTS,
        sessions::STATEMENTS,
        token_names::STATEMENTS,
        tokens::STATEMENTS,
        traffic::STATEMENTS,
        users::STATEMENTS,
        whole::STATEMENTS,
    ]
    .concat();
    let sqlite = all.iter().map(|sql| sql.sqlite).collect();
    let postgres = all.iter().map(|sql| sql.postgres).chain(postgres::STATEMENTS.iter().copied()).collect();
    Statements { sqlite, postgres }
}

#[doc(hidden)]
pub struct Statements {
    pub sqlite: Vec<&'static str>,
    pub postgres: Vec<&'static str>,
}
