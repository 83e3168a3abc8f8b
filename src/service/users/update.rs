//! Changing a user's name or role.

use serde_json::json;

use super::disable::is_last_admin;
use crate::{
    domain::{
        audit::Action,
        user::{Email, Role, User},
    },
    service::{Context, Error, Result, tidy_name},
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateUser {
    pub name: Option<String>,
    pub role: Option<Role>,
}

/// The user as they are afterwards.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::UserName`], [`Error::LastAdmin`].
pub async fn update(context: &Context<'_>, email: &Email, change: UpdateUser) -> Result<User> {
    let mut user = super::find(context.store, email).await?;
    if let Some(name) = change.name {
        user.name = tidy_name(&name).ok_or(Error::UserName(name))?;
    }
    if let Some(role) = change.role {
        user.role = role;
    }
    let event = context.event(Action::UserUpdated, user.id, json!({ "name": user.name, "role": user.role }))?;
    if context.store.update_user(&user, &event).await? {
        return Ok(user);
    }
    let last = is_last_admin(context.store, &User { role: Role::Admin, ..user }).await?;
    Err(if last { Error::LastAdmin(email.clone()) } else { Error::UserNotFound(email.clone()) })
}
