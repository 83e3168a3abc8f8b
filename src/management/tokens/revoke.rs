//! Revoking a token, which `bentoml api-token delete` calls deleting.

use super::{ChangedTokenView, ViewContext, changed};
use crate::{
    management::{caller::Caller, error::ApiError, operation::ApiRequest},
    service::{lookup, tokens},
};

pub async fn revoke(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    let context = ViewContext::read(&call).await?;
    changed(&call, &context, tokens::revoke(&call.context(), record.uid).await?).await
}

/// The token that was presented: its holder may end it.
pub async fn revoke_own(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let context = ViewContext::read(&call).await?;
    changed(&call, &context, tokens::revoke(&call.context(), call.caller.token().uid).await?).await
}
