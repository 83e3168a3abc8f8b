//! Watches how long the request line of HTTP/1 is, before the HTTP library has it. The library gives up at some length, which
//! it takes for that of the header: it would answer 431 to a target that is too long.

/// The line of the request that is being read.
pub struct RequestLine {
    longest: usize,
    /// Bytes of it that came. `None`: it has ended.
    seen: Option<usize>,
    /// Bytes that came since a line ended: of the next request's line, where the one before ends with a line.
    behind: usize,
}

/// It is longer than it may be. After the answer the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl RequestLine {
    /// Of a connection's first request. `longest`: bytes of a line, without its end.
    pub fn first(longest: usize) -> Self {
        Self { longest, seen: Some(0), behind: 0 }
    }

    /// A further request begins. `after_line`: the one before has ended with a line, and not with a body of any bytes. Then
    /// what came behind that line is the start of this one, from a caller that does not wait for responses.
    pub fn begin(&mut self, after_line: bool) {
        self.seen = Some(if after_line { self.behind } else { 0 });
    }

    /// Takes the next bytes of the connection. `ends_with_line`: the request does that whose line has ended. Otherwise its
    /// body's bytes need not be looked at.
    ///
    /// # Errors
    /// [`TooLong`], before the line has ended.
    pub fn read(&mut self, bytes: &[u8], ends_with_line: bool) -> Result<(), TooLong> {
        let Some(seen) = self.seen else {
            if ends_with_line {
                self.pass_over(bytes);
            }
            return Ok(());
        };
        // Empty lines before a request are passed over (RFC 9112 § 2.2).
        let skipped = if seen == 0 { bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count() } else { 0 };
        let bytes = &bytes[skipped..];
        let end = memchr::memchr(b'\n', bytes);
        let seen = seen + end.unwrap_or(bytes.len());
        if seen > self.longest {
            return Err(TooLong);
        }
        self.seen = end.is_none().then_some(seen);
        self.pass_over(&bytes[end.unwrap_or_default()..]);
        Ok(())
    }

    fn pass_over(&mut self, bytes: &[u8]) {
        self.behind = match memchr::memrchr(b'\n', bytes) {
            Some(end) => bytes.len() - end - 1,
            None => self.behind + bytes.len(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 1124;

    fn fed(pieces: &[&[u8]]) -> bool {
        let mut line = RequestLine::first(LONGEST);
        pieces.iter().all(|piece| line.read(piece, true).is_ok())
    }

    #[test]
    fn what_is_too_long_is_known_before_it_ends() {
        let longest = vec![b'x'; LONGEST];
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
        let mut line = RequestLine::first(LONGEST);
        line.read(b"GET / HTTP/1.1\r\nx: ", true).unwrap();
        line.read(&[b'x'; 10_000], false).unwrap();
        line.begin(false);
        // Also where the request before has ended with a body of any bytes.
        line.read(&[b'x'; 1_000], false).unwrap();
        assert_eq!(line.read(&[b'x'; 1_000], false), Err(TooLong));
    }

    #[test]
    fn a_line_may_begin_with_the_request_before() {
        let longest = LONGEST;
        for (start, rest, after_line, fits) in [
            (10, longest - 10, true, true),
            (10, longest - 9, true, false),
            (longest + 1, 1, true, false),
            (10, longest, false, true),
            (0, longest, true, true),
        ] {
            let mut line = RequestLine::first(LONGEST);
            line.read(format!("GET / HTTP/1.1\r\nx: 1\r\n\r\n{}", "x".repeat(start)).as_bytes(), true).unwrap();
            line.begin(after_line);
            assert_eq!(line.read(&vec![b'x'; rest], true).is_ok(), fits, "{start} {rest} {after_line}");
        }
        let mut line = RequestLine::first(LONGEST);
        for piece in ["GET / HT", "TP/1.1\r\n\r", "\nx", "xx"] {
            line.read(piece.as_bytes(), true).unwrap();
        }
        assert_eq!(line.behind, 3);
    }
}
