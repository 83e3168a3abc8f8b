//! Signing in with a password, and signing out.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    form::CsrfForm,
    page::{self, ContinuePage, OPEN, local, redirect},
    rejection::PageResult,
    session_cookie,
    visitor::{Anonymous, Inside, SignedIn, Visitor},
    words::sentence,
};
use crate::{
    domain::user::{Email, User},
    http::cookie,
    management::error::ApiError,
    service::{sessions, users},
};

#[derive(Template)]
#[template(path = "console/sign-in.html")]
struct SignInPage<'a> {
    csrf: String,
    organization: &'a str,
    next: &'a str,
    /// Whether they come from a Deployment, which an API token opens as well as an account.
    for_deployment: bool,
    email: &'a str,
    /// What the button of single sign-on says. `None`: there is none.
    single_sign_on: Option<&'a str>,
    /// `None`: nothing is wrong.
    problem: Option<String>,
}

#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

pub async fn show(visitor: Anonymous, Query(Next { next }): Query<Next>) -> Response {
    if visitor.session().is_some() {
        return redirect(local(&next));
    }
    let mut response = sign_in_page(&visitor, StatusCode::OK, local(&next), "", None);
    remember(&visitor, &mut response, local(&next));
    response
}

/// How long somebody may take to find the link by which they choose a password, seconds.
const WANTED_LIFETIME: u64 = 3600;

/// Who cannot sign in yet leaves this page for a link of theirs, and goes on from there to the page that they wanted. Not to
/// a Deployment, which they may have opened by a token meanwhile.
fn remember(visitor: &Anonymous, response: &mut Response, next: &str) {
    let is_cookie = !next.contains([';', ',', '"']);
    if next != "/" && !next.starts_with(OPEN) && is_cookie {
        visitor.set_cookie(response, cookie::WANTED, next, WANTED_LIFETIME);
    }
}

/// Where they wanted to go.
pub fn wanted(visitor: &Anonymous) -> &str {
    visitor.cookie(cookie::WANTED).map_or("/", local)
}

pub async fn sign_in(CsrfForm { visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
    let next = local(fields.text("next"));
    match check_password(&visitor, fields.text("email"), fields.exact("password")).await {
        Ok((inside, user)) => Ok(begin(&inside, &user, "password", next).await?),
        Err(error) if error.status().is_server_error() => Err(error.into()),
        Err(error) => {
            if error.status() == StatusCode::TOO_MANY_REQUESTS {
                visitor.refused_sign_in("password", None);
            }
            Ok(sign_in_page(&visitor, error.status(), next, fields.text("email"), Some(sentence(error.text()))))
        }
    }
}

/// A browser that the account knows may try so often; so may each account and each network for all others. The answer and
/// its time are the same for an unknown user.
async fn check_password<'a>(
    visitor: &'a Anonymous,
    email: &str,
    password: &str,
) -> Result<(Inside<'a>, User), ApiError> {
    let limits = &visitor.management.limits;
    let wrong = || ApiError::unauthorized("sign_in_failed", "incorrect email or password");
    let account: Option<Email> = email.parse().ok();
    let known = account.as_ref().and_then(|account| visitor.known_to(account));
    let (account, inside) = match (account, known) {
        (Some(account), Some(browser)) => {
            limits.known_browsers.allow(browser)?;
            (account, visitor.enter(&limits.known, browser)?)
        }
        (account, _) => {
            limits.sign_ins.allow(visitor.network())?;
            let account = account.ok_or_else(wrong)?;
            limits.accounts.allow(account.clone())?;
            (account, visitor.enter(&limits.signing_in, visitor.network())?)
        }
    };
    match users::sign_in(&inside.context(), &account, password.to_owned()).await? {
        Some(user) => Ok((inside, user)),
        None => {
            let meant = inside.context().store.user_by_email(&account).await?.map(|user| user.id);
            visitor.refused_sign_in("password", meant);
            Err(wrong())
        }
    }
}

/// Signs the browser in, with an id that nobody knew before; the session that it had is over.
pub async fn begin(visitor: &Inside<'_>, user: &User, method: &'static str, next: &str) -> Result<Response, ApiError> {
    let lifetime = visitor.config.management.session_lifetime;
    let address = visitor.address.to_string();
    let (context, earlier) = (visitor.context(), visitor.session());
    let session = sessions::begin(&context, user, earlier, address, visitor.client(), lifetime, method).await?;
    // What leads to a Deployment's host may not follow a form directly: browsers hold the page's `form-action` against the
    // whole chain of redirects.
    let mut response =
        if next.starts_with(OPEN) { page::rendered(StatusCode::OK, &ContinuePage { next }) } else { redirect(next) };
    visitor.set_cookie(&mut response, cookie::CONSOLE, &session_cookie::write(&session), lifetime.as_secs());
    visitor.become_known(&mut response, &user.email)?;
    Ok(response)
}

pub async fn sign_out(CsrfForm { visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    sessions::end(&visitor.context(), &visitor.session).await?;
    let mut response = redirect("/sign-in");
    visitor.set_cookie(&mut response, cookie::CONSOLE, "", 0);
    Ok(response)
}

/// The page again, after an API token was pasted that does not open the Deployment.
pub fn refused_token(visitor: &Anonymous, next: &str, error: ApiError) -> Response {
    sign_in_page(visitor, error.status(), local(next), "", Some(sentence(error.text())))
}

fn sign_in_page(visitor: &Anonymous, status: StatusCode, next: &str, email: &str, problem: Option<String>) -> Response {
    let single_sign_on = visitor.config.management.oidc.as_ref().map(|oidc| oidc.label.as_str());
    let organization = &visitor.config.organization;
    let csrf = visitor.csrf().to_hex().to_string();
    let for_deployment = next.starts_with(OPEN);
    visitor.page(status, &SignInPage { csrf, organization, next, for_deployment, email, single_sign_on, problem })
}
