//! One sweep over all deadlines per worker instead of a timer per request.
//!
//! Every exchange and every connection registers a slot with a deadline. Every [`SWEEP`] the sweep goes through all slots and
//! wakes the tasks whose time is over. After each change of the index it also decides again whether each exchange's token
//! may do what it does. Arming a deadline is a store to memory: the sweep reads the clock, once for all that were armed.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use slab::Slab;
use tokio::task::AbortHandle;

use super::{
    connection_state::ConnectionState,
    permit::{Denied, Permit},
    unheard::Ends,
};
use crate::{index::follow::Index, system};

/// How often everything is gone through. A deadline counts from the sweep after it was armed, and is noticed by the sweep
/// after it is over: so it may be late by twice as much.
pub const SWEEP: Duration = Duration::from_millis(50);
/// How long an exchange may go on after the sweep has ended it. hyper does not poll the response of a downstream that reads
/// nothing, so such an exchange never learns of its end: then the sweep ends what carries it.
const GRACE: Duration = Duration::from_millis(100);
/// How often the sweep decides on running exchanges without a change of the index: tokens expire by the clock.
const EXPIRY_CHECK: Duration = Duration::from_millis(250);
/// How many connections are closed when there is no place for a newcomer: all are looked through for it.
const CLOSED_AT_ONCE: usize = 32;
/// How long an exchange has run before anybody asks whether its peers are still there.
const LONG: Duration = Duration::from_secs(15);

/// Which clock ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Connect,
    FirstByte,
    /// Nothing came from the upstream, or it took nothing.
    UpstreamIdle,
    /// The downstream sent nothing of the body that it announced.
    DownstreamIdle,
    /// It was not its turn yet.
    Queue,
    /// The service has not started.
    Start,
    /// Its caller was too slow, while others waited for the slot that the exchange has.
    KeptOthers,
    /// One of both acknowledged nothing of what was sent to it.
    Vanished,
}

/// Why an exchange is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Timeout(Timer),
    /// The token was revoked, expired, or lost its scope; or the Deployment is enforced from now on.
    Token(Denied),
    /// The drain deadline passed.
    Drained,
}

/// Who has to do something for an exchange to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    Service,
    Caller,
    /// Both sides of a tunnel, while nothing moves.
    Either,
}

/// All that runs on one worker.
pub struct DeadlineSweep {
    exchanges: RefCell<Slab<Rc<Slot>>>,
    connections: RefCell<Slab<Arc<ConnectionState>>>,
    started: Instant,
    epoch: Cell<u64>,
    swept: Cell<Instant>,
    expiry_checked: Cell<Instant>,
    draining: Cell<bool>,
}

struct Slot {
    /// What the next sweep makes a deadline.
    armed: Cell<Option<(Duration, Timer)>>,
    deadline: Cell<Option<(Instant, Timer)>>,
    cut: Cell<Option<(Cut, Instant)>>,
    waker: RefCell<Option<Waker>>,
    /// By the clock of the sweep before.
    began: Instant,
    waits_for: Cell<WaitsFor>,
    /// Whether anything has moved since the last sweep.
    moved: Cell<bool>,
    /// How long others have waited, in all, because of this one's caller.
    kept_others: Cell<Duration>,
    /// Of the downstream's connection, and of the upstream's.
    ends: Cell<[Option<Ends>; 2]>,
    permit: Permit,
    /// `None`: whoever has the exchange ends it.
    downstream: RefCell<Option<Downstream>>,
}

