//! Ways to an account: links by which a user sets their password, and identities of single sign-on.

use super::{
    Change, Current, Store, StoreError,
    statement::{same, statements},
    users::select_user,
};
use crate::domain::{
    code::CodeHash,
    session::{Identity, Invitation},
    timestamp::Timestamp,
    user::{User, UserId},
};

statements! {
    FORGET = same("DELETE FROM invitations WHERE user_id = $1");

    INSERT = same("INSERT INTO invitations (code_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)");

    FIND = same(
        "SELECT code_hash, user_id, created_at, expires_at FROM invitations
        WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2",
    );

    USE = same(
        "UPDATE invitations SET used_at = $2 WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2
        RETURNING user_id",
    );

    BY_IDENTITY = same(select_user!("JOIN identities i ON i.user_id = u.id WHERE i.issuer = $1 AND i.subject = $2"));

    LINK = same("INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)");
}

impl Store {
    /// `None`: no such code, used, over at `now`, or its user is disabled.
    pub async fn invitation(&self, code: &CodeHash, now: Timestamp) -> Result<Option<(Invitation, User)>, StoreError> {
        let mut reading = self.read().await?;
        let Some(invitation) = reading.optional::<Invitation>(FIND, (code, now)).await? else { return Ok(None) };
        let user = reading.live_user(invitation.user).await?;
        Ok(user.map(|user| (invitation, user)))
    }

    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        self.read().await?.optional(BY_IDENTITY, (&identity.issuer, &identity.subject)).await
    }
}

impl Change {
    /// Earlier ones of the same user are good no more.
    pub async fn insert_invitation(&mut self, invitation: &Invitation) -> Result<(), StoreError> {
        let Invitation { code_hash, user, created_at, expires_at } = invitation;
        self.connection.execute(FORGET, (user,)).await?;
        self.connection.execute(INSERT, (code_hash, user, created_at, expires_at)).await.map(drop)
    }

    /// No link of the user is good any more.
    pub async fn end_invitations(&mut self, user: UserId) -> Result<(), StoreError> {
        self.connection.execute(FORGET, (user,)).await.map(drop)
    }

    /// Uses the invitation up. `None`: no such code, it was used before, is over at `at`, or its user is disabled.
    pub async fn use_invitation(
        &mut self,
        code: &CodeHash,
        at: Timestamp,
    ) -> Result<Option<Current<User>>, StoreError> {
        let used: Option<(UserId,)> = self.connection.optional(USE, (code, at)).await?;
        let Some((user,)) = used else { return Ok(None) };
        let user = self.connection.live_user(user).await?;
        Ok(user.map(|user| self.current(user)))
    }

    pub async fn user_by_identity(&mut self, identity: &Identity) -> Result<Option<Current<User>>, StoreError> {
        let user = self.connection.optional(BY_IDENTITY, (&identity.issuer, &identity.subject)).await?;
        Ok(user.map(|user| self.current(user)))
    }

    pub async fn link_identity(&mut self, identity: &Identity, user: UserId, at: Timestamp) -> Result<(), StoreError> {
        self.connection.execute(LINK, (&identity.issuer, &identity.subject, user, at)).await.map(drop)
    }
}
