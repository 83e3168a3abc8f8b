//! When the head of a response is parsed: not at every read. An upstream that sends it byte by byte would have all of it
//! parsed again for each of them.

use bytes::BytesMut;
use http::Method;

use super::head::{self, MAX_HEAD, ResponseHead};
use crate::proxy::rejection::Malformed;

/// A head on its way. It is parsed when its end may be there, and each time that twice as much has come as the last time,
/// so that what is no head is refused soon: all in all, each byte a few times.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Empty lines before the head, bytes. They end none.
    blank: usize,
    /// Bytes that were looked at for the end.
    searched: usize,
    /// Bytes that there were when it was parsed last.
    parsed: usize,
}

impl HeadReader {
    /// Takes a head off `buffer`, to which bytes were only added since the last call. `None`: it is not complete yet.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
        if self.is_due(buffer) { self.parse(buffer, method) } else { Ok(None) }
    }

    /// Says of bytes that nothing follows what is wrong with them, if they cannot be the start of a head.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn check_rest(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<(), Malformed> {
        self.parse(buffer, method).map(drop)
    }

    fn parse(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
        let head = head::take(buffer, method)?;
        *self = match head {
            Some(_) => Self::default(),
            None => Self { parsed: buffer.len(), ..*self },
        };
        Ok(head)
    }

    fn is_due(&mut self, bytes: &[u8]) -> bool {
        let has_doubled = bytes.len() > self.parsed && bytes.len() >= 2 * self.parsed;
        // Most heads come whole, and their end need not be looked for before they are parsed.
        has_doubled || bytes.len() >= MAX_HEAD || self.finds_end(bytes)
    }

    /// Whether an empty line came, with CRLF or a line feed for its end.
    fn finds_end(&mut self, bytes: &[u8]) -> bool {
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
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are parsed if each byte comes by itself.
    fn work(bytes: &[u8]) -> usize {
        let mut reader = HeadReader::default();
        let mut work = 0;
        for length in 1..=bytes.len() {
            if reader.is_due(&bytes[..length]) {
                reader.parsed = length;
                work += length;
            }
        }
        work
    }

    #[test]
    fn no_head_is_parsed_much_more_than_once() {
        let fields = "x-a: 1\r\n".repeat(100);
        let value = "x".repeat(100_000);
        for head in [
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
            format!("HTTP/1.1 200 OK\n{}\n", fields.replace("\r\n", "\n")),
            format!("HTTP/1.1 200 OK\r\nx-a: {value}\r\n\r\n"),
            "\r\n".repeat(50_000),
            "\n".repeat(100_000),
            "\r".repeat(100_000),
            format!("\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\n"),
        ] {
            let work = work(head.as_bytes());
            assert!(work <= 4 * head.len(), "{work} for {} bytes: {:?}", head.len(), &head[..20]);
        }
    }

    #[test]
    fn what_is_no_head_is_refused_before_it_ends() {
        let mut buffer = BytesMut::from("SSH-2.0-x\r\n");
        assert!(HeadReader::default().take(&mut buffer, &Method::GET).is_err());
        // Where it comes in pieces, at the latest when nothing follows.
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::from("HTTP/1.1 200 OK\r\n"));
        assert!(reader.take(&mut buffer, &Method::GET).unwrap().is_none());
        buffer.extend_from_slice(b"x a\r\n");
        assert!(reader.take(&mut buffer, &Method::GET).unwrap().is_none());
        assert!(reader.check_rest(&mut buffer, &Method::GET).is_err());
    }

    proptest! {
        /// In whatever pieces it comes, a head is what it is in one.
        #[test]
        fn pieces_do_not_matter(
            bytes in "(\r?\n){0,2}HTTP/1.[01] (200|100|999) ?(O|\r|\n)?\r?\n((a|b-c|content-length) ?: ?(1|x|\r|\n){0,3}\r?\n){0,3}\r?\n?x{0,2}",
            sizes in proptest::collection::vec(1_usize..7, 1..4),
        ) {
            let mut whole = BytesMut::from(&*bytes);
            let expected = head::take(&mut whole, &Method::GET).map(|head| head.map(|head| format!("{head:?}")));
            let (mut reader, mut buffer, mut rest) = (HeadReader::default(), BytesMut::new(), bytes.as_bytes());
            let mut sizes = sizes.iter().cycle();
            let read = loop {
                let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                buffer.extend_from_slice(piece);
                rest = behind;
                match reader.take(&mut buffer, &Method::GET) {
                    Ok(None) if rest.is_empty() => break reader.check_rest(&mut buffer, &Method::GET).map(|()| None),
                    Ok(None) => {}
                    done => break done.map(|head| head.map(|head| format!("{head:?}"))),
                }
            };
            match (read, expected) {
                (Ok(read), Ok(expected)) => {
                    let complete = read.is_some();
                    prop_assert_eq!(read, expected);
                    prop_assert!(!complete || buffer.len() + rest.len() == whole.len());
                }
                // Which of several faults is named depends on how much has come.
                (read, expected) => prop_assert_eq!(read.is_err(), expected.is_err()),
            }
        }
    }
}
