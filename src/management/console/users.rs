//! Users, for admins: invited, given a role, disabled and enabled.

use std::time::Duration;

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::{
    form::{CsrfForm, FormFields},
    page::rendered,
    rejection::{PageResult, about_the_form},
    shell::AdminShell,
    visitor::Admin,
    words::{Moment, exact, receipt_text, sentence},
};
use crate::{
    domain::{
        code::OneTimeCode,
        user::{Email, Role, User},
    },
    management::error::ApiError,
    service::{
        self,
        deployments::address,
        invitations, lookup,
        users::{self, CreateUser, UpdateUser},
    },
    store::Committed,
};

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    shell: AdminShell,
    rows: Vec<Row>,
    flash: Flash,
    invitation: Invitation,
}

struct Row {
    id: String,
    name: String,
    email: String,
    admin: bool,
    status: &'static str,
    class: &'static str,
    created: Moment,
    me: bool,
    disabled: bool,
    /// They may have a link to set a password.
    link: bool,
}

/// What has just happened.
#[derive(Default)]
struct Flash {
    link: Option<Link>,
    problem: Option<String>,
    done: Option<String>,
}

/// An invitation's link, shown once.
struct Link {
    email: String,
    url: String,
    ends: String,
}

/// What the form for an invitation holds.
#[derive(Default)]
struct Invitation {
    email: String,
    name: String,
    admin: bool,
}

pub async fn list(admin: Admin) -> PageResult {
    users_page(&admin, StatusCode::OK, Flash::default(), Invitation::default()).await
}

pub async fn invite(CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let typed = Invitation {
        email: fields.text("email").to_owned(),
        name: fields.text("name").to_owned(),
        admin: fields.text("role") == "admin",
    };
    let lifetime = admin.config.management.invitation_lifetime;
    let invited = async {
        let email: Email = typed.email.parse().map_err(|error| ApiError::invalid(format!("Email: {error}")))?;
        // Without a name, the address serves as one until the user chooses another.
        let name = if typed.name.is_empty() { email.to_string() } else { typed.name.clone() };
        let request = CreateUser { email, name, role: role(&fields), password: None };
        Ok::<_, ApiError>(invitations::invite_new(&admin.context(), request, lifetime).await?)
    };
    match invited.await {
        Ok(invited) => link_page(admin, invited.map(|(user, code)| (user.email, code)), lifetime).await,
        Err(error) => {
            let error = about_the_form(error)?;
            let flash = Flash { problem: Some(sentence(error.text())), ..Flash::default() };
            users_page(&admin, error.status(), flash, typed).await
        }
    }
}

/// A new link, for a user who has lost theirs, or their password.
pub async fn link(Path(id): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let user = find(&admin, &id).await?;
    let lifetime = admin.config.management.invitation_lifetime;
    let invited = invitations::invite(&admin.context(), &user, lifetime).await?;
    link_page(admin, invited.map(|code| (user.email, code)), lifetime).await
}

pub async fn set_role(Path(id): Path<String>, CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let user = find(&admin, &id).await?;
    let role = role(&fields);
    let update = UpdateUser { name: None, role: Some(role) };
    let updated = users::update(&admin.context(), &user.email, update).await;
    let what = if role == Role::Admin { "an admin" } else { "a member" };
    outcome_page(admin, updated, &format!("{} is now {what}.", user.email)).await
}

/// All tokens and sessions of the user stop working at once.
pub async fn disable(Path(id): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let user = find(&admin, &id).await?;
    let disabled = users::disable(&admin.context(), &user.email).await;
    let done = format!("{} has been disabled. Their tokens and sessions no longer work.", user.email);
    outcome_page(admin, disabled, &done).await
}

/// The user's tokens work again, unless revoked or expired. Their sessions stay ended.
pub async fn enable(Path(id): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let user = find(&admin, &id).await?;
    let enabled = users::enable(&admin.context(), &user.email).await;
    outcome_page(admin, enabled, &format!("{} has been enabled.", user.email)).await
}

fn role(fields: &FormFields) -> Role {
    if fields.text("role") == "admin" { Role::Admin } else { Role::Member }
}

/// The user whom a form names.
async fn find(admin: &Admin, id: &str) -> Result<User, ApiError> {
    Ok(lookup::user(admin.store(), admin.viewer(), id).await?)
}

/// The list with the new link of the user with that address.
async fn link_page(admin: Admin, invited: Committed<(Email, OneTimeCode)>, lifetime: Duration) -> PageResult {
    let (console, ends) = (admin.console_url(), exact(admin.now.saturating_add(lifetime)));
    let ((email, code), _, afterwards) = admin.settle(invited).await;
    let url = address::invitation(&console, &code);
    let done = format!("The link for {email}, which works once, until {ends}, and is not shown again: {url}");
    let link = Link { email: email.to_string(), url, ends };
    let show = async move |admin, _| {
        let flash = Flash { link: Some(link), ..Flash::default() };
        users_page(&admin, StatusCode::OK, flash, Invitation::default()).await
    };
    afterwards.page(done, show).await
}

/// The list with what was done and how far it has come, or why it was not done.
async fn outcome_page(admin: Admin, outcome: service::Result<Committed<User>>, done: &str) -> PageResult {
    let committed = match outcome {
        Ok(committed) => committed,
        Err(error) => {
            let error = about_the_form(error)?;
            let flash = Flash { problem: Some(sentence(error.text())), ..Flash::default() };
            return users_page(&admin, error.status(), flash, Invitation::default()).await;
        }
    };
    let (_, receipt, afterwards) = admin.settle(committed).await;
    let show = async |admin, done| {
        let flash = Flash { done: Some(done), ..Flash::default() };
        users_page(&admin, StatusCode::OK, flash, Invitation::default()).await
    };
    afterwards.page(format!("{done} {}", receipt_text(receipt.as_ref())), show).await
}

async fn users_page(admin: &Admin, status: StatusCode, flash: Flash, invitation: Invitation) -> PageResult {
    let users = admin.store().list_users().await?;
    let page = UsersPage {
        shell: AdminShell::new(admin, "users"),
        rows: users.iter().map(|user| row(admin, user)).collect(),
        flash,
        invitation,
    };
    Ok(rendered(status, &page))
}

fn row(admin: &Admin, user: &User) -> Row {
    let (status, class) = match user {
        user if user.disabled_at.is_some() => ("Disabled", "off"),
        user if user.single_sign_on => ("Single sign-on", "good"),
        user if user.password_hash.is_none() => ("No password", "idle"),
        _ => ("Active", "good"),
    };
    Row {
        id: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.to_string(),
        admin: user.role == Role::Admin,
        status,
        class,
        created: Moment::new(user.created_at, admin.now),
        me: user.id == admin.user.id,
        disabled: user.disabled_at.is_some(),
        link: users::may_have_password(&admin.context(), user).is_ok(),
    }
}
