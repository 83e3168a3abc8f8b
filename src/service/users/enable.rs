//! Enabling a disabled user, and with them those of their tokens that are still live.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        user::{Email, User},
    },
    service::{Context, Error, Result},
    store::Committed,
};

/// Sessions that ended when the user was disabled stay ended.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::UserNotDisabled`].
pub async fn enable(context: &Context<'_>, email: &Email) -> Result<Committed<User>> {
    let mut change = context.change().await?;
    let mut user = super::current(&mut change, email).await?;
    user.disabled_at.take().ok_or_else(|| Error::UserNotDisabled(email.clone()))?;
    let event = context.event(Action::UserEnabled, user.id, json!({}))?;
    change.update_user(&user).await?;
    Ok(change.commit(&event).await?.with(user.into_inner()))
}
