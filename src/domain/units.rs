//! Durations and sizes as people write them, and how large one may be that is read from anywhere.

use std::time::Duration;

use super::timestamp::DAY;

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The longest duration that is read, 100 years of 365.25 days: beyond what anybody means, and far below where adding it to
/// a point in time would overflow.
pub const LONGEST: Duration = Duration::from_secs(36_525 * DAY.as_secs());

/// The largest size that is read, 1 PiB: below 2^53, up to which every reader of JSON has whole numbers.
pub const LARGEST: u64 = 1 << 50;

/// Why a duration is refused. The text continues the name of what it is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    #[error("is not a duration; expected a number with a unit, for example \"30s\" or \"90d\"")]
    Form,
    #[error("is too long; the longest is {}, which are 100 years", format_duration(LONGEST))]
    TooLong,
}

/// Why a size is refused, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    #[error("is not a size; expected for example \"64 KiB\", \"10 MiB\" or a number of bytes")]
    Form,
    #[error("is too large; the largest is {LARGEST} bytes, which are 1 PiB")]
    TooLarge,
}

/// `200ms`, `30s`, `10m`, `24h`, `90d`, `2w`, also several in a row (`1h 30m`). A number without a unit is refused.
///
/// # Errors
/// What is wrong and which form is expected.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) => checked_duration(duration),
        Err(humantime::DurationError::NumberOverflow) => Err(InvalidDuration::TooLong),
        Err(_) => Err(InvalidDuration::Form),
    }
}

/// One that was not read from a text.
///
/// # Errors
/// [`InvalidDuration::TooLong`].
pub fn checked_duration(duration: Duration) -> Result<Duration, InvalidDuration> {
    if duration > LONGEST { Err(InvalidDuration::TooLong) } else { Ok(duration) }
}

/// The shortest text that [`parse_duration`] reads back.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 || seconds == 0 {
        return humantime::format_duration(duration).to_string();
    }
    for (unit, length) in [("d", DAY.as_secs()), ("h", 3_600), ("m", 60)] {
        if seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// Bytes: `65536`, `64 KiB`, `10MiB`, `1 GiB`.
///
/// # Errors
/// What is wrong and which form is expected.
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number.trim_end(), *bytes)))
        .unwrap_or((text, 1));
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidSize::Form);
    }
    // Digits that make no `u64` are too many.
    checked_size(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit))
}

/// One that was not read from a text.
///
/// # Errors
/// [`InvalidSize::TooLarge`].
pub fn checked_size(bytes: u64) -> Result<u64, InvalidSize> {
    if bytes > LARGEST { Err(InvalidSize::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("30s", 30), ("10m", 600), ("24h", DAY.as_secs()), ("90d", 7_776_000), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        for text in ["", "30", "-1s", "s", "ten minutes"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::Form), "{text:?}");
        }
    }

    #[test]
    fn no_duration_or_size_is_so_large_that_adding_overflows() {
        for text in ["36525d", "100y", "99y 300d", "876600h"] {
            assert!(parse_duration(text).unwrap() <= LONGEST, "{text}");
        }
        for text in ["36525d 1ms", "101y", "300000000000y", "18446744073709551615s", "99999999999999999999d"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::TooLong), "{text}");
        }
        let now = std::time::Instant::now();
        assert!(now.checked_add(LONGEST).and_then(|later| later.checked_add(LONGEST)).is_some());
        assert_eq!(parse_size("1048576 GiB"), Ok(LARGEST));
        for text in ["1048577 GiB", "1125899906842625", "18446744073709551616", "99999999999 GiB"] {
            assert_eq!(parse_size(text), Err(InvalidSize::TooLarge), "{text}");
        }
    }

    #[test]
    fn durations_read_back() {
        for (seconds, text) in
            [(1, "1s"), (90, "90s"), (600, "10m"), (DAY.as_secs(), "1d"), (7_776_000, "90d"), (0, "0s")]
        {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(format_duration(Duration::from_millis(200)), "200ms");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("65536", 65_536), ("64 KiB", 65_536), ("10MiB", 10 << 20), ("7 B", 7)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "64 KB", "64k", "-1", "+1", "1.5 MiB"] {
            assert_eq!(parse_size(text), Err(InvalidSize::Form), "{text:?}");
        }
    }
}
