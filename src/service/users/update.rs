//! Changing a user's name or role.

use serde_json::json;

use super::disable::keep_an_admin;
use crate::{
    domain::{
        audit::{Action, AuditEvent},
        user::{Email, Role, User},
    },
    service::{Context, Error, Result, tidy_name},
    store::{Change, Committed, Current},
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
pub async fn update(context: &Context<'_>, email: &Email, update: UpdateUser) -> Result<Committed<User>> {
    let mut change = context.urgent_change().await?;
    let user = super::current(&mut change, email).await?;
    let (user, event) = apply(context, &mut change, user, update).await?;
    Ok(change.commit(&event).await?.with(user))
}

/// As [`update`], as a part of a change; the event is for the audit trail.
pub(in crate::service) async fn apply(
    context: &Context<'_>,
    change: &mut Change,
    mut user: Current<User>,
    update: UpdateUser,
) -> Result<(User, AuditEvent)> {
    if update.role.is_some_and(|role| role != Role::Admin) {
        keep_an_admin(context, change, &user).await?;
    }
    if let Some(name) = update.name {
        user.name = tidy_name(&name).ok_or(Error::UserName(name))?;
    }
    user.role = update.role.unwrap_or(user.role);
    change.update_user(&user).await?;
    let event = context.event(Action::UserUpdated, user.id, json!({ "name": user.name, "role": user.role }))?;
    Ok((user.into_inner(), event))
}
