//! Writes a request: the head and what there is of the body in one system call, then the body as the caller sends it.

use std::{
    fmt::Write,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::stream::Stream;
use crate::{
    domain::{identity_fields::IdentityFields, token_text, upstream_credential::UpstreamCredential},
    proxy::{
        deadlines::Timer,
        headers::{may_be_trailer, put_field},
        rejection::BadRequest,
        request_body::RequestBody,
    },
};

/// How the request body is framed towards the upstream: one framing, ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    None,
    /// Bytes.
    Length(u64),
    Chunked,
}

/// A request on its way.
pub struct RequestWriter {
    /// What goes before `data`: the head, and framing.
    lead: BytesMut,
    /// Bytes of the head, with which the first `lead` begins.
    head_len: usize,
    data: Bytes,
    /// Framing after `data`.
    tail: &'static [u8],
    body: Option<RequestBody>,
    framing: BodyFraming,
    /// What of the caller's trailers passes. `None`: there are none.
    trailers: Option<TrailerRules>,
    max_bytes: u64,
    /// Bytes of the body that came from the caller.
    pub received: u64,
    /// Bytes that the connection took, head included. 0: the upstream can have read none.
    pub written: u64,
    waits_for: Timer,
}

/// What says which of the caller's trailers pass.
#[derive(Clone, Default)]
pub struct TrailerRules {
    pub identity_fields: Arc<IdentityFields>,
    /// Whose field is no caller's. `None`: the service is shown nothing.
    pub credential: Option<Arc<UpstreamCredential>>,
}

impl TrailerRules {
    fn pass(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        may_be_trailer(name, &self.identity_fields)
            && self.credential.as_ref().is_none_or(|credential| credential.header() != name.as_str())
            && !token_text::is_within(value.as_bytes())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The caller's body cannot be sent.
    Body(BadRequest),
    /// The upstream takes no more. It may have answered all the same.
    UpstreamClosed,
}

impl From<BadRequest> for WriteError {
    fn from(error: BadRequest) -> Self {
        Self::Body(error)
    }
}

impl RequestWriter {
    /// `max_bytes` of `None` is without limit. `trailers` is asked for if there may be any. [`RequestWriter::start`] gives it its
    /// head.
    pub fn new(
        body: Option<RequestBody>,
        framing: BodyFraming,
        max_bytes: Option<u64>,
        trailers: impl FnOnce() -> TrailerRules,
    ) -> Self {
        Self {
            lead: BytesMut::new(),
            head_len: 0,
            data: Bytes::new(),
            tail: b"",
            body: body.filter(|_| framing != BodyFraming::None),
            framing,
            // Others have no trailers, and need not share what all threads write to.
            trailers: (framing == BodyFraming::Chunked).then(trailers),
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            received: 0,
            written: 0,
            waits_for: Timer::UpstreamIdle,
        }
    }

    /// The timer that runs while [`RequestWriter::poll`] is pending: it names the side that is silent.
    pub fn waits_for(&self) -> Timer {
        self.waits_for
    }

