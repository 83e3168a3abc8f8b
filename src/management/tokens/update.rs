//! Changing a token.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ChangedTokenView, ViewContext, changed, parse_expiry};
use crate::{
    management::{
        caller::Caller,
        error::ApiError,
        openapi::Empty,
        operation::{ApiRequest, given},
    },
    service::{
        lookup,
        tokens::{self, Expiry, UpdateToken},
    },
};

/// What is not given stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedToken {
    name: Option<String>,
    description: Option<String>,
    /// As when a token is made.
    scopes: Option<Vec<String>>,
    /// A time, a date, a lifetime (`30d`) or `never`; null is `never`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    expired_at: Option<Option<String>>,
}

pub async fn update(call: ApiRequest<Caller, Empty, ChangedToken>) -> Result<ChangedTokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    let ChangedToken { name, description, scopes, expired_at } = &call.body;
    let expiry = match expired_at {
        None => None,
        Some(None) => Some(Expiry::Never),
        Some(Some(text)) => Some(parse_expiry(text)?),
    };
    let update = UpdateToken {
        name: name.clone(),
        description: description.clone(),
        scopes: scopes.clone(),
        expiry,
        // Only what is given is written, so nothing that others have changed meanwhile is lost.
        seen: None,
    };
    let context = ViewContext::read(&call, [record.owner]).await?;
    let updated = tokens::update(&call.context(), record.uid, update).await?;
    changed(call, &context, updated).await
}
