//! How an upstream fails, and why what it sent is no response, in words for the operator. They hold nothing of the response
//! but the beginning of a field's name.

use std::{fmt, io};

use http::{HeaderName, HeaderValue};

use super::TlsFault;
use crate::domain::token_text::{PREFIX, SESSION_PREFIX};

/// The upstream did not answer properly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFailure {
    #[error("the service cannot be reached")]
    /// `NotFound`: its name has no address.
    Connect(io::ErrorKind),
    #[error("no secure connection to the service can be made")]
    Tls(TlsFault),
    #[error("the service closed the connection without an answer")]
    Closed(Closed),
    #[error("the service answered with something that is not HTTP")]
    Malformed(Malformed),
}

/// How an upstream closed its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    BeforeResponse,
    WithinResponse,
    Reset,
    /// The connection has ended without TLS saying so: somebody may have cut what came.
    Unannounced,
}

impl UpstreamFailure {
    pub fn of_connect(error: &io::Error) -> Self {
        TlsFault::within(error).map_or_else(|| Self::Connect(error.kind()), Self::Tls)
    }

    /// Whether there is nobody, or nobody yet. What keeps the gateway from trying is none.
    pub fn is_absence(self) -> bool {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, NotFound,
            TimedOut,
        };
        matches!(
            self,
            Self::Connect(
                ConnectionRefused
                    | ConnectionReset
                    | ConnectionAborted
                    | HostUnreachable
                    | NetworkUnreachable
                    | TimedOut
                    | NotFound
            )
        )
    }

    pub fn of_read(error: &io::Error) -> Self {
        match TlsFault::within(error) {
            Some(fault) => Self::Tls(fault),
            // Only TLS calls an end an error.
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed(Closed::Unannounced),
            None => Self::Closed(Closed::Reset),
        }
    }
}

/// What is wrong with an upstream's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it does not begin with a status line of HTTP/1.1 or HTTP/1.0")]
    StatusLine,
    #[error("its status is not between 100 and 599")]
    Status,
    #[error("its head is larger than 128 KiB")]
    HeadTooLarge,
    #[error("more than 16 informational responses (1xx) came before it")]
    TooManyInformational,
    #[error("it has more than 128 fields")]
    TooManyFields,
    #[error("a field continues on a further line")]
    Fold,
    #[error("a line of its fields has no colon")]
    NoColon,
    #[error("the field name {0} has a character that no name may have")]
    FieldName(Excerpt),
    #[error("the value of the field {0} has a control character")]
    FieldValue(Excerpt),
    #[error("Content-Length is not a number of bytes")]
    Length,
    #[error("Content-Length came more than once")]
    LengthRepeated,
    #[error("Transfer-Encoding is not one chunked")]
    Coding,
    #[error("Transfer-Encoding came with HTTP/1.0")]
    CodingInHttp10,
    #[error("Content-Length and Transfer-Encoding came together")]
    TwoFramings,
    #[error("its status is 101, which was not asked for")]
    SwitchesUnasked,
    #[error("a chunk's size is not 1 to 16 hexadecimal digits, or its extension has a control character")]
    ChunkSize,
    #[error("the line with a chunk's size does not end with CRLF, or is longer than 4096 bytes")]
    ChunkSizeLine,
    #[error("a chunk is longer than its size says, or not followed by CRLF")]
    ChunkEnd,
    #[error("its trailers are larger than 16 KiB")]
    TrailersTooLarge,
    #[error("it has more than 32 trailers")]
    TooManyTrailers,
}

impl Malformed {
    /// The first of these lines that is no field. `None`: none before the empty line.
    pub fn among_fields(lines: &[u8]) -> Option<Self> {
        let lines = lines.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.take_while(|line| !line.is_empty()).find_map(Self::of_line)
    }

    fn of_line(line: &[u8]) -> Option<Self> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Some(Self::Fold);
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Some(Self::NoColon) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if HeaderName::from_bytes(name).is_err() {
            return Some(Self::FieldName(Excerpt::of(name)));
        }
        HeaderValue::from_bytes(value).err().map(|_| Self::FieldValue(Excerpt::of(name)))
    }
}

/// The beginning of a field's name, escaped where it is shown. It is nothing but a name: neither a value nor a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; Self::LONGEST],
    length: u8,
    whole: bool,
}

impl Excerpt {
    const LONGEST: usize = 24;

    pub fn of(name: &[u8]) -> Self {
        let is_token = |prefix: &str| name.windows(prefix.len()).any(|part| part == prefix.as_bytes());
        let name = if is_token(PREFIX) || is_token(SESSION_PREFIX) { b"(a token)" } else { name };
        let length = name.len().min(Self::LONGEST);
        let mut bytes = [0; Self::LONGEST];
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length: length as u8, whole: length == name.len() }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes[..self.length.into()].escape_ascii();
        write!(f, "'{shown}{}'", if self.whole { "" } else { "..." })
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_at_fault_is_found() {
        let found = |lines: &str| Malformed::among_fields(lines.as_bytes()).map(|fault| fault.to_string());
        assert_eq!(found("a: b\r\nc: d\r\n\r\nthe body: \u{1}"), None);
        assert_eq!(found("a: b\r\n c: d\r\n\r\n"), Some(Malformed::Fold.to_string()));
        assert_eq!(found("a: b\r\nabc\r\n\r\n"), Some(Malformed::NoColon.to_string()));
        for (lines, excerpt) in [
            ("a: b\r\nx y: 1\r\n\r\n", "name 'x y' has"),
            ("x\u{1}\u{fc}: 1\r\n\r\n", "name 'x\\x01\\xc3\\xbc' has"),
            ("x-a: secret\u{1}\r\n\r\n", "field 'x-a' has"),
            ("x-a: secret\rsecret\r\n\r\n", "field 'x-a' has"),
            (": 1\r\n\r\n", "name '' has"),
            ("x-is-quite-long-and-goes-on: \0\r\n\r\n", "field 'x-is-quite-long-and-goes...' has"),
            ("bgw_abcdefghijkl_secret x: 1\r\n\r\n", "name '(a token)' has"),
        ] {
            let found = found(lines).unwrap();
            assert!(found.contains(excerpt) && !found.contains("secret"), "{found}");
        }
    }
}
