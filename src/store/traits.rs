//! What a store does: a trait for each noun, and the values that go in and out.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    deployment::{DeploymentName, DeploymentSpec},
    login::{Login, LoginDecision},
    scope::ScopeSet,
    session::Invitation,
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord, TokenUid},
    usage::{DailyUse, Day, TokenUse},
    user::{Email, User, UserId},
};

/// How tokens are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenOrder {
    /// The last made first.
    #[default]
    Newest,
    Name,
    /// The first to expire first; those that never do last.
    Expires,
    /// The last used first; those never used last.
    LastUsed,
}

/// Which tokens to list.
#[derive(Clone, Debug)]
pub struct TokenFilter {
    /// A part of the name, the description or the uid, in any case. `None`: all.
    pub search: Option<String>,
    /// `None`: everyone's.
    pub owner: Option<UserId>,
    /// Revoked ones, too.
    pub revoked: bool,
    pub order: TokenOrder,
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
    /// [`Conflict::TokenName`](super::Conflict::TokenName) if the owner has a live (unrevoked) token of that name.
    async fn insert_token(
        &self,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<(), StoreError>;

    /// `None`: no such token. Revoked and expired ones are found.
    async fn token(&self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError>;

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError>;

    /// Live tokens, not expired at `now`, whose scopes open the Deployment, newest first, and how many there are in all.
    async fn tokens_opening(
        &self,
        deployment: &DeploymentName,
        owner: Option<UserId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<TokenRecord>, StoreError>;

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

    /// Sets name, description, scopes and expiry to those of `token`. `false`: no such token, or it is revoked.
    ///
    /// # Errors
    /// [`Conflict::TokenName`](super::Conflict::TokenName).
    async fn update_token(&self, token: &TokenRecord, event: &AuditEvent) -> Result<bool, StoreError>;

    /// Moves `last_used_at` forward, never back, and adds to the count of that UTC day, for many tokens in one
    /// statement each. Bumps no sequence. Unknown uids are ignored.
    async fn record_use(&self, uses: &[TokenUse]) -> Result<(), StoreError>;

    /// Requests by UTC day since `from`, oldest first; days without any are left out.
    async fn token_usage(&self, uid: TokenUid, from: Day) -> Result<Vec<DailyUse>, StoreError>;
}

#[async_trait]
pub trait UserStore: Send + Sync {
    /// Creates the organization, its first admin and, if wanted, that admin's first token, unless there is an organization already.
    /// Exactly one of any number of concurrent calls, of any number of processes, returns `true`.
    async fn bootstrap(&self, first: &Bootstrap) -> Result<bool, StoreError>;

    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    async fn insert_user(&self, user: &User, event: &AuditEvent) -> Result<(), StoreError>;

    /// Oldest first.
    async fn list_users(&self) -> Result<Vec<User>, StoreError>;

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError>;

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// `None`: [`UserStore::bootstrap`] has not happened.
    async fn organization(&self) -> Result<Option<Organization>, StoreError>;

    /// What the user has done by a request of that name. `None`: nothing.
    async fn named_request(&self, actor: UserId, key: &str) -> Result<Option<NamedRequest>, StoreError>;

    /// Sets name and role to those of `user`. `false`: no such user, or the last enabled admin would be none.
    async fn update_user(&self, user: &User, event: &AuditEvent) -> Result<bool, StoreError>;

    /// Ends the user's sessions, too, but `keep`. `false`: no such user.
    async fn set_password(
        &self,
        id: UserId,
        hash: &str,
        keep: Option<&CodeHash>,
        event: &AuditEvent,
    ) -> Result<bool, StoreError>;

    /// Enables a disabled user, and so all their tokens. `false`: no such user, or not disabled.
    async fn enable_user(&self, id: UserId, event: &AuditEvent) -> Result<bool, StoreError>;

    /// Disables the user, and so all their tokens, and ends their sessions for good. `false`: no such user, disabled already, or
    /// the last enabled admin.
    async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Result<bool, StoreError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub name: String,
    pub created_at: Timestamp,
}

/// A request that its caller has named (`Idempotency-Key`), as the audit trail has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRequest {
    /// Of what was asked.
    pub hash: String,
    /// The uid, name or id of what it made.
    pub target: String,
}

/// What [`UserStore::bootstrap`] creates.
#[derive(Debug)]
pub struct Bootstrap {
    pub organization: String,
    pub admin: User,
    /// `None`: no first token is wanted.
    pub token: Option<(TokenRecord, SecretRecord)>,
    /// The link by which the admin sets their password.
    pub invitation: Invitation,
    pub event: AuditEvent,
}

#[async_trait]
pub trait DeploymentStore: Send + Sync {
    /// # Errors
    /// [`Conflict::DeploymentName`](super::Conflict::DeploymentName),
    /// [`Conflict::DeploymentHost`](super::Conflict::DeploymentHost).
    async fn insert_deployment(
        &self,
        spec: &DeploymentSpec,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), StoreError>;

    /// By name.
    async fn list_deployments(&self) -> Result<Vec<StoredDeployment>, StoreError>;

    /// Puts `spec` in the place of the one of its name. `false`: no such Deployment.
    ///
    /// # Errors
    /// [`Conflict::DeploymentHost`](super::Conflict::DeploymentHost).
    async fn update_deployment(&self, spec: &DeploymentSpec, event: &AuditEvent) -> Result<bool, StoreError>;

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeployment {
    pub spec: DeploymentSpec,
    pub created_at: Timestamp,
}

/// A token that lost a scope because its Deployment was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedToken {
    pub uid: TokenUid,
    pub name: String,
    /// It had no other scope.
    pub revoked: bool,
}

/// Logins of the command line in a browser.
#[async_trait]
pub trait LoginStore: Send + Sync {
    /// Keeps an undecided login, and forgets those that ran out before `forget`.
    async fn insert_login(&self, login: &Login, forget: Timestamp) -> Result<(), StoreError>;

    /// `None`: no such code, or it is forgotten.
    async fn login(&self, code: &CodeHash) -> Result<Option<Login>, StoreError>;

    /// `false`: no such code, it was decided before, or it has run out at `event.at`.
    async fn decide_login(
        &self,
        code: &CodeHash,
        decision: &LoginDecision,
        event: &AuditEvent,
    ) -> Result<bool, StoreError>;

    /// Makes the token of an approved login. Exactly one of any number of concurrent calls returns `true`; `false` also
    /// if it is not approved or has run out at `event.at`.
    ///
    /// # Errors
    /// [`Conflict::TokenName`](super::Conflict::TokenName).
    async fn claim_login(
        &self,
        code: &CodeHash,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<bool, StoreError>;
}

/// The running gateways on this store, and how far each has caught up.
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// Says that the replica lives and decides by all changes up to `applied_seq`. Bumps no sequence.
    async fn beat(&self, id: ReplicaId, name: &str, applied_seq: i64) -> Result<(), StoreError>;

    /// The replica has ended. Forgets those, too, that have not been heard of for a day.
    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError>;

    /// Those that were heard of within the given time, by the database's clock, by name.
    async fn live_replicas(&self, within: Duration) -> Result<Vec<Replica>, StoreError>;
}

/// Given at each start of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub Uuid);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    pub name: String,
    pub applied_seq: i64,
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
