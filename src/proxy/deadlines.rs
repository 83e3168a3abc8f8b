//! One sweep over all deadlines per worker instead of a timer per request.
//!
//! Every exchange and every connection registers a slot with a deadline. A sweep every [`SWEEP`] looks at all of them and
//! wakes those whose time is over, and after each change of the index it asks of every running exchange again whether its
//! token may still do what it does. Arming a deadline is a store to memory.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Relaxed},
        },
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use slab::Slab;
use tokio::task::AbortHandle;

use super::permit::Permit;
use crate::{domain::decision::Reason, index::tokens::TokenIndex, system};

/// How late a deadline may be noticed.
pub const SWEEP: Duration = Duration::from_millis(50);
/// How long an exchange that was ended may go on: one whose caller reads nothing does not get to notice its end.
const GRACE: Duration = Duration::from_millis(100);
/// How often running exchanges are asked about their expiry, which no change of the index announces.
const EXPIRY_CHECK: Duration = Duration::from_millis(250);

/// How long a caller's side may stay open after ours while the gateway ends: its answer has time to arrive, and a
/// caller that keeps its end open does not hold the gateway.
const DRAIN_LINGER: Duration = Duration::from_millis(500);

/// Which clock ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Connect,
    FirstByte,
    /// Nothing came from the upstream, or it took nothing.
    UpstreamIdle,
    /// The caller sent nothing of the body that it announced.
    DownstreamIdle,
}

/// Why an exchange is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Timeout(Timer),
    /// The token was revoked, expired, or lost its scope.
    Token(Reason),
    /// The drain deadline passed.
    Drained,
}

/// All that runs on one worker.
pub struct DeadlineSweep {
    exchanges: RefCell<Slab<Rc<Slot>>>,
    connections: RefCell<Slab<Arc<ConnectionState>>>,
    started: Instant,
    epoch: Cell<u64>,
    expiry_checked: Cell<Instant>,
    draining: Cell<bool>,
}

struct Slot {
    deadline: Cell<Option<(Instant, Timer)>>,
    cut: Cell<Option<(Cut, Instant)>>,
    waker: RefCell<Option<Waker>>,
    permit: Permit,
    downstream: Downstream,
}

/// What an exchange hangs on at its caller's side, to be taken away if the exchange cannot be ended otherwise.
pub enum Downstream {
    Connection(Arc<ConnectionState>),
    /// One of several on a connection of HTTP/2.
    Stream(AbortHandle),
}

/// What can end a running exchange: a timer, its permission, a drain. Leaves the sweep on drop.
pub struct Deadline {
    sweep: Rc<DeadlineSweep>,
    slot: Rc<Slot>,
    key: usize,
}

