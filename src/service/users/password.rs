//! Setting a console password.

use serde_json::json;

use super::UserError;
use crate::{
    domain::{
        audit::Action,
        code::CodeHash,
        user::{Email, User},
    },
    secret_hash::{HashError, SecretHasher},
    service::Context,
};

const MIN_CHARS: usize = 12;
/// Argon2 takes more, but then a request could make us hash megabytes.
const MAX_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("the password has {0} characters; expected at least {MIN_CHARS}")]
    TooShort(usize),
    #[error("the password has {0} bytes; expected at most {MAX_BYTES}")]
    TooLong(usize),
}

/// Ends all sessions of the user but `keep`.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::Password`].
pub async fn set_password(
    context: &Context<'_>,
    email: &Email,
    password: String,
    keep: Option<&CodeHash>,
) -> Result<(), UserError> {
    let user = super::known(context.store, email).await?;
    let hash = hash(context, password).await?;
    let event = context.event(Action::UserPasswordSet, user.id, json!({}))?;
    let set = context.store.set_password(user.id, &hash, keep, &event).await?;
    if set { Ok(()) } else { Err(UserError::NotFound(email.clone())) }
}

/// Takes tens of milliseconds of CPU on purpose, so it runs where it holds nobody up.
pub(in crate::service) async fn hash(context: &Context<'_>, password: String) -> Result<Box<str>, UserError> {
    check(&password)?;
    let hasher = SecretHasher::for_passwords(context.tokens.pepper.clone())?;
    let hashed = tokio::task::spawn_blocking(move || hasher.hash_password(&password)).await;
    Ok(hashed.map_err(|error| HashError::Parameters(error.to_string()))??)
}

/// The user with that address and password. `None`: no such user, no or another password, or disabled; it takes the same
/// time whichever it is.
///
/// # Errors
/// The store's, and Argon2's: our trouble.
pub async fn sign_in(context: &Context<'_>, email: &Email, password: String) -> Result<Option<User>, UserError> {
    let user = context.store.user_by_email(email).await?;
    let user = user.filter(|user| user.disabled_at.is_none() && user.password_hash.is_some());
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let hasher = SecretHasher::for_passwords(context.tokens.pepper.clone())?;
    let verified = tokio::task::spawn_blocking(move || match stored {
        _ if password.len() > MAX_BYTES => Ok(false),
        Some(stored) => hasher.verify_password(&password, &stored),
        None => hasher.hash_password(&password).map(|_| false),
    });
    let verified = verified.await.map_err(|error| HashError::Parameters(error.to_string()))??;
    Ok(user.filter(|_| verified))
}

fn check(password: &str) -> Result<(), InvalidPassword> {
    match (password.chars().count(), password.len()) {
        (chars, _) if chars < MIN_CHARS => Err(InvalidPassword::TooShort(chars)),
        (_, bytes) if bytes > MAX_BYTES => Err(InvalidPassword::TooLong(bytes)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(check("twelve chars"), Ok(()));
        assert_eq!(check("ääääääääääää"), Ok(()));
        assert_eq!(check("eleven char"), Err(InvalidPassword::TooShort(11)));
        assert_eq!(check(&"a".repeat(1024)), Ok(()));
        assert_eq!(check(&"a".repeat(1025)), Err(InvalidPassword::TooLong(1025)));
    }
}
