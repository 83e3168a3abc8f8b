//! Enabling a disabled user, and with them those of their tokens that are still live.

use serde_json::json;

use crate::{
    domain::{audit::Action, user::Email},
    service::{Context, Error, Result},
};

/// Sessions that ended when the user was disabled stay ended.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::UserNotDisabled`].
pub async fn enable(context: &Context<'_>, email: &Email) -> Result<()> {
    let user = super::find(context.store, email).await?;
    let event = context.event(Action::UserEnabled, user.id, json!({}))?;
    let enabled = context.store.enable_user(user.id, &event).await?;
    if enabled { Ok(()) } else { Err(Error::UserNotDisabled(email.clone())) }
}
