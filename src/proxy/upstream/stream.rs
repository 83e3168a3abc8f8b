//! The bytes of a connection to an upstream, with or without TLS.

use std::{
    io::{self, IoSlice, Write},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::io::poll_read_buf;

use crate::{domain::upstream_access::TlsPeer, proxy::rejection::TlsFault};

/// Largest record of TLS, bytes of what is in it (RFC 8446 § 5.1).
const MAX_RECORD: usize = 16 * 1024;

pub enum Stream {
    Plain(TcpStream),
    /// Boxed, as it is large, and others are not to be.
    Tls(Box<Secured>),
}

/// A connection with TLS. It says its end when it is dropped.
pub struct Secured(TlsStream<TcpStream>);

impl Stream {
    /// Makes the handshake.
    ///
    /// # Errors
    /// One with a [`TlsFault`] in it.
    pub async fn secure(tcp: TcpStream, peer: &TlsPeer) -> io::Result<Self> {
        let fault = |fault: TlsFault| io::Error::new(io::ErrorKind::ConnectionAborted, fault);
        let client = peer.client.as_ref().ok_or_else(|| fault(TlsFault::NoRoots))?;
        let handshake = TlsConnector::from(Arc::clone(client)).connect(peer.name.clone(), tcp);
        let secured = handshake.await.map_err(|error| {
            tracing::debug!(name = %peer.name.to_str(), %error, "a TLS handshake with an upstream failed");
            fault(TlsFault::of_handshake(&error))
        })?;
        Ok(Self::Tls(Box::new(Secured(secured))))
    }

    /// Reads once, with room for at least `room` bytes; how many came. 0: the upstream ended its side, and said so where there
    /// is TLS. While there is nothing to read, `buffer` has no memory unless it has bytes.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut, room: usize) -> Poll<io::Result<usize>> {
        let read = match self {
            Self::Plain(stream) => match stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {
                    buffer.reserve(room);
                    poll_read_buf(Pin::new(stream), cx, buffer)
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            },
            // Only reading tells whether a whole record is there.
            Self::Tls(stream) => {
                buffer.reserve(room);
                poll_read_buf(Pin::new(&mut stream.0), cx, buffer)
            }
        };
        if read.is_pending() && buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        read
    }

    /// How many bytes were taken, and at most those. By TLS they are taken in whole records, one at a time: if there is an
    /// error, the upstream can have read none of them.
    pub fn poll_write<const N: usize>(&mut self, cx: &mut Context<'_>, parts: [&[u8]; N]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, &parts.map(IoSlice::new)),
            Self::Tls(stream) => {
                let mut left = MAX_RECORD;
                let record = parts.map(|part| {
                    let taken = part.len().min(left);
                    left -= taken;
                    IoSlice::new(&part[..taken])
                });
                Pin::new(&mut stream.0).poll_write_vectored(cx, &record)
            }
        }
    }

    /// Whether the operating system has all that was taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut stream.0).poll_flush(cx),
        }
    }

    /// Writes what is taken at once.
    pub fn try_write(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(stream) => drop(stream.try_write(bytes)),
            Self::Tls(stream) => {
                let stream = Pin::new(&mut stream.0);
                drop(stream.poll_write(&mut Context::from_waker(Waker::noop()), bytes));
            }
        }
    }

    /// Whether the upstream has neither sent anything nor ended.
    pub fn is_silent(&mut self) -> bool {
        match self {
            Self::Plain(stream) => is_silent(stream),
            Self::Tls(stream) => {
                let (tcp, session) = stream.0.get_mut();
                let nothing_is_left = session
                    .process_new_packets()
                    .is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed());
                nothing_is_left && is_silent(tcp)
            }
        }
    }
}

/// The operating system is asked: `TcpStream::try_read` answers from what tokio knew when it last waited for events, and bytes
/// or an end that have come since would be missed.
fn is_silent(stream: &TcpStream) -> bool {
    let peeked = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Secured {
    pub fn inner(&mut self) -> &mut TlsStream<TcpStream> {
        &mut self.0
    }
}

impl Drop for Secured {
    /// As far as the operating system takes it at once (RFC 8446 § 6.1).
    fn drop(&mut self) {
        let (tcp, session) = self.0.get_mut();
        session.send_close_notify();
        while session.wants_write() {
            if !matches!(session.write_tls(&mut AtOnce(tcp)), Ok(1..)) {
                return;
            }
        }
    }
}

/// Writes without waiting.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
