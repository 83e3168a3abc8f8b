//! A downstream connection: TLS or not, HTTP/1.1 or HTTP/2, and how it ends.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    downstream_io::{DownstreamIo, Rest, Socket, WatchedLine},
    forward_auth,
    local_executor::LocalExecutor,
    pipeline,
    rejection::{BadRequest, Rejection},
    request_id::Digits,
    state::{Connection, Entrance, Worker},
    streams::{Refusal, Streams},
    target::BadTarget,
    unheard::Ends,
    upstream::body::ResponseBody,
};
use crate::{
    config::LimitConfig,
    http::{
        forwarding::is_trusted,
        opening::{OpenedStream, Opening, failed_handshake},
        peer::Peer,
        proxy_protocol::{self, Fault},
        request_line::RequestLine,
    },
};

/// What else than the target a request line has at most: method, scheme, host and version. Below that the request is read as
/// others are, and refused for its target where that is too long.
const BESIDE_TARGET: usize = 1024;
/// Fields that hyper takes of a request of HTTP/1 if it is not told otherwise.
const LIBRARYS_MAX_HEADERS: usize = 100;
/// Streams that one HTTP/2 connection may have at once.
const MAX_STREAMS: u32 = 100;
/// What an HTTP/2 caller may send on one stream, and on one connection, before the gateway has read it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What hyper keeps for an HTTP/2 caller that reads slowly, per stream.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// A connection that was just accepted.
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub entrance: Entrance,
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
    let Accepted { mut stream, peer, entrance, tls, connection_slot } = accepted;
    let ends = stream.local_addr().ok().map(|local| Ends::new(local, peer));
    let announced = settings.proxy_protocol
        && entrance != Entrance::ForwardAuth
        && is_trusted(peer.ip().to_canonical(), &settings.trusted_proxies);
    // Boxed: a connection that rests has none of it.
    let preface = if announced { Box::pin(state.guard(proxy_protocol::read(&mut stream))).await } else { None };
    let peer = match &preface {
        Some(Ok(Some(caller))) => Peer::new(*caller, tls.is_some()),
        Some(Ok(None)) => Peer::for_somebody(peer, tls.is_some()),
        Some(Err(_)) | None => Peer::new(peer, tls.is_some()),
    };
    let connection = Rc::new(Connection { peer, entrance, ends, state: Arc::clone(state) });
    let server = Server { worker, connection, limits: &settings.limits };
    let mut stream = OpenedStream::new(stream);
    match preface {
        // Its time was over.
        None if announced => return,
        Some(Err(fault)) => {
            let io = DownstreamIo::new(stream, state, connection_slot, None);
            let _ = Box::pin(state.guard(server.refuse_preface(io, &fault, tls.is_some()))).await;
            return;
        }
        Some(Ok(_)) | None => {}
    }
    let opening = match state.guard(stream.opening()).await {
        None | Some(Err(_) | Ok(Opening::Nothing)) => return,
        Some(Ok(opening)) => opening,
    };
    match (opening, tls) {
        (Opening::ProxyProtocol(version), tls) => {
            let io = DownstreamIo::new(stream, state, connection_slot, None);
            let _ = Box::pin(state.guard(server.refuse_proxy_protocol(io, version, tls.is_some()))).await;
        }
        // Boxed, as all that is large: a connection that rests has none of it.
        (opening, Some(config)) => Box::pin(server.accept_tls(opening, stream, config, connection_slot)).await,
        (opening, None) => {
            // Envoy asks by gRPC.
            let http2 = (settings.http2 || entrance == Entrance::ForwardAuth) && opening == Opening::Http2;
            server.serve(stream, connection_slot, http2).await;
        }
    }
}

struct Server<'a> {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    limits: &'a LimitConfig,
}

