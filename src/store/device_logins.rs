//! Logins of the command line in a browser.

use super::{
    Change, Store, StoreError,
    statement::{same, statements},
};
use crate::domain::{
    code::CodeHash,
    device_login::{DeviceLogin, LoginDecision},
    timestamp::Timestamp,
};

statements! {
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
    /// Keeps an undecided login.
    pub async fn insert_login(&self, login: &DeviceLogin) -> Result<(), StoreError> {
        let DeviceLogin { code_hash, asked_from, asked_with, created_at, expires_at, .. } = login;
        let values = (code_hash, asked_from, asked_with, created_at, expires_at);
        self.write().await?.execute(INSERT, values).await.map(drop)
    }

    /// `None`: no such code, or it is forgotten.
    pub async fn login(&self, code: &CodeHash) -> Result<Option<DeviceLogin>, StoreError> {
        self.read().await?.optional(FIND, (code,)).await
    }
}

impl Change {
    /// `false`: no such code, it was decided before, or it has run out at `at`.
    pub async fn decide_login(
        &mut self,
        code: &CodeHash,
        decision: &LoginDecision,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (by, scopes) = match decision {
            LoginDecision::Refused => (None, None),
            LoginDecision::Approved { by, scopes } => (Some(by), Some(scopes)),
        };
        self.connection.changes(DECIDE, (code, at, by, scopes)).await
    }

    /// Takes an approved login, once. `false`: it is not approved, was taken before, or has run out at `at`.
    pub async fn claim_login(&mut self, code: &CodeHash, at: Timestamp) -> Result<bool, StoreError> {
        self.connection.changes(CLAIM, (code, at)).await
    }
}
