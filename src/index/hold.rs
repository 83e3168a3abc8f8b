//! Requests that wait, in the order in which they came, until the service of their Deployment takes connections again.
//!
//! Nobody goes before those that wait. One task finds out for all of them when the service is there (`app/await_starts.rs`);
//! then a few go at first, and more with each answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::wake_hook::WakeHook;

/// Who waits for the service of one Deployment. It goes on when the Deployment is changed.
#[derive(Default)]
pub struct Hold {
    /// Whether whoever comes has to wait: what requests look at first.
    shut: AtomicBool,
    state: Mutex<State>,
    /// Somebody waits, or has found nobody there.
    noted: Notify,
    /// What has the service started.
    pub hook: WakeHook,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// By number, which is the order.
    waiting: BTreeMap<u64, Waiter>,
    /// Those that were let go, and have no answer yet.
    let_go: BTreeSet<u64>,
    next_number: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Everybody goes.
    #[default]
    Open,
    /// Nobody does.
    Shut,
    /// So many may be without an answer at once.
    Opening(usize),
}

#[derive(Default)]
struct Waiter {
    waker: Option<Waker>,
    looks_again: bool,
}

/// A place in the line; then the right to be at the service before it has proven that it answers. Given up when it is dropped,
/// whatever becomes of the request.
pub struct Place {
    hold: Arc<Hold>,
    number: u64,
    since: Instant,
    answered: bool,
}

pub enum Asked {
    /// The request goes to the service. `None`: it need not have waited.
    Goes(Option<Place>),
    Waits(Place),
}

