//! Whose requests have passed a Deployment that will refuse them once it is enforced.

use super::{timestamp::Timestamp, token::TokenUid};

/// Requests of one caller, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetThrough {
    /// Its name.
    pub deployment: String,
    /// Code of the refusal.
    pub reason: String,
    pub caller: StrangeCaller,
    pub requests: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StrangeCaller {
    /// Its token was proven, but has expired or lacks the scope.
    Token(TokenUid),
    /// An IPv4 address, or a /64 of IPv6, as text.
    Network(String),
    /// Those beyond as many as are told apart.
    Others,
}
