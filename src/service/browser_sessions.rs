//! Browsers that sign in to a Deployment: a session is a further secret of an API token, good for that one Deployment
//! and in a cookie only. All that ends the token ends it, too.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Kind, Refusal,
    tokens::{Expiry, RefusedExpiry},
};
use crate::{
    domain::{
        audit::{Action, Actor},
        code::{CodeHash, OneTimeCode},
        deployment::DeploymentName,
        scope::{DeploymentPattern, InvalidScopeSet, Scope, ScopeSet},
        session::HandOver,
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus, TokenUid},
        token_text::{LookupId, TokenText},
        user::User,
    },
    secret_hash::HashError,
    store::StoreError,
    system::{self, NoEntropy},
};

/// From the console's answer to the Deployment's: a redirect.
const HAND_OVER_LIFETIME: Duration = Duration::from_secs(60);
/// Sessions that were over for so long are forgotten.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum BrowserSessionError {
    #[error("this sign-in is over or was begun in another browser; begin it again")]
    Over,
    #[error("the token was revoked")]
    Revoked,
    #[error(transparent)]
    Expiry(#[from] RefusedExpiry),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One scope is never none.
    #[error(transparent)]
    Scopes(#[from] InvalidScopeSet),
}

/// A session that has just begun.
#[derive(Debug)]
pub struct BrowserSession {
    /// For the cookie.
    pub text: TokenText,
    pub until: Timestamp,
}

/// Begins a session of `token`, which was proven to be good for the Deployment.
///
/// # Errors
/// [`BrowserSessionError`].
pub async fn sign_in(
    context: &Context<'_>,
    token: TokenUid,
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<BrowserSession, BrowserSessionError> {
    let record = context.store.token(token).await?.ok_or(BrowserSessionError::Revoked)?;
    add(context, &record, deployment, lifetime).await
}

/// A code by which the browser that has `nonce` gets a session for the Deployment.
///
/// # Errors
/// [`BrowserSessionError`].
pub async fn hand_over(
    context: &Context<'_>,
    user: &User,
    deployment: DeploymentName,
    nonce_hash: CodeHash,
) -> Result<OneTimeCode, BrowserSessionError> {
    let code = system::new_code()?;
    let expires_at = context.now.saturating_add(HAND_OVER_LIFETIME);
    let hand_over = HandOver { code_hash: code.hash(), nonce_hash, user: user.id, deployment, expires_at };
    context.store.insert_hand_over(&hand_over, context.now).await?;
    Ok(code)
}

/// Begins the session that `code` stands for. It belongs to the token that the user has for browsers at this Deployment,
/// which is made if need be: it is listed and can be deleted like any other.
///
/// # Errors
/// [`BrowserSessionError::Over`], and ours.
pub async fn redeem(
    context: &Context<'_>,
    code: &OneTimeCode,
    nonce: &OneTimeCode,
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<BrowserSession, BrowserSessionError> {
    let taken = context.store.take_hand_over(&code.hash(), &nonce.hash(), deployment, context.now).await?;
    let user = taken.ok_or(BrowserSessionError::Over)?;
    let context = &Context { actor: Actor::User(user.id), ..*context };
    let name = format!("Browser: {deployment}");
    let scopes = ScopeSet::new([Scope::Deployment(DeploymentPattern::Exact(deployment.clone()))])?;
    if let Some(known) = context.store.token_by_name(user.id, &name).await? {
        if known.status(context.now) == TokenStatus::Active && opens(&known.scopes, deployment) {
            return add(context, &known, deployment, lifetime).await;
        }
        // It has expired, or opens something else by now: another one takes its name.
        let event = context.event(Action::TokenRevoked, known.uid, json!({ "name": known.name }))?;
        context.store.revoke_token(known.uid, context.now, &event).await?;
    }
    let record = TokenRecord {
        uid: TokenUid(system::new_id(context.now)?),
        name,
        description:
            "Made when you opened the Deployment from the console. Deleting it signs all your browsers out there."
                .to_owned(),
        scopes,
        owner: user.id,
        created_at: context.now,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
        revoked_at: None,
        last_used_at: None,
    };
    let until = until(context, &record, lifetime);
    let (text, secret) = context.new_session_secret(deployment, until)?;
    let detail = json!({
        "name": record.name, "scopes": record.scopes, "expires_at": record.expires_at, "owner": record.owner
    });
    let event = context.event(Action::TokenCreated, record.uid, detail)?;
    context.store.insert_token(&record, &secret, &event).await?;
    Ok(BrowserSession { text, until })
}

/// Ends the session, if it is not over.
///
/// # Errors
/// The store's.
pub async fn sign_out(context: &Context<'_>, session: LookupId, token: TokenUid) -> Result<(), BrowserSessionError> {
    let event = context.event(Action::BrowserSignedOut, token, json!({}))?;
    context.store.end_browser_session(session, &event).await?;
    Ok(())
}

async fn add(
    context: &Context<'_>,
    token: &TokenRecord,
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<BrowserSession, BrowserSessionError> {
    let until = until(context, token, lifetime);
    let (text, secret) = context.new_session_secret(deployment, until)?;
    let context = Context { actor: Actor::User(token.owner), ..*context };
    let event = context.event(Action::BrowserSignedIn, token.uid, json!({ "deployment": deployment }))?;
    let forget = context.now.as_millis().saturating_sub(REMEMBERED.as_millis() as i64);
    let added =
        context.store.insert_browser_session(token.uid, &secret, Timestamp::from_millis(forget), &event).await?;
    if added { Ok(BrowserSession { text, until }) } else { Err(BrowserSessionError::Revoked) }
}

/// Never longer than the token.
fn until(context: &Context<'_>, token: &TokenRecord, lifetime: Duration) -> Timestamp {
    let until = context.now.saturating_add(lifetime);
    token.expires_at.map_or(until, |expires_at| until.min(expires_at))
}

fn opens(scopes: &ScopeSet, deployment: &DeploymentName) -> bool {
    scopes.opens_deployment(deployment.as_str())
}

impl Refusal for BrowserSessionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Over => Kind::Invalid,
            Self::Revoked => Kind::Conflict,
            Self::Expiry(_) | Self::Scopes(_) => Kind::Internal,
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
