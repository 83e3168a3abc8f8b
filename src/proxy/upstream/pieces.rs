//! When lines up to an empty one are parsed that come in pieces: not at every read. An upstream that sends them byte by byte
//! would have all of them parsed again for each of them.

/// Lines on their way. They are parsed when their end may be there, and each time that twice as much has come as the last
/// time, so that what cannot be meant is refused soon: all in all, each byte a few times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces {
    /// Empty lines before all others, bytes. They end none.
    blank: usize,
    /// Bytes that were looked at for the end.
    searched: usize,
    /// Bytes that there were when they were parsed last.
    parsed: usize,
}

impl Pieces {
    /// Whether `bytes` are to be parsed now, to which some were only added since the last call. `most`: there may be no more.
    pub fn are_due(&mut self, bytes: &[u8], most: usize) -> bool {
        let has_doubled = bytes.len() > self.parsed && bytes.len() >= 2 * self.parsed;
        // Most come whole, and their end need not be looked for before they are parsed.
        has_doubled || bytes.len() >= most || self.find_end(bytes)
    }

    /// They were not complete.
    pub fn were_parsed(&mut self, bytes: &[u8]) {
        self.parsed = bytes.len();
    }

    #[cfg(test)]
    pub fn parsed(&self) -> usize {
        self.parsed
    }

    /// Whether an empty line came, with CRLF or a line feed for its end.
    fn find_end(&mut self, bytes: &[u8]) -> bool {
        if self.blank == self.searched {
            self.blank += bytes[self.searched..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
        }
        // The line end before the empty line may have come with the bytes before.
        let from = self.searched.saturating_sub(2).max(self.blank);
        self.searched = bytes.len();
        let rest = &bytes[from..];
        memchr::memchr_iter(b'\n', rest).any(|at| {
            let behind = &rest[at + 1..];
            behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are parsed if each byte comes by itself.
    fn work(bytes: &[u8]) -> usize {
        let mut pieces = Pieces::default();
        let mut work = 0;
        for length in 1..=bytes.len() {
            if pieces.are_due(&bytes[..length], usize::MAX) {
                pieces.were_parsed(&bytes[..length]);
                work += length;
            }
        }
        work
    }

    #[test]
    fn nothing_is_parsed_much_more_than_once() {
        let fields = "x-a: 1\r\n".repeat(100);
        let value = "x".repeat(100_000);
        for head in [
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
            format!("HTTP/1.1 200 OK\n{}\n", fields.replace("\r\n", "\n")),
            format!("HTTP/1.1 200 OK\r\nx-a: {value}\r\n\r\n"),
            format!("{fields}\r\n"),
            "\r\n".repeat(50_000),
            "\n".repeat(100_000),
            "\r".repeat(100_000),
            format!("\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\n"),
        ] {
            let work = work(head.as_bytes());
            assert!(work <= 4 * head.len(), "{work} for {} bytes: {:?}", head.len(), &head[..20]);
        }
    }
}
