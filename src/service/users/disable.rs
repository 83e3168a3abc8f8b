//! Disabling a user, and with them all their tokens.

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        user::{Email, Role, User},
    },
    service::{Context, Error, Result},
    store::{Change, Committed},
};

/// # Errors
/// [`Error::UserNotFound`], [`Error::UserAlreadyDisabled`], [`Error::LastAdmin`].
pub async fn disable(context: &Context<'_>, email: &Email) -> Result<Committed<User>> {
    let mut change = context.urgent_change().await?;
    let mut user = super::current(&mut change, email).await?;
    if user.disabled_at.is_some() {
        return Err(Error::UserAlreadyDisabled(email.clone()));
    }
    keep_an_admin(context, &mut change, &user).await?;
    user.disabled_at = Some(context.now);
    let event = context.event(Action::UserDisabled, user.id, json!({}))?;
    change.update_user(&user).await?;
    change.end_sessions(user.id, None, context.now).await?;
    // Enabling the user again must not revive a link that was made before.
    change.end_invitations(user.id).await?;
    Ok(change.commit(&event).await?.with(user.into_inner()))
}

/// Whether somebody else can manage the gateway without `user`. An admin as whom nobody can sign in, like the one that the
/// first start makes, counts only if `user` is such a one, too. Writers come one after the other, so two admins cannot
/// disable each other at the same time.
pub(super) async fn keep_an_admin(context: &Context<'_>, change: &mut Change, user: &User) -> Result<()> {
    if user.role != Role::Admin || user.disabled_at.is_some() {
        return Ok(());
    }
    let signs_in = user.can_sign_in(context.sign_on);
    let admins = change.admins().await?;
    let counts = |other: &User| other.id != user.id && (!signs_in || other.can_sign_in(context.sign_on));
    if admins.iter().any(counts) { Ok(()) } else { Err(Error::LastAdmin(user.email.clone())) }
}
