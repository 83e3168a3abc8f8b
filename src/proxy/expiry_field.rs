//! What a response says of the end of its caller's token.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::permit::Permit;
use crate::domain::timestamp::Timestamp;

static TOKEN_EXPIRES: HeaderName = HeaderName::from_static("x-bento-gateway-token-expires");

/// Says when the token ends, from `notice` before it on. `now`: when the request came. `notice` of `None`: never.
pub fn say_end(headers: &mut HeaderMap, permit: &Permit, notice: Option<Duration>, now: Timestamp) {
    if let (Some(notice), Some(end)) = (notice, permit.token_ends())
        && end.since(now) <= notice
        && let Ok(end) = HeaderValue::try_from(end.to_string())
    {
        headers.insert(&TOKEN_EXPIRES, end);
    }
}
