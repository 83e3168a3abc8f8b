//! Sends a permitted request to an upstream that takes it.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::StatusCode;
use hyper::body::Incoming;

use super::{
    deadlines::{Cut, Deadline, Timer},
    permit::Permit,
    record::Record,
    rejection::{Rejection, UpstreamFailure},
    state::Worker,
    upstream::{
        exchange::{Exchange, Load},
        head::ResponseHead,
        pool,
        request_writer::RequestWriter,
    },
    upstream_request::UpstreamRequest,
};
use crate::index::routes::Upstream;

/// Returns when the head of the response is here.
///
/// An upstream that takes no connection is passed over: the gateway has sent it nothing. A request that met an idle
/// connection just as the upstream closed it is sent once more, if it can do no harm twice.
///
/// # Errors
/// Any [`Rejection`] but a denial.
pub async fn forward(
    worker: &Worker,
    mut deadline: Deadline,
    request: &UpstreamRequest<'_>,
    mut body: Option<Incoming>,
    record: &mut Record,
) -> Result<(ResponseHead, Exchange), Rejection> {
    let received = request.request().received;
    let method = &received.head.method;
    let max_body = request.permit().spec().settings.max_body_bytes;
    let mut reusable = Some(received.settings.upstream_keep_alive);
    loop {
        let (connection, upstream) = connect(worker, request.permit(), &deadline, reusable).await?;
        let head = request.write(upstream.url.base_path());
        let writer = RequestWriter::new(head, body.take(), request.framing(), max_body);
        let load = Load::on(&upstream);
        let mut exchange = Exchange::new(connection, writer, deadline, load, Rc::clone(&worker.pool));
        match exchange.head(method).await {
            Ok(response) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                // Only the response to our own upgrade makes a tunnel.
                let expected = request.request().websocket && response.websocket;
                return if expected { Ok((response, exchange)) } else { Err(UpstreamFailure::Malformed.into()) };
            }
            Ok(response) => return Ok((response, exchange)),
            Err(rejection) if exchange.may_be_sent_again(rejection, method) => {
                reusable = None;
                let writer;
                (writer, deadline) = exchange.into_writer_and_deadline();
                body = writer.into_body();
            }
            Err(rejection) => {
                record.received(exchange.received());
                return Err(rejection);
            }
        }
    }
}

/// A connection to the least loaded upstream that takes one: an idle one if there is one.
///
/// `reusable`: how long a connection may have been idle. `None`: it must be a new one.
async fn connect(
    worker: &Worker,
    permit: &Permit,
    deadline: &Deadline,
    reusable: Option<Duration>,
) -> Result<(pool::Connection, Arc<Upstream>), Rejection> {
    let mut rejection = Rejection::Upstream(UpstreamFailure::Connect);
    for upstream in permit.upstreams() {
        if let Some(connection) = reusable.and_then(|keep_alive| worker.pool.take(upstream, keep_alive)) {
            return Ok((connection, Arc::clone(upstream)));
        }
        deadline.arm(Timer::Connect, permit.spec().settings.connect_timeout);
        match deadline.guard(pool::connect(&upstream.url)).await {
            Ok(Ok(connection)) => return Ok((connection, Arc::clone(upstream))),
            Ok(Err(error)) => {
                tracing::debug!(upstream = %upstream.url, %error, "an upstream takes no connection");
                rejection = UpstreamFailure::Connect.into();
            }
            Err(cut @ Cut::Timeout(_)) => {
                deadline.clear();
                rejection = cut.into();
            }
            Err(cut) => return Err(cut.into()),
        }
    }
    Err(rejection)
}
