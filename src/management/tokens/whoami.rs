//! What the holder of any token may know of it.

use schemars::JsonSchema;
use serde::Serialize;

use super::ViewContext;
use crate::management::{caller::Caller, error::ApiError, operation::ApiRequest, views::TokenView};

/// The token that was presented, and the role of its owner.
#[derive(Serialize, JsonSchema)]
pub struct WhoamiView {
    token: TokenView,
    /// `admin` or `member`.
    role: &'static str,
}

pub async fn whoami(call: ApiRequest<Caller>) -> Result<WhoamiView, ApiError> {
    let token = ViewContext::read(&call, [call.caller.user().id]).await?.view(call.caller.token())?;
    Ok(WhoamiView { token, role: call.caller.user().role.as_str() })
}
