//! Revoking a token, which `bentoml api-token delete` calls deleting.

use super::{ChangedTokenView, ViewContext, changed};
use crate::{
    domain::token::TokenRecord,
    management::{caller::Caller, error::ApiError, operation::ApiRequest},
    service::{lookup, tokens},
};

pub async fn revoke(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    end(call, &record).await
}

/// The token that was presented: its holder may end it.
pub async fn revoke_own(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let own = call.caller.token().clone();
    end(call, &own).await
}

async fn end(call: ApiRequest<Caller>, record: &TokenRecord) -> Result<ChangedTokenView, ApiError> {
    let context = ViewContext::read(&call, [record.owner]).await?;
    let revoked = tokens::revoke(&call.context(), record.uid).await?;
    changed(call, &context, revoked).await
}
