//! Single sign-on: which user an OpenID Connect provider vouches for.

use serde_json::json;

use super::{
    Context, Error, Result, tidy_name,
    users::{self, UpdateUser},
};
use crate::domain::{
    audit::{Action, Actor},
    session::Identity,
    user::{Email, Role, User, UserId},
};

/// What the provider says about a person.
#[derive(Clone, Debug)]
pub struct Claims {
    pub identity: Identity,
    pub email: Option<String>,
    /// The provider has checked that the address is theirs.
    pub email_verified: bool,
    pub name: Option<String>,
    /// `None`: the provider says nothing about roles.
    pub role: Option<Role>,
}

/// The user of that identity: a known one, one whom their verified address links to it, or a new one. Their role becomes
/// what the provider says.
///
/// # Errors
/// [`Error::NoEmail`], [`Error::EmailNotVerified`], [`Error::AccountDisabled`], [`Error::LastAdmin`].
pub async fn user(context: &Context<'_>, claims: &Claims) -> Result<User> {
    let user = match context.store.user_by_identity(&claims.identity).await? {
        Some(user) => user,
        None => link(context, claims).await?,
    };
    if user.disabled_at.is_some() {
        return Err(Error::AccountDisabled);
    }
    match claims.role {
        Some(role) if role != user.role => {
            let change = UpdateUser { name: None, role: Some(role) };
            users::update(&acting(context, user.id), &user.email, change).await
        }
        _ => Ok(user),
    }
}

/// Links the identity to the user with its address, who is made if there is none.
async fn link(context: &Context<'_>, claims: &Claims) -> Result<User> {
    let email: Email = claims.email.as_deref().and_then(|text| text.parse().ok()).ok_or(Error::NoEmail)?;
    let known = context.store.user_by_email(&email).await?;
    let new = known.is_none();
    let user = match known {
        Some(_) if !claims.email_verified => return Err(Error::EmailNotVerified),
        Some(user) => user,
        None => User {
            id: UserId(context.system.new_id(context.now)?),
            name: claims.name.as_deref().and_then(tidy_name).unwrap_or_else(|| email.to_string()),
            email,
            role: claims.role.unwrap_or(Role::Member),
            password_hash: None,
            created_at: context.now,
            disabled_at: None,
        },
    };
    if user.disabled_at.is_some() {
        return Err(Error::AccountDisabled);
    }
    let detail = json!({ "issuer": claims.identity.issuer, "email": user.email, "new": new });
    let event = acting(context, user.id).event(Action::IdentityLinked, user.id, detail)?;
    context.store.link_identity(&claims.identity, &user, new, &event).await?;
    Ok(user)
}

fn acting<'a>(context: &Context<'a>, user: UserId) -> Context<'a> {
    Context { actor: Actor::User(user), ..*context }
}
