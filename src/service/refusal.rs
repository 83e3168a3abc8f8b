//! What every refusal has in common, so that each surface maps it once: to an exit code, to an HTTP status.

use crate::{
    domain::rights::Forbidden,
    secret_hash::HashError,
    store::{Conflict, StoreError},
    system::NoEntropy,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is not allowed as it was asked.
    Invalid,
    /// It contradicts what exists.
    Conflict,
    NotFound,
    /// Somebody else may.
    Forbidden,
    /// The store cannot be used at the moment; nothing was changed.
    Unavailable,
    /// Our trouble.
    Internal,
}

/// An error whose text says what happened and what was expected; the hint says what to do.
pub trait Refusal: std::error::Error {
    fn kind(&self) -> Kind;

    /// `None`: the text says it.
    fn hint(&self) -> Option<String>;
}

impl Refusal for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflict(_) => Kind::Conflict,
            Self::Unavailable(_) | Self::Unusable(_) => Kind::Unavailable,
            Self::Inconsistent(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Conflict(Conflict::TokenName) => {
                    "choose another name, or revoke the token of that name first; `bento-gateway token list` shows it"
                }
                Self::Conflict(Conflict::DeploymentName) => {
                    "choose another name, or remove that Deployment first; `bento-gateway deployment list` shows it"
                }
                Self::Conflict(Conflict::DeploymentHost) => "give each host to one Deployment",
                Self::Conflict(Conflict::Email) => "`bento-gateway user list` shows it",
                Self::Conflict(Conflict::RequestKey) => "give each request an Idempotency-Key of its own",
                Self::Unavailable(_) => "check store.url (`bento-gateway config print`) and whether the database runs",
                Self::Unusable(_) => "check store.url, its user and their rights (`bento-gateway config print`)",
                Self::Inconsistent(_) => "undo the last manual change of the database, or restore a backup",
            }
            .to_owned(),
        )
    }
}

impl Refusal for Forbidden {
    fn kind(&self) -> Kind {
        Kind::Forbidden
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

impl Refusal for HashError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

impl Refusal for NoEntropy {
    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
