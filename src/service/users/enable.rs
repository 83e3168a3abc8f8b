//! Enabling a disabled user, and with them those of their tokens that are not over.

use serde_json::json;

use super::UserError;
use crate::{
    domain::{audit::Action, user::Email},
    service::Context,
};

/// Sessions that were ended stay so.
///
/// # Errors
/// [`UserError::NotFound`], [`UserError::NotDisabled`].
pub async fn enable(context: &Context<'_>, email: &Email) -> Result<(), UserError> {
    let user = super::known(context.store, email).await?;
    let event = context.event(Action::UserEnabled, user.id, json!({}))?;
    let enabled = context.store.enable_user(user.id, &event).await?;
    if enabled { Ok(()) } else { Err(UserError::NotDisabled(email.clone())) }
}
