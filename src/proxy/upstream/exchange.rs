//! One request and its response on one connection, both directions driven by one task.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Frame;

use super::{
    chunked::{Chunked, Step},
    head::{ResponseFraming, ResponseHead},
    head_reader::HeadReader,
    pool::{Connection, FIRST_READ, Pool},
    request_writer::{RequestWriter, WriteError},
};
use crate::{
    index::{slots::Slot, upstream::Upstream},
    proxy::{
        deadlines::{Cut, Deadline, Timer, WaitsFor},
        rejection::{Closed, Malformed, Rejection, UpstreamFailure},
    },
};

/// Informational responses (1xx) before the final one. One or two are sensible; each costs the worker a head to parse.
const MAX_INFORMATIONAL: u32 = 16;
/// Most of a body that one read takes, bytes.
const MAX_READ: usize = 64 * 1024;

pub struct Exchange {
    connection: Connection,
    writer: RequestWriter,
    sending: Sending,
    deadline: Deadline,
    load: Load,
    /// `None`: the Deployment takes any number of requests.
    slot: Option<Slot>,
    pool: Rc<Pool>,
    /// Room for a read, bytes; doubled while reads fill it, up to [`MAX_READ`].
    read_size: usize,
    /// Bytes of the response that came, its head included.
    response_bytes: u64,
    head: HeadReader,
    /// How many informational responses came before it.
    informational: u32,
    /// Whether its head is complete, which may be before the request is sent.
    head_complete: bool,
    decoder: Decoder,
    keep_alive: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Bytes that had moved at the last poll, to tell progress from silence.
    Running {
        progress: u64,
    },
    Done,
    /// The upstream takes no more. It may have sent its response early.
    Broken,
}

/// How the body of the response is read.
enum Decoder {
    Length(u64),
    Chunked(Chunked),
    Close,
    Done,
}

/// Counts a request as under way at its upstream, until it is dropped.
pub struct Load(Arc<Upstream>);

