//! Logging the command line in by a browser: it asks for a code, a person approves it on a page, it takes its token.
//!
//! The token is made when it is taken, so its text is never kept. Whoever sees the code can take it, once, which is why
//! approving is a deliberate act of somebody who has just proven who they are.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Issued, Kind, Refusal,
    tokens::{Expiry, RefusedExpiry},
};
use crate::{
    domain::{
        audit::{Action, Actor},
        code::{CODE_BYTES, OneTimeCode},
        login::{Login, LoginDecision, LoginState},
        rights::Forbidden,
        scope::ScopeSet,
        timestamp::Timestamp,
        token::{TokenRecord, TokenUid},
        user::{User, UserId},
    },
    secret_hash::HashError,
    store::StoreError,
    system::{self, NoEntropy},
};

/// How long a login that is over is remembered, so that who still asks is told.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Longest of what a client calls itself that is kept, characters.
const MAX_CLIENT_CHARS: usize = 120;

#[derive(Debug, thiserror::Error)]
pub enum DeviceLoginError {
    #[error("there is no such login, or it is over; run `bentoml cloud login` again")]
    Over,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Expiry(#[from] RefusedExpiry),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the waiting command line is told.
pub enum Claim {
    /// Nobody has decided yet.
    Waiting,
    /// Refused, taken or run out.
    Over,
    /// There never was such a code, or it is forgotten.
    Unknown,
    Issued(Box<Issued>),
}

/// A new code, good for `lifetime`.
///
/// # Errors
/// [`DeviceLoginError`].
pub async fn begin(
    context: &Context<'_>,
    asked_from: String,
    asked_with: &str,
    lifetime: Duration,
) -> Result<OneTimeCode, DeviceLoginError> {
    let code = OneTimeCode::from_random(system::random::<CODE_BYTES>()?);
    let printable = asked_with.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_CHARS).collect();
    let login = Login {
        code_hash: code.hash(),
        asked_from,
        asked_with: printable,
        created_at: context.now,
        expires_at: context.now.saturating_add(lifetime),
        decision: None,
        claimed_at: None,
    };
    let forget = Timestamp::from_millis(context.now.as_millis().saturating_sub(REMEMBERED.as_millis() as i64));
    context.store.insert_login(&login, forget).await?;
    Ok(code)
}

/// A login that waits for a decision.
///
/// # Errors
/// [`DeviceLoginError::Over`].
pub async fn waiting(context: &Context<'_>, code: &OneTimeCode) -> Result<Login, DeviceLoginError> {
    let login = context.store.login(&code.hash()).await?;
    login.filter(|login| login.state(context.now) == LoginState::Waiting).ok_or(DeviceLoginError::Over)
}

/// Approves the login for `by`, who has just proven who they are: its token will be theirs.
///
/// # Errors
/// [`DeviceLoginError::Over`] if somebody else has decided before, [`DeviceLoginError::Forbidden`] if they may not grant that.
pub async fn approve(
    context: &Context<'_>,
    code: &OneTimeCode,
    by: &User,
    scopes: ScopeSet,
) -> Result<(), DeviceLoginError> {
    context.grantor.grant(&scopes)?;
    let detail = json!({ "scopes": scopes });
    decide(context, code, LoginDecision::Approved { by: by.id, scopes }, Action::LoginApproved, by.id, detail).await
}

/// # Errors
/// [`DeviceLoginError::Over`] if somebody else has decided before.
pub async fn refuse(context: &Context<'_>, code: &OneTimeCode, by: &User) -> Result<(), DeviceLoginError> {
    decide(context, code, LoginDecision::Refused, Action::LoginRefused, by.id, json!({})).await
}

async fn decide(
    context: &Context<'_>,
    code: &OneTimeCode,
    decision: LoginDecision,
    action: Action,
    by: UserId,
    detail: serde_json::Value,
) -> Result<(), DeviceLoginError> {
    let context = Context { actor: Actor::User(by), ..*context };
    let event = context.event(action, by, detail)?;
    let decided = context.store.decide_login(&code.hash(), &decision, &event).await?;
    if decided { Ok(()) } else { Err(DeviceLoginError::Over) }
}

/// Takes the token of an approved login: makes it, once.
///
/// # Errors
/// [`DeviceLoginError`]; the login can be tried again.
pub async fn claim(context: &Context<'_>, code: &OneTimeCode) -> Result<Claim, DeviceLoginError> {
    let Some(login) = context.store.login(&code.hash()).await? else { return Ok(Claim::Unknown) };
    let (by, scopes) = match login.state(context.now) {
        LoginState::Waiting => return Ok(Claim::Waiting),
        LoginState::Over => return Ok(Claim::Over),
        LoginState::Approved { by, scopes } => (by, scopes.clone()),
    };
    let context = Context { actor: Actor::User(by), ..*context };
    let (text, secret) = context.new_secret()?;
    let uid = TokenUid(system::new_id(context.now)?);
    let record = TokenRecord {
        // Names of live tokens differ, and the end of the uid does.
        name: format!("bentoml cloud login {}", &uid.to_string()[24..]),
        uid,
        description: format!("Made for `bentoml cloud login` at {}", login.asked_from),
        scopes,
        owner: by,
        created_at: context.now,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
        revoked_at: None,
        last_used_at: None,
    };
    let detail = json!({
        "name": record.name, "scopes": record.scopes, "expires_at": record.expires_at, "owner": record.owner
    });
    let event = context.event(Action::TokenCreated, uid, detail)?;
    let claimed = context.store.claim_login(&code.hash(), &record, &secret, &event).await?;
    Ok(if claimed { Claim::Issued(Box::new(Issued { record, text })) } else { Claim::Over })
}

impl Refusal for DeviceLoginError {
    fn kind(&self) -> Kind {
        match self {
            Self::Over => Kind::Conflict,
            Self::Forbidden(lack) => lack.kind(),
            Self::Expiry(_) => Kind::Internal,
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
