//! Users, the first start, and requests that their callers have named.

use std::collections::{BTreeSet, HashMap};

use sqlx::types::Json;

use super::{
    Change, Current, Store, StoreError,
    statement::{Connection, Sql, same, statements},
};
use crate::domain::{
    timestamp::Timestamp,
    token::{TokenRecord, TokenUid},
    user::{Email, User, UserId},
};

/// What a [`User`] is read from.
macro_rules! select_user {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.name, u.email, u.role, u.password_hash, u.created_at, u.disabled_at,
            u.id IN (SELECT user_id FROM identities) AS single_sign_on FROM users u ",
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

    /// `$1`: a JSON array of ids.
    FIND_ALL = Sql {
        sqlite: select_user!("WHERE id IN (SELECT value FROM json_each($1))"),
        postgres: select_user!("WHERE id IN (SELECT jsonb_array_elements_text($1)::uuid)"),
    };

    FIND_LIVE = same(select_user!("WHERE id = $1 AND disabled_at IS NULL"));

    FIND_BY_EMAIL = same(select_user!("WHERE lower(email) = $1"));

    ADMINS = same(select_user!("WHERE role = 'admin' AND disabled_at IS NULL ORDER BY created_at, id"));

    UPDATE = same(
        "UPDATE users SET name = $2, email = $3, role = $4, password_hash = $5, disabled_at = $6, changed_seq = $7
        WHERE id = $1",
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

impl Store {
    /// Oldest first.
    pub async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.read().await?.all(LIST, ()).await
    }

    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        self.read().await?.optional(FIND_BY_EMAIL, (email,)).await
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read().await?.user(id).await
    }

    /// Those of them that there are.
    pub async fn users(&self, ids: impl IntoIterator<Item = UserId>) -> Result<HashMap<UserId, User>, StoreError> {
        let ids: BTreeSet<UserId> = ids.into_iter().collect();
        let users: Vec<User> = self.read().await?.all(FIND_ALL, (Json(ids),)).await?;
        Ok(users.into_iter().map(|user| (user.id, user)).collect())
    }

    /// The token with its owner, whatever has become of them.
    pub async fn holder(&self, uid: TokenUid) -> Result<Option<(TokenRecord, User)>, StoreError> {
        let reading = async {
            let mut reading = self.read().await?;
            let Some(token) = reading.token(uid).await? else { return Ok(None) };
            let user = reading.user(token.owner).await?;
            Ok(user.map(|user| (token, user)))
        };
        self.shared.holders.get((self.priority, uid), reading).await
    }

    /// `None`: the store has not been set up.
    pub async fn organization(&self) -> Result<Option<Organization>, StoreError> {
        let row: Option<(String, Timestamp)> = self.read().await?.optional(ORGANIZATION, ()).await?;
        Ok(row.map(|(name, created_at)| Organization { name, created_at }))
    }

    /// What the user has done by a request of that name. `None`: nothing.
    pub async fn named_request(&self, actor: UserId, key: &str) -> Result<Option<NamedRequest>, StoreError> {
        let row: Option<(String, String)> = self.read().await?.optional(NAMED_REQUEST, (actor, key)).await?;
        Ok(row.map(|(hash, target)| NamedRequest { hash, target }))
    }
}

impl Change {
    /// Founds the organization. `false`: somebody has, and the rest of the set-up is theirs.
    pub async fn found(&mut self, organization: &str, at: Timestamp) -> Result<bool, StoreError> {
        self.connection.changes(FOUND, (organization, at)).await
    }

    pub async fn user(&mut self, id: UserId) -> Result<Option<Current<User>>, StoreError> {
        let user = self.connection.user(id).await?;
        Ok(user.map(|user| self.current(user)))
    }

    pub async fn user_by_email(&mut self, email: &Email) -> Result<Option<Current<User>>, StoreError> {
        let user = self.connection.optional(FIND_BY_EMAIL, (email,)).await?;
        Ok(user.map(|user| self.current(user)))
    }

    /// Those who are not disabled, oldest first.
    pub async fn admins(&mut self) -> Result<Vec<User>, StoreError> {
        self.connection.all(ADMINS, ()).await
    }

    /// An identity is linked to them by [`Change::link_identity`] only.
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    pub async fn insert_user(&mut self, user: &User) -> Result<(), StoreError> {
        let User { id, name, email, role, password_hash, single_sign_on: _, created_at, disabled_at } = user;
        let values = (id, name, email, role, password_hash, created_at, disabled_at, self.seq);
        self.connection.execute(INSERT_USER, values).await.map(drop)
    }

    /// Writes all but the time of creation and identities. Disabling a user disables all their tokens; enabling makes them good again.
    ///
    /// # Errors
    /// [`Conflict::Email`](super::Conflict::Email).
    pub async fn update_user(&mut self, user: &Current<User>) -> Result<(), StoreError> {
        let User { id, name, email, role, password_hash, disabled_at, .. } = self.own(user)?;
        let values = (id, name, email, role, password_hash, disabled_at, self.seq);
        self.connection.execute(UPDATE, values).await.map(drop)
    }
}

impl Connection {
    pub(super) async fn user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        self.optional(FIND, (id,)).await
    }

    /// `None`: no such user, or disabled.
    pub(super) async fn live_user(&mut self, id: UserId) -> Result<Option<User>, StoreError> {
        self.optional(FIND_LIVE, (id,)).await
    }
}
