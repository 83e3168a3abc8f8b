//! Decoding a chunked body without losing its boundaries.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::pieces::Pieces;
use crate::{
    domain::identity_fields::IdentityFields,
    proxy::{
        headers::may_be_trailer,
        rejection::{Excerpt, Malformed},
    },
};

/// Chunks up to this size, bytes, leave as they came: one read of BentoML's client takes as much.
const WHOLE_CHUNK: usize = 64 * 1024;
/// Longest line with a chunk's size, extensions included.
const MAX_SIZE_LINE: usize = 4096;
/// Largest trailer section, bytes.
const MAX_TRAILERS: usize = 16 * 1024;
/// Most trailer fields.
const MAX_TRAILER_FIELDS: usize = 32;

#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of the line with a size that were looked at for its end.
    searched: usize,
    trailers: Pieces,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    /// A chunk that is handed on in one piece once it is here.
    Whole(usize),
    /// What remains of a larger one, handed on as it comes.
    Part(u64),
    /// The line end after a chunk.
    End,
    Trailers,
    Done,
}

/// What a step gave.
#[derive(Debug)]
pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Done,
    /// At least this many bytes more are needed before anything can be said.
    More(usize),
}

impl Chunked {
    /// Takes the next piece off `buffer`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Size => match take_line(buffer, self.searched, MAX_SIZE_LINE)? {
                    None => {
                        self.searched = buffer.len();
                        return Ok(Step::More(1));
                    }
                    Some(line) => {
                        self.searched = 0;
                        self.state = after_size(parse_size(&line)?);
                    }
                },
                State::Whole(size) if buffer.len() < size => return Ok(Step::More(size - buffer.len() + 2)),
                State::Whole(size) => {
                    self.state = State::End;
                    return Ok(Step::Data(buffer.split_to(size).freeze()));
                }
                State::Part(_) if buffer.is_empty() => return Ok(Step::More(1)),
                State::Part(left) => {
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - size as u64;
                    self.state = if left == 0 { State::End } else { State::Part(left) };
                    return Ok(Step::Data(buffer.split_to(size).freeze()));
                }
                State::End if buffer.len() < 2 => return Ok(Step::More(2 - buffer.len())),
                State::End if !buffer.starts_with(b"\r\n") => return Err(Malformed::ChunkEnd),
                State::End => {
                    buffer.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => return self.trailers(buffer),
                State::Done => return Ok(Step::Done),
            }
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        if buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.state = State::Done;
            return Ok(Step::Done);
        }
        if !self.trailers.are_due(buffer, MAX_TRAILERS) {
            return Ok(Step::More(1));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        match httparse::parse_headers(buffer, &mut fields).map_err(|error| fault(error, buffer))? {
            httparse::Status::Partial if buffer.len() < MAX_TRAILERS => {
                self.trailers.were_parsed(buffer);
                Ok(Step::More(1))
            }
            httparse::Status::Partial => Err(Malformed::TrailersTooLarge),
            httparse::Status::Complete((length, fields)) => {
                let mut trailers = HeaderMap::new();
                for field in fields {
                    let excerpt = Excerpt::of(field.name.as_bytes());
                    let name = HeaderName::from_bytes(field.name.as_bytes());
                    let name = name.map_err(|_| Malformed::FieldName(excerpt))?;
                    let value = HeaderValue::from_bytes(field.value).map_err(|_| Malformed::FieldValue(excerpt))?;
                    if may_be_trailer(&name, &IdentityFields::default()) {
                        trailers.append(name, value);
                    } else {
                        tracing::debug!(field = name.as_str(), "a trailer of the service's is not for the caller");
                    }
                }
                buffer.advance(length);
                self.state = State::Done;
                Ok(Step::Trailers(trailers))
            }
        }
    }
}

/// What the parser of the trailers has stumbled over.
fn fault(error: httparse::Error, trailers: &[u8]) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooManyTrailers,
        _ => Malformed::among_fields(trailers).unwrap_or(Malformed::NoColon),
    }
}

fn after_size(size: u64) -> State {
    match usize::try_from(size) {
        Ok(0) => State::Trailers,
        Ok(size) if size <= WHOLE_CHUNK => State::Whole(size),
        _ => State::Part(size),
    }
}

/// A line without its CRLF. A bare line feed ends no line here (RFC 9112 § 2.2 lets servers differ: so it is refused).
/// `searched`: so many bytes of it hold no end.
fn take_line(buffer: &mut BytesMut, searched: usize, longest: usize) -> Result<Option<BytesMut>, Malformed> {
    match memchr::memchr(b'\n', &buffer[searched..]).map(|at| searched + at) {
        Some(at) if at > 0 && buffer[at - 1] == b'\r' && at <= longest => {
            let mut line = buffer.split_to(at + 1);
            line.truncate(at - 1);
            Ok(Some(line))
        }
        None if buffer.len() <= longest => Ok(None),
        _ => Err(Malformed::ChunkSizeLine),
    }
}

