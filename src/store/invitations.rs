//! Ways to an account: links by which a user sets their password, and identities of single sign-on.

use super::{
    Change, Store, StoreError,
    statement::{same, statements},
    users::select_user,
};
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    session::{Identity, Invitation},
    timestamp::Timestamp,
    user::User,
};

statements! {
    FORGET = same("DELETE FROM invitations WHERE user_id = $1");

    INSERT = same("INSERT INTO invitations (code_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)");

    FIND = same(
        "SELECT code_hash, user_id, created_at, expires_at FROM invitations
        WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2",
    );

    USE = same(
        "UPDATE invitations SET used_at = $2
        WHERE code_hash = $1 AND user_id = $3 AND used_at IS NULL AND expires_at > $2",
    );

    INTRODUCE = same(
        "UPDATE users SET name = $2, email = $3, password_hash = $4, changed_seq = $5
        WHERE id = $1 AND disabled_at IS NULL",
    );

    BY_IDENTITY = same(select_user!("JOIN identities i ON i.user_id = u.id WHERE i.issuer = $1 AND i.subject = $2"));

    LINK = same("INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)");
}

impl Store {
    /// Earlier ones of the same user are good no more.
    pub async fn insert_invitation(&self, invitation: &Invitation, event: &AuditEvent) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        change.insert_invitation(invitation).await?;
        change.commit(event).await
    }

    /// `None`: no such code, used, over at `now`, or its user is disabled.
    pub async fn invitation(&self, code: &CodeHash, now: Timestamp) -> Result<Option<(Invitation, User)>, StoreError> {
        let mut reading = self.read().await?;
        let Some(invitation) = reading.optional::<Invitation>(FIND, (code, now)).await? else { return Ok(None) };
        let user = reading.live_user(invitation.user).await?;
        Ok(user.map(|user| (invitation, user)))
    }

    /// Uses the invitation up: its user gets the name, address and password of `user`, and loses all sessions. `false`:
    /// it was used before, or is over at `event.at`.
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    pub async fn accept_invitation(
        &self,
        code: &CodeHash,
        user: &User,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let introduction = (user.id, &user.name, &user.email, &user.password_hash, change.seq);
        let accepted = change.connection.changes(USE, (code, event.at, user.id)).await?
            && change.connection.changes(INTRODUCE, introduction).await?;
        if accepted {
            change.end_sessions(user.id, None, event.at).await?;
            change.commit(event).await?;
        }
        Ok(accepted)
    }

    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        self.read().await?.optional(BY_IDENTITY, (&identity.issuer, &identity.subject)).await
    }

    /// Links the identity to a user who is there, or who is made with it (`new`).
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    pub async fn link_identity(
        &self,
        identity: &Identity,
        user: &User,
        new: bool,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        if new {
            change.insert_user(user).await?;
        }
        change.connection.execute(LINK, (&identity.issuer, &identity.subject, user.id, event.at)).await?;
        change.commit(event).await
    }
}

impl Change {
    pub(super) async fn insert_invitation(&mut self, invitation: &Invitation) -> Result<(), StoreError> {
        let Invitation { code_hash, user, created_at, expires_at } = invitation;
        self.connection.execute(FORGET, (user,)).await?;
        self.connection.execute(INSERT, (code_hash, user, created_at, expires_at)).await.map(drop)
    }
}
