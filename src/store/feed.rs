//! What followers read.

use std::sync::Arc;

use sqlx::types::Json;

use super::{
    Committed, Database, Shared, Store, StoreError,
    point::Point,
    statement::{Connection, Sql, same, statements},
};
use crate::domain::{
    deployment::{DeploymentName, DeploymentSpec},
    scope::ScopeSet,
    timestamp::Timestamp,
    token::{SecretRecord, TokenUid},
    user::UserId,
};

macro_rules! secrets {
    ($long_ago:literal) => {
        concat!(
            "SELECT s.changed_seq, s.lookup_id, s.hash, s.retires_at, s.deployment, t.id, t.owner_id, t.scopes,
                CASE WHEN t.expired_at IS NULL THEN t.expires_at ELSE ",
            $long_ago,
            " END AS expires_at, t.revoked_at
            FROM token_secrets s JOIN api_tokens t ON t.id = s.token_id
            WHERE (s.changed_seq, s.lookup_id) > ($1, $2) ORDER BY s.changed_seq, s.lookup_id LIMIT $3"
        )
    };
}

macro_rules! head {
    ($standby:literal) => {
        concat!(
            "SELECT s.seq, latest.mark, applied.mark, ",
            $standby,
            " FROM change_seq s
            LEFT JOIN change_marks latest ON latest.seq = s.seq LEFT JOIN change_marks applied ON applied.seq = $1"
        )
    };
}

statements! {
    /// `$1`: a sequence that was applied earlier. Last: whether the server is a standby.
    HEAD = Sql {
        sqlite: head!("false"),
        postgres: head!("pg_is_in_recovery()"),
    };

    /// What was seen to end has ended long ago, so that no clock revives it.
    SECRETS = Sql {
        sqlite: secrets!("0"),
        postgres: secrets!("timestamptz '1970-01-01 00:00:00Z'"),
    };

    /// The spec of a removed one may be of a form that only an older release can read.
    DEPLOYMENTS = same(
        "SELECT name, CASE WHEN removed_at IS NULL THEN spec END FROM deployments
        WHERE changed_seq > $1 ORDER BY changed_seq, name",
    );

    USERS = same("SELECT id, disabled_at IS NOT NULL FROM users WHERE changed_seq > $1 ORDER BY changed_seq, id");
}

/// Where a store stands, for a follower that has applied something before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub latest: Point,
    /// The mark that the store has for the sequence that was asked about. `None`: none, or none any more: it keeps those
    /// of the last 10,000 changes.
    pub mark_then: Option<String>,
}

/// A place in the list of changed secrets: after all of sequence `seq` up to `lookup_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub seq: i64,
    /// Empty: before the first of `seq`.
    pub lookup_id: String,
}

#[derive(Clone, Debug)]
pub struct ChangedSecret {
    /// Of the token's last change.
    pub seq: i64,
    pub now: IndexedSecret,
}

/// A secret with all that the decision needs of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedSecret {
    pub secret: SecretRecord,
    pub uid: TokenUid,
    pub owner: UserId,
    pub scopes: Arc<ScopeSet>,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct ChangedDeployment {
    pub name: DeploymentName,
    /// `None`: it was removed.
    pub spec: Option<DeploymentSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedUser {
    pub id: UserId,
    pub disabled: bool,
}

impl Cursor {
    /// After everything that was changed up to and with `seq`.
    pub fn after(seq: i64) -> Self {
        // Above every lookup id: `~` sorts after all letters and digits, in both databases' byte order.
        Self { seq, lookup_id: "~".to_owned() }
    }
}

impl ChangedSecret {
    pub fn cursor(&self) -> Cursor {
        Cursor { seq: self.seq, lookup_id: self.now.secret.lookup_id.as_str().to_owned() }
    }
}

/// One state of the store, in which all of a look is read: what is committed meanwhile, or lost with a server that
/// fails, is in none of it.
pub struct Snapshot {
    connection: Connection,
    shared: Arc<Shared>,
}

/// What a follower of the store needs: one task per process, which keeps its memory like the store.
impl Store {
    /// The state of now; to be read soon, as the database keeps it until then.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let connection = match &self.shared.database {
            Database::Sqlite(file) => file.snapshot(self.priority).await?,
            Database::Postgres(server) => server.snapshot(self.priority).await?,
        };
        Ok(Snapshot { connection, shared: Arc::clone(&self.shared) })
    }

    /// `value`, as somebody has committed it before: whoever waits for it waits for all that is committed now.
    pub async fn committed_before<T>(&self, value: T) -> Result<Committed<T>, StoreError> {
        Ok(Committed::up_to(self.snapshot().await?.head(None).await?.latest, value))
    }

    /// Returns when another process may have changed something, as soon as the database says so. On a store that
    /// cannot say so it never returns; the caller polls [`Snapshot::head`] beside it. On an error the connection for
    /// notifications was lost, and the next call makes a new one.
    pub async fn notified(&self) -> Result<(), StoreError> {
        match &self.shared.database {
            Database::Sqlite(_) => std::future::pending().await,
            Database::Postgres(server) => server.notified().await,
        }
    }
}

impl Snapshot {
    /// The last committed change, and whether the sequence `applied` is still the same change as it was. `None`: nothing
    /// was applied yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also from a standby: it may be behind, and what it lacks is not lost until it is
    /// promoted.
    pub async fn head(&mut self, applied: Option<i64>) -> Result<Head, StoreError> {
        let (seq, mark, mark_then, standby) = self.connection().one(HEAD, (applied.unwrap_or(-1),)).await?;
        if standby {
            return Err(StoreError::Unavailable("the server is a standby that has not been promoted".to_owned()));
        }
        Ok(Head { latest: Point { seq, mark }, mark_then })
    }

    /// At most `limit` secrets after `cursor`, in the cursor's order. A token with two secrets comes twice. An empty
    /// answer: that was all.
    pub async fn changed_secrets(&mut self, cursor: Cursor, limit: u32) -> Result<Vec<ChangedSecret>, StoreError> {
        self.connection().all(SECRETS, (cursor.seq, cursor.lookup_id, i64::from(limit))).await
    }

    /// Deployments changed after `seq`; removed ones with `spec: None`.
    pub async fn changed_deployments(&mut self, seq: i64) -> Result<Vec<ChangedDeployment>, StoreError> {
        let rows: Vec<(DeploymentName, Option<Json<DeploymentSpec>>)> =
            self.connection().all(DEPLOYMENTS, (seq,)).await?;
        let changed =
            |(name, spec): (_, Option<Json<_>>)| ChangedDeployment { name, spec: spec.map(|Json(spec)| spec) };
        Ok(rows.into_iter().map(changed).collect())
    }

    /// Users changed after `seq`.
    pub async fn changed_users(&mut self, seq: i64) -> Result<Vec<ChangedUser>, StoreError> {
        let rows: Vec<(UserId, bool)> = self.connection().all(USERS, (seq,)).await?;
        Ok(rows.into_iter().map(|(id, disabled)| ChangedUser { id, disabled }).collect())
    }

    /// Each statement gets the patience that a statement gets: a large store takes many.
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.shared.database.renew(&mut self.connection);
        &mut self.connection
    }
}
