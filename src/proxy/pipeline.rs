//! The life of a request, top to bottom: received, read, routed, admitted, forwarded, answered.
//!
//! Each stage is a value that only the stage before makes, and holds what is known by then. Forwarding takes an
//! [`UpstreamRequest`], which takes a [`Permit`](super::permit::Permit), which only [`permit`](super::permit) makes.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Incoming};

use super::{
    expiry_field::say_end,
    forward::forward,
    headers,
    metering::Meter,
    pages::{self, OwnPage},
    permit::Gate,
    queue,
    rate_fields::say_rate,
    record::Record,
    rejection::Rejection,
    reply,
    request::{Received, Routed},
    request_body::RequestBody,
    request_id::{self, Digits, X_REQUEST_ID},
    state::{Connection, Worker},
    upstream::{body::ResponseBody, exchange::Exchange, head::ResponseHead, request_writer::BodyFraming},
    upstream_request::{UpstreamRequest, framing},
    websocket,
};
use crate::{
    http::network::Network,
    index::{
        hold::{self, Place},
        rate::Left,
        slots::{self, Slot},
    },
};

/// Responds to one request; there is always a response, and always a record. `stream`: of HTTP/2.
pub async fn handle(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    stream: Option<u32>,
    request: http::Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let mut digits = Digits::default();
    let id = request_id::of_request(&head.headers, || worker.next_request_number(), &mut digits);
    let has_body = !body.is_end_stream();
    let is_chunked = has_body && body.size_hint().exact().is_none();
    let mut record = worker.record(&connection, stream, !has_body || is_chunked);
    record.request(id, &head.method, head.uri.path());
    let settings = worker.gateway.settings.load();
    record.persistent(headers::is_persistent(&head));
    if !has_body {
        record.request_ended();
    }
    let received =
        Received { id, head: &head, has_body, forwarded_to: None, connection: &connection, settings: &settings };
    let mut response = respond(&worker, received, body, record).await;
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_REQUEST_ID.clone(), id);
    }
    response
}

/// Before the request was routed, a rejection may say nothing of any Deployment; after it, what `routed` carries.
async fn respond(
    worker: &Worker,
    received: Received<'_>,
    body: Incoming,
    mut record: Box<Record>,
) -> Response<ResponseBody> {
    let mut body = Some(body);
    let request = match received.read(&mut record) {
        Ok(request) => request,
        Err(rejection) => return Box::pin(reply::reject(worker, rejection, received, None, body, record)).await,
    };
    let mut routed = request.route(&worker.gateway.index);
    match serve(worker, &mut routed, &mut body, &mut record).await {
        Ok(Served::ByService(response, exchange)) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
            websocket::tunnel(received.head, response, exchange, record)
        }
        Ok(Served::ByService(response, exchange)) => reply::stream(response, exchange, record),
        Ok(Served::ByGateway(response)) => reply::own(response, record),
        // Boxed, as in `serve`.
        Err(rejection) => Box::pin(reply::reject(worker, rejection, received, Some(&routed), body, record)).await,
    }
}

/// Whose response it is.
enum Served {
    ByService(ResponseHead, Box<Exchange>),
    ByGateway(Response<Bytes>),
}

/// Takes the body where it is read.
async fn serve(
    worker: &Worker,
    routed: &mut Routed<'_>,
    body: &mut Option<Incoming>,
    record: &mut Record,
) -> Result<Served, Rejection> {
    if routed.is_for_own_page() {
        let page = OwnPage::new(&worker.gateway, routed);
        // Rare and large: boxed, so that it is no part of every request.
        return Ok(Served::ByGateway(Box::pin(pages::respond(&page, body.take())).await));
    }
    if let Some(response) = routed.preflight() {
        return Ok(Served::ByGateway(response));
    }
    let framing = framing(routed.head(), body.as_ref());
    let from = Network::of(record.client_address());
    let Received { connection, settings, .. } = routed.request.received;
    let index = &worker.gateway.index;
    // Of a request that has waited for its turn.
    let mut waited = None;
    loop {
        let permit = routed.admit(&Gate::of(&worker.gateway)).await?;
        record.permitted(&permit);
        let request = UpstreamRequest::new(routed.request, &permit, framing)?;
        let Waited { place, slot, left, body: taken } = match waited.take() {
            None => {
                permit.check_budgets().map_err(Rejection::BudgetExhausted)?;
                let left = permit.count(from).map_err(Rejection::RateLimited)?;
                Waited { place: None, slot: None, left, body: None }
            }
            Some(waited) => waited,
        };
        let register = || worker.sweep.register(permit.clone(), connection.downstream(), connection.ends);
        let place = match permit.ask_to_go(place).map_err(|hold::Full| Rejection::Starting)? {
            hold::Asked::Goes(place) => place,
            hold::Asked::Waits(place) => {
                // A slot is for the service's work.
                drop(slot);
                // Boxed, so that it is no part of requests that never wait.
                let place = Box::pin(queue::until_started(place, register(), index, record)).await?;
                waited = Some(Waited { place: Some(place), slot: None, left, body: taken });
                routed.route_again(index);
                continue;
            }
        };
        let asked = permit.ask_for_slot(from, slot).map_err(|slots::Full| Rejection::QueueFull)?;
        let deadline = register();
        let mut body = taken.or_else(|| body.take().map(RequestBody::new));
        let slot = match asked {
            None => None,
            Some(slots::Asked::Granted(slot)) => Some(slot),
            Some(slots::Asked::Waits(waiting)) => {
                // Boxed, as above.
                let slot = Box::pin(queue::wait(waiting, deadline, body.as_mut(), record)).await?;
                waited = Some(Waited { place, slot: Some(slot), left, body });
                routed.route_again(index);
                continue;
            }
        };
        let (mut response, exchange) = match forward(worker, deadline, &request, slot, &mut body, record).await {
            Ok(forwarded) => forwarded,
            // All of it is still here.
            Err(rejection) if rejection.found_nobody() && (body.is_some() || framing == BodyFraming::None) => {
                let place = permit.found_nobody(place).map_err(|hold::Full| Rejection::Starting)?.ok_or(rejection)?;
                waited = Some(Waited { place: Some(place), slot: None, left, body });
                routed.route_again(index);
                continue;
            }
            Err(rejection) => return Err(rejection),
        };
        if let Some(place) = place {
            place.answered();
        }
        if permit.is_of_session() {
            headers::keep_private(&mut response.headers);
        }
        record.meter(Meter::of(&response.headers, permit.spec().settings.count_llm_tokens));
        if let Some(left) = left {
            say_rate(&mut response.headers, &left);
        }
        say_end(&mut response.headers, &permit, settings.expiry_notice, record.began());
        routed.cors().replace(&mut response.headers);
        return Ok(Served::ByService(response, exchange));
    }
}

/// What a request has when its turn has come. Whether it may pass is asked once more then.
struct Waited {
    /// Among those that wait until the service has started. `None`: it has found somebody there.
    place: Option<Place>,
    slot: Option<Slot>,
    /// It was counted when it came.
    left: Option<Left>,
    body: Option<RequestBody>,
}
