//! Giving a token a new secret, while the old one goes on working for a while.

use std::time::Duration;

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        timestamp::Timestamp,
        token::{TokenStatus, TokenUid},
    },
    service::{Context, Error, Issued, Result},
    store::Committed,
};

/// The new secret, and until when the old one works. `overlap: None`: as configured; zero: the old secret ends now. The token
/// ends with the grantor's at the latest, as the record says.
///
/// # Errors
/// [`Error::TokenNotFound`], [`Error::TokenRevoked`], [`Error::TokenExpired`], because a new secret would not work either,
/// and [`Error::Forbidden`].
pub async fn rotate(
    context: &Context<'_>,
    uid: TokenUid,
    overlap: Option<Duration>,
) -> Result<Committed<(Issued, Timestamp)>> {
    let (text, secret) = context.new_secret().await?;
    let mut change = context.urgent_change().await?;
    let mut token = change.token(uid).await?.ok_or(Error::TokenNotFound(uid))?;
    match (token.status(context.now), token.expires_at) {
        (TokenStatus::Revoked, _) => return Err(Error::TokenRevoked(uid)),
        (TokenStatus::Expired, Some(at)) => return Err(Error::TokenExpired { uid, at }),
        _ => {}
    }
    // Whoever gets the new secret can do what the token can.
    context.grantor.grant(&token.scopes)?;
    let expires_at = context.grantor.renew(token.expires_at)?;
    let ends_sooner = expires_at != token.expires_at;
    token.expires_at = expires_at;
    let until = context.now.saturating_add(overlap.unwrap_or(context.tokens.rotation_overlap));
    let old_until = expires_at.map_or(until, |expires_at| until.min(expires_at));
    let detail = json!({ "old_until": old_until, "expires_at": expires_at });
    let event = context.event(Action::TokenRotated, uid, detail)?;
    if ends_sooner {
        change.update_token(&token).await?;
    }
    change.rotate_token(&token, &secret, old_until).await?;
    Ok(change.commit(&event).await?.with((Issued { record: token.into_inner(), text }, old_until)))
}
