//! Which of several causes a code stands for, in words for the operator.

use std::{fmt, io};

use super::{BadRequest, Closed, Rejection, UpstreamFailure, sentence::timed_out};
use crate::{
    domain::{decision::Reason, preset::Preset},
    proxy::{
        deadlines::{Cut, Timer},
        permit::Denied,
        target::BadTarget,
    },
};

/// A cause, which the request log names. It has nothing of the request or response in it but what
/// [`Malformed`](super::Malformed) has.
pub struct Cause(Rejection);

impl Rejection {
    /// `None`: its code says all.
    pub fn cause(self) -> Option<Cause> {
        let has_several = match self {
            Self::Target(reason) => !matches!(reason, BadTarget::Method | BadTarget::TooLong | BadTarget::Token),
            Self::BadRequest(reason) => matches!(
                reason,
                BadRequest::HeaderTooLarge
                    | BadRequest::TooManyFields
                    | BadRequest::Connection
                    | BadRequest::ConnectionOptions
                    | BadRequest::RouteOverride
                    | BadRequest::Pickle
                    | BadRequest::PayloadField
                    | BadRequest::Body
                    | BadRequest::BrokenOff
            ),
            Self::Denied(denied) => closing_preset(denied).is_some(),
            Self::QueueFull
            | Self::OutOfConnections
            | Self::RateLimited(_)
            | Self::BudgetExhausted(_)
            | Self::Cut(Cut::Token(_) | Cut::Drained | Cut::Timeout(Timer::Queue)) => false,
            Self::Upstream(_) | Self::Starting | Self::Question(_) | Self::Cut(Cut::Timeout(_)) => true,
        };
        has_several.then_some(Cause(self))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Rejection::Target(reason) => reason.fmt(f),
            Rejection::BadRequest(reason) => reason.fmt(f),
            Rejection::Question(reason) => reason.fmt(f),
            Rejection::Upstream(UpstreamFailure::Malformed(reason)) => reason.fmt(f),
            Rejection::Upstream(UpstreamFailure::Closed(how)) => f.write_str(closed(how)),
            Rejection::Upstream(UpstreamFailure::Tls(fault)) => fault.fmt(f),
            Rejection::Upstream(UpstreamFailure::Connect(io::ErrorKind::NotFound)) => {
                f.write_str("its name has no address")
            }
            Rejection::Upstream(UpstreamFailure::Connect(kind)) => kind.fmt(f),
            Rejection::Cut(Cut::Timeout(timer)) => f.write_str(timed_out(timer)),
            Rejection::Denied(denied) => match closing_preset(denied) {
                Some(preset) => write!(f, "the preset {preset} closes this path"),
                None => Ok(()),
            },
            Rejection::Starting => f.write_str("as many requests wait for it as may (hold)"),
            Rejection::QueueFull
            | Rejection::RateLimited(_)
            | Rejection::BudgetExhausted(_)
            | Rejection::OutOfConnections
            | Rejection::Cut(_) => Ok(()),
        }
    }
}

fn closing_preset(denied: Denied) -> Option<Preset> {
    match denied {
        Denied::Refused { reason: Reason::RouteClosed(preset), .. } => Some(preset),
        _ => None,
    }
}

fn closed(how: Closed) -> &'static str {
    match how {
        Closed::BeforeResponse => "it closed the connection before its response",
        Closed::WithinResponse => "it closed the connection within its response",
        Closed::Reset => "it reset the connection",
        Closed::Unannounced => "it closed the connection without saying so in TLS (close_notify)",
    }
}
