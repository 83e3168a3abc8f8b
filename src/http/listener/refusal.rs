//! What the listener itself answers, before the router has the request.

use axum::body::{Body, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};

use super::MAX_TARGET;

/// Why a request is not handed to the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request target is longer than {MAX_TARGET} bytes; send less in it")]
    TargetTooLong,
    #[error("the request does not have one Host field; send exactly one")]
    Host,
}

impl Refusal {
    /// `None`: the router answers.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let hosts = request.headers().get_all(header::HOST).iter().count();
        // HTTP/1.0 knows no Host, and some probes speak it. Which host it is, is for those who ask (RFC 9112 § 3.2).
        let needed = usize::from(request.version() >= Version::HTTP_11);
        if target.len() > MAX_TARGET {
            Some(Self::TargetTooLong)
        } else if hosts > 1 || hosts < needed {
            Some(Self::Host)
        } else {
            None
        }
    }

    pub fn response(self) -> Response<Body> {
        let (status, body) = self.parts();
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = fields();
        response
    }

    /// The same, for a connection of which nothing more is read.
    pub fn on_closing_connection(self) -> Bytes {
        let (status, body) = self.parts();
        let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &fields() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend(format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes());
        bytes.into()
    }

    fn parts(self) -> (StatusCode, String) {
        let (status, code) = match self {
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long"),
            Self::Host => (StatusCode::BAD_REQUEST, "bad_host"),
        };
        (status, serde_json::json!({ "error": self.to_string(), "code": code }).to_string())
    }
}

fn fields() -> HeaderMap {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ]
    .into_iter()
    .collect()
}
