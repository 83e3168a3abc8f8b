//! Links by which people come to an account: the first admin's, those of whom an admin invites, and those of whom has
//! lost a password.

use std::time::Duration;

use serde_json::json;

use super::{Context, tidy_name, users::UserError};
use crate::{
    domain::{
        audit::{Action, Actor},
        code::OneTimeCode,
        session::Invitation,
        user::{Email, User},
    },
    service::users::password,
    store::StoreError,
    system,
};

/// What somebody says of themselves as they accept.
pub struct Introduction {
    pub name: String,
    pub email: Email,
    pub password: String,
}

/// A new link for the user; earlier ones are good no more. What is returned is in the link and nowhere else.
///
/// # Errors
/// [`UserError::AlreadyDisabled`], and the store's.
pub async fn invite(context: &Context<'_>, user: &User, lifetime: Duration) -> Result<OneTimeCode, UserError> {
    if user.disabled_at.is_some() {
        return Err(UserError::AlreadyDisabled(user.email.clone()));
    }
    let code = system::new_code()?;
    let invitation = Invitation {
        code_hash: code.hash(),
        user: user.id,
        created_at: context.now,
        expires_at: context.now.saturating_add(lifetime),
    };
    let event = context.event(Action::UserInvited, user.id, json!({ "email": user.email }))?;
    context.store.insert_invitation(&invitation, &event).await?;
    Ok(code)
}

/// Whose link it is. `None`: it was used, is over, or never was.
///
/// # Errors
/// The store's.
pub async fn find(context: &Context<'_>, code: &OneTimeCode) -> Result<Option<User>, StoreError> {
    Ok(context.store.invitation(&code.hash(), context.now).await?.map(|(_, user)| user))
}

/// The user as they are afterwards. `None`: somebody has used the link before, or it is over.
///
/// # Errors
/// [`UserError::Name`], [`UserError::Password`], and the store's conflict if the address is taken.
pub async fn accept(
    context: &Context<'_>,
    code: &OneTimeCode,
    introduction: Introduction,
) -> Result<Option<User>, UserError> {
    let Some(user) = find(context, code).await? else { return Ok(None) };
    let Introduction { name, email, password } = introduction;
    let name = tidy_name(&name).ok_or(UserError::Name(name))?;
    let password_hash = Some(password::hash(context, password).await?.into_string());
    let user = User { name, email, password_hash, ..user };
    let context = Context { actor: Actor::User(user.id), ..*context };
    let event = context.event(Action::InvitationAccepted, user.id, json!({ "email": user.email }))?;
    let accepted = context.store.accept_invitation(&code.hash(), &user, &event).await?;
    Ok(accepted.then_some(user))
}
