//! Users, and the first start.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{
    PostgresStore,
    changes::Change,
    people::{end_sessions, insert_invitation},
    rows::UserRow,
    tokens::insert_token,
};
use crate::{
    domain::{
        audit::AuditEvent,
        code::CodeHash,
        timestamp::Timestamp,
        user::{Email, User, UserId},
    },
    store::{Bootstrap, NamedRequest, Organization, StoreError, UserStore},
};

const FOUND: &str = "
    INSERT INTO organization (only_row, name, created_at) VALUES (true, $1, $2) ON CONFLICT DO NOTHING";

const INSERT_USER: &str = "
    INSERT INTO users (id, name, email, role, password_hash, created_at, disabled_at, changed_seq)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const LIST: &str = "
    SELECT id, name, email, role, password_hash, created_at, disabled_at FROM users ORDER BY created_at, id";

const FIND_BY_EMAIL: &str = "
    SELECT id, name, email, role, password_hash, created_at, disabled_at FROM users WHERE lower(email) = $1";

const SET_PASSWORD: &str = "UPDATE users SET password_hash = $2, changed_seq = $3 WHERE id = $1";

/// Writers come one after the other, so the last admin is seen here whatever others do at the same time.
const DISABLE: &str = "
    UPDATE users SET disabled_at = $2, changed_seq = $3
    WHERE id = $1 AND disabled_at IS NULL AND (
        role <> 'admin'
        OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1))";

const ENABLE: &str = "
    UPDATE users SET disabled_at = NULL, changed_seq = $2 WHERE id = $1 AND disabled_at IS NOT NULL";

const FIND: &str = "
    SELECT id, name, email, role, password_hash, created_at, disabled_at FROM users WHERE id = $1";

const UPDATE: &str = "
    UPDATE users SET name = $2, role = $3, changed_seq = $4
    WHERE id = $1 AND (
        $3 = 'admin' OR role <> 'admin' OR disabled_at IS NOT NULL
        OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1))";

const ORGANIZATION: &str = "SELECT name, created_at FROM organization";

const NAMED_REQUEST: &str = "SELECT request_hash, target FROM audit_events WHERE actor_id = $1 AND request_key = $2";

pub(super) const STATEMENTS: &[&str] = &[
    FOUND,
    INSERT_USER,
    LIST,
    FIND_BY_EMAIL,
    SET_PASSWORD,
    DISABLE,
    ENABLE,
    FIND,
    UPDATE,
    ORGANIZATION,
    NAMED_REQUEST,
];

#[async_trait]
impl UserStore for PostgresStore {
    async fn bootstrap(&self, first: &Bootstrap) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let founded = sqlx::query(FOUND)
                .bind(&first.organization)
                .bind(OffsetDateTime::from(first.event.at))
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if founded {
                insert_user(&mut change, &first.admin).await?;
                if let Some((token, secret)) = &first.token {
                    insert_token(&mut change, token, secret).await?;
                }
                insert_invitation(&mut change, &first.invitation).await?;
                change.commit(&first.event).await?;
            }
            Ok(founded)
        })
        .await
    }

    async fn insert_user(&self, user: &User, event: &AuditEvent) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            insert_user(&mut change, user).await?;
            change.commit(event).await
        })
        .await
    }

    async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.perform(async {
            let rows: Vec<UserRow> = sqlx::query_as(LIST).fetch_all(&self.pool).await?;
            rows.into_iter().map(User::try_from).collect()
        })
        .await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        self.perform(async {
            let row: Option<UserRow> =
                sqlx::query_as(FIND_BY_EMAIL).bind(email.as_str()).fetch_optional(&self.pool).await?;
            row.map(User::try_from).transpose()
        })
        .await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.perform(async {
            let row: Option<UserRow> = sqlx::query_as(FIND).bind(id.0).fetch_optional(&self.pool).await?;
            row.map(User::try_from).transpose()
        })
        .await
    }

    async fn organization(&self) -> Result<Option<Organization>, StoreError> {
        self.perform(async {
            let row: Option<(String, OffsetDateTime)> = sqlx::query_as(ORGANIZATION).fetch_optional(&self.pool).await?;
            Ok(row.map(|(name, created_at)| Organization { name, created_at: created_at.into() }))
        })
        .await
    }

    async fn named_request(&self, actor: UserId, key: &str) -> Result<Option<NamedRequest>, StoreError> {
        self.perform(async {
            let row: Option<(String, String)> =
                sqlx::query_as(NAMED_REQUEST).bind(actor.0).bind(key).fetch_optional(&self.pool).await?;
            Ok(row.map(|(hash, target)| NamedRequest { hash, target }))
        })
        .await
    }

    async fn update_user(&self, user: &User, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let known = sqlx::query(UPDATE)
                .bind(user.id.0)
                .bind(&user.name)
                .bind(user.role.as_str())
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if known {
                change.commit(event).await?;
            }
            Ok(known)
        })
        .await
    }

    async fn set_password(
        &self,
        id: UserId,
        hash: &str,
        keep: Option<&CodeHash>,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let known = sqlx::query(SET_PASSWORD)
                .bind(id.0)
                .bind(hash)
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if known {
                end_sessions(&mut change, id, keep, event.at).await?;
                change.commit(event).await?;
            }
            Ok(known)
        })
        .await
    }

    async fn enable_user(&self, id: UserId, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let enabled =
                sqlx::query(ENABLE).bind(id.0).bind(change.seq).execute(change.connection()).await?.rows_affected() > 0;
            if enabled {
                change.commit(event).await?;
            }
            Ok(enabled)
        })
        .await
    }

    async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let disabled = sqlx::query(DISABLE)
                .bind(id.0)
                .bind(OffsetDateTime::from(at))
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if disabled {
                end_sessions(&mut change, id, None, at).await?;
                change.commit(event).await?;
            }
            Ok(disabled)
        })
        .await
    }
}

pub(super) async fn insert_user(change: &mut Change, user: &User) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT_USER)
        .bind(user.id.0)
        .bind(&user.name)
        .bind(user.email.as_str())
        .bind(user.role.as_str())
        .bind(&user.password_hash)
        .bind(OffsetDateTime::from(user.created_at))
        .bind(user.disabled_at.map(OffsetDateTime::from))
        .bind(change.seq)
        .execute(change.connection())
        .await?;
    Ok(())
}
