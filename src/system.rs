//! Time and chance: the only places that ask for them (`clippy.toml` bans the rest).

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::domain::{
    code::{CODE_BYTES, OneTimeCode},
    timestamp::Timestamp,
    token_text::{PREFIX, RANDOM_BYTES, SESSION_PREFIX, TokenText},
};

/// The operating system gave no randomness: nothing can be done without it.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoEntropy(String);

/// The wall clock. Before 1970 counts as 1970.
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// `N` bytes of the operating system's CSPRNG.
///
/// # Errors
/// [`NoEntropy`].
#[expect(clippy::disallowed_methods, reason = "the one reader of the operating system's randomness")]
pub fn random<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoEntropy(error.to_string()))?;
    Ok(bytes)
}

/// A new id, UUID version 7: sorts by `at`.
///
/// # Errors
/// [`NoEntropy`].
pub fn new_id(at: Timestamp) -> Result<Uuid, NoEntropy> {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random()?).into_uuid())
}

/// A new token's text.
///
/// # Errors
/// [`NoEntropy`].
pub fn new_token_text() -> Result<TokenText, NoEntropy> {
    new_text(PREFIX)
}

/// A new browser session's secret.
///
/// # Errors
/// [`NoEntropy`].
pub fn new_session_text() -> Result<TokenText, NoEntropy> {
    new_text(SESSION_PREFIX)
}

/// A new code of a link or a cookie.
///
/// # Errors
/// [`NoEntropy`].
pub fn new_code() -> Result<OneTimeCode, NoEntropy> {
    Ok(OneTimeCode::from_random(random::<CODE_BYTES>()?))
}

fn new_text(prefix: &str) -> Result<TokenText, NoEntropy> {
    let text = TokenText::from_random(prefix, &random::<RANDOM_BYTES>()?);
    text.ok_or_else(|| NoEntropy("they are not random".to_owned()))
}
