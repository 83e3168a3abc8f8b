//! How long a connection may stay as it is.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::Times;

/// From a complete header until the answer is written: beyond what the router itself allows for the request.
const SERVING: Duration = Duration::from_secs(60);

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
}

#[derive(Clone, Copy, PartialEq, Eq)]
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

    /// Bytes have come.
    pub fn received(&self) {
        self.change(|standing| {
            (standing.phase == Phase::Idle).then(|| Standing::new(Phase::Header, self.times.header))
        });
    }

    /// The header is complete.
    pub fn begun(&self) {
        self.change(|_| Some(Standing::new(Phase::Body, SERVING)));
    }

    /// All of the request has come, or nobody wants more of it.
    pub fn received_all(&self) {
        self.change(|standing| {
            (standing.phase == Phase::Body).then_some(Standing { phase: Phase::Serving, ..*standing })
        });
    }

    /// The last of the answer was handed on.
    pub fn answered(&self) {
        self.change(|standing| Some(Standing { phase: Phase::Leaving, ..*standing }));
    }

    /// The socket has taken all that it was given.
    pub fn flushed(&self) {
        self.change(|standing| {
            (standing.phase == Phase::Leaving).then(|| Standing::new(Phase::Idle, self.times.keep_alive))
        });
    }

    /// Ends the connection, unless a request is being answered.
    pub fn give_up(&self) {
        self.change(|standing| {
            standing.phase.waits_for_caller().then(|| Standing { until: Instant::now(), ..*standing })
        });
    }

    /// Since when the caller has kept the gateway waiting. `None`: it does not.
    pub fn waiting_since(&self) -> Option<Instant> {
        let standing = self.standing.borrow();
        standing.phase.waits_for_caller().then_some(standing.since)
    }

    /// Whether no request has begun.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.standing.borrow().phase, Phase::Idle | Phase::Header)
    }

    /// Returns when the time is over.
    pub async fn is_over(&self) {
        let mut changes = self.standing.subscribe();
        loop {
            let until = changes.borrow_and_update().until;
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                // The sender is `self`.
                _ = changes.changed() => {}
            }
        }
    }

    fn change(&self, new: impl FnOnce(&Standing) -> Option<Standing>) {
        self.standing.send_if_modified(|standing| match new(standing) {
            Some(new) => {
                *standing = new;
                true
            }
            None => false,
        });
    }
}

impl Phase {
    fn waits_for_caller(self) -> bool {
        matches!(self, Self::Idle | Self::Header | Self::Body)
    }
}

impl Standing {
    fn new(phase: Phase, time: Duration) -> Self {
        let since = Instant::now();
        Self { phase, since, until: since + time }
    }
}
