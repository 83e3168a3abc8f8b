//! The bytes of a downstream connection: tells its state what moves, and closes gently.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;

use super::{connection_state::ConnectionState, request_line::RequestLine, streams::Streams};
use crate::http::opening::OpenedStream;

/// How long the gateway reads and drops what a caller still sends after the last response. Closing at once would reset the
/// connection, and the response could be lost on its way.
const LINGER: Duration = Duration::from_secs(5);

/// A socket, with TLS or without.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Returns when the operating system has bytes of it, or its end.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Socket for OpenedStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_readable(self, cx)
    }
}

impl Socket for TlsStream<OpenedStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}

/// How the rest between two requests ends.
pub enum Rest {
    NextRequest,
    /// The gateway takes no further request.
    End,
}

pub struct DownstreamIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    /// HTTP/1: what hyper has read of the next request, and is to read again. HTTP/2: what came behind a header.
    unread: Bytes,
    /// The gateway has closed its side, and reads on only so that the last response is not lost.
    lingering: bool,
    /// HTTP/1: the request line, which is looked at before hyper has it.
    line: Option<RequestLine>,
    /// What is to be written of our refusal of a request line. Behind it nothing is read any more.
    refusal: Option<Bytes>,
    _connection_slot: OwnedSemaphorePermit,
}

impl<S> DownstreamIo<S> {
    /// `line`: of HTTP/1.
    pub fn new(
        stream: S,
        state: &Arc<ConnectionState>,
        connection_slot: OwnedSemaphorePermit,
        line: Option<RequestLine>,
    ) -> Self {
        Self {
            stream,
            state: Arc::clone(state),
            unread: Bytes::new(),
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

impl<S: AsyncRead + AsyncWrite + Unpin> DownstreamIo<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for DownstreamIo<S> {
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
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let begins = self.state.received();
            let after_line = self.state.ended_with_line();
            let bytes = &buf.filled()[before..];
            let read = self.line.as_mut().map_or(Ok(()), |line| {
                if begins {
                    line.begin(after_line);
                }
                line.read(bytes, after_line)
            });
            match read {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(refusal) => self.refusal = Some(refusal.into()),
            }
            self.state.refuse_line();
            buf.set_filled(before);
        }
        // hyper sees the end of the connection, within a request, and answers nothing to that.
        self.poll_refuse(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DownstreamIo<S> {
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
