//! Durations and sizes as people write them.

use std::time::Duration;

use super::timestamp::DAY;

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `200ms`, `30s`, `10m`, `24h`, `90d`, `2w`, also several in a row (`1h 30m`). A number without a unit is refused.
///
/// # Errors
/// What is wrong and which form is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| "is not a duration; expected a number with a unit, for example \"30s\" or \"90d\"".to_owned())
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
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number.trim_end(), *bytes)))
        .unwrap_or((text, 1));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|_| digits)
        .ok_or_else(|| "is not a size; expected for example \"64 KiB\", \"10 MiB\" or a number of bytes".to_owned())
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
            assert!(parse_duration(text).is_err(), "{text:?}");
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
        for text in ["", "KiB", "64 KB", "64k", "-1", "+1", "1.5 MiB", "99999999999 GiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }
}
