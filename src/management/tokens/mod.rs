//! `/api/v1/api_tokens`: what `bentoml api-token` and `bentoml.api_token` use, and more.

mod create;
mod list;
mod revoke;
mod rotate;
mod update;
mod usage;
mod whoami;

pub use create::{create, created_before};
pub use list::{get, list};
pub use revoke::{revoke, revoke_own};
pub use rotate::rotate;
pub use update::update;
pub use usage::{own_usage, usage};
pub use whoami::whoami;

use std::collections::HashMap;

use super::{
    caller::Caller,
    error::ApiError,
    operation::ApiRequest,
    views::{self, Changed, TokenView},
};
use crate::{
    domain::{
        timestamp::Timestamp,
        token::TokenRecord,
        user::{User, UserId},
    },
    service::{self, tokens::Expiry},
    store::{Committed, Organization},
};

/// A token that has changed.
type ChangedTokenView = Changed<TokenView>;

/// What tokens are shown with. That of a token which is to change is read before: after the change, an answer that the
/// store is away would be wrong, and so [`ApiRequest::settle`] takes the request.
struct ViewContext {
    owners: HashMap<UserId, User>,
    organization: Organization,
    now: Timestamp,
}

impl ViewContext {
    /// For tokens of these owners.
    async fn read<Q, B>(
        call: &ApiRequest<Caller, Q, B>,
        owners: impl IntoIterator<Item = UserId>,
    ) -> Result<Self, ApiError> {
        let owners = call.store.users(owners).await?;
        Ok(Self { owners, organization: super::organization(&call.store).await?, now: call.now })
    }

    /// # Errors
    /// 404 if it was not read for the token's owner, or the owner is not in the store, which the store rules out.
    fn view(&self, record: &TokenRecord) -> Result<TokenView, ApiError> {
        let owner = self.owners.get(&record.owner);
        let owner = owner.ok_or(service::Error::TokenNotFound(record.uid))?;
        Ok(views::token(record, owner, &self.organization, self.now))
    }
}

/// The token after the change, once every replica decides by it.
async fn changed<Q, B>(
    call: ApiRequest<Caller, Q, B>,
    context: &ViewContext,
    committed: Committed<TokenRecord>,
) -> Result<ChangedTokenView, ApiError> {
    let (record, receipt) = call.settle(committed).await;
    Ok(Changed { view: context.view(&record)?, receipt })
}

fn parse_expiry(text: &str) -> Result<Expiry, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(format!("expired_at: {error}")))
}
