//! Sends a permitted request to an upstream that takes it.

use std::{
    io::ErrorKind,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{
    deadlines::{Deadline, Timer},
    permit::Permit,
    record::Record,
    rejection::{Malformed, Rejection, UpstreamFailure},
    request_body::RequestBody,
    state::Worker,
    upstream::{
        connect::{Attempt, attempt_delay, is_out_of_connections, race},
        exchange::{Exchange, Load},
        head::ResponseHead,
        pool,
        request_writer::RequestWriter,
    },
    upstream_request::UpstreamRequest,
};
use crate::index::{slots::Slot, upstream::Upstream};

/// Returns when the head of the response is here. `slot` of `None`: the Deployment takes any number of requests. `body` is taken
/// when there is a connection.
///
/// An upstream that takes no connection, or not soon, is passed over: the gateway has sent it nothing. A request that met
/// an idle connection just as the upstream closed it is sent once more, if the upstream cannot have seen it or it can do no
/// harm twice.
///
/// # Errors
/// Any [`Rejection`] but a denial.
pub async fn forward(
    worker: &Worker,
    mut deadline: Deadline,
    request: &UpstreamRequest<'_>,
    mut slot: Option<Slot>,
    body: &mut Option<RequestBody>,
    record: &mut Record,
) -> Result<(ResponseHead, Box<Exchange>), Rejection> {
    let received = request.request().received;
    let method = &received.head.method;
    let max_body = request.permit().spec().settings.max_body_bytes;
    let mut reusable = Some(received.settings.upstream_keep_alive);
    let mut begun = None;
    let now = record.forwards();
    loop {
        let (connection, load) = connect(worker, request.permit(), &deadline, reusable, now).await?;
        deadline.by_upstream(connection.ends);
        let mut writer = begun.take().unwrap_or_else(|| {
            RequestWriter::new(body.take(), request.framing(), max_body, || request.trailer_rules())
        });
        writer.start(request.write(load.upstream().url.base_path()));
        // Boxed, as it is large and passed on at every stage from here.
        let mut exchange = Box::new(Exchange::new(connection, writer, deadline, (load, slot), Rc::clone(&worker.pool)));
        let head = exchange.head(method).await;
        let head = head.map(|(response, at)| {
            exchange.upstream().metrics.answered(worker.telemetry.number(), record.waited_until(at));
            response
        });
        match head {
            Ok(response) if response.status == StatusCode::SWITCHING_PROTOCOLS => {
                // Only the response to our own upgrade makes a tunnel.
                let expected = request.request().websocket && response.websocket;
                return if expected { Ok((response, exchange)) } else { Err(Malformed::SwitchesUnasked.into()) };
            }
            Ok(response) => return Ok((response, exchange)),
            Err(rejection) if exchange.may_be_sent_again(rejection, method) => {
                reusable = None;
                let (writer, same_deadline, same_slot) = exchange.into_parts();
                (begun, deadline, slot) = (Some(writer), same_deadline, same_slot);
            }
            Err(rejection) => {
                record.received(exchange.received());
                return Err(rejection);
            }
        }
    }
}

/// A connection to the first upstream that takes one: an idle one if there is one. Each upstream is waited for a moment
/// before the next is tried beside it, and until `connect_timeout` after the last one began.
///
/// `reusable`: how long a connection may have been idle at `now`. `None`: it must be a new one.
async fn connect(
    worker: &Worker,
    permit: &Permit,
    deadline: &Deadline,
    reusable: Option<Duration>,
    now: Instant,
) -> Result<(pool::Connection, Load), Rejection> {
    let upstreams = permit.upstreams();
    let idle = |upstream| reusable.and_then(|keep_alive| worker.pool.take(upstream, keep_alive, now));
    if let Some(first) = upstreams.first()
        && let Some(connection) = idle(first)
    {
        return Ok((connection, Load::on(first)));
    }
    let timeout = permit.spec().settings.connect_timeout;
    let delay = attempt_delay(timeout);
    let attempts = upstreams.iter().map(|upstream| {
        deadline.arm(Timer::Connect, timeout);
        open(Rc::clone(&worker.pool), Load::on(upstream), reusable, delay)
    });
    // Boxed, as it is rare and large: else each request would move it about.
    match Box::pin(deadline.guard(race(attempts, delay))).await? {
        Some(Ok(connected)) => Ok(connected),
        Some(Err(error)) if is_out_of_connections(&error) => Err(Rejection::OutOfConnections),
        Some(Err(error)) => Err(UpstreamFailure::of_connect(&error).into()),
        None => Err(UpstreamFailure::Connect(ErrorKind::NotFound).into()),
    }
}

/// The request counts as load while it waits, so that not everybody waits for the same upstream.
async fn open(
    pool: Rc<pool::Pool>,
    load: Load,
    reusable: Option<Duration>,
    delay: Duration,
) -> std::io::Result<(pool::Connection, Load)> {
    let upstream = Arc::clone(load.upstream());
    if let Some(connection) = reusable.and_then(|keep_alive| pool.take(&upstream, keep_alive, Instant::now())) {
        return Ok((connection, load));
    }
    let attempt = Attempt::begin(delay, |connected| note(&upstream, connected));
    let connected = attempt.end(Rc::clone(&pool).connect(&upstream, delay).await);
    let connected = connected.inspect_err(|error| {
        tracing::debug!(upstream = %upstream.url, %error, "there is no connection to an upstream");
    });
    Ok((connected?, load))
}

fn note(upstream: &Upstream, connected: bool) {
    let url = &upstream.url;
    if connected && upstream.standing.reachability.connected() {
        upstream.returned(Instant::now());
        tracing::info!(upstream = %url, "an upstream takes connections again");
    } else if !connected {
        upstream.metrics.took_no_connection();
        if upstream.standing.reachability.failed(Instant::now()) {
            tracing::warn!(upstream = %url, "an upstream takes no connection; it is tried last until it does");
        }
    }
}
