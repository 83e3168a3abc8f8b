//! Disabling a user, and with them all their tokens.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        user::{Email, Role, User},
    },
    service::{Context, Error, Result},
    store::Store,
};

/// # Errors
/// [`Error::UserNotFound`], [`Error::UserAlreadyDisabled`], [`Error::LastAdmin`].
pub async fn disable(context: &Context<'_>, email: &Email) -> Result<()> {
    let user = super::find(context.store, email).await?;
    if user.disabled_at.is_some() {
        return Err(Error::UserAlreadyDisabled(email.clone()));
    }
    let event = context.event(Action::UserDisabled, user.id, json!({}))?;
    if context.store.disable_user(user.id, context.now, &event).await? {
        return Ok(());
    }
    let last = is_last_admin(context.store, &user).await?;
    Err(if last { Error::LastAdmin(email.clone()) } else { Error::UserAlreadyDisabled(email.clone()) })
}

/// Whether nobody else could manage the gateway, which is one reason why the store refuses.
pub(super) async fn is_last_admin(store: &Store, user: &User) -> Result<bool> {
    if user.role != Role::Admin || user.disabled_at.is_some() {
        return Ok(false);
    }
    let users = store.list_users().await?;
    Ok(!users.iter().any(|other| other.role == Role::Admin && other.disabled_at.is_none() && other.id != user.id))
}
