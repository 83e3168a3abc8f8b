//! What a response says of how often its token may ask.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{domain::rate::Rate, index::rate::Left};

/// What a token may still do, in the fields of the HTTP working group's draft (draft-ietf-httpapi-ratelimit-headers-10). The
/// service may say more of its own.
pub fn say_rate(headers: &mut HeaderMap, left: &Left) {
    let Rate { requests, period } = left.rate;
    let policy = format!("\"token\";q={requests};w={}", whole_seconds(period));
    let now = format!("\"token\";r={};t={}", left.requests, whole_seconds(left.wait));
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", now)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}

/// So many that the time is over then.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
