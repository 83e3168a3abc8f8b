//! Signing in with a password, and signing out.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    form::CsrfForm,
    page::{self, local, redirect},
    rejection::PageResult,
    visitor::{Anonymous, SignedIn, Visitor},
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
    email: &'a str,
    /// What the button of single sign-on says. `None`: there is none.
    single_sign_on: Option<&'a str>,
    /// `None`: nothing is wrong.
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "console/continue.html")]
struct ContinuePage<'a> {
    next: &'a str,
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
    sign_in_page(&visitor, StatusCode::OK, local(&next), "", None)
}

pub async fn sign_in(CsrfForm { visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
    let next = local(fields.text("next"));
    match check_password(&visitor, fields.text("email"), fields.exact("password")).await {
        Ok(user) => Ok(begin(&visitor, &user, "password", next).await?),
        Err(error) if error.status().is_server_error() => Err(error.into()),
        Err(error) => {
            Ok(sign_in_page(&visitor, error.status(), next, fields.text("email"), Some(sentence(error.text()))))
        }
    }
}

/// Each account and each address may try so often only. The answer and its time are the same for an unknown user.
async fn check_password(visitor: &Anonymous, email: &str, password: &str) -> Result<User, ApiError> {
    let limits = &visitor.management.limits;
    limits.sign_ins.allow(visitor.address)?;
    let wrong = || ApiError::unauthorized("sign_in_failed", "incorrect email or password");
    let email: Email = email.parse().map_err(|_| wrong())?;
    limits.accounts.allow(email.clone())?;
    let _turn = limits.passwords.acquire().await.map_err(|_| ApiError::too_many())?;
    users::sign_in(&visitor.context(), &email, password.to_owned()).await?.ok_or_else(wrong)
}

/// Signs the browser in, with an id that nobody knew before; the session that it had is over.
pub async fn begin(visitor: &Anonymous, user: &User, method: &'static str, next: &str) -> Result<Response, ApiError> {
    if let Some(earlier) = visitor.session() {
        sessions::end(&visitor.context(), earlier).await?;
    }
    let lifetime = visitor.config.management.session_lifetime;
    let address = visitor.address.to_string();
    let code = sessions::begin(&visitor.context(), user, address, visitor.client(), lifetime, method).await?;
    // What leads to a Deployment's host may not follow a form directly: browsers hold the page's `form-action` against the
    // whole chain of redirects.
    let mut response = if next.starts_with("/open?") {
        page::rendered(StatusCode::OK, &ContinuePage { next })
    } else {
        redirect(next)
    };
    visitor.set_cookie(&mut response, cookie::CONSOLE, &code.expose(), lifetime.as_secs());
    Ok(response)
}

pub async fn sign_out(CsrfForm { visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    sessions::end(&visitor.context(), &visitor.session).await?;
    let mut response = redirect("/sign-in");
    visitor.set_cookie(&mut response, cookie::CONSOLE, "", 0);
    Ok(response)
}

fn sign_in_page(visitor: &Anonymous, status: StatusCode, next: &str, email: &str, problem: Option<String>) -> Response {
    let single_sign_on = visitor.config.management.oidc.as_ref().map(|oidc| oidc.label.as_str());
    let organization = &visitor.config.organization;
    let csrf = visitor.csrf().to_hex().to_string();
    visitor.page(status, &SignInPage { csrf, organization, next, email, single_sign_on, problem })
}
