//! What strangers may ask for: how often, by network or account, and how much at once. Each thing has a bucket of its own,
//! so that nobody can use up what somebody else needs for another.

use std::hash::Hash;

use super::error::ApiError;
use crate::{
    domain::user::{Email, UserId},
    http::{lane::Lane, limit::Limit, network::Network},
};

/// A browser in which an account has signed in before, by the number in its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownBrowser(pub [u8; 16]);

pub struct Limits {
    /// New login codes: each is a row in the store.
    pub codes: Limit<Network>,
    /// The command line polls once a second; many people may share an address.
    pub polls: Limit<Network>,
    pub leaks: Limit<Network>,
    pub sign_ins: Limit<Network>,
    /// Leaving for the provider of single sign-on.
    pub sign_on_starts: Limit<Network>,
    /// Coming back from it.
    pub sign_on_returns: Limit<Network>,
    /// Links to set a password.
    pub links: Limit<Network>,
    /// Sign-ins to an account by browsers that it has never signed in with. Strangers can use it up.
    pub accounts: Limit<Email>,
    /// Sign-ins by browsers that the account has signed in with before: strangers have no part in it.
    pub known_browsers: Limit<KnownBrowser>,
    pub password_changes: Limit<UserId>,
    /// What strangers make the store do: signing in with a password or token,
    pub signing_in: Lane<Network>,
    /// setting a password by a link,
    pub accepting: Lane<Network>,
    /// `bentoml cloud login`,
    pub logins: Lane<Network>,
    /// and reports of leaked tokens.
    pub reporting: Lane<Network>,
    /// What strangers make the provider of single sign-on do, which may be slow.
    pub provider: Lane<Network>,
    /// Proving the audit trail, which reads all of it.
    pub verifying: Lane<()>,
    /// What known browsers make the store do before they are signed in.
    pub known: Lane<KnownBrowser>,
}

impl Limits {
    pub fn new() -> Self {
        Self {
            codes: Limit::per_minute(30, 30),
            polls: Limit::per_minute(1800, 60),
            leaks: Limit::per_minute(60, 30),
            sign_ins: Limit::per_minute(20, 20),
            sign_on_starts: Limit::per_minute(20, 20),
            sign_on_returns: Limit::per_minute(20, 20),
            links: Limit::per_minute(20, 20),
            accounts: Limit::per_minute(5, 10),
            known_browsers: Limit::per_minute(5, 10),
            password_changes: Limit::per_minute(5, 10),
            signing_in: Lane::new(16, 8),
            accepting: Lane::new(8, 4),
            logins: Lane::new(16, 8),
            reporting: Lane::new(8, 4),
            provider: Lane::new(16, 8),
            verifying: Lane::new(1, 1),
            known: Lane::new(8, 2),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Limit<K> {
    /// # Errors
    /// 429.
    pub fn allow(&self, key: K) -> Result<(), ApiError> {
        if self.allows(key) { Ok(()) } else { Err(ApiError::too_many()) }
    }
}
