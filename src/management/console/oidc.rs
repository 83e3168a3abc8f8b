//! Single sign-on with OpenID Connect: the authorization code flow with PKCE (RFC 7636), by discovery.
//!
//! State, nonce and PKCE verifier are kept in a cookie of the browser that began the flow: no other browser can finish it,
//! and any replica of the gateway can.

use std::{collections::HashMap, time::Duration};

use axum::{
    extract::{Query, RawQuery},
    http::StatusCode,
    response::Response,
};
use openidconnect::{
    AdditionalClaims, AuthenticationFlow, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenFields,
    IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
        CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    page::{self, local, redirect},
    rejection::PageResult,
    sign_in,
    visitor::Anonymous,
};
use crate::{
    config::OidcConfig,
    domain::{session::Identity, user::Role},
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
    let claims = id_token.claims(&provider.id_token_verifier(), &nonce).map_err(|error| invalid(&error))?;

    let mut email = claims.email().map(|email| email.to_string());
    let mut verified = claims.email_verified();
    let mut name = claims.name().and_then(|name| name.get(None)).map(|name| name.to_string());
    let mut other = claims.additional_claims().0.clone();
    let lacks_role = config.role_claim.as_ref().is_some_and(|claim| !other.contains_key(claim));
    // Many providers put these claims into the ID token only on request, and always into the UserInfo response.
    if (email.is_none() || name.is_none() || lacks_role)
        && let Ok(request) = provider.user_info(tokens.access_token().clone(), Some(claims.subject().clone()))
    {
        let told: UserInfoClaims<OtherClaims, CoreGenderClaim> =
            request.request_async(&fetch).await.map_err(|error| unusable(&error))?;
        if email.is_none() {
            email = told.email().map(|email| email.to_string());
            verified = told.email_verified();
        }
        name = name.or_else(|| told.name().and_then(|name| name.get(None)).map(|name| name.to_string()));
        for (claim, value) in &told.additional_claims().0 {
            other.entry(claim.clone()).or_insert_with(|| value.clone());
        }
    }
    let identity = Identity { issuer: config.issuer.clone(), subject: claims.subject().to_string() };
    let Some(role) = role(config, &other) else { return Ok(None) };
    Ok(Some(Claims { identity, email, email_verified: verified.unwrap_or(false), name, role }))
}

/// `None`: they may not sign in. `Some(None)`: the provider says nothing about roles.
fn role(config: &OidcConfig, claims: &HashMap<String, Value>) -> Option<Option<Role>> {
    let Some(claim) = &config.role_claim else { return Some(None) };
    let values: Vec<&str> = match claims.get(claim) {
        Some(Value::String(value)) => vec![value],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has = |wanted: &[String]| wanted.iter().any(|wanted| values.contains(&wanted.as_str()));
    let admin = has(&config.admin_values);
    if !admin && !config.allowed_values.is_empty() && !has(&config.allowed_values) {
        return None;
    }
    if config.admin_values.is_empty() { Some(None) } else { Some(Some(if admin { Role::Admin } else { Role::Member })) }
}

/// Reads the provider's discovery document and keys anew at each sign-in: sign-ins are rare, and the provider may change its
/// keys at any time.
async fn provider(config: &OidcConfig, redirect_uri: &str) -> Result<Provider, FlowError> {
    let issuer = IssuerUrl::new(config.issuer.clone()).map_err(|error| unusable(&error))?;
    let http = http_client()?;
    let fetch = |request| fetch(http.clone(), request);
    let metadata = CoreProviderMetadata::discover_async(issuer, &fetch).await.map_err(|error| unusable(&error))?;
    let secret = config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
    let redirect_uri = RedirectUrl::new(redirect_uri.to_owned()).map_err(|error| unusable(&error))?;
    let client = Client::from_provider_metadata(metadata, ClientId::new(config.client_id.clone()), secret);
    Ok(client.set_redirect_uri(redirect_uri))
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

/// The library says that a request failed, and not why.
fn unusable(error: &(dyn std::error::Error + 'static)) -> FlowError {
    match error.source().and_then(|cause| cause.downcast_ref::<ClientError>()) {
        Some(cause) => FlowError::Provider(format!("{error}: {cause}")),
        None => FlowError::Provider(error.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(role_claim: Option<&str>, admin: &[&str], allowed: &[&str]) -> OidcConfig {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        OidcConfig {
            issuer: "https://id.test".to_owned(),
            client_id: "gateway".to_owned(),
            client_secret: None,
            label: String::new(),
            scopes: Vec::new(),
            role_claim: role_claim.map(str::to_owned),
            admin_values: texts(admin),
            allowed_values: texts(allowed),
        }
    }

    #[test]
    fn roles_follow_the_claim() {
        let claims = |value: Value| HashMap::from([("groups".to_owned(), value)]);
        let both = config(Some("groups"), &["ops"], &["ml"]);
        assert_eq!(role(&both, &claims(serde_json::json!(["ml", "ops"]))), Some(Some(Role::Admin)));
        assert_eq!(role(&both, &claims(serde_json::json!("ml"))), Some(Some(Role::Member)));
        assert_eq!(role(&both, &claims(serde_json::json!(["sales"]))), None);
        assert_eq!(role(&both, &HashMap::new()), None);
        assert_eq!(role(&config(None, &[], &[]), &HashMap::new()), Some(None));
        assert_eq!(role(&config(Some("groups"), &["ops"], &[]), &HashMap::new()), Some(Some(Role::Member)));
        assert_eq!(role(&config(Some("groups"), &[], &["ml"]), &claims(serde_json::json!("ml"))), Some(None));
    }
}
