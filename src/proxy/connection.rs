//! A downstream connection: TLS or not, HTTP/1.1 or HTTP/2, and how it ends.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    connection_state::ConnectionState,
    local_executor::LocalExecutor,
    pipeline,
    state::{Connection, Worker},
    upstream::body::ResponseBody,
};
use crate::{config::LimitConfig, http::peer::Peer};

/// How long the gateway reads and drops what a caller still sends after the last response. Closing at once would reset the
/// connection, and the response could be lost on its way.
const LINGER: Duration = Duration::from_secs(5);
/// Streams that one HTTP/2 connection may have at once.
const MAX_STREAMS: u32 = 100;
/// What an HTTP/2 caller may send on one stream, and on one connection, before the gateway has read it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What hyper keeps for an HTTP/2 caller that reads slowly, per stream.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// How an HTTP/2 connection begins without TLS (RFC 9113 § 3.4). No HTTP/1 method begins so.
const HTTP2_PREFACE: &[u8] = b"PRI";

/// A connection that was just accepted.
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub listener: Option<SocketAddr>,
    pub tls: Option<Arc<ServerConfig>>,
    /// Counts it among the connections that may be open.
    pub connection_slot: OwnedSemaphorePermit,
}

/// Serves a connection until it ends.
pub async fn serve(worker: Rc<Worker>, accepted: Accepted) {
    let settings = worker.gateway.settings.load_full();
    let registered =
        worker.sweep.register_connection(settings.limits.header_timeout, settings.limits.keep_alive_timeout);
    let state = &registered.state;
    let Accepted { stream, peer, listener, tls, connection_slot } = accepted;
    let peer = Peer::new(peer, tls.is_some());
    let connection = Rc::new(Connection { peer, listener, state: Arc::clone(state) });
    let server = Server { worker, connection, limits: &settings.limits };
    match tls {
        Some(config) => {
            let Some(Ok(stream)) = state.guard(TlsAcceptor::from(config).accept(stream)).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            server.serve(DownstreamIo::new(stream, state, connection_slot), http2).await;
        }
        None => {
            let http2 = settings.http2 && state.guard(speaks_http2(&stream)).await == Some(true);
            server.serve(DownstreamIo::new(stream, state, connection_slot), http2).await;
        }
    }
}

struct Server<'a> {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    limits: &'a LimitConfig,
}

impl Server<'_> {
    async fn serve<S>(self, io: DownstreamIo<S>, http2: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        let service = service_fn(move |request: Request<Incoming>| {
            let (worker, connection) = (Rc::clone(&worker), Rc::clone(&connection));
            async move {
                Ok::<Response<ResponseBody>, std::convert::Infallible>(
                    pipeline::handle(worker, connection, request).await,
                )
            }
        });
        let io = TokioIo::new(io);
        if http2 {
            let serving = self.http2().serve_connection(io, service);
            self.drive(serving, |serving| serving.graceful_shutdown()).await;
        } else {
            let serving = self.http1().serve_connection(io, service).with_upgrades();
            self.drive(serving, |serving| serving.graceful_shutdown()).await;
        }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // The deadline sweep limits the header, TLS handshake and silence before the first byte included.
            .header_read_timeout(None)
            .max_headers(self.limits.max_headers)
            .max_header_size(self.limits.max_header_bytes);
        builder
    }

    fn http2(&self) -> http2::Builder<LocalExecutor> {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(self.limits.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER);
        builder
    }

    /// Polls the connection until it ends by itself or its time is over.
    async fn drive<C>(&self, serving: C, shut_down: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut serving = pin!(serving);
        let mut notified = false;
        let state = &self.connection.state;
        let served = state
            .guard(poll_fn(|cx| {
                if state.is_draining() && !notified {
                    notified = true;
                    shut_down(serving.as_mut());
                }
                serving.as_mut().poll(cx)
            }))
            .await;
        if let Some(Err(error)) = served
            && error.is_parse()
        {
            self.worker.record_malformed(&self.connection, error.is_parse_too_large());
        }
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(seen) if seen > 0 && HTTP2_PREFACE.starts_with(&first[..seen]) => {
                if seen == HTTP2_PREFACE.len() {
                    return true;
                }
                // `peek` would return the same bytes at once: wait for more, until the header's deadline.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => return false,
        }
    }
}

/// The downstream's bytes: tells the deadline sweep when some come, and closes gently.
struct DownstreamIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    /// The gateway has closed its side, and reads on only so that the last response is not lost.
    lingering: bool,
    _connection_slot: OwnedSemaphorePermit,
}

impl<S> DownstreamIo<S> {
    fn new(stream: S, state: &Arc<ConnectionState>, connection_slot: OwnedSemaphorePermit) -> Self {
        Self { stream, state: Arc::clone(state), lingering: false, _connection_slot: connection_slot }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for DownstreamIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.state.received();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DownstreamIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingering {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.lingering = true;
            self.state.linger(LINGER);
        }
        let mut rest = [MaybeUninit::uninit(); 8 * 1024];
        while !self.state.is_closing() {
            let mut rest = ReadBuf::uninit(&mut rest);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
