//! Revoking a token, for good.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        token::{TokenRecord, TokenUid},
    },
    service::{Context, Error, Result},
};

/// The token as it is afterwards. A token that was revoked before stays as it was: revoking it twice is no error.
///
/// # Errors
/// [`Error::TokenNotFound`].
pub async fn revoke(context: &Context<'_>, uid: TokenUid) -> Result<TokenRecord> {
    let event = context.event(Action::TokenRevoked, uid, json!({}))?;
    context.store.revoke_token(uid, context.now, &event).await?.ok_or(Error::TokenNotFound(uid))
}
