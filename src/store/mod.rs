//! Where tokens, users and Deployments are kept: in an SQLite file or a PostgreSQL database.
//!
//! The request path never comes here. One file for each noun, its statements on top in both databases' spelling, its
//! verbs below; what a database really is stands in [`sqlite`] and [`postgres`], how values are spelled in a column in
//! [`columns`].
//!
//! Each verb is one transaction. One that changes something is a [`Change`]: it bumps the single-row `change_seq` first
//! and so holds its row lock until the commit, which orders the writers: whoever has seen sequence N has seen all that
//! was committed up to N. Every changed row carries the sequence of its last change, and a follower asks for what lies
//! above the sequence it has applied.

mod audit;
mod browser_sessions;
mod change;
mod columns;
mod deployments;
mod device_logins;
mod feed;
mod invitations;
mod postgres;
mod replicas;
mod rows;
mod sessions;
mod sqlite;
mod statement;
mod tokens;
mod traffic;
mod users;

pub use audit::{EventFilter, StoredEvent};
pub use change::{Change, Committed, Current};
pub use deployments::{StoredDeployment, TouchedToken};
pub use feed::{ChangedDeployment, ChangedSecret, ChangedUser, Cursor};
pub use replicas::{Replica, ReplicaId};
pub use tokens::{Page, TokenFilter, TokenOrder};
pub use users::{NamedRequest, Organization};

use std::{fmt, sync::Arc};

use sqlx::migrate::MigrateError;

use self::{postgres::PostgresServer, sqlite::SqliteFile, statement::Connection};
use crate::config::{StoreConfig, StoreUrl};

pub type SharedStore = Arc<Store>;

/// Its verbs stand in the files of their nouns. All but those that only read change all or nothing; each fails with
/// [`StoreError::Unavailable`] while the database cannot be used, and names its other errors.
pub struct Store {
    database: Database,
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
    Ok(Arc::new(Store { database }))
}

impl Store {
    /// For reading only.
    async fn read(&self) -> Result<Connection, StoreError> {
        match &self.database {
            Database::Sqlite(file) => file.reader().await,
            Database::Postgres(server) => server.connection().await,
        }
    }

    /// For statements each of which is committed by itself, and of which no follower needs to know.
    async fn write(&self) -> Result<Connection, StoreError> {
        match &self.database {
            Database::Sqlite(file) => file.writer().await,
            Database::Postgres(server) => server.connection().await,
        }
    }

    /// A transaction of which no follower needs to know; any other one is a [`Change`].
    async fn begin(&self) -> Result<Connection, StoreError> {
        match &self.database {
            Database::Sqlite(file) => file.begin().await,
            Database::Postgres(server) => server.begin().await,
        }
    }
}

/// All SQL of both databases, for a test that prepares it.
#[doc(hidden)]
pub fn statements() -> Statements {
    let all = [
        audit::STATEMENTS,
        browser_sessions::STATEMENTS,
        change::STATEMENTS,
        deployments::STATEMENTS,
        device_logins::STATEMENTS,
        feed::STATEMENTS,
        invitations::STATEMENTS,
        replicas::STATEMENTS,
        sessions::STATEMENTS,
        tokens::STATEMENTS,
        traffic::STATEMENTS,
        users::STATEMENTS,
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

/// Why the store did not do it. Nothing was changed, with one exception that no database can spare us: a connection
/// that is lost during the commit leaves open whether the change was made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The change contradicts what is there: the caller's mistake.
    #[error("{0} already exists")]
    Conflict(Conflict),
    /// The database cannot be reached, did not answer in time or refused the work: the operator's trouble, and worth a
    /// retry. The text never holds the database's URL, whose password it would show.
    #[error("the database is not available: {0}")]
    Unavailable(String),
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

/// `read` is the database's reading of sqlx's errors. What it has no better word for will fail again at the next start.
fn migration_error(error: MigrateError, read: fn(sqlx::Error) -> StoreError) -> StoreError {
    let unusable = |text: String| StoreError::Unusable(format!("its schema could not be migrated: {text}"));
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match read(error) {
            StoreError::Inconsistent(text) => unusable(text),
            other => other,
        },
        other => unusable(other.to_string()),
    }
}
