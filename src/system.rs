//! Time and chance: the only place that asks the operating system for them (`clippy.toml` bans the rest).
//!
//! [`System`] is handed down from `cli` and `app`, so that a test can hand down a clock and randomness of its own and
//! compare whole answers. No setting and no variable can replace [`Os`] in a running gateway.

pub mod clock;

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::domain::{
    code::{NONCE_BYTES, Nonce},
    timestamp::Timestamp,
    token_text::{PREFIX, RANDOM_BYTES, SESSION_PREFIX, TokenText},
};

/// The operating system gave no randomness: nothing can be done without it.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoEntropy(String);

/// A clock, and a source of random bytes.
pub trait System: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with bytes that nobody can guess.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;

    /// A new id, UUID version 7: sorts by `at`.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn new_id(&self, at: Timestamp) -> Result<Uuid, NoEntropy> {
        let mut random = [0; 10];
        self.fill(&mut random)?;
        let millis = u64::try_from(at.as_millis()).unwrap_or(0);
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// A new token's text.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn new_token_text(&self) -> Result<TokenText, NoEntropy> {
        new_text(self, PREFIX)
    }

    /// A new browser session's secret.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn new_session_text(&self) -> Result<TokenText, NoEntropy> {
        new_text(self, SESSION_PREFIX)
    }

    /// What a browser keeps in a cookie, to be known again.
    ///
    /// # Errors
    /// [`NoEntropy`].
    fn new_nonce(&self) -> Result<Nonce, NoEntropy> {
        let mut random = [0; NONCE_BYTES];
        self.fill(&mut random)?;
        Ok(Nonce::from_random(random))
    }
}

/// The operating system's clock and CSPRNG.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl System for Os {
    /// The wall clock. Before 1970 counts as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "the one reader of the operating system's randomness")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(bytes).map_err(|error| NoEntropy(error.to_string()))
    }
}

// === the operating system's, for what no test needs to fix ===

pub fn now() -> Timestamp {
    Os.now()
}

/// # Errors
/// [`NoEntropy`].
pub fn random<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    Os.fill(&mut bytes)?;
    Ok(bytes)
}

/// # Errors
/// [`NoEntropy`].
pub fn new_id(at: Timestamp) -> Result<Uuid, NoEntropy> {
    Os.new_id(at)
}

/// # Errors
/// [`NoEntropy`].
pub fn new_token_text() -> Result<TokenText, NoEntropy> {
    Os.new_token_text()
}

/// # Errors
/// [`NoEntropy`].
pub fn new_nonce() -> Result<Nonce, NoEntropy> {
    Os.new_nonce()
}

fn new_text(system: &(impl System + ?Sized), prefix: &str) -> Result<TokenText, NoEntropy> {
    let mut random = [0; RANDOM_BYTES];
    system.fill(&mut random)?;
    TokenText::from_random(prefix, &random).ok_or_else(|| NoEntropy("they are not random".to_owned()))
}
