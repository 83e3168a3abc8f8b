//! Changing a token's name, description, scopes and expiry. Its secret stays.

use serde_json::json;

use super::{
    Expiry,
    create::{checked_description, granted},
};
use crate::{
    domain::{
        audit::Action,
        scope::ScopeSet,
        token::{TokenRecord, TokenUid},
    },
    service::{Context, Error, Result, tidy_name},
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateToken {
    pub name: Option<String>,
    pub description: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub expiry: Option<Expiry>,
}

/// The token as it is afterwards. `tokens.max_lifetime` counts from now.
///
/// # Errors
/// [`Error::TokenNotFound`] also for a revoked one, [`Error::TokenExpired`], and those of [`create`](super::create) for
/// what is changed.
pub async fn update(context: &Context<'_>, uid: TokenUid, change: UpdateToken) -> Result<TokenRecord> {
    let known = context.store.token(uid).await?.filter(|token| token.revoked_at.is_none());
    let mut token = known.ok_or(Error::TokenNotFound(uid))?;
    if let Some(at) = token.expires_at.filter(|at| *at <= context.now) {
        return Err(Error::TokenExpired { uid, at });
    }
    // Letting a token live longer grants its scopes, too.
    context.grantor.grant(&token.scopes)?;
    if let Some(name) = change.name {
        token.name = tidy_name(&name).ok_or(Error::TokenName(name))?;
    }
    if let Some(description) = change.description {
        token.description = checked_description(description)?;
    }
    if let Some(texts) = change.scopes {
        token.scopes = granted(context, ScopeSet::parse(texts)?).await?;
    }
    if let Some(expiry) = change.expiry {
        token.expires_at = expiry.resolve(context.now, context.tokens)?;
    }
    let detail = json!({ "name": token.name, "scopes": token.scopes, "expires_at": token.expires_at });
    let event = context.event(Action::TokenUpdated, uid, detail)?;
    let updated = context.store.update_token(&token, &event).await?;
    // `false`: somebody has revoked the token since it was read.
    if updated { Ok(token) } else { Err(Error::TokenNotFound(uid)) }
}
