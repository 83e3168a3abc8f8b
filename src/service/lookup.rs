//! Finding what a request names, for whoever looks: what is not theirs to see is answered as if it did not exist.

use uuid::Uuid;

use super::{
    Context, Error, Result,
    deployments::{self, Listed},
};
use crate::{
    domain::{
        token::{TokenRecord, TokenStatus, TokenUid},
        token_text::PREFIX,
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

/// The token that `text` names, deleted or not: by its uid or the last 12 characters of it, by the 12 characters behind
/// `bgw_` of its text, or by its name. A deleted one is found by its name no more.
///
/// # Errors
/// [`Error::Unknown`], also for a token of somebody else's; [`Error::AmbiguousToken`].
pub async fn token(context: &Context<'_>, viewer: Viewer, text: &str) -> Result<TokenRecord> {
    token_of(context, (!viewer.is_admin()).then_some(viewer.user), text).await
}

/// As [`token`], for the operator at the store.
///
/// # Errors
/// [`Error::Unknown`], [`Error::AmbiguousToken`].
pub async fn any_token(context: &Context<'_>, text: &str) -> Result<TokenRecord> {
    token_of(context, None, text).await
}

/// `owner` of `None`: everyone's.
async fn token_of(context: &Context<'_>, owner: Option<UserId>, text: &str) -> Result<TokenRecord> {
    let unknown = || Error::Unknown { noun: "API token", name: text.to_owned() };
    if let Ok(uid) = text.parse::<TokenUid>() {
        let record = context.store.token(uid).await?;
        return record.filter(|record| owner.is_none_or(|owner| owner == record.owner)).ok_or_else(unknown);
    }
    let name = text.strip_prefix(PREFIX).unwrap_or(text);
    let mut found = context.store.tokens_called(name, owner).await?;
    let works = |record: &TokenRecord| record.status(context.now) == TokenStatus::Active;
    // What has ended does not stand in the way of what works.
    if found.iter().any(works) {
        found.retain(works);
    }
    match (found.pop(), found.as_slice()) {
        (None, _) => Err(unknown()),
        (Some(record), []) => Ok(record),
        (Some(last), others) => {
            let all = || others.iter().chain([&last]);
            let owners = context.store.users(all().map(|record| record.owner)).await?;
            let tokens = all().filter_map(|record| Some((record.uid, owners.get(&record.owner)?.email.clone())));
            let tokens = tokens.collect();
            Err(Error::AmbiguousToken { name: text.to_owned(), tokens })
        }
    }
}

/// As [`token`], of those that were not deleted.
///
/// # Errors
/// [`Error::Unknown`], [`Error::AmbiguousToken`], [`Error::TokenDeleted`].
pub async fn live_token(context: &Context<'_>, viewer: Viewer, text: &str) -> Result<TokenRecord> {
    let record = token(context, viewer, text).await?;
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
