//! Who a new token belongs to.

use crate::{
    domain::user::{Email, User},
    service::{Error, Result},
    store::Change,
};

/// The user of that address, or the first admin who is not disabled.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::UserDisabled`], because the token would be disabled, too, and [`Error::NoAdmin`].
pub async fn owner(change: &mut Change, email: Option<&Email>) -> Result<User> {
    let Some(email) = email else { return change.admins().await?.into_iter().next().ok_or(Error::NoAdmin) };
    let user = super::current(change, email).await?.into_inner();
    if user.disabled_at.is_some() { Err(Error::UserDisabled(email.clone())) } else { Ok(user) }
}
