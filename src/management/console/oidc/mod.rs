//! Single sign-on with OpenID Connect: the authorization code flow with PKCE (RFC 7636), by discovery.
//!
//! State, nonce and PKCE verifier are kept in a cookie of the browser that began the flow: no other browser can finish it,
//! and any replica of the gateway can. What is known of the provider is kept, so that no sign-in waits for its discovery.

mod begun;
mod claims;
mod exchange;
mod id_token;
mod provider;
mod roles;
mod signed;
mod tokens;
mod userinfo;

use std::time::Duration;

use axum::{
    extract::{Query, RawQuery},
    http::StatusCode,
    response::Response,
};
use openidconnect::{AuthenticationFlow, CsrfToken, Nonce, PkceCodeChallenge, Scope, core::CoreResponseType};
use serde::Deserialize;

pub use self::provider::Providers;
use self::{begun::Begun, exchange::Exchange};
use super::{
    page::{self, local, redirect},
    rejection::PageResult,
    sign_in,
    visitor::{Anonymous, Inside},
};
use crate::{
    config::OidcConfig,
    http::cookie,
    management::error::ApiError,
    service::{Kind, deployments::address, oidc},
    system::clock::ClockReading,
};

/// Longest time between leaving for the provider and coming back.
const FLOW_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// What the provider sends the browser back with.
#[derive(Deserialize)]
struct CameBack {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    /// It was refused, and why (RFC 6749 § 4.1.2.1).
    error: Option<String>,
    error_description: Option<String>,
}

/// Why nobody was signed in. The texts are for the log only, since they may quote the provider.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FlowError {
    #[error("the provider cannot be used: {0}")]
    Provider(String),
    #[error("the provider's answer is not valid: {0}")]
    Invalid(String),
}

/// In the audit trail.
const METHOD: &str = "single sign-on";

/// Sends the browser to the provider.
pub async fn begin(visitor: Anonymous, Query(Next { next }): Query<Next>) -> PageResult {
    let Some(config) = &visitor.config.management.oidc else { return Ok(not_configured()) };
    let limits = &visitor.management.limits;
    limits.sign_on_starts.allow(visitor.network())?;
    let _inside = visitor.enter(&limits.provider, visitor.network())?;
    let known = visitor.management.providers.get(config, ClockReading::now()).await;
    let provider = match known.and_then(|known| known.client(&redirect_uri(&visitor))) {
        Ok(provider) => provider,
        Err(error) => return Ok(failed(&error)),
    };
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let mut request = provider.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    for scope in &config.scopes {
        request = request.add_scope(Scope::new(scope.clone()));
    }
    let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
    let begun = Begun {
        state: state.into_secret(),
        nonce: nonce.secret().clone(),
        verifier: verifier.into_secret(),
        next: local(&next).to_owned(),
    };
    let mut response = redirect(url.as_str());
    let value = begun.seal(visitor.codes(), visitor.now.saturating_add(FLOW_LIFETIME));
    visitor.set_cookie(&mut response, cookie::SIGN_ON, &value, FLOW_LIFETIME.as_secs());
    Ok(response)
}

/// The browser comes back from the provider.
pub async fn finish(visitor: Anonymous, RawQuery(query): RawQuery) -> PageResult {
    let Some(config) = &visitor.config.management.oidc else { return Ok(not_configured()) };
    let sealed = visitor.cookie(cookie::SIGN_ON);
    let begun = sealed.and_then(|text| Begun::open(visitor.codes(), text, visitor.now));
    let came: Option<CameBack> = serde_urlencoded::from_str(&query.unwrap_or_default()).ok();
    let came = came.zip(begun).filter(|(came, begun)| came.state == begun.state);
    let Some((came, begun)) = came else { return Ok(too_late()) };
    let mut response = come_back(&visitor, config, came, &begun).await?;
    // A code works once.
    visitor.set_cookie(&mut response, cookie::SIGN_ON, "", 0);
    Ok(response)
}

async fn come_back(visitor: &Anonymous, config: &OidcConfig, came: CameBack, begun: &Begun) -> PageResult {
    if let Some(error) = came.error {
        let why: String = came.error_description.unwrap_or(error).chars().take(200).collect();
        let text = format!("Your identity provider reported: {why}. Try again, or sign in with a password.");
        return Ok(page::message(StatusCode::FORBIDDEN, "Sign-in failed", &text));
    }
    let limits = &visitor.management.limits;
    limits.sign_on_returns.allow(visitor.network())?;
    let inside = visitor.enter(&limits.provider, visitor.network())?;
    let providers = &visitor.management.providers;
    let exchange = Exchange { config, providers, redirect_uri: redirect_uri(visitor), now: visitor.now };
    let claims = match exchange.claims(begun, came.code).await {
        Ok(claims) => claims,
        Err(error) => return Ok(failed(&error)),
    };
    let refused = || visitor.refused_sign_in(METHOD, None);
    let Some(claims) = claims else {
        refused();
        let text = "Your account is not allowed to sign in here. Contact an admin.";
        return Ok(page::message(StatusCode::FORBIDDEN, "Access denied", text));
    };
    let known = oidc::user(&inside.context(), &claims).await;
    let known = known.inspect_err(|error| {
        if error.kind() == Kind::Forbidden {
            refused()
        }
    })?;
    let (user, afterwards) = inside.settle(known).await;
    let begin = async |inside: Inside<'_>, _| Ok(sign_in::begin(&inside, &user, METHOD, local(&begun.next)).await?);
    afterwards.page("Your account has been updated. Sign in again.".to_owned(), begin).await
}

fn redirect_uri(visitor: &Anonymous) -> String {
    format!("{}/sign-in/oidc/callback", address::management(&visitor.config.management, None))
}

fn failed(error: &FlowError) -> Response {
    tracing::warn!(%error, "single sign-on failed");
    let text = "The identity provider could not be reached, or its response was not valid. The gateway's log has details. Try \
                again, or sign in with a password.";
    page::message(StatusCode::BAD_GATEWAY, "Single sign-on failed", text)
}

fn too_late() -> Response {
    let text = "The sign-in took too long or was started in another browser. Start again from the sign-in page.";
    page::message(StatusCode::BAD_REQUEST, "Sign-in expired", text)
}

fn not_configured() -> Response {
    page::problem(&ApiError::not_found("single sign-on is not configured (management.oidc)"))
}
