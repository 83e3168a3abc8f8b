//! After a 101: bytes both ways, until one side ends it, it falls silent, or the permission ends. When the gateway ends it,
//! both sides get a close frame, unless they are within a frame.

use std::{io, pin::pin, time::Duration};

use bytes::BytesMut;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    request::Parts,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    credential,
    deadlines::{Cut, Timer, WaitsFor},
    record::Record,
    rejection::Rejection,
    upstream::{body::ResponseBody, exchange::Exchange, head::ResponseHead, pool::Connection, stream::Stream},
    websocket_frames::{FrameFollower, close_frame},
};
use crate::{system, telemetry::line::RequestOutcome};

/// What each direction may hold, bytes.
const BUFFER: usize = 8 * 1024;
/// How long one side may go on after the other has ended. A WebSocket is not used in one direction only: who has ended has
/// sent its close frame, or is gone (RFC 6455 § 7.1.1).
const HALF_CLOSED_TIME: Duration = Duration::from_secs(5);
/// How long the gateway waits for the caller when it ends the tunnel itself.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// Status codes of close frames (RFC 6455 § 7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// Answers 101 and carries the bytes from then on.
pub fn tunnel(
    head: &Parts,
    upgraded: ResponseHead,
    exchange: Box<Exchange>,
    mut record: Box<Record>,
) -> Response<ResponseBody> {
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
    record.answered();
    // hyper puts it there for every HTTP/1.1 request that asks for an upgrade.
    if let Some(downstream) = head.extensions.get::<OnUpgrade>().cloned() {
        tokio::task::spawn_local(carry(downstream, exchange, record));
    }
    response
}

async fn carry(downstream: OnUpgrade, exchange: Box<Exchange>, mut record: Box<Record>) {
    // The load counts as long as the tunnel stands.
    let (Connection { stream, buffer: early, slot: _slot, .. }, deadline, _under_way) = exchange.into_tunnel();
    deadline.leave_downstream();
    deadline.set_waits_for(WaitsFor::Either);
    let opened = deadline.guard(downstream).await;
    let Ok(Ok(downstream)) = opened else {
        record.ended(opened.map_or_else(RequestOutcome::from, |_| RequestOutcome::CallerLeft));
        return;
    };
    let mut tunnel = Tunnel::new(TokioIo::new(downstream), stream);
    let idle_timeout = deadline.permit().spec().settings.idle_timeout;
    let touch = || deadline.arm(Timer::UpstreamIdle, idle_timeout);
    let carried = deadline.guard(tunnel.both_ways(early, touch)).await;
    record.received(tunnel.to_service.bytes);
    record.sent(usize::try_from(tunnel.to_caller.bytes).unwrap_or(usize::MAX));
    record.ended(carried.as_ref().map_or_else(|cut| RequestOutcome::from(*cut), |_| RequestOutcome::Tunnel));
    drop(record);
    if let Err(cut) = carried {
        // The exchange counts as running meanwhile, so that a drain waits a moment.
        let _ = timeout(LEAVE_TIME, tunnel.leave(cut)).await;
    }
}

struct Tunnel {
    downstream: TokioIo<Upgraded>,
    upstream: Stream,
    to_service: Direction,
    to_caller: Direction,
}

/// What one direction has carried.
struct Direction {
    bytes: u64,
    frames: FrameFollower,
}

impl Tunnel {
    fn new(downstream: TokioIo<Upgraded>, upstream: Stream) -> Self {
        Self {
            downstream,
            upstream,
            to_service: Direction { bytes: 0, frames: FrameFollower::of_caller() },
            to_caller: Direction { bytes: 0, frames: FrameFollower::of_service() },
        }
    }

    /// Returns when both sides have ended, or one has and [`HALF_CLOSED_TIME`] is over. `early` is what the upstream sent
    /// right behind its head; `touch` is called whenever bytes move.
    async fn both_ways(&mut self, early: BytesMut, touch: impl Fn()) -> io::Result<()> {
        touch();
        let Self { downstream, upstream, to_service, to_caller } = self;
        to_caller.write(downstream, &early).await?;
        match upstream {
            Stream::Plain(stream) => relay(downstream, stream.split(), (to_service, to_caller), touch).await,
            Stream::Tls(stream) => {
                relay(downstream, tokio::io::split(stream.inner()), (to_service, to_caller), touch).await
            }
        }
    }

    /// Tells both sides why the tunnel ends, where a frame of ours may stand.
    async fn leave(&mut self, cut: Cut) -> io::Result<()> {
        let code = if matches!(cut, Cut::Token(_)) { POLICY_VIOLATION } else { GOING_AWAY };
        if let Ok(mask) = system::random::<4>()
            && self.to_service.frames.may_close()
        {
            // Not waited for: if the service reads nothing, it learns by the end of its connection.
            self.upstream.try_write(&close_frame(GOING_AWAY, "", Some(mask)));
        }
        if self.to_caller.frames.may_close() {
            self.downstream.write_all(&close_frame(code, Rejection::Cut(cut).code(), None)).await?;
            self.downstream.flush().await?;
        }
        self.downstream.shutdown().await
    }
}

/// As [`Tunnel::both_ways`].
async fn relay<R, W>(
    downstream: &mut TokioIo<Upgraded>,
    (from_service, service): (R, W),
    (to_service, to_caller): (&mut Direction, &mut Direction),
    touch: impl Fn(),
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (from_caller, caller) = tokio::io::split(downstream);
    let mut upwards = pin!(to_service.carry(from_caller, service, &touch));
    let mut downwards = pin!(to_caller.carry(from_service, caller, &touch));
    tokio::select! {
        to_service = &mut upwards => {
            // The service learns that the caller has ended, and may say its last words.
            to_service?.shutdown().await?;
            timeout(HALF_CLOSED_TIME, downwards).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop)
        }
        to_caller = &mut downwards => {
            // This also reads what the caller still sends, until it ends its side.
            timeout(HALF_CLOSED_TIME, to_caller?.shutdown()).await.unwrap_or(Ok(()))
        }
    }
}

impl Direction {
    /// Carries until `from` ends, and gives back what it has written to.
    async fn carry<R, W>(&mut self, mut from: R, mut to: W, touch: &impl Fn()) -> io::Result<W>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        while from.read_buf(&mut buffer).await? > 0 {
            touch();
            self.write(&mut to, &buffer).await?;
            touch();
            buffer.clear();
        }
        Ok(to)
    }

    /// Whenever this is given up, exactly what was written has been followed.
    async fn write<W: AsyncWrite + Unpin>(&mut self, to: &mut W, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = to.write(bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.bytes += written as u64;
            self.frames.follow(&bytes[..written]);
            bytes = &bytes[written..];
        }
        to.flush().await
    }
}
