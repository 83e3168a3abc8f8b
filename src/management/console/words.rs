//! Times, numbers and errors, as pages say them.

use std::time::Duration;

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{domain::timestamp::Timestamp, service::receipt::Receipt};

const EXACT: &[BorrowedFormatItem<'_>] =
    format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute] UTC");

/// As a sentence of its own.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    first.chain(letters).collect::<String>() + end
}

/// A moment, for people: what stands there, and the exact time.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// `3 minutes ago`, `in 90 days`.
    pub words: String,
    /// `24 Nov 2026, 10:34 UTC`.
    pub exact: String,
    /// RFC 3339.
    pub machine: String,
}

impl Moment {
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        let words = if at > now {
            format!("in {}", span(at.since(now)))
        } else {
            match now.since(at) {
                short if short < Duration::from_secs(60) => "just now".to_owned(),
                long => format!("{} ago", span(long)),
            }
        };
        Self { words, exact: exact(at), machine: at.to_string() }
    }
}

pub fn exact(at: Timestamp) -> String {
    OffsetDateTime::from(at).format(EXACT).unwrap_or_default()
}

/// `2026-11-24`, for a field of a form.
pub fn date(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// The largest unit that fits, rounded to the nearest.
fn span(duration: Duration) -> String {
    let minutes = (duration.as_secs() + 30) / 60;
    let (number, unit) = match minutes {
        0..=59 => (minutes.max(1), "minute"),
        60..=2159 => ((minutes + 30) / 60, "hour"),
        2160..=175_199 => ((minutes + 720) / 1440, "day"),
        _ => ((minutes + 21_900) / 43_800, "month"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// `1 234 567`, with narrow spaces.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// How far a change has come.
pub fn receipt_text(receipt: Option<&Receipt>) -> String {
    let Some(Receipt { replicas, acknowledged, took_ms, .. }) = receipt else {
        return "It could not be confirmed that every gateway has applied this change.".to_owned();
    };
    let gateways = if *replicas == 1 { "gateway" } else { "gateways" };
    if acknowledged == replicas {
        format!("Applied on {replicas} {gateways} within {took_ms} ms.")
    } else {
        format!("Applied on {acknowledged} of {replicas} {gateways} within {took_ms} ms.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::DAY;

    #[test]
    fn times_and_numbers_in_words() {
        let now = Timestamp::parse("2026-11-24T10:34:56Z").unwrap();
        let day = DAY.as_secs() as i64;
        let at = |seconds: i64| Moment::new(Timestamp::from_millis(now.as_millis() + seconds * 1000), now).words;
        assert_eq!(at(-5), "just now");
        assert_eq!(at(-100), "2 minutes ago");
        assert_eq!(at(-90 * 60), "2 hours ago");
        assert_eq!(at(90 * day), "in 90 days");
        assert_eq!(at(day), "in 24 hours");
        assert_eq!(at(365 * day), "in 12 months");
        assert_eq!(exact(now), "24 Nov 2026, 10:34 UTC");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(12), "12");
        assert_eq!(sentence("there is no such user"), "There is no such user.");
    }
}
