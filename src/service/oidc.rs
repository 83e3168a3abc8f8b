//! Single sign-on: which user an OpenID Connect provider vouches for.

use serde_json::json;

use super::{
    Context, Error, Result, tidy_name,
    users::{self, UpdateUser},
};
use crate::{
    domain::{
        audit::{Action, Actor},
        session::Identity,
        user::{Email, Role, User, UserId},
    },
    store::{Change, Committed, Current},
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

/// The user of that identity: a known one, or the one of their verified address, who is made if there is none. Their role
/// becomes what the provider says, except that the last admin stays one.
///
/// # Errors
/// [`Error::NoEmail`], [`Error::EmailNotVerified`], [`Error::AccountDisabled`].
pub async fn user(context: &Context<'_>, claims: &Claims) -> Result<Committed<User>> {
    let Some(user) = context.store.user_by_identity(&claims.identity).await? else {
        return link(context, claims).await;
    };
    if user.disabled_at.is_some() {
        return Err(Error::AccountDisabled);
    }
    match claims.role {
        Some(role) if role != user.role => {
            let update = UpdateUser { name: None, role: Some(role) };
            match users::update(&acting(context, user.id), &user.email, update).await {
                Err(Error::LastAdmin(_)) => Ok(Committed::nothing(kept(user))),
                other => other,
            }
        }
        _ => Ok(Committed::nothing(user)),
    }
}

/// Links the identity to the user with its verified address, who is made if there is none. An account that was made under an
/// address of which nobody knows whose it is would be waiting for that person.
async fn link(context: &Context<'_>, claims: &Claims) -> Result<Committed<User>> {
    let email: Email = claims.email.as_deref().and_then(|text| text.parse().ok()).ok_or(Error::NoEmail)?;
    if !claims.email_verified {
        return Err(Error::EmailNotVerified);
    }
    let mut change = context.change().await?;
    // Another tab of the same browser may have come first.
    if let Some(user) = change.user_by_identity(&claims.identity).await? {
        return Ok(change.unchanged(user.into_inner()));
    }
    let (user, new) = match change.user_by_email(&email).await? {
        Some(user) if user.disabled_at.is_some() => return Err(Error::AccountDisabled),
        Some(user) => (with_role(context, &mut change, user, claims.role).await?, false),
        None => (new_user(context, &mut change, claims, email).await?, true),
    };
    change.link_identity(&claims.identity, user.id, context.now).await?;
    let user = User { single_sign_on: true, ..user };
    let detail = json!({ "issuer": claims.identity.issuer, "email": user.email, "new": new });
    let event = acting(context, user.id).event(Action::IdentityLinked, user.id, detail)?;
    Ok(change.commit(&event).await?.with(user))
}

async fn new_user(context: &Context<'_>, change: &mut Change, claims: &Claims, email: Email) -> Result<User> {
    let user = User {
        id: UserId(context.system.new_id(context.now)?),
        name: claims.name.as_deref().and_then(tidy_name).unwrap_or_else(|| email.to_string()),
        email,
        role: claims.role.unwrap_or(Role::Member),
        password_hash: None,
        single_sign_on: false,
        created_at: context.now,
        disabled_at: None,
    };
    change.insert_user(&user).await?;
    Ok(user)
}

async fn with_role(
    context: &Context<'_>,
    change: &mut Change,
    user: Current<User>,
    role: Option<Role>,
) -> Result<User> {
    if role.is_none_or(|role| role == user.role) {
        return Ok(user.into_inner());
    }
    let update = UpdateUser { name: None, role };
    let before = user.clone();
    match users::apply(&acting(context, user.id), change, user, update).await {
        Ok((user, event)) => {
            change.record(&event).await?;
            Ok(user)
        }
        Err(Error::LastAdmin(_)) => Ok(kept(before)),
        Err(error) => Err(error),
    }
}

/// They sign in all the same: an admin who is kept out could not put the provider's word right.
fn kept(user: User) -> User {
    tracing::warn!(user = %user.id, "the provider makes the last admin a member; the role stays as it is");
    user
}

fn acting<'a>(context: &Context<'a>, user: UserId) -> Context<'a> {
    Context { actor: Actor::User(user), ..*context }
}
