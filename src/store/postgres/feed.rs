//! What followers read.

use async_trait::async_trait;
use sqlx::{
    postgres::PgListener,
    types::{Json, Uuid},
};

use super::{PostgresStore, errors, rows::ChangedSecretRow};
use crate::{
    domain::{deployment::DeploymentSpec, user::UserId},
    store::{ChangeFeed, ChangedDeployment, ChangedSecret, ChangedUser, Cursor, StoreError, rules::unreadable},
};

const CHANNEL: &str = "bento_gateway_changes";

const CHANGE_SEQ: &str = "SELECT seq FROM change_seq";

const SECRETS: &str = "
    SELECT s.changed_seq, s.lookup_id, s.hash, s.retires_at, s.deployment, t.id, t.owner_id, t.scopes, t.expires_at, t.revoked_at
    FROM token_secrets s JOIN api_tokens t ON t.id = s.token_id
    WHERE (s.changed_seq, s.lookup_id) > ($1, $2) ORDER BY s.changed_seq, s.lookup_id LIMIT $3";

/// The spec of a removed one may be of a form that only an older release can read.
const DEPLOYMENTS: &str = "
    SELECT name, CASE WHEN removed_at IS NULL THEN spec END FROM deployments
    WHERE changed_seq > $1 ORDER BY changed_seq, name";

const USERS: &str = "SELECT id, disabled_at IS NOT NULL FROM users WHERE changed_seq > $1 ORDER BY changed_seq, id";

pub(super) const STATEMENTS: &[&str] = &[CHANGE_SEQ, SECRETS, DEPLOYMENTS, USERS];

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn change_seq(&self) -> Result<i64, StoreError> {
        self.perform(sqlx::query_scalar(CHANGE_SEQ).fetch_one(&self.pool)).await
    }

    async fn notified(&self) -> Result<(), StoreError> {
        let mut listener = self.listener.lock().await;
        let Some(listening) = &mut *listener else {
            let new = self.perform(async {
                let mut new = PgListener::connect_with(&self.notifications).await?;
                new.eager_reconnect(false);
                new.listen(CHANNEL).await?;
                Ok(new)
            });
            *listener = Some(new.await?);
            // Something may have changed before this connection stood.
            return Ok(());
        };
        let lost = match listening.try_recv().await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => StoreError::Unavailable("the connection for notifications was lost".to_owned()),
            Err(error) => errors::store_error(error),
        };
        *listener = None;
        Err(lost)
    }

    async fn changed_secrets(&self, cursor: Cursor, limit: u32) -> Result<Vec<ChangedSecret>, StoreError> {
        self.perform(async {
            let rows: Vec<ChangedSecretRow> = sqlx::query_as(SECRETS)
                .bind(cursor.seq)
                .bind(&cursor.lookup_id)
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
            rows.into_iter().map(ChangedSecret::try_from).collect()
        })
        .await
    }

    async fn changed_deployments(&self, seq: i64) -> Result<Vec<ChangedDeployment>, StoreError> {
        self.perform(async {
            let rows: Vec<(String, Option<Json<DeploymentSpec>>)> =
                sqlx::query_as(DEPLOYMENTS).bind(seq).fetch_all(&self.pool).await?;
            let changed = |(name, spec): (String, Option<Json<DeploymentSpec>>)| {
                let name = name.parse().map_err(unreadable)?;
                Ok(ChangedDeployment { name, spec: spec.map(|Json(spec)| spec) })
            };
            rows.into_iter().map(changed).collect()
        })
        .await
    }

    async fn changed_users(&self, seq: i64) -> Result<Vec<ChangedUser>, StoreError> {
        self.perform(async {
            let rows: Vec<(Uuid, bool)> = sqlx::query_as(USERS).bind(seq).fetch_all(&self.pool).await?;
            Ok(rows.into_iter().map(|(id, disabled)| ChangedUser { id: UserId(id), disabled }).collect())
        })
        .await
    }
}
