//! People, for admins: invited, promoted, disabled.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::{
    page::{Moment, PageResult, Shell, exact, rendered, sentence},
    visit::{CsrfForm, SignedIn},
};
use crate::{
    domain::user::{Email, Role, User, UserId},
    management::error::{ApiError, quoted},
    service::{
        deployments::address,
        invitations,
        users::{self, CreateUser, UpdateUser},
    },
};

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    shell: Shell,
    rows: Vec<Row>,
    link: Option<Link>,
    email: String,
    name: String,
    admin: bool,
    problem: Option<String>,
    done: Option<String>,
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
}

/// An invitation, shown once.
struct Link {
    email: String,
    url: String,
    ends: String,
}

/// What the page says beside its list.
#[derive(Default)]
struct Flash {
    link: Option<Link>,
    problem: Option<String>,
    done: Option<String>,
    email: String,
    name: String,
    admin: bool,
}

pub async fn list(visitor: SignedIn) -> PageResult {
    users_page(&visitor, StatusCode::OK, Flash::default()).await
}

pub async fn invite(CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let admin = fields.text("role") == "admin";
    let invited = async {
        let email: Email =
            fields.text("email").parse().map_err(|error| ApiError::invalid(format!("E-mail: {error}")))?;
        // Who gives no name is called by the address, until they say otherwise.
        let name = match fields.text("name") {
            "" => email.to_string(),
            name => name.to_owned(),
        };
        let role = if admin { Role::Admin } else { Role::Member };
        let request = CreateUser { email, name, role, password: None };
        let user = users::create(&visitor.context(), request).await?;
        link_for(&visitor, &user).await
    };
    match invited.await {
        Ok(link) => users_page(&visitor, StatusCode::OK, Flash { link: Some(link), ..Flash::default() }).await,
        Err(error) => {
            let said = Flash {
                problem: Some(sentence(error.text())),
                email: fields.text("email").to_owned(),
                name: fields.text("name").to_owned(),
                admin,
                ..Flash::default()
            };
            users_page(&visitor, error.status(), said).await
        }
    }
}

/// Another link, for who has lost theirs, or their password.
pub async fn link(Path(id): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let user = find(&visitor, &id).await?;
    let link = link_for(&visitor, &user).await?;
    users_page(&visitor, StatusCode::OK, Flash { link: Some(link), ..Flash::default() }).await
}

pub async fn set_role(Path(id): Path<String>, CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let user = find(&visitor, &id).await?;
    let role = if fields.text("role") == "admin" { Role::Admin } else { Role::Member };
    let change = UpdateUser { name: None, role: Some(role) };
    let updated = users::update(&visitor.context(), &user.email, change).await;
    let done = format!("{} is {} now.", user.email, if role == Role::Admin { "an admin" } else { "a member" });
    said(&visitor, updated.map(|_| done)).await
}

/// And with them all their tokens and sessions, at once.
pub async fn disable(Path(id): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let user = find(&visitor, &id).await?;
    let disabled = users::disable(&visitor.context(), &user.email).await;
    visitor.management.gateway.wait_until_applied(&visitor.store).await;
    said(&visitor, disabled.map(|()| format!("{} is disabled, and so are their tokens and sessions.", user.email)))
        .await
}

/// Their tokens that are not over work again; sessions that were ended stay so.
pub async fn enable(Path(id): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let user = find(&visitor, &id).await?;
    let enabled = users::enable(&visitor.context(), &user.email).await;
    visitor.management.gateway.wait_until_applied(&visitor.store).await;
    said(&visitor, enabled.map(|()| format!("{} is enabled again.", user.email))).await
}

async fn said<E: Into<ApiError>>(visitor: &SignedIn, outcome: Result<String, E>) -> PageResult {
    match outcome.map_err(Into::into) {
        Ok(done) => users_page(visitor, StatusCode::OK, Flash { done: Some(done), ..Flash::default() }).await,
        Err(error) if error.status().is_server_error() => Err(error.into()),
        Err(error) => {
            let said = Flash { problem: Some(sentence(error.text())), ..Flash::default() };
            users_page(visitor, error.status(), said).await
        }
    }
}

async fn link_for(visitor: &SignedIn, user: &User) -> Result<Link, ApiError> {
    let lifetime = visitor.config.management.invitation_lifetime;
    let code = invitations::invite(&visitor.context(), user, lifetime).await?;
    Ok(Link {
        email: user.email.to_string(),
        url: address::invitation(&visitor.console_url(), &code),
        ends: exact(visitor.now.saturating_add(lifetime)),
    })
}

async fn find(visitor: &SignedIn, id: &str) -> Result<User, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no user {}", quoted(id)));
    let parsed = uuid::Uuid::try_parse(id).map_err(|_| unknown())?;
    visitor.store.user(UserId(parsed)).await?.ok_or_else(unknown)
}

async fn users_page(visitor: &SignedIn, status: StatusCode, said: Flash) -> PageResult {
    visitor.needs_admin()?;
    let users = visitor.store.list_users().await?;
    let row = |user: &User| {
        let (status, class) = match user {
            user if user.disabled_at.is_some() => ("Disabled", "off"),
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
            created: Moment::new(user.created_at, visitor.now),
            me: user.id == visitor.user.id,
            disabled: user.disabled_at.is_some(),
        }
    };
    let Flash { link, problem, done, email, name, admin } = said;
    let shell = Shell::new(visitor, "users");
    let page = UsersPage { shell, rows: users.iter().map(row).collect(), link, email, name, admin, problem, done };
    Ok(rendered(status, &page))
}
