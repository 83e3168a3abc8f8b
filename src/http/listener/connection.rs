//! One connection: TLS or not, HTTP/1.1, and how it ends.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
};
use http::{Request, Response};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{info, warn};

use super::{noticing::Noticing, patience::Patience, places::Place, refusal::Refusal, unread::Unread};
use crate::http::{
    complaints::Complaints,
    opening::{OpenedStream, Opening, failed_handshake},
    peer::Peer,
};

/// All fields of a request together, bytes: 431 beyond.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Fields of a request: 431 beyond.
const MAX_HEADERS: usize = 100;

/// A connection that was just accepted.
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// `None`: clear text.
    pub tls: Option<Arc<ServerConfig>>,
    pub router: Router,
    pub place: Place,
    pub draining: CancellationToken,
    pub complaints: Arc<Complaints>,
}

/// Serves a connection until it ends or its time is over. `listener`: as the log calls it.
pub async fn serve(listener: &'static str, accepted: Accepted) {
    let Accepted { stream, peer, tls, router, place, draining, complaints } = accepted;
    let patience = &place.patience;
    let client = peer.ip();
    let peer = Peer::new(peer, tls.is_some());
    let (mut stream, mut shaking) = (OpenedStream::new(stream), None);
    let served = async {
        let opening = match stream.opening().await {
            Err(_) | Ok(Opening::Nothing) => return,
            Ok(opening) => opening,
        };
        if let Opening::ProxyProtocol(version) = opening
            && let Some(others) = complaints.next()
        {
            warn!(
                peer = %client, listener, version, others,
                "a connection began with the PROXY protocol, which the gateway does not read: turn it off at the load \
                 balancer, and have it send X-Forwarded-For"
            );
        }
        let ends_with_line = AtomicBool::new(false);
        let unread = Unread { listener, peer: client, opening, tls: tls.is_some(), complaints: &complaints };
        let server = Server { router, peer, patience, draining: &draining, ends_with_line, unread };
        let Some(config) = tls else { return server.serve(stream).await };
        shaking = Some(opening);
        let accepted = TlsAcceptor::from(config).accept(stream).await;
        shaking = None;
        match accepted {
            Ok(stream) => server.serve(stream).await,
            Err(error) => tell_of_handshake(listener, client, opening, Some(&error), &complaints),
        }
    };
    let over = tokio::select! {
        () = served => false,
        () = patience.is_over() => true,
    };
    if let Some(opening) = shaking.filter(|_| over) {
        tell_of_handshake(listener, client, opening, None, &complaints);
    }
}

/// `error` of `None`: its time was over.
fn tell_of_handshake(
    listener: &'static str,
    peer: IpAddr,
    opening: Opening,
    error: Option<&io::Error>,
    complaints: &Complaints,
) {
    // Of the PROXY protocol there is a message.
    if let Opening::ProxyProtocol(_) = opening {
        return;
    }
    let Some(others) = complaints.next() else { return };
    let reason = failed_handshake(opening, error, "the listener's header_timeout");
    info!(%peer, listener, reason, others, "a TLS handshake failed");
}

struct Server<'a> {
    router: Router,
    peer: Peer,
    patience: &'a Arc<Patience>,
    draining: &'a CancellationToken,
    /// Whether the request that was read last does, as it has no body.
    ends_with_line: AtomicBool,
    unread: Unread<'a>,
}

impl Server<'_> {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let service = service_fn(|request: Request<Incoming>| self.answer(request));
        let io = TokioIo::new(Noticing::new(stream, self.patience, &self.ends_with_line, &self.unread));
        let mut builder = http1::Builder::new();
        // `Patience` limits the header, silence before its first byte included.
        builder.header_read_timeout(None).max_headers(MAX_HEADERS).max_header_size(MAX_HEADER_BYTES);
        let mut serving = pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = &mut serving => Some(ended),
            () = self.draining.cancelled() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None if self.patience.is_between_requests() => return,
            None => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended
            && error.is_parse()
        {
            self.unread.tell(&error);
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        self.patience.begun();
        let all_is_there = request.body().is_end_stream();
        self.ends_with_line.store(all_is_there, Relaxed);
        if all_is_there {
            self.patience.received_all();
        }
        let asking = |body| Body::new(Asking { body, patience: Arc::clone(self.patience) });
        let mut request = request.map(asking);
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        let patience = Arc::clone(self.patience);
        let response = match Refusal::of(&request) {
            Some(refusal) => {
                self.unread.tell(&refusal);
                refusal.response()
            }
            None => self.router.clone().call(request).await?,
        };
        Ok(response.map(|body| Answer { body, patience }))
    }
}

/// A request's body: tells when all of it has come, or whoever reads it wants no more.
struct Asking {
    body: Incoming,
    patience: Arc<Patience>,
}

impl hyper::body::Body for Asking {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.patience.received_all();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.patience.received_all();
    }
}

/// An answer's body. hyper drops it as soon as it has taken all of it.
struct Answer {
    body: Body,
    patience: Arc<Patience>,
}

impl hyper::body::Body for Answer {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.patience.answered();
    }
}