/// As many wait as may.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl Hold {
    /// Whether a request may go to the service. `place`: what it has of an earlier call. `unready`: it is known that the service is
    /// not ready. `most`: how many may wait.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask(self: &Arc<Self>, place: Option<Place>, unready: bool, most: u32) -> Result<Asked, Full> {
        let place = self.own(place);
        if unready {
            return match place {
                Some(place) if self.state().waiting.contains_key(&place.number) => Ok(Asked::Waits(place)),
                place => self.found_nobody(place, most).map(Asked::Waits),
            };
        }
        if place.is_none() && !self.shut.load(Acquire) {
            return Ok(Asked::Goes(None));
        }
        let mut state = self.state();
        match place {
            Some(place) if state.waiting.contains_key(&place.number) => Ok(Asked::Waits(place)),
            Some(place) => Ok(Asked::Goes(Some(place))),
            None if state.phase == Phase::Open => Ok(Asked::Goes(None)),
            None => self.join(&mut state, most).map(Asked::Waits),
        }
    }

    /// A request has found nobody at the service: from here on everybody waits. It gets back the place that it had, or one at the
    /// end of the line.
    ///
    /// # Errors
    /// [`Full`].
    pub fn found_nobody(self: &Arc<Self>, place: Option<Place>, most: u32) -> Result<Place, Full> {
        let place = self.own(place);
        let mut state = self.state();
        self.enter(&mut state, Phase::Shut);
        let Some(place) = place else { return self.join(&mut state, most) };
        state.let_go.remove(&place.number);
        state.waiting.entry(place.number).or_default();
        self.noted.notify_one();
        Ok(place)
    }

    /// One of another Deployment's line, which had the name before, is given up.
    fn own(self: &Arc<Self>, place: Option<Place>) -> Option<Place> {
        place.filter(|place| Arc::ptr_eq(&place.hold, self))
    }

    fn join(self: &Arc<Self>, state: &mut State, most: u32) -> Result<Place, Full> {
        if state.waiting.len() >= most as usize {
            return Err(Full);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.insert(number, Waiter::default());
        self.noted.notify_one();
        Ok(Place { hold: Arc::clone(self), number, since: Instant::now(), answered: false })
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Has everybody who waits decided about anew, since the Deployment was changed. They keep their places.
    pub fn look_again(&self) {
        let mut state = self.state();
        let wakers = state.waiting.values_mut().filter_map(|waiter| {
            waiter.looks_again = true;
            waiter.waker.take()
        });
        let wakers: Vec<Waker> = wakers.collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        self.shut.store(phase != Phase::Open, Release);
    }

    /// Lets as many go as may. Those that have to be woken are.
    fn let_go(&self, mut state: MutexGuard<'_, State>) {
        let Phase::Opening(most) = state.phase else { return };
        let mut wakers = Vec::new();
        while state.let_go.len() < most
            && let Some((number, waiter)) = state.waiting.pop_first()
        {
            state.let_go.insert(number);
            wakers.extend(waiter.waker);
        }
        if state.waiting.is_empty() {
            self.enter(&mut state, Phase::Open);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn leave(&self, number: u64, answered: bool) {
        if answered {
            self.hook.outage_is_over();
        }
        let mut state = self.state();
        let waiter = state.waiting.remove(&number);
        state.let_go.remove(&number);
        if let Phase::Opening(most) = &mut state.phase
            && answered
        {
            *most = most.saturating_add(1);
        }
        self.let_go(state);
        // A waker is code of somebody else's.
        drop(waiter);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the one task does that watches the service.
impl Hold {
    /// Returns when requests wait for a service that is not there.
    pub async fn awaited(&self) {
        while !self.is_awaited() {
            self.noted().await;
        }
    }

    pub fn is_awaited(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Shut && !state.waiting.is_empty()
    }

    /// Returns when a request has come, or has found nobody, since this was called last.
    pub async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Whether requests that waited go a few at a time.
    pub fn is_opening(&self) -> bool {
        matches!(self.state().phase, Phase::Opening(_))
    }

    /// The service is there: so many may go at first.
    pub fn open(&self, at_once: usize) {
        let mut state = self.state();
        if state.phase == Phase::Shut {
            self.enter(&mut state, Phase::Opening(at_once));
            self.let_go(state);
        }
    }

    /// Lets twice as many be without an answer as before.
    pub fn widen(&self) {
        let mut state = self.state();
        if let Phase::Opening(most) = &mut state.phase {
            *most = most.saturating_mul(2);
            self.let_go(state);
        }
    }

    /// All may go.
    pub fn open_wide(&self) {
        let mut state = self.state();
        if let Phase::Opening(most) = &mut state.phase {
            *most = usize::MAX;
            self.let_go(state);
        }
    }
}

impl Place {
    /// Returns when it is its turn, or it has to ask again for another reason.
    pub fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.hold.state();
        let Some(waiter) = state.waiting.get_mut(&self.number) else { return Poll::Ready(()) };
        if std::mem::take(&mut waiter.looks_again) {
            return Poll::Ready(());
        }
        let earlier = waiter.waker.replace(cx.waker().clone());
        drop(state);
        drop(earlier);
        Poll::Pending
    }

    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// The service has answered the request.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hold.leave(self.number, self.answered);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Hold({:?}, {} waiting)", state.phase, state.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(asked: Result<Asked, Full>) -> Place {
        let Ok(Asked::Waits(place)) = asked else { panic!("it does not wait") };
        place
    }

    fn is_free(hold: &Arc<Hold>) -> bool {
        matches!(hold.ask(None, false, 10), Ok(Asked::Goes(None)))
    }

    /// The numbers of those whose turn it is.
    fn turns(places: &[Place]) -> Vec<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        let turn = |at: &usize| places[*at].poll_turn(&mut cx).is_ready();
        (0..places.len()).filter(turn).collect()
    }

    /// A line of so many, whose service is not there.
    fn line(count: usize) -> (Arc<Hold>, Vec<Place>) {
        let hold = Arc::<Hold>::default();
        assert!(is_free(&hold));
        let mut places = vec![hold.found_nobody(None, 10).unwrap()];
        places.extend((1..count).map(|_| waits(hold.ask(None, false, 10))));
        (hold, places)
    }

    #[test]
    fn nobody_goes_before_those_that_wait_and_each_answer_lets_two_go() {
        let (hold, mut places) = line(10);
        assert!(matches!(hold.ask(None, false, 10), Err(Full)));
        assert_eq!((turns(&places), hold.waiting()), (vec![], 10));
        hold.open(1);
        for let_go in [1, 2, 4] {
            assert_eq!(turns(&places), (0..let_go).collect::<Vec<_>>());
            assert!(hold.is_opening() && !is_free(&hold));
            places.drain(..let_go).for_each(Place::answered);
        }
        // The rest is less than may go.
        assert_eq!(turns(&places), [0, 1, 2]);
        assert!(is_free(&hold) && hold.waiting() == 0);
    }

    #[test]
    fn who_leaves_makes_room_and_lets_no_more_go() {
        let (hold, mut places) = line(6);
        drop(places.remove(2));
        assert_eq!(hold.waiting(), 5);
        hold.open(1);
        // Without an answer of the service.
        drop(places.remove(0));
        assert_eq!((turns(&places), hold.waiting()), (vec![0], 3));
        hold.widen();
        assert_eq!(turns(&places), [0, 1]);
        drop(places);
        assert!(is_free(&hold));
        let state = hold.state();
        assert!(state.waiting.is_empty() && state.let_go.is_empty());
    }

    #[test]
    fn who_finds_nobody_after_all_is_the_first_again() {
        let (hold, mut places) = line(3);
        hold.open(1);
        let first = places.remove(0);
        let first = hold.found_nobody(Some(first), 1).unwrap();
        places.insert(0, first);
        assert_eq!((turns(&places), hold.waiting(), hold.is_awaited()), (vec![], 3, true));
        hold.open(1);
        assert_eq!(turns(&places), [0]);
        let Ok(Asked::Goes(Some(first))) = hold.ask(Some(places.remove(0)), false, 1) else { panic!("it waits") };
        // Somebody has learned that it is not ready.
        let first = waits(hold.ask(Some(first), true, 1));
        assert_eq!((turns(&[first]), hold.is_awaited()), (vec![], true));
    }

    #[test]
    fn what_was_changed_is_looked_at_once_and_the_place_is_kept() {
        let (hold, mut places) = line(2);
        hold.look_again();
        assert_eq!((turns(&places), turns(&places)), (vec![0, 1], vec![]));
        let first = waits(hold.ask(Some(places.remove(0)), false, 1));
        // One of another line is given up.
        let other = Arc::<Hold>::default();
        assert!(matches!(other.ask(Some(first), false, 1), Ok(Asked::Goes(None))));
        assert_eq!(hold.waiting(), 1);
    }
}
