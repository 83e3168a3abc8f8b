//! Argon2 costs CPU and memory on purpose, so it runs on threads where it holds up nobody else, and little of it at once.

use tokio::sync::Semaphore;

use super::Result;
use crate::secret_hash::HashError;

/// Passwords that are hashed at the same time, in this process: each takes tens of milliseconds and 19 MiB.
pub(super) static PASSWORDS: Semaphore = Semaphore::const_new(2);
/// Secrets of tokens, whose cost `tokens.argon2` says.
pub(super) static TOKENS: Semaphore = Semaphore::const_new(2);

/// The turn goes with the work: whoever asks and leaves does not make room for more of it.
pub(super) async fn in_turn<T: Send + 'static>(
    turns: &'static Semaphore,
    work: impl FnOnce() -> std::result::Result<T, HashError> + Send + 'static,
) -> Result<T> {
    let broken = |error: &dyn std::error::Error| HashError::Parameters(error.to_string());
    let turn = turns.acquire().await.map_err(|error| broken(&error))?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    Ok(done.await.map_err(|error| broken(&error))??)
}
