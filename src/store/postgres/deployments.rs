//! Deployments, and what their removal does to tokens.

use async_trait::async_trait;
use sqlx::types::{Json, Uuid};
use time::OffsetDateTime;

use super::{PostgresStore, changes::Change, rows::HolderRow};
use crate::{
    domain::{
        audit::AuditEvent,
        deployment::{DeploymentName, DeploymentSpec},
        host::HostName,
        timestamp::Timestamp,
    },
    store::{
        DeploymentStore, StoreError, StoredDeployment, TouchedToken,
        rules::{EndedScopes, Holder, end_scopes, exact_scope, scope_texts, unreadable},
    },
};

const FORGET_REMOVED: &str = "DELETE FROM deployments WHERE name = $1 AND removed_at IS NOT NULL";

const INSERT: &str = "INSERT INTO deployments (name, spec, created_at, changed_seq) VALUES ($1, $2, $3, $4)";

const INSERT_HOSTS: &str = "INSERT INTO deployment_hosts (host, deployment_name) SELECT unnest($2::text[]), $1";

const LIST: &str = "SELECT spec, created_at FROM deployments WHERE removed_at IS NULL ORDER BY name";

const UPDATE: &str = "UPDATE deployments SET spec = $2, changed_seq = $3 WHERE name = $1 AND removed_at IS NULL";

const REMOVE: &str = "
    UPDATE deployments SET removed_at = $2, changed_seq = $3 WHERE name = $1 AND removed_at IS NULL";

const DELETE_HOSTS: &str = "DELETE FROM deployment_hosts WHERE deployment_name = $1";

const HOLDERS: &str = "
    SELECT id, name, scopes FROM api_tokens
    WHERE revoked_at IS NULL AND scopes @> ARRAY[$1::text] ORDER BY created_at, id";

const NARROW: &str = "
    UPDATE api_tokens SET scopes = ARRAY(SELECT jsonb_array_elements_text(left_over.scopes))
    FROM unnest($1::uuid[], $2::jsonb[]) AS left_over (id, scopes) WHERE api_tokens.id = left_over.id";

const REVOKE_MANY: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = ANY($1)";

const TOUCH_SECRETS: &str = "UPDATE token_secrets SET changed_seq = $2 WHERE token_id = ANY($1)";

const DECLARE: &str = "
    INSERT INTO declared_deployments (name, declared_at) SELECT DISTINCT unnest($1::text[]), $2::timestamptz
    ON CONFLICT (name) DO UPDATE SET declared_at = GREATEST(declared_deployments.declared_at, excluded.declared_at)";

const DECLARED: &str = r#"SELECT name FROM declared_deployments ORDER BY name COLLATE "C""#;

const KNOWS: &str = "
    SELECT EXISTS (SELECT 1 FROM deployments WHERE name = $1 AND removed_at IS NULL)
        OR EXISTS (SELECT 1 FROM declared_deployments WHERE name = $1)";

pub(super) const STATEMENTS: &[&str] = &[
    FORGET_REMOVED,
    INSERT,
    INSERT_HOSTS,
    LIST,
    UPDATE,
    REMOVE,
    DELETE_HOSTS,
    HOLDERS,
    NARROW,
    REVOKE_MANY,
    TOUCH_SECRETS,
    DECLARE,
    DECLARED,
    KNOWS,
];

