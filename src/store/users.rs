//! Users, the first start, and requests that their callers have named.

use super::{
    Change, Store, StoreError,
    statement::{Connection, Sql, same, statements},
};
use crate::domain::{
    audit::AuditEvent,
    code::CodeHash,
    session::Invitation,
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord},
    user::{Email, User, UserId},
};

/// What a [`User`] is read from.
macro_rules! select_user {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.name, u.email, u.role, u.password_hash, u.created_at, u.disabled_at FROM users u ",
            $rest
        )
    };
}
pub(super) use select_user;

statements! {
    FOUND = Sql {
        sqlite: "INSERT INTO organization (only_row, name, created_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO organization (only_row, name, created_at) VALUES (true, $1, $2) ON CONFLICT DO NOTHING",
    };

    INSERT_USER = same(
        "INSERT INTO users (id, name, email, role, password_hash, created_at, disabled_at, changed_seq)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    );

    LIST = same(select_user!("ORDER BY created_at, id"));

    FIND = same(select_user!("WHERE id = $1"));

    FIND_LIVE = same(select_user!("WHERE id = $1 AND disabled_at IS NULL"));

    FIND_BY_EMAIL = same(select_user!("WHERE lower(email) = $1"));

    SET_PASSWORD = same("UPDATE users SET password_hash = $2, changed_seq = $3 WHERE id = $1");

    /// Writers come one after the other, so the last admin is seen here whatever others do at the same time.
    DISABLE = same(
        "UPDATE users SET disabled_at = $2, changed_seq = $3
        WHERE id = $1 AND disabled_at IS NULL AND (
            role <> 'admin'
            OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1))",
    );

    ENABLE = same("UPDATE users SET disabled_at = NULL, changed_seq = $2 WHERE id = $1 AND disabled_at IS NOT NULL");

    UPDATE = same(
        "UPDATE users SET name = $2, role = $3, changed_seq = $4
        WHERE id = $1 AND (
            $3 = 'admin' OR role <> 'admin' OR disabled_at IS NOT NULL
            OR EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND disabled_at IS NULL AND id <> $1))",
    );

    ORGANIZATION = same("SELECT name, created_at FROM organization");

    NAMED_REQUEST = same("SELECT request_hash, target FROM audit_events WHERE actor_id = $1 AND request_key = $2");
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    pub name: String,
    pub created_at: Timestamp,
}

/// A request that its caller has named (`Idempotency-Key`), as the audit trail has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRequest {
    /// Of what was asked.
    pub hash: String,
    /// The uid, name or id of what it made.
    pub target: String,
}

/// What [`Store::bootstrap`] creates.
#[derive(Debug)]
pub struct Bootstrap {
    pub organization: String,
    pub admin: User,
    /// `None`: no first token is wanted.
    pub token: Option<(TokenRecord, SecretRecord)>,
    /// The link by which the admin sets their password.
    pub invitation: Invitation,
    pub event: AuditEvent,
}

impl Store {
    /// Creates the organization, its first admin and, if wanted, that admin's first token, unless there is an
    /// organization already. Exactly one of any number of concurrent calls, of any number of processes, returns `true`.
    pub async fn bootstrap(&self, first: &Bootstrap) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let founded = change.connection.changes(FOUND, (&first.organization, first.event.at)).await?;
        if founded {
            change.insert_user(&first.admin).await?;
            if let Some((token, secret)) = &first.token {
                change.insert_token(token, secret).await?;
            }
            change.insert_invitation(&first.invitation).await?;
            change.commit(&first.event).await?;
        }
        Ok(founded)
    }

    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    pub async fn insert_user(&self, user: &User, event: &AuditEvent) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        change.insert_user(user).await?;
        change.commit(event).await
    }

    /// Oldest first.
    pub async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.read().await?.all(LIST, ()).await
    }

    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        self.read().await?.optional(FIND_BY_EMAIL, (email,)).await
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read().await?.optional(FIND, (id,)).await
    }

    /// `None`: [`Store::bootstrap`] has not happened.
    pub async fn organization(&self) -> Result<Option<Organization>, StoreError> {
        let row: Option<(String, Timestamp)> = self.read().await?.optional(ORGANIZATION, ()).await?;
        Ok(row.map(|(name, created_at)| Organization { name, created_at }))
    }

    /// What the user has done by a request of that name. `None`: nothing.
    pub async fn named_request(&self, actor: UserId, key: &str) -> Result<Option<NamedRequest>, StoreError> {
        let row: Option<(String, String)> = self.read().await?.optional(NAMED_REQUEST, (actor, key)).await?;
        Ok(row.map(|(hash, target)| NamedRequest { hash, target }))
    }

    /// Sets name and role to those of `user`. `false`: no such user, or the last enabled admin would be none.
    pub async fn update_user(&self, user: &User, event: &AuditEvent) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let updated = change.connection.changes(UPDATE, (user.id, &user.name, user.role, change.seq)).await?;
        if updated {
            change.commit(event).await?;
        }
        Ok(updated)
    }

    /// Ends the user's sessions, too, but `keep`. `false`: no such user.
    pub async fn set_password(
        &self,
        id: UserId,
        hash: &str,
        keep: Option<&CodeHash>,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let known = change.connection.changes(SET_PASSWORD, (id, hash, change.seq)).await?;
        if known {
            change.end_sessions(id, keep, event.at).await?;
            change.commit(event).await?;
        }
        Ok(known)
    }

    /// Enables a disabled user, and so all their tokens. `false`: no such user, or not disabled.
    pub async fn enable_user(&self, id: UserId, event: &AuditEvent) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let enabled = change.connection.changes(ENABLE, (id, change.seq)).await?;
        if enabled {
            change.commit(event).await?;
        }
        Ok(enabled)
    }

    /// Disables the user, and so all their tokens, and ends their sessions for good. `false`: no such user, disabled
    /// already, or the last enabled admin.
    pub async fn disable_user(&self, id: UserId, at: Timestamp, event: &AuditEvent) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let disabled = change.connection.changes(DISABLE, (id, at, change.seq)).await?;
        if disabled {
            change.end_sessions(id, None, at).await?;
            change.commit(event).await?;
        }
        Ok(disabled)
    }
}

impl Change {
    pub(super) async fn insert_user(&mut self, user: &User) -> Result<(), StoreError> {
        let User { id, name, email, role, password_hash, created_at, disabled_at } = user;
        let values = (id, name, email, role, password_hash, created_at, disabled_at, self.seq);
        self.connection.execute(INSERT_USER, values).await.map(drop)
    }
}

impl Connection {
    /// `None`: no such user, or disabled.
    pub(super) async fn live_user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        self.optional(FIND_LIVE, (id,)).await
    }
}
