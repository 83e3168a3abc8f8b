//! Setting a console password, and signing in with it.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        code::CodeHash,
        password::{MAX_PASSWORD_BYTES, check},
        user::{Email, User},
    },
    secret_hash::SecretHasher,
    service::{
        Context, Error, Result,
        hashing::{self, in_turn},
    },
    store::Committed,
};

/// Sets the password and ends all sessions of the user except `keep`, and links by which somebody
/// could set another one.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::NoPasswords`], [`Error::Password`].
pub async fn set_password(
    context: &Context<'_>,
    email: &Email,
    password: String,
    keep: Option<&CodeHash>,
) -> Result<Committed> {
    may_have_password(context, &super::find(context.store, email).await?)?;
    let hash = hash(context, password).await?;
    let mut change = context.urgent_change().await?;
    let mut user = super::current(&mut change, email).await?;
    may_have_password(context, &user)?;
    user.password_hash = Some(hash.into_string());
    let event = context.event(Action::UserPasswordSet, user.id, json!({}))?;
    change.update_user(&user).await?;
    change.end_sessions(user.id, keep, context.now).await?;
    change.end_invitations(user.id).await?;
    Ok(change.commit(&event).await?)
}

/// # Errors
/// [`Error::NoPasswords`]: the provider alone says whether they may sign in.
pub fn may_have_password(context: &Context<'_>, user: &User) -> Result<()> {
    if user.may_have_password(context.sign_on) { Ok(()) } else { Err(Error::NoPasswords(user.email.clone())) }
}

pub(in crate::service) async fn hash(context: &Context<'_>, password: String) -> Result<Box<str>> {
    check(&password)?;
    let hasher = SecretHasher::for_passwords(context.tokens.pepper.clone())?;
    in_turn(&hashing::PASSWORDS, move || hasher.hash_password(&password)).await
}

/// The user with that address and password. `None`: no such user, no password, another password, or disabled. The answer
/// takes the same time in each case, so that nobody can find out who has an account.
///
/// # Errors
/// [`Error::NoPasswords`], which only who knows the password is told; otherwise the store's and Argon2's.
pub async fn sign_in(context: &Context<'_>, email: &Email, password: String) -> Result<Option<User>> {
    let user = context.store.user_by_email(email).await?;
    let user = user.filter(|user| user.disabled_at.is_none() && user.password_hash.is_some());
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let hasher = SecretHasher::for_passwords(context.tokens.pepper.clone())?;
    let verified = in_turn(&hashing::PASSWORDS, move || match stored {
        _ if password.len() > MAX_PASSWORD_BYTES => Ok(false),
        Some(stored) => hasher.verify_password(&password, &stored),
        None => hasher.hash_password(&password).map(|_| false),
    });
    let verified = verified.await?;
    let user = user.filter(|_| verified);
    if let Some(user) = &user {
        may_have_password(context, user)?;
    }
    Ok(user)
}
