//! Where tokens, users and Deployments are kept: the traits, and the two adapters behind them.
//!
//! The request path never comes here. Each method is one transaction; every change bumps the single-row `change_seq`
//! first and so holds its row lock until the commit, which orders the writers: whoever has seen sequence N has seen all
//! that was committed up to N. Every changed row carries the sequence of its last change, and a follower asks for what
//! lies above the sequence it has applied.

mod people;
mod postgres;
mod rules;
mod sqlite;
mod traits;

pub use people::*;
pub use traits::*;

use std::{fmt, sync::Arc};

use crate::config::{StoreConfig, StoreUrl};

/// A store, whichever database is behind it.
pub type SharedStore = Arc<dyn Store>;

pub trait Store:
    TokenStore
    + UserStore
    + DeploymentStore
    + LoginStore
    + SessionStore
    + InvitationStore
    + BrowserStore
    + FigureStore
    + ReplicaStore
    + ChangeFeed
{
}

impl Store for sqlite::SqliteStore {}

impl Store for postgres::PostgresStore {}

/// Connects, and migrates the schema if this release has migrations that the store has not had. Safe to be called by
/// any number of processes at once.
///
/// # Errors
/// [`StoreError::Unavailable`] if the database cannot be reached now, [`StoreError::Unusable`] if it never can as
/// configured.
pub async fn open(config: &StoreConfig) -> Result<SharedStore, StoreError> {
    Ok(match &config.url {
        StoreUrl::Sqlite(path) => Arc::new(sqlite::SqliteStore::open(path, config).await?),
        StoreUrl::Postgres(url) => Arc::new(postgres::PostgresStore::open(url, config).await?),
    })
}

/// All SQL of both adapters, for a test that prepares it.
#[doc(hidden)]
pub fn statements() -> Statements {
    Statements { sqlite: sqlite::statements(), postgres: postgres::statements() }
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
