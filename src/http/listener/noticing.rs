//! The bytes of a connection: tells what moves, and looks at the request line before the library has it.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{MAX_TARGET, patience::Patience, refusal::Refusal, unread::Unread};
use crate::http::request_line::RequestLine;

/// A request line: 414 beyond, whatever the library would say to it. Below that the request is read as others are, and
/// refused for its target where that is too long.
const MAX_REQUEST_LINE: usize = MAX_TARGET + 1024;

pub struct Noticing<'a, S> {
    stream: S,
    patience: &'a Patience,
    line: RequestLine,
    /// Whether the request that was read last does.
    ends_with_line: &'a AtomicBool,
    unread: &'a Unread<'a>,
    /// What is to be written of our refusal of a request line. Behind it nothing is read any more.
    refusal: Option<Bytes>,
}

impl<'a, S> Noticing<'a, S> {
    pub fn new(stream: S, patience: &'a Patience, ends_with_line: &'a AtomicBool, unread: &'a Unread<'a>) -> Self {
        let line = RequestLine::first(MAX_REQUEST_LINE);
        Self { stream, patience, line, ends_with_line, unread, refusal: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Noticing<'_, S> {
    /// Answers and closes, and then reads what still comes: closing at once would reset the connection, and the answer could
    /// be lost on its way. The time for the header bounds all of it.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.refusal.as_mut().filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(rest.split_to(written)),
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut rest = [MaybeUninit::uninit(); 8 * 1024];
        loop {
            let mut rest = ReadBuf::uninit(&mut rest);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Noticing<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.refusal.is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let after_line = this.ends_with_line.load(Relaxed);
            if this.patience.received() {
                this.line.begin(after_line);
            }
            if this.line.read(&buf.filled()[before..], after_line).is_ok() {
                return Poll::Ready(Ok(()));
            }
            buf.set_filled(before);
            this.unread.tell(&Refusal::TargetTooLong);
            this.refusal = Some(Refusal::TargetTooLong.on_closing_connection());
        }
        // The library sees the end of the connection, within a request, and answers nothing to that.
        this.poll_refuse(cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticing<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // The library flushes once it has written all that it has.
        self.patience.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
