//! The deadlines of a downstream connection, and whether it is idle, draining or closing.

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

/// How long the downstream's side of a connection may stay open after ours while the gateway drains: long enough for the
/// last response to arrive, short enough that nobody can keep the gateway from ending.
const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// What a downstream connection and the sweep share. An upgraded connection leaves its task, hence no `Rc` here.
pub struct ConnectionState {
    /// Milliseconds after the sweep's start; `u64::MAX` for none.
    deadline: AtomicU64,
    /// Requests under way: several on HTTP/2.
    active: AtomicU32,
    /// Between two requests, with nothing of the next one read.
    idle: AtomicBool,
    /// Whether a request has ever begun on it.
    used: AtomicBool,
    closing: AtomicBool,
    /// The gateway has closed its side. From then on [`ConnectionState::guard`] leaves the end to the connection.
    lingering: AtomicBool,
    draining: AtomicBool,
    waker: Mutex<Option<Waker>>,
    started: Instant,
    header_timeout: Duration,
    keep_alive_timeout: Duration,
}

/// A request under way on a connection, until it is dropped.
pub struct Active(Arc<ConnectionState>);

impl ConnectionState {
    /// `started`: when the sweep was made. The first header must be complete within `header_timeout` from now.
    pub fn new(started: Instant, header_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        let state = Self {
            deadline: AtomicU64::new(u64::MAX),
            active: AtomicU32::new(0),
            idle: AtomicBool::new(false),
            used: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            waker: Mutex::new(None),
            started,
            header_timeout,
            keep_alive_timeout,
        };
        state.arm(header_timeout);
        state
    }

    /// A request's header is complete: from here the exchange has its own timers.
    pub fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, AcqRel);
        self.used.store(true, Relaxed);
        self.idle.store(false, Relaxed);
        self.deadline.store(u64::MAX, Relaxed);
        Active(Arc::clone(self))
    }

    /// Bytes came from the downstream. Between requests they begin a header.
    pub fn received(&self) {
        if self.idle.load(Relaxed) {
            self.idle.store(false, Relaxed);
            self.arm(self.header_timeout);
        }
    }

    /// Limits how long the downstream may take to close its side after the gateway closed its own.
    pub fn linger(&self, limit: Duration) {
        self.lingering.store(true, Relaxed);
        self.arm(if self.is_draining() { limit.min(DRAIN_LINGER) } else { limit });
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
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

    /// `now`: milliseconds after the sweep was made.
    pub fn close_if_due(&self, now: u64) {
        if self.deadline.load(Relaxed) <= now {
            self.close();
        }
    }

    /// Takes no further request, and ends after the one under way.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        if self.lingering.load(Relaxed) {
            self.arm(DRAIN_LINGER);
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

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    fn arm(&self, limit: Duration) {
        let deadline = (self.started.elapsed() + limit).as_millis();
        self.deadline.store(u64::try_from(deadline).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, AcqRel) == 1 {
            self.0.idle.store(true, Relaxed);
            self.0.arm(self.0.keep_alive_timeout);
        }
    }
}
