//! What every page has in common: its frame, its headers, its words for times and numbers.

use std::time::Duration;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use time::OffsetDateTime;

use super::visit::SignedIn;
use crate::{domain::timestamp::Timestamp, management::error::ApiError};

/// Nothing but our own stylesheet, script and forms, and nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The frame of a page for somebody who has signed in.
pub struct Shell {
    pub user: String,
    pub email: String,
    pub admin: bool,
    pub csrf: String,
    /// Which entry of the menu it belongs to.
    pub here: &'static str,
    pub organization: String,
}

impl Shell {
    pub fn new(visitor: &SignedIn, here: &'static str) -> Self {
        Self {
            user: visitor.user.name.clone(),
            email: visitor.user.email.to_string(),
            admin: visitor.is_admin(),
            csrf: visitor.csrf_token().to_owned(),
            here,
            organization: visitor.config.organization.clone(),
        }
    }
}

/// The result of every page.
pub type PageResult = Result<Response, Problem>;

/// An error as a page.
pub struct Problem(ApiError);

impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        problem(&self.0)
    }
}

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
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::FORBIDDEN => "That is not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_server_error() => "The gateway has trouble",
        _ => "That did not work",
    };
    message(error.status(), title, &sentence(error.text()))
}

/// As a sentence of its own.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    first.chain(letters).collect::<String>() + end
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

// === words ===

/// A moment, for people: what stands there, and the exact time.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// `3 minutes ago`, `in 90 days`.
    pub words: String,
    /// `24 Nov 2026, 10:34 UTC`.
    pub exact: String,
    /// RFC 3339.
    pub machine: String,
}

impl Moment {
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        let words = if at > now {
            format!("in {}", span(at.since(now)))
        } else {
            match now.since(at) {
                short if short < Duration::from_secs(60) => "just now".to_owned(),
                long => format!("{} ago", span(long)),
            }
        };
        Self { words, exact: exact(at), machine: at.to_string() }
    }
}

pub fn exact(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = OffsetDateTime::from(at);
    let month = MONTHS[usize::from(u8::from(at.month()) - 1)];
    format!("{} {month} {}, {:02}:{:02} UTC", at.day(), at.year(), at.hour(), at.minute())
}

/// `2026-11-24`, for a field of a form.
pub fn date(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}

/// The largest unit that fits, rounded to the nearest.
fn span(duration: Duration) -> String {
    let minutes = (duration.as_secs() + 30) / 60;
    let (number, unit) = match minutes {
        0..=59 => (minutes.max(1), "minute"),
        60..=2159 => ((minutes + 30) / 60, "hour"),
        2160..=175_199 => ((minutes + 720) / 1440, "day"),
        _ => ((minutes + 21_900) / 43_800, "month"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// `1 234 567`, with narrow spaces.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_in_words() {
        let now = Timestamp::parse("2026-11-24T10:34:56Z").unwrap();
        let at = |seconds: i64| Moment::new(Timestamp::from_millis(now.as_millis() + seconds * 1000), now).words;
        assert_eq!(at(-5), "just now");
        assert_eq!(at(-100), "2 minutes ago");
        assert_eq!(at(-90 * 60), "2 hours ago");
        assert_eq!(at(90 * 86_400), "in 90 days");
        assert_eq!(at(86_400), "in 24 hours");
        assert_eq!(at(365 * 86_400), "in 12 months");
        assert_eq!(exact(now), "24 Nov 2026, 10:34 UTC");
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(12), "12");
        assert_eq!(sentence("there is no such user"), "There is no such user.");
    }
}
