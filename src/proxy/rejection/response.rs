//! A rejection as a response: RFC 6750 challenges, RFC 9457 bodies.
//!
//! `detail` comes first because BentoML's client prints the body as it is, and `error` is there because OpenAI's clients
//! print that.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{About, Challenge, Rejection, ReplyContext, Row};
use crate::proxy::{
    own_paths::{ERRORS, OWN_PAGES},
    rate_fields::{say_budget, say_rate, whole_seconds},
};

/// A rejection's response but for the request's id: the same for all requests that are rejected in the same words.
pub(super) struct Template {
    status: StatusCode,
    pub(super) headers: HeaderMap,
    body_before_id: String,
    body_behind_id: String,
}

impl Template {
    /// `realm` and `about`: as in the [`ReplyContext`].
    pub(super) fn new(rejection: Rejection, realm: &str, about: About<'_>) -> Self {
        let row = rejection.row();
        let detail = rejection.sentence(about);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = row.challenge
            && let Ok(value) = HeaderValue::try_from(challenge_text(challenge, &detail, realm, about.named_deployment))
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if row.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if let Rejection::RateLimited(left) = rejection {
            say_rate(&mut headers, &left);
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(left.wait)));
        } else if let Rejection::BudgetExhausted(exhausted) = rejection {
            say_budget(&mut headers, &exhausted);
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(exhausted.wait)));
        } else if row.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let (body_before_id, body_behind_id) = problem(&row, &detail);
        Self { status: row.status, headers, body_before_id, body_behind_id }
    }

    pub(super) fn fill(&self, request_id: &str) -> Response<Bytes> {
        let parts = [&self.body_before_id, request_id, &self.body_behind_id];
        let mut body = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.into_iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl Rejection {
    pub fn respond(self, context: &ReplyContext<'_>) -> Response<Bytes> {
        Template::new(self, context.realm, context.about).fill(context.request_id)
    }

    /// The response as bytes of HTTP/1.1, on a connection that is closed behind it. For what has no challenge.
    pub fn on_closing_connection(self, request_id: &str) -> Vec<u8> {
        let response = self.respond(&ReplyContext { request_id, realm: "", about: About::default() });
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

/// What stands before the request's id, and what behind it. All that it is made of is plain ASCII without quotes:
/// sentences, codes, paths, and ids as [`of_request`](crate::proxy::request_id::of_request) takes them.
fn problem(row: &Row, detail: &str) -> (String, String) {
    let (status, code) = (row.status, row.code);
    let title = status.canonical_reason().unwrap_or_default();
    let kind = error_type(status);
    let before_id = format!(
        r#"{{"detail":"{detail}","code":"{code}","status":{},"title":"{title}","type":"{OWN_PAGES}{ERRORS}#{code}","request_id":""#,
        status.as_str()
    );
    let behind_id = format!(r#"","error":{{"message":"{detail}","type":"{kind}","code":"{code}"}}}}"#);
    (before_id, behind_id)
}

fn challenge_text(challenge: Challenge, detail: &str, realm: &str, named_deployment: Option<&str>) -> String {
    let mut text = String::with_capacity(128 + realm.len() + detail.len());
    text.push_str("Bearer realm=\"");
    text.extend(realm.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)));
    text.push('"');
    let error = match challenge {
        Challenge::Bare => return text,
        Challenge::Error(error) => error,
        Challenge::Scope(_) => "insufficient_scope",
    };
    text.extend([", error=\"", error, "\", error_description=\"", detail, "\""]);
    if let (Challenge::Scope(routes), Some(name)) = (challenge, named_deployment) {
        text.extend([", scope=\"deployment:", name, routes.suffix(), "\""]);
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
