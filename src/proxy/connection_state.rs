//! The deadlines of a downstream connection, and whether it is idle, draining or closing.
//!
//! A connection is idle from the end of its last request on: when the whole response is written to the socket. hyper drops a
//! body as soon as it has buffered its end, up to some hundred KiB before. On HTTP/2 the frames say when a stream ends
//! ([`Streams`]), and what the caller sends between streams (PING, WINDOW_UPDATE, SETTINGS) begins no request.

mod active;

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

pub use self::active::Active;
use super::{connection_clock::ConnectionClock, streams::Streams};
use crate::telemetry::{line::RequestOutcome, unsent::UnsentLine};

/// How long after a response a connection keeps what serves requests: buffers, the parser, the place of the next request.
const SILENCE: Duration = Duration::from_millis(200);
/// How long the downstream's side of a connection may stay open after ours while the gateway drains: long enough for the
/// last response to arrive, short enough that nobody can keep the gateway from ending.
const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// What a downstream connection and the sweep share. An upgraded connection leaves its task, hence no `Rc` here.
pub struct ConnectionState {
    clock: ConnectionClock,
    /// Requests under way: several on HTTP/2, where those that wait for their caller only do not count.
    active: AtomicU32,
    /// Of a connection of HTTP/2.
    streams: OnceLock<Box<Streams>>,
    /// Between two requests, with nothing of the next one read.
    idle: AtomicBool,
    /// HTTP/1: the last request was read to its end. What comes behind any other begins no request.
    read: AtomicBool,
    /// HTTP/1: and another one may follow.
    may_rest: AtomicBool,
    /// HTTP/1: idle for [`SILENCE`] while it may rest.
    silent: AtomicBool,
    /// HTTP/1: the last response has ended, and hyper has not written all of it yet.
    flushing: AtomicBool,
    /// Whether a request has ever begun on it.
    used: AtomicBool,
    closing: AtomicBool,
    /// HTTP/1: bytes that nobody reads hide whether the caller has left.
    looks_again: AtomicBool,
    /// HTTP/1: the last request ends with the end of a line.
    ended_with_line: AtomicBool,
    /// HTTP/1: the request line is too long, and the gateway is answering that.
    refusing_line: AtomicBool,
    /// A deadline was the reason for closing.
    timed_out: AtomicBool,
    /// The gateway has closed its side. From then on [`ConnectionState::guard`] leaves the end to the connection.
    lingering: AtomicBool,
    draining: AtomicBool,
    /// How long the response that is being written may make no progress, milliseconds.
    flush_limit: AtomicU64,
    /// HTTP/1: lines of responses that hyper has taken and not yet written.
    unsent: Mutex<Vec<UnsentLine>>,
    waker: Mutex<Option<Waker>>,
    header_timeout: Duration,
    keep_alive_timeout: Duration,
}

impl ConnectionState {
    /// `started`: when the sweep was made. The first header must be complete within `header_timeout` from now.
    pub fn new(started: Instant, header_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        let state = Self {
            clock: ConnectionClock::new(started),
            active: AtomicU32::new(0),
            streams: OnceLock::new(),
            idle: AtomicBool::new(false),
            read: AtomicBool::new(true),
            may_rest: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            used: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            looks_again: AtomicBool::new(false),
            ended_with_line: AtomicBool::new(true),
            refusing_line: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            flush_limit: AtomicU64::new(0),
            unsent: Mutex::default(),
            waker: Mutex::new(None),
            header_timeout,
            keep_alive_timeout,
        };
        state.clock.arm(header_timeout);
        state
    }

    /// From here on the connection is one of HTTP/2.
    pub fn becomes_http2(&self) {
        self.streams.get_or_init(Box::default);
    }

