//! Coming in and going out: password, one-time links, single sign-on's button.

use askama::Template;
use axum::{
    extract::Query,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    page::{self, PageResult, redirect, sentence},
    visit::{Anonymous, CsrfForm, SignedIn, local},
};
use crate::{
    domain::{
        code::OneTimeCode,
        user::{Email, User},
    },
    http::cookie,
    management::error::ApiError,
    service::{
        bootstrap::FIRST_ADMIN,
        invitations::{self, Acceptance},
        sessions, users,
    },
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
#[template(path = "console/welcome.html")]
struct WelcomePage<'a> {
    csrf: String,
    organization: &'a str,
    code: String,
    name: &'a str,
    email: &'a str,
    /// The first admin chooses the address, too.
    choose_email: bool,
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

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    code: String,
}

pub async fn show(Query(Next { next }): Query<Next>, visitor: Anonymous) -> Response {
    if visitor.session().is_some() {
        return redirect(local(&next));
    }
    sign_in_page(&visitor, StatusCode::OK, local(&next), "", None)
}

pub async fn sign_in(CsrfForm { who: visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
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
    let wrong = || ApiError::unauthorized("sign_in_failed", "the e-mail address or the password is wrong");
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
    let code = sessions::begin(&visitor.context(), user, address, &visitor.client, lifetime, method).await?;
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

pub async fn sign_out(CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    sessions::end(&visitor.context(), &visitor.session).await?;
    let mut response = redirect("/sign-in");
    visitor.set_cookie(&mut response, cookie::CONSOLE, "", 0);
    Ok(response)
}

fn sign_in_page(visitor: &Anonymous, status: StatusCode, next: &str, email: &str, problem: Option<String>) -> Response {
    let single_sign_on = visitor.config.management.oidc.as_ref().map(|oidc| oidc.label.as_str());
    let organization = &visitor.config.organization;
    let csrf = visitor.form_token();
    visitor.page(status, &SignInPage { csrf, organization, next, email, single_sign_on, problem })
}

// === links that work once ===

pub async fn welcome(Query(Link { code }): Query<Link>, visitor: Anonymous) -> PageResult {
    let Some((code, user)) = invited(&visitor, &code).await? else { return Ok(used_up()) };
    // The name and the address that the first start has made up are nobody's.
    let empty = if may_choose_email(&user) { ("", "") } else { (&*user.name, user.email.as_str()) };
    Ok(welcome_page(&visitor, StatusCode::OK, &code, &user, empty, None))
}

pub async fn accept(CsrfForm { who: visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
    visitor.management.limits.sign_ins.allow(visitor.address)?;
    let Some((code, user)) = invited(&visitor, fields.text("code")).await? else { return Ok(used_up()) };
    let again = |error: ApiError| {
        if error.status().is_server_error() {
            return Err(error.into());
        }
        let typed = (fields.text("name"), fields.text("email"));
        Ok(welcome_page(&visitor, error.status(), &code, &user, typed, Some(sentence(error.text()))))
    };
    let email = if may_choose_email(&user) { fields.text("email").parse() } else { Ok(user.email.clone()) };
    let email = match email {
        Ok(email) => email,
        Err(error) => return again(ApiError::invalid(error.to_string())),
    };
    if fields.exact("password") != fields.exact("password_again") {
        return again(ApiError::invalid("the two passwords differ; type the same one twice"));
    }
    let introduction =
        Acceptance { name: fields.text("name").to_owned(), email, password: fields.exact("password").to_owned() };
    let turn = visitor.management.limits.passwords.acquire().await.map_err(|_| ApiError::too_many())?;
    let accepted = invitations::accept(&visitor.context(), &code, introduction).await;
    drop(turn);
    match accepted {
        Ok(Some(user)) => Ok(begin(&visitor, &user, "link", "/").await?),
        Ok(None) => Ok(used_up()),
        Err(error) => again(error.into()),
    }
}

async fn invited(visitor: &Anonymous, text: &str) -> Result<Option<(OneTimeCode, User)>, ApiError> {
    let Some(code) = OneTimeCode::parse(text) else { return Ok(None) };
    Ok(visitor.store.invitation(&code.hash(), visitor.now).await?.map(|(_, user)| (code, user)))
}

/// The one that the first start makes up.
fn may_choose_email(user: &User) -> bool {
    user.email.as_str() == FIRST_ADMIN
}

/// `name` and `email` are what the fields hold.
fn welcome_page(
    visitor: &Anonymous,
    status: StatusCode,
    code: &OneTimeCode,
    user: &User,
    (name, email): (&str, &str),
    problem: Option<String>,
) -> Response {
    let choose_email = may_choose_email(user);
    let page = WelcomePage {
        csrf: visitor.form_token(),
        organization: &visitor.config.organization,
        code: code.expose(),
        name,
        email: if choose_email { email } else { user.email.as_str() },
        choose_email,
        problem,
    };
    visitor.page(status, &page)
}

fn used_up() -> Response {
    let text = "It was used already, or is too old. Sign in if you have a password; otherwise ask an admin for a new link, \
                or run `bento-gateway user invite EMAIL` where the gateway runs.";
    page::message(StatusCode::GONE, "This link works no more", text).into_response()
}
