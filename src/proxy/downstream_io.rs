//! The bytes of a downstream connection: tells its state what moves, and closes gently.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;

use super::{
    connection_state::ConnectionState,
    rejection::Rejection,
    request_id::{Digits, RequestNumber},
    streams::Streams,
    target::BadTarget,
};
use crate::http::{
    opening::{Ahead, OpenedStream},
    request_line::RequestLine,
};

/// How long the gateway reads and drops what a caller still sends after the last response. Closing at once would reset the
/// connection, and the response could be lost on its way.
const LINGER: Duration = Duration::from_secs(5);

/// How long a request may go on behind which the connection has ended: a body that is cut short is answered, as soon as hyper
/// has read so far.
const END_TIME: Duration = Duration::from_secs(1);

/// A socket, with TLS or without.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Returns when the operating system has bytes of it, or its end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`OpenedStream::poll_ahead`].
    fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<Ahead>;
}

impl Socket for OpenedStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_readable(self, cx)
    }

    fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<Ahead> {
        Self::poll_ahead(self, cx)
    }
}

impl Socket for TlsStream<OpenedStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }

    fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<Ahead> {
        self.get_ref().0.poll_ahead(cx)
    }
}

/// How the rest between two requests ends.
pub enum Rest {
    NextRequest,
    /// The gateway takes no further request.
    End,
}

/// Who looks for the end of what the caller sends.
#[derive(Clone, Copy)]
enum Watch {
    /// hyper waits for it, which says more of it.
    Library,
    /// hyper has seen it, and has told whoever reads the body.
    Ended,
    Nobody,
}

pub struct DownstreamIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    /// HTTP/1: what hyper has read of the next request, and is to read again. HTTP/2: what came behind a header.
    unread: Bytes,
    /// HTTP/1.
    watch: Watch,
    /// HTTP/1: when it was first seen that the connection ends behind the request under way. `None`: it does not.
    end_seen: Option<Instant>,
    /// The gateway has closed its side, and reads on only so that the last response is not lost.
    lingering: bool,
    /// HTTP/1.
    line: Option<WatchedLine>,
    /// What is to be written of our refusal of a request line. Behind it nothing is read any more.
    refusal: Option<Bytes>,
    _connection_slot: OwnedSemaphorePermit,
}

/// The request line, which is looked at before hyper has it.
pub struct WatchedLine {
    pub line: RequestLine,
    /// For the refusal.
    pub request: RequestNumber,
}

impl WatchedLine {
    /// Takes the next bytes; the other arguments are those of [`RequestLine`].
    ///
    /// # Errors
    /// What to answer, before the connection is closed.
    fn read(&mut self, bytes: &[u8], begins: bool, after_line: bool) -> Result<(), Bytes> {
        if begins {
            self.line.begin(after_line);
        }
        self.line.read(bytes, after_line).map_err(|_| {
            let mut digits = Digits::default();
            Rejection::from(BadTarget::TooLong).on_closing_connection(self.request.id(&mut digits)).into()
        })
    }
}

impl<S> DownstreamIo<S> {
    /// `line`: of HTTP/1.
    pub fn new(
        stream: S,
        state: &Arc<ConnectionState>,
        connection_slot: OwnedSemaphorePermit,
        line: Option<WatchedLine>,
    ) -> Self {
        Self {
            stream,
            state: Arc::clone(state),
            unread: Bytes::new(),
            watch: Watch::Nobody,
            end_seen: None,
            lingering: false,
            line,
            refusal: None,
            _connection_slot: connection_slot,
        }
    }
}

impl<S: Socket> DownstreamIo<S> {
    /// Waits without a buffer. Its time is the connection's.
    pub async fn rest(&self) -> Rest {
        if !self.unread.is_empty() {
            return Rest::NextRequest;
        }
        poll_fn(|cx| match self.state.takes_no_more() {
            true => Poll::Ready(Rest::End),
            // Whoever reads learns of an error.
            false => self.stream.poll_readable(cx).map(|_| Rest::NextRequest),
        })
        .await
    }

    /// Of a connection that was taken apart.
    pub fn with_unread(mut self, unread: &[u8]) -> Self {
        if !unread.is_empty() {
            self.state.received();
            // Not the whole buffer that it lies in.
            self.unread = Bytes::copy_from_slice(unread);
        }
        self
    }
}

impl<S: Socket> DownstreamIo<S> {
    /// Answers, and closes.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.refusal.as_mut().filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => rest.advance(written),
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Pin::new(self).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> DownstreamIo<S> {
    /// Of HTTP/2. Nothing behind a header is read before the library has decided on that one.
    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.state.streams().is_some_and(Streams::holds_back) {
            // The library takes a request, or `connection::drive` asks it again.
            return Poll::Pending;
        }
        if !self.unread.is_empty() {
            let room = self.unread.len().min(buf.remaining());
            let size = self.state.received_frames(&self.unread[..room]);
            buf.put_slice(&self.unread.split_to(size));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let end = before + self.state.received_frames(&buf.filled()[before..]);
        self.unread = Bytes::copy_from_slice(&buf.filled()[end..]);
        buf.set_filled(end);
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncRead for DownstreamIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.state.streams().is_some() {
            return self.poll_frames(cx, buf);
        }
        if !self.unread.is_empty() {
            let size = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(size));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if self.refusal.is_none() {
            self.watch = Watch::Library;
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.watch = if buf.filled().len() == before { Watch::Ended } else { Watch::Nobody };
            let begins = self.state.received();
            let after_line = self.state.ended_with_line();
            let bytes = &buf.filled()[before..];
            match self.line.as_mut().map_or(Ok(()), |line| line.read(bytes, begins, after_line)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(refusal) => self.refusal = Some(refusal),
            }
            self.state.refuse_line();
            buf.set_filled(before);
        }
        // hyper sees the end of the connection, within a request, and answers nothing to that.
        self.poll_refuse(cx)
    }
}

impl<S: Socket> DownstreamIo<S> {
    /// Whether the caller of an HTTP/1 request has left. While hyper holds bytes that came behind the request, it reads on only
    /// after the response, and would serve somebody who is gone.
    fn has_left(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.state.serves_http1() {
            self.end_seen = None;
            return false;
        }
        let ended = match self.watch {
            Watch::Library => {
                // Until it is polled the next time, when it may read no more.
                self.watch = Watch::Nobody;
                return false;
            }
            Watch::Ended => true,
            Watch::Nobody => match self.stream.poll_ahead(cx) {
                Poll::Ready(ahead) => ahead == Ahead::End,
                Poll::Pending => return false,
            },
        };
        self.state.look_again();
        ended && self.end_seen.get_or_insert_with(Instant::now).elapsed() >= END_TIME
    }
}

impl<S: Socket> AsyncWrite for DownstreamIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.state.wrote(std::iter::once(&buf[..written]));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        let mut left = written;
        self.state.wrote(slices.iter().map(|slice| {
            let size = slice.len().min(left);
            left -= size;
            &slice[..size]
        }));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.state.flushed();
        // Also called when there is nothing to write, whenever the connection is polled.
        if self.has_left(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
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
