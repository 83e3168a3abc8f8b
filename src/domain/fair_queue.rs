//! Who is next of those that wait for one of a few slots, so that each of them gets the same share of their time.
//!
//! It is start-time fair queueing (Goyal, Vin and Cheng, 1996) of flows, each of which is served first come, first served.
//! What a flow has used is known when a request ends. So that one flow does not get all slots before that, it is charged
//! what requests take on average when it gets one, and the difference when that is known.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::Hash,
};

/// How many flows are kept until those are forgotten that neither wait nor run.
const MANY: usize = 1024;
/// What the first request is taken to need, microseconds.
const FIRST_GUESS: u64 = 100_000;
/// How many requests the average follows.
const MEMORY: u64 = 8;

/// Times are in microseconds.
pub struct FairQueue<F, W> {
    flows: HashMap<F, Flow<W>>,
    /// Of the flows with somebody who waits, that which has used least comes first; among equals, whose turn is longest ago.
    order: BTreeSet<(u64, u64, F)>,
    /// The same flows by how many of theirs wait.
    by_length: BTreeSet<(usize, F)>,
    /// What the flow had used that was served last. Who comes, or comes back, has used that much: neither is credit kept for
    /// the time in which nothing was asked for, nor does anybody owe what nobody else wanted.
    clock: u64,
    turn: u64,
    waiting: usize,
    /// What a request takes on average.
    average: u64,
}

struct Flow<W> {
    used: u64,
    /// When it was its turn last, or it came.
    turn: u64,
    waiting: VecDeque<(u64, W)>,
    running: usize,
}

/// What a flow was charged when it got a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge(u64);

impl<F: Copy + Eq + Hash + Ord, W> Default for FairQueue<F, W> {
    fn default() -> Self {
        let (flows, order, by_length) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { flows, order, by_length, clock: 0, turn: 0, waiting: 0, average: FIRST_GUESS }
    }
}

impl<F: Copy + Eq + Hash + Ord, W> FairQueue<F, W> {
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Gives the flow a slot that nobody waits for.
    pub fn serve(&mut self, flow: F) -> Charge {
        self.comes(flow);
        self.charge(flow)
    }

    /// `number` is by which [`FairQueue::leave`] finds the waiter.
    pub fn push(&mut self, flow: F, number: u64, waiter: W) {
        self.comes(flow);
        let Some(state) = self.flows.get_mut(&flow) else { return };
        state.waiting.push_back((number, waiter));
        self.waiting += 1;
        self.order.insert((state.used, state.turn, flow));
        self.has_more(flow);
    }

    /// Takes the place of somebody else for one of `flow`: of who came last of the flow that has most of them, if it has at
    /// least two more. So a full queue is full only for those who fill it. `None`: `flow` has its share.
    pub fn make_room(&mut self, flow: F) -> Option<W> {
        let own = self.flows.get(&flow).map_or(0, |state| state.waiting.len());
        let (length, longest) = *self.by_length.last()?;
        if length < own + 2 {
            return None;
        }
        let (_, waiter) = self.flows.get_mut(&longest)?.waiting.pop_back()?;
        self.waiting -= 1;
        self.has_fewer(longest);
        Some(waiter)
    }

    /// The next one gets a slot. `None`: nobody waits.
    pub fn pop(&mut self) -> Option<(F, Charge, W)> {
        let (_, _, flow) = self.order.pop_first()?;
        let (_, waiter) = self.flows.get_mut(&flow)?.waiting.pop_front()?;
        self.waiting -= 1;
        self.has_fewer(flow);
        Some((flow, self.charge(flow), waiter))
    }

    /// Somebody waits no more. `false`: they had got a slot before.
    pub fn leave(&mut self, flow: F, number: u64) -> bool {
        let Some(state) = self.flows.get_mut(&flow) else { return false };
        let Some(at) = state.waiting.iter().position(|(waiting, _)| *waiting == number) else { return false };
        state.waiting.remove(at);
        self.waiting -= 1;
        if state.waiting.is_empty() {
            self.order.remove(&(state.used, state.turn, flow));
        }
        self.has_fewer(flow);
        true
    }

    /// A slot is given back after `took`.
    pub fn release(&mut self, flow: F, Charge(charged): Charge, took: u64) {
        self.average = (self.average * (MEMORY - 1) + took) / MEMORY;
        let Some(state) = self.flows.get_mut(&flow) else { return };
        state.running -= 1;
        let waits = self.order.remove(&(state.used, state.turn, flow));
        state.used = (state.used + took).saturating_sub(charged);
        if waits {
            self.order.insert((state.used, state.turn, flow));
        }
        self.forget_idle();
    }

    /// One of the flow's waits no more.
    fn has_fewer(&mut self, flow: F) {
        let left = self.flows.get(&flow).map_or(0, |state| state.waiting.len());
        self.by_length.remove(&(left + 1, flow));
        if left > 0 {
            self.by_length.insert((left, flow));
        }
    }

    /// One more of the flow's waits.
    fn has_more(&mut self, flow: F) {
        let now = self.flows.get(&flow).map_or(0, |state| state.waiting.len());
        self.by_length.remove(&(now - 1, flow));
        self.by_length.insert((now, flow));
    }

