//! A line of the access log as JSON, written by hand: it is written for every request, and reading back its form from
//! `Serialize` took a fifth of what a refusal costs.

use std::time::Duration;

use uuid::fmt::Hyphenated;

use super::{line::Line, redact::without_tokens};
use crate::domain::timestamp::Timestamp;

/// Writes lines, most of which are of the same second as the one before.
#[derive(Default)]
pub struct JsonLines {
    /// `None`: none was written yet.
    second: Option<i64>,
    /// RFC 3339 up to that second.
    date: String,
    number: itoa::Buffer,
}

/// A key with the punctuation around it.
macro_rules! key {
    ($key:literal) => {
        concat!(",\"", $key, "\":")
    };
}

/// A line that is being written.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    number: &'a mut itoa::Buffer,
}

impl JsonLines {
    /// `docs/request-log.md` explains every member. `text` holds the line's texts.
    pub fn write(&mut self, line: &Line, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"timestamp\":\"");
        self.timestamp(line.at, out);
        out.extend_from_slice(b"\",\"message\":\"request\"");
        let mut members = Members { out, number: &mut self.number };
        members.plain(key!("request_id"), line.request_id.of(text));
        members.plain(key!("client"), line.client.of(text));
        let method = line.method.as_ref().map(|method| without_tokens(method.as_str()));
        members.plain_or_null(key!("method"), method.as_deref());
        members.text(key!("host"), line.host.of(text));
        members.text(key!("path"), &without_tokens(line.path.of(text)));
        members.plain_or_null(key!("deployment"), Some(line.deployment.of(text)).filter(|name| !name.is_empty()));
        match line.status {
            Some(status) => members.number(key!("status"), status.into()),
            None => members.null(key!("status")),
        }
        let mut uid = [0; Hyphenated::LENGTH];
        members.plain_or_null(key!("token"), line.token.map(|token| &*token.0.hyphenated().encode_lower(&mut uid)));
        members.plain(key!("reason"), line.reason);
        members.plain_or_null(key!("let_through"), Some(line.let_through).filter(|code| !code.is_empty()));
        match line.cause.of(text) {
            "" => members.null(key!("cause")),
            cause => members.text(key!("cause"), cause),
        }
        members.number(key!("bytes_in"), line.bytes_in);
        members.number(key!("bytes_out"), line.bytes_out);
        members.milliseconds_or_null(key!("queued_ms"), line.queued);
        members.milliseconds_or_null(key!("first_byte_ms"), line.first_byte);
        members.milliseconds(key!("total_ms"), line.total);
        members.plain(key!("end"), line.outcome.as_str());
        out.extend_from_slice(b"}\n");
    }

    fn timestamp(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let second = at.as_millis().div_euclid(1000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.date = at.to_string();
            self.date.truncate(self.date.len() - ".000Z".len());
        }
        out.extend_from_slice(self.date.as_bytes());
        thousandths(at.as_millis().rem_euclid(1000) as u16, out);
        out.push(b'Z');
    }
}

impl Members<'_> {
    /// `key`: from [`key!`], so that it is written in one piece.
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(key.as_bytes());
    }

    fn null(&mut self, key: &str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    /// Any text.
    fn text(&mut self, key: &str, value: &str) {
        if is_plain(value) {
            return self.plain(key, value);
        }
        self.key(key);
        // Into memory, and a text: it cannot fail.
        let _ = serde_json::to_writer(&mut *self.out, value);
    }

    /// A text of characters that JSON takes as they are.
    fn plain(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    fn plain_or_null(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.plain(key, value),
            None => self.null(key),
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(self.number.format(value).as_bytes());
    }

    fn milliseconds_or_null(&mut self, key: &str, value: Option<Duration>) {
        match value {
            Some(value) => self.milliseconds(key, value),
            None => self.null(key),
        }
    }

    /// With microseconds behind the point.
    fn milliseconds(&mut self, key: &str, value: Duration) {
        let micros = value.as_micros();
        self.number(key, u64::try_from(micros / 1000).unwrap_or(u64::MAX));
        thousandths((micros % 1000) as u16, self.out);
    }
}

/// Whether JSON takes all of its characters as they are.
fn is_plain(text: &str) -> bool {
    // Every byte is looked at, for which the compiler takes many at once.
    text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// Writes the digits behind a point, three of them.
fn thousandths(number: u16, out: &mut Vec<u8>) {
    let digit = |place: u16| b'0' + (number / place % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use http::Method;

    use super::*;
    use crate::{
        domain::token::TokenUid,
        telemetry::line::{Metered, RequestOutcome, Span},
    };

    fn written(lines: &mut JsonLines, line: &Line, text: &str) -> Value {
        let mut out = Vec::new();
        lines.write(line, text, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", out.escape_ascii()))
    }

    #[test]
    fn every_member() {
        let text = "idpa\"t\\h\u{1}ü\u{2028}hostdeploymentcause2001:db8::1";
        let path = Span::new(2, 14);
        let line = Line {
            at: Timestamp::from_millis(1_700_000_000_007),
            client: Span::new(33, 44),
            method: Some(Method::POST),
            request_id: Span::new(0, 2),
            path,
            host: Span::new(14, 18),
            deployment: Span::new(18, 28),
            cause: Span::new(28, 33),
            token: Some(TokenUid(Uuid::from_u128(1))),
            probe: false,
            status: Some(200),
            reason: "r",
            let_through: "token_invalid",
            bytes_in: 0,
            bytes_out: u64::MAX,
            queued: Some(Duration::from_micros(1_500)),
            first_byte: Some(Duration::from_micros(5)),
            total: Duration::from_millis(61_002),
            outcome: RequestOutcome::Complete,
            // What is in no line.
            upstream: None,
            metered: Metered::default(),
        };
        let mut lines = JsonLines::default();
        let expected = json!({
            "timestamp": "2023-11-14T22:13:20.007Z", "message": "request", "request_id": "id", "client": "2001:db8::1",
            "method": "POST", "host": "host", "path": path.of(text), "deployment": "deployment", "status": 200,
            "token": "00000000-0000-0000-0000-000000000001", "reason": "r", "let_through": "token_invalid", "cause": "cause",
            "bytes_in": 0,
            "bytes_out": u64::MAX, "queued_ms": 1.5, "first_byte_ms": 0.005, "total_ms": 61002.0, "end": "complete",
        });
        assert_eq!(written(&mut lines, &line, text), expected);
        // The next second, and before 1970.
        for (millis, expected) in [(1_700_000_001_000, "2023-11-14T22:13:21.000Z"), (-1, "1969-12-31T23:59:59.999Z")] {
            let line = Line { at: Timestamp::from_millis(millis), ..Line::default() };
            assert_eq!(written(&mut lines, &line, "")["timestamp"], expected);
        }
    }

    #[test]
    fn what_is_not_known_is_null() {
        let line = written(&mut JsonLines::default(), &Line::default(), "");
        for member in ["method", "deployment", "status", "token", "let_through", "cause", "queued_ms", "first_byte_ms"]
        {
            assert_eq!(line[member], Value::Null, "{member}");
        }
        assert_eq!((&line["host"], &line["end"]), (&json!(""), &json!("caller_left")));
    }
}
