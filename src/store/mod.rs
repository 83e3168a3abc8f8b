//! Where tokens, users and Deployments are kept: the traits, and the two adapters behind them.
//!
//! The request path never comes here. Each method is one transaction; every change bumps the single-row `change_seq`
//! first and so holds its row lock until the commit, which orders the writers: whoever has seen sequence N has seen all
//! that was committed up to N. Every changed row carries the sequence of its last change, and a follower asks for what
//! lies above the sequence it has applied.

mod postgres;
mod rules;
mod sqlite;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    config::{StoreConfig, StoreUrl},
    domain::{
        audit::AuditEvent,
        deployment::{DeploymentName, DeploymentSpec},
        scope::ScopeSet,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        user::{Email, User, UserId},
    },
};

/// A store, whichever database is behind it.
pub type SharedStore = Arc<dyn Store>;

pub trait Store: TokenStore + UserStore + DeploymentStore + ChangeFeed {}

impl<T: TokenStore + UserStore + DeploymentStore + ChangeFeed> Store for T {}

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
}

/// Which tokens to list. Newest first.
#[derive(Clone, Debug)]
pub struct TokenFilter {
    /// A part of the name, the description or the uid, in any case. `None`: all.
    pub search: Option<String>,
    /// `None`: everyone's.
    pub owner: Option<UserId>,
    pub offset: u32,
    pub limit: u32,
}

/// A part of a longer list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

#[async_trait]
pub trait TokenStore: Send + Sync {
    /// # Errors
    /// [`Conflict::TokenName`] if the owner has a live (unrevoked) token of that name.
    async fn insert_token(
        &self,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<(), StoreError>;

    /// `None`: no such token. Revoked and expired ones are found.
    async fn token(&self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError>;

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError>;

    /// The token as it is afterwards. One that is revoked already stays as it was, and the event is not written.
    /// `None`: no such token.
    async fn revoke_token(
        &self,
        uid: TokenUid,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// Adds `secret` to the token; every older secret retires at `old_until`, or when it would have anyway if that is
    /// earlier. `None`: no such token, or it is revoked.
    async fn rotate_token(
        &self,
        uid: TokenUid,
        secret: &SecretRecord,
        old_until: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// Moves `last_used_at` forward, never back, for many tokens in one statement. Bumps no sequence. Unknown uids are
    /// ignored.
    async fn record_use(&self, uses: &[(TokenUid, Timestamp)]) -> Result<(), StoreError>;
}

#[async_trait]
pub trait UserStore: Send + Sync {
    /// Creates the organization, its first admin and, if wanted, that admin's first token, unless there is an organization already.
    /// Exactly one of any number of concurrent calls, of any number of processes, returns `true`.
    async fn bootstrap(&self, first: &Bootstrap) -> Result<bool, StoreError>;

    /// # Errors
    /// [`Conflict::Email`].
    async fn insert_user(&self, user: &User, event: &AuditEvent) -> Result<(), StoreError>;

    /// Oldest first.
    async fn list_users(&self) -> Result<Vec<User>, StoreError>;

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError>;

    /// `false`: no such user.
    async fn set_password(&self, id: UserId, hash: &str, event: &AuditEvent) -> Result<bool, StoreError>;

    /// Disables the user, and so all their tokens. `false`: no such user, or disabled already.
    async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Result<bool, StoreError>;
}

/// What [`UserStore::bootstrap`] creates.
#[derive(Debug)]
pub struct Bootstrap {
    pub organization: String,
    pub admin: User,
    /// `None`: no first token is wanted.
    pub token: Option<(TokenRecord, SecretRecord)>,
    pub event: AuditEvent,
}

#[async_trait]
pub trait DeploymentStore: Send + Sync {
    /// # Errors
    /// [`Conflict::DeploymentName`], [`Conflict::DeploymentHost`].
    async fn insert_deployment(
        &self,
        spec: &DeploymentSpec,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), StoreError>;

    /// By name.
    async fn list_deployments(&self) -> Result<Vec<DeploymentSpec>, StoreError>;

    /// Removes the Deployment and ends the exact scopes of live tokens that name it, so that they do not open a later
    /// one of the same name. A token whose last scope that was is revoked. `None`: no such Deployment.
    async fn remove_deployment(
        &self,
        name: &DeploymentName,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<Vec<TouchedToken>>, StoreError>;

    /// Notes which Deployments a running gateway has from its file or flags, so that the command line, which need not
    /// have been given the same file, knows these names. Bumps no sequence.
    async fn declare_deployments(&self, names: &[DeploymentName], at: Timestamp) -> Result<(), StoreError>;

    /// Names that gateways have declared, by name; also of gateways that run no more.
    async fn declared_deployments(&self) -> Result<Vec<DeploymentName>, StoreError>;

    /// Stored and declared ones.
    async fn knows_deployment(&self, name: &DeploymentName) -> Result<bool, StoreError>;
}

/// A token that lost a scope because its Deployment was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedToken {
    pub uid: TokenUid,
    pub name: String,
    /// It had no other scope.
    pub revoked: bool,
}

/// What a follower of the store needs: one task per process, which keeps its memory like the store.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// The sequence of the last committed change; 0 for an empty store.
    async fn change_seq(&self) -> Result<i64, StoreError>;

    /// Returns when another process may have changed something, as soon as the database says so. On a store that
    /// cannot say so it never returns; the caller polls [`ChangeFeed::change_seq`] beside it. On an error the
    /// connection for notifications was lost, and the next call makes a new one.
    async fn notified(&self) -> Result<(), StoreError>;

    /// At most `limit` secrets after `cursor`, in the cursor's order. A token with two secrets comes twice. An empty
    /// answer: that was all.
    async fn changed_secrets(&self, cursor: Cursor, limit: u32) -> Result<Vec<ChangedSecret>, StoreError>;

    /// Deployments changed after `seq`; removed ones with `spec: None`.
    async fn changed_deployments(&self, seq: i64) -> Result<Vec<ChangedDeployment>, StoreError>;

    /// Users changed after `seq`.
    async fn changed_users(&self, seq: i64) -> Result<Vec<ChangedUser>, StoreError>;
}

/// A place in the list of changed secrets: after all of sequence `seq` up to `lookup_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub seq: i64,
    /// Empty: before the first of `seq`.
    pub lookup_id: String,
}

/// A secret with all that the decision needs of its token.
#[derive(Clone, Debug)]
pub struct ChangedSecret {
    /// Of the token's last change.
    pub seq: i64,
    pub secret: SecretRecord,
    pub uid: TokenUid,
    pub owner: UserId,
    pub scopes: ScopeSet,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct ChangedDeployment {
    pub name: DeploymentName,
    /// `None`: it was removed.
    pub spec: Option<DeploymentSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedUser {
    pub id: UserId,
    pub disabled: bool,
}

impl Cursor {
    /// After everything that was changed up to and with `seq`.
    pub fn after(seq: i64) -> Self {
        // Above every lookup id: `~` sorts after all letters and digits, in both databases' byte order.
        Self { seq, lookup_id: "~".to_owned() }
    }
}

impl ChangedSecret {
    pub fn cursor(&self) -> Cursor {
        Cursor { seq: self.seq, lookup_id: self.secret.lookup_id.as_str().to_owned() }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenName => "a live token of that name",
            Self::DeploymentName => "a Deployment of that name",
            Self::DeploymentHost => "a Deployment with that host name",
            Self::Email => "a user with that e-mail address",
        })
    }
}
