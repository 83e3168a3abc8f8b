//! The last stage: whatever the response is, its body carries the record of the request to its end.

use std::{
    future::poll_fn,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Response, Version, header};
use hyper::body::{Body, Incoming};

use super::{
    client_login::{ELSEWHERE, Step},
    cors,
    pages::{self, Navigation, OwnPage},
    permit::Denied,
    readyz_tarpit,
    record::Record,
    rejection::{BadRequest, Rejection, Source},
    request::{Received, Routed},
    state::Worker,
    upstream::{body::ResponseBody, exchange::Exchange, head::ResponseHead},
};
use crate::telemetry::line::{OWN_PAGE, RequestOutcome};

/// How much of a rejected body is read and dropped before its stream is reset, bytes, and for how long.
const MAX_DISCARDED: usize = 256 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// The service's response, from which the gateway has taken what concerned the upstream's connection only.
pub fn stream(response: ResponseHead, exchange: Exchange, mut record: Record) -> Response<ResponseBody> {
    record.responded(response.status.as_u16(), "");
    record.first_byte();
    let mut streamed = Response::new(ResponseBody::streamed(exchange, record));
    *streamed.status_mut() = response.status;
    *streamed.headers_mut() = response.headers;
    streamed
}

/// A page of the gateway's own, or its response to a preflight.
pub fn own(response: Response<Bytes>, mut record: Record) -> Response<ResponseBody> {
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
    mut record: Record,
) -> Response<ResponseBody> {
    let head = received.head;
    if readyz_tarpit::applies_to(&head.method, head.uri.path())
        && let Some(_delayed) = worker.tarpit.refused(record.client_address(), Instant::now())
    {
        tokio::time::sleep(readyz_tarpit::DELAY).await;
    }
    if let Some(body) = body.filter(|_| received.has_body && head.version == Version::HTTP_2) {
        tokio::task::spawn_local(discard(body));
    }
    let login = routed.and_then(|routed| Step::refused(rejection, routed));
    let rejection = if login.is_some() { ELSEWHERE } else { rejection };
    let mut response = match routed {
        Some(routed) => respond(worker, rejection, routed, login),
        None => rejection.respond(&received.reply_context()),
    };
    if received.has_body && head.version < Version::HTTP_2 {
        // The rest of the body must not be read as the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if rejection.source() == Source::Upstream {
        tracing::debug!(reason = rejection.code(), request_id = received.id, "not answered by its upstream");
    }
    record.responded(response.status().as_u16(), rejection.code());
    record.because(rejection);
    if let Some(uid) = rejection.token() {
        record.token(Some(uid));
    }
    // A caller whose request broke off does not read the response.
    let broke_off = rejection == Rejection::BadRequest(BadRequest::BrokenOff);
    let outcome = if broke_off { RequestOutcome::CallerLeft } else { RequestOutcome::Complete };
    with_body(response, record, outcome)
}

/// A person who could sign in gets the page for it, with the rejection's status and challenge.
///
/// `login` of `None`: it is no step of a login of the command line.
fn respond(worker: &Worker, rejection: Rejection, routed: &Routed<'_>, login: Option<Step>) -> Response<Bytes> {
    let context = routed.reply_context();
    let mut response = rejection.respond(&context);
    if let Some(step) = login {
        step.answer(&mut response, &OwnPage::new(&worker.gateway, routed));
    } else if rejection.asks_to_sign_in() && pages::navigates(routed.head()) {
        let sentence = rejection.sentence(context.named_deployment);
        // Somebody who has just not signed in yet has done nothing wrong.
        let problem = if rejection == Rejection::Denied(Denied::NoCredential) { None } else { Some(&*sentence) };
        Navigation::of(&OwnPage::new(&worker.gateway, routed)).instead(&mut response, problem);
    }
    cors::readable(&mut response, routed.head());
    response
}

fn with_body(response: Response<Bytes>, mut record: Record, outcome: RequestOutcome) -> Response<ResponseBody> {
    if record.is_for_head() || response.body().is_empty() {
        // hyper never asks for this body.
        record.ended(outcome);
    }
    response.map(|bytes| ResponseBody::own(bytes, record, outcome))
}

/// Reads what an HTTP/2 caller is still sending. hyper would otherwise reset the stream right behind the response, which is
/// legal, but some clients (curl 7.88) overlook a response that comes so before they have sent all.
async fn discard(mut body: Incoming) {
    let all = async {
        let mut left = MAX_DISCARDED;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // A slower caller has had the response for long.
    let _ = tokio::time::timeout(DISCARD_TIME, all).await;
}
