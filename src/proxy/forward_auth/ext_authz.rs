//! What Envoy asks by gRPC (`envoy.service.auth.v3.Authorization/Check`), and what it is answered.
//!
//! The messages have those fields of Envoy's `external_auth.proto` and `attribute_context.proto` that matter here.

use std::{collections::HashMap, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use prost::Message;

use super::{
    Answer,
    question::{self, BadQuestion, Dialect, Question},
};
use crate::{
    proxy::{record::Record, reply, upstream::body::ResponseBody},
    telemetry::line::RequestOutcome,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How large a question may be, bytes, and how long it may take to come. It holds a header, and its body if Envoy is told so.
const MAX_QUESTION: usize = 1024 * 1024;
const QUESTION_TIME: Duration = Duration::from_secs(10);
/// Before each message: whether it is compressed (one byte), and its length.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "4")]
    request: Option<AskedRequest>,
    /// What the configuration of the route says to us.
    #[prost(map = "string, string", tag = "10")]
    context_extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct AskedRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(string, tag = "2")]
    method: String,
    /// Fields of the same name joined with commas. Empty if Envoy sends `header_map`.
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    /// With the query.
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    /// Each field by itself, byte for byte (`encode_raw_headers`).
    #[prost(message, optional, tag = "13")]
    header_map: Option<RawHeaders>,
}

#[derive(Clone, PartialEq, Message)]
struct RawHeaders {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Field>,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    denied_response: Option<DeniedHttpResponse>,
    #[prost(message, optional, tag = "3")]
    ok_response: Option<OkHttpResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DeniedHttpResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<FieldOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct OkHttpResponse {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<FieldOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct FieldOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Field>,
    #[prost(int32, tag = "3")]
    append_action: i32,
}

/// The context extension that names the Deployment.
const DEPLOYMENT: &str = "deployment";
/// `google.rpc.Code`, which is that of gRPC too.
const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
/// `OVERWRITE_IF_EXISTS_OR_ADD`: what the caller says of itself does not count.
const OVERWRITE: i32 = 2;

/// Whether Envoy asks by gRPC.
pub fn is_asked(head: &Parts) -> bool {
    let grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    head.method == Method::POST && head.uri.path() == CHECK && head.headers.get(CONTENT_TYPE).is_some_and(grpc)
}

/// # Errors
/// [`BadQuestion`].
pub async fn read(body: Incoming) -> Result<Question, BadQuestion> {
    let whole = tokio::time::timeout(QUESTION_TIME, Limited::new(body, MAX_QUESTION).collect()).await;
    let Ok(Ok(whole)) = whole else { return Err(BadQuestion::Message) };
    parse(whole.to_bytes())
}

fn parse(mut bytes: Bytes) -> Result<Question, BadQuestion> {
    let whole = bytes.len().checked_sub(PREFIX).ok_or(BadQuestion::Message)?;
    let compressed = bytes.get_u8() != 0;
    if compressed || usize::try_from(bytes.get_u32()) != Ok(whole) {
        return Err(BadQuestion::Message);
    }
    let request = CheckRequest::decode(bytes).map_err(|_| BadQuestion::Message)?;
    let attributes = request.attributes.ok_or(BadQuestion::Message)?;
    let deployment = attributes.context_extensions.get(DEPLOYMENT).and_then(|name| name.parse().ok());
    let deployment = deployment.ok_or(BadQuestion::Deployment)?;
    let http = attributes.request.and_then(|request| request.http);
    let HttpRequest { method, headers, path, host, header_map } = http.ok_or(BadQuestion::Message)?;
    let fields = match header_map {
        Some(RawHeaders { headers }) => fields(headers.iter().map(Field::bytes))?,
        None => fields(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))?,
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadQuestion::Malformed("method"))?;
    let host = HeaderValue::from_str(&host).map_err(|_| BadQuestion::Malformed("host"))?;
    let target = question::target(path.as_bytes(), "path")?;
    Ok(Question::of(Dialect::Grpc, deployment, method, target, host, fields))
}

/// All but pseudo-header fields, which the question has beside them.
fn fields<'f>(all: impl Iterator<Item = (&'f str, &'f [u8])>) -> Result<HeaderMap, BadQuestion> {
    let mut fields = HeaderMap::new();
    for (name, value) in all.filter(|(name, _)| !name.starts_with(':')) {
        let name = HeaderName::try_from(name).map_err(|_| BadQuestion::Malformed("header"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| BadQuestion::Malformed("header"))?;
        fields.try_append(name, value).map_err(|_| BadQuestion::Malformed("header"))?;
    }
    Ok(fields)
}

impl Field {
    fn bytes(&self) -> (&str, &[u8]) {
        (&self.key, if self.raw_value.is_empty() { self.value.as_bytes() } else { &self.raw_value })
    }
}

