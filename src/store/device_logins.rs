//! Logins of the command line in a browser.

use super::{
    Store, StoreError,
    statement::{same, statements},
};
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    login::{Login, LoginDecision},
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord},
};

statements! {
    FORGET = same("DELETE FROM logins WHERE expires_at < $1");

    INSERT = same(
        "INSERT INTO logins (code_hash, asked_from, asked_with, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
    );

    FIND = same(
        "SELECT code_hash, asked_from, asked_with, created_at, expires_at, decided_at, approved_by, scopes, claimed_at
        FROM logins WHERE code_hash = $1",
    );

    DECIDE = same(
        "UPDATE logins SET decided_at = $2, approved_by = $3, scopes = $4
        WHERE code_hash = $1 AND decided_at IS NULL AND expires_at > $2",
    );

    CLAIM = same(
        "UPDATE logins SET claimed_at = $2
        WHERE code_hash = $1 AND claimed_at IS NULL AND approved_by IS NOT NULL AND expires_at > $2",
    );
}

impl Store {
    /// Keeps an undecided login, and forgets those that ran out before `forget`.
    pub async fn insert_login(&self, login: &Login, forget: Timestamp) -> Result<(), StoreError> {
        let Login { code_hash, asked_from, asked_with, created_at, expires_at, .. } = login;
        let mut writing = self.begin().await?;
        writing.execute(FORGET, (forget,)).await?;
        writing.execute(INSERT, (code_hash, asked_from, asked_with, created_at, expires_at)).await?;
        writing.commit().await
    }

    /// `None`: no such code, or it is forgotten.
    pub async fn login(&self, code: &CodeHash) -> Result<Option<Login>, StoreError> {
        self.read().await?.optional(FIND, (code,)).await
    }

    /// `false`: no such code, it was decided before, or it has run out at `event.at`.
    pub async fn decide_login(
        &self,
        code: &CodeHash,
        decision: &LoginDecision,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let (by, scopes) = match decision {
            LoginDecision::Refused => (None, None),
            LoginDecision::Approved { by, scopes } => (Some(by), Some(scopes)),
        };
        let mut change = self.change().await?;
        let decided = change.connection.changes(DECIDE, (code, event.at, by, scopes)).await?;
        if decided {
            change.commit(event).await?;
        }
        Ok(decided)
    }

    /// Makes the token of an approved login. Exactly one of any number of concurrent calls returns `true`; `false` also
    /// if it is not approved or has run out at `event.at`.
    ///
    /// # Errors
    /// [`Conflict::TokenName`](super::Conflict::TokenName).
    pub async fn claim_login(
        &self,
        code: &CodeHash,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let claimed = change.connection.changes(CLAIM, (code, event.at)).await?;
        if claimed {
            change.insert_token(token, secret).await?;
            change.commit(event).await?;
        }
        Ok(claimed)
    }
}
