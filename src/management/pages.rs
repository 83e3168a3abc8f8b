//! Pages for people. Without script, and with everything escaped by the templates.

use askama::Template;
use axum::{
    Form,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Management,
    caller::{self, Caller},
    error::ApiError,
};
use crate::{
    config::units::format_duration,
    domain::{
        audit::Actor,
        login::{Login, LoginCode},
        rights::{Authority, Need},
        scope::{DeploymentPattern, Scope, ScopeSet},
        user::{Email, User},
    },
    service::{
        Context,
        logins::{self, LoginError},
        users,
    },
    store::SharedStore,
    system,
};

const STYLE: &str = include_str!("../../assets/console.css");
/// Nothing but our own stylesheet and forms, and nobody may frame or be told of it.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    code: String,
    asked_from: String,
    asked_with: String,
    asked_at: String,
    expires_at: String,
    /// Of the new token; empty for no end.
    lifetime: String,
    email: String,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    lines: &'a [&'a str],
}

#[derive(Deserialize)]
pub struct PageQuery {
    code: Option<String>,
}

#[derive(Deserialize)]
pub struct Decision {
    code: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    /// `all`: the token may call All Deployments as well.
    #[serde(default)]
    endpoints: String,
    #[serde(default)]
    decision: String,
}

/// A person who has just proven who they are.
struct SignedIn {
    user: User,
    /// `None`: by password. Otherwise the scopes of the token that they pasted.
    scopes: Option<ScopeSet>,
}

impl SignedIn {
    fn authority(&self) -> Authority<'_> {
        match &self.scopes {
            None => Authority::Person(self.user.role),
            Some(scopes) => Authority::Token(crate::domain::rights::Rights { role: self.user.role, scopes }),
        }
    }
}

pub async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, STYLE).into_response()
}

pub async fn home() -> Response {
    message(
        StatusCode::OK,
        "This is a bento-gateway",
        &[
            "It protects BentoML services with API tokens. This is its management listener.",
            "Log in from a terminal: bentoml cloud login --endpoint with the address of this page.",
            "Its API is described at /openapi.json.",
        ],
    )
}

/// The `bentoml` client names this address where credentials are bad.
pub async fn api_token() -> Redirect {
    Redirect::to("/api_tokens")
}

/// Reading the page decides nothing.
pub async fn api_tokens(State(management): State<Arc<Management>>, Query(query): Query<PageQuery>) -> Response {
    let Some(code) = query.code else {
        let lines = [
            "Run `bentoml cloud login` in a terminal and choose to create a token with a browser: it opens this page \
             with a code to approve.",
            "Or make one where the gateway runs: bento-gateway token create NAME",
        ];
        return message(StatusCode::OK, "API tokens", &lines);
    };
    answered(show(&management, &code).await)
}

async fn show(management: &Management, text: &str) -> Result<Response, ApiError> {
    let store = management.store()?;
    let code = LoginCode::parse(text).ok_or(LoginError::Over)?;
    let config = management.config.load();
    let context = context(&store, &config, Authority::Nobody);
    let login = logins::waiting(&context, &code).await?;
    Ok(page(management, &login, &code, StatusCode::OK, "", None))
}

pub async fn approve(
    State(management): State<Arc<Management>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(form): Form<Decision>,
) -> Response {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        let lines = ["This form was sent from another site. Open the link that your terminal shows."];
        return message(StatusCode::FORBIDDEN, "Not accepted", &lines);
    }
    let address = caller::address(&management, &headers, peer.ip());
    answered(decide(&management, address, form).await)
}

async fn decide(management: &Management, address: IpAddr, form: Decision) -> Result<Response, ApiError> {
    let store = management.store()?;
    let code = LoginCode::parse(&form.code).ok_or(LoginError::Over)?;
    let config = management.config.load_full();
    let login = logins::waiting(&context(&store, &config, Authority::Nobody), &code).await?;
    let again = |error: ApiError| {
        let problem = Some(error.text().to_owned());
        Ok(page(management, &login, &code, error.status(), &form.email, problem))
    };
    let signed_in = match sign_in(management, &store, address, &form).await {
        Ok(signed_in) => signed_in,
        Err(error) if error.status() == StatusCode::SERVICE_UNAVAILABLE => return Err(error),
        Err(error) => return again(error),
    };
    let context = context(&store, &config, signed_in.authority());
    if form.decision != "approve" {
        logins::refuse(&context, &code, &signed_in.user).await?;
        let lines = ["The command line is told that its credentials are bad. You can close this page."];
        return Ok(message(StatusCode::OK, "Refused", &lines));
    }
    let all = Some(Scope::Deployment(DeploymentPattern::All)).filter(|_| form.endpoints == "all");
    let scopes =
        ScopeSet::new([Scope::Api].into_iter().chain(all)).map_err(|error| ApiError::invalid(error.to_string()))?;
    match logins::approve(&context, &code, &signed_in.user, scopes).await {
        Ok(()) => {
            let lines = ["The command line takes its token now. You can close this page."];
            Ok(message(StatusCode::OK, "Approved", &lines))
        }
        Err(error @ LoginError::Lack(_)) => again(error.into()),
        Err(error) => Err(error.into()),
    }
}

/// By a pasted token, or by e-mail address and password. Each account and each address may try so often only.
async fn sign_in(
    management: &Management,
    store: &SharedStore,
    address: IpAddr,
    form: &Decision,
) -> Result<SignedIn, ApiError> {
    management.limits.sign_ins.allow(address)?;
    if !form.token.is_empty() {
        let caller = Caller::authenticate(management, store, form.token.trim().as_bytes()).await?;
        caller.rights().allow(Need::Management)?;
        return Ok(SignedIn { user: caller.user().clone(), scopes: Some(caller.token().scopes.clone()) });
    }
    let wrong = || ApiError::unauthorized("sign_in_failed", "the e-mail address or the password is wrong");
    let email: Email = form.email.trim().parse().map_err(|_| wrong())?;
    management.limits.accounts.allow(email.clone())?;
    let config = management.config.load_full();
    let context = context(store, &config, Authority::Nobody);
    let _turn = management.limits.passwords.acquire().await.map_err(|_| ApiError::too_many())?;
    let user = users::sign_in(&context, &email, form.password.clone()).await?.ok_or_else(wrong)?;
    Ok(SignedIn { user, scopes: None })
}

fn context<'a>(store: &'a SharedStore, config: &'a crate::config::Config, authority: Authority<'a>) -> Context<'a> {
    Context {
        store: &**store,
        tokens: &config.tokens,
        declared: &config.deployments,
        actor: Actor::System,
        authority,
        request: None,
        now: system::now(),
    }
}

fn page(
    management: &Management,
    login: &Login,
    code: &LoginCode,
    status: StatusCode,
    email: &str,
    problem: Option<String>,
) -> Response {
    let lifetime = management.config.load().tokens.default_lifetime;
    rendered(
        status,
        &LoginPage {
            code: code.expose(),
            asked_from: login.asked_from.clone(),
            asked_with: login.asked_with.clone(),
            asked_at: login.created_at.to_string(),
            expires_at: login.expires_at.to_string(),
            lifetime: lifetime.map(format_duration).unwrap_or_default(),
            email: email.to_owned(),
            problem,
        },
    )
}

fn answered(answer: Result<Response, ApiError>) -> Response {
    answer.unwrap_or_else(|error| message(error.status(), "That did not work", &[error.text()]))
}

fn message(status: StatusCode, title: &str, lines: &[&str]) -> Response {
    rendered(status, &Message { title, lines })
}

fn rendered(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, html).into_response()
}
