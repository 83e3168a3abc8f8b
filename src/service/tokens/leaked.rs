//! Revoking tokens that somebody has found where they should not be.

use serde_json::json;

use crate::{
    domain::token::TokenUid,
    service::{Context, Result, tokens::revoke::revoke_with},
    store::Committed,
};

/// Revokes the tokens. Whoever reports them needs no rights, because the caller has proven their secrets.
/// `reported_from` is an address.
///
/// # Errors
/// The store's. The tokens before the failure are revoked, and asking again does no harm.
pub async fn revoke_leaked(context: &Context<'_>, tokens: &[TokenUid], reported_from: &str) -> Result<Committed> {
    let mut all = Committed::nothing(());
    for &uid in tokens {
        let detail = json!({ "leaked": true, "reported_from": reported_from });
        if let Some(revoked) = revoke_with(context, uid, detail).await? {
            all = all.and(revoked).with(());
        }
    }
    Ok(all)
}
