//! Every way in which a request is not forwarded or not answered by its upstream, and the one table that turns them into
//! responses.
//!
//! RFC 6750 challenges, RFC 9457 bodies. `detail` comes first because BentoML's client prints the body as it is, and
//! `error` is there because OpenAI's clients print that.

use std::fmt;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::{
    credential::{BadCredential, Credential},
    deadlines::{Cut, Timer},
    target::BadTarget,
};
use crate::{
    domain::{decision::Reason, token::TokenUid},
    index::{
        freshness::NotFresh,
        verify::{NotProven, VerifyError},
    },
};

/// The caller may not, or what it sent cannot be decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    NoCredential,
    Credential(BadCredential),
    /// Unknown token or wrong secret.
    InvalidToken,
    /// The secret was proven, hence the reason may be said.
    Refused {
        reason: Reason,
        token: TokenUid,
    },
    /// The browser was signed in, and is no more.
    SessionOver,
    /// Only a cookie vouches for it, and another site's page asks.
    CrossSite,
    /// Somebody has stopped the Deployment, until they start it again.
    Terminated,
    Unavailable(Unavailable),
}

/// Our own trouble: never a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No decision can be made: the store was never reached.
    NeverLoaded,
    Stale,
    /// The token is not known, and the store that would know cannot be asked.
    StoreAway,
    Overloaded,
    Internal,
}

/// Everything that ends a request with an answer of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    Target(BadTarget),
    BadRequest(BadRequest),
    Denied(Denied),
    Upstream(UpstreamFailure),
    Cut(Cut),
}

/// The request is not one that can be passed on safely. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("the request has Transfer-Encoding other than one chunked")]
    TransferEncoding,
    #[error("Connection names a field that must reach the service")]
    Connection,
    #[error("an upgrade must be a GET without body")]
    Upgrade,
    #[error("this Deployment refuses pickled content and Payload-* fields")]
    Pickle,
    #[error("the body is larger than this Deployment takes")]
    TooLarge,
    #[error("the body is malformed, or has another length than announced")]
    Body,
    #[error("the body broke off")]
    BrokenOff,
}

/// The upstream did not answer properly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamFailure {
    #[error("the service cannot be reached")]
    Connect,
    #[error("the service closed the connection without an answer")]
    Closed,
    #[error("the service answered with something that is not HTTP")]
    Malformed,
}

/// What the answer needs to know of the request.
pub struct ReplyContext<'a> {
    pub request_id: &'a str,
    /// The organization's name.
    pub realm: &'a str,
    /// The Deployment that was asked for, where the request itself says its name.
    pub named_deployment: Option<&'a str>,
}

