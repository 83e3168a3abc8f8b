//! What every page has in common: how it is rendered, and its header fields.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};

use super::words::sentence;
use crate::management::error::ApiError;

/// Nothing but our own stylesheet, script and forms, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "console/message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
}

pub fn message(status: StatusCode, title: &str, text: &str) -> Response {
    rendered(status, &Message { title, text })
}

pub fn problem(error: &ApiError) -> Response {
    let title = match error.status() {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Access denied",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_server_error() => "Something went wrong",
        _ => "Request failed",
    };
    message(error.status(), title, &sentence(error.text()))
}

pub fn rendered(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => secured((status, html).into_response(), POLICY),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn secured(mut response: Response, policy: &'static str) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, policy),
        // Nobody else is told where somebody came from. `no-referrer` would have browsers send `Origin: null` with our own
        // forms as well.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

pub fn redirect(to: &str) -> Response {
    Redirect::to(to).into_response()
}

/// A path of the console; the front page where it is none.
pub fn local(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if path && !next.contains('\\') { next } else { "/" }
}
