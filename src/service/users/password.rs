//! Setting a console password.

use serde_json::json;

use super::UserError;
use crate::{
    domain::{audit::Action, user::Email},
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

/// # Errors
/// [`UserError::NotFound`], [`UserError::Password`].
pub async fn set_password(context: &Context<'_>, email: &Email, password: String) -> Result<(), UserError> {
    let user = super::known(context.store, email).await?;
    let hash = hash(context, password).await?;
    let event = context.event(Action::UserPasswordSet, user.id, json!({}))?;
    let set = context.store.set_password(user.id, &hash, &event).await?;
    if set { Ok(()) } else { Err(UserError::NotFound(email.clone())) }
}

/// Takes tens of milliseconds of CPU on purpose, so it runs where it holds nobody up.
pub(super) async fn hash(context: &Context<'_>, password: String) -> Result<Box<str>, UserError> {
    check(&password)?;
    let hasher = SecretHasher::for_passwords(context.tokens.pepper.clone())?;
    let hashed = tokio::task::spawn_blocking(move || hasher.hash_password(&password)).await;
    Ok(hashed.map_err(|error| HashError::Parameters(error.to_string()))??)
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
