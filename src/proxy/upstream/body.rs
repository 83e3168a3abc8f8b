//! The body of every response downstream: an upstream's as it comes, or a few bytes of our own.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::exchange::Exchange;
use crate::{
    proxy::{
        deadlines::{Cut, Timer},
        record::Record,
        rejection::Rejection,
    },
    telemetry::line::{CALLER_TOOK_NOTHING, RequestOutcome},
};

/// Carries the record of its request, which is handed on when the body is dropped.
pub struct ResponseBody {
    /// `None`: complete, or all that is left is in `ready`.
    exchange: Option<Box<Exchange>>,
    ready: Bytes,
    /// What follows `ready`. `None`: nothing.
    trailers: Option<Box<HeaderMap>>,
    /// It broke off, and what came before is still on its way downstream.
    failure: Option<Rejection>,
    /// `None`: a tunnel has it.
    record: Option<Box<Record>>,
    /// How the request has ended once `ready` is taken.
    outcome: RequestOutcome,
}

/// The response broke off. hyper breaks the downstream's off as well, so that nobody can take it for complete.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off")]
pub struct BrokenOff;

impl ResponseBody {
    /// An upstream's response.
    pub fn streamed(exchange: Box<Exchange>, record: Box<Record>) -> Self {
        let mut body = Self::new(Some(exchange), Bytes::new(), Some(record), RequestOutcome::Complete);
        body.finish_if_done();
        body
    }

    /// A response of our own. The request has this outcome once hyper has taken the body.
    pub fn own(bytes: Bytes, record: Box<Record>, outcome: RequestOutcome) -> Self {
        Self::new(None, bytes, Some(record), outcome)
    }

    /// No body, and no record: a tunnel has it.
    pub fn none() -> Self {
        Self::new(None, Bytes::new(), None, RequestOutcome::Complete)
    }

    fn new(
        exchange: Option<Box<Exchange>>,
        ready: Bytes,
        record: Option<Box<Record>>,
        outcome: RequestOutcome,
    ) -> Self {
        Self { exchange, ready, trailers: None, failure: None, record, outcome }
    }

    /// Behind a response of our own.
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(Box::new(trailers));
        self
    }

    fn record(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    fn finish_if_done(&mut self) {
        if let Some(exchange) = self.exchange.take_if(|exchange| exchange.is_done()) {
            let now = Instant::now();
            self.record(|record| {
                record.received(exchange.received());
                record.left_upstream(|| now);
                if exchange.has_sent_request() {
                    record.request_ended();
                }
                record.ended(RequestOutcome::Complete);
            });
            exchange.finish(now);
        }
    }

    fn broke_off(&mut self, failure: Rejection) -> BrokenOff {
        let outcome = match failure {
            Rejection::Cut(cut) => cut.into(),
            Rejection::BadRequest(_) => RequestOutcome::CallerLeft,
            _ => RequestOutcome::UpstreamCut,
        };
        let starving = self.exchange.as_ref().is_some_and(|exchange| exchange.is_starving());
        self.record(|record| {
            because(record, failure, starving);
            record.ended(outcome);
        });
        BrokenOff
    }
}

/// `starving`: whether the upstream was waited for.
fn because(record: &mut Record, failure: Rejection, starving: bool) {
    match failure {
        Rejection::Cut(Cut::Timeout(Timer::UpstreamIdle)) if !starving => {
            record.because_of(CALLER_TOOK_NOTHING);
        }
        failure => record.because(failure),
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let Some(exchange) = &mut this.exchange else {
            if this.ready.is_empty()
                && let Some(trailers) = this.trailers.take()
            {
                return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
            }
            let (bytes, outcome) = (std::mem::take(&mut this.ready), this.outcome);
            this.record(|record| {
                record.sent(bytes.len());
                record.ended(outcome);
            });
            return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
        };
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(this.broke_off(failure))));
        }
        let polled = exchange.poll_frame(cx);
        if let Poll::Ready(Some(Err(failure))) = polled {
            // hyper closes the downstream at an error, with what it has not written yet, which may be the head: it gets
            // a turn to write first.
            this.failure = Some(failure);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let data = frame.data_ref().map_or(&[][..], Bytes::as_ref);
            this.record(|record| record.passed_on(data));
        }
        this.finish_if_done();
        polled.map(|frame| frame.map(|frame| frame.map_err(|failure| this.broke_off(failure))))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.ready.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.exchange {
            None => SizeHint::with_exact(self.ready.len() as u64),
            Some(exchange) => exchange.remaining().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            self.record(|record| {
                record.received(exchange.received());
                // The sweep may have ended it while hyper did not poll it, because the downstream was not reading.
                if let Some(cut) = exchange.cut() {
                    because(record, cut.into(), exchange.is_starving());
                    record.ended(cut.into());
                }
            });
        }
    }
}
