//! Browsers that sign in to a Deployment. A browser session is a further secret of an API token, which opens that one
//! Deployment and works in a cookie only. Whatever ends the token ends the session, too.

use std::time::Duration;

use serde_json::json;

use super::{Context, Draft, Error, Result, audit::SIGN_INS_KEPT, tokens::Expiry};
use crate::{
    domain::{
        audit::{Action, Actor},
        code::{CodeHash, Nonce, OneTimeCode, Purpose},
        deployment::DeploymentName,
        deployment_scope::{DeploymentPattern, DeploymentScope},
        scope::{Scope, ScopeSet},
        session::HandOver,
        timestamp::{DAY, Timestamp},
        token::{SecretRecord, TokenRecord, TokenStatus, TokenUid},
        token_text::{LookupId, TokenText},
        user::UserId,
    },
    store::{Change, Committed},
};

/// How long the browser may take from the console to the Deployment, which is one redirect.
const HAND_OVER_LIFETIME: Duration = Duration::from_secs(60);
/// How long the store remembers sessions that have ended.
const REMEMBERED: Duration = DAY;
/// How many of one token live at one Deployment; beyond that the oldest ends. So a token's holder cannot fill the index.
const MAX_LIVE: u32 = 32;

/// A session that has just begun.
#[derive(Debug)]
pub struct BrowserSession {
    /// For the cookie.
    pub text: TokenText,
    pub until: Timestamp,
}

