//! Revoking a token, for good.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        token::{TokenRecord, TokenUid},
    },
    service::{Context, Error, Result},
    store::Committed,
};

/// The token as it is afterwards. A token that was revoked before stays as it was: revoking it twice is no error.
///
/// # Errors
/// [`Error::TokenNotFound`].
pub async fn revoke(context: &Context<'_>, uid: TokenUid) -> Result<Committed<TokenRecord>> {
    let mut change = context.urgent_change().await?;
    let token = change.token(uid).await?.ok_or(Error::TokenNotFound(uid))?;
    if token.revoked_at.is_some() {
        return Ok(change.unchanged(token.into_inner()));
    }
    let event = context.event(Action::TokenRevoked, uid, json!({}))?;
    let token = change.revoke_token(token, context.now).await?;
    Ok(change.commit(&event).await?.with(token))
}
