//! How often tokens and Deployments are used, as it is counted, stored and shown.

use std::{fmt, ops::AddAssign, time::Duration};

use super::{
    budget::{Budget, Measure},
    timestamp::{DAY, Timestamp},
    token::TokenUid,
};

/// What one token was used for since its uses were last written to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    pub uid: TokenUid,
    /// When the last of these requests was let through.
    pub at: Timestamp,
    /// Requests that were let through.
    pub requests: u64,
}

/// Days since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// Requests of one token on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyUse {
    pub day: Day,
    pub requests: u64,
}

/// The sum of one metric over a minute, or over several minutes of which `minute` is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Minutes since 1970-01-01, UTC.
    pub minute: i64,
    pub metric: String,
    /// A Deployment's name, a token's uid, or empty.
    pub subject: String,
    pub total: u64,
}

/// Hours since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i32);

/// What one token has used of one Deployment in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourlyUse {
    /// In which the requests have ended.
    pub hour: Hour,
    /// `None`: the Deployment is public, and asks for no token.
    pub token: Option<TokenUid>,
    /// Its name. Empty: the gateway has refused the token before any Deployment was open to it.
    pub deployment: String,
    pub used: Used,
}

/// What was used, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that were let through to the Deployment.
    pub requests: u64,
    /// Requests that the gateway has answered in its place.
    pub refused: u64,
    /// Of bodies.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// How long upstreams were busy with the requests, one after the other.
    pub upstream: Duration,
    /// Events of `text/event-stream` responses.
    pub events: u64,
    /// Tokens of language models that the service says the requests have cost.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.refused += more.refused;
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
        self.upstream = self.upstream.saturating_add(more.upstream);
        self.events += more.events;
        self.prompt_tokens = self.prompt_tokens.saturating_add(more.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(more.completion_tokens);
    }
}

impl Used {
    /// How much that is of what the budget counts, in its measure.
    pub fn amount(&self, of: Measure) -> f64 {
        match of {
            Measure::Requests => self.requests as f64,
            Measure::UpstreamSeconds => self.upstream.as_secs_f64(),
            Measure::LlmTokens => self.prompt_tokens.saturating_add(self.completion_tokens) as f64,
        }
    }

    /// Which part of the budget that is: 1 is all of it.
    pub fn part(&self, budget: &Budget) -> f64 {
        self.amount(budget.of) / budget.amount.get() as f64
    }
}

impl Hour {
    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.0) * HOUR_MILLIS)
    }
}

impl From<Timestamp> for Hour {
    fn from(at: Timestamp) -> Self {
        Self(i32::try_from(at.as_millis().div_euclid(HOUR_MILLIS)).unwrap_or(i32::MAX))
    }
}

const HOUR_MILLIS: i64 = 60 * 60 * 1000;
const DAY_MILLIS: i64 = DAY.as_millis() as i64;

impl fmt::Display for Day {
    /// `2026-12-24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = Timestamp::from_millis(i64::from(self.0) * DAY_MILLIS).to_string();
        f.write_str(midnight.split('T').next().unwrap_or_default())
    }
}

impl From<Timestamp> for Day {
    fn from(at: Timestamp) -> Self {
        Self(i32::try_from(at.as_millis().div_euclid(DAY_MILLIS)).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_counts_its_own() {
        let used = Used {
            requests: 5,
            refused: 100,
            upstream: Duration::from_millis(2500),
            prompt_tokens: 3,
            completion_tokens: 4,
            ..Used::default()
        };
        let part = |text: &str| used.part(&text.parse().unwrap());
        assert_eq!(part("10 requests/day"), 0.5);
        assert_eq!(part("10 upstream_seconds/day"), 0.25);
        assert_eq!(part("7 llm_tokens/month"), 1.0);
    }
}
