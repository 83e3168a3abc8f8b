//! Links by which people set their password: the first admin's, those of people whom an admin invites, and those of
//! people who have lost theirs.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Error, Result, tidy_name,
    users::{self, CreateUser, password},
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEvent},
        code::{OneTimeCode, Purpose},
        session::Invitation,
        user::{Email, User},
    },
    store::Committed,
};

/// What people enter as they accept an invitation.
pub struct Acceptance {
    pub name: String,
    pub email: Email,
    pub password: String,
}

/// A new user who has no password, with the link by which they choose one. The link's code stands in it and nowhere else.
///
/// # Errors
/// Those of [`users::create`].
pub async fn invite_new(
    context: &Context<'_>,
    request: CreateUser,
    lifetime: Duration,
) -> Result<Committed<(User, OneTimeCode)>> {
    let (user, created) = users::new(context, request).await?;
    let (invitation, code, invited) = invitation(context, &user, lifetime)?;
    let mut change = context.change().await?;
    change.insert_user(&user).await?;
    change.record(&created).await?;
    change.insert_invitation(&invitation).await?;
    Ok(change.commit(&invited).await?.with((user, code)))
}

/// A new link for the user; earlier ones stop working. The returned code stands in the link and nowhere else.
///
/// # Errors
/// [`Error::UserDisabled`], [`Error::NoPasswords`].
pub async fn invite(context: &Context<'_>, user: &User, lifetime: Duration) -> Result<Committed<OneTimeCode>> {
    let mut change = context.change().await?;
    let user = change.user(user.id).await?.ok_or_else(|| Error::UserNotFound(user.email.clone()))?;
    if user.disabled_at.is_some() {
        return Err(Error::UserDisabled(user.email.clone()));
    }
    password::may_have_password(context, &user)?;
    let (invitation, code, event) = invitation(context, &user, lifetime)?;
    change.insert_invitation(&invitation).await?;
    Ok(change.commit(&event).await?.with(code))
}

fn invitation(context: &Context<'_>, user: &User, lifetime: Duration) -> Result<(Invitation, OneTimeCode, AuditEvent)> {
    let code = context.new_code(Purpose::Invitation)?;
    let invitation = Invitation {
        code_hash: code.hash(),
        user: user.id,
        created_at: context.now,
        expires_at: context.now.saturating_add(lifetime),
    };
    let event = context.event(Action::UserInvited, user.id, json!({ "email": user.email }))?;
    Ok((invitation, code, event))
}

/// The user as they are afterwards. `None`: the link was used before, has expired or never existed.
///
/// # Errors
/// [`Error::NoPasswords`], [`Error::UserName`], [`Error::Password`], and the store's conflict if the address is taken.
pub async fn accept(
    context: &Context<'_>,
    code: &OneTimeCode,
    acceptance: Acceptance,
) -> Result<Option<Committed<User>>> {
    let Some((_, invited)) = context.store.invitation(&code.hash(), context.now).await? else { return Ok(None) };
    password::may_have_password(context, &invited)?;
    let Acceptance { name, email, password } = acceptance;
    let name = tidy_name(&name).ok_or(Error::UserName(name))?;
    let password_hash = Some(password::hash(context, password).await?.into_string());

    let mut change = context.change().await?;
    let Some(mut user) = change.use_invitation(&code.hash(), context.now).await? else { return Ok(None) };
    password::may_have_password(context, &user)?;
    *user = User { name, email, password_hash, ..user.clone() };
    let context = Context { actor: Actor::User(user.id), ..*context };
    let event = context.event(Action::InvitationAccepted, user.id, json!({ "email": user.email }))?;
    change.update_user(&user).await?;
    change.end_sessions(user.id, None, context.now).await?;
    Ok(Some(change.commit(&event).await?.with(user.into_inner())))
}
