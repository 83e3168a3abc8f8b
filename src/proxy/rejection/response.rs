//! A rejection as a response: RFC 6750 challenges, RFC 9457 bodies.
//!
//! `detail` comes first because BentoML's client prints the body as it is, and `error` is there because OpenAI's clients
//! print that.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{Challenge, Rejection, ReplyContext, Row};

impl Rejection {
    pub fn respond(self, context: &ReplyContext<'_>) -> Response<Bytes> {
        let row = self.row();
        let detail = self.sentence(context.named_deployment);
        let body = problem(&row, &detail, context.request_id);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = row.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = row.challenge
            && let Ok(value) = HeaderValue::try_from(challenge_text(challenge, &detail, context))
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if row.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if row.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl Rejection {
    /// The response as bytes of HTTP/1.1, on a connection that is closed behind it. For what has no challenge.
    pub fn on_closing_connection(self, request_id: &str) -> Vec<u8> {
        let response = self.respond(&ReplyContext { request_id, realm: "", named_deployment: None });
        let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
        for (name, value) in response.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let length = response.body().len();
        bytes.extend(format!("content-length: {length}\r\nconnection: close\r\n\r\n").into_bytes());
        bytes.extend(response.body());
        bytes
    }
}

/// Written at once: a refusal should cost next to nothing. All that it is made of is plain ASCII without quotes: sentences,
/// codes, and ids as [`RequestId`](crate::proxy::request_id::RequestId) takes them.
fn problem(row: &Row, detail: &str, request_id: &str) -> String {
    let (status, code) = (row.status, row.code);
    [
        "{\"detail\":\"",
        detail,
        "\",\"code\":\"",
        code,
        "\",\"status\":",
        status.as_str(),
        ",\"title\":\"",
        status.canonical_reason().unwrap_or_default(),
        "\",\"request_id\":\"",
        request_id,
        "\",\"error\":{\"message\":\"",
        detail,
        "\",\"type\":\"",
        error_type(status),
        "\",\"code\":\"",
        code,
        "\"}}",
    ]
    .concat()
}

fn challenge_text(challenge: Challenge, detail: &str, context: &ReplyContext<'_>) -> String {
    let mut text = String::with_capacity(128 + context.realm.len() + detail.len());
    text.push_str("Bearer realm=\"");
    text.extend(context.realm.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)));
    text.push('"');
    if let Challenge::Error(error) = challenge {
        text.extend([", error=\"", error, "\", error_description=\"", detail, "\""]);
        if let (true, Some(name)) = (error == "insufficient_scope", context.named_deployment) {
            text.extend([", scope=\"deployment:", name, "\""]);
        }
    }
    text
}

/// OpenAI's families of errors.
fn error_type(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    }
}
