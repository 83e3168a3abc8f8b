//! Reading the head of an answer, strictly: an answer that could be read in two ways is no answer.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
};

use crate::proxy::{headers, refusal::UpstreamFailure};

/// Largest head of an answer, bytes.
const MAX_HEAD: usize = 128 * 1024;
/// Most fields of an answer.
const MAX_FIELDS: usize = 128;

/// The head of an answer, without what concerns the upstream's connection only.
#[derive(Debug)]
pub struct AnswerHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub framing: AnswerFraming,
    /// Whether the connection may carry another exchange after this answer.
    pub keep_alive: bool,
    /// Whether a 101 says that it now speaks WebSocket.
    pub websocket: bool,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFraming {
    None,
    /// Bytes.
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Takes a head off `buffer`. `None`: it is not complete yet.
///
/// # Errors
/// [`UpstreamFailure::Malformed`].
pub fn take(buffer: &mut BytesMut, method: &Method) -> Result<Option<AnswerHead>, UpstreamFailure> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let malformed = |_| UpstreamFailure::Malformed;
    let length = match answer.parse(buffer).map_err(malformed)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if buffer.len() < MAX_HEAD => return Ok(None),
        httparse::Status::Partial => return Err(UpstreamFailure::Malformed),
    };
    let (version, status) = (answer.version, answer.code.unwrap_or(0));
    // Offsets instead of slices, so that the values can share the buffer's memory.
    let base = buffer.as_ptr() as usize;
    let places: Vec<(HeaderName, usize, usize)> = answer
        .headers
        .iter()
        .map(|field| {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| UpstreamFailure::Malformed)?;
            let start = field.value.as_ptr() as usize - base;
            Ok((name, start, start + field.value.len()))
        })
        .collect::<Result<_, UpstreamFailure>>()?;
    let bytes = buffer.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len() + 2);
    for (name, start, end) in places {
        headers.append(name, value(&bytes, start, end)?);
    }
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() < 600);
    let status = status.ok_or(UpstreamFailure::Malformed)?;
    interpret(status, headers, version == Some(1), method).map(Some)
}

/// An empty value is a slice of nowhere in particular.
fn value(bytes: &Bytes, start: usize, end: usize) -> Result<HeaderValue, UpstreamFailure> {
    let slice = if start == end { Bytes::new() } else { bytes.slice(start..end) };
    HeaderValue::from_maybe_shared(slice).map_err(|_| UpstreamFailure::Malformed)
}

fn interpret(
    status: StatusCode,
    mut headers: HeaderMap,
    is_http_11: bool,
    method: &Method,
) -> Result<AnswerHead, UpstreamFailure> {
    let framing = framing(&headers, is_http_11)?;
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    let framing = if bodiless { AnswerFraming::None } else { framing };
    let closes = |value: &HeaderValue| options(value).any(|option| option.eq_ignore_ascii_case("close"));
    let keep_alive = is_http_11 && framing != AnswerFraming::Close && !headers.get_all(CONNECTION).iter().any(closes);
    let websocket = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));

    if let Some(connection) = headers.get(CONNECTION)
        && connection.as_bytes() != b"keep-alive"
    {
        for name in headers::named_in_answer(&headers) {
            headers.remove(name);
        }
    }
    for name in headers::HOP_BY_HOP_IN_ANSWERS {
        headers.remove(name);
    }
    Ok(AnswerHead { status, headers, framing, keep_alive, websocket })
}

/// RFC 9112 § 6.3, without its repairs: both framings at once, a repeated length and any coding but one `chunked` are
/// refused.
fn framing(headers: &HeaderMap, is_http_11: bool) -> Result<AnswerFraming, UpstreamFailure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, None, _) => Ok(AnswerFraming::Close),
        (None, _, Some(length), None) => parse_length(length).map(AnswerFraming::Length),
        (Some(coding), None, None, _) if is_http_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(AnswerFraming::Chunked)
        }
        _ => Err(UpstreamFailure::Malformed),
    }
}

/// Digits only: `+5`, `5, 5` and ` 5` are other readings.
fn parse_length(value: &HeaderValue) -> Result<u64, UpstreamFailure> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(UpstreamFailure::Malformed)
}

fn options(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<AnswerHead>, UpstreamFailure> {
        take(&mut BytesMut::from(text), &Method::GET)
    }

    fn framing_of(head: &str) -> AnswerFraming {
        read(&format!("{head}\r\n\r\n")).unwrap().unwrap().framing
    }

    #[test]
    fn framings() {
        assert_eq!(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 5"), AnswerFraming::Length(5));
        assert_eq!(framing_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked"), AnswerFraming::Chunked);
        assert_eq!(framing_of("HTTP/1.0 200 OK"), AnswerFraming::Close);
        assert_eq!(framing_of("HTTP/1.1 204 No Content\r\nContent-Length: 5"), AnswerFraming::None);
        let mut head = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let answer = take(&mut head, &Method::HEAD).unwrap().unwrap();
        assert_eq!((answer.framing, answer.headers["content-length"].as_bytes()), (AnswerFraming::None, &b"5"[..]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_answer() {
        for fields in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5, 5",
            "content-length: +5",
            "content-length: -1",
            "content-length: 99999999999999999999",
            "content-length:",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: identity",
            "bad name: x",
            "name : x",
            "x: a\r\n folded",
            "x: a\u{0}b",
        ] {
            let answer = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
            assert_eq!(answer.map(|_| ()), Err(UpstreamFailure::Malformed), "{fields:?}");
        }
        for line in [
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
            "HTTP/2 200 OK",
            "HTTP/1.1 99 x",
            "HTTP/1.1 600 x",
            "ICY 200 OK",
        ] {
            assert!(read(&format!("{line}\r\n\r\n")).is_err(), "{line:?}");
        }
    }

    #[test]
    fn waits_for_the_whole_head_but_not_for_ever() {
        assert!(read("HTTP/1.1 200 OK\r\nx: y\r\n").unwrap().is_none());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(read(&endless).map(|_| ()), Err(UpstreamFailure::Malformed));
    }

    #[test]
    fn what_concerns_the_connection_stays_here() {
        let answer = read(
            "HTTP/1.1 200 OK\r\nconnection: x-hop, close\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: x\r\n\
             set-cookie: a=1\r\nset-cookie: b=2\r\nserver: uvicorn\r\nempty:\r\ncontent-length: 0\r\n\r\n",
        );
        let answer = answer.unwrap().unwrap();
        assert!(!answer.keep_alive);
        let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["set-cookie", "set-cookie", "server", "empty", "content-length"]);
    }
}
