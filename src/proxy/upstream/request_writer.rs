//! Writes a request: the head and what there is of the body in one system call, then the body as the caller sends it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Incoming};
use tokio::{io::AsyncWrite, net::TcpStream};

use crate::proxy::{
    deadlines::Timer,
    headers::{may_be_trailer, put_field},
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
    /// Framing and fields, before `data`.
    lead: BytesMut,
    data: Bytes,
    /// Framing after `data`.
    tail: &'static [u8],
    body: Option<Incoming>,
    framing: BodyFraming,
    max_bytes: u64,
    /// Bytes of the body that came from the caller.
    pub received: u64,
    /// Bytes that the operating system took, head included.
    pub written: u64,
    waits_for: Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The caller's body was malformed or has another length than announced.
    BodyMalformed,
    /// The caller's body broke off.
    BodyCutShort,
    TooLarge,
    /// The upstream takes no more. It may have answered all the same.
    UpstreamClosed,
}

impl RequestWriter {
    /// `max_bytes` of `None` is without limit.
    pub fn new(head: BytesMut, body: Option<Incoming>, framing: BodyFraming, max_bytes: Option<u64>) -> Self {
        Self {
            lead: head,
            data: Bytes::new(),
            tail: b"",
            body: body.filter(|_| framing != BodyFraming::None),
            framing,
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
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<Result<(), WriteError>> {
        loop {
            // The first frame is often here already, and joins the head in one write.
            if self.data.is_empty() && self.tail.is_empty() && self.body.is_some() {
                match self.poll_body(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending if self.lead.is_empty() => {
                        self.waits_for = Timer::DownstreamIdle;
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
            if self.is_flushed() {
                if self.body.is_none() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            self.waits_for = Timer::UpstreamIdle;
            ready!(self.poll_write(cx, stream))?;
        }
    }

    fn is_flushed(&self) -> bool {
        self.lead.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<Result<(), WriteError>> {
        let slices = [IoSlice::new(&self.lead), IoSlice::new(&self.data), IoSlice::new(self.tail)];
        let written =
            ready!(Pin::new(stream).poll_write_vectored(cx, &slices)).map_err(|_| WriteError::UpstreamClosed)?;
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
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Poll::Ready(self.take_data(data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Poll::Ready(self.finish(&trailers))
                }
            },
            Some(Err(error)) => Poll::Ready(Err(if is_malformed(&error) {
                WriteError::BodyMalformed
            } else {
                WriteError::BodyCutShort
            })),
            None => Poll::Ready(self.finish(&HeaderMap::new())),
        }
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), WriteError> {
        self.received += data.len() as u64;
        if self.received > self.max_bytes {
            return Err(WriteError::TooLarge);
        }
        match self.framing {
            BodyFraming::Length(length) if self.received > length => return Err(WriteError::BodyMalformed),
            // An empty chunk would end the body.
            BodyFraming::Chunked if !data.is_empty() => {
                self.lead.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
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

    fn finish(&mut self, trailers: &HeaderMap) -> Result<(), WriteError> {
        self.body = None;
        match self.framing {
            BodyFraming::Length(length) if length != self.received => return Err(WriteError::BodyMalformed),
            BodyFraming::Chunked => {
                self.lead.put_slice(b"0\r\n");
                for (name, value) in trailers.iter().filter(|(name, _)| may_be_trailer(name)) {
                    put_field(&mut self.lead, name.as_str(), value.as_bytes());
                }
                self.lead.put_slice(b"\r\n");
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether [`RequestWriter::into_body`] gives all of the body: this has taken nothing of it, not even its end, behind
    /// which a chunked body has trailers.
    pub fn is_repeatable(&self) -> bool {
        self.received == 0 && (self.body.is_some() || self.framing != BodyFraming::Chunked)
    }

    /// What is left of the body.
    pub fn into_body(self) -> Option<Incoming> {
        self.body
    }
}

/// hyper says of a body that it could not read that it is no valid input; any other error is an end that came too early.
fn is_malformed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}
