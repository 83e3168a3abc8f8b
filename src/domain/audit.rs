//! Audit events: who did what to what. The store writes an event in the same transaction as the change.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{timestamp::Timestamp, user::UserId};

#[derive(Clone, Debug, Serialize)]
pub struct AuditEvent {
    /// UUID version 7: sorts by time.
    pub id: Uuid,
    pub at: Timestamp,
    pub action: Action,
    pub actor: Actor,
    /// The uid, name or id of what was changed.
    pub target: String,
    /// Further facts; never a secret, a hash or a password.
    pub detail: Value,
    /// `None`: the request has no `Idempotency-Key`.
    #[serde(skip)]
    pub request: Option<RequestKey>,
}

/// The `Idempotency-Key` of a request, which is done once, however often the caller sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    pub key: String,
    /// BLAKE3 of the request. Another request with the same key is a mistake of the caller.
    pub hash: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    Bootstrapped,
    TokenCreated,
    TokenUpdated,
    TokenRevoked,
    TokenRotated,
    ExpiryRecorded,
    DeploymentAdded,
    DeploymentUpdated,
    DeploymentTerminated,
    DeploymentStarted,
    DeploymentRemoved,
    UserCreated,
    UserUpdated,
    UserPasswordSet,
    UserDisabled,
    UserEnabled,
    LoginApproved,
    LoginRefused,
    UserInvited,
    InvitationAccepted,
    SignedIn,
    SignedOut,
    SessionsEnded,
    IdentityLinked,
    BrowserSignedIn,
    BrowserSignedOut,
    /// Several, perhaps, as the next one.
    SignInRefused,
    ChangeRefused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Actor {
    /// Somebody with access to the store, at the command line.
    Cli,
    /// The gateway itself.
    System,
    User(UserId),
}

impl Action {
    /// The stable name in the audit trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrapped => "gateway.bootstrapped",
            Self::TokenCreated => "token.created",
            Self::TokenUpdated => "token.updated",
            Self::TokenRevoked => "token.revoked",
            Self::TokenRotated => "token.rotated",
            Self::ExpiryRecorded => "expiry.recorded",
            Self::DeploymentAdded => "deployment.added",
            Self::DeploymentUpdated => "deployment.updated",
            Self::DeploymentTerminated => "deployment.terminated",
            Self::DeploymentStarted => "deployment.started",
            Self::DeploymentRemoved => "deployment.removed",
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserPasswordSet => "user.password_set",
            Self::UserDisabled => "user.disabled",
            Self::UserEnabled => "user.enabled",
            Self::LoginApproved => "login.approved",
            Self::LoginRefused => "login.refused",
            Self::UserInvited => "user.invited",
            Self::InvitationAccepted => "user.invitation_accepted",
            Self::SignedIn => "session.signed_in",
            Self::SignedOut => "session.signed_out",
            Self::SessionsEnded => "session.all_ended",
            Self::IdentityLinked => "user.identity_linked",
            Self::BrowserSignedIn => "browser.signed_in",
            Self::BrowserSignedOut => "browser.signed_out",
            Self::SignInRefused => "session.refused",
            Self::ChangeRefused => "change.refused",
        }
    }
}

impl Actor {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::System => "system",
            Self::User(_) => "user",
        }
    }

    pub fn id(self) -> Option<Uuid> {
        match self {
            Self::User(UserId(id)) => Some(id),
            Self::Cli | Self::System => None,
        }
    }
}