/// The answer as gRPC has it. Closes `record`.
pub fn answer(answer: Answer, record: Box<Record>) -> Response<ResponseBody> {
    let (head, body) = answer.response.into_parts();
    let headers = head.headers.iter().map(|(name, value)| FieldOption {
        header: Some(Field {
            key: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Vec::new(),
        }),
        append_action: OVERWRITE,
    });
    let headers = headers.collect();
    let message = if head.status == StatusCode::OK {
        // Envoy takes out last: what is said anew must not be among it, nor what Envoy itself has written.
        let by_envoy = ["connection", "upgrade", "x-forwarded-for", "x-forwarded-proto"];
        let stays = |name: &&HeaderName| head.headers.contains_key(*name) || by_envoy.contains(&name.as_str());
        let kept_back = answer.kept_back.iter().filter(|name| !stays(name));
        let headers_to_remove = kept_back.map(|name| name.as_str().to_owned()).collect();
        CheckResponse {
            status: Some(RpcStatus { code: OK }),
            denied_response: None,
            ok_response: Some(OkHttpResponse { headers, headers_to_remove }),
        }
    } else {
        CheckResponse {
            status: Some(RpcStatus { code: PERMISSION_DENIED }),
            denied_response: Some(DeniedHttpResponse {
                status: Some(HttpStatus { code: head.status.as_u16().into() }),
                headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            }),
            ok_response: None,
        }
    };
    let mut bytes = BytesMut::with_capacity(PREFIX + message.encoded_len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    let response = reply::with_body(grpc(bytes.freeze()), record, RequestOutcome::Complete);
    response.map(|body| body.with_trailers(HeaderMap::from_iter([(GRPC_STATUS.clone(), HeaderValue::from(OK))])))
}

/// The question could not be read. Envoy then does what it is configured to do if it gets no answer.
pub fn fail(reason: BadQuestion, record: Box<Record>) -> Response<ResponseBody> {
    let mut response = grpc(Bytes::new());
    response.headers_mut().insert(&GRPC_STATUS, HeaderValue::from(INVALID_ARGUMENT));
    if let Ok(message) = HeaderValue::try_from(reason.to_string()) {
        response.headers_mut().insert(&GRPC_MESSAGE, message);
    }
    reply::with_body(response, record, RequestOutcome::Complete)
}

fn grpc(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(request: &CheckRequest) -> Bytes {
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], length.as_slice(), &message].concat().into()
    }

    fn asking(http: HttpRequest) -> CheckRequest {
        let context_extensions = HashMap::from([("deployment".to_owned(), "a".to_owned())]);
        let request = Some(AskedRequest { http: Some(http) });
        CheckRequest { attributes: Some(AttributeContext { request, context_extensions }) }
    }

    fn http() -> HttpRequest {
        HttpRequest {
            method: "POST".to_owned(),
            headers: HashMap::from([(":path", "/x"), ("authorization", "Bearer a"), ("te", "trailers")])
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            path: "/summarize?a=b".to_owned(),
            host: "bento.test".to_owned(),
            header_map: None,
        }
    }

    #[test]
    fn what_envoy_tells_of_its_request() {
        let question = parse(framed(&asking(http()))).unwrap();
        assert_eq!((question.head.method.as_str(), question.head.uri.to_string().as_str()), ("POST", "/summarize?a=b"));
        assert_eq!(question.head.headers["host"], "bento.test");
        assert_eq!(question.deployment.as_str(), "a");
        assert_eq!(question.head.headers["authorization"], "Bearer a");
        assert_eq!(question.head.headers.len(), 2);
        // Here they are no fields of the question, and so the caller's, which Envoy is told to take out.
        let mut callers = http();
        callers.headers = HashMap::from([("x-original-url".to_owned(), "/other".to_owned())]);
        assert_eq!(parse(framed(&asking(callers))).unwrap().head.headers["x-original-url"], "/other");
    }

    #[test]
    fn raw_fields_keep_repetitions_apart() {
        let field =
            |raw: &[u8]| Field { key: "authorization".to_owned(), value: String::new(), raw_value: raw.to_vec() };
        let header_map = Some(RawHeaders { headers: vec![field(b"Bearer a"), field(b"Bearer b")] });
        let question = parse(framed(&asking(HttpRequest { header_map, ..http() }))).unwrap();
        assert_eq!(question.head.headers.get_all("authorization").iter().count(), 2);
    }

    #[test]
    fn what_is_no_question() {
        let whole = framed(&asking(http()));
        for length in 0..whole.len() {
            assert!(parse(whole.slice(..length)).is_err(), "{length}");
        }
        let mut compressed = whole.to_vec();
        compressed[0] = 1;
        assert!(parse(compressed.into()).is_err());
        assert!(parse([&whole[..], b"x"].concat().into()).is_err());
        assert!(parse(framed(&CheckRequest { attributes: None })).is_err());
        for extensions in [None, Some(("deployment", "A B")), Some(("name", "a"))] {
            let mut unnamed = asking(http());
            let extensions = extensions.map(|(key, value)| (key.to_owned(), value.to_owned()));
            unnamed.attributes.as_mut().unwrap().context_extensions = extensions.into_iter().collect();
            assert_eq!(parse(framed(&unnamed)).unwrap_err(), BadQuestion::Deployment);
        }
        for (name, broken) in [
            ("path", HttpRequest { path: "summarize".to_owned(), ..http() }),
            ("path", HttpRequest { path: "/a#b".to_owned(), ..http() }),
            ("host", HttpRequest { host: "a\nb".to_owned(), ..http() }),
            ("method", HttpRequest { method: String::new(), ..http() }),
            ("header", HttpRequest { headers: HashMap::from([("a b".to_owned(), String::new())]), ..http() }),
        ] {
            assert_eq!(parse(framed(&asking(broken))).unwrap_err(), BadQuestion::Malformed(name));
        }
    }
}
