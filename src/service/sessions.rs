//! Sessions at the console.

use std::time::Duration;

use serde_json::json;

use super::{Context, Error, Result};
use crate::{
    domain::{
        audit::{Action, Actor},
        code::{OneTimeCode, Purpose},
        session::ConsoleSession,
        timestamp::Timestamp,
        user::{User, UserId},
    },
    store::Committed,
};

/// How much of the browser's `User-Agent` is kept, characters.
const MAX_CLIENT_CHARS: usize = 200;

/// A session that has just begun.
pub struct NewSession {
    /// For the cookie.
    pub code: OneTimeCode,
    /// Goes with the code, whose tag covers it.
    pub until: Timestamp,
}

/// Begins a session, and ends the `earlier` one of the browser. It always has a new id, so that an id which somebody planted
/// in the browser before is worthless. `method` is how the user signed in, for the audit trail.
///
/// # Errors
/// [`Error::AccountDisabled`], [`Error::AccountChanged`] if `user` is not as it was when they showed who they are.
pub async fn begin(
    context: &Context<'_>,
    user: &User,
    earlier: Option<&ConsoleSession>,
    address: String,
    client: &str,
    lifetime: Duration,
    method: &'static str,
) -> Result<NewSession> {
    let until = context.now.saturating_add(lifetime);
    let code = context.new_code(Purpose::ConsoleSession { until })?;
    let client = client.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_CHARS).collect();
    let detail = json!({ "address": address, "method": method });
    let session = ConsoleSession {
        id_hash: code.hash(),
        user: user.id,
        created_at: context.now,
        expires_at: until,
        address,
        client,
    };
    let mut change = context.change().await?;
    let now = change.user(user.id).await?.filter(|now| now.disabled_at.is_none()).ok_or(Error::AccountDisabled)?;
    if now.password_hash != user.password_hash {
        return Err(Error::AccountChanged);
    }
    if let Some(earlier) = earlier
        && change.end_session(&earlier.id_hash).await?
    {
        change.record(&context.event(Action::SignedOut, earlier.user, json!({}))?).await?;
    }
    let context = Context { actor: Actor::User(user.id), ..*context };
    let event = context.event(Action::SignedIn, user.id, detail)?;
    change.insert_session(&session).await?;
    // Each page asks the store for its session, so no replica needs to learn of it.
    change.commit(&event).await?.unsettled();
    Ok(NewSession { code, until })
}

/// # Errors
/// The store's.
pub async fn end(context: &Context<'_>, session: &ConsoleSession) -> Result<()> {
    let event = context.event(Action::SignedOut, session.user, json!({}))?;
    let mut change = context.urgent_change().await?;
    if change.end_session(&session.id_hash).await? {
        // As above.
        change.commit(&event).await?.unsettled();
    }
    Ok(())
}

/// Ends every session of the user, at the console and at Deployments, except `keep`.
///
/// # Errors
/// The store's.
pub async fn end_all(context: &Context<'_>, user: UserId, keep: Option<&ConsoleSession>) -> Result<Committed> {
    let event = context.event(Action::SessionsEnded, user, json!({}))?;
    let mut change = context.urgent_change().await?;
    change.end_sessions(user, keep.map(|session| &session.id_hash), context.now).await?;
    Ok(change.commit(&event).await?)
}
