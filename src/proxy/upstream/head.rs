//! Reads the head of a response, strictly: a response that could be read in two ways is refused.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER, TRANSFER_ENCODING, UPGRADE},
};
use httparse::ParserConfig;

use crate::proxy::{
    headers,
    rejection::{Excerpt, Malformed},
};

static X_BENTOML_REQUEST_ID: HeaderName = HeaderName::from_static("x-bentoml-request-id");

/// Largest head of a response, bytes.
pub(super) const MAX_HEAD: usize = 128 * 1024;
/// Most fields of a response.
const MAX_FIELDS: usize = 128;

/// The head of a response, without what concerns the upstream's connection only and what is not the service's to say.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub framing: ResponseFraming,
    /// Whether the connection may carry another exchange after this response.
    pub keep_alive: bool,
    /// Whether a 101 says that it now speaks WebSocket.
    pub websocket: bool,
}

/// How the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    None,
    /// Bytes.
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// Takes a head off `buffer`. `None`: it is not complete yet. [`HeadReader`](super::head_reader::HeadReader) says when to
/// look.
///
/// # Errors
/// [`Malformed`].
pub(super) fn take(buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut answer, buffer, &mut fields);
    let length = match parsed.map_err(|error| fault(error, buffer))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if buffer.len() < MAX_HEAD => return Ok(None),
        httparse::Status::Partial => return Err(Malformed::HeadTooLarge),
    };
    let (is_http_11, status) = (answer.version == Some(1), answer.code.unwrap_or(0));
    // Offsets instead of slices, so that the values can share the buffer's memory.
    let base = buffer.as_ptr() as usize;
    let mut places: Vec<(HeaderName, usize, usize)> = Vec::with_capacity(answer.headers.len());
    for field in answer.headers {
        let name = field.name.as_bytes();
        let name = known_name(name).map_or_else(|| HeaderName::from_bytes(name), Ok);
        let name = name.map_err(|_| Malformed::FieldName(Excerpt::of(field.name.as_bytes())))?;
        let start = field.value.as_ptr() as usize - base;
        places.push((name, start, start + field.value.len()));
    }
    let bytes = buffer.split_to(length).freeze();
    let headers = HeaderMap::with_capacity(places.len() + 1);
    let mut fields = Fields { headers, named: named_by_connection(&places, &bytes), ..Fields::default() };
    for (name, start, end) in places {
        let value = value(&bytes, start, end).ok_or_else(|| Malformed::FieldValue(Excerpt::of(name.as_ref())))?;
        fields.add(name, value)?;
    }
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() < 600);
    let status = status.ok_or(Malformed::Status)?;
    fields.into_head(status, is_http_11, method).map(Some)
}

/// What the parser of the head has stumbled over.
fn fault(error: httparse::Error, head: &[u8]) -> Malformed {
    let after_first_line = head.iter().position(|&byte| byte == b'\n').map_or(&[][..], |end| &head[end + 1..]);
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            Malformed::among_fields(after_first_line).unwrap_or(Malformed::StatusLine)
        }
        _ => Malformed::StatusLine,
    }
}

/// The names that a Bento's responses have, as its server spells them. Any other is looked at byte by byte, and copied.
fn known_name(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"date" => DATE,
        b"server" => SERVER,
        b"content-length" => CONTENT_LENGTH,
        b"content-type" => CONTENT_TYPE,
        b"transfer-encoding" => TRANSFER_ENCODING,
        b"x-bentoml-request-id" => X_BENTOML_REQUEST_ID.clone(),
        _ => return None,
    })
}

/// An empty value is a slice of nowhere in particular.
fn value(bytes: &Bytes, start: usize, end: usize) -> Option<HeaderValue> {
    let slice = if start == end { Bytes::new() } else { bytes.slice(start..end) };
    HeaderValue::from_maybe_shared(slice).ok()
}

