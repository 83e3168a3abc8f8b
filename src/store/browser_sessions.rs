//! Browser sessions of Deployments, and the hand-overs by which they begin.

use super::{
    Change, Store, StoreError,
    statement::{same, statements},
};
use crate::domain::{
    code::CodeHash,
    deployment::DeploymentName,
    rights::Grantor,
    session::HandOver,
    timestamp::Timestamp,
    token::TokenUid,
    token_text::LookupId,
    user::{User, UserId},
};

statements! {
    INSERT_HAND_OVER = same(
        "INSERT INTO hand_overs (code_hash, nonce_hash, user_id, token_id, deployment, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)",
    );

    TAKE_HAND_OVER = same(
        "DELETE FROM hand_overs
        WHERE code_hash = $1 AND nonce_hash = $2 AND deployment = $3 AND expires_at > $4 RETURNING user_id, token_id",
    );

    FORGET = same("DELETE FROM token_secrets WHERE deployment IS NOT NULL AND retires_at < $1");

    /// All but the `$5` that end last.
    RETIRE_OLDEST = same(
        "UPDATE token_secrets SET retires_at = $3, changed_seq = $4 WHERE lookup_id IN (
            SELECT lookup_id FROM token_secrets WHERE token_id = $1 AND deployment = $2 AND retires_at > $3
            ORDER BY retires_at DESC, lookup_id DESC LIMIT 1000 OFFSET $5)",
    );

    END = same(
        "UPDATE token_secrets SET retires_at = $2, changed_seq = $3
        WHERE lookup_id = $1 AND deployment IS NOT NULL AND retires_at > $2",
    );
}

impl Store {
    /// `by` must still have its rights.
    ///
    /// # Errors
    /// [`StoreError::Lapsed`].
    pub async fn insert_hand_over(
        &self,
        hand_over: &HandOver,
        by: &Grantor<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let HandOver { code_hash, nonce_hash, user, token, deployment, expires_at } = hand_over;
        let mut writing = self.begin().await?;
        writing.expect(by, now).await?;
        writing.execute(INSERT_HAND_OVER, (code_hash, nonce_hash, user, token, deployment, expires_at)).await?;
        writing.commit().await
    }

    /// Uses it up: the user, and the token that they have shown, if any. `None`: no such code, used, over at `now`, for another Deployment or another browser.
    pub async fn take_hand_over(
        &self,
        code: &CodeHash,
        nonce: &CodeHash,
        deployment: &DeploymentName,
        now: Timestamp,
    ) -> Result<Option<(User, Option<TokenUid>)>, StoreError> {
        let mut writing = self.begin().await?;
        let taken: Option<(UserId, Option<TokenUid>)> =
            writing.optional(TAKE_HAND_OVER, (code, nonce, deployment, now)).await?;
        let taken = match taken {
            Some((user, token)) => writing.live_user(user).await?.map(|user| (user, token)),
            None => None,
        };
        writing.commit().await?;
        Ok(taken)
    }
}

impl Change {
    /// Forgets browser sessions that were over before.
    pub async fn forget_browser_sessions(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.connection.execute(FORGET, (before,)).await.map(drop)
    }

    /// Ends those of the token at the Deployment but the `keep` that would end last.
    pub async fn end_oldest_browser_sessions(
        &mut self,
        token: TokenUid,
        deployment: &DeploymentName,
        keep: u32,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let values = (token, deployment, at, self.seq, i64::from(keep));
        self.connection.execute(RETIRE_OLDEST, values).await.map(drop)
    }

    /// `false`: no such session, or it is over at `at`.
    pub async fn end_browser_session(&mut self, id: LookupId, at: Timestamp) -> Result<bool, StoreError> {
        self.connection.changes(END, (id, at, self.seq)).await
    }
}
