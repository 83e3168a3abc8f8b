//! How often tokens were used, and when last. Requests count in the entries of their tokens; at most once a second a token
//! is noted here; every few seconds all that is noted is written in one statement.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use super::{tokens::TokenIndex, verify::ProvenToken};
use crate::domain::{timestamp::Timestamp, token::TokenUid, token_text::LookupId, usage::TokenUse};

/// At most one small entry per secret that was used since the last flush.
#[derive(Default)]
pub struct Usage {
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    used: HashMap<LookupId, (TokenUid, Timestamp)>,
    /// Taken before, and not written.
    unwritten: HashMap<TokenUid, TokenUse>,
}

impl Usage {
    pub fn note(&self, token: &ProvenToken, now: Timestamp) {
        let second = now.as_millis() / 1000;
        let entry = token.entry();
        entry.uses.fetch_add(1, Relaxed);
        if entry.used_second.load(Relaxed) != second {
            entry.used_second.store(second, Relaxed);
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.used.insert(entry.lookup_id(), (entry.uid, now));
        }
    }

    /// Everything since the last time. A token with two secrets may come twice.
    pub fn take(&self, index: &TokenIndex) -> Vec<TokenUse> {
        let Pending { used, unwritten } =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let used = used.into_iter().map(|(lookup_id, (uid, at))| {
            // The entry of now: a change of the token has moved the count on.
            let requests = index.find(lookup_id).map_or(0, |entry| {
                // What is counted from now on is noted again, also within this second.
                entry.used_second.store(0, Relaxed);
                entry.uses.swap(0, Relaxed)
            });
            TokenUse { uid, at, requests: requests.into() }
        });
        unwritten.into_values().chain(used).collect()
    }

    /// Puts back what could not be written.
    pub fn put_back(&self, uses: Vec<TokenUse>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for used in uses {
            let known = pending.unwritten.entry(used.uid).or_insert(TokenUse { requests: 0, ..used });
            known.at = known.at.max(used.at);
            known.requests += used.requests;
        }
    }
}
