//! What a store does for people with a browser: sessions, links that work once, figures to look at.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    deployment::DeploymentName,
    session::{ConsoleSession, HandOver, Identity, Invitation},
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord, TokenUid},
    token_text::LookupId,
    usage::{Day, Traffic},
    user::{User, UserId},
};

/// Console sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Forgets all that are over at `event.at`, too.
    async fn insert_session(&self, session: &ConsoleSession, event: &AuditEvent) -> Result<(), StoreError>;

    /// The session and its user, unless it is over at `now` or the user is disabled.
    async fn session(&self, id: &CodeHash, now: Timestamp) -> Result<Option<(ConsoleSession, User)>, StoreError>;

    /// Those that are not over at `now`, newest first.
    async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<ConsoleSession>, StoreError>;

    /// `false`: there was none.
    async fn end_session(&self, id: &CodeHash, event: &AuditEvent) -> Result<bool, StoreError>;

    /// Ends the user's console sessions but `keep`, and the browser sessions of all their tokens.
    async fn end_sessions(&self, user: UserId, keep: Option<&CodeHash>, event: &AuditEvent) -> Result<(), StoreError>;
}

/// Links to an account, and identities of single sign-on.
#[async_trait]
pub trait InvitationStore: Send + Sync {
    /// Earlier ones of the same user are good no more.
    async fn insert_invitation(&self, invitation: &Invitation, event: &AuditEvent) -> Result<(), StoreError>;

    /// `None`: no such code, used, over at `now`, or its user is disabled.
    async fn invitation(&self, code: &CodeHash, now: Timestamp) -> Result<Option<(Invitation, User)>, StoreError>;

    /// Uses the invitation up: its user gets the name, address and password of `user`, and loses all sessions. `false`:
    /// it was used before, or is over at `event.at`.
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    async fn accept_invitation(&self, code: &CodeHash, user: &User, event: &AuditEvent) -> Result<bool, StoreError>;

    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError>;

    /// Links the identity to a user who is there, or who is made with it (`new`).
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    async fn link_identity(
        &self,
        identity: &Identity,
        user: &User,
        new: bool,
        event: &AuditEvent,
    ) -> Result<(), StoreError>;
}

/// Browser sessions of Deployments.
#[async_trait]
pub trait BrowserStore: Send + Sync {
    /// Forgets those that are over at `now`, too.
    async fn insert_hand_over(&self, hand_over: &HandOver, now: Timestamp) -> Result<(), StoreError>;

    /// Uses it up. `None`: no such code, used, over at `now`, for another Deployment or another browser.
    async fn take_hand_over(
        &self,
        code: &CodeHash,
        nonce: &CodeHash,
        deployment: &DeploymentName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError>;

    /// The live (unrevoked) token of that name.
    async fn token_by_name(&self, owner: UserId, name: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Adds a browser session's secret to its token, and forgets sessions that were over before `forget`. `false`: no
    /// such token, or it is revoked.
    async fn insert_browser_session(
        &self,
        token: TokenUid,
        secret: &SecretRecord,
        forget: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, StoreError>;

    /// `false`: no such session, or it is over at `event.at`.
    async fn end_browser_session(&self, id: LookupId, event: &AuditEvent) -> Result<bool, StoreError>;
}

/// What there is to look at: the audit trail and the traffic.
#[async_trait]
pub trait FigureStore: Send + Sync {
    /// Newest first.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Adds to what is there, in one statement. Bumps no sequence.
    async fn add_traffic(&self, counts: &[Traffic]) -> Result<(), StoreError>;

    /// Sums from minute `since` on, over `step` minutes each: [`Traffic::minute`] is the first of them.
    async fn traffic(&self, since: i64, step: i64) -> Result<Vec<Traffic>, StoreError>;

    /// Forgets what lies before.
    async fn forget_traffic(&self, before: i64) -> Result<(), StoreError>;

    /// Requests of each token since `from`. Those without any are left out.
    async fn usage_of(&self, tokens: &[TokenUid], from: Day) -> Result<HashMap<TokenUid, u64>, StoreError>;
}

#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only actions that begin so, for example `token.`. Empty: all.
    pub action: String,
    /// Only what this user did. `None`: all.
    pub actor: Option<UserId>,
    /// Only what was done to this. Empty: all.
    pub target: String,
    /// Only what is older than the event of this id. `None`: from the newest on.
    pub before: Option<Uuid>,
    pub limit: u32,
}

/// An event as the trail has it; an older release may have known other actions.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub id: Uuid,
    pub at: Timestamp,
    pub action: String,
    /// `cli`, `system` or `user`.
    pub actor_kind: String,
    pub actor: Option<UserId>,
    pub target: String,
    pub detail: Value,
}
