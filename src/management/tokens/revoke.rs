//! Revoking a token, which `bentoml api-token delete` calls deleting.

use super::{ChangedTokenView, changed};
use crate::{
    management::{caller::Caller, error::ApiError, operation::ApiRequest},
    service::{lookup, tokens},
};

pub async fn revoke(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    changed(&call, tokens::revoke(&call.context(), record.uid).await?).await
}

/// The token that was presented: its holder may end it.
pub async fn revoke_own(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    changed(&call, tokens::revoke(&call.context(), call.caller.token().uid).await?).await
}
