//! Revoking a token, for good.

use serde_json::json;

use super::TokenError;
use crate::{
    domain::{
        audit::Action,
        token::{TokenRecord, TokenUid},
    },
    service::Context,
};

/// The token as it is afterwards. One that was revoked before stays as it was: asking twice is no error.
///
/// # Errors
/// [`TokenError::NotFound`].
pub async fn revoke(context: &Context<'_>, uid: TokenUid) -> Result<TokenRecord, TokenError> {
    let event = context.event(Action::TokenRevoked, uid, json!({}))?;
    context.store.revoke_token(uid, context.now, &event).await?.ok_or(TokenError::NotFound(uid))
}
