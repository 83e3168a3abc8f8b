//! How many tokens there are, and how many will end soon: counted by going through the index, so not at every request.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::tokens::TokenIndex;
use crate::domain::{
    decision::{self, Holder},
    timestamp::Timestamp,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Periods within which tokens may end, with their names.
pub const PERIODS: [(&str, Duration); 3] =
    [("1d", DAY), ("7d", DAY.saturating_mul(7)), ("30d", DAY.saturating_mul(30))];

/// Counting may take this part of the time, as a divisor: with a million tokens it takes some tens of milliseconds.
const PART: u32 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Secrets that the index holds: of tokens in a rotation two, of browser sessions, and of what has ended.
    pub secrets: usize,
    /// Tokens that open something now.
    pub tokens: usize,
    /// Browser sessions that do.
    pub sessions: usize,
    /// Of those tokens, how many end within each of [`PERIODS`].
    pub expiring: [usize; PERIODS.len()],
}

/// The last census, which is good for a while.
#[derive(Debug, Default)]
pub struct LastCensus(Mutex<Option<Taken>>);

#[derive(Debug)]
struct Taken {
    census: Census,
    at: Instant,
    took: Duration,
}

impl LastCensus {
    /// One that was just taken, or a short time ago if taking one takes long.
    pub fn get(&self, tokens: &TokenIndex, now: Timestamp) -> Census {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Taken { census, at, took }) = &*last
            && at.elapsed() < *took * PART
        {
            return *census;
        }
        let started = Instant::now();
        let census = take(tokens, now);
        *last = Some(Taken { census, at: Instant::now(), took: started.elapsed() });
        census
    }
}

fn take(tokens: &TokenIndex, now: Timestamp) -> Census {
    let mut census = Census::default();
    tokens.for_each(|entry| {
        let holder = entry.holder();
        census.secrets += 1;
        if decision::alive(&holder, now).is_err() {
            return;
        }
        if entry.session().is_some() {
            census.sessions += 1;
        } else if holder.retires_at.is_none() {
            // The other secret of a token in rotation is not counted.
            census.tokens += 1;
            for (expiring, (_, period)) in census.expiring.iter_mut().zip(PERIODS) {
                *expiring += usize::from(ends_within(&holder, now, period));
            }
        }
    });
    census
}

fn ends_within(holder: &Holder<'_>, now: Timestamp, period: Duration) -> bool {
    holder.expires_at.is_some_and(|end| end.since(now) <= period)
}
