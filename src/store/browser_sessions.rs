//! Browser sessions of Deployments, and the hand-overs by which they begin.

use super::{
    Change, Store, StoreError,
    statement::{same, statements},
};
use crate::domain::{
    code::CodeHash,
    deployment::DeploymentName,
    session::HandOver,
    timestamp::Timestamp,
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
}

impl Change {
    /// Forgets browser sessions that were over before.
    pub async fn forget_browser_sessions(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.connection.execute(FORGET, (before,)).await.map(drop)
    }

    /// `false`: no such session, or it is over at `at`.
    pub async fn end_browser_session(&mut self, id: LookupId, at: Timestamp) -> Result<bool, StoreError> {
        self.connection.changes(END, (id, at, self.seq)).await
    }
}