    fn comes(&mut self, flow: F) {
        self.turn += 1;
        let (turn, clock) = (self.turn, self.clock);
        let new = || Flow { used: clock, turn, waiting: VecDeque::new(), running: 0 };
        let state = self.flows.entry(flow).or_insert_with(new);
        if state.waiting.is_empty() && state.running == 0 {
            (state.used, state.turn) = (state.used.max(clock), turn);
        }
    }

    fn charge(&mut self, flow: F) -> Charge {
        self.turn += 1;
        let charge = self.average;
        if let Some(state) = self.flows.get_mut(&flow) {
            self.clock = self.clock.max(state.used);
            self.order.remove(&(state.used, state.turn, flow));
            (state.used, state.turn) = (state.used + charge, self.turn);
            state.running += 1;
            if !state.waiting.is_empty() {
                self.order.insert((state.used, state.turn, flow));
            }
        }
        Charge(charge)
    }

    /// What they have used beyond the others is forgiven them: it is no more than their last requests.
    fn forget_idle(&mut self) {
        if self.flows.len() > MANY {
            self.flows.retain(|_, flow| flow.running > 0 || !flow.waiting.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// How much of the slots' time each flow got. `flows`: how many requests each keeps waiting, and how long each takes.
    fn shares(slots: usize, flows: &[(usize, u64)], until: u64) -> Vec<u64> {
        let mut queue = FairQueue::default();
        let mut running: BTreeMap<(u64, u64), (usize, Charge, u64)> = BTreeMap::new();
        let (mut now, mut number, mut got) = (0, 0, vec![0; flows.len()]);
        for (flow, (waiting, _)) in flows.iter().enumerate() {
            for _ in 0..*waiting {
                number += 1;
                queue.push(flow, number, ());
            }
        }
        while now < until {
            while running.len() < slots
                && let Some((flow, charge, ())) = queue.pop()
            {
                number += 1;
                running.insert((now + flows[flow].1, number), (flow, charge, now));
            }
            let Some(((end, _), (flow, charge, begun))) = running.pop_first() else { break };
            now = end;
            got[flow] += now - begun;
            queue.release(flow, charge, now - begun);
            number += 1;
            queue.push(flow, number, ());
        }
        got
    }

    /// Jain's index: 1 if all are equal.
    fn fairness(shares: &[u64]) -> f64 {
        let sum: f64 = shares.iter().map(|share| *share as f64).sum();
        let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
        sum * sum / (shares.len() as f64 * squares)
    }

    #[test]
    fn one_that_asks_for_much_gets_no_more_than_others() {
        for slots in [1, 2, 4, 8] {
            let mut flows = vec![(2, 50_000); 10];
            flows[0].0 = 500;
            let got = shares(slots, &flows, 60_000_000);
            assert!(fairness(&got) >= 0.99, "{slots}: {got:?}");
        }
    }

    #[test]
    fn one_whose_requests_take_long_gets_no_more_time_than_others() {
        let mut flows = vec![(10, 20_000); 10];
        flows[0].1 = 400_000;
        flows[1].1 = 2_000;
        for slots in [1, 4] {
            let got = shares(slots, &flows, 120_000_000);
            assert!(fairness(&got) >= 0.98, "{slots}: {got:?}");
        }
    }

    #[test]
    fn who_comes_late_has_neither_credit_nor_debt() {
        let mut queue = FairQueue::default();
        // One alone has used much, which nobody else wanted.
        for number in 0..100 {
            let charge = queue.serve("alone");
            queue.release("alone", charge, 1_000_000 + number);
        }
        for number in 0..10 {
            queue.push("alone", number, ());
            queue.push("late", 100 + number, ());
        }
        let mut order = Vec::new();
        while let Some((flow, charge, ())) = queue.pop() {
            order.push(flow);
            queue.release(flow, charge, 1_000_000);
        }
        let alone = order[..10].iter().filter(|flow| **flow == "alone").count();
        assert!((4..=6).contains(&alone), "{order:?}");
    }

    #[test]
    fn of_one_flow_who_came_first_is_first_and_who_left_is_passed_over() {
        let mut queue = FairQueue::default();
        (0..5).for_each(|number| queue.push("a", number, number));
        assert!(queue.leave("a", 2) && !queue.leave("a", 2) && !queue.leave("b", 0));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|(_, _, waiter)| waiter).collect();
        assert_eq!((order, queue.waiting()), (vec![0, 1, 3, 4], 0));
        queue.push("b", 9, 9);
        assert!(queue.leave("b", 9) && queue.pop().is_none());
    }

    #[test]
    fn a_full_queue_is_full_for_those_who_fill_it() {
        let mut queue = FairQueue::default();
        (0..10).for_each(|number| queue.push("many", number, number));
        for number in 100..105 {
            // Down to five each.
            assert_eq!(queue.make_room("few"), Some(9 - (number - 100)), "{number}");
            queue.push("few", number, number);
        }
        assert_eq!((queue.make_room("few"), queue.make_room("many"), queue.waiting()), (None, None, 10));
        assert_eq!(queue.make_room("third"), Some(4));
        assert!(queue.leave("few", 104) && queue.leave("few", 100));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|(_, _, waiter)| waiter).collect();
        assert_eq!(order.len(), 7);
        assert!(queue.by_length.is_empty() && queue.order.is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut queue: FairQueue<u64, ()> = FairQueue::default();
        for flow in 0..100_000 {
            let charge = queue.serve(flow);
            queue.release(flow, charge, 1_000);
        }
        assert!(queue.flows.len() <= MANY, "{}", queue.flows.len());
    }
}
