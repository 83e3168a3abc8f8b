//! What a response says of how often its token may ask.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    domain::{budget::Measure, rate::Rate},
    index::{budgets::Exhausted, rate::Left},
};

/// What a token may still do, in the fields of the HTTP working group's draft (draft-ietf-httpapi-ratelimit-headers-10). The
/// service may say more of its own.
pub fn say_rate(headers: &mut HeaderMap, left: &Left) {
    let Rate { requests, period } = left.rate;
    say(headers, "token", requests.get().into(), period, left.requests.into(), left.wait);
}

/// That nothing is left of a budget. The draft has no unit for others than of requests, of which nothing is said.
pub fn say_budget(headers: &mut HeaderMap, exhausted: &Exhausted) {
    let Exhausted { budget, of_token, wait, period } = exhausted;
    if budget.of == Measure::Requests {
        let name = if *of_token { "token-budget" } else { "budget" };
        say(headers, name, budget.amount.get(), *period, 0, *wait);
    }
}

fn say(headers: &mut HeaderMap, name: &str, quota: u64, window: Duration, left: u64, wait: Duration) {
    let policy = format!("\"{name}\";q={quota};w={}", whole_seconds(window));
    let now = format!("\"{name}\";r={left};t={}", whole_seconds(wait));
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
