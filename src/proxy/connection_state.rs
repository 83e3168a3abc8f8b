//! The deadlines of a downstream connection, and whether it is idle, draining or closing.
//!
//! A connection is idle from the end of its last request on. On HTTP/1 that is when hyper has written the whole response to
//! the socket: hyper drops a body as soon as it has buffered its end, up to some hundred KiB before. On HTTP/2 it is when
//! the last stream ends, and what the caller sends between streams (PING, WINDOW_UPDATE, SETTINGS) begins no request.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::telemetry::{line::RequestOutcome, unsent::UnsentLine};

/// How long after a response a connection keeps what serves requests: buffers, the parser, the place of the next request.
const SILENCE: Duration = Duration::from_millis(200);
/// How long the downstream's side of a connection may stay open after ours while the gateway drains: long enough for the
/// last response to arrive, short enough that nobody can keep the gateway from ending.
const DRAIN_LINGER: Duration = Duration::from_millis(500);
/// How long an HTTP/2 caller without streams gets to answer our GOAWAY: several times the longest round trip. Requests that
/// it had sent before are served.
const GOAWAY_GRACE: Duration = Duration::from_secs(2);
/// How long bytes that still leave for a slow reader may prolong [`GOAWAY_GRACE`]. Answers to PING prolong it, too.
const MAX_GRACE: Duration = Duration::from_secs(60);

/// What a downstream connection and the sweep share. An upgraded connection leaves its task, hence no `Rc` here.
pub struct ConnectionState {
    /// Milliseconds after the sweep's start; `u64::MAX` for none.
    deadline: AtomicU64,
    /// Requests under way: several on HTTP/2.
    active: AtomicU32,
    http2: AtomicBool,
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
    /// HTTP/1: the last request ends with the end of a line.
    ended_with_line: AtomicBool,
    /// HTTP/1: the request line is too long, and the gateway is answering that.
    refusing_line: AtomicBool,
    /// A deadline was the reason for closing.
    timed_out: AtomicBool,
    /// The gateway has closed its side. From then on [`ConnectionState::guard`] leaves the end to the connection.
    lingering: AtomicBool,
    draining: AtomicBool,
    /// Until when at most an HTTP/2 connection without streams stays after our GOAWAY; `u64::MAX`: none was sent.
    retired_until: AtomicU64,
    /// How long the response that is being written may make no progress, milliseconds.
    flush_limit: AtomicU64,
    /// Lines of responses that hyper has taken and not yet written.
    unsent: Mutex<Vec<UnsentLine>>,
    waker: Mutex<Option<Waker>>,
    started: Instant,
    header_timeout: Duration,
    keep_alive_timeout: Duration,
}

/// A request under way on a connection, until it is dropped.
pub struct Active {
    state: Arc<ConnectionState>,
    /// How long its response may make no progress while the caller takes it.
    pub idle_timeout: Duration,
    /// Whether the request asks for the connection to be kept.
    pub persistent: bool,
    /// Whether it was read to its end, so that what follows is another request.
    pub read: bool,
}

impl ConnectionState {
    /// `started`: when the sweep was made. The first header must be complete within `header_timeout` from now.
    pub fn new(started: Instant, header_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        let state = Self {
            deadline: AtomicU64::new(u64::MAX),
            active: AtomicU32::new(0),
            http2: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            read: AtomicBool::new(true),
            may_rest: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            used: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ended_with_line: AtomicBool::new(true),
            refusing_line: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            retired_until: AtomicU64::new(u64::MAX),
            flush_limit: AtomicU64::new(0),
            unsent: Mutex::default(),
            waker: Mutex::new(None),
            started,
            header_timeout,
            keep_alive_timeout,
        };
        state.arm(header_timeout);
        state
    }

    /// From here on the connection is one of HTTP/2.
    pub fn becomes_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    /// A request's header is complete: from here the exchange has its own timers. `ends_with_line`: it has no body, or one
    /// in chunks.
    pub fn begin(self: &Arc<Self>, ends_with_line: bool) -> Active {
        self.ended_with_line.store(ends_with_line, Relaxed);
        self.active.fetch_add(1, AcqRel);
        self.used.store(true, Relaxed);
        self.idle.store(false, Relaxed);
        self.silent.store(false, Relaxed);
        self.may_rest.store(false, Relaxed);
        self.flushing.store(false, Relaxed);
        self.deadline.store(u64::MAX, Relaxed);
        Active { state: Arc::clone(self), idle_timeout: self.keep_alive_timeout, persistent: false, read: false }
    }