    /// Writes until all is written.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), WriteError>> {
        loop {
            // The first frame is often here already, and joins the head in one write.
            if self.data.is_empty() && self.tail.is_empty() && self.body.is_some() {
                match self.poll_body(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending if self.lead.is_empty() => {
                        let flushed = stream.poll_flush(cx).map_err(|_| WriteError::UpstreamClosed)?;
                        self.waits_for = if flushed.is_ready() { Timer::DownstreamIdle } else { Timer::UpstreamIdle };
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if self.is_taken() {
                if self.body.is_none() {
                    self.waits_for = Timer::UpstreamIdle;
                    return stream.poll_flush(cx).map_err(|_| WriteError::UpstreamClosed);
                }
                continue;
            }
            self.waits_for = Timer::UpstreamIdle;
            ready!(self.poll_write(cx, stream))?;
        }
    }

    fn is_taken(&self) -> bool {
        self.lead.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), WriteError>> {
        let written = ready!(stream.poll_write(cx, [&self.lead, &self.data, self.tail]))
            .map_err(|_| WriteError::UpstreamClosed)?;
        if written == 0 {
            return Poll::Ready(Err(WriteError::UpstreamClosed));
        }
        self.written += written as u64;
        let of_lead = written.min(self.lead.len());
        self.lead.advance(of_lead);
        let of_data = (written - of_lead).min(self.data.len());
        self.data.advance(of_data);
        self.tail = &self.tail[written - of_lead - of_data..];
        Poll::Ready(Ok(()))
    }

    /// Takes the next frame. After the last one there is no body any more.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BadRequest>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Poll::Ready(self.take_data(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Poll::Ready(self.finish(&trailers))
                }
            },
            Some(Err(reason)) => Poll::Ready(Err(reason)),
            None => Poll::Ready(self.finish(&HeaderMap::new())),
        }
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), BadRequest> {
        self.received += data.len() as u64;
        if self.received > self.max_bytes {
            return Err(BadRequest::TooLarge);
        }
        match self.framing {
            BodyFraming::Length(length) if self.received > length => return Err(BadRequest::Body),
            // An empty chunk would end the body.
            BodyFraming::Chunked if !data.is_empty() => {
                let _ = write!(self.lead, "{:x}\r\n", data.len());
                self.tail = b"\r\n";
            }
            _ => {}
        }
        self.data = data;
        // With the announced length complete there is nothing to wait for.
        if self.framing == BodyFraming::Length(self.received) {
            self.body = None;
        }
        Ok(())
    }

    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), BadRequest> {
        self.body = None;
        match self.framing {
            BodyFraming::Length(length) if length != self.received => return Err(BadRequest::Body),
            BodyFraming::Chunked => {
                self.lead.put_slice(b"0\r\n");
                for (name, value) in trailers {
                    if self.trailers.as_ref().is_some_and(|rules| rules.pass(name, value)) {
                        put_field(&mut self.lead, name.as_str(), value.as_bytes());
                    } else {
                        tracing::debug!(field = name.as_str(), "a trailer of the caller's is not for the service");
                    }
                }
                self.lead.put_slice(b"\r\n");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether [`RequestWriter::start`] loses nothing when it is called again: the operating system has taken no byte, or
    /// the caller's body is untouched, its end included, behind which a chunked body has trailers.
    pub fn is_repeatable(&self) -> bool {
        self.written == 0 || (self.received == 0 && (self.body.is_some() || self.framing != BodyFraming::Chunked))
    }

    /// Begins with this head, which is written for one upstream. Also once more for another one, if the request
    /// [is repeatable](RequestWriter::is_repeatable): either all that was taken of the body is still here, or nothing was
    /// taken, and there is no framing to keep.
    pub fn start(&mut self, mut head: BytesMut) {
        let head_len = head.len();
        if self.written == 0 {
            head.extend_from_slice(&self.lead[self.head_len..]);
        }
        (self.lead, self.head_len, self.written) = (head, head_len, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn, time::Duration};

    use http_body_util::Empty;
    use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    use super::*;

    const HEAD: &[u8] = b"POST /x HTTP/1.1\r\nhost: one\r\n\r\n";
    const OTHER: &[u8] = b"POST /base/x HTTP/1.1\r\nhost: one\r\n\r\n";

    /// A caller's body, as hyper hands it over.
    async fn caller(request: &'static [u8]) -> Incoming {
        let (mut caller, gateway) = tokio::io::duplex(4096);
        let (sender, mut bodies) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let _ = sender.send(request.into_body());
                std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
            });
            http1::Builder::new().serve_connection(TokioIo::new(gateway), service).await
        });
        caller.write_all(request).await.unwrap();
        let body = bodies.recv().await.unwrap();
        // The caller stays until the test is over.
        tokio::spawn(async move { caller.read(&mut [0]).await });
        body
    }

    async fn connection(listener: &TcpListener) -> (Stream, TcpStream) {
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Stream::Plain(ours.unwrap()), theirs.unwrap().0)
    }

    /// The upstream resets the connection after it was looked at and before it is written to.
    #[tokio::test]
    async fn what_no_upstream_took_is_written_again_whole() {
        for (request, framing, sent) in [
            (&b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"[..], BodyFraming::Length(3), "abc"),
            (
                b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
                BodyFraming::Chunked,
                "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            ),
            (
                b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n",
                BodyFraming::Chunked,
                "0\r\nx-sum: 1\r\n\r\n",
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut writer =
                RequestWriter::new(Some(RequestBody::new(caller(request).await)), framing, None, TrailerRules::default);
            writer.start(HEAD.into());
            // hyper hands over what it has read of the body when it is next polled.
            tokio::time::sleep(Duration::from_millis(50)).await;

            let (mut gone, peer) = connection(&listener).await;
            socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let failed = poll_fn(|cx| writer.poll(cx, &mut gone)).await;
            assert_eq!((failed, writer.written), (Err(WriteError::UpstreamClosed), 0));
            assert!(writer.is_repeatable());
            assert_eq!(writer.received > 0, sent.contains("abc"), "the body was not taken, so that nothing is shown");

            writer.start(OTHER.into());
            let (mut alive, mut peer) = connection(&listener).await;
            assert_eq!(poll_fn(|cx| writer.poll(cx, &mut alive)).await, Ok(()));
            drop(alive);
            let mut seen = String::new();
            peer.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, format!("{}{sent}", std::str::from_utf8(OTHER).unwrap()));
            assert!(!writer.is_repeatable(), "body and trailers are gone");
        }
    }
}
