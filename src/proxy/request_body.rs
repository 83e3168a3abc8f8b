//! The body of a request on its way to an upstream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};

use super::rejection::BadRequest;

type Polled = Option<hyper::Result<Frame<Bytes>>>;

pub struct RequestBody {
    incoming: Incoming,
    /// What comes next, if that was looked at ahead. Boxed, as it is rare and large.
    ahead: Option<Box<Polled>>,
}

impl RequestBody {
    pub fn new(incoming: Incoming) -> Self {
        Self { incoming, ahead: None }
    }

    /// Takes the first frame, for a request that waits before there is anywhere to write it: only then does the HTTP library
    /// learn that the caller has left. It is kept.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<BadRequest> {
        if self.ahead.is_some() {
            return Poll::Pending;
        }
        let first = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        let failed = first.as_ref().and_then(|first| first.as_ref().err()).map(reason);
        self.ahead = Some(Box::new(first));
        failed.map_or(Poll::Pending, Poll::Ready)
    }

    /// The next frame. `None`: that was all.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadRequest>>> {
        let next = match self.ahead.take() {
            Some(ahead) => *ahead,
            None => ready!(Pin::new(&mut self.incoming).poll_frame(cx)),
        };
        Poll::Ready(next.map(|frame| frame.map_err(|error| reason(&error))))
    }
}

/// hyper says of a body that it could not read that it is no valid input; any other error is an end that came too early.
fn reason(error: &hyper::Error) -> BadRequest {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let malformed =
        source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData));
    if malformed { BadRequest::Body } else { BadRequest::BrokenOff }
}
