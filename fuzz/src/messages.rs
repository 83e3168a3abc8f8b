//! What a service answers: the head, and a body in chunks. It must not matter in which pieces the bytes come, and what the
//! gateway reads must be what a second reading finds.

use bento_gateway::proxy::upstream::{
    chunked::{Chunked, Step},
    head::{ResponseFraming, ResponseHead},
    head_reader::HeadReader,
};
use bytes::{BufMut, BytesMut};
use http::Method;

pub fn response_head(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let method = if choice % 4 == 0 { Method::HEAD } else { Method::GET };
    let mut whole = BytesMut::from(data);
    let read = HeadReader::default().take(&mut whole, &method);
    let (mut grown, mut reader) = (BytesMut::new(), HeadReader::default());
    for (at, &byte) in data.iter().enumerate() {
        grown.put_u8(byte);
        match reader.take(&mut grown, &method) {
            Ok(None) => continue,
            Ok(Some(early)) => {
                let same = read.as_ref().ok().and_then(Option::as_ref).expect("complete in pieces, and not as a whole");
                assert_eq!(shown(&early), shown(same));
                assert_eq!((at + 1, grown.len()), (data.len() - whole.len(), 0));
            }
            Err(_) => assert!(!matches!(read, Ok(None)), "malformed in pieces, and incomplete as a whole"),
        }
        break;
    }
    if let Ok(Some(head)) = &read {
        check(head, &data[..data.len() - whole.len()], &method);
    }
}

fn shown(head: &ResponseHead) -> String {
    format!("{:?}", (head.status, &head.headers, head.framing, head.keep_alive, head.websocket))
}

fn check(head: &ResponseHead, bytes: &[u8], method: &Method) {
    let lower = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let count = |name: &str| lower.lines().skip(1).filter(|line| line.starts_with(&format!("{name}:"))).count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths + codings <= 1, "two framings");
    let bodiless =
        *method == Method::HEAD || head.status.is_informational() || matches!(head.status.as_u16(), 204 | 304);
    match head.framing {
        ResponseFraming::None => assert!(bodiless),
        ResponseFraming::Length(_) => assert_eq!((lengths, codings, bodiless), (1, 0, false)),
        ResponseFraming::Chunked => assert_eq!((lengths, codings, bodiless), (0, 1, false)),
        ResponseFraming::Close => assert_eq!((lengths, codings, bodiless, head.keep_alive), (0, 0, false, false)),
    }
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"] {
        assert!(!head.headers.contains_key(name), "{name} is between us and the service");
    }
}

/// What came of a body: its data, whether it has ended, or that it is malformed; and what is left.
type Body = (Vec<u8>, Result<bool, ()>, usize);

pub fn chunks(data: &[u8]) {
    let whole = decode(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    let pieces = decode(&bytes);
    // Trailers that come byte by byte are parsed a few times only: what cannot be meant may be refused when more has come.
    let refused_later = whole.1.is_err() && pieces.1 == Ok(false);
    assert!(refused_later || whole.1 == pieces.1, "pieces decide: {:?}, {:?}", whole.1, pieces.1);
    if whole.1.is_ok() {
        assert_eq!(whole.0, pieces.0);
    }
    if whole.1 == Ok(true) {
        let read = second_reading(&data[..data.len() - whole.2]).expect("a second reading finds no body");
        assert_eq!(read, whole.0);
    }
}

fn decode(pieces: &[&[u8]]) -> Body {
    let (mut chunked, mut buffer, mut body) = (Chunked::default(), BytesMut::new(), Vec::new());
    let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        left -= piece.len();
        loop {
            match chunked.step(&mut buffer) {
                Ok(Step::Data(data)) => {
                    assert!(!data.is_empty(), "an empty piece ends a body for some");
                    body.extend_from_slice(&data);
                }
                Ok(Step::More(bytes)) => {
                    assert!(bytes > 0);
                    break;
                }
                Ok(Step::Trailers(_) | Step::Done) => return (body, Ok(true), buffer.len() + left),
                Err(_) => return (body, Err(()), 0),
            }
        }
    }
    (body, Ok(false), 0)
}

/// RFC 9112 § 7.1, for a body that is complete. `None`: it is none.
fn second_reading(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).ok().unwrap_or("");
        let digits: String =
            bytes[..end].iter().take_while(|byte| byte.is_ascii_hexdigit()).map(|&byte| char::from(byte)).collect();
        let rest = bytes[digits.len()..end].first();
        if digits.is_empty() || !(rest.is_none() || matches!(rest, Some(b';' | b' ' | b'\t'))) {
            panic!("{line:?} is no size");
        }
        let size = usize::from_str_radix(&digits, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return (bytes == b"\r\n" || bytes.ends_with(b"\n")).then_some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
}
