//! Why a verb failed. One list for all verbs, so that each surface maps it once: to an exit code, to an HTTP status.

use super::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS};
use crate::{
    domain::{
        clean::Unclean,
        deployment::DeploymentName,
        explanation::InvalidQuestion,
        password::InvalidPassword,
        quoted::quoted,
        rights::{Forbidden, Lapse},
        routing::TakenWay,
        scope::InvalidScopeSet,
        timestamp::Timestamp,
        token::TokenUid,
        user::{Email, InvalidEmail},
    },
    secret_hash::HashError,
    service::tokens::expiry::RefusedExpiry,
    store::{Conflict, StoreError},
    system::NoEntropy,
};

pub type Result<T> = std::result::Result<T, Error>;

/// The text says what happened and what was expected; [`Error::advice`] and the surfaces say what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // === tokens ===
    #[error("{0:?} is not a token name; expected 1 to {MAX_NAME_CHARS} characters, none of them a control character")]
    TokenName(String),
    #[error("the description has {0} characters; expected at most {MAX_DESCRIPTION_CHARS}")]
    LongDescription(usize),
    #[error("the description {0}; expected text without control characters but line feeds and tabs")]
    UncleanDescription(Unclean),
    #[error(transparent)]
    Scopes(#[from] InvalidScopeSet),
    /// Most likely a typing error.
    #[error("there is no Deployment {0}, which the scope deployment:{0} names")]
    UnknownDeployment(DeploymentName),
    #[error(transparent)]
    Expiry(#[from] RefusedExpiry),
    /// What a request names is more than one. All of them are the viewer's to see.
    #[error("{} tokens are called {}: {}; name one by its uid", tokens.len(), quoted(name), listed(tokens))]
    AmbiguousToken { name: String, tokens: Vec<(TokenUid, Email)> },
    #[error("there is no token {0}")]
    TokenNotFound(TokenUid),
    #[error("the API token {0} was deleted")]
    TokenDeleted(TokenUid),
    #[error("the token {0} is revoked")]
    TokenRevoked(TokenUid),
    #[error("the token {uid} expired at {at}")]
    TokenExpired { uid: TokenUid, at: Timestamp },
    #[error("another request has used this Idempotency-Key; give each request a key of its own")]
    IdempotencyKeyReused,

    // === users ===
    #[error("{0:?} is not a user name; expected 1 to {MAX_NAME_CHARS} characters, none of them a control character")]
    UserName(String),
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    #[error(transparent)]
    Password(#[from] InvalidPassword),
    #[error("there is no user {0}")]
    UserNotFound(Email),
    #[error("{0} signs in with single sign-on, and so has no password")]
    NoPasswords(Email),
    #[error("{0} is disabled")]
    UserDisabled(Email),
    #[error("{0} is already disabled")]
    UserAlreadyDisabled(Email),
    #[error("{0} is not disabled")]
    UserNotDisabled(Email),
    #[error("{0} is the last admin; without one, nobody could manage the gateway")]
    LastAdmin(Email),
    #[error("there is no admin yet who could own the token")]
    NoAdmin,

    // === Deployments ===
    #[error("the Deployment {0} needs at least one upstream that gets requests")]
    NoUpstream(DeploymentName),
    #[error("{0} counts LLM tokens, and nobody counts these")]
    UncountedBudget(&'static str),
    #[error("the Deployment {0} is declared in the configuration, which takes precedence over the store")]
    Declared(DeploymentName),
    /// This process cannot see the declaration: it is another gateway's, or was removed.
    #[error("a gateway on this store declares the Deployment {0}, or has declared it")]
    DeclaredElsewhere(DeploymentName),
    #[error(transparent)]
    TakenWay(TakenWay),
    #[error("there is no Deployment {0} in the store")]
    DeploymentNotFound(DeploymentName),

    // === signing in ===
    /// The code of `bentoml cloud login` is unknown, used or expired.
    #[error("this login does not exist or has ended; run `bentoml cloud login` again")]
    DeviceLoginOver,
    /// The browser's hand-over code is unknown, used, expired or another browser's.
    #[error("this sign-in has ended or was started in another browser; start again")]
    SignInOver,
    /// More browsers sign in at once than the store should have to bear.
    #[error("too many browsers are signing in; try again in a moment")]
    SignInBusy,
    #[error("this API token was used for too many sign-ins; try again in a minute")]
    SignInTooOften,
    #[error("the provider did not send an e-mail address; ask its operator to grant the scope email")]
    NoEmail,
    #[error(
        "the provider has not verified that the e-mail address is yours, and whose it is gets the account; ask the \
         provider's operator to verify it"
    )]
    EmailNotVerified,
    #[error("your account is disabled; ask an admin to enable it")]
    AccountDisabled,
    /// Its password, above all: who knows the old one only must not get in by having been quick.
    #[error("your account was changed while you signed in; sign in again")]
    AccountChanged,

    // === usage ===
    #[error("there is no time from {since} to {until}; ask for a period that begins before it ends")]
    Period { since: Timestamp, until: Timestamp },

    // === explanations ===
    #[error(transparent)]
    Question(#[from] InvalidQuestion),
    /// It is not repeated.
    #[error(
        "a token is named by its name or uid, and this holds the text of one; give the text where texts are asked for"
    )]
    TextForName,

    // === any verb ===
    /// What a request names does not exist, or is not the viewer's to see.
    #[error("there is no {noun} {}", quoted(name))]
    Unknown { noun: &'static str, name: String },
    /// It is not what the caller has seen and meant to change.
    #[error("someone else has changed this in the meantime; look at it as it is now, then change it again")]
    ChangedMeanwhile,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a surface needs to know of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is not acceptable.
    Invalid,
    /// The request contradicts what exists.
    Conflict,
    /// The caller's credential has ended while the request was under way.
    Ended,
    NotFound,
    /// The caller may not do it; somebody else may.
    Forbidden,
    /// The caller does it too often.
    TooMany,
    /// The store cannot be used at the moment; nothing was changed.
    Unavailable,
    /// The store was lost during the change, which it has made or not.
    Uncertain,
    /// The gateway's own fault, or its operator's.
    Internal,
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::TokenName(_)
            | Self::LongDescription(_)
            | Self::UncleanDescription(_)
            | Self::Scopes(_)
            | Self::UnknownDeployment(_)
            | Self::Expiry(_)
            | Self::UserName(_)
            | Self::Email(_)
            | Self::Password(_)
            | Self::NoUpstream(_)
            | Self::Period { .. }
            | Self::Question(_)
            | Self::TextForName
            | Self::UncountedBudget(_)
            | Self::SignInOver => Kind::Invalid,
            Self::AmbiguousToken { .. }
            | Self::TokenRevoked(_)
            | Self::TokenExpired { .. }
            | Self::IdempotencyKeyReused
            | Self::UserDisabled(_)
            | Self::UserAlreadyDisabled(_)
            | Self::UserNotDisabled(_)
            | Self::LastAdmin(_)
            | Self::Declared(_)
            | Self::DeclaredElsewhere(_)
            | Self::TakenWay(_)
            | Self::DeviceLoginOver
            | Self::ChangedMeanwhile
            | Self::AccountChanged
            | Self::Store(StoreError::Conflict(_) | StoreError::Lapsed(Lapse::Changed)) => Kind::Conflict,
            Self::Store(StoreError::Lapsed(Lapse::Ended)) => Kind::Ended,
            Self::Unknown { .. }
            | Self::TokenDeleted(_)
            | Self::TokenNotFound(_)
            | Self::UserNotFound(_)
            | Self::NoAdmin
            | Self::DeploymentNotFound(_) => Kind::NotFound,
            Self::NoPasswords(_)
            | Self::NoEmail
            | Self::EmailNotVerified
            | Self::AccountDisabled
            | Self::Forbidden(_) => Kind::Forbidden,
            Self::SignInTooOften => Kind::TooMany,
            Self::SignInBusy | Self::Store(StoreError::Unavailable(_) | StoreError::Unusable(_)) => Kind::Unavailable,
            Self::Store(StoreError::Uncertain(_)) => Kind::Uncertain,
            Self::Hash(_) | Self::NoEntropy(_) | Self::Store(StoreError::Inconsistent(_)) => Kind::Internal,
        }
    }

    /// What to do about it, whoever reads it and wherever. `None`: the text says it, or it depends on the reader, whose
    /// commands the surfaces know.
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Declared(name) => {
                return Some(format!("change [deployments.{name}] there; the gateway reads it again by itself"));
            }
            Self::TakenWay(_) => "choose another host or address; each leads to one Deployment",
            Self::NoPasswords(_) => "only the gateway's setting management.oidc.passwords allows both",
            Self::Expiry(RefusedExpiry::Past { .. }) => "ask for a time in the future, for example 30d",
            Self::Expiry(_) => "ask for a shorter lifetime, or raise tokens.max_lifetime",
            Self::LastAdmin(_) => {
                "create another admin first, and have them sign in; an admin who has no way to sign in does not count"
            }
            Self::UncountedBudget(_) => "set count_llm_tokens, or choose a budget of requests or upstream_seconds",
            Self::NoUpstream(_) => "give one, for example http://127.0.0.1:3000",
            Self::Store(StoreError::Conflict(Conflict::DeploymentHost)) => "give each host to one Deployment only",
            Self::Store(StoreError::Conflict(Conflict::RequestKey)) => {
                "give each request an Idempotency-Key of its own"
            }
            Self::Store(StoreError::Uncertain(_)) => "look whether it was made before you make it again",
            Self::Store(StoreError::Inconsistent(_)) => {
                "undo the last manual change to the database, or restore a backup"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

fn listed(tokens: &[(TokenUid, Email)]) -> String {
    tokens.iter().map(|(uid, owner)| format!("{uid} of {owner}")).collect::<Vec<_>>().join(", ")
}
