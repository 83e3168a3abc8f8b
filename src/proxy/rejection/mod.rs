//! Every way in which a request is not forwarded or not answered by its upstream, and the one table that gives each its
//! status, code and challenge. [`sentence`] words them for the caller, [`cause`] for the operator; [`response`] makes a
//! response of them.

mod cause;
mod prepared;
mod response;
mod sentence;
#[cfg(test)]
mod tests;
mod tls_fault;
mod upstream_failure;

use http::StatusCode;

pub use self::{
    prepared::PreparedResponses,
    tls_fault::TlsFault,
    upstream_failure::{Closed, Excerpt, Malformed, UpstreamFailure},
};
use super::{
    credential::BadCredential,
    deadlines::{Cut, Timer},
    forward_auth::question::BadQuestion,
    permit::{Denied, Unavailable},
    target::BadTarget,
};
use crate::{
    domain::{decision::Reason, deployment_scope::Routes, token::TokenUid},
    index::{budgets::Exhausted, rate::Left},
};

/// Everything that ends a request with a response of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    Target(BadTarget),
    BadRequest(BadRequest),
    Denied(Denied),
    Upstream(UpstreamFailure),
    /// There are as many connections to upstreams as there may be.
    OutOfConnections,
    Cut(Cut),
    /// Another proxy asked in a way that the gateway cannot answer.
    Question(BadQuestion),
    /// As many requests wait for the Deployment as may.
    QueueFull,
    /// The service is not there, and as many requests wait for it as may.
    Starting,
    /// The token has asked the Deployment as often as it may.
    RateLimited(Left),
    /// What may be used of the Deployment in a day or month is used up.
    BudgetExhausted(Exhausted),
}

/// The request is not one that can be passed on safely. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("the header is too large")]
    HeaderTooLarge,
    #[error("the header has too many fields")]
    TooManyFields,
    #[error("the request has Transfer-Encoding other than one chunked")]
    TransferEncoding,
    #[error("Connection names a field that must reach the service")]
    Connection,
    #[error("Connection has too many options")]
    ConnectionOptions,
    #[error("an upgrade must be a GET without body")]
    Upgrade,
    #[error("the name of a field is another spelling of one that only the gateway may set")]
    Spelling,
    #[error("scripts of service workers are not served: one could read what people type on the gateway's pages")]
    ServiceWorker,
    #[error(
        "the token opens some routes of the Deployment only, and the request has a field by which services take another method \
         or path than those of its first line, such as X-HTTP-Method-Override; leave it out"
    )]
    RouteOverride,
    #[error("this Deployment refuses pickled content")]
    Pickle,
    #[error("this Deployment refuses Payload-* fields, by which Bento would unpickle what comes with them")]
    PayloadField,
    #[error("the body is larger than this Deployment takes")]
    TooLarge,
    #[error("the body is malformed, or has another length than announced")]
    Body,
    #[error("the body broke off")]
    BrokenOff,
    #[error("the connection began with the PROXY protocol, which the gateway does not read from this peer")]
    ProxyProtocol,
    #[error("the connection has to begin with the PROXY protocol, since its peer is a trusted proxy")]
    NoProxyProtocol,
}

/// What the response may say of the request.
#[derive(Clone, Copy)]
pub struct ReplyContext<'a> {
    pub request_id: &'a str,
    /// The organization's name.
    pub realm: &'a str,
    pub about: About<'a>,
}

/// What the words of a rejection are about.
#[derive(Clone, Copy, Default)]
pub struct About<'a> {
    /// The Deployment that was asked for, where the request itself says its name.
    pub named_deployment: Option<&'a str>,
    /// Of [`Reason::RouteOutOfScope`]: what was asked for and what the token opens there, in words. `None`: it was not looked
    /// for.
    pub other_routes: Option<&'a str>,
}

/// Whose doing a rejection is. `docs/errors.md` has chapters by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The caller sent something that it has to change.
    Downstream,
    /// The service, or the network in front of it.
    Upstream,
    /// The gateway, its store, or who operates them.
    Gateway,
}

