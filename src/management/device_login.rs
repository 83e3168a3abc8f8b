//! `bentoml cloud login`: who the token is, and the browser's way to one.
//!
//! The command line asks for a code, opens `/api_tokens?code=…` and polls once a second, for ever. Until a person has
//! decided, it gets 404. The client knows no answer for "denied", "expired" or "too many", but an empty token ends it
//! properly: the client tries the token, gets 401 and reports bad credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    caller::{Anonymous, Caller},
    error::ApiError,
    operation::ApiRequest,
    views::{self, OrganizationView, UserView},
};
use crate::{
    domain::code::Purpose,
    service::device_login::{self, Claim},
};

#[derive(Serialize, JsonSchema)]
pub struct CodeView {
    /// A secret, which the client puts into the address of the page and of the polls.
    code: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct CodeQuery {
    /// The code that the login began with.
    code: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct ClaimView {
    /// Empty: the login was denied, has expired, was claimed before, or never was.
    token: String,
}

pub async fn current(call: ApiRequest<Caller>) -> Result<UserView, ApiError> {
    Ok(views::user(call.caller.user()))
}

pub async fn current_organization(call: ApiRequest<Caller>) -> Result<OrganizationView, ApiError> {
    Ok(views::organization(&super::organization(&call.store).await?))
}

pub async fn code(call: ApiRequest<Anonymous>) -> Result<CodeView, ApiError> {
    call.management.limits.codes.allow(call.network())?;
    let lifetime = call.config().management.login_code_lifetime;
    let code = device_login::begin(&call.context(), call.address.to_string(), call.client(), lifetime).await?;
    Ok(CodeView { code: code.expose() })
}

pub async fn claim(call: ApiRequest<Anonymous, CodeQuery>) -> Result<ClaimView, ApiError> {
    call.management.limits.polls.allow(call.network())?;
    let asked = call.query.code.as_deref().unwrap_or_default();
    // Where no code was given, the client asks with the code of that error.
    let Some(code) = call.store.codes().open(Purpose::DeviceLogin, asked) else { return Ok(over()) };
    match device_login::claim(&call.context(), &code).await? {
        Claim::Waiting => Err(ApiError::not_found("nobody has approved this code yet")),
        Claim::Over => Ok(over()),
        Claim::Issued(issued) => {
            // The client uses the token at once, perhaps at another replica.
            let (issued, _) = call.settle(*issued).await;
            Ok(ClaimView { token: issued.text.expose().to_owned() })
        }
    }
}

/// What ends a login that will never get a token.
pub fn over() -> ClaimView {
    ClaimView { token: String::new() }
}
