//! Revoking tokens that somebody has found where they should not be.

use serde_json::json;

use crate::{
    domain::{audit::Action, token::TokenUid},
    service::{Context, Result},
    store::Committed,
};

/// Revokes those of the tokens that are not revoked yet: all of them or, with an error, none. Whoever reports them needs no
/// rights, because the caller has proven their secrets. `reported_from` is an address.
///
/// # Errors
/// The store's.
pub async fn revoke_leaked(context: &Context<'_>, tokens: &[TokenUid], reported_from: &str) -> Result<Committed> {
    if tokens.is_empty() {
        return Ok(Committed::nothing(()));
    }
    let mut change = context.urgent_change().await?;
    let mut last = None;
    for &uid in tokens {
        let Some(token) = change.token(uid).await?.filter(|token| token.revoked_at.is_none()) else { continue };
        change.revoke_token(token, context.now).await?;
        let detail = json!({ "leaked": true, "reported_from": reported_from });
        if let Some(earlier) = last.replace(context.event(Action::TokenRevoked, uid, detail)?) {
            change.record(&earlier).await?;
        }
    }
    match last {
        Some(event) => Ok(change.commit(&event).await?),
        None => Ok(change.unchanged(())),
    }
}
