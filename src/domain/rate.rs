//! How often something may be done.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    as_text::as_text,
    units::{format_duration, parse_duration},
};

/// So many requests in each period: `600/1m`. All of them may come at once; they are given back evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    pub requests: NonZeroU32,
    pub period: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rate; expected REQUESTS/PERIOD of 1 s to 1 day, for example 600/1m")]
pub struct NotARate(String);

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Rate {
    /// After which time one more is given back.
    pub fn interval(self) -> Duration {
        self.period / self.requests.get()
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let read = || {
            let (requests, period) = text.split_once('/')?;
            let period = parse_duration(period).ok().filter(|period| (SHORTEST..=LONGEST).contains(period))?;
            Some(Self { requests: requests.parse().ok()?, period })
        };
        read().ok_or_else(|| NotARate(text.to_owned()))
    }
}

as_text!(Rate);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, format_duration(self.period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back() {
        for text in ["1/1s", "600/1m", "1000/1h", "5/1d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1/", "/1m", "0/1m", "-1/1m", "1/0s", "1/500ms", "1/2d", "1/1m/1m", "x/1m", "1 / 1m"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
