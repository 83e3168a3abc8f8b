//! Creating a user.

use serde_json::json;

use super::password;
use crate::{
    domain::{
        audit::{Action, AuditEvent},
        user::{Email, Role, User, UserId},
    },
    service::{Context, Error, Result, tidy_name},
    store::{Committed, Conflict, StoreError},
};

pub struct CreateUser {
    pub email: Email,
    pub name: String,
    pub role: Role,
    /// `None`: the user cannot sign in with a password until one is set.
    pub password: Option<String>,
}

/// # Errors
/// [`Error::UserName`], [`Error::Password`], and the store's conflict if the address is taken.
pub async fn create(context: &Context<'_>, request: CreateUser) -> Result<Committed<User>> {
    let (user, event) = new(context, request).await?;
    let mut change = context.change().await?;
    change.insert_user(&user).await?;
    Ok(change.commit(&event).await?.with(user))
}

/// The user who is to be inserted; the event is for the audit trail.
pub(in crate::service) async fn new(context: &Context<'_>, request: CreateUser) -> Result<(User, AuditEvent)> {
    let name = tidy_name(&request.name).ok_or(Error::UserName(request.name))?;
    // Argon2 comes after whatever else is refused.
    if context.store.user_by_email(&request.email).await?.is_some() {
        return Err(StoreError::Conflict(Conflict::Email).into());
    }
    let password_hash = match request.password {
        Some(password) => Some(password::hash(context, password).await?.into_string()),
        None => None,
    };
    let user = User {
        id: UserId(context.system.new_id(context.now)?),
        name,
        email: request.email,
        role: request.role,
        password_hash,
        single_sign_on: false,
        created_at: context.now,
        disabled_at: None,
    };
    let detail = json!({ "email": user.email, "role": user.role });
    let event = context.event(Action::UserCreated, user.id, detail)?;
    Ok((user, event))
}
