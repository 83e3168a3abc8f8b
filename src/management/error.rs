//! An answer that is not what was asked for: one short line of JSON, because the `bentoml` CLI prints the whole body.
//!
//! No `x-trace-id` ever stands beside it: with a 5xx, the CLI would tell its user to report that id to BentoCloud.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use tracing::error;

use super::hints;
use crate::{
    domain::decision::Reason,
    index::verify::{NotProven, VerifyError},
    service::{self, Kind},
};

#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    /// Stable: for programs.
    code: &'static str,
    /// What happened, what was expected, what to do. One line.
    text: String,
}

/// What the body of every error is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorBody {
    /// What happened and what to do, for a person.
    pub error: String,
    /// What happened, for a program.
    pub code: &'static str,
}

/// For a member of a body that cannot be read.
pub fn invalid_value<E: std::fmt::Display>(key: &'static str) -> impl Fn(E) -> ApiError {
    move |error| ApiError::invalid(format!("{key}: {error}"))
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }

    /// The request is not valid.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", text)
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", text)
    }

    pub fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many attempts; try again in a minute")
    }

    /// BentoCloud does this, and the gateway does not.
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", text)
    }

    /// With the Allow field that axum adds to it.
    pub fn wrong_method(text: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
    }

    /// All places in a [`Lane`](crate::http::lane::Lane) are taken.
    pub fn busy() -> Self {
        let text = "the gateway is busy with other requests of this kind; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
    }

    pub fn store_away() -> Self {
        let text = "the gateway cannot reach its store; nothing was changed, try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_away", text)
    }

    pub fn unauthorized(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    /// The gateway's own fault. The log says more than the caller may know.
    fn internal(error: &dyn std::error::Error) -> Self {
        error!(%error, "a management request failed");
        let text = "the request failed; the gateway's log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", text)
    }

    /// Adds a further sentence.
    pub fn and(mut self, hint: &str) -> Self {
        self.text = format!("{}; {hint}", self.text);
        self
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = self.text.replace(|c: char| c.is_control(), " ");
        let mut response = (self.status, Json(ErrorBody { error: text, code: self.code })).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl<E: Into<service::Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        let error = error.into();
        let said = |status, code| {
            let answer = Self::new(status, code, error.to_string());
            match hints::hint(&error) {
                Some(hint) => answer.and(&hint),
                None => answer,
            }
        };
        match error.kind() {
            Kind::Invalid => said(StatusCode::BAD_REQUEST, "invalid"),
            Kind::Conflict => said(StatusCode::CONFLICT, "conflict"),
            Kind::Ended => said(StatusCode::UNAUTHORIZED, "credential_ended"),
            Kind::Forbidden => said(StatusCode::FORBIDDEN, "forbidden"),
            Kind::TooMany => said(StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Kind::NotFound => Self::not_found(error.to_string()),
            Kind::Unavailable => {
                error!(%error, "a management request failed");
                Self::store_away()
            }
            Kind::Uncertain => {
                error!(%error, "it is not known whether a change was made");
                let text = "the gateway lost its store while it made the change; whether the change was made is not known: look, \
                            then make it again if need be";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", text)
            }
            Kind::Internal => Self::internal(&error),
        }
    }
}

impl From<NotProven> for ApiError {
    fn from(reason: NotProven) -> Self {
        match reason {
            NotProven::Invalid | NotProven::Ended => Self::unauthorized("token_invalid", "the token is not valid"),
            NotProven::StoreAway => Self::store_away(),
            NotProven::Unavailable(VerifyError::Overloaded) => {
                let text = "the gateway is verifying too many new tokens; try again in a moment";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
            }
            NotProven::Unavailable(error @ VerifyError::Broken(_)) => Self::internal(&error),
        }
    }
}

impl From<Reason> for ApiError {
    /// The caller has proven the secret, so the reason may be told.
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Revoked => Self::unauthorized("token_revoked", "the token was deleted"),
            Reason::Expired => Self::unauthorized(
                "token_expired",
                "the token has expired; create another one, in the console if need be",
            ),
            Reason::Rotated => Self::unauthorized("token_rotated", "the token was rotated; use its new secret"),
            Reason::OwnerDisabled => Self::unauthorized("owner_disabled", "the owner of the token is disabled"),
            // These concern Deployments, which no operation asks for.
            Reason::OutOfScope
            | Reason::RouteOutOfScope
            | Reason::NoSuchDeployment
            | Reason::RouteClosed(_)
            | Reason::Gone => Self::unauthorized("token_invalid", "the token is not valid"),
        }
    }
}