impl Load {
    pub fn on(upstream: &Arc<Upstream>) -> Self {
        upstream.standing.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(upstream))
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.standing.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Exchange {
    /// `under_way`: what counts until the exchange is over.
    pub fn new(
        connection: Connection,
        writer: RequestWriter,
        deadline: Deadline,
        (load, slot): (Load, Option<Slot>),
        pool: Rc<Pool>,
    ) -> Self {
        Self {
            read_size: connection.read_size,
            connection,
            writer,
            sending: Sending::Running { progress: u64::MAX },
            deadline,
            load,
            slot,
            pool,
            response_bytes: 0,
            head: HeadReader::default(),
            informational: 0,
            head_complete: false,
            decoder: Decoder::Done,
            keep_alive: false,
        }
    }

    /// Sends until the head of the final response is here, or of a 101, and returns when it was.
    ///
    /// # Errors
    /// Any [`Rejection`] but a denial.
    pub async fn head(&mut self, method: &Method) -> Result<(ResponseHead, Instant), Rejection> {
        let head = poll_fn(|cx| self.poll_head(cx, method)).await?;
        let idle_timeout = self.deadline.permit().spec().settings.idle_timeout;
        let head_at = Instant::now();
        self.deadline.arm(Timer::UpstreamIdle, idle_timeout);
        self.deadline.set_waits_for(WaitsFor::Caller);
        self.head_complete = true;
        // What the last response took says nothing of how this one's body comes.
        self.read_size = FIRST_READ;
        self.keep_alive = head.keep_alive;
        self.decoder = match head.framing {
            ResponseFraming::None | ResponseFraming::Length(0) => Decoder::Done,
            ResponseFraming::Length(length) => Decoder::Length(length),
            ResponseFraming::Chunked => Decoder::Chunked(Chunked::default()),
            ResponseFraming::Close => Decoder::Close,
        };
        Ok((head, head_at))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<Result<ResponseHead, Rejection>> {
        self.deadline.check(cx)?;
        self.poll_sending(cx)?;
        loop {
            if let Some(head) = self.head.take(&mut self.connection.buffer, method)? {
                match head.status {
                    StatusCode::SWITCHING_PROTOCOLS => return Poll::Ready(Ok(head)),
                    // hyper sent the downstream its 100 when the body was first read; others say nothing final.
                    status if status.is_informational() => {
                        self.informational += 1;
                        if self.informational > MAX_INFORMATIONAL {
                            return Poll::Ready(Err(Malformed::TooManyInformational.into()));
                        }
                        continue;
                    }
                    _ => return Poll::Ready(Ok(head)),
                }
            }
            if ready!(self.poll_fill(cx, 1))? == 0 {
                self.head.check_rest(&mut self.connection.buffer, method)?;
                let how = if self.response_bytes > 0 { Closed::WithinResponse } else { Closed::BeforeResponse };
                return Poll::Ready(Err(UpstreamFailure::Closed(how).into()));
            }
        }
    }

    /// The next frame of the response's body. `None`: it is complete.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Rejection>>> {
        self.deadline.check(cx)?;
        self.poll_sending(cx)?;
        self.deadline.set_waits_for(WaitsFor::Caller);
        loop {
            let missing = match self.take_frame() {
                Ok(Taken::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Taken::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Taken::End) => return Poll::Ready(None),
                Ok(Taken::Missing(missing)) => missing,
                Err(failure) => return Poll::Ready(Some(Err(failure.into()))),
            };
            self.deadline.set_waits_for(WaitsFor::Service);
            let filled = ready!(self.poll_fill(cx, missing));
            self.deadline.set_waits_for(WaitsFor::Caller);
            match filled {
                Ok(0) if matches!(self.decoder, Decoder::Close) => self.decoder = Decoder::Done,
                Ok(0) => return Poll::Ready(Some(Err(UpstreamFailure::Closed(Closed::WithinResponse).into()))),
                Ok(_) => {
                    self.deadline.arm(Timer::UpstreamIdle, self.deadline.permit().spec().settings.idle_timeout);
                }
                Err(failure) => return Poll::Ready(Some(Err(failure))),
            }
        }
    }

    pub fn upstream(&self) -> &Upstream {
        &self.load.0
    }

    /// Whether all of the request has left.
    pub fn has_sent_request(&self) -> bool {
        self.sending == Sending::Done
    }

    /// Whether the response's body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.decoder, Decoder::Done)
    }

    /// Bytes that remain of the response's body. `None`: its length is not known.
    pub fn remaining(&self) -> Option<u64> {
        match self.decoder {
            Decoder::Length(length) => Some(length),
            Decoder::Done => Some(0),
            Decoder::Chunked(_) | Decoder::Close => None,
        }
    }

    /// Bytes of the request's body that came from the caller.
    pub fn received(&self) -> u64 {
        self.writer.received
    }

    /// Whether the request may be sent once more: the upstream closed an idle connection without a byte of a response; it
    /// cannot have seen the request, or doing that twice can do no harm; and all of the body is still there.
    pub fn may_be_sent_again(&self, failure: Rejection, method: &Method) -> bool {
        let closed = matches!(failure, Rejection::Upstream(UpstreamFailure::Closed(_)));
        let harmless = self.writer.written == 0 || method.is_idempotent();
        self.connection.reused && closed && self.response_bytes == 0 && harmless && self.writer.is_repeatable()
    }

    /// Whether more of the response was asked for, and the upstream has sent none since.
    pub fn is_starving(&self) -> bool {
        self.deadline.waits_for() == WaitsFor::Service
    }

    /// Why the sweep has ended it. `None`: it has not.
    pub fn cut(&self) -> Option<Cut> {
        self.deadline.cut()
    }

    /// For another attempt.
    pub fn into_parts(self) -> (RequestWriter, Deadline, Option<Slot>) {
        (self.writer, self.deadline, self.slot)
    }

    /// After a 101: the connection itself, and what the upstream sent on it already.
    pub fn into_tunnel(self) -> (Connection, Deadline, (Load, Option<Slot>)) {
        (self.connection, self.deadline, (self.load, self.slot))
    }