/// Hexadecimal digits, and an extension after a semicolon, which is not handed on.
fn parse_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::ChunkSize)?;
    let plain = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let harmless = line.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    if plain && harmless {
        u64::from_str_radix(text, 16).map_err(|_| Malformed::ChunkSize)
    } else {
        Err(Malformed::ChunkSize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` one after the other, as reads would bring them.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<Bytes>, HeaderMap, BytesMut, bool), Malformed> {
        let (mut decoder, mut buffer) = (Chunked::default(), BytesMut::new());
        let (mut chunks, mut trailers, mut done) = (Vec::new(), HeaderMap::new(), false);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.step(&mut buffer)? {
                    Step::Data(data) => chunks.push(data),
                    Step::Trailers(fields) => trailers = fields,
                    Step::Done => done = true,
                    Step::More(_) => break,
                }
                if done {
                    break;
                }
            }
        }
        Ok((chunks, trailers, buffer, done))
    }

    #[test]
    fn trailers_without_what_they_may_not_say() {
        let text = b"3\r\nabc\r\n0\r\nx-checksum: 7\r\ncontent-length: 9\r\nauthorization: x\r\n\r\nrest";
        let (chunks, trailers, rest, done) = decode(&[text, b""]).unwrap();
        assert_eq!((chunks, done), (vec![Bytes::from_static(b"abc")], true));
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["x-checksum"], "7");
        assert_eq!(&rest[..], b"rest");
    }

    #[test]
    fn odd_syntax_is_refused() {
        for text in [
            "3\nabc\r\n",
            "g\r\n",
            "\r\n",
            "-1\r\n",
            "+3\r\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "0x3\r\nabc",
            "3\r\nabcX\r\n",
            "3\r\nabc\n0",
            "11111111111111111\r\n",
            "3;\u{0}\r\nabc",
            ";\r\n",
        ] {
            assert!(decode(&[text.as_bytes()]).is_err(), "{text:?}");
        }
        assert!(decode(&[&b"1".repeat(MAX_SIZE_LINE + 1)]).is_err());
        assert!(decode(&[b"3;name=value\r\nabc\r\n0\r\n\r\n"]).is_ok());
    }

    #[test]
    fn larger_chunks_come_as_they_come() {
        let size = WHOLE_CHUNK + 1;
        let head = format!("{size:x}\r\n");
        let (chunks, ..) = decode(&[head.as_bytes(), &[b'x'; 10], &b"x".repeat(size - 10), b"\r\n0\r\n\r\n"]).unwrap();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [10, size - 10]);
    }

    #[test]
    fn no_byte_is_looked_at_much_more_than_once() {
        let fields = "x-trailer: 1\r\n".repeat(30);
        let value = "x".repeat(MAX_TRAILERS - 100);
        let extension = "x".repeat(MAX_SIZE_LINE - 100);
        for text in
            [format!("0\r\n{fields}\r\n"), format!("0\r\nx-a: {value}\r\n\r\n"), format!("0;{extension}\r\n\r\n")]
        {
            let (mut decoder, mut buffer, mut work, mut done) = (Chunked::default(), BytesMut::new(), 0, false);
            for byte in text.bytes() {
                buffer.extend_from_slice(&[byte]);
                let (in_line, parsed) = (matches!(decoder.state, State::Size), decoder.trailers.parsed());
                work += if in_line { buffer.len() - decoder.searched } else { 0 };
                done = !matches!(decoder.step(&mut buffer).unwrap(), Step::More(_));
                work += if decoder.trailers.parsed() == parsed { 0 } else { buffer.len() };
            }
            assert!(done && work <= 4 * text.len(), "{work} for {} bytes", text.len());
        }
    }

    proptest! {
        /// However the bytes are cut on their way, the chunks come out as they went in.
        #[test]
        fn boundaries_survive_any_cut(sizes in proptest::collection::vec(1usize..3000, 1..8), cut in 1usize..700) {
            let mut text = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                text.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                text.extend(std::iter::repeat_n(at as u8, *size));
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = text.chunks(cut).collect();
            let (chunks, _, rest, done) = decode(&pieces).unwrap();
            prop_assert!(done && rest.is_empty());
            prop_assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
        }

        #[test]
        fn arbitrary_bytes_never_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = decode(&pieces);
        }
    }
}