/// Begins a session of `token`, whose secret the browser has shown.
///
/// # Errors
/// [`Error::TokenRevoked`] if it opens the Deployment no more.
pub async fn sign_in(
    context: &Context<'_>,
    token: TokenUid,
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<Committed<BrowserSession>> {
    let secret = context.new_session_secret(deployment).await?;
    let mut change = context.change().await?;
    let opens = |token: &TokenRecord| {
        token.status(context.now) == TokenStatus::Active && token.scopes.opens_deployment(deployment.as_str())
    };
    let record = change.token(token).await?.filter(|token| opens(token));
    let record = record.ok_or(Error::TokenRevoked(token))?;
    add(context, change, &record, secret, deployment, lifetime).await
}

/// What takes a browser from the console to a Deployment.
pub struct Handed {
    pub code: OneTimeCode,
    /// Goes with the code, which is tied to it.
    pub until: Timestamp,
}

/// A code for which the browser that has the nonce gets a session for the Deployment, of the token that the user has for
/// browsers there.
///
/// # Errors
/// The store's.
pub async fn hand_over(
    context: &Context<'_>,
    user: UserId,
    deployment: DeploymentName,
    nonce_hash: CodeHash,
) -> Result<Handed> {
    insert_hand_over(context, user, None, deployment, nonce_hash).await
}

/// The same for a session of `token`, whose secret the browser has shown.
///
/// # Errors
/// [`Error::TokenRevoked`].
pub async fn hand_over_of(
    context: &Context<'_>,
    token: TokenUid,
    deployment: DeploymentName,
    nonce_hash: CodeHash,
) -> Result<Handed> {
    let record = context.store.token(token).await?.ok_or(Error::TokenRevoked(token))?;
    insert_hand_over(context, record.owner, Some(token), deployment, nonce_hash).await
}

async fn insert_hand_over(
    context: &Context<'_>,
    user: UserId,
    token: Option<TokenUid>,
    deployment: DeploymentName,
    nonce_hash: CodeHash,
) -> Result<Handed> {
    let until = context.now.saturating_add(HAND_OVER_LIFETIME);
    let code = context.new_code(Purpose::HandOver { deployment: &deployment, nonce: &nonce_hash, until })?;
    let hand_over = HandOver { code_hash: code.hash(), nonce_hash, user, token, deployment, expires_at: until };
    context.store.insert_hand_over(&hand_over, &context.grantor, context.now).await?;
    Ok(Handed { code, until })
}

/// Begins the session that `code` stands for. It belongs to the token that was shown at the console, or else to the one that
/// the user has for browsers at this Deployment. If there is none yet, it is made; its owner can list and delete it like any
/// other.
///
/// # Errors
/// [`Error::SignInOver`]; [`Error::TokenRevoked`] if the token that was shown opens the Deployment no more.
pub async fn redeem(
    context: &Context<'_>,
    code: &OneTimeCode,
    nonce: &Nonce,
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<Committed<BrowserSession>> {
    let taken = context.store.take_hand_over(&code.hash(), &nonce.hash(), deployment, context.now).await?;
    let (user, shown) = taken.ok_or(Error::SignInOver)?;
    if let Some(token) = shown {
        return sign_in(context, token, deployment, lifetime).await;
    }
    let context = &Context { actor: Actor::User(user.id), ..*context };
    let name = format!("Browser: {deployment}");
    let (text, secret) = context.new_session_secret(deployment).await?;

    let mut change = context.change().await?;
    if let Some(known) = change.token_by_name(user.id, &name).await? {
        if known.status(context.now) == TokenStatus::Active && known.scopes.opens_deployment(deployment.as_str()) {
            return add(context, change, &known, (text, secret), deployment, lifetime).await;
        }
        // It has expired, or somebody has changed its scopes. A new token takes its name.
        let event = context.event(Action::TokenRevoked, known.uid, json!({ "name": known.name }))?;
        change.revoke_token(known, context.now).await?;
        change.record(&event).await?;
    }
    let (record, event) = context.new_token(browser_token(context, user.id, name, deployment)?)?;
    let until = until(context, &record, lifetime);
    change.insert_token(&record).await?;
    change.insert_secret(record.uid, &SecretRecord { retires_at: Some(until), ..secret }).await?;
    Ok(change.commit(&event).await?.with(BrowserSession { text, until }))
}

/// Ends the session, unless it has ended already.
///
/// # Errors
/// The store's.
pub async fn sign_out(context: &Context<'_>, session: LookupId, token: TokenUid) -> Result<Committed> {
    let event = context.event(Action::BrowserSignedOut, token, json!({}))?;
    let mut change = context.urgent_change().await?;
    if change.end_browser_session(session, context.now).await? {
        Ok(change.commit(&event).await?)
    } else {
        Ok(change.unchanged(()))
    }
}

fn browser_token(context: &Context<'_>, owner: UserId, name: String, deployment: &DeploymentName) -> Result<Draft> {
    Ok(Draft {
        uid: context.new_uid()?,
        name,
        description:
            "Made when you opened the Deployment from the console. Deleting it signs all your browsers out there."
                .to_owned(),
        scopes: ScopeSet::new([Scope::Deployment(DeploymentScope::of(DeploymentPattern::Exact(deployment.clone())))])?,
        owner,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
    })
}

async fn add(
    context: &Context<'_>,
    mut change: Change,
    token: &TokenRecord,
    (text, secret): (TokenText, SecretRecord),
    deployment: &DeploymentName,
    lifetime: Duration,
) -> Result<Committed<BrowserSession>> {
    let until = until(context, token, lifetime);
    let context = Context { actor: Actor::User(token.owner), ..*context };
    let event = context.event(Action::BrowserSignedIn, token.uid, json!({ "deployment": deployment }))?;
    change.forget_browser_sessions(context.now.saturating_sub(REMEMBERED)).await?;
    change.forget_sign_ins(context.now.saturating_sub(SIGN_INS_KEPT)).await?;
    change.end_oldest_browser_sessions(token.uid, deployment, MAX_LIVE - 1, context.now).await?;
    change.insert_secret(token.uid, &SecretRecord { retires_at: Some(until), ..secret }).await?;
    Ok(change.commit(&event).await?.with(BrowserSession { text, until }))
}

/// When the session ends: after `lifetime`, and never later than its token.
fn until(context: &Context<'_>, token: &TokenRecord, lifetime: Duration) -> Timestamp {
    let until = context.now.saturating_add(lifetime);
    token.expires_at.map_or(until, |expires_at| until.min(expires_at))
}
