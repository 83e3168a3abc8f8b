//! Giving a token a new secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ViewContext;
use crate::{
    domain::units::parse_duration,
    management::{caller::Caller, error::ApiError, openapi::Empty, operation::ApiRequest, views::TokenView},
    service::{lookup, receipt::Receipt, tokens},
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old secret keeps working, for example `24h`; `0s` ends it now. Null: `tokens.rotation_overlap`.
    overlap: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct RotatedTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// Until when the old secret works.
    old_until: String,
    /// Null: the gateway could not learn it. The change was made.
    receipt: Option<Receipt>,
}

pub async fn rotate(call: ApiRequest<Caller, Empty, Rotation>) -> Result<RotatedTokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    let overlap = call.body.overlap.as_deref().map(parse_duration).transpose();
    let overlap = overlap.map_err(|error| ApiError::invalid(format!("overlap: {error}")))?;
    let context = ViewContext::read(&call, [record.owner]).await?;
    let rotated = tokens::rotate(&call.context(), record.uid, overlap).await?;
    let ((issued, old_until), receipt) = call.settle(rotated).await;
    let mut token = context.view(&issued.record)?;
    token.token = Some(issued.text.expose().to_owned());
    Ok(RotatedTokenView { token, old_until: old_until.to_string(), receipt })
}
