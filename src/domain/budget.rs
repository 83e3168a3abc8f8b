//! How much may be used in a day or a month.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, Time};

use super::{
    as_text::as_text,
    timestamp::{DAY, Timestamp},
};

/// So much in each day or month of UTC: `100000 requests/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Budget {
    pub amount: NonZeroU64,
    pub of: Measure,
    pub per: Period,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Those that were let through.
    Requests,
    /// For how long upstreams were busy.
    UpstreamSeconds,
    /// Of language models, as services say: of prompts and completions together.
    LlmTokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Day,
    Month,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a budget; expected AMOUNT requests, upstream_seconds or llm_tokens per day or month, for example \
     100000 requests/day"
)]
pub struct NotABudget(String);

/// At which part of a budget somebody should know.
pub const NEARLY: f64 = 0.8;

/// Beyond this nothing adds up.
const MOST: u64 = 1 << 53;

const MEASURES: [(&str, Measure); 3] = [
    ("requests", Measure::Requests),
    ("upstream_seconds", Measure::UpstreamSeconds),
    ("llm_tokens", Measure::LlmTokens),
];
const PERIODS: [(&str, Period); 2] = [("day", Period::Day), ("month", Period::Month)];

impl Period {
    /// The first moment of the one that `at` is in, UTC.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let day = OffsetDateTime::from(at).replace_time(Time::MIDNIGHT);
        match self {
            Self::Day => day.into(),
            // Every month has a first.
            Self::Month => day.replace_day(1).unwrap_or(day).into(),
        }
    }

    /// The first moment of the next.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let longest = match self {
            Self::Day => DAY,
            Self::Month => 31 * DAY,
        };
        self.start(self.start(at).saturating_add(longest))
    }

    /// Of the one that `at` is in.
    pub fn length(self, at: Timestamp) -> Duration {
        self.end(at).since(self.start(at))
    }

    pub fn longest(self) -> Duration {
        let days = match self {
            Self::Day => 1,
            Self::Month => 31,
        };
        Duration::from_secs(days * 24 * 60 * 60)
    }

    pub fn as_str(self) -> &'static str {
        PERIODS[self as usize].0
    }
}

impl Measure {
    pub fn as_str(self) -> &'static str {
        MEASURES[self as usize].0
    }
}

impl FromStr for Budget {
    type Err = NotABudget;

    fn from_str(text: &str) -> Result<Self, NotABudget> {
        let read = || {
            let (amount, rest) = text.trim().split_once(' ')?;
            let (of, per) = rest.split_once('/')?;
            let (_, of) = MEASURES.into_iter().find(|(name, _)| *name == of.trim())?;
            let (_, per) = PERIODS.into_iter().find(|(name, _)| *name == per.trim())?;
            let amount = amount.parse::<NonZeroU64>().ok().filter(|amount| amount.get() <= MOST)?;
            Some(Self { amount, of, per })
        };
        read().ok_or_else(|| NotABudget(text.to_owned()))
    }
}

as_text!(Budget);

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.amount, self.of.as_str(), self.per.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_reads_back() {
        for text in ["1 requests/day", "3600 upstream_seconds/month", "9007199254740992 llm_tokens/day"] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "1",
            "requests/day",
            "0 requests/day",
            "-1 requests/day",
            "1 requests",
            "1 requests/week",
            "1 bytes/day",
            "1.5 requests/day",
            "9007199254740993 requests/day",
            "1 requests/day/day",
        ] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }

    #[test]
    fn periods_are_those_of_utc() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        for (moment, period, start, end) in [
            ("2026-12-24T18:00:00Z", Period::Day, "2026-12-24", "2026-12-25"),
            ("2026-12-24T00:00:00Z", Period::Day, "2026-12-24", "2026-12-25"),
            ("2026-12-31T23:59:59Z", Period::Month, "2026-12-01", "2027-01-01"),
            ("2028-02-29T12:00:00Z", Period::Month, "2028-02-01", "2028-03-01"),
            ("2026-02-01T00:00:00Z", Period::Month, "2026-02-01", "2026-03-01"),
        ] {
            assert_eq!((period.start(at(moment)), period.end(at(moment))), (at(start), at(end)), "{moment}");
        }
        assert_eq!(Period::Month.length(at("2026-02-10")), 28 * DAY);
    }
}
