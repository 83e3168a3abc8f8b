//! How often tokens and Deployments are used, as it is counted, stored and shown.

use std::fmt;

use super::{
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
