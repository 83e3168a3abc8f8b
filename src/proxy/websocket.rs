//! After a 101: bytes both ways, until one side ends it, it falls silent, or the permission ends.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    net::TcpStream,
};

use super::{
    credential,
    deadlines::{Deadline, Timer},
    record::Record,
    upstream::{
        body::ResponseBody,
        exchange::{Exchange, Load},
        head::ResponseHead,
    },
};
use crate::telemetry::access_log::RequestOutcome;

/// Answers 101 and carries the bytes from then on.
pub fn tunnel(head: Parts, answer: ResponseHead, exchange: Exchange, mut record: Record) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && credential::offers_protocol(&head.headers) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(credential::PROTOCOL));
    }
    record.responded(StatusCode::SWITCHING_PROTOCOLS.as_u16(), "");
    record.first_byte();
    let caller = hyper::upgrade::on(Request::from_parts(head, ()));
    let (upstream, early, deadline, load) = exchange.into_tunnel();
    tokio::task::spawn_local(carry(caller, upstream, early, deadline, load, record));
    response
}

/// `early` is what the upstream sent right behind its head. `_load` counts as long as the tunnel stands.
async fn carry(
    caller: OnUpgrade,
    upstream: TcpStream,
    early: BytesMut,
    deadline: Deadline,
    _load: Load,
    mut record: Record,
) {
    let traffic = Rc::new(Traffic::default());
    let meter = Metered { stream: upstream, deadline: &deadline, traffic: Rc::clone(&traffic) };
    let carried = deadline.guard(both_ways(caller, meter, &early)).await;
    record.received(traffic.to_upstream.get());
    record.sent(early.len() + traffic.to_caller.get());
    record.ended(carried.map_or_else(RequestOutcome::from, |_| RequestOutcome::Tunnel));
}

async fn both_ways(caller: OnUpgrade, mut upstream: Metered<'_>, early: &[u8]) -> io::Result<()> {
    let mut caller = TokioIo::new(caller.await.map_err(io::Error::other)?);
    caller.write_all(early).await?;
    copy_bidirectional(&mut caller, &mut upstream).await?;
    Ok(())
}

#[derive(Default)]
struct Traffic {
    to_upstream: Cell<u64>,
    to_caller: Cell<usize>,
}

/// The upstream's side of a tunnel: every byte through it counts, and ends the silence.
struct Metered<'a> {
    stream: TcpStream,
    deadline: &'a Deadline,
    traffic: Rc<Traffic>,
}

impl Metered<'_> {
    fn touch(&self) {
        self.deadline.arm(Timer::UpstreamIdle, self.deadline.permit().spec().settings.idle_timeout);
    }
}

impl AsyncRead for Metered<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.touch();
        let traffic = &self.traffic;
        traffic.to_caller.set(traffic.to_caller.get() + buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.touch();
        let traffic = &self.traffic;
        traffic.to_upstream.set(traffic.to_upstream.get() + written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
