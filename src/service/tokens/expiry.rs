//! Expired At: what is asked for, and what the configured lifetimes make of it.

use std::{str::FromStr, time::Duration};

use crate::{
    config::TokenConfig,
    domain::{
        timestamp::Timestamp,
        units::{InvalidDuration, format_duration, parse_duration},
    },
};

/// What a request says about the end of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing: the configured default.
    #[default]
    Default,
    Never,
    In(Duration),
    At(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpiry {
    #[error("{text:?} is not an expiry; expected a lifetime (30d, 12h, 2w), a date (2026-12-24), a time or never")]
    Form { text: String },
    #[error("the lifetime {text:?} {}; write never for a token that does not expire", InvalidDuration::TooLong)]
    TooLong { text: String },
}

/// Why an Expired At is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedExpiry {
    #[error("the token would expire at {at}, which is not after now, {now}")]
    Past { at: Timestamp, now: Timestamp },
    #[error("the token would live until {at}; tokens.max_lifetime ({}) ends at {latest}", format_duration(*max))]
    TooLate { at: Timestamp, latest: Timestamp, max: Duration },
    #[error("a token that never expires is not allowed; tokens.max_lifetime is {}", format_duration(*max))]
    Never { max: Duration },
}

impl Expiry {
    /// When a token made at `now` expires. `None`: never.
    ///
    /// # Errors
    /// [`RefusedExpiry`].
    pub fn resolve(self, now: Timestamp, config: &TokenConfig) -> Result<Option<Timestamp>, RefusedExpiry> {
        let at = match self {
            Self::Default => config.default_lifetime.map(|lifetime| now.saturating_add(lifetime)),
            Self::Never => None,
            Self::In(lifetime) => Some(now.saturating_add(lifetime)),
            Self::At(at) => Some(at),
        };
        match (at, config.max_lifetime) {
            (Some(at), _) if at <= now => Err(RefusedExpiry::Past { at, now }),
            (Some(at), Some(max)) if at > now.saturating_add(max) => {
                Err(RefusedExpiry::TooLate { at, latest: now.saturating_add(max), max })
            }
            (None, Some(max)) => Err(RefusedExpiry::Never { max }),
            (at, _) => Ok(at),
        }
    }
}

impl FromStr for Expiry {
    type Err = InvalidExpiry;

    fn from_str(text: &str) -> Result<Self, InvalidExpiry> {
        if text.trim().eq_ignore_ascii_case("never") {
            return Ok(Self::Never);
        }
        if let Some(at) = Timestamp::parse(text).filter(|at| *at <= Timestamp::MAX) {
            return Ok(Self::At(at));
        }
        parse_duration(text).map(Self::In).map_err(|invalid| match invalid {
            InvalidDuration::Form => InvalidExpiry::Form { text: text.to_owned() },
            InvalidDuration::TooLong => InvalidExpiry::TooLong { text: text.to_owned() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, load},
        domain::timestamp::DAY,
    };

    fn config(max: Option<Duration>) -> TokenConfig {
        TokenConfig { max_lifetime: max, ..load(&Sources::default()).unwrap().tokens }
    }

    #[test]
    fn the_forms_people_write() {
        for (text, expected) in [
            ("30d", Expiry::In(30 * DAY)),
            ("12h", Expiry::In(DAY / 2)),
            ("2w", Expiry::In(14 * DAY)),
            ("never", Expiry::Never),
            ("2026-12-24", Expiry::At(Timestamp::parse("2026-12-24T00:00:00Z").unwrap())),
            ("2026-12-24T18:00:00+01:00", Expiry::At(Timestamp::parse("2026-12-24T17:00:00Z").unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "tomorrow", "30", "-1d", "24.12.2026", "2026-02-30"] {
            assert!(matches!(text.parse::<Expiry>(), Err(InvalidExpiry::Form { .. })), "{text:?}");
        }
        for text in ["101y", "300000000000y"] {
            assert!(matches!(text.parse::<Expiry>(), Err(InvalidExpiry::TooLong { .. })), "{text:?}");
        }
    }

    #[test]
    fn what_the_lifetimes_make_of_it() {
        let now = Timestamp::parse("2026-11-23").unwrap();
        let (unbounded, bounded) = (config(None), config(Some(100 * DAY)));
        let day = |days: u32| Some(now.saturating_add(days * DAY));
        assert_eq!(Expiry::Default.resolve(now, &unbounded), Ok(day(90)));
        assert_eq!(Expiry::Never.resolve(now, &unbounded), Ok(None));
        assert_eq!(Expiry::In(100 * DAY).resolve(now, &bounded), Ok(day(100)));
        assert!(matches!(Expiry::In(101 * DAY).resolve(now, &bounded), Err(RefusedExpiry::TooLate { .. })));
        assert!(matches!(Expiry::Never.resolve(now, &bounded), Err(RefusedExpiry::Never { .. })));
        assert!(matches!(Expiry::In(Duration::ZERO).resolve(now, &unbounded), Err(RefusedExpiry::Past { .. })));
        let past = Expiry::At(Timestamp::parse("2026-11-22").unwrap()).resolve(now, &unbounded).unwrap_err();
        assert!(past.to_string().contains("2026-11-22T00:00:00.000Z") && past.to_string().contains("2026-11-23"));
    }
}
