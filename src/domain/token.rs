//! The record of an API token, and its status.

use std::{fmt, str::FromStr};

use serde::Serialize;
use uuid::Uuid;

use super::{deployment::DeploymentName, scope::ScopeSet, timestamp::Timestamp, token_text::LookupId, user::UserId};

/// The public id of a token. It survives rotations, may be shown and logged everywhere, and opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TokenUid(pub Uuid);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the uid of a token")]
pub struct InvalidTokenUid {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenRecord {
    pub uid: TokenUid,
    pub name: String,
    pub description: String,
    pub scopes: ScopeSet,
    pub owner: UserId,
    pub created_at: Timestamp,
    /// `None`: does not expire.
    pub expires_at: Option<Timestamp>,
    /// When a gateway wrote down that it has expired. `None`: none has; whether it has expired is for the clock to say.
    #[serde(skip)]
    pub expired_at: Option<Timestamp>,
    /// `None`: not revoked.
    pub revoked_at: Option<Timestamp>,
    /// `None`: never used. The store learns of a use up to a few seconds late.
    pub last_used_at: Option<Timestamp>,
}

/// One secret of a token. During the overlap of a rotation a token has two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRecord {
    pub lookup_id: LookupId,
    /// Argon2id PHC string of the whole token text.
    pub hash: Box<str>,
    /// When this secret stops working, because a newer one replaces it or its browser session ends. `None`: it is the newest.
    pub retires_at: Option<Timestamp>,
    /// The Deployment of the browser session whose secret this is; it opens nothing else. `None`: the token itself.
    pub session: Option<DeploymentName>,
}

/// Computed at each request. The clock says whether a token has expired, until that was written down once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenStatus {
    Active,
    Expired,
    Revoked,
}

impl TokenRecord {
    pub fn status(&self, now: Timestamp) -> TokenStatus {
        if self.revoked_at.is_some() {
            TokenStatus::Revoked
        } else if self.expired_at.is_some() || self.expires_at.is_some_and(|at| at <= now) {
            TokenStatus::Expired
        } else {
            TokenStatus::Active
        }
    }
}

impl TokenStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl TokenUid {
    /// Its last 12 characters, which are random: enough for a person to name the token by.
    pub fn short(self) -> String {
        self.to_string().split_off(24)
    }
}

impl FromStr for TokenUid {
    type Err = InvalidTokenUid;

    fn from_str(text: &str) -> Result<Self, InvalidTokenUid> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidTokenUid { text: text.to_owned() })
    }
}

impl fmt::Display for TokenUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