impl DeadlineSweep {
    pub fn new() -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            exchanges: RefCell::default(),
            connections: RefCell::default(),
            started: now,
            epoch: Cell::new(0),
            expiry_checked: Cell::new(now),
            draining: Cell::new(false),
        })
    }

    pub fn register(self: &Rc<Self>, permit: Permit, downstream: Downstream) -> Deadline {
        let (deadline, cut, waker) = (Cell::new(None), Cell::new(None), RefCell::new(None));
        let slot = Rc::new(Slot { deadline, cut, waker, permit, downstream });
        let key = self.exchanges.borrow_mut().insert(Rc::clone(&slot));
        Deadline { sweep: Rc::clone(self), slot, key }
    }

    /// Looks at everything once. `epoch` is that of the index.
    pub fn sweep(&self, index: &TokenIndex, epoch: u64) {
        let now = Instant::now();
        let ask_again = self.epoch.replace(epoch) != epoch || now - self.expiry_checked.get() >= EXPIRY_CHECK;
        if ask_again {
            self.expiry_checked.set(now);
        }
        for (_, slot) in self.exchanges.borrow().iter() {
            if let Some((deadline, timer)) = slot.deadline.get()
                && deadline <= now
            {
                slot.end(Cut::Timeout(timer));
            }
            if ask_again && let Err(reason) = slot.permit.still_holds(index, system::now()) {
                slot.end(Cut::Token(reason));
            }
            if slot.cut.get().is_some_and(|(_, at)| now.saturating_duration_since(at) >= GRACE) {
                slot.abort_downstream();
            }
        }
        let millis = self.millis(now);
        for (_, connection) in self.connections.borrow().iter() {
            if connection.deadline.load(Relaxed) <= millis {
                connection.close();
            }
        }
    }

    pub fn end_exchanges(&self) {
        for (_, slot) in self.exchanges.borrow().iter() {
            slot.end(Cut::Drained);
        }
    }

    pub fn close_connections(&self) {
        for (_, connection) in self.connections.borrow().iter() {
            connection.close();
        }
    }

    /// Tells every connection to take no further request, and those to come as well.
    pub fn drain_connections(&self) {
        self.draining.set(true);
        for (_, connection) in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    /// Whether nothing runs any more.
    pub fn is_idle(&self) -> bool {
        self.exchanges.borrow().is_empty() && self.connections.borrow().is_empty()
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from((at - self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Slot {
    fn end(&self, cut: Cut) {
        if self.cut.get().is_none() {
            self.cut.set(Some((cut, Instant::now())));
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    fn abort_downstream(&self) {
        match &self.downstream {
            Downstream::Connection(state) => state.close(),
            Downstream::Stream(task) => task.abort(),
        }
    }
}

impl Deadline {
    pub fn permit(&self) -> &Permit {
        &self.slot.permit
    }

    /// Ends the exchange unless [`Deadline::arm`] or [`Deadline::disarm`] is called within `limit`.
    pub fn arm(&self, timer: Timer, limit: Duration) {
        self.slot.deadline.set(Instant::now().checked_add(limit).map(|deadline| (deadline, timer)));
    }

    pub fn disarm(&self) {
        self.slot.deadline.set(None);
    }

    /// Runs `future` until it is done or the exchange is ended.
    ///
    /// # Errors
    /// [`Cut`].
    pub async fn guard<F: Future>(&self, future: F) -> Result<F::Output, Cut> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.check(cx)?;
            future.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Why it was ended. `None`: it was not.
    pub fn cut(&self) -> Option<Cut> {
        self.slot.cut.get().map(|(cut, _)| cut)
    }

    /// Goes on after a timer ran out: something else can be tried.
    pub fn clear(&self) {
        self.slot.cut.set(None);
    }

    /// To be asked first in every poll: the task is woken when the answer changes.
    ///
    /// # Errors
    /// [`Cut`], again and again once it came.
    pub fn check(&self, cx: &Context<'_>) -> Result<(), Cut> {
        if let Some(cut) = self.cut() {
            return Err(cut);
        }
        let mut waker = self.slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.sweep.exchanges.borrow_mut().remove(self.key);
    }
}

// === connections ===

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
    /// We have said our last word; the connection itself notices that its time is over.
    lingering: AtomicBool,
    draining: AtomicBool,
    waker: Mutex<Option<Waker>>,
    started: Instant,
    header_timeout: Duration,
    keep_alive_timeout: Duration,
}

/// A connection in the sweep, which leaves it on drop.
pub struct ConnectionDeadline {
    sweep: Rc<DeadlineSweep>,
    key: usize,
    pub state: Arc<ConnectionState>,
}

/// A request under way on a connection.
pub struct Active(Arc<ConnectionState>);

impl DeadlineSweep {
    /// The first header must be complete within `header_timeout`, counted from now, TLS handshake included.
    pub fn register_connection(
        self: &Rc<Self>,
        header_timeout: Duration,
        keep_alive_timeout: Duration,
    ) -> ConnectionDeadline {
        let state = Arc::new(ConnectionState {
            deadline: AtomicU64::new(u64::MAX),
            active: AtomicU32::new(0),
            idle: AtomicBool::new(false),
            used: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            waker: Mutex::new(None),
            started: self.started,
            header_timeout,
            keep_alive_timeout,
        });
        state.arm(header_timeout);
        if self.draining.get() {
            state.drain();
        }
        let key = self.connections.borrow_mut().insert(Arc::clone(&state));
        ConnectionDeadline { sweep: Rc::clone(self), key, state }
    }
}

impl Drop for ConnectionDeadline {
    fn drop(&mut self) {
        self.sweep.connections.borrow_mut().remove(self.key);
    }
}

impl ConnectionState {
    /// A request's header is complete: from here the exchange has its own timers.
    pub fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, AcqRel);
        self.used.store(true, Relaxed);
        self.idle.store(false, Relaxed);
        self.deadline.store(u64::MAX, Relaxed);
        Active(Arc::clone(self))
    }

    /// Bytes came from the caller. Between requests they begin a header.
    pub fn received(&self) {
        if self.idle.load(Relaxed) {
            self.idle.store(false, Relaxed);
            self.arm(self.header_timeout);
        }
    }

    /// Limits how long the caller may take to close its side after we closed ours.
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

    fn drain(&self) {
        self.draining.store(true, Relaxed);
        if self.lingering.load(Relaxed) {
            self.arm(DRAIN_LINGER);
        } else if !self.used.load(Relaxed) {
            // Opened in advance: nobody waits for an answer on it.
            self.closing.store(true, Relaxed);
        }
        self.wake();
    }

    fn close(&self) {
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
