//! Browser sessions of Deployments, and the hand-overs by which they begin.

use super::{
    Store, StoreError,
    statement::{same, statements},
    tokens::select_token,
};
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    deployment::DeploymentName,
    session::HandOver,
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord, TokenUid},
    token_text::LookupId,
    user::{User, UserId},
};

statements! {
    FORGET_HAND_OVERS = same("DELETE FROM hand_overs WHERE expires_at <= $1");

    INSERT_HAND_OVER = same(
        "INSERT INTO hand_overs (code_hash, nonce_hash, user_id, deployment, expires_at) VALUES ($1, $2, $3, $4, $5)",
    );

    TAKE_HAND_OVER = same(
        "DELETE FROM hand_overs
        WHERE code_hash = $1 AND nonce_hash = $2 AND deployment = $3 AND expires_at > $4 RETURNING user_id",
    );

    TOKEN_BY_NAME = same(select_token!("WHERE owner_id = $1 AND name = $2 AND revoked_at IS NULL"));

    FORGET = same("DELETE FROM token_secrets WHERE deployment IS NOT NULL AND retires_at < $1");

    END = same(
        "UPDATE token_secrets SET retires_at = $2, changed_seq = $3
        WHERE lookup_id = $1 AND deployment IS NOT NULL AND retires_at > $2",
    );
}

impl Store {
    /// Forgets those that are over at `now`, too.
    pub async fn insert_hand_over(&self, hand_over: &HandOver, now: Timestamp) -> Result<(), StoreError> {
        let HandOver { code_hash, nonce_hash, user, deployment, expires_at } = hand_over;
        let mut writing = self.begin().await?;
        writing.execute(FORGET_HAND_OVERS, (now,)).await?;
        writing.execute(INSERT_HAND_OVER, (code_hash, nonce_hash, user, deployment, expires_at)).await?;
        writing.commit().await
    }

    /// Uses it up. `None`: no such code, used, over at `now`, for another Deployment or another browser.
    pub async fn take_hand_over(
        &self,
        code: &CodeHash,
        nonce: &CodeHash,
        deployment: &DeploymentName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let mut writing = self.begin().await?;
        let taken: Option<(UserId,)> = writing.optional(TAKE_HAND_OVER, (code, nonce, deployment, now)).await?;
        let user = match taken {
            Some((user,)) => writing.live_user(user).await?,
            None => None,
        };
        writing.commit().await?;
        Ok(user)
    }

    /// The live (unrevoked) token of that name.
    pub async fn token_by_name(&self, owner: UserId, name: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.read().await?.optional(TOKEN_BY_NAME, (owner, name)).await
    }

    /// Adds a browser session's secret to its token, and forgets sessions that were over before `forget`. `false`: no
    /// such token, or it is revoked.
    pub async fn insert_browser_session(
        &self,
        token: TokenUid,
        secret: &SecretRecord,
        forget: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let live = change.connection.token(token).await?.is_some_and(|token| token.revoked_at.is_none());
        if live {
            change.connection.execute(FORGET, (forget,)).await?;
            change.insert_secret(token, secret).await?;
            change.commit(event).await?;
        }
        Ok(live)
    }

    /// `false`: no such session, or it is over at `event.at`.
    pub async fn end_browser_session(&self, id: LookupId, event: &AuditEvent) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let ended = change.connection.changes(END, (id, event.at, change.seq)).await?;
        if ended {
            change.commit(event).await?;
        }
        Ok(ended)
    }
}