/// A row of the table.
struct Row {
    source: Source,
    status: StatusCode,
    /// Stable: in the log, in the body, in the documentation.
    code: &'static str,
    /// RFC 6750 § 3.1. `None`: no challenge.
    challenge: Option<Challenge>,
    /// Whether the caller may try again soon (`Retry-After`).
    retry: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Challenge {
    /// The caller sent no credential, so there is nothing wrong with it.
    Bare,
    Error(&'static str),
    /// A scope for these routes of the Deployment is missing.
    Scope(Routes),
}

impl Row {
    const fn new(source: Source, status: StatusCode, code: &'static str) -> Self {
        Self { source, status, code, challenge: None, retry: false }
    }

    const fn downstream(status: StatusCode, code: &'static str) -> Self {
        Self::new(Source::Downstream, status, code)
    }

    const fn challenged(status: StatusCode, code: &'static str, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..Self::downstream(status, code) }
    }

    const fn bad_gateway(code: &'static str) -> Self {
        Self::new(Source::Upstream, StatusCode::BAD_GATEWAY, code)
    }

    const fn gateway_timeout(code: &'static str) -> Self {
        Self::new(Source::Upstream, StatusCode::GATEWAY_TIMEOUT, code)
    }

    /// RFC 6585 § 4.
    const fn too_many(code: &'static str) -> Self {
        Self { retry: true, ..Self::downstream(StatusCode::TOO_MANY_REQUESTS, code) }
    }

    const fn unavailable(code: &'static str) -> Self {
        Self { retry: true, ..Self::new(Source::Gateway, StatusCode::SERVICE_UNAVAILABLE, code) }
    }
}

impl Rejection {
    /// The whole table.
    fn row(self) -> Row {
        match self {
            Self::Target(reason) => target_row(reason),
            Self::BadRequest(reason) => bad_request_row(reason),
            Self::Denied(reason) => denied_row(reason),
            Self::Upstream(UpstreamFailure::Connect(_)) => Row::bad_gateway("upstream_unreachable"),
            Self::Upstream(UpstreamFailure::Tls(_)) => Row::bad_gateway("upstream_tls_failed"),
            Self::Upstream(UpstreamFailure::Closed(_)) => Row::bad_gateway("upstream_closed"),
            Self::Upstream(UpstreamFailure::Malformed(_)) => Row::bad_gateway("upstream_malformed"),
            Self::OutOfConnections => Row::unavailable("out_of_connections"),
            Self::Cut(Cut::Timeout(Timer::Connect)) => Row::gateway_timeout("connect_timeout"),
            Self::Cut(Cut::Timeout(Timer::FirstByte)) => Row::gateway_timeout("first_byte_timeout"),
            // A vanished caller reads no response.
            Self::Cut(Cut::Timeout(Timer::UpstreamIdle | Timer::Vanished)) => {
                Row::gateway_timeout("upstream_idle_timeout")
            }
            Self::Cut(Cut::Timeout(Timer::DownstreamIdle)) => {
                Row::downstream(StatusCode::REQUEST_TIMEOUT, "body_timeout")
            }
            Self::Cut(Cut::Timeout(Timer::KeptOthers)) => {
                Row::downstream(StatusCode::REQUEST_TIMEOUT, "kept_others_waiting")
            }
            Self::Cut(Cut::Timeout(Timer::Queue)) => Row::too_many("queue_timeout"),
            Self::Question(_) => Row::downstream(StatusCode::BAD_REQUEST, "bad_question"),
            Self::QueueFull => Row::too_many("queue_full"),
            Self::Starting | Self::Cut(Cut::Timeout(Timer::Start)) => {
                Row { retry: true, ..Row::new(Source::Upstream, StatusCode::SERVICE_UNAVAILABLE, "upstream_starting") }
            }
            Self::RateLimited(_) => Row::too_many("rate_limited"),
            Self::BudgetExhausted(_) => Row::too_many("budget_exhausted"),
            Self::Cut(Cut::Token(reason)) => denied_row(reason),
            Self::Cut(Cut::Drained) => Row::unavailable("draining"),
        }
    }

    /// The stable code, for the log.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    pub fn status(self) -> StatusCode {
        self.row().status
    }

    pub fn source(self) -> Source {
        self.row().source
    }

    /// Whether no upstream was there to take a connection, so that none has seen anything of the request.
    pub fn found_nobody(self) -> bool {
        match self {
            Self::Upstream(failure) => failure.is_absence(),
            rejection => rejection == Self::Cut(Cut::Timeout(Timer::Connect)),
        }
    }

    /// `None`: the caller was never proven to hold a token.
    pub fn token(self) -> Option<TokenUid> {
        match self {
            Self::Denied(Denied::Refused { token, .. }) | Self::Cut(Cut::Token(Denied::Refused { token, .. })) => {
                Some(token)
            }
            _ => None,
        }
    }

    /// Whether signing in could help.
    pub fn asks_to_sign_in(self) -> bool {
        matches!(self.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            && matches!(self, Self::Denied(denied) if !matches!(denied, Denied::CrossSite | Denied::LoginElsewhere))
    }
}

fn target_row(reason: BadTarget) -> Row {
    match reason {
        BadTarget::Method => Row::downstream(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        BadTarget::TooLong => Row::downstream(StatusCode::URI_TOO_LONG, "uri_too_long"),
        BadTarget::Host | BadTarget::Authority | BadTarget::Scheme => {
            Row::downstream(StatusCode::BAD_REQUEST, "bad_host")
        }
        BadTarget::Token => Row::downstream(StatusCode::BAD_REQUEST, "token_in_target"),
        BadTarget::Path | BadTarget::DotSegment => Row::downstream(StatusCode::BAD_REQUEST, "bad_path"),
    }
}

fn bad_request_row(reason: BadRequest) -> Row {
    match reason {
        BadRequest::HeaderTooLarge | BadRequest::TooManyFields => {
            Row::downstream(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_too_large")
        }
        BadRequest::TransferEncoding => Row::downstream(StatusCode::BAD_REQUEST, "bad_transfer_encoding"),
        BadRequest::Connection | BadRequest::ConnectionOptions => {
            Row::downstream(StatusCode::BAD_REQUEST, "bad_connection")
        }
        BadRequest::Upgrade => Row::downstream(StatusCode::BAD_REQUEST, "bad_upgrade"),
        BadRequest::RouteOverride => Row::downstream(StatusCode::FORBIDDEN, "route_out_of_scope"),
        BadRequest::Spelling => Row::downstream(StatusCode::BAD_REQUEST, "bad_field"),
        BadRequest::ServiceWorker => Row::downstream(StatusCode::FORBIDDEN, "service_worker_refused"),
        BadRequest::Pickle | BadRequest::PayloadField => {
            Row::downstream(StatusCode::UNSUPPORTED_MEDIA_TYPE, "pickle_refused")
        }
        BadRequest::TooLarge => Row::downstream(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        BadRequest::ProxyProtocol | BadRequest::NoProxyProtocol => {
            Row::downstream(StatusCode::BAD_REQUEST, "proxy_protocol")
        }
        BadRequest::Body | BadRequest::BrokenOff => Row::downstream(StatusCode::BAD_REQUEST, "bad_body"),
    }
}

fn denied_row(reason: Denied) -> Row {
    let bare = |code| Row::challenged(StatusCode::UNAUTHORIZED, code, Challenge::Bare);
    let invalid_token = |code| Row::challenged(StatusCode::UNAUTHORIZED, code, Challenge::Error("invalid_token"));
    let invalid_request = |code| Row::challenged(StatusCode::BAD_REQUEST, code, Challenge::Error("invalid_request"));
    match reason {
        Denied::NoCredential => bare("credential_missing"),
        Denied::LoginElsewhere => bare("login_elsewhere"),
        Denied::Credential(BadCredential::Misplaced) => bare("credential_misplaced"),
        Denied::Credential(BadCredential::Several) => invalid_request("credential_repeated"),
        Denied::Credential(BadCredential::NotBearer) => invalid_request("credential_malformed"),
        Denied::Credential(BadCredential::NotAToken) => invalid_token("token_malformed"),
        Denied::InvalidToken | Denied::Ended { session: false } => invalid_token("token_invalid"),
        Denied::Refused { reason, .. } => reason_row(reason),
        Denied::SessionOver | Denied::Ended { session: true } => bare("session_over"),
        Denied::CrossSite => Row::downstream(StatusCode::FORBIDDEN, "cross_site"),
        // No time after which the caller could try again is known.
        Denied::Terminated => Row { retry: false, ..Row::unavailable("deployment_terminated") },
        Denied::Unavailable(Unavailable::NeverLoaded) => Row::unavailable("store_never_reached"),
        Denied::Unavailable(Unavailable::Stale) => Row::unavailable("store_stale"),
        Denied::Unavailable(Unavailable::StoreAway) => Row::unavailable("store_away"),
        Denied::Unavailable(Unavailable::Overloaded) => Row::unavailable("overloaded"),
        Denied::Unavailable(Unavailable::Internal) => {
            Row::new(Source::Gateway, StatusCode::INTERNAL_SERVER_ERROR, "internal_error")
        }
    }
}

fn reason_row(reason: Reason) -> Row {
    let invalid_token = |code| Row::challenged(StatusCode::UNAUTHORIZED, code, Challenge::Error("invalid_token"));
    let lacks_scope = |code, routes| Row::challenged(StatusCode::FORBIDDEN, code, Challenge::Scope(routes));
    match reason {
        Reason::Revoked => invalid_token("token_revoked"),
        Reason::Expired => invalid_token("token_expired"),
        Reason::Rotated => invalid_token("token_rotated"),
        Reason::OwnerDisabled => invalid_token("owner_disabled"),
        Reason::Gone => invalid_token("token_invalid"),
        Reason::OutOfScope => lacks_scope("insufficient_scope", Routes::Open),
        Reason::RouteOutOfScope => lacks_scope("route_out_of_scope", Routes::Open),
        Reason::RouteClosed(_) => lacks_scope("route_closed", Routes::All),
        Reason::NoSuchDeployment => Row::downstream(StatusCode::NOT_FOUND, "deployment_not_found"),
    }
}

impl From<BadTarget> for Rejection {
    fn from(reason: BadTarget) -> Self {
        Self::Target(reason)
    }
}

impl From<BadRequest> for Rejection {
    fn from(reason: BadRequest) -> Self {
        Self::BadRequest(reason)
    }
}

impl From<BadQuestion> for Rejection {
    fn from(reason: BadQuestion) -> Self {
        Self::Question(reason)
    }
}

impl From<Denied> for Rejection {
    fn from(reason: Denied) -> Self {
        Self::Denied(reason)
    }
}

impl From<UpstreamFailure> for Rejection {
    fn from(reason: UpstreamFailure) -> Self {
        Self::Upstream(reason)
    }
}

impl From<Malformed> for Rejection {
    fn from(reason: Malformed) -> Self {
        Self::Upstream(UpstreamFailure::Malformed(reason))
    }
}

impl From<Cut> for Rejection {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}
