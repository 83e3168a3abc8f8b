//! What every page has in common: how it is rendered.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::words::sentence;
use crate::{
    http::page::{self, Scripts},
    management::error::ApiError,
};

#[derive(Template)]
#[template(path = "console/message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
}

/// What a link begins with that leads back to the Deployment from which a browser has come.
pub const OPEN: &str = "/open?";

/// Goes on to a Deployment by a step of the browser's own: where a form has been sent, browsers hold the page's `form-action`
/// against the whole chain of redirects.
#[derive(Template)]
#[template(path = "console/continue.html")]
pub struct ContinuePage<'a> {
    pub next: &'a str,
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
    page::rendered(status, template, Scripts::Own)
}

pub fn redirect(to: &str) -> Response {
    page::redirect(to)
}

/// A path of the console; the front page where it is none.
pub fn local(next: &str) -> &str {
    page::local_path(next).unwrap_or("/")
}
