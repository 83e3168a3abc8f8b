//! Revoking tokens that somebody has found where they should not be.

use serde_json::json;

use crate::{
    domain::{audit::Action, token::TokenUid},
    service::{Context, Result},
};

/// Revokes the tokens. Whoever reports them needs no rights, because the caller has proven their secrets.
/// `reported_from` is an address.
///
/// # Errors
/// The store's. The tokens before the failure are revoked, and asking again does no harm.
pub async fn revoke_leaked(context: &Context<'_>, tokens: &[TokenUid], reported_from: &str) -> Result<()> {
    for &uid in tokens {
        let detail = json!({ "leaked": true, "reported_from": reported_from });
        let event = context.event(Action::TokenRevoked, uid, detail)?;
        context.store.revoke_token(uid, context.now, &event).await?;
    }
    Ok(())
}
