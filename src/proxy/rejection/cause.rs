//! Which of several causes a code stands for, in words for the operator.

use std::{fmt, io};

use super::{BadRequest, Closed, Rejection, UpstreamFailure, sentence::timed_out};
use crate::proxy::{
    deadlines::{Cut, Timer},
    target::BadTarget,
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
                    | BadRequest::Pickle
                    | BadRequest::PayloadField
                    | BadRequest::Body
                    | BadRequest::BrokenOff
            ),
            Self::Denied(_)
            | Self::QueueFull
            | Self::OutOfConnections
            | Self::RateLimited(_)
            | Self::Cut(Cut::Token(_) | Cut::Drained | Cut::Timeout(Timer::Queue)) => false,
            Self::Upstream(_) | Self::Cut(Cut::Timeout(_)) => true,
        };
        has_several.then_some(Cause(self))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Rejection::Target(reason) => reason.fmt(f),
            Rejection::BadRequest(reason) => reason.fmt(f),
            Rejection::Upstream(UpstreamFailure::Malformed(reason)) => reason.fmt(f),
            Rejection::Upstream(UpstreamFailure::Closed(how)) => f.write_str(closed(how)),
            Rejection::Upstream(UpstreamFailure::Connect(io::ErrorKind::NotFound)) => {
                f.write_str("its name has no address")
            }
            Rejection::Upstream(UpstreamFailure::Connect(kind)) => kind.fmt(f),
            Rejection::Cut(Cut::Timeout(timer)) => f.write_str(timed_out(timer)),
            Rejection::Denied(_)
            | Rejection::QueueFull
            | Rejection::RateLimited(_)
            | Rejection::OutOfConnections
            | Rejection::Cut(_) => Ok(()),
        }
    }
}

fn closed(how: Closed) -> &'static str {
    match how {
        Closed::BeforeResponse => "it closed the connection before its response",
        Closed::WithinResponse => "it closed the connection within its response",
        Closed::Reset => "it reset the connection",
    }
}
