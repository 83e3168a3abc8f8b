//! What happened, by whom, to what. Written in the transaction of the change that it describes.

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
    /// Further facts, never a secret, a hash or a password.
    pub detail: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    Bootstrapped,
    TokenCreated,
    TokenRevoked,
    TokenRotated,
    DeploymentAdded,
    DeploymentRemoved,
    UserCreated,
    UserPasswordSet,
    UserDisabled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
            Self::TokenRevoked => "token.revoked",
            Self::TokenRotated => "token.rotated",
            Self::DeploymentAdded => "deployment.added",
            Self::DeploymentRemoved => "deployment.removed",
            Self::UserCreated => "user.created",
            Self::UserPasswordSet => "user.password_set",
            Self::UserDisabled => "user.disabled",
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
