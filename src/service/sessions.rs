//! Who is signed in to the console.

use std::time::Duration;

use serde_json::json;

use super::Context;
use crate::{
    domain::{
        audit::{Action, Actor},
        code::OneTimeCode,
        session::ConsoleSession,
        user::{User, UserId},
    },
    service::users::UserError,
    store::StoreError,
    system,
};

/// Longest of what a browser calls itself that is kept, characters.
const MAX_CLIENT_CHARS: usize = 200;

/// A new session, with an id of its own: whatever the browser had before is good for nothing. What is returned goes into
/// the cookie.
///
/// # Errors
/// The store's.
pub async fn begin(
    context: &Context<'_>,
    user: &User,
    address: String,
    client: &str,
    lifetime: Duration,
    method: &'static str,
) -> Result<OneTimeCode, UserError> {
    let code = system::new_code()?;
    let client = client.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_CHARS).collect();
    let detail = json!({ "address": address, "method": method });
    let session = ConsoleSession {
        id_hash: code.hash(),
        user: user.id,
        created_at: context.now,
        expires_at: context.now.saturating_add(lifetime),
        address,
        client,
    };
    let context = Context { actor: Actor::User(user.id), ..*context };
    let event = context.event(Action::SignedIn, user.id, detail)?;
    context.store.insert_session(&session, &event).await?;
    Ok(code)
}

/// The session of a cookie and its user. `None`: there is none, it is over, or the user is disabled.
///
/// # Errors
/// The store's.
pub async fn find(context: &Context<'_>, code: &OneTimeCode) -> Result<Option<(ConsoleSession, User)>, StoreError> {
    context.store.session(&code.hash(), context.now).await
}

/// # Errors
/// The store's.
pub async fn end(context: &Context<'_>, session: &ConsoleSession) -> Result<(), UserError> {
    let event = context.event(Action::SignedOut, session.user, json!({}))?;
    context.store.end_session(&session.id_hash, &event).await?;
    Ok(())
}

/// Every session of the user, at the console and at Deployments, but `keep`.
///
/// # Errors
/// The store's.
pub async fn end_all(context: &Context<'_>, user: UserId, keep: Option<&ConsoleSession>) -> Result<(), UserError> {
    let event = context.event(Action::SessionsEnded, user, json!({}))?;
    Ok(context.store.end_sessions(user, keep.map(|session| &session.id_hash), &event).await?)
}
