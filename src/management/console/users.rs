//! People, for admins: invited, promoted, disabled.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::{
    page::{Answer, Moment, Shell, exact, rendered, sentence},
    visit::{Submitted, Visit},
};
use crate::{
    domain::user::{Email, Role, User, UserId},
    management::error::{ApiError, quoted},
    service::{
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
struct Said {
    link: Option<Link>,
    problem: Option<String>,
    done: Option<String>,
    email: String,
    name: String,
    admin: bool,
}

pub async fn list(visit: Visit) -> Answer {
    users_page(&visit, StatusCode::OK, Said::default()).await
}

pub async fn invite(Submitted { who: visit, fields }: Submitted<Visit>) -> Answer {
    visit.needs_admin()?;
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
        let user = users::create(&visit.context(), request).await?;
        link_for(&visit, &user).await
    };
    match invited.await {
        Ok(link) => users_page(&visit, StatusCode::OK, Said { link: Some(link), ..Said::default() }).await,
        Err(error) => {
            let said = Said {
                problem: Some(sentence(error.text())),
                email: fields.text("email").to_owned(),
                name: fields.text("name").to_owned(),
                admin,
                ..Said::default()
            };
            users_page(&visit, error.status(), said).await
        }
    }
}

/// Another link, for who has lost theirs, or their password.
pub async fn link(Path(id): Path<String>, Submitted { who: visit, .. }: Submitted<Visit>) -> Answer {
    visit.needs_admin()?;
    let user = find(&visit, &id).await?;
    let link = link_for(&visit, &user).await?;
    users_page(&visit, StatusCode::OK, Said { link: Some(link), ..Said::default() }).await
}

pub async fn set_role(Path(id): Path<String>, Submitted { who: visit, fields }: Submitted<Visit>) -> Answer {
    visit.needs_admin()?;
    let user = find(&visit, &id).await?;
    let role = if fields.text("role") == "admin" { Role::Admin } else { Role::Member };
    let change = UpdateUser { name: None, role: Some(role) };
    let updated = users::update(&visit.context(), &user.email, change).await;
    let done = format!("{} is {} now.", user.email, if role == Role::Admin { "an admin" } else { "a member" });
    said(&visit, updated.map(|_| done)).await
}

/// And with them all their tokens and sessions, at once.
pub async fn disable(Path(id): Path<String>, Submitted { who: visit, .. }: Submitted<Visit>) -> Answer {
    visit.needs_admin()?;
    let user = find(&visit, &id).await?;
    let disabled = users::disable(&visit.context(), &user.email).await;
    visit.management.gateway.settled(&visit.store).await;
    said(&visit, disabled.map(|()| format!("{} is disabled, and so are their tokens and sessions.", user.email))).await
}

/// Their tokens that are not over work again; sessions that were ended stay so.
pub async fn enable(Path(id): Path<String>, Submitted { who: visit, .. }: Submitted<Visit>) -> Answer {
    visit.needs_admin()?;
    let user = find(&visit, &id).await?;
    let enabled = users::enable(&visit.context(), &user.email).await;
    visit.management.gateway.settled(&visit.store).await;
    said(&visit, enabled.map(|()| format!("{} is enabled again.", user.email))).await
}

async fn said<E: Into<ApiError>>(visit: &Visit, outcome: Result<String, E>) -> Answer {
    match outcome.map_err(Into::into) {
        Ok(done) => users_page(visit, StatusCode::OK, Said { done: Some(done), ..Said::default() }).await,
        Err(error) if error.status().is_server_error() => Err(error.into()),
        Err(error) => {
            let said = Said { problem: Some(sentence(error.text())), ..Said::default() };
            users_page(visit, error.status(), said).await
        }
    }
}

async fn link_for(visit: &Visit, user: &User) -> Result<Link, ApiError> {
    let lifetime = visit.config.management.invitation_lifetime;
    let code = invitations::invite(&visit.context(), user, lifetime).await?;
    Ok(Link {
        email: user.email.to_string(),
        url: format!("{}/welcome?code={}", visit.console_url(), code.expose()),
        ends: exact(visit.now.saturating_add(lifetime)),
    })
}

async fn find(visit: &Visit, id: &str) -> Result<User, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no user {}", quoted(id)));
    let parsed = uuid::Uuid::try_parse(id).map_err(|_| unknown())?;
    visit.store.user(UserId(parsed)).await?.ok_or_else(unknown)
}

async fn users_page(visit: &Visit, status: StatusCode, said: Said) -> Answer {
    visit.needs_admin()?;
    let users = users::list(&*visit.store).await?;
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
            created: Moment::new(user.created_at, visit.now),
            me: user.id == visit.user.id,
            disabled: user.disabled_at.is_some(),
        }
    };
    let Said { link, problem, done, email, name, admin } = said;
    let shell = Shell::new(visit, "users");
    let page = UsersPage { shell, rows: users.iter().map(row).collect(), link, email, name, admin, problem, done };
    Ok(rendered(status, &page))
}
