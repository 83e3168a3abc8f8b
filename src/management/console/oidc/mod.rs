//! Single sign-on with OpenID Connect: the authorization code flow with PKCE (RFC 7636), by discovery.
//!
//! State, nonce and PKCE verifier are kept in a cookie of the browser that began the flow: no other browser can finish it,
//! and any replica of the gateway can.

mod claims;

use std::{collections::HashMap, time::Duration};

use axum::{
    extract::{Query, RawQuery},
    http::StatusCode,
    response::Response,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthenticationFlow, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
        CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::claims::{issued_to, role, values};
use super::{
    page::{self, local, redirect},
    rejection::PageResult,
    sign_in,
    visitor::Anonymous,
};
use crate::{
    config::OidcConfig,
    domain::session::Identity,
    http::{
        client::{self, ClientError},
        cookie,
    },
    management::error::ApiError,
    service::{
        deployments::address,
        oidc::{self, Claims},
    },
};

/// For one request to the provider.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time between leaving for the provider and coming back, seconds.
const FLOW_LIFETIME: u64 = 600;

/// All claims beside the standard ones; `role_claim` names one of them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct OtherClaims(HashMap<String, Value>);

impl AdditionalClaims for OtherClaims {}

type Fields = IdTokenFields<
    OtherClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

/// The library's client with our claims, its endpoints as discovery leaves them.
type Provider = Client<
    OtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What the browser keeps while the user is at the provider.
#[derive(Deserialize, Serialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
}

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
#[derive(Debug, thiserror::Error)]
enum FlowError {
    #[error("the provider cannot be used: {0}")]
    Provider(String),
    #[error("the provider's answer is not valid: {0}")]
    Invalid(String),
}

