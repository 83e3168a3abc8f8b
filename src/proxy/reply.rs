//! The last stage: whatever the response is, its body carries the record of the request to its end.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Response, Version, header, request::Parts};
use hyper::body::{Body, Incoming};

use super::{
    client_login::{ELSEWHERE, Step},
    cors,
    pages::{self, Navigation, OwnPage},
    permit::{Denied, Gate},
    readyz_tarpit,
    record::Record,
    rejection::{BadRequest, Rejection, Source},
    request::{Received, Routed},
    state::Worker,
    upstream::{body::ResponseBody, exchange::Exchange, head::ResponseHead},
};
use crate::telemetry::line::{OWN_PAGE, RequestOutcome};

/// How much of a rejected body is read and dropped, and for how long.
struct Discard {
    bytes: u64,
    time: Duration,
}

/// Before the response: what is here, or arrives at once, of a body of a stated length. Behind any other the connection is
/// closed.
const ON_HTTP1: Discard = Discard { bytes: 64 * 1024, time: Duration::from_millis(100) };
/// Beside the response. Behind a larger or slower body its stream is reset.
const ON_HTTP2: Discard = Discard { bytes: 256 * 1024, time: Duration::from_secs(1) };

/// The service's response, from which the gateway has taken what concerned the upstream's connection only.
pub fn stream(response: ResponseHead, exchange: Box<Exchange>, mut record: Box<Record>) -> Response<ResponseBody> {
    record.responded(response.status.as_u16(), "");
    record.answered();
    let mut streamed = Response::new(ResponseBody::streamed(exchange, record));
    *streamed.status_mut() = response.status;
    *streamed.headers_mut() = response.headers;
    streamed
}

/// A page of the gateway's own, or its response to a preflight.
pub fn own(response: Response<Bytes>, mut record: Box<Record>) -> Response<ResponseBody> {
    record.responded(response.status().as_u16(), OWN_PAGE);
    with_body(response, record, RequestOutcome::Complete)
}

/// The gateway's response in place of the service's.
///
/// `routed` of `None`: the request was rejected before it was routed. `body` of `None`: it was being forwarded.
pub async fn reject(
    worker: &Worker,
    rejection: Rejection,
    received: Received<'_>,
    routed: Option<&Routed<'_>>,
    body: Option<Incoming>,
    mut record: Box<Record>,
) -> Response<ResponseBody> {
    let head = received.head;
    if readyz_tarpit::applies_to(&head.method, head.uri.path())
        && let Some(_delayed) = worker.tarpit.refused(record.client_address(), Instant::now())
    {
        tokio::time::sleep(readyz_tarpit::DELAY).await;
    }
    let closes = received.has_body && !discarded(head, body, routed.is_some(), &mut record).await;
    let login = routed.and_then(|routed| Step::refused(rejection, routed));
    let rejection = if login.is_some() { ELSEWHERE } else { rejection };
    let mut response = match routed {
        Some(routed) => respond(worker, rejection, routed, login),
        None => rejection.respond(&received.reply_context()),
    };
    if closes {
        // The rest of the body must not be read as the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        record.request_ended();
    }
    if rejection.source() == Source::Upstream {
        tracing::debug!(reason = rejection.code(), request_id = received.id, "not answered by its upstream");
    }
    record.rejected(response.status(), rejection);
    // A caller whose request broke off does not read the response.
    let broke_off = rejection == Rejection::BadRequest(BadRequest::BrokenOff);
    let outcome = if broke_off { RequestOutcome::CallerLeft } else { RequestOutcome::Complete };
    with_body(response, record, outcome)
}

/// A person who could sign in gets the page for it, with the rejection's status and challenge.
///
/// `login` of `None`: it is no step of a login of the command line.
fn respond(worker: &Worker, rejection: Rejection, routed: &Routed<'_>, login: Option<Step>) -> Response<Bytes> {
    let other_routes = routed.other_routes(&Gate::of(&worker.gateway), rejection);
    let context = routed.reply_context(other_routes.as_deref());
    let mut response = worker.prepared.respond(rejection, &context);
    if let Some(step) = login {
        step.answer(&mut response, &OwnPage::new(&worker.gateway, routed));
    } else if rejection.asks_to_sign_in() && pages::navigates(routed.head()) {
        let sentence = rejection.sentence(context.about);
        // Somebody who has just not signed in yet has done nothing wrong.
        let problem = if rejection == Rejection::Denied(Denied::NoCredential) { None } else { Some(&*sentence) };
        Navigation::of(&OwnPage::new(&worker.gateway, routed)).instead(&mut response, problem);
    }
    cors::readable(&mut response, routed.head());
    response
}

/// A response of our own, whole.
pub fn with_body(
    response: Response<Bytes>,
    mut record: Box<Record>,
    outcome: RequestOutcome,
) -> Response<ResponseBody> {
    if record.is_for_head() || response.body().is_empty() {
        // hyper never asks for this body.
        record.ended(outcome);
    }
    response.map(|bytes| ResponseBody::own(bytes, record, outcome))
}

/// Whether nothing of the rejected request's body can be taken for the next request. `body` of `None`: it was being
/// forwarded. `unambiguous`: every parser ends the body where ours does.
async fn discarded(head: &Parts, body: Option<Incoming>, unambiguous: bool, record: &mut Record) -> bool {
    if head.version == Version::HTTP_2 {
        if let Some(body) = body {
            // hyper would otherwise reset the stream right behind the response, which is legal, but some clients
            // (curl 7.88) overlook a response that comes so before they have sent all.
            tokio::task::spawn_local(async move { ON_HTTP2.read(body, |_| {}).await });
        }
        return true;
    }
    match body {
        // A caller that waits for our word (RFC 9110 § 10.1.1) shall not send the body. Where a chunked one ends, parsers have
        // disagreed too often.
        Some(body)
            if unambiguous
                && body.size_hint().exact().is_some_and(|length| length <= ON_HTTP1.bytes)
                && !head.headers.contains_key(header::EXPECT) =>
        {
            ON_HTTP1.read(body, |bytes| record.received(bytes)).await
        }
        _ => false,
    }
}

impl Discard {
    /// Whether that was all of it.
    async fn read(&self, mut body: Incoming, mut seen: impl FnMut(u64)) -> bool {
        let mut all = pin!(async {
            let mut left = self.bytes;
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                seen(bytes);
                let Some(rest) = left.checked_sub(bytes) else { return false };
                left = rest;
            }
            true
        });
        // Most bodies are here by now, and need no timer.
        if let Poll::Ready(all) = poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx))).await {
            return all;
        }
        // A slower caller of HTTP/2 has had the response for long.
        tokio::time::timeout(self.time, all).await.unwrap_or(false)
    }
}
