//! People who own tokens.

mod create;
mod disable;
mod enable;
mod owner;
pub(super) mod password;
mod update;

pub use create::{CreateUser, create};
pub use disable::disable;
pub use enable::enable;
pub use owner::{OwnerError, owner};
pub use password::{InvalidPassword, set_password, sign_in};
pub use update::{UpdateUser, update};

use super::{Kind, MAX_NAME_CHARS, Refusal};
use crate::{
    domain::user::{Email, User},
    secret_hash::HashError,
    store::{Store, StoreError},
    system::NoEntropy,
};

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("{0:?} cannot be a user's name; expected 1 to {MAX_NAME_CHARS} characters, none a control character")]
    Name(String),
    #[error(transparent)]
    Password(#[from] InvalidPassword),
    #[error("there is no user {0}")]
    NotFound(Email),
    #[error("{0} is disabled already")]
    AlreadyDisabled(Email),
    #[error("{0} is not disabled")]
    NotDisabled(Email),
    #[error("{0} is the last admin who is not disabled; without one nobody could manage the gateway")]
    LastAdmin(Email),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Oldest first.
///
/// # Errors
/// The store's.
pub async fn list(store: &dyn Store) -> Result<Vec<User>, StoreError> {
    store.list_users().await
}

/// # Errors
/// [`UserError::NotFound`].
pub async fn find(store: &dyn Store, email: &Email) -> Result<User, UserError> {
    known(store, email).await
}

async fn known(store: &dyn Store, email: &Email) -> Result<User, UserError> {
    store.user_by_email(email).await?.ok_or_else(|| UserError::NotFound(email.clone()))
}

impl Refusal for UserError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Password(_) => Kind::Invalid,
            Self::NotFound(_) => Kind::NotFound,
            Self::AlreadyDisabled(_) | Self::NotDisabled(_) | Self::LastAdmin(_) => Kind::Conflict,
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`bento-gateway user list` shows the users there are".to_owned()),
            Self::LastAdmin(_) => Some("create another admin first: `bento-gateway user create --admin`".to_owned()),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
