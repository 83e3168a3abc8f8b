//! Rate limits, by address or account, of what needs no token.

use std::{hash::Hash, net::IpAddr, num::NonZeroU32};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use super::error::ApiError;
use crate::domain::user::Email;

/// How many keys are kept before idle ones are dropped.
const MAX_KEYS: usize = 4096;

pub struct Limits {
    /// New login codes: each is a row in the store.
    pub codes: Limit<IpAddr>,
    /// The command line polls once a second; many people may share an address.
    pub polls: Limit<IpAddr>,
    pub leaks: Limit<IpAddr>,
    pub sign_ins: Limit<IpAddr>,
    pub accounts: Limit<Email>,
    /// Password checks at the same time: each takes tens of milliseconds and 19 MiB.
    pub passwords: Semaphore,
}

pub struct Limit<K: Clone + Eq + Hash>(DefaultKeyedRateLimiter<K>);

impl Limits {
    pub fn new() -> Self {
        Self {
            codes: Limit::per_minute(30, 30),
            polls: Limit::per_minute(1800, 60),
            leaks: Limit::per_minute(60, 30),
            sign_ins: Limit::per_minute(20, 20),
            accounts: Limit::per_minute(5, 10),
            passwords: Semaphore::new(2),
        }
    }
}

impl<K: Clone + Eq + Hash> Limit<K> {
    /// `burst` at once, then `rate` a minute.
    fn per_minute(rate: u32, burst: u32) -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::keyed(Quota::per_minute(positive(rate)).allow_burst(positive(burst))))
    }

    /// # Errors
    /// 429.
    pub fn allow(&self, key: K) -> Result<(), ApiError> {
        if self.0.len() > MAX_KEYS {
            self.0.retain_recent();
        }
        self.0.check_key(&key).map_err(|_| ApiError::too_many())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_does_not_use_up_anothers_share() {
        let limit: Limit<u8> = Limit::per_minute(1, 3);
        assert!((0..3).all(|_| limit.allow(1).is_ok()));
        assert!(limit.allow(1).is_err());
        assert!(limit.allow(2).is_ok());
    }
}
