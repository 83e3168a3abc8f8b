//! Disabling a user, and with them all their tokens.

use serde_json::json;

use super::UserError;
use crate::{
    domain::{
        audit::Action,
        user::{Email, Role},
    },
    service::Context,
};

/// # Errors
/// [`UserError::NotFound`], [`UserError::AlreadyDisabled`], [`UserError::LastAdmin`].
pub async fn disable(context: &Context<'_>, email: &Email) -> Result<(), UserError> {
    let user = super::known(context.store, email).await?;
    if user.disabled_at.is_some() {
        return Err(UserError::AlreadyDisabled(email.clone()));
    }
    if user.role == Role::Admin {
        let users = context.store.list_users().await?;
        let is_live_admin = |other: &&crate::domain::user::User| {
            other.role == Role::Admin && other.disabled_at.is_none() && other.id != user.id
        };
        if !users.iter().any(|other| is_live_admin(&other)) {
            return Err(UserError::LastAdmin(email.clone()));
        }
    }
    let event = context.event(Action::UserDisabled, user.id, json!({}))?;
    let disabled = context.store.disable_user(user.id, context.now, &event).await?;
    if disabled { Ok(()) } else { Err(UserError::AlreadyDisabled(email.clone())) }
}