struct Row {
    status: StatusCode,
    /// Stable: in the log, in the body, in the documentation.
    code: &'static str,
    /// RFC 6750 § 3.1. `None`: no challenge.
    challenge: Option<Challenge>,
    retry: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Challenge {
    /// Nothing was sent, so nothing is said to be wrong with it.
    Bare,
    Error(&'static str),
}

impl Rejection {
    /// The whole table.
    fn row(self) -> Row {
        use StatusCode as S;
        let row = |status, code| Row { status, code, challenge: None, retry: false };
        let unauthorized =
            |code| Row { challenge: Some(Challenge::Error("invalid_token")), ..row(S::UNAUTHORIZED, code) };
        let invalid_request =
            |code| Row { challenge: Some(Challenge::Error("invalid_request")), ..row(S::BAD_REQUEST, code) };
        let later = |code| Row { retry: true, ..row(S::SERVICE_UNAVAILABLE, code) };
        match self {
            Self::Target(BadTarget::Method) => row(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Target(BadTarget::TooLong) => row(S::URI_TOO_LONG, "uri_too_long"),
            Self::Target(BadTarget::Host | BadTarget::Authority) => row(S::BAD_REQUEST, "bad_host"),
            Self::Target(BadTarget::Path | BadTarget::DotSegment) => row(S::BAD_REQUEST, "bad_path"),
            Self::BadRequest(BadRequest::TransferEncoding) => row(S::BAD_REQUEST, "bad_transfer_encoding"),
            Self::BadRequest(BadRequest::Connection) => row(S::BAD_REQUEST, "bad_connection"),
            Self::BadRequest(BadRequest::Upgrade) => row(S::BAD_REQUEST, "bad_upgrade"),
            Self::BadRequest(BadRequest::Pickle) => row(S::UNSUPPORTED_MEDIA_TYPE, "pickle_refused"),
            Self::BadRequest(BadRequest::TooLarge) => row(S::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BadRequest(BadRequest::Body | BadRequest::BrokenOff) => row(S::BAD_REQUEST, "bad_body"),
            Self::Denied(denial) => match denial {
                Denied::NoCredential => {
                    Row { challenge: Some(Challenge::Bare), ..row(S::UNAUTHORIZED, "credential_missing") }
                }
                Denied::Credential(BadCredential::Several) => invalid_request("credential_repeated"),
                Denied::Credential(BadCredential::NotBearer) => invalid_request("credential_malformed"),
                Denied::Credential(BadCredential::NotAToken) => unauthorized("token_malformed"),
                Denied::InvalidToken => unauthorized("token_invalid"),
                Denied::Refused { reason, .. } => reason_row(reason),
                Denied::SessionOver => Row { challenge: Some(Challenge::Bare), ..row(S::UNAUTHORIZED, "session_over") },
                Denied::CrossSite => row(S::FORBIDDEN, "cross_site"),
                Denied::Terminated => row(S::SERVICE_UNAVAILABLE, "deployment_terminated"),
                Denied::Unavailable(trouble) => match trouble {
                    Unavailable::NeverLoaded => later("store_never_reached"),
                    Unavailable::Stale => later("store_stale"),
                    Unavailable::StoreAway => later("store_away"),
                    Unavailable::Overloaded => later("overloaded"),
                    Unavailable::Internal => row(S::INTERNAL_SERVER_ERROR, "internal_error"),
                },
            },
            Self::Upstream(UpstreamFailure::Connect) => row(S::BAD_GATEWAY, "upstream_unreachable"),
            Self::Upstream(UpstreamFailure::Closed) => row(S::BAD_GATEWAY, "upstream_closed"),
            Self::Upstream(UpstreamFailure::Malformed) => row(S::BAD_GATEWAY, "upstream_malformed"),
            Self::Cut(Cut::Timeout(timer)) => match timer {
                Timer::Connect => row(S::GATEWAY_TIMEOUT, "connect_timeout"),
                Timer::FirstByte => row(S::GATEWAY_TIMEOUT, "first_byte_timeout"),
                Timer::UpstreamIdle => row(S::GATEWAY_TIMEOUT, "upstream_idle_timeout"),
                Timer::DownstreamIdle => row(S::REQUEST_TIMEOUT, "body_timeout"),
            },
            Self::Cut(Cut::Token(reason)) => reason_row(reason),
            Self::Cut(Cut::Drained) => later("draining"),
        }
    }

    /// The stable code, for the log.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// `None`: the caller was never proven to hold a token.
    pub fn token(self) -> Option<TokenUid> {
        match self {
            Self::Denied(Denied::Refused { token, .. }) => Some(token),
            _ => None,
        }
    }

    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// Whether signing in could help.
    pub fn asks_to_sign_in(self) -> bool {
        matches!(self.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && matches!(self, Self::Denied(denial) if denial != Denied::CrossSite)
    }

    /// The sentence for the caller.
    pub fn sentence(self, named_deployment: Option<&str>) -> String {
        Detail { failure: self, named_deployment }.to_string()
    }

    pub fn respond(self, to: &ReplyContext<'_>) -> Response<Bytes> {
        let row = self.row();
        let detail = self.sentence(to.named_deployment);
        let problem = Problem {
            detail: &detail,
            code: row.code,
            status: row.status.as_u16(),
            title: row.status.canonical_reason().unwrap_or_default(),
            request_id: to.request_id,
            error: ErrorMember { message: &detail, r#type: error_type(row.status), code: row.code },
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = row.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = row.challenge
            && let Ok(value) = HeaderValue::try_from(challenge_text(challenge, &detail, to))
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

fn reason_row(reason: Reason) -> Row {
    let row = |status, code, challenge| Row { status, code, challenge, retry: false };
    let invalid = Some(Challenge::Error("invalid_token"));
    match reason {
        Reason::Revoked => row(StatusCode::UNAUTHORIZED, "token_revoked", invalid),
        Reason::Expired => row(StatusCode::UNAUTHORIZED, "token_expired", invalid),
        Reason::Rotated => row(StatusCode::UNAUTHORIZED, "token_rotated", invalid),
        Reason::OwnerDisabled => row(StatusCode::UNAUTHORIZED, "owner_disabled", invalid),
        Reason::OutOfScope => {
            row(StatusCode::FORBIDDEN, "insufficient_scope", Some(Challenge::Error("insufficient_scope")))
        }
        Reason::NoSuchDeployment => row(StatusCode::NOT_FOUND, "deployment_not_found", None),
    }
}

fn challenge_text(challenge: Challenge, detail: &str, to: &ReplyContext<'_>) -> String {
    let realm: String = to.realm.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
    match (challenge, to.named_deployment) {
        (Challenge::Bare, _) => format!("Bearer realm=\"{realm}\""),
        (Challenge::Error(error @ "insufficient_scope"), Some(name)) => {
            format!(
                "Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{detail}\", scope=\"deployment:{name}\""
            )
        }
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

/// The sentence for the caller: what happened, what was expected, what to do. Plain ASCII without quotes, since it also
/// stands in a quoted string of the challenge (RFC 6750 § 3).
struct Detail<'a> {
    failure: Rejection,
    named_deployment: Option<&'a str>,
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure {
            Rejection::Target(reason) => reason.fmt(f),
            Rejection::BadRequest(reason) => reason.fmt(f),
            Rejection::Upstream(reason) => write!(f, "{reason}; try again, and tell its operator if it stays so"),
            Rejection::Denied(Denied::Refused { reason, .. }) | Rejection::Cut(Cut::Token(reason)) => {
                self.reason(reason, f)
            }
            Rejection::Denied(Denied::NoCredential) => {
                f.write_str("an API token is needed; send it as Authorization: Bearer TOKEN")
            }
            Rejection::Denied(Denied::Credential(BadCredential::Several)) => {
                f.write_str("more than one credential was sent; send exactly one Authorization: Bearer TOKEN")
            }
            Rejection::Denied(Denied::Credential(BadCredential::NotBearer)) => {
                f.write_str("the credential is malformed; send exactly Authorization: Bearer TOKEN")
            }
            Rejection::Denied(Denied::Credential(BadCredential::NotAToken)) => f.write_str(
                "the token is malformed: it does not have the shape of this gateway's tokens (bgw_...); \
                 check that it was copied whole and that the shell replaced its variable",
            ),
            Rejection::Denied(Denied::InvalidToken) => f.write_str("the token is not valid"),
            Rejection::Denied(Denied::SessionOver) => f.write_str("this browser is not signed in any more; sign in again"),
            Rejection::Denied(Denied::CrossSite) => f.write_str(
                "this request was made by a page of another site, which may not act as you; send a token if it is yours",
            ),
            Rejection::Denied(Denied::Terminated) => {
                f.write_str("the Deployment is terminated; it answers again when its operator has started it")
            }
            Rejection::Denied(Denied::Unavailable(trouble)) => f.write_str(match trouble {
                Unavailable::NeverLoaded => "the gateway has not reached its store yet; try again soon",
                Unavailable::Stale => "the gateway has not reached its store for too long; try again soon",
                Unavailable::StoreAway => "the gateway cannot look this token up at the moment; try again soon",
                Unavailable::Overloaded => "the gateway is verifying too many new tokens; try again soon",
                Unavailable::Internal => "the gateway failed to handle this request; its log says why",
            }),
            Rejection::Cut(Cut::Timeout(timer)) => f.write_str(match timer {
                Timer::Connect => "the service did not accept a connection in time (connect timeout)",
                Timer::FirstByte => "the service did not begin to answer in time (first byte timeout)",
                Timer::UpstreamIdle => "the service was silent for too long (idle timeout)",
                Timer::DownstreamIdle => "the request body did not arrive in time (idle timeout)",
            }),
            Rejection::Cut(Cut::Drained) => f.write_str("the gateway is shutting down; try again"),
        }
    }
}

impl Detail<'_> {
    fn reason(&self, reason: Reason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (reason, self.named_deployment) {
            (Reason::Revoked, _) => f.write_str("the token was revoked; ask its owner for a new one"),
            (Reason::Expired, _) => f.write_str("the token has expired; ask its owner for a new one"),
            (Reason::Rotated, _) => f.write_str("the token was rotated and this secret is retired; use the new one"),
            (Reason::OwnerDisabled, _) => f.write_str("the owner of the token is disabled"),
            // Only names that the request spells out are repeated: an existing Deployment is not told from a missing one.
            (Reason::OutOfScope, Some(name)) => write!(f, "the token lacks the scope deployment:{name}"),
            (Reason::OutOfScope, None) => f.write_str("the token has no scope for the Deployment asked for"),
            (Reason::NoSuchDeployment, Some(name)) => write!(f, "there is no Deployment {name} here"),
            (Reason::NoSuchDeployment, None) => f.write_str("there is no Deployment at this address"),
        }
    }
}

impl Denied {
    /// A session that is not known is over: there is nothing in a cookie that its browser could mend.
    pub fn of(reason: NotProven, credential: Credential<'_>) -> Self {
        match (reason, credential) {
            (NotProven::Invalid, Credential::Session(_)) => Self::SessionOver,
            (reason, _) => reason.into(),
        }
    }
}

// === conversions ===

impl From<BadCredential> for Denied {
    fn from(bad: BadCredential) -> Self {
        Self::Credential(bad)
    }
}

impl From<NotProven> for Denied {
    fn from(reason: NotProven) -> Self {
        match reason {
            NotProven::Invalid => Self::InvalidToken,
            NotProven::StoreAway => Self::Unavailable(Unavailable::StoreAway),
            NotProven::Unavailable(VerifyError::Overloaded) => Self::Unavailable(Unavailable::Overloaded),
            NotProven::Unavailable(error @ VerifyError::Broken(_)) => {
                tracing::error!(%error, "a token could not be verified");
                Self::Unavailable(Unavailable::Internal)
            }
        }
    }
}

impl From<NotFresh> for Unavailable {
    fn from(reason: NotFresh) -> Self {
        match reason {
            NotFresh::NeverLoaded => Self::NeverLoaded,
            NotFresh::Stale => Self::Stale,
        }
    }
}

impl From<BadTarget> for Rejection {
    fn from(bad: BadTarget) -> Self {
        Self::Target(bad)
    }
}

impl From<BadRequest> for Rejection {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad)
    }
}

impl From<Denied> for Rejection {
    fn from(denial: Denied) -> Self {
        Self::Denied(denial)
    }
}

impl From<UpstreamFailure> for Rejection {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Upstream(failure)
    }
}

impl From<Cut> for Rejection {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}
