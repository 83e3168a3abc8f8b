//! Logins of the command line in a browser.

use async_trait::async_trait;
use sqlx::{
    FromRow,
    types::{Json, uuid::fmt::Hyphenated},
};

use super::{
    SqliteStore,
    changes::{BEGIN, Change},
    tokens::insert_token,
};
use crate::{
    domain::{
        audit::AuditEvent,
        code::CodeHash,
        login::{Login, LoginDecision},
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord},
        user::UserId,
    },
    store::{
        LoginStore, StoreError,
        rules::{scope_texts, stored_scopes},
    },
};

const FORGET: &str = "DELETE FROM logins WHERE expires_at < $1";

const INSERT: &str = "
    INSERT INTO logins (code_hash, asked_from, asked_with, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";

const FIND: &str = "
    SELECT asked_from, asked_with, created_at, expires_at, decided_at, approved_by, scopes, claimed_at
    FROM logins WHERE code_hash = $1";

const DECIDE: &str = "
    UPDATE logins SET decided_at = $2, approved_by = $3, scopes = $4
    WHERE code_hash = $1 AND decided_at IS NULL AND expires_at > $2";

const CLAIM: &str = "
    UPDATE logins SET claimed_at = $2
    WHERE code_hash = $1 AND claimed_at IS NULL AND approved_by IS NOT NULL AND expires_at > $2";

pub(super) const STATEMENTS: &[&str] = &[FORGET, INSERT, FIND, DECIDE, CLAIM];

#[async_trait]
impl LoginStore for SqliteStore {
    async fn insert_login(&self, login: &Login, forget: Timestamp) -> Result<(), StoreError> {
        self.perform(async {
            let mut transaction = self.writer.begin_with(BEGIN).await?;
            sqlx::query(FORGET).bind(forget.as_millis()).execute(&mut *transaction).await?;
            sqlx::query(INSERT)
                .bind(login.code_hash.as_str())
                .bind(&login.asked_from)
                .bind(&login.asked_with)
                .bind(login.created_at.as_millis())
                .bind(login.expires_at.as_millis())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
        .await
    }

    async fn login(&self, code: &CodeHash) -> Result<Option<Login>, StoreError> {
        self.perform(async {
            let row: Option<LoginRow> = sqlx::query_as(FIND).bind(code.as_str()).fetch_optional(&self.readers).await?;
            row.map(|row| row.login(code)).transpose()
        })
        .await
    }

    async fn decide_login(
        &self,
        code: &CodeHash,
        decision: &LoginDecision,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let (by, scopes) = match decision {
            LoginDecision::Refused => (None, None),
            LoginDecision::Approved { by, scopes } => (Some(by.0.hyphenated()), Some(Json(scope_texts(scopes)))),
        };
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            let decided = sqlx::query(DECIDE)
                .bind(code.as_str())
                .bind(event.at.as_millis())
                .bind(by)
                .bind(scopes)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if decided {
                change.commit(event).await?;
            }
            Ok(decided)
        })
        .await
    }

    async fn claim_login(
        &self,
        code: &CodeHash,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            let claimed = sqlx::query(CLAIM)
                .bind(code.as_str())
                .bind(event.at.as_millis())
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if claimed {
                insert_token(&mut change, token, secret).await?;
                change.commit(event).await?;
            }
            Ok(claimed)
        })
        .await
    }
}

#[derive(FromRow)]
struct LoginRow {
    asked_from: String,
    asked_with: String,
    created_at: i64,
    expires_at: i64,
    decided_at: Option<i64>,
    approved_by: Option<Hyphenated>,
    scopes: Option<Json<Vec<String>>>,
    claimed_at: Option<i64>,
}

impl LoginRow {
    fn login(self, code_hash: &CodeHash) -> Result<Login, sqlx::Error> {
        let decision = match (self.decided_at, self.approved_by, self.scopes) {
            (None, _, _) => None,
            (Some(_), Some(by), Some(scopes)) => {
                Some(LoginDecision::Approved { by: UserId(by.into()), scopes: stored_scopes(&scopes)? })
            }
            (Some(_), _, _) => Some(LoginDecision::Refused),
        };
        Ok(Login {
            code_hash: code_hash.clone(),
            asked_from: self.asked_from,
            asked_with: self.asked_with,
            created_at: Timestamp::from_millis(self.created_at),
            expires_at: Timestamp::from_millis(self.expires_at),
            decision,
            claimed_at: self.claimed_at.map(Timestamp::from_millis),
        })
    }
}
