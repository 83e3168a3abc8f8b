//! Changing a token's name, description, scopes and expiry. Its secret stays.

use serde_json::json;

use super::{
    Expiry,
    create::{checked_description, grant},
};
use crate::{
    domain::{
        audit::Action,
        scope::ScopeSet,
        token::{TokenRecord, TokenStatus, TokenUid},
    },
    service::{Context, Error, Result, Version, tidy_name},
    store::Committed,
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateToken {
    pub name: Option<String>,
    pub description: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub expiry: Option<Expiry>,
    /// What the caller has seen and means to change. `None`: whatever is there.
    pub seen: Option<Version>,
}

/// The token as it is afterwards. `tokens.max_lifetime` counts from now.
///
/// # Errors
/// [`Error::TokenNotFound`] also for a revoked one, [`Error::TokenExpired`], [`Error::ChangedMeanwhile`], and those of
/// [`create`](fn@super::create) for what is changed.
pub async fn update(context: &Context<'_>, uid: TokenUid, update: UpdateToken) -> Result<Committed<TokenRecord>> {
    let mut change = context.urgent_change().await?;
    let known = change.token(uid).await?.filter(|token| token.revoked_at.is_none());
    let mut token = known.ok_or(Error::TokenNotFound(uid))?;
    Version::of_token(&token).expect_seen(update.seen)?;
    if let (TokenStatus::Expired, Some(at)) = (token.status(context.now), token.expires_at) {
        return Err(Error::TokenExpired { uid, at });
    }
    // Letting a token live longer grants its scopes, too.
    context.grantor.grant(&token.scopes)?;
    if let Some(name) = update.name {
        token.name = tidy_name(&name).ok_or(Error::TokenName(name))?;
    }
    if let Some(description) = update.description {
        token.description = checked_description(&description)?;
    }
    let mut widens = false;
    if let Some(texts) = update.scopes {
        let scopes = ScopeSet::parse(texts)?;
        widens = scopes.iter().any(|scope| !token.scopes.iter().any(|known| known.covers(scope)));
        token.scopes = scopes;
        grant(context, &mut change, &token.scopes).await?;
    }
    if let Some(expiry) = update.expiry {
        token.expires_at = expiry.resolve(context.now, context.tokens)?;
        context.grantor.grant_until(token.expires_at)?;
    }
    if widens {
        token.expires_at = context.grantor.renew(token.expires_at)?;
    }
    let detail = json!({ "name": token.name, "scopes": token.scopes, "expires_at": token.expires_at });
    let event = context.event(Action::TokenUpdated, uid, detail)?;
    change.update_token(&token).await?;
    Ok(change.commit(&event).await?.with(token.into_inner()))
}
