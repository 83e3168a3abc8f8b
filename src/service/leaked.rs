//! Ending tokens that somebody has found where they should not be.

use serde_json::json;

use super::Context;
use crate::{
    domain::{audit::Action, token::TokenUid},
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
pub async fn revoke(context: &Context<'_>, tokens: &[TokenUid], reported_from: &str) -> Result<(), LeakedError> {
    for &uid in tokens {
        let detail = json!({ "leaked": true, "reported_from": reported_from });
        let event = context.event(Action::TokenRevoked, uid, detail)?;
        context.store.revoke_token(uid, context.now, &event).await?;
    }
    Ok(())
}

impl super::Refusal for LeakedError {
    fn kind(&self) -> super::Kind {
        match self {
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
