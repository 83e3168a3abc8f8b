//! People who own tokens.

mod create;
mod disable;
mod enable;
mod owner;
pub(super) mod password;
mod update;

pub(super) use create::new;
pub use create::{CreateUser, create};
pub use disable::disable;
pub use enable::enable;
pub use owner::owner;
pub use password::{may_have_password, set_password, sign_in};
pub(super) use update::apply;
pub use update::{UpdateUser, update};

use super::{Error, Result};
use crate::{
    domain::user::{Email, User},
    store::{Change, Current, Store},
};

/// The user of that address.
///
/// # Errors
/// [`Error::UserNotFound`].
pub async fn find(store: &Store, email: &Email) -> Result<User> {
    store.user_by_email(email).await?.ok_or_else(|| Error::UserNotFound(email.clone()))
}

/// As [`find`], to be changed.
async fn current(change: &mut Change, email: &Email) -> Result<Current<User>> {
    change.user_by_email(email).await?.ok_or_else(|| Error::UserNotFound(email.clone()))
}
