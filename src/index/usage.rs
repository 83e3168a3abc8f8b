//! How often tokens were used, and when last. Requests count in the entries of their tokens; at most once a second a token
//! is noted here; every few seconds all that is noted is written in one statement.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
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
        let entry = token.entry();
        if entry.count_use(now.as_millis() / 1000) {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.used.insert(token.lookup_id(), (entry.uid, now));
        }
    }

    /// Everything since the last time. A token with two secrets may come twice.
    pub fn take(&self, index: &TokenIndex) -> Vec<TokenUse> {
        let Pending { used, unwritten } =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let used = used.into_iter().map(|(lookup_id, (uid, at))| {
            let requests = index.find(lookup_id).map_or(0, |entry| entry.take_uses());
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
