//! Ending tokens that somebody has found where they should not be.

use serde_json::json;

use crate::{
    domain::{audit::Action, token::TokenUid},
    service::{Context, Kind, Refusal},
    store::StoreError,
    system::NoEntropy,
};

#[derive(Debug, thiserror::Error)]
pub enum LeakedError {
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Revokes the tokens. Their secrets were proven, which is all that anybody needs for it. `reported_from`: an address.
///
/// # Errors
/// [`LeakedError`]; those before it are revoked, and asking again does no harm.
pub async fn revoke_leaked(context: &Context<'_>, tokens: &[TokenUid], reported_from: &str) -> Result<(), LeakedError> {
    for &uid in tokens {
        let detail = json!({ "leaked": true, "reported_from": reported_from });
        let event = context.event(Action::TokenRevoked, uid, detail)?;
        context.store.revoke_token(uid, context.now, &event).await?;
    }
    Ok(())
}

impl Refusal for LeakedError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
