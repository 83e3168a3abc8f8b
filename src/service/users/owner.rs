//! Who a new token belongs to.

use crate::{
    domain::user::{Email, Role, User},
    service::{Kind, Refusal},
    store::{Store, StoreError},
};

#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error("there is no user {0}")]
    NotFound(Email),
    #[error("{0} is disabled, and so would be the token")]
    Disabled(Email),
    #[error("there is no admin yet who could own the token")]
    NoAdmin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The user of that address, or the first admin who is not disabled.
///
/// # Errors
/// [`OwnerError`].
pub async fn owner(store: &dyn Store, email: Option<&Email>) -> Result<User, OwnerError> {
    let Some(email) = email else {
        let users = store.list_users().await?;
        let admin = users.into_iter().find(|user| user.role == Role::Admin && user.disabled_at.is_none());
        return admin.ok_or(OwnerError::NoAdmin);
    };
    match store.user_by_email(email).await? {
        None => Err(OwnerError::NotFound(email.clone())),
        Some(user) if user.disabled_at.is_some() => Err(OwnerError::Disabled(email.clone())),
        Some(user) => Ok(user),
    }
}

impl Refusal for OwnerError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) | Self::NoAdmin => Kind::NotFound,
            Self::Disabled(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`bento-gateway user list` shows the users there are".to_owned()),
            Self::Disabled(_) => Some("choose another owner with --owner".to_owned()),
            Self::NoAdmin => Some(
                "run `bento-gateway serve` once, which sets the store up, or `bento-gateway user create --admin`"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
        }
    }
}
