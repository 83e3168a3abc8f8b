//! Who a new token belongs to.

use crate::{
    domain::user::{Email, Role, User},
    service::{Error, Result},
    store::Store,
};

/// The user of that address, or the first admin who is not disabled.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::UserDisabled`], because the token would be disabled, too, and [`Error::NoAdmin`].
pub async fn owner(store: &Store, email: Option<&Email>) -> Result<User> {
    let Some(email) = email else {
        let users = store.list_users().await?;
        let admin = users.into_iter().find(|user| user.role == Role::Admin && user.disabled_at.is_none());
        return admin.ok_or(Error::NoAdmin);
    };
    let user = super::find(store, email).await?;
    if user.disabled_at.is_some() { Err(Error::UserDisabled(email.clone())) } else { Ok(user) }
}
