//! Links that work once: an invitation, the first admin's set-up link, and a link to replace a lost password.

use askama::Template;
use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    form::{CsrfForm, FormFields},
    page,
    rejection::PageResult,
    sign_in::{begin, wanted},
    visitor::{Anonymous, Inside, Visitor},
    words::sentence,
};
use crate::{
    domain::{
        code::{OneTimeCode, Purpose},
        user::{InvalidEmail, User},
    },
    http::cookie,
    management::error::ApiError,
    service::{
        bootstrap::FIRST_ADMIN,
        invitations::{self, Acceptance},
        users,
    },
    store::Committed,
};

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

#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    code: String,
}

pub async fn show(visitor: Anonymous, Query(Link { code }): Query<Link>) -> PageResult {
    let inside = enter(&visitor)?;
    let Some((code, user)) = invited(&inside, &code).await? else { return Ok(used_up()) };
    // The first start has made up the name and the address of the first admin.
    let empty = if may_choose_email(&user) { ("", "") } else { (&*user.name, user.email.as_str()) };
    Ok(welcome_page(&visitor, StatusCode::OK, &code, &user, empty, None))
}

pub async fn accept(CsrfForm { visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
    let inside = enter(&visitor)?;
    let Some((code, user)) = invited(&inside, fields.text("code")).await? else { return Ok(used_up()) };
    match introduce(&inside, &code, &user, &fields).await {
        Ok(Some(accepted)) => {
            // The sessions of whoever had the password before are over everywhere.
            let (user, afterwards) = inside.settle(accepted).await;
            let begin = async |inside: Inside<'_>, _| {
                let mut response = begin(&inside, &user, "link", wanted(&inside)).await?;
                if inside.cookie(cookie::WANTED).is_some() {
                    inside.set_cookie(&mut response, cookie::WANTED, "", 0);
                }
                Ok(response)
            };
            afterwards.page("Your password has been set. Sign in with it.".to_owned(), begin).await
        }
        Ok(None) => Ok(used_up()),
        Err(error) if error.status().is_server_error() => Err(error.into()),
        Err(error) => {
            let typed = (fields.text("name"), fields.text("email"));
            Ok(welcome_page(&visitor, error.status(), &code, &user, typed, Some(sentence(error.text()))))
        }
    }
}

/// `None`: the link was used meanwhile.
async fn introduce(
    visitor: &Inside<'_>,
    code: &OneTimeCode,
    user: &User,
    fields: &FormFields,
) -> Result<Option<Committed<User>>, ApiError> {
    let email = if may_choose_email(user) { fields.text("email").parse() } else { Ok(user.email.clone()) };
    let email = email.map_err(|error: InvalidEmail| ApiError::invalid(error.to_string()))?;
    if fields.exact("password") != fields.exact("password_again") {
        return Err(ApiError::invalid("the passwords do not match"));
    }
    let name = fields.text("name").to_owned();
    let acceptance = Acceptance { name, email, password: fields.exact("password").to_owned() };
    Ok(invitations::accept(&visitor.context(), code, acceptance).await?)
}

fn enter(visitor: &Anonymous) -> Result<Inside<'_>, ApiError> {
    let limits = &visitor.management.limits;
    limits.links.allow(visitor.network())?;
    visitor.enter(&limits.accepting, visitor.network())
}

async fn invited(visitor: &Inside<'_>, text: &str) -> Result<Option<(OneTimeCode, User)>, ApiError> {
    let Some(code) = visitor.store().codes().open(Purpose::Invitation, text) else { return Ok(None) };
    let Some((_, user)) = visitor.store().invitation(&code.hash(), visitor.now).await? else { return Ok(None) };
    users::may_have_password(&visitor.context(), &user)?;
    Ok(Some((code, user)))
}

/// The first admin, whose address the first start has made up.
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
        csrf: visitor.csrf().to_hex().to_string(),
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
    let text = "It has already been used or has expired. If you have a password, sign in. Otherwise, ask an admin for a new \
                link, or run `bento-gateway user invite EMAIL` on the machine where the gateway runs.";
    page::message(StatusCode::GONE, "This link is no longer valid", text)
}
