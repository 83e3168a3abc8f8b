//! `bentoml cloud login`, the device flow of RFC 8628 as the stock client speaks it: the command line asks for a code and
//! polls, a person approves the code on a page, and the poll that finds it approved gets a new token.
//!
//! The token is made when the command line takes it, so nobody has to keep its text meanwhile. Whoever knows the code can
//! take the token, once. That is why approving is a deliberate act of somebody who has just proven who they are.

use std::time::Duration;

use serde_json::json;

use super::{Context, Draft, Error, Issued, Result, tokens::Expiry};
use crate::domain::{
    audit::{Action, Actor},
    code::{OneTimeCode, Purpose},
    device_login::{DeviceLogin, LoginDecision, LoginState},
    scope::ScopeSet,
    user::{User, UserId},
};
use crate::store::Committed;

/// How much of the client's `User-Agent` is kept, characters.
const MAX_CLIENT_CHARS: usize = 120;

/// What the polling command line gets.
pub enum Claim {
    /// Nobody has decided yet.
    Waiting,
    /// Refused, taken or expired; or there never was such a code, or the store has forgotten it.
    Over,
    Issued(Box<Committed<Issued>>),
}

/// A new code, valid for `lifetime`. `asked_from` is the client's address, `asked_with` its `User-Agent`.
///
/// # Errors
/// The store's.
pub async fn begin(
    context: &Context<'_>,
    asked_from: String,
    asked_with: &str,
    lifetime: Duration,
) -> Result<OneTimeCode> {
    let code = context.new_code(Purpose::DeviceLogin)?;
    let printable = asked_with.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_CHARS).collect();
    let login = DeviceLogin {
        code_hash: code.hash(),
        asked_from,
        asked_with: printable,
        created_at: context.now,
        expires_at: context.now.saturating_add(lifetime),
        decision: None,
        claimed_at: None,
    };
    context.store.insert_login(&login).await?;
    Ok(code)
}

/// The login of that code, if it still waits for a decision.
///
/// # Errors
/// [`Error::DeviceLoginOver`].
pub async fn waiting(context: &Context<'_>, code: &OneTimeCode) -> Result<DeviceLogin> {
    let login = context.store.login(&code.hash()).await?;
    login.filter(|login| login.state(context.now) == LoginState::Waiting).ok_or(Error::DeviceLoginOver)
}

/// Approves the login for `by`, who has just proven who they are: its token will be theirs.
///
/// # Errors
/// [`Error::DeviceLoginOver`] if somebody else has decided before, [`Error::Forbidden`] if they may not grant `scopes`.
pub async fn approve(context: &Context<'_>, code: &OneTimeCode, by: &User, scopes: ScopeSet) -> Result<()> {
    context.grantor.grant(&scopes)?;
    let detail = json!({ "scopes": scopes });
    decide(context, code, LoginDecision::Approved { by: by.id, scopes }, Action::LoginApproved, by.id, detail).await
}

/// # Errors
/// [`Error::DeviceLoginOver`] if somebody else has decided before.
pub async fn refuse(context: &Context<'_>, code: &OneTimeCode, by: &User) -> Result<()> {
    decide(context, code, LoginDecision::Refused, Action::LoginRefused, by.id, json!({})).await
}

async fn decide(
    context: &Context<'_>,
    code: &OneTimeCode,
    decision: LoginDecision,
    action: Action,
    by: UserId,
    detail: serde_json::Value,
) -> Result<()> {
    let context = Context { actor: Actor::User(by), ..*context };
    let event = context.event(action, by, detail)?;
    let mut change = context.change().await?;
    if !change.decide_login(&code.hash(), &decision, context.now).await? {
        return Err(Error::DeviceLoginOver);
    }
    // Each poll asks the store, so no replica needs to learn of it.
    change.commit(&event).await?.unsettled();
    Ok(())
}

/// Takes the token of an approved login: makes it, once.
///
/// # Errors
/// The store's; the command line can try again.
pub async fn claim(context: &Context<'_>, code: &OneTimeCode) -> Result<Claim> {
    let Some(login) = context.store.login(&code.hash()).await? else { return Ok(Claim::Over) };
    let (by, scopes) = match login.state(context.now) {
        LoginState::Waiting => return Ok(Claim::Waiting),
        LoginState::Over => return Ok(Claim::Over),
        LoginState::Approved { by, scopes } => (by, scopes.clone()),
    };
    let context = Context { actor: Actor::User(by), ..*context };
    let uid = context.new_uid()?;
    let draft = Draft {
        // Live tokens of one owner need different names, and the ends of their uids are.
        name: format!("bentoml cloud login {}", &uid.to_string()[24..]),
        uid,
        description: format!("Made for `bentoml cloud login` at {}", login.asked_from),
        scopes,
        owner: by,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
    };
    let (issued, secret, event) = context.issue(draft).await?;
    let mut change = context.change().await?;
    if !change.claim_login(&code.hash(), context.now).await? {
        return Ok(Claim::Over);
    }
    change.insert_token(&issued.record).await?;
    change.insert_secret(issued.record.uid, &secret).await?;
    Ok(Claim::Issued(Box::new(change.commit(&event).await?.with(issued))))
}