    /// Puts the connection into the pool if it can carry another exchange. For a response whose body is complete, at `now`.
    pub fn finish(mut self, now: Instant) {
        if self.is_done() && self.keep_alive && self.sending == Sending::Done {
            self.connection.read_size = room_for(self.response_bytes);
            self.pool.put(&self.load.0, self.connection, now);
        }
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Rejection> {
        let Sending::Running { progress } = self.sending else { return Ok(()) };
        let settings = &self.deadline.permit().spec().settings;
        match self.writer.poll(cx, &mut self.connection.stream) {
            Poll::Ready(Ok(())) => {
                self.sending = Sending::Done;
                self.deadline.set_waits_for(WaitsFor::Service);
                if self.head_complete {
                    self.deadline.arm(Timer::UpstreamIdle, settings.idle_timeout);
                } else {
                    self.deadline.arm(Timer::FirstByte, settings.first_byte_timeout);
                }
            }
            Poll::Ready(Err(WriteError::Body(error))) => return Err(error.into()),
            Poll::Ready(Err(WriteError::UpstreamClosed)) => self.sending = Sending::Broken,
            Poll::Pending => {
                let for_caller = self.writer.waits_for() == Timer::DownstreamIdle;
                self.deadline.set_waits_for(if for_caller { WaitsFor::Caller } else { WaitsFor::Service });
                let now = self.writer.received + self.writer.written;
                if now != progress {
                    self.sending = Sending::Running { progress: now };
                    self.deadline.arm(self.writer.waits_for(), settings.idle_timeout);
                }
            }
        }
        Ok(())
    }

    /// Reads once, with room for at least `missing` bytes; how many came. 0: the upstream closed its side.
    fn poll_fill(&mut self, cx: &mut Context<'_>, missing: usize) -> Poll<Result<usize, Rejection>> {
        let Connection { stream, buffer, .. } = &mut self.connection;
        // A read that does not fill its room tells tokio that there is no more: without the one byte, the next exchange would
        // begin with a read of nothing.
        let room = (missing + 1).max(self.read_size);
        let read = ready!(stream.poll_read(cx, buffer, room)).map_err(|error| UpstreamFailure::of_read(&error))?;
        self.response_bytes += read as u64;
        if buffer.len() == buffer.capacity() {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        }
        Poll::Ready(Ok(read))
    }

    fn take_frame(&mut self) -> Result<Taken, Malformed> {
        let buffer = &mut self.connection.buffer;
        match &mut self.decoder {
            Decoder::Done => Ok(Taken::End),
            Decoder::Close if buffer.is_empty() => Ok(Taken::Missing(1)),
            Decoder::Length(left) if buffer.is_empty() => {
                Ok(Taken::Missing(usize::try_from(*left).unwrap_or(MAX_READ).min(MAX_READ)))
            }
            Decoder::Close => Ok(Taken::Data(buffer.split().freeze())),
            Decoder::Length(left) => {
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= size as u64;
                if *left == 0 {
                    self.decoder = Decoder::Done;
                }
                Ok(Taken::Data(buffer.split_to(size).freeze()))
            }
            Decoder::Chunked(chunked) => match chunked.step(buffer)? {
                Step::Data(data) => Ok(Taken::Data(data)),
                Step::More(missing) => Ok(Taken::Missing(missing)),
                Step::Trailers(trailers) => {
                    self.decoder = Decoder::Done;
                    Ok(Taken::Trailers(trailers))
                }
                Step::Done => {
                    self.decoder = Decoder::Done;
                    Ok(Taken::End)
                }
            },
        }
    }
}

/// Room for the first read of a response on a connection whose last one took `bytes`: somewhat more, as the next one is
/// seldom of the very same size.
fn room_for(bytes: u64) -> usize {
    let taken = usize::try_from(bytes).unwrap_or(MAX_READ).min(MAX_READ);
    (taken / FIRST_READ + 1) * FIRST_READ
}

enum Taken {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Missing(usize),
}