/// Fields that concern the connection because `Connection` says so.
fn named_by_connection(places: &[(HeaderName, usize, usize)], bytes: &[u8]) -> Vec<HeaderName> {
    let connections = places.iter().filter(|(name, ..)| *name == CONNECTION);
    let options = connections.flat_map(|(_, start, end)| bytes[*start..*end].split(|&byte| byte == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect()
}

/// The fields of a head, those for the caller apart from those for us.
#[derive(Default)]
struct Fields {
    headers: HeaderMap,
    named: Vec<HeaderName>,
    /// How often `Transfer-Encoding` came.
    codings: usize,
    chunked: bool,
    length: Option<u64>,
    websocket: bool,
}

impl Fields {
    fn add(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        if name == TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        } else if name == UPGRADE {
            self.websocket = value.as_bytes().eq_ignore_ascii_case(b"websocket");
        } else if name == CONTENT_LENGTH {
            // A second one is another reading, also where it says the same.
            if self.length.replace(parse_length(&value)?).is_some() {
                return Err(Malformed::LengthRepeated);
            }
            self.headers.append(name, value);
        } else if !headers::is_hop_by_hop(name.as_str())
            && !self.named.contains(&name)
            && headers::may_answer(&name, &value)
        {
            self.headers.append(name, value);
        }
        Ok(())
    }

    fn into_head(self, status: StatusCode, is_http_11: bool, method: &Method) -> Result<ResponseHead, Malformed> {
        let framing = self.framing(is_http_11)?;
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        // A broken service sends such a body all the same, maybe when the connection has another request on it.
        let feigns_body = bodiless && !matches!(framing, ResponseFraming::Close | ResponseFraming::Length(0));
        let framing = if bodiless { ResponseFraming::None } else { framing };
        let closes = self.named.iter().any(|option| option.as_str() == "close");
        let keep_alive = is_http_11 && framing != ResponseFraming::Close && !closes && !feigns_body;
        Ok(ResponseHead { status, headers: self.headers, framing, keep_alive, websocket: self.websocket })
    }

    /// RFC 9112 § 6.3, without its repairs: both framings at once and any coding but one `chunked` are refused.
    fn framing(&self, is_http_11: bool) -> Result<ResponseFraming, Malformed> {
        match (self.codings, self.length) {
            (0, None) => Ok(ResponseFraming::Close),
            (0, Some(length)) => Ok(ResponseFraming::Length(length)),
            (_, Some(_)) => Err(Malformed::TwoFramings),
            (_, None) if !is_http_11 => Err(Malformed::CodingInHttp10),
            (1, None) if self.chunked => Ok(ResponseFraming::Chunked),
            (_, None) => Err(Malformed::Coding),
        }
    }
}

/// Digits only: `+5`, `5, 5` and ` 5` are other readings.
fn parse_length(value: &HeaderValue) -> Result<u64, Malformed> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(Malformed::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<ResponseHead>, Malformed> {
        take(&mut BytesMut::from(text), &Method::GET)
    }

    fn framing_of(head: &str) -> ResponseFraming {
        read(&format!("{head}\r\n\r\n")).unwrap().unwrap().framing
    }

    #[test]
    fn framings() {
        assert_eq!(framing_of("HTTP/1.1 200 OK\r\nContent-Length: 5"), ResponseFraming::Length(5));
        assert_eq!(framing_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked"), ResponseFraming::Chunked);
        assert_eq!(framing_of("HTTP/1.0 200 OK"), ResponseFraming::Close);
        assert_eq!(framing_of("HTTP/1.1 204 No Content\r\nContent-Length: 5"), ResponseFraming::None);
        for (fields, reused) in [
            ("", true),
            ("content-length: 0\r\n", true),
            ("content-length: 5\r\n", false),
            ("transfer-encoding: chunked\r\n", false),
        ] {
            for status in ["204 No Content", "304 Not Modified"] {
                let head = read(&format!("HTTP/1.1 {status}\r\n{fields}\r\n")).unwrap().unwrap();
                assert_eq!((head.framing, head.keep_alive), (ResponseFraming::None, reused), "{status} {fields}");
            }
        }
        let mut head = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        let answer = take(&mut head, &Method::HEAD).unwrap().unwrap();
        assert_eq!((answer.framing, answer.headers["content-length"].as_bytes()), (ResponseFraming::None, &b"5"[..]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_answer() {
        use Malformed::{Coding, FieldName, FieldValue, Fold, Length, LengthRepeated, NoColon, TwoFramings};
        let (bad_name, spaced) = (FieldName(Excerpt::of(b"bad name")), FieldName(Excerpt::of(b"name ")));
        for (fields, why) in [
            ("content-length: 5\r\ntransfer-encoding: chunked", TwoFramings),
            ("content-length: 5\r\ncontent-length: 6", LengthRepeated),
            ("content-length: 5\r\ncontent-length: 5", LengthRepeated),
            ("content-length: 5, 5", Length),
            ("content-length: +5", Length),
            ("content-length: -1", Length),
            ("content-length: 99999999999999999999", Length),
            ("content-length:", Length),
            ("transfer-encoding: gzip, chunked", Coding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Coding),
            ("transfer-encoding: identity", Coding),
            ("bad name: x", bad_name),
            ("name : x", spaced),
            ("x: a\r\n folded", Fold),
            ("x: a\r\nfolded", NoColon),
            ("x: a\u{0}b", FieldValue(Excerpt::of(b"x"))),
        ] {
            let answer = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
            assert_eq!(answer.map(|_| ()), Err(why), "{fields:?}");
        }
        for (line, why) in [
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked", Malformed::CodingInHttp10),
            ("HTTP/2 200 OK", Malformed::StatusLine),
            ("HTTP/1.1 99 x", Malformed::StatusLine),
            ("HTTP/1.1 600 x", Malformed::Status),
            ("ICY 200 OK", Malformed::StatusLine),
        ] {
            assert_eq!(read(&format!("{line}\r\n\r\n")).map(|_| ()), Err(why), "{line:?}");
        }
    }

    #[test]
    fn waits_for_the_whole_head_but_not_for_ever() {
        assert!(read("HTTP/1.1 200 OK\r\nx: y\r\n").unwrap().is_none());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
        assert_eq!(read(&endless).map(|_| ()), Err(Malformed::HeadTooLarge));
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
