//! Revoking a token, for good.

use serde_json::{Value, json};

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
    revoke_with(context, uid, json!({})).await?.ok_or(Error::TokenNotFound(uid))
}

/// `detail` is for the audit trail. `None`: no such token.
pub(super) async fn revoke_with(
    context: &Context<'_>,
    uid: TokenUid,
    detail: Value,
) -> Result<Option<Committed<TokenRecord>>> {
    let mut change = context.urgent_change().await?;
    let Some(token) = change.token(uid).await? else { return Ok(None) };
    if token.revoked_at.is_some() {
        return Ok(Some(change.unchanged(token.into_inner())));
    }
    let event = context.event(Action::TokenRevoked, uid, detail)?;
    let token = change.revoke_token(token, context.now).await?;
    Ok(Some(change.commit(&event).await?.with(token)))
}
