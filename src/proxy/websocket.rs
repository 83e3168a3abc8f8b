//! After a 101: bytes both ways, until one side ends it, it falls silent, or the permission ends.

use std::{cell::Cell, io};

use bytes::BytesMut;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional, join},
    net::TcpStream,
};
use tokio_util::io::{InspectReader, InspectWriter};

use super::{
    credential,
    deadlines::{Deadline, Timer},
    record::Record,
    upstream::{body::ResponseBody, exchange::Exchange, head::ResponseHead},
};
use crate::telemetry::line::RequestOutcome;

/// Answers 101 and carries the bytes from then on.
pub fn tunnel(head: &Parts, upgraded: ResponseHead, exchange: Exchange, mut record: Record) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = upgraded.headers;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && credential::offers_protocol(&head.headers) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(credential::PROTOCOL));
    }
    record.responded(StatusCode::SWITCHING_PROTOCOLS.as_u16(), "");
    record.first_byte();
    // hyper puts it there for every HTTP/1.1 request that asks for an upgrade.
    if let Some(downstream) = head.extensions.get::<OnUpgrade>().cloned() {
        tokio::task::spawn_local(carry(downstream, exchange, record));
    }
    response
}

async fn carry(downstream: OnUpgrade, exchange: Exchange, mut record: Record) {
    // The load counts as long as the tunnel stands.
    let (upstream, early, deadline, _load) = exchange.into_tunnel();
    let bytes = Counts::default();
    let carried = deadline.guard(both_ways(downstream, upstream, early, &deadline, &bytes)).await;
    record.received(bytes.to_upstream.get());
    record.sent(bytes.to_downstream.get());
    record.ended(carried.map_or_else(RequestOutcome::from, |_| RequestOutcome::Tunnel));
}

/// Bytes that a tunnel has carried so far.
#[derive(Default)]
struct Counts {
    to_upstream: Cell<u64>,
    to_downstream: Cell<usize>,
}

/// `early` is what the upstream sent right behind its head.
async fn both_ways(
    downstream: OnUpgrade,
    mut upstream: TcpStream,
    early: BytesMut,
    deadline: &Deadline,
    counts: &Counts,
) -> io::Result<()> {
    let idle_timeout = deadline.permit().spec().settings.idle_timeout;
    let touch = || deadline.arm(Timer::UpstreamIdle, idle_timeout);
    let mut downstream = TokioIo::new(downstream.await.map_err(io::Error::other)?);
    downstream.write_all(&early).await?;
    counts.to_downstream.set(early.len());
    let (reader, writer) = upstream.split();
    let reader = InspectReader::new(reader, |bytes: &[u8]| {
        touch();
        counts.to_downstream.set(counts.to_downstream.get() + bytes.len());
    });
    let writer = InspectWriter::new(writer, |bytes: &[u8]| {
        touch();
        counts.to_upstream.set(counts.to_upstream.get() + bytes.len() as u64);
    });
    copy_bidirectional(&mut downstream, &mut join(reader, writer)).await?;
    Ok(())
}
