//! Watches how long the request line of HTTP/1 is, before the HTTP library has it. The library gives up at some length, which
//! it takes for that of the header: it would answer 431 to a target that is too long.

use super::{rejection::Rejection, state::RequestNumber, target::BadTarget};

/// What else a request line has at most: method, scheme, host and version. Below that the request is read as others are, and
/// refused for its target where that is too long.
const BESIDE_TARGET: usize = 1024;

/// The line of the request that is being read.
pub struct RequestLine {
    longest: usize,
    /// Bytes of it that came. `None`: it has ended.
    seen: Option<usize>,
    /// For the refusal.
    request: RequestNumber,
}

impl RequestLine {
    /// Of a connection's first request.
    pub fn first(max_uri_bytes: usize, request: RequestNumber) -> Self {
        Self { longest: max_uri_bytes + BESIDE_TARGET, seen: Some(0), request }
    }

    /// A further request begins. Where callers do not wait for the response before, it begins unseen.
    pub fn begin(&mut self) {
        self.seen = Some(0);
    }

    /// Takes the next bytes of the connection. `Err`: the line is too long; this is what to answer.
    ///
    /// # Errors
    /// The response, after which the connection is to be closed.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Vec<u8>> {
        let Some(seen) = self.seen else { return Ok(()) };
        // Empty lines before a request are passed over (RFC 9112 § 2.2).
        let skipped = if seen == 0 { bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count() } else { 0 };
        let bytes = &bytes[skipped..];
        let end = memchr::memchr(b'\n', bytes);
        let seen = seen + end.unwrap_or(bytes.len());
        if seen > self.longest {
            return Err(Rejection::from(BadTarget::TooLong).on_closing_connection(&self.request.to_string()));
        }
        self.seen = end.is_none().then_some(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&[u8]]) -> bool {
        let mut line = RequestLine::first(100, RequestNumber::default());
        pieces.iter().all(|piece| line.read(piece).is_ok())
    }

    #[test]
    fn what_is_too_long_is_known_before_it_ends() {
        let longest = vec![b'x'; 100 + BESIDE_TARGET];
        assert!(fed(&[&longest, b"\n", &longest, b"x"]));
        assert!(fed(&[b"\r\n\r\n", &longest, b"\r\n"]) == fed(&[&longest, b"\r\n"]));
        assert!(!fed(&[&longest, b"x"]));
        assert!(!fed(&[b"\r\n\r\n", &longest, b"x"]));
        assert!(!fed(&[&longest[1..], b"xx\n"]));
        for piece in [1, 7] {
            let pieces: Vec<&[u8]> = longest.chunks(piece).chain([&b"x"[..]]).collect();
            assert!(!fed(&pieces));
        }
    }

    #[test]
    fn each_request_of_a_connection_has_a_line() {
        let mut line = RequestLine::first(100, RequestNumber::default());
        line.read(b"GET / HTTP/1.1\r\nx: ").unwrap();
        line.read(&[b'x'; 10_000]).unwrap();
        line.begin();
        let refusal = line.read(&[b'x'; 10_000]).unwrap_err();
        assert!(refusal.starts_with(b"HTTP/1.1 414 URI Too Long\r\n"));
    }
}
