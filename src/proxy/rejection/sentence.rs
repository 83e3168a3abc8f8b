//! What a rejection tells the caller: what happened, what was expected, what to do. Plain ASCII without quotes, since it
//! also stands in a quoted string of the challenge (RFC 6750 § 3).

use std::{borrow::Cow, fmt};

use super::{About, Rejection};
use crate::{
    domain::decision::Reason,
    index::budgets::Exhausted,
    proxy::{
        credential::BadCredential,
        deadlines::{Cut, Timer},
        permit::{Denied, Unavailable},
    },
};

impl Rejection {
    /// The sentence for the caller.
    pub fn sentence(self, about: About<'_>) -> Cow<'static, str> {
        match self {
            Self::Denied(denied) if !matches!(denied, Denied::Refused { .. }) => Cow::Borrowed(self::denied(denied)),
            rejection => Cow::Owned(Sentence { rejection, about }.to_string()),
        }
    }
}

/// What a token does not open, if no more is known.
const THIS_ROUTE: &str = "this method and path of the Deployment";

struct Sentence<'a> {
    rejection: Rejection,
    about: About<'a>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rejection {
            Rejection::Target(reason) => reason.fmt(f),
            Rejection::BadRequest(reason) => reason.fmt(f),
            Rejection::Upstream(reason) => write!(f, "{reason}; try again, and tell its operator if it stays so"),
            Rejection::Denied(Denied::Refused { reason, .. })
            | Rejection::Cut(Cut::Token(Denied::Refused { reason, .. })) => self.decided(reason, f),
            Rejection::Denied(reason) | Rejection::Cut(Cut::Token(reason)) => f.write_str(denied(reason)),
            Rejection::Question(reason) => reason.fmt(f),
            Rejection::OutOfConnections => {
                f.write_str("the gateway has as many connections to services as it may have; try again soon")
            }
            Rejection::Cut(Cut::Timeout(timer)) => f.write_str(timed_out(timer)),
            Rejection::RateLimited(left) => {
                write!(f, "this token may ask this Deployment {} times only; try again later", left.rate)
            }
            Rejection::BudgetExhausted(Exhausted { budget, of_token: true, .. }) => {
                write!(
                    f,
                    "this token has used up what it may use of this Deployment, {budget}; try again when that is over"
                )
            }
            Rejection::BudgetExhausted(Exhausted { budget, of_token: false, .. }) => {
                write!(f, "what may be used of this Deployment is used up, {budget}; try again when that is over")
            }
            Rejection::QueueFull => f.write_str("too many requests wait for this Deployment already; try again soon"),
            Rejection::Starting => {
                f.write_str("the service is starting, and many requests wait for it already; try again soon")
            }
            Rejection::Cut(Cut::Drained) => f.write_str("the gateway is shutting down; try again"),
        }
    }
}

impl Sentence<'_> {
    fn decided(&self, reason: Reason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (reason, self.about.named_deployment) {
            (Reason::Revoked, _) => f.write_str("the token was revoked; ask its owner for a new one"),
            (Reason::Expired, _) => f.write_str("the token has expired; ask its owner for a new one"),
            (Reason::Rotated, _) => f.write_str("the token was rotated and this secret is retired; use the new one"),
            (Reason::Gone, _) => f.write_str("the token is not valid"),
            (Reason::OwnerDisabled, _) => f.write_str("the owner of the token is disabled"),
            (Reason::OutOfScope, Some(name)) => write!(f, "the token lacks the scope deployment:{name}"),
            (Reason::OutOfScope, None) => f.write_str("the token has no scope for the Deployment asked for"),
            (Reason::RouteOutOfScope, _) => {
                write!(f, "the token does not open {}", self.about.other_routes.unwrap_or(THIS_ROUTE))
            }
            (Reason::RouteClosed(preset), Some(name)) => write!(
                f,
                "this path is for the operators of the service: the preset {preset} of the Deployment {name} closes it; a \
                 token with the scope deployment:{name}:operations opens it"
            ),
            (Reason::RouteClosed(preset), None) => write!(
                f,
                "this path is for the operators of the service: the preset {preset} of the Deployment closes it; a token with \
                 its scope deployment:NAME:operations opens it"
            ),
            (Reason::NoSuchDeployment, Some(name)) => write!(f, "there is no Deployment {name} here"),
            (Reason::NoSuchDeployment, None) => f.write_str("there is no Deployment at this address"),
        }
    }
}

fn denied(reason: Denied) -> &'static str {
    match reason {
        Denied::NoCredential => "an API token is needed; send it as Authorization: Bearer TOKEN",
        Denied::LoginElsewhere => {
            "services are called at this address; give bentoml cloud login the address of the console as --endpoint"
        }
        Denied::Credential(BadCredential::Several) => {
            "more than one credential was sent; send exactly one Authorization: Bearer TOKEN"
        }
        Denied::Credential(BadCredential::NotBearer) => {
            "the credential is malformed; send exactly Authorization: Bearer TOKEN"
        }
        Denied::Credential(BadCredential::NotAToken) => {
            "the token is malformed: it does not have the shape of this gateway's tokens (bgw_...); \
             check that it was copied whole and that the shell replaced its variable"
        }
        Denied::Credential(BadCredential::Misplaced) => {
            "the token stands in another field than Authorization, or in a cookie, where it is not read; \
             send it as Authorization: Bearer TOKEN"
        }
        // Only a proven token learns its reason, for which `Sentence::decided` has the words.
        Denied::InvalidToken | Denied::Ended { session: false } | Denied::Refused { .. } => "the token is not valid",
        Denied::SessionOver | Denied::Ended { session: true } => {
            "this browser is not signed in any more; sign in again"
        }
        Denied::CrossSite => {
            "this request was made by a page of another site, which may not act as you; send a token if it is yours"
        }
        Denied::Terminated => "the Deployment is terminated; it answers again when its operator has started it",
        Denied::Unavailable(Unavailable::NeverLoaded) => "the gateway has not reached its store yet; try again soon",
        Denied::Unavailable(Unavailable::Stale) => "the gateway has not reached its store for too long; try again soon",
        Denied::Unavailable(Unavailable::StoreAway) => {
            "the gateway cannot look this token up at the moment; try again soon"
        }
        Denied::Unavailable(Unavailable::Overloaded) => "the gateway is verifying too many new tokens; try again soon",
        Denied::Unavailable(Unavailable::Internal) => "the gateway failed to handle this request; its log says why",
    }
}

pub(super) fn timed_out(timer: Timer) -> &'static str {
    match timer {
        Timer::Connect => "the service did not accept a connection in time (connect timeout)",
        Timer::FirstByte => "the service did not begin to answer in time (first byte timeout)",
        Timer::UpstreamIdle => "the service was silent for too long (idle timeout)",
        Timer::Vanished => "one side acknowledges nothing of what is sent to it: it is gone, or the network in between",
        Timer::DownstreamIdle => "the request body did not arrive in time (idle timeout)",
        Timer::KeptOthers => {
            "the caller was too slow while others waited for this Deployment; send the whole body at once, and read the \
             response as it comes"
        }
        Timer::Start => "the service is starting, and was not there in time (hold timeout); try again soon",
        Timer::Queue => "too many requests were before this one for too long (queue timeout); try again soon",
    }
}