    /// `None`: it is one of HTTP/1.
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.get().map(|streams| &**streams)
    }

    /// A request's header is complete: from here the exchange has its own timers. `stream`: of HTTP/2. `ends_with_line`: it
    /// has no body, or one in chunks.
    pub fn begin(self: &Arc<Self>, stream: Option<u32>, ends_with_line: bool) -> Active {
        self.ended_with_line.store(ends_with_line, Relaxed);
        self.active.fetch_add(1, AcqRel);
        self.used.store(true, Relaxed);
        self.idle.store(false, Relaxed);
        self.silent.store(false, Relaxed);
        self.may_rest.store(false, Relaxed);
        self.flushing.store(false, Relaxed);
        self.clock.disarm();
        Active {
            state: Arc::clone(self),
            stream,
            rests: false,
            idle_timeout: self.keep_alive_timeout,
            persistent: false,
            read: false,
        }
    }

    /// Bytes came from the downstream. On HTTP/1 they begin a further header if no request is under way: whether they do.
    pub fn received(&self) -> bool {
        let begins = self.idle.load(Relaxed) && self.read.load(Relaxed) && self.streams().is_none();
        if begins {
            self.idle.store(false, Relaxed);
            self.silent.store(false, Relaxed);
            self.clock.arm(self.header_timeout);
        }
        begins
    }

    /// Whether a request of HTTP/1 is under way.
    pub fn serves_http1(&self) -> bool {
        self.active.load(Relaxed) > 0 && self.streams().is_none()
    }

    /// The connection is to be polled once more soon: nothing else says when its caller leaves.
    pub fn look_again(&self) {
        self.looks_again.store(true, Relaxed);
    }

    pub fn wake_if_it_looks_again(&self) {
        if self.looks_again.swap(false, Relaxed) {
            self.wake();
        }
    }

    pub fn ended_with_line(&self) -> bool {
        self.ended_with_line.load(Relaxed)
    }

    pub fn refuse_line(&self) {
        self.refusing_line.store(true, Relaxed);
    }

    pub fn refuses_line(&self) -> bool {
        self.refusing_line.load(Relaxed)
    }

    /// HTTP/2: bytes came from the caller. Returns how many of them the library may have now.
    pub fn received_frames(&self, bytes: &[u8]) -> usize {
        let Some(streams) = self.streams() else { return bytes.len() };
        let size = streams.received(bytes);
        self.push_ended(streams, false);
        size
    }

    /// The socket took these bytes.
    pub fn wrote<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) {
        let Some(streams) = self.streams() else {
            if self.flushing.load(Relaxed) {
                self.clock.arm(Duration::from_millis(self.flush_limit.load(Relaxed)));
            }
            return;
        };
        let mut of_response = false;
        for bytes in pieces {
            of_response |= streams.sent(bytes);
        }
        if self.active.load(Relaxed) > 0 {
            return;
        }
        match streams.longest_wait() {
            Some(limit) if of_response => self.clock.arm(limit),
            None if self.clock.is_retired() => self.clock.await_goaway(),
            _ => {}
        }
    }

    /// All that was written has left for the socket.
    pub fn flushed(&self) {
        if let Some(streams) = self.streams() {
            return self.push_ended(streams, true);
        }
        for line in self.unsent().drain(..) {
            line.push();
        }
        if self.flushing.swap(false, Relaxed) {
            self.idle.store(true, Relaxed);
            self.clock.arm(self.keep_alive_timeout);
        }
    }

    fn push_ended(&self, streams: &Streams, flushed: bool) {
        if streams.push_ended(flushed) {
            self.settle(streams);
        }
    }

    /// HTTP/2: a request has come to its end, or to where it waits for its caller only.
    fn settle(&self, streams: &Streams) {
        if self.active.load(Relaxed) > 0 {
            return;
        }
        if let Some(limit) = streams.longest_wait() {
            self.clock.arm(limit);
        } else if self.clock.is_retired() {
            self.retire();
        } else {
            self.idle.store(true, Relaxed);
            self.clock.arm(self.keep_alive_timeout);
        }
    }

    /// Limits how long the downstream may take to close its side after the gateway closed its own.
    pub fn linger(&self, limit: Duration) {
        self.lingering.store(true, Relaxed);
        self.clock.arm(if self.draining.load(Relaxed) { limit.min(DRAIN_LINGER) } else { limit });
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether the caller is to be told to begin no further request.
    pub fn takes_no_more(&self) -> bool {
        self.draining.load(Relaxed) || self.clock.is_retired()
    }

    /// Runs `future` until it is done or the connection's time is over. `None`: it is over.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.register(cx.waker());
            let over = self.is_closing() && !self.lingering.load(Relaxed);
            if over { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }
        })
        .await
    }

    pub fn register(&self, waker: &Waker) {
        let mut registered = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !registered.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Whether nothing needs to be kept for the connection but its socket.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Relaxed)
    }

    /// What was armed since the last sweep counts from `now` on, milliseconds after the sweep was made.
    pub fn count_from(&self, now: u64) {
        self.clock.count_from(now);
    }

    /// `now`: milliseconds after the sweep was made.
    pub fn rest_if_silent(&self, now: u64) {
        let rests = self.idle.load(Relaxed) && self.may_rest.load(Relaxed) && !self.lingering.load(Relaxed);
        if !rests || self.silent.load(Relaxed) {
            return;
        }
        if self.clock.is_due(now, self.keep_alive_timeout.saturating_sub(SILENCE)) {
            self.silent.store(true, Relaxed);
            self.wake();
        }
    }

    /// Since when nothing is under way but that a request, or the end of the connection, is awaited; milliseconds after the
    /// sweep was made. `None`: something is.
    pub fn awaits_caller_since(&self) -> Option<u64> {
        if self.active.load(Relaxed) > 0 || self.flushing.load(Relaxed) || self.is_closing() {
            return None;
        }
        if self.lingering.load(Relaxed) {
            // Its last response has had the time since to arrive.
            return Some(0);
        }
        let first = !self.used.load(Relaxed);
        match (self.idle.load(Relaxed), self.streams()) {
            (true, _) => self.clock.since(self.keep_alive_timeout),
            // Of HTTP/2, what is neither idle nor active has a response that its caller does not take.
            (false, Some(_)) if !first => None,
            (false, _) => self.clock.since(self.header_timeout),
        }
    }

    /// `now`: milliseconds after the sweep was made. HTTP/2 callers get a GOAWAY and some time to read it first.
    pub fn close_if_due(&self, now: u64) {
        if !self.clock.is_due(now, Duration::ZERO) {
            return;
        }
        if self.streams().is_some() && !self.clock.is_retired() && !self.lingering.load(Relaxed) {
            self.retire();
            // Also if its caller takes nothing of a response.
            self.clock.await_goaway();
        } else {
            self.timed_out.store(true, Relaxed);
            self.close();
        }
    }

    /// Takes no further request, and ends after those under way.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        if self.lingering.load(Relaxed) {
            self.clock.arm(DRAIN_LINGER);
        } else if self.streams().is_some() {
            self.retire();
        } else if !self.used.load(Relaxed) {
            // The client has opened it in advance and waits for nothing on it.
            self.closing.store(true, Relaxed);
        }
        self.wake();
    }

    pub fn close(&self) {
        self.closing.store(true, Relaxed);
        self.wake();
    }

    /// The connection is gone: what hyper had not written by then has not arrived.
    pub fn ended(&self) {
        let outcome = if self.timed_out.load(Relaxed) {
            RequestOutcome::Timeout
        } else if self.draining.load(Relaxed) && self.is_closing() {
            RequestOutcome::Drained
        } else {
            RequestOutcome::CallerLeft
        };
        for line in self.unsent().drain(..) {
            line.push_as(outcome);
        }
        if let Some(streams) = self.streams() {
            streams.end(outcome);
        }
    }

    fn unsent(&self) -> std::sync::MutexGuard<'_, Vec<UnsentLine>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection send GOAWAY. If no stream is open then, it ends soon, whatever the caller does.
    fn retire(&self) {
        self.clock.retire();
        let waits = self.streams().and_then(Streams::longest_wait).is_some();
        if self.active.load(Relaxed) == 0 && !waits {
            self.clock.await_goaway();
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}
