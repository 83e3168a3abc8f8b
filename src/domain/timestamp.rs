//! A point in time: UTC in whole milliseconds, which both stores give back exactly as it was stored.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, Time,
    format_description::well_known::Rfc3339,
    macros::{datetime, format_description},
};

/// 24 hours, which is every day in UTC.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a time; expected a date (2026-12-24) or a time (2026-12-24T18:00:00Z)")]
pub struct InvalidTime;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest expiry of a token: the end of the year 9999, which is RFC 3339's limit.
    pub const MAX: Self = Self(datetime!(9999-12-31 23:59:59.999 UTC).unix_timestamp() * 1000 + 999);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 (`2026-12-24T18:00:00Z`), the same with a space, without seconds' fraction or without a zone,
    /// or a bare date (`2026-12-24`, its first moment). A text without a zone is UTC. `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let date = format_description!("[year]-[month]-[day]");
        let seconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        let fraction = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]");
        let text = text.trim().replacen(' ', "T", 1);
        OffsetDateTime::parse(&text, &Rfc3339)
            .ok()
            .or_else(|| PrimitiveDateTime::parse(&text, fraction).ok().map(PrimitiveDateTime::assume_utc))
            .or_else(|| PrimitiveDateTime::parse(&text, seconds).ok().map(PrimitiveDateTime::assume_utc))
            .or_else(|| Date::parse(&text, date).ok().map(|day| day.with_time(Time::MIDNIGHT).assume_utc()))
            .map(Self::from)
    }

    /// `self` moved by `duration`, or [`Timestamp::MAX`] where that lies beyond it.
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis)).min(Self::MAX)
    }

    /// `self` moved back by `duration`.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// The time from `earlier` to `self`; zero where `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

// === conversions ===

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        Self::parse(text).ok_or(InvalidTime)
    }
}

impl From<OffsetDateTime> for Timestamp {
    /// Truncates to whole milliseconds.
    fn from(at: OffsetDateTime) -> Self {
        Self(at.unix_timestamp() * 1000 + i64::from(at.millisecond()))
    }
}

impl From<Timestamp> for OffsetDateTime {
    /// Times outside the years −9999 to 9999, which no rule produces, become the epoch.
    fn from(at: Timestamp) -> Self {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-23T15:22:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(*self);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_people_write() {
        let expected = Timestamp::from_millis(1_798_135_200_000);
        for text in
            ["2026-12-24T18:00:00Z", "2026-12-24 18:00:00", "2026-12-24T19:00:00+01:00", "2026-12-24 18:00:00.000000"]
        {
            assert_eq!(Timestamp::parse(text), Some(expected), "{text}");
        }
        assert_eq!(Timestamp::parse("2026-12-24").unwrap().to_string(), "2026-12-24T00:00:00.000Z");
        for text in ["", "tomorrow", "24.12.2026", "2026-13-01", "2026-12-24T25:00:00Z"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        let at = Timestamp::from_millis(1_798_135_200_123);
        assert_eq!(at.to_string(), "2026-12-24T18:00:00.123Z");
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        assert_eq!(Timestamp::parse(&Timestamp::MAX.to_string()), Some(Timestamp::MAX));
    }

    #[test]
    fn never_leaves_its_range() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        let early = Timestamp::from_millis(5);
        assert_eq!(early.since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
