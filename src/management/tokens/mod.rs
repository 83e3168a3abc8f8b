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

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    caller::Caller,
    error::ApiError,
    operation::ApiRequest,
    views::{self, TokenView},
};
use crate::{
    domain::{
        timestamp::Timestamp,
        token::TokenRecord,
        user::{User, UserId},
    },
    service::{self, receipt::Receipt, tokens::Expiry},
    store::Organization,
};

/// A token that has changed, and how far the change has come.
#[derive(Serialize, JsonSchema)]
pub struct ChangedTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// Null: it could not be learned; the change is made all the same.
    receipt: Option<Receipt>,
}

/// What every token is shown with.
struct ViewContext {
    owners: HashMap<UserId, User>,
    organization: Organization,
    now: Timestamp,
}

impl ViewContext {
    async fn read<Q, B>(call: &ApiRequest<Caller, Q, B>) -> Result<Self, ApiError> {
        let owners = call.store.list_users().await?.into_iter().map(|user| (user.id, user)).collect();
        Ok(Self { owners, organization: super::organization(&call.store).await?, now: call.now })
    }

    /// # Errors
    /// 404 if its owner is not in the store, which the store rules out.
    fn view(&self, record: &TokenRecord) -> Result<TokenView, ApiError> {
        let owner = self.owners.get(&record.owner);
        let owner = owner.ok_or(service::Error::TokenNotFound(record.uid))?;
        Ok(views::token(record, owner, &self.organization, self.now))
    }
}

async fn changed<Q, B>(call: &ApiRequest<Caller, Q, B>, record: &TokenRecord) -> Result<ChangedTokenView, ApiError> {
    let token = ViewContext::read(call).await?.view(record)?;
    let receipt = call.management.gateway.wait_until_applied(&call.store).await;
    Ok(ChangedTokenView { token, receipt })
}

fn parse_expiry(text: &str) -> Result<Expiry, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(format!("expired_at: {error}")))
}
