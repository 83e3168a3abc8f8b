//! The first bytes of a connection: they say what its caller speaks. They are read once, and handed on to whoever reads the
//! connection then.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

/// More than the longest beginning that is looked for. What comes behind is read by whoever serves the connection.
const MAX_OPENING: usize = 24;
/// RFC 9113 § 3.4; a handshake record of TLS (RFC 8446 § 5.1); the beginning of the haproxy PROXY protocol, version 1 and 2,
/// §§ 2.1 and 2.2.
const KNOWN: [(&[u8], Opening); 4] = [
    (b"PRI * HTTP/2.0", Opening::Http2),
    (b"\x16\x03", Opening::Tls),
    (b"PROXY ", Opening::ProxyProtocol(1)),
    (b"\r\n\r\n\0\r\nQUIT\n", Opening::ProxyProtocol(2)),
];

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
    Tls,
    /// A load balancer announces whom it speaks for, in this version of the PROXY protocol.
    ProxyProtocol(u8),
    /// The caller has left without a byte, as probes of ports do.
    Nothing,
    /// HTTP/1, or nonsense.
    Other,
}

/// A connection whose first bytes were read, and are read again first.
pub struct OpenedStream {
    stream: TcpStream,
    opening: [u8; MAX_OPENING],
    /// Bytes of `opening` that came.
    filled: usize,
    /// Bytes of `opening` that were read again.
    replayed: usize,
}

impl OpenedStream {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, opening: [0; MAX_OPENING], filled: 0, replayed: 0 }
    }

    /// Reads until it is clear how the connection begins.
    ///
    /// # Errors
    /// That of the connection.
    pub async fn opening(&mut self) -> io::Result<Opening> {
        loop {
            let read = self.stream.read(&mut self.opening[self.filled..]).await?;
            self.filled += read;
            let seen = &self.opening[..self.filled];
            match classify(seen) {
                Some(opening) => return Ok(opening),
                None if read > 0 => {}
                None if seen.is_empty() => return Ok(Opening::Nothing),
                None => return Ok(Opening::Other),
            }
        }
    }
}

/// What the operating system has of a connection whose bytes nobody reads at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Bytes. What is behind them is not known.
    Bytes,
    /// Its end, whether bytes come before it or not.
    End,
}

impl OpenedStream {
    /// Returns when the operating system has bytes of it or its end, and which of them.
    pub fn poll_ahead(&self, cx: &mut Context<'_>) -> Poll<Ahead> {
        if self.replayed < self.filled {
            return Poll::Ready(Ahead::Bytes);
        }
        // This one stays registered when it is pending, and the other one says more.
        if self.stream.poll_read_ready(cx).is_pending() {
            return Poll::Pending;
        }
        match pin!(self.stream.ready(Interest::READABLE)).poll(cx) {
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Poll::Ready(Ahead::End),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ahead::Bytes),
            Poll::Ready(Err(_)) => Poll::Ready(Ahead::End),
        }
    }

    /// Whether there are bytes to read, or the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.replayed < self.filled { Poll::Ready(Ok(())) } else { self.stream.poll_read_ready(cx) }
    }
}

/// Why a TLS handshake came to nothing, in words for the operator. `error` of `None`: `limit` was over, a setting.
pub fn failed_handshake(opening: Opening, error: Option<&io::Error>, limit: &str) -> String {
    match error {
        _ if opening != Opening::Tls => "what came is not TLS; was http:// used for https://?".to_owned(),
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the caller left".to_owned(),
        Some(error) => error.to_string(),
        None => format!("it was not complete within {limit}"),
    }
}

/// `None`: more bytes have to say it.
fn classify(seen: &[u8]) -> Option<Opening> {
    if let Some((_, opening)) = KNOWN.iter().find(|(beginning, _)| seen.starts_with(beginning)) {
        return Some(*opening);
    }
    let may_become_one = KNOWN.iter().any(|(beginning, _)| beginning.starts_with(seen));
    (!may_become_one).then_some(Opening::Other)
}

impl AsyncRead for OpenedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = &this.opening[this.replayed..this.filled];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let size = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..size]);
        this.replayed += size;
        if buf.remaining() > 0
            && let Poll::Ready(Err(error)) = Pin::new(&mut this.stream).poll_read(cx, buf)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OpenedStream {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_connection_begins() {
        for (seen, expected) in [
            (&b""[..], None),
            (b"P", None),
            (b"PR", None),
            (b"PRI", None),
            (b"PRO", None),
            (b"PRI * HTTP/2.0", Some(Opening::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Some(Opening::Http2)),
            (b"PRI * HTTP/1.1", Some(Opening::Other)),
            (b"PROXY TCP4 ", Some(Opening::ProxyProtocol(1))),
            (b"PROXYX", Some(Opening::Other)),
            (b"\r\n\r\n", None),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Some(Opening::ProxyProtocol(2))),
            (b"\r\n\r\nGET", Some(Opening::Other)),
            (b"POST", Some(Opening::Other)),
            (b"\x16\x03\x01", Some(Opening::Tls)),
        ] {
            assert_eq!(classify(seen), expected, "{seen:?}");
        }
    }
}
