//! The slots of a Deployment that takes only so many requests at once, and who waits for one.
//!
//! This gateway counts its own requests. Several gateways each have as many slots.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    domain::{
        deployment::Concurrency,
        fair_queue::{Charge, FairQueue},
        token::TokenUid,
    },
    http::network::Network,
};

/// Whose requests share what there is: those of one token, or of one network where no token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    Token(TokenUid),
    Network(Network),
}

#[derive(Default)]
pub struct Slots(Mutex<State>);

#[derive(Default)]
struct State {
    /// As the request says that came last: a change of the settings counts from there.
    limit: usize,
    taken: usize,
    queue: FairQueue<Flow, oneshot::Sender<Slot>>,
    next_number: u64,
}

/// The right to have one request under way. It is given back when it is dropped, whatever becomes of the request.
pub struct Slot {
    slots: Arc<Slots>,
    flow: Flow,
    charge: Charge,
    since: Instant,
}

/// A place in the queue, given up when it is dropped.
pub struct Waiting {
    slots: Arc<Slots>,
    flow: Flow,
    number: u64,
    granted: oneshot::Receiver<Slot>,
}

pub enum Asked {
    Granted(Slot),
    Waits(Waiting),
}

/// As many wait as may, and nobody has so many more of them that one of theirs has to go.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl Slots {
    /// # Errors
    /// [`Full`].
    pub fn ask(self: &Arc<Self>, flow: Flow, concurrency: &Concurrency) -> Result<Asked, Full> {
        let mut state = self.state();
        state.limit = concurrency.max_in_flight.get() as usize;
        if state.taken < state.limit && state.queue.waiting() == 0 {
            state.taken += 1;
            let charge = state.queue.serve(flow);
            return Ok(Asked::Granted(self.slot(flow, charge)));
        }
        // Whoever had that place is told that the queue is full.
        if state.queue.waiting() >= concurrency.max_queue as usize && state.queue.make_room(flow).is_none() {
            return Err(Full);
        }
        let (sender, granted) = oneshot::channel();
        state.next_number += 1;
        let number = state.next_number;
        state.queue.push(flow, number, sender);
        drop(state);
        // The limit may have been raised while others waited.
        self.grant();
        Ok(Asked::Waits(Waiting { slots: Arc::clone(self), flow, number, granted }))
    }

    /// How many requests are under way, and how many wait.
    pub fn load(&self) -> (usize, usize) {
        let state = self.state();
        (state.taken, state.queue.waiting())
    }

    fn slot(self: &Arc<Self>, flow: Flow, charge: Charge) -> Slot {
        Slot { slots: Arc::clone(self), flow, charge, since: Instant::now() }
    }

    /// Gives free slots to those who wait.
    fn grant(self: &Arc<Self>) {
        loop {
            let (slot, sender) = {
                let mut state = self.state();
                if state.taken >= state.limit {
                    return;
                }
                let Some((flow, charge, sender)) = state.queue.pop() else { return };
                state.taken += 1;
                (self.slot(flow, charge), sender)
            };
            // Whoever has just left does not take it: then it is dropped here, and so given back.
            drop(sender.send(slot));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub fn is_of(&self, slots: &Arc<Slots>) -> bool {
        Arc::ptr_eq(&self.slots, slots)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let took = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        {
            let mut state = self.slots.state();
            state.taken -= 1;
            state.queue.release(self.flow, self.charge, took);
        }
        self.slots.grant();
    }
}

impl Future for Waiting {
    /// `None`: somebody with fewer who wait got the place in the queue.
    type Output = Option<Slot>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Slot>> {
        Pin::new(&mut self.granted).poll(cx).map(Result::ok)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A slot that was granted meanwhile is dropped with the channel.
        self.slots.state().queue.leave(self.flow, self.number);
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (taken, waiting) = self.load();
        write!(f, "Slots({taken} taken, {waiting} waiting)")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use uuid::Uuid;

    use super::*;

    fn concurrency(max_in_flight: u32, max_queue: u32) -> Concurrency {
        Concurrency { max_in_flight: NonZeroU32::new(max_in_flight).unwrap(), max_queue }
    }

    fn flow(number: u128) -> Flow {
        Flow::Token(TokenUid(Uuid::from_u128(number)))
    }

    fn granted(asked: Result<Asked, Full>) -> Slot {
        let Ok(Asked::Granted(slot)) = asked else { panic!("no slot") };
        slot
    }

    fn waits(asked: Result<Asked, Full>) -> Waiting {
        let Ok(Asked::Waits(waiting)) = asked else { panic!("it does not wait") };
        waiting
    }

    #[tokio::test]
    async fn a_slot_goes_to_who_waits_and_is_given_back_once() {
        let slots = Arc::<Slots>::default();
        let two = concurrency(2, 2);
        let (first, second) = (granted(slots.ask(flow(1), &two)), granted(slots.ask(flow(1), &two)));
        let (third, fourth) = (waits(slots.ask(flow(1), &two)), waits(slots.ask(flow(2), &two)));
        assert!(matches!(slots.ask(flow(3), &two), Err(Full)));
        assert_eq!(slots.load(), (2, 2));
        drop(fourth);
        assert_eq!(slots.load(), (2, 1));
        drop(first);
        let third = third.await.unwrap();
        assert_eq!(slots.load(), (2, 0));
        drop((second, third));
        assert_eq!(slots.load(), (0, 0));
    }

    #[tokio::test]
    async fn who_leaves_just_when_it_is_their_turn_keeps_nobody_waiting() {
        let slots = Arc::<Slots>::default();
        let one = concurrency(1, 10);
        let first = granted(slots.ask(flow(1), &one));
        let (gone, next) = (waits(slots.ask(flow(2), &one)), waits(slots.ask(flow(3), &one)));
        drop(first);
        assert_eq!(slots.load(), (1, 1), "it was granted, and not looked at");
        drop(gone);
        assert!(next.await.is_some());
        assert_eq!(slots.load(), (0, 0));
    }

    #[tokio::test]
    async fn a_limit_that_is_raised_counts_for_those_who_wait() {
        let slots = Arc::<Slots>::default();
        let _first = granted(slots.ask(flow(1), &concurrency(1, 10)));
        let second = waits(slots.ask(flow(1), &concurrency(1, 10)));
        let third = waits(slots.ask(flow(1), &concurrency(3, 10)));
        let both = (second.await, third.await);
        assert!(both.0.is_some() && both.1.is_some());
        // A lower one takes nothing away.
        let fourth = waits(slots.ask(flow(1), &concurrency(1, 10)));
        drop(both.0);
        assert_eq!(slots.load(), (2, 1));
        drop(both.1);
        drop(_first);
        assert!(fourth.await.is_some());
    }
}