/// What carries an exchange downstream, and is ended with it if it does not end by itself.
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
            swept: Cell::new(now),
            expiry_checked: Cell::new(now),
            draining: Cell::new(false),
        })
    }

    /// `ends`: of the downstream's connection.
    pub fn register(self: &Rc<Self>, permit: Permit, downstream: Downstream, ends: Option<Ends>) -> Deadline {
        let slot = Rc::new(Slot {
            armed: Cell::default(),
            deadline: Cell::default(),
            cut: Cell::default(),
            waker: RefCell::default(),
            began: self.swept.get(),
            waits_for: Cell::new(WaitsFor::Service),
            moved: Cell::new(true),
            kept_others: Cell::default(),
            ends: Cell::new([ends, None]),
            permit,
            downstream: RefCell::new(Some(downstream)),
        });
        let key = self.exchanges.borrow_mut().insert(Rc::clone(&slot));
        Deadline { sweep: Rc::clone(self), slot, key }
    }

    /// Goes through everything once. `epoch` is that of the index.
    pub fn sweep(&self, index: &Index, epoch: u64) {
        let now = Instant::now();
        let passed = now - self.swept.replace(now);
        let expiry_checked = now - self.expiry_checked.get() >= EXPIRY_CHECK;
        let ask_again = self.epoch.replace(epoch) != epoch || expiry_checked;
        if expiry_checked {
            self.expiry_checked.set(now);
        }
        for (_, slot) in self.exchanges.borrow().iter() {
            if let Some((limit, timer)) = slot.armed.take() {
                slot.deadline.set(now.checked_add(limit).map(|deadline| (deadline, timer)));
            }
            match slot.deadline.get() {
                Some((deadline, timer)) if deadline <= now => slot.end(Cut::Timeout(timer)),
                // A service that starts now would have the request cut.
                Some((_, Timer::Start)) if self.draining.get() => slot.end(Cut::Drained),
                _ => {}
            }
            slot.count_what_it_keeps(passed);
            if ask_again && let Err(reason) = slot.permit.still_holds(index, system::now()) {
                slot.end(Cut::Token(reason));
            }
            if slot.cut.get().is_some_and(|(_, at)| now.saturating_duration_since(at) >= GRACE) {
                slot.abort_downstream();
            }
        }
        let millis = self.millis(now);
        for (_, connection) in self.connections.borrow().iter() {
            connection.count_from(millis);
            connection.rest_if_silent(millis);
            connection.close_if_due(millis);
            if expiry_checked {
                connection.wake_if_it_looks_again();
            }
        }
    }

    /// Whether an exchange runs long enough for its peers to have vanished.
    pub fn has_long_exchanges(&self) -> bool {
        self.exchanges.borrow().iter().any(|(_, slot)| slot.began.elapsed() >= LONG)
    }

    /// Ends exchanges with peers that were not heard for long.
    pub fn end_unheard(&self, unheard: &HashSet<Ends>) {
        for (_, slot) in self.exchanges.borrow().iter() {
            if slot.ends.get().iter().flatten().any(|ends| unheard.contains(ends)) {
                slot.end(Cut::Timeout(Timer::Vanished));
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

    /// Closes those connections that have awaited their callers longest, some at once: there are no places for newcomers.
    pub fn close_longest_waiting(&self) {
        let connections = self.connections.borrow();
        let waiting = connections.iter().filter_map(|(key, state)| Some((state.awaits_caller_since()?, key)));
        let mut waiting: Vec<(u64, usize)> = waiting.collect();
        if waiting.len() > CLOSED_AT_ONCE {
            waiting.select_nth_unstable(CLOSED_AT_ONCE);
            waiting.truncate(CLOSED_AT_ONCE);
        }
        for (_, key) in waiting {
            connections[key].close();
        }
    }

    /// Tells every connection to take no further request, and those to come as well.
    pub fn drain_connections(&self) {
        self.draining.set(true);
        for (_, connection) in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    pub fn has_exchanges(&self) -> bool {
        !self.exchanges.borrow().is_empty()
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

    /// A slot is for the service's work. So that nobody keeps one by being slow, a caller may have others wait for half of the
    /// time that they wait at most: then each of them still gets a turn.
    fn count_what_it_keeps(&self, passed: Duration) {
        let moved = self.moved.replace(false);
        let by_caller = match self.waits_for.get() {
            WaitsFor::Service => false,
            WaitsFor::Caller => true,
            WaitsFor::Either => !moved,
        };
        if by_caller && self.permit.is_waited_for() {
            self.kept_others.set(self.kept_others.get() + passed);
            if self.kept_others.get() >= self.permit.spec().settings.queue_timeout / 2 {
                self.end(Cut::Timeout(Timer::KeptOthers));
            }
        }
    }

    fn abort_downstream(&self) {
        match &*self.downstream.borrow() {
            Some(Downstream::Connection(state)) => state.close(),
            Some(Downstream::Stream(task)) => task.abort(),
            None => {}
        }
    }
}

impl Deadline {
    pub fn permit(&self) -> &Permit {
        &self.slot.permit
    }

    /// The exchange goes on by this connection to an upstream.
    pub fn by_upstream(&self, ends: Option<Ends>) {
        let [downstream, _] = self.slot.ends.get();
        self.slot.ends.set([downstream, ends]);
    }

    /// Ends the exchange unless [`Deadline::arm`] or [`Deadline::disarm`] is called within `limit`.
    pub fn arm(&self, timer: Timer, limit: Duration) {
        self.slot.deadline.set(None);
        self.slot.armed.set(Some((limit, timer)));
        self.slot.moved.set(true);
    }

    pub fn waits_for(&self) -> WaitsFor {
        self.slot.waits_for.get()
    }

    pub fn set_waits_for(&self, side: WaitsFor) {
        self.slot.waits_for.set(side);
    }

    /// The sweep leaves the downstream to whoever has the exchange: a tunnel ends it with a close frame.
    pub fn leave_downstream(&self) {
        *self.slot.downstream.borrow_mut() = None;
    }

    pub fn disarm(&self) {
        self.slot.armed.set(None);
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

    /// Why the sweep has ended the exchange. `None`: it has not.
    pub fn cut(&self) -> Option<Cut> {
        self.slot.cut.get().map(|(cut, _)| cut)
    }

    /// Every poll has to call it first. The sweep wakes the task when it ends the exchange.
    ///
    /// # Errors
    /// [`Cut`], at every call once the exchange was ended.
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

/// A connection in the sweep, which leaves it on drop.
pub struct ConnectionDeadline {
    sweep: Rc<DeadlineSweep>,
    key: usize,
    pub state: Arc<ConnectionState>,
}

impl DeadlineSweep {
    /// The first header must be complete within `header_timeout`, counted from now, TLS handshake included.
    pub fn register_connection(
        self: &Rc<Self>,
        header_timeout: Duration,
        keep_alive_timeout: Duration,
    ) -> ConnectionDeadline {
        let state = Arc::new(ConnectionState::new(self.started, header_timeout, keep_alive_timeout));
        if self.draining.get() {
            state.drain();
        }
        let key = self.connections.borrow_mut().insert(Arc::clone(&state));
        ConnectionDeadline { sweep: Rc::clone(self), key, state }
    }
}

impl Drop for ConnectionDeadline {
    fn drop(&mut self) {
        self.state.ended();
        self.sweep.connections.borrow_mut().remove(self.key);
    }
}
