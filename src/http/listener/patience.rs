//! How long a connection may stay as it is.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::Times;

/// From a complete header until the answer is written: beyond what the router itself allows for the request.
const SERVING: Duration = Duration::from_secs(60);
/// How long an answer may be on its way before its caller counts as one that keeps the gateway waiting.
const LEAVING: Duration = Duration::from_millis(100);

/// What a connection waits for, and until when.
pub struct Patience {
    times: Times,
    standing: watch::Sender<Standing>,
}

#[derive(Clone, Copy)]
struct Standing {
    phase: Phase,
    since: Instant,
    until: Instant,
    /// Since when an answer is on its way, which the caller does not take. A further request, which it may have sent with
    /// the one before, changes nothing in that. `None`: all has left.
    unsent_since: Option<Instant>,
}

/// A connection that waits for its caller. In the order in which connections are given up: first those on which nothing is
/// lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Whether an answer is on its way that the caller does not take.
    unsent: bool,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The last request is answered, and no byte of a next one has come.
    Idle,
    /// The header is not complete.
    Header,
    /// The header is, and not all of the body has come.
    Body,
    /// A request is being answered.
    Serving,
    /// All of the answer was handed on, and not all of it has left.
    Leaving,
}

impl Patience {
    /// A connection that was just accepted: its first header is awaited, TLS handshake included.
    pub fn new(times: Times) -> Self {
        let standing = Standing::new(Phase::Header, times.header);
        Self { times, standing: watch::Sender::new(standing) }
    }

    /// Bytes have come. Whether a further request begins with them.
    pub fn received(&self) -> bool {
        self.change(|standing| (standing.phase == Phase::Idle).then(|| Standing::new(Phase::Header, self.times.header)))
    }

    /// The header is complete.
    pub fn begun(&self) {
        self.change(|standing| {
            Some(Standing { unsent_since: standing.unsent_since, ..Standing::new(Phase::Body, SERVING) })
        });
    }

    /// All of the request has come, or nobody wants more of it.
    pub fn received_all(&self) {
        self.change(|standing| {
            (standing.phase == Phase::Body).then_some(Standing { phase: Phase::Serving, ..*standing })
        });
    }

    /// The last of the answer was handed on.
    pub fn answered(&self) {
        self.change(|standing| {
            let unsent_since = standing.unsent_since.or_else(|| Some(Instant::now()));
            Some(Standing { phase: Phase::Leaving, unsent_since, ..*standing })
        });
    }

    /// The socket has taken all that it was given.
    pub fn flushed(&self) {
        self.change(|standing| match standing.phase {
            Phase::Leaving => Some(Standing::new(Phase::Idle, self.times.keep_alive)),
            _ => standing.unsent_since.map(|_| Standing { unsent_since: None, ..*standing }),
        });
    }

    /// Ends the connection, unless a request is being answered.
    pub fn give_up(&self) {
        self.change(|standing| standing.waiting().map(|_| Standing { until: Instant::now(), ..*standing }));
    }

    /// How the caller keeps the gateway waiting. `None`: it does not.
    pub fn waiting(&self) -> Option<Waiting> {
        self.standing.borrow().waiting()
    }

    /// Whether no request has begun.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.standing.borrow().phase, Phase::Idle | Phase::Header)
    }

    /// Returns when the time is over.
    pub async fn is_over(&self) {
        let mut changes = self.standing.subscribe();
        loop {
            let until = changes.borrow_and_update().until();
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                // The sender is `self`.
                _ = changes.changed() => {}
            }
        }
    }

    /// Whether there was something to change.
    fn change(&self, new: impl FnOnce(&Standing) -> Option<Standing>) -> bool {
        self.standing.send_if_modified(|standing| match new(standing) {
            Some(new) => {
                *standing = new;
                true
            }
            None => false,
        })
    }
}

impl Standing {
    fn new(phase: Phase, time: Duration) -> Self {
        let since = Instant::now();
        Self { phase, since, until: since + time, unsent_since: None }
    }

    /// Also with requests that come faster than their answers are taken.
    fn until(&self) -> Instant {
        self.unsent_since.map_or(self.until, |since| self.until.min(since + SERVING))
    }

    fn waiting(&self) -> Option<Waiting> {
        match self.unsent_since {
            Some(since) => (since.elapsed() >= LEAVING).then_some(Waiting { unsent: true, since }),
            None => {
                let silent = matches!(self.phase, Phase::Idle | Phase::Header | Phase::Body);
                silent.then_some(Waiting { unsent: false, since: self.since })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_its_caller_does_not_take_counts_as_waiting_whatever_else_it_asks() {
        let long = Duration::from_secs(3600);
        let patience = Patience::new(Times { header: long, keep_alive: long });
        let serve = || {
            patience.begun();
            patience.received_all();
        };
        serve();
        assert_eq!(patience.waiting(), None);
        patience.answered();
        let since = patience.standing.borrow().unsent_since.unwrap();
        tokio::time::sleep(LEAVING).await;
        let unsent = Some(Waiting { unsent: true, since });
        assert_eq!(patience.waiting(), unsent);
        // Requests that have come with that one.
        serve();
        assert_eq!(patience.waiting(), unsent);
        patience.answered();
        assert_eq!(patience.waiting(), unsent);
        assert!(patience.standing.borrow().until() <= since + SERVING, "each request gives it more time");
        patience.flushed();
        assert!(patience.waiting().is_some_and(|waiting| !waiting.unsent));
        serve();
        assert_eq!(patience.waiting(), None);
    }
}
