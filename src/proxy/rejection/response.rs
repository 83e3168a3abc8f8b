//! A rejection as a response: RFC 6750 challenges, RFC 9457 bodies.
//!
//! `detail` comes first because BentoML's client prints the body as it is, and `error` is there because OpenAI's clients
//! print that.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{Challenge, Rejection, ReplyContext};

#[derive(Serialize)]
struct Problem<'a> {
    detail: &'a str,
    code: &'static str,
    status: u16,
    title: &'static str,
    request_id: &'a str,
    error: ErrorMember<'a>,
}

#[derive(Serialize)]
struct ErrorMember<'a> {
    message: &'a str,
    r#type: &'static str,
    code: &'static str,
}

impl Rejection {
    pub fn respond(self, context: &ReplyContext<'_>) -> Response<Bytes> {
        let row = self.row();
        let detail = self.sentence(context.named_deployment);
        let problem = Problem {
            detail: &detail,
            code: row.code,
            status: row.status.as_u16(),
            title: row.status.canonical_reason().unwrap_or_default(),
            request_id: context.request_id,
            error: ErrorMember { message: &detail, r#type: error_type(row.status), code: row.code },
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
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

fn challenge_text(challenge: Challenge, detail: &str, context: &ReplyContext<'_>) -> String {
    let realm: String = context.realm.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
    match (challenge, context.named_deployment) {
        (Challenge::Bare, _) => format!("Bearer realm=\"{realm}\""),
        (Challenge::Error(error @ "insufficient_scope"), Some(name)) => format!(
            "Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{detail}\", scope=\"deployment:{name}\""
        ),
        (Challenge::Error(error), _) => {
            format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{detail}\"")
        }
    }
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