    /// Bytes came from the downstream. On HTTP/1 they begin a further header if no request is under way: whether they do.
    pub fn received(&self) -> bool {
        let begins = self.idle.load(Relaxed) && self.read.load(Relaxed) && !self.http2.load(Relaxed);
        if begins {
            self.idle.store(false, Relaxed);
            self.silent.store(false, Relaxed);
            self.arm(self.header_timeout);
        }
        begins
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

    /// The socket took bytes.
    pub fn wrote(&self) {
        if self.flushing.load(Relaxed) {
            self.arm(Duration::from_millis(self.flush_limit.load(Relaxed)));
        } else if self.is_retired() && self.active.load(Relaxed) == 0 {
            self.await_goaway();
        }
    }

    /// All that was written has left for the socket.
    pub fn flushed(&self) {
        if self.http2.load(Relaxed) {
            return;
        }
        for line in self.unsent().drain(..) {
            line.push();
        }
        if self.flushing.swap(false, Relaxed) {
            self.idle.store(true, Relaxed);
            self.arm(self.keep_alive_timeout);
        }
    }

    /// Limits how long the downstream may take to close its side after the gateway closed its own.
    pub fn linger(&self, limit: Duration) {
        self.lingering.store(true, Relaxed);
        self.arm(if self.draining.load(Relaxed) { limit.min(DRAIN_LINGER) } else { limit });
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether the caller is to be told to begin no further request.
    pub fn takes_no_more(&self) -> bool {
        self.draining.load(Relaxed) || self.is_retired()
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

    /// `now`: milliseconds after the sweep was made.
    pub fn rest_if_silent(&self, now: u64) {
        let rests = self.idle.load(Relaxed) && self.may_rest.load(Relaxed) && !self.lingering.load(Relaxed);
        if !rests || self.silent.load(Relaxed) {
            return;
        }
        let idle_until = self.deadline.load(Relaxed);
        if idle_until <= now.saturating_add(millis(self.keep_alive_timeout.saturating_sub(SILENCE))) {
            self.silent.store(true, Relaxed);
            self.wake();
        }
    }

    /// `now`: milliseconds after the sweep was made. HTTP/2 callers get a GOAWAY and some time to read it first.
    pub fn close_if_due(&self, now: u64) {
        if self.deadline.load(Relaxed) > now {
            return;
        }
        if self.http2.load(Relaxed) && !self.is_retired() && !self.lingering.load(Relaxed) {
            self.retire();
        } else {
            self.timed_out.store(true, Relaxed);
            self.close();
        }
    }

    /// Takes no further request, and ends after those under way.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        if self.lingering.load(Relaxed) {
            self.arm(DRAIN_LINGER);
        } else if self.http2.load(Relaxed) {
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
    }

    fn unsent(&self) -> std::sync::MutexGuard<'_, Vec<UnsentLine>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_retired(&self) -> bool {
        self.retired_until.load(Relaxed) != u64::MAX
    }

    /// Has the connection send GOAWAY. If no stream is open then, it ends soon, whatever the caller does.
    fn retire(&self) {
        self.retired_until.store(self.millis_in(MAX_GRACE), Relaxed);
        if self.active.load(Relaxed) == 0 {
            self.await_goaway();
        }
        self.wake();
    }

    fn await_goaway(&self) {
        let deadline = self.millis_in(GOAWAY_GRACE).min(self.retired_until.load(Relaxed));
        self.deadline.store(deadline, Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    fn arm(&self, limit: Duration) {
        self.deadline.store(self.millis_in(limit), Relaxed);
    }

    fn millis_in(&self, limit: Duration) -> u64 {
        millis(self.started.elapsed() + limit)
    }
}

impl Active {
    /// hyper has the whole response. On HTTP/1 the line waits until it is written; on HTTP/2 the library does not say when
    /// that is.
    pub fn responded(self, line: UnsentLine) {
        if self.state.http2.load(Relaxed) {
            line.push();
        } else {
            self.state.unsent().push(line);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let state = &self.state;
        if state.active.fetch_sub(1, AcqRel) > 1 {
            return;
        }
        if !state.http2.load(Relaxed) {
            state.may_rest.store(self.persistent && self.read, Relaxed);
            state.read.store(self.read, Relaxed);
            state.flush_limit.store(millis(self.idle_timeout), Relaxed);
            state.flushing.store(true, Relaxed);
            state.arm(self.idle_timeout);
        } else if state.is_retired() {
            state.retire();
        } else {
            state.idle.store(true, Relaxed);
            state.arm(state.keep_alive_timeout);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
