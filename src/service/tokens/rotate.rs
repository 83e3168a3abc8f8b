//! Giving a token a new secret, while the old one works on for a while.

use std::time::Duration;

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        rights::Forbidden,
        timestamp::Timestamp,
        token::{TokenStatus, TokenUid},
    },
    secret_hash::HashError,
    service::{Context, Issued, Kind, Refusal},
    store::StoreError,
    system::NoEntropy,
};

#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("there is no token {0}")]
    NotFound(TokenUid),
    #[error("the token {0} is revoked and cannot be rotated")]
    Revoked(TokenUid),
    #[error("the token {0} expired at {1} and cannot be rotated: a new secret would not work either")]
    Expired(TokenUid, Timestamp),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The new secret, and until when the old one works. `overlap: None`: as configured; zero: it ends now.
///
/// # Errors
/// [`RotateError`].
pub async fn rotate(
    context: &Context<'_>,
    uid: TokenUid,
    overlap: Option<Duration>,
) -> Result<(Issued, Timestamp), RotateError> {
    let token = context.store.token(uid).await?.ok_or(RotateError::NotFound(uid))?;
    match (token.status(context.now), token.expires_at) {
        (TokenStatus::Revoked, _) => return Err(RotateError::Revoked(uid)),
        (TokenStatus::Expired, Some(at)) => return Err(RotateError::Expired(uid, at)),
        _ => {}
    }
    // Whoever gets the new secret can do what the token can.
    context.grantor.grant(&token.scopes)?;
    let until = context.now.saturating_add(overlap.unwrap_or(context.tokens.rotation_overlap));
    let old_until = token.expires_at.map_or(until, |expires_at| until.min(expires_at));
    let (text, secret) = context.new_secret()?;
    let event = context.event(Action::TokenRotated, uid, json!({ "old_until": old_until }))?;
    // Revoked by somebody else since it was read.
    let rotated = context.store.rotate_token(uid, &secret, old_until, &event).await?;
    let record = rotated.ok_or(RotateError::Revoked(uid))?;
    Ok((Issued { record, text }, old_until))
}

impl Refusal for RotateError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Revoked(_) | Self::Expired(..) => Kind::Conflict,
            Self::Forbidden(lack) => lack.kind(),
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`bento-gateway token list` shows the tokens there are".to_owned()),
            Self::Revoked(_) | Self::Expired(..) => Some("make a new one with `bento-gateway token create`".to_owned()),
            Self::Forbidden(_) | Self::Hash(_) | Self::NoEntropy(_) => None,
            Self::Store(error) => error.hint(),
        }
    }
}