/// Sends the browser to the provider.
pub async fn begin(visitor: Anonymous, Query(Next { next }): Query<Next>) -> PageResult {
    let Some(config) = &visitor.config.management.oidc else { return Ok(not_configured()) };
    let limits = &visitor.management.limits;
    limits.sign_on_starts.allow(visitor.network())?;
    let _inside = visitor.enter(&limits.provider, visitor.network())?;
    let provider = match provider(config, &redirect_uri(&visitor)).await {
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
    let value = serde_urlencoded::to_string(&begun).unwrap_or_default();
    visitor.set_cookie(&mut response, cookie::SIGN_ON, &value, FLOW_LIFETIME);
    Ok(response)
}

/// The browser comes back from the provider.
pub async fn finish(visitor: Anonymous, RawQuery(query): RawQuery) -> PageResult {
    let Some(config) = &visitor.config.management.oidc else { return Ok(not_configured()) };
    let begun = visitor.cookie(cookie::SIGN_ON).and_then(|text| serde_urlencoded::from_str(text).ok());
    let came: Option<CameBack> = serde_urlencoded::from_str(&query.unwrap_or_default()).ok();
    let (Some(begun), Some(came)): (Option<Begun>, _) = (begun, came) else { return Ok(too_late()) };
    if came.state != begun.state {
        return Ok(too_late());
    }
    if let Some(error) = came.error {
        let why: String = came.error_description.unwrap_or(error).chars().take(200).collect();
        let text = format!("Your identity provider reported: {why}. Try again, or sign in with a password.");
        return Ok(page::message(StatusCode::FORBIDDEN, "Sign-in failed", &text));
    }
    let limits = &visitor.management.limits;
    limits.sign_on_returns.allow(visitor.network())?;
    let inside = visitor.enter(&limits.provider, visitor.network())?;
    let claims = match claims(config, &redirect_uri(&visitor), &begun, came.code).await {
        Ok(claims) => claims,
        Err(error) => return Ok(failed(&error)),
    };
    let Some(claims) = claims else {
        let text = "Your account is not allowed to sign in here. Contact an admin.";
        return Ok(page::message(StatusCode::FORBIDDEN, "Access denied", text));
    };
    let (user, _) = inside.settle(oidc::user(&inside.context(), &claims).await?).await;
    let mut response = sign_in::begin(&inside, &user, "single sign-on", local(&begun.next)).await?;
    visitor.set_cookie(&mut response, cookie::SIGN_ON, "", 0);
    Ok(response)
}

/// `None`: the provider vouches for somebody who may not sign in here.
async fn claims(
    config: &OidcConfig,
    redirect_uri: &str,
    begun: &Begun,
    code: String,
) -> Result<Option<Claims>, FlowError> {
    let invalid = |error: &dyn std::fmt::Display| FlowError::Invalid(error.to_string());
    let provider = provider(config, redirect_uri).await?;
    let http = http_client()?;
    let fetch = |request| fetch(http.clone(), request);
    let exchange = provider.exchange_code(AuthorizationCode::new(code)).map_err(|error| unusable(&error))?;
    let verifier = PkceCodeVerifier::new(begun.verifier.clone());
    let tokens = exchange.set_pkce_verifier(verifier).request_async(&fetch).await.map_err(|error| unusable(&error))?;
    let id_token = tokens.id_token().ok_or_else(|| invalid(&"it has no ID token"))?;
    let nonce = Nonce::new(begun.nonce.clone());
    // Which further audiences there may be, `issued_to` says, which knows `azp`.
    let verifier = provider.id_token_verifier().set_other_audience_verifier_fn(|_| true);
    let claims = id_token.claims(&verifier, &nonce).map_err(|error| invalid(&error))?;
    let party = claims.authorized_party().map(|party| party.as_str());
    if !issued_to(&config.client_id, claims.audiences().len(), party) {
        return Err(invalid(&"its ID token was issued to another client (azp), or to several without saying to which"));
    }

    let mut email = claims.email().map(|email| email.to_string());
    let mut verified = claims.email_verified();
    let mut name = claims.name().and_then(|name| name.get(None)).map(|name| name.to_string());
    let mut other = claims.additional_claims().0.clone();
    let lacks_role = config.role_claim.as_ref().is_some_and(|claim| values(&other, claim).is_none());
    // Many providers put these claims into the ID token only on request, and always into the UserInfo response.
    if (email.is_none() || verified.is_none() || name.is_none() || lacks_role)
        && let Ok(request) = provider.user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
    {
        let told: Result<UserInfoClaims<OtherClaims, CoreGenderClaim>, _> = request.request_async(&fetch).await;
        match told {
            Ok(told) => {
                let address = told.email().map(|email| email.to_string());
                // What it says of another address than the ID token's proves nothing about this one.
                if email.is_none() || (verified.is_none() && email == address) {
                    (email, verified) = (address, told.email_verified());
                }
                name = name.or_else(|| told.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
                for (claim, value) in &told.additional_claims().0 {
                    other.entry(claim.clone()).or_insert_with(|| value.clone());
                }
            }
            Err(error) => {
                let error = unusable(&error);
                tracing::warn!(%error, "single sign-on goes on without the provider's userinfo, which cannot be read");
            }
        }
    }
    let identity = Identity { issuer: config.issuer.clone(), subject: claims.subject().to_string() };
    let Some(role) = role(config, &other) else { return Ok(None) };
    Ok(Some(Claims { identity, email, email_verified: verified.unwrap_or(config.trust_email), name, role }))
}

/// Reads the provider's discovery document and keys anew at each sign-in: sign-ins are rare, and the provider may change its
/// keys at any time.
async fn provider(config: &OidcConfig, redirect_uri: &str) -> Result<Provider, FlowError> {
    let issuer = IssuerUrl::new(config.issuer.clone()).map_err(|error| unusable(&error))?;
    let http = http_client()?;
    let fetch = |request| fetch(http.clone(), request);
    let discovered = match CoreProviderMetadata::discover_async(issuer, &fetch).await {
        // It calls itself otherwise. A slash at the end is the one difference that people make.
        Err(DiscoveryError::Validation(_)) => {
            let issuer = match config.issuer.strip_suffix('/') {
                Some(bare) => bare.to_owned(),
                None => format!("{}/", config.issuer),
            };
            let issuer = IssuerUrl::new(issuer).map_err(|error| unusable(&error))?;
            CoreProviderMetadata::discover_async(issuer, &fetch).await
        }
        discovered => discovered,
    };
    let metadata = discovered.map_err(|error| unusable(&error))?;
    let posts = metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
        methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
    });
    let secret = config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
    let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).map_err(|error| unusable(&error))?;
    let client = Client::from_provider_metadata(metadata, ClientId::new(config.client_id.clone()), secret);
    let auth = if posts { AuthType::RequestBody } else { AuthType::BasicAuth };
    Ok(client.set_redirect_uri(redirect_uri).set_auth_type(auth))
}

fn redirect_uri(visitor: &Anonymous) -> String {
    format!("{}/sign-in/oidc/callback", address::management(&visitor.config.management, None))
}

fn http_client() -> Result<client::Secure, FlowError> {
    client::secure(PROVIDER_TIMEOUT)
        .map_err(|error| FlowError::Provider(format!("this machine has no root certificates: {error}")))
}

/// As the library wants it.
async fn fetch(http: client::Secure, request: HttpRequest) -> Result<HttpResponse, ClientError> {
    Ok(http.send(request).await?.map(Into::into))
}

/// With all causes: the library's own text says only that a request failed.
fn unusable(error: &(dyn std::error::Error + 'static)) -> FlowError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    FlowError::Provider(text)
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
