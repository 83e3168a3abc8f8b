//! When tokens were last used: noted at most once a second per token, written every few seconds in one statement.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use super::verify::ProvenToken;
use crate::domain::{timestamp::Timestamp, token::TokenUid};

/// At most one small entry per token that was used since the last flush.
#[derive(Default)]
pub struct Usage {
    pending: Mutex<HashMap<TokenUid, Timestamp>>,
}

impl Usage {
    pub fn note(&self, token: &ProvenToken, now: Timestamp) {
        let second = now.as_millis() / 1000;
        let entry = token.entry();
        if entry.used_second.load(Relaxed) != second {
            entry.used_second.store(second, Relaxed);
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.uid, now);
        }
    }

    pub fn take(&self) -> Vec<(TokenUid, Timestamp)> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// Puts back what could not be written, unless something newer has come.
    pub fn put_back(&self, uses: Vec<(TokenUid, Timestamp)>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (uid, at) in uses {
            let known = pending.entry(uid).or_insert(at);
            *known = (*known).max(at);
        }
    }
}
