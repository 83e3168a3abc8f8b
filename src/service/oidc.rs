//! Whom a provider of single sign-on vouches for.

use serde_json::json;

use super::{
    Context, Kind, Refusal, tidy_name,
    users::{self, UpdateUser, UserError},
};
use crate::{
    domain::{
        audit::{Action, Actor},
        session::Identity,
        user::{Email, Role, User, UserId},
    },
    store::StoreError,
    system::{self, NoEntropy},
};

/// What the provider says of somebody.
#[derive(Clone, Debug)]
pub struct Claims {
    pub identity: Identity,
    pub email: Option<String>,
    /// The provider has checked that the address is theirs.
    pub email_verified: bool,
    pub name: Option<String>,
    /// `None`: it says nothing about roles.
    pub role: Option<Role>,
}

#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("the provider did not tell an e-mail address; ask its operator to grant the scope email")]
    NoEmail,
    #[error(
        "there is an account with that address already, and the provider has not verified that the address is yours; \
         ask its operator to verify it"
    )]
    Unverified,
    #[error("your account is disabled; ask an admin")]
    Disabled,
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The user of that identity: known, linked by a verified address, or made now. Their role follows the provider's word.
///
/// # Errors
/// [`OidcError`].
pub async fn user(context: &Context<'_>, claims: &Claims) -> Result<User, OidcError> {
    let user = match context.store.user_by_identity(&claims.identity).await? {
        Some(user) => user,
        None => introduce(context, claims).await?,
    };
    if user.disabled_at.is_some() {
        return Err(OidcError::Disabled);
    }
    match claims.role {
        Some(role) if role != user.role => {
            let change = UpdateUser { name: None, role: Some(role) };
            Ok(users::update(&acting(context, user.id), &user.email, change).await?)
        }
        _ => Ok(user),
    }
}

async fn introduce(context: &Context<'_>, claims: &Claims) -> Result<User, OidcError> {
    let email: Email = claims.email.as_deref().and_then(|text| text.parse().ok()).ok_or(OidcError::NoEmail)?;
    let known = context.store.user_by_email(&email).await?;
    let new = known.is_none();
    let user = match known {
        Some(_) if !claims.email_verified => return Err(OidcError::Unverified),
        Some(user) => user,
        None => User {
            id: UserId(system::new_id(context.now)?),
            name: claims.name.as_deref().and_then(tidy_name).unwrap_or_else(|| email.to_string()),
            email,
            role: claims.role.unwrap_or(Role::Member),
            password_hash: None,
            created_at: context.now,
            disabled_at: None,
        },
    };
    if user.disabled_at.is_some() {
        return Err(OidcError::Disabled);
    }
    let detail = json!({ "issuer": claims.identity.issuer, "email": user.email, "new": new });
    let event = acting(context, user.id).event(Action::IdentityLinked, user.id, detail)?;
    context.store.link_identity(&claims.identity, &user, new, &event).await?;
    Ok(user)
}

fn acting<'a>(context: &Context<'a>, user: UserId) -> Context<'a> {
    Context { actor: Actor::User(user), ..*context }
}

impl Refusal for OidcError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoEmail | Self::Unverified | Self::Disabled => Kind::Forbidden,
            Self::User(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