#[async_trait]
impl DeploymentStore for PostgresStore {
    async fn insert_deployment(
        &self,
        spec: &DeploymentSpec,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        let name = spec.name.as_str();
        let hosts: Vec<&str> = spec.hosts.iter().map(HostName::as_str).collect();
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            sqlx::query(FORGET_REMOVED).bind(name).execute(change.connection()).await?;
            sqlx::query(INSERT)
                .bind(name)
                .bind(Json(spec))
                .bind(OffsetDateTime::from(at))
                .bind(change.seq)
                .execute(change.connection())
                .await?;
            sqlx::query(INSERT_HOSTS).bind(name).bind(&hosts).execute(change.connection()).await?;
            change.commit(event).await
        })
        .await
    }

    async fn list_deployments(&self) -> Result<Vec<StoredDeployment>, StoreError> {
        self.perform(async {
            let rows: Vec<(Json<DeploymentSpec>, OffsetDateTime)> = sqlx::query_as(LIST).fetch_all(&self.pool).await?;
            let stored = |(Json(spec), created_at)| StoredDeployment { spec, created_at: Timestamp::from(created_at) };
            Ok(rows.into_iter().map(stored).collect())
        })
        .await
    }

    async fn update_deployment(&self, spec: &DeploymentSpec, event: &AuditEvent) -> Result<bool, StoreError> {
        let name = spec.name.as_str();
        let hosts: Vec<&str> = spec.hosts.iter().map(HostName::as_str).collect();
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let updated = sqlx::query(UPDATE)
                .bind(name)
                .bind(Json(spec))
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if updated {
                sqlx::query(DELETE_HOSTS).bind(name).execute(change.connection()).await?;
                sqlx::query(INSERT_HOSTS).bind(name).bind(&hosts).execute(change.connection()).await?;
                change.commit(event).await?;
            }
            Ok(updated)
        })
        .await
    }

    async fn remove_deployment(
        &self,
        name: &DeploymentName,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<Vec<TouchedToken>>, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let removed = sqlx::query(REMOVE)
                .bind(name.as_str())
                .bind(OffsetDateTime::from(at))
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if !removed {
                return Ok(None);
            }
            sqlx::query(DELETE_HOSTS).bind(name.as_str()).execute(change.connection()).await?;
            let holders: Vec<HolderRow> =
                sqlx::query_as(HOLDERS).bind(exact_scope(name)).fetch_all(change.connection()).await?;
            let holders = holders.into_iter().map(Holder::try_from).collect::<Result<_, _>>()?;
            let ended = end_scopes(holders, name);
            apply(&mut change, &ended, at).await?;
            change.commit(event).await?;
            Ok(Some(ended.touched))
        })
        .await
    }

    async fn declare_deployments(&self, names: &[DeploymentName], at: Timestamp) -> Result<(), StoreError> {
        let names: Vec<&str> = names.iter().map(DeploymentName::as_str).collect();
        self.perform(async {
            sqlx::query(DECLARE).bind(&names).bind(OffsetDateTime::from(at)).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn declared_deployments(&self) -> Result<Vec<DeploymentName>, StoreError> {
        self.perform(async {
            let names: Vec<String> = sqlx::query_scalar(DECLARED).fetch_all(&self.pool).await?;
            names.into_iter().map(|name| name.parse().map_err(unreadable)).collect()
        })
        .await
    }

    async fn knows_deployment(&self, name: &DeploymentName) -> Result<bool, StoreError> {
        self.perform(sqlx::query_scalar(KNOWS).bind(name.as_str()).fetch_one(&self.pool)).await
    }
}

async fn apply(change: &mut Change, ended: &EndedScopes, at: Timestamp) -> Result<(), sqlx::Error> {
    let (narrowed, scopes): (Vec<Uuid>, Vec<Json<Vec<String>>>) =
        ended.narrowed.iter().map(|(uid, scopes)| (uid.0, Json(scope_texts(scopes)))).unzip();
    sqlx::query(NARROW).bind(narrowed).bind(scopes).execute(change.connection()).await?;

    let revoked: Vec<Uuid> = ended.revoked.iter().map(|uid| uid.0).collect();
    sqlx::query(REVOKE_MANY).bind(revoked).bind(OffsetDateTime::from(at)).execute(change.connection()).await?;

    let touched: Vec<Uuid> = ended.touched.iter().map(|token| token.uid.0).collect();
    sqlx::query(TOUCH_SECRETS).bind(touched).bind(change.seq).execute(change.connection()).await?;
    Ok(())
}
