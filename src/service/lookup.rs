//! Finding what a request names, for whoever looks: what is not theirs to see is answered as if it did not exist.

use uuid::Uuid;

use super::{
    Context, Error, Result,
    deployments::{self, Listed},
};
use crate::{
    domain::{
        token::{TokenRecord, TokenUid},
        user::{Email, Role, User, UserId},
    },
    store::Store,
};

/// Who looks.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    pub user: UserId,
    pub role: Role,
}

impl Viewer {
    pub fn of(user: &User) -> Self {
        Self { user: user.id, role: user.role }
    }

    pub fn is_admin(self) -> bool {
        self.role == Role::Admin
    }

    /// Whether what belongs to `owner` is the viewer's to see and change: their own, and everybody's for an admin.
    pub fn manages(self, owner: UserId) -> bool {
        self.is_admin() || owner == self.user
    }
}

/// The token of that uid, deleted or not.
///
/// # Errors
/// [`Error::Unknown`], also for a token of somebody else's.
pub async fn token(store: &Store, viewer: Viewer, uid: &str) -> Result<TokenRecord> {
    let unknown = || Error::Unknown { noun: "API token", name: uid.to_owned() };
    let parsed: TokenUid = uid.parse().map_err(|_| unknown())?;
    let record = store.token(parsed).await?;
    record.filter(|record| viewer.manages(record.owner)).ok_or_else(unknown)
}

/// As [`token`], of those that were not deleted.
///
/// # Errors
/// [`Error::Unknown`], [`Error::TokenDeleted`].
pub async fn live_token(store: &Store, viewer: Viewer, uid: &str) -> Result<TokenRecord> {
    let record = token(store, viewer, uid).await?;
    if record.revoked_at.is_none() { Ok(record) } else { Err(Error::TokenDeleted(record.uid)) }
}

/// The Deployment that is served under that name: a declared one hides a stored one.
///
/// # Errors
/// [`Error::Unknown`].
pub async fn deployment(context: &Context<'_>, name: &str) -> Result<Listed> {
    let all = deployments::list(context).await?;
    let found = all.into_iter().find(|listed| !listed.shadowed && listed.spec.name.as_str() == name);
    found.ok_or_else(|| unknown_deployment(name))
}

pub fn unknown_deployment(name: &str) -> Error {
    Error::Unknown { noun: "Deployment", name: name.to_owned() }
}

/// The user with that uid or e-mail address.
///
/// # Errors
/// [`Error::Unknown`], also for anybody else if the viewer is no admin.
pub async fn user(store: &Store, viewer: Viewer, name: &str) -> Result<User> {
    let unknown = || Error::Unknown { noun: "user", name: name.to_owned() };
    let found = match name.parse::<Email>() {
        Ok(email) => store.user_by_email(&email).await?,
        Err(_) => store.user(UserId(Uuid::try_parse(name).map_err(|_| unknown())?)).await?,
    };
    found.filter(|user| viewer.manages(user.id)).ok_or_else(unknown)
}