impl Server<'_> {
    async fn accept_tls(
        &self,
        opening: Opening,
        stream: OpenedStream,
        config: Arc<ServerConfig>,
        connection_slot: OwnedSemaphorePermit,
    ) {
        let state = &self.connection.state;
        let stream = match state.guard(TlsAcceptor::from(config).accept(stream)).await {
            Some(Ok(stream)) => stream,
            failed => return self.tell_of_handshake(opening, failed.and_then(Result::err)),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.serve(stream, connection_slot, http2).await;
    }

    async fn serve<S: Socket>(&self, stream: S, connection_slot: OwnedSemaphorePermit, http2: bool) {
        let state = &self.connection.state;
        if http2 {
            return Box::pin(self.serve_http2(stream, connection_slot)).await;
        }
        let line = RequestLine::first(self.limits.max_uri_bytes + BESIDE_TARGET);
        let watched = WatchedLine { line, request: self.worker.next_request_number() };
        let mut io = DownstreamIo::new(stream, state, connection_slot, Some(watched));
        while let Some(silent) = Box::pin(self.until_silence(io)).await {
            io = silent;
            match state.guard(io.rest()).await {
                Some(Rest::NextRequest) => {}
                Some(Rest::End) => {
                    let _ = state.guard(io.shutdown()).await;
                    return;
                }
                None => return,
            }
        }
    }

    async fn serve_http2<S: Socket>(&self, stream: S, connection_slot: OwnedSemaphorePermit) {
        let state = &self.connection.state;
        state.becomes_http2();
        let io = DownstreamIo::new(stream, state, connection_slot, None);
        let mut serving = pin!(self.http2().serve_connection(TokioIo::new(io), self.service()));
        self.drive(&mut serving, |serving| serving.get_mut().as_mut().graceful_shutdown()).await;
    }

    /// Serves HTTP/1 until the connection has ended, or until its caller has been silent for so long after a response that the
    /// connection is taken apart. Then all that is left of it is returned.
    async fn until_silence<S: Socket>(&self, io: DownstreamIo<S>) -> Option<DownstreamIo<S>> {
        let mut serving = self.http1().serve_connection(TokioIo::new(io), self.service()).with_upgrades();
        match self.drive(&mut serving, |serving| serving.graceful_shutdown()).await {
            Driven::Ended => None,
            Driven::Silent => {
                let parts = serving.into_parts()?;
                Some(parts.io.into_inner().with_unread(&parts.read_buf))
            }
        }
    }

    fn service(
        &self,
    ) -> impl Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future: 'static> + use<>
    {
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        service_fn(move |request: Request<Incoming>| {
            let stream = connection.state.streams().and_then(Streams::handed_over);
            let (worker, connection) = (Rc::clone(&worker), Rc::clone(&connection));
            async move {
                Ok::<_, Infallible>(match connection.entrance {
                    // Boxed, so that it is no part of every request.
                    Entrance::ForwardAuth => Box::pin(forward_auth::handle(worker, connection, stream, request)).await,
                    Entrance::Common | Entrance::Deployment(_) => {
                        pipeline::handle(worker, connection, stream, request).await
                    }
                })
            }
        })
    }

    /// Says to a load balancer that its announcements are not read: they may be from trusted proxies only, and if that is
    /// configured.
    async fn refuse_proxy_protocol(&self, io: DownstreamIo<OpenedStream>, version: u8, tls: bool) -> io::Result<()> {
        if let Some(others) = self.worker.complaints.next() {
            let peer = self.connection.peer.address();
            tracing::warn!(
                %peer, version, others,
                "a connection had an announcement of the PROXY protocol that is not read: there is one of each connection, and \
                 of trusted proxies only. If the peer is a load balancer of yours, turn it off there, and have it send \
                 X-Forwarded-For; or set proxy.proxy_protocol, and name it in proxy.trusted_proxies"
            );
        }
        self.refuse_opening(io, BadRequest::ProxyProtocol, "", tls).await
    }

    /// Says to a trusted proxy that its connection does not begin as it has to.
    async fn refuse_preface(&self, io: DownstreamIo<OpenedStream>, fault: &Fault, tls: bool) -> io::Result<()> {
        // Whether a port is open is asked without a word.
        if matches!(fault, Fault::Ended(_)) {
            return Ok(());
        }
        if let Some(others) = self.worker.complaints.next() {
            let (peer, reason) = (self.connection.peer.address(), fault.to_string());
            tracing::warn!(
                %peer, reason, others,
                "a connection of a trusted proxy did not begin with the PROXY protocol: turn it on there, or \
                 proxy.proxy_protocol off"
            );
        }
        self.refuse_opening(io, BadRequest::NoProxyProtocol, &fault.to_string(), tls).await
    }

    /// Where TLS is expected, nobody could read the response.
    async fn refuse_opening(
        &self,
        mut io: DownstreamIo<OpenedStream>,
        reason: BadRequest,
        cause: &str,
        tls: bool,
    ) -> io::Result<()> {
        let rejection = Rejection::BadRequest(reason);
        let status = (!tls).then(|| rejection.status().as_u16());
        self.worker.record_unread(&self.connection, status, rejection.code(), cause);
        if !tls {
            let mut digits = Digits::default();
            let id = self.worker.next_request_number().id(&mut digits);
            io.write_all(&rejection.on_closing_connection(id)).await?;
        }
        io.shutdown().await
    }

    /// `error` of `None`: its time was over.
    fn tell_of_handshake(&self, opening: Opening, error: Option<io::Error>) {
        let Some(others) = self.worker.complaints.next() else { return };
        let peer = self.connection.peer.address();
        let reason = failed_handshake(opening, error.as_ref(), "proxy.limits.header_timeout");
        tracing::info!(%peer, reason, others, "a TLS handshake failed");
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // The deadline sweep limits the header, TLS handshake and silence before the first byte included.
            .header_read_timeout(None)
            .max_header_size(self.limits.max_header_bytes);
        // For a limit that is not its own the library clears a table at each request.
        if self.limits.max_headers != LIBRARYS_MAX_HEADERS {
            builder.max_headers(self.limits.max_headers);
        }
        builder
    }

    fn http2(&self) -> http2::Builder<LocalExecutor> {
        let mut builder = http2::Builder::new(LocalExecutor);
        builder
            .max_concurrent_streams(MAX_STREAMS)
            // Up to twice the limit, which `headers::check_size` checks: the library refuses without method and path in the log.
            .max_header_list_size(u32::try_from(2 * self.limits.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER);
        builder
    }

    /// Polls the connection until it ends by itself, its time is over, or its caller has long been silent.
    async fn drive<C>(&self, serving: &mut C, shut_down: impl Fn(Pin<&mut C>)) -> Driven
    where
        C: Future<Output = hyper::Result<()>> + Unpin,
    {
        let (mut notified, mut recorded) = (false, false);
        let state = &self.connection.state;
        let served = state
            .guard(poll_fn(|cx| {
                if state.takes_no_more() && !notified {
                    notified = true;
                    shut_down(Pin::new(serving));
                }
                let mut polled = Pin::new(&mut *serving).poll(cx);
                if state.refuses_line() && !recorded {
                    recorded = true;
                    let rejection = Rejection::from(BadTarget::TooLong);
                    let status = Some(rejection.status().as_u16());
                    self.worker.record_unread(&self.connection, status, rejection.code(), "");
                }
                while let Some(refusal) = state.streams().and_then(Streams::refused) {
                    // Once the caller is told to open no further stream, the library passes over those that it opens.
                    if !state.takes_no_more() && !matches!(polled, Poll::Ready(Err(_))) {
                        self.record_refused(refusal);
                    }
                    if polled.is_pending() {
                        polled = Pin::new(&mut *serving).poll(cx);
                    }
                }
                match polled {
                    Poll::Pending if state.is_silent() => Poll::Ready(None),
                    polled => polled.map(Some),
                }
            }))
            .await;
        match served {
            Some(None) => return Driven::Silent,
            Some(Some(Err(error))) if error.is_parse() => self.worker.record_malformed(&self.connection, &error),
            Some(Some(Err(error))) => {
                if let Some(reason) = fault_of_http2(&error) {
                    self.worker.record_unread(&self.connection, None, "malformed_request", reason);
                }
            }
            None | Some(Some(Ok(()))) => {}
        }
        Driven::Ended
    }

    /// Records a stream of HTTP/2 that the library has refused.
    fn record_refused(&self, refusal: Refusal) {
        let record = |status, reason, cause: &dyn fmt::Display| {
            self.worker.record_unread(&self.connection, status, reason, cause);
        };
        match refusal {
            Refusal::HeaderTooLarge => {
                let rejection = Rejection::from(BadRequest::HeaderTooLarge);
                record(Some(rejection.status().as_u16()), rejection.code(), &BadRequest::HeaderTooLarge);
            }
            Refusal::Reset(reason) => record(None, "malformed_request", &reason),
            Refusal::Unsaid => record(None, "malformed_request", &"the stream was refused"),
        }
    }
}

/// Why a connection is polled no longer.
enum Driven {
    Ended,
    /// Between two requests of HTTP/1.
    Silent,
}

/// Why the library has ended a connection of HTTP/2 for what its caller sent. `None`: that is not why it has ended.
fn fault_of_http2(error: &hyper::Error) -> Option<h2::Reason> {
    let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    let ours = error.is_go_away() && error.is_library();
    error.reason().filter(|reason| ours && *reason != h2::Reason::NO_ERROR)
}
