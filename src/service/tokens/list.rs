//! Looking at tokens. Revoked and expired ones stay in the record.

use super::TokenError;
use crate::{
    domain::token::{TokenRecord, TokenUid},
    service::Context,
    store::{Page, StoreError, TokenFilter},
};

/// # Errors
/// [`TokenError::NotFound`].
pub async fn get(context: &Context<'_>, uid: TokenUid) -> Result<TokenRecord, TokenError> {
    context.store.token(uid).await?.ok_or(TokenError::NotFound(uid))
}

/// # Errors
/// The store's.
pub async fn list(context: &Context<'_>, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError> {
    context.store.list_tokens(filter).await
}
