//! Deployments, and what their removal does to tokens.

use sqlx::types::Json;

use super::{
    Change, Current, Store, StoreError,
    columns::scope_texts,
    statement::{Sql, same, statements},
    tokens::exact_scope,
};
use crate::domain::{
    deployment::{DeploymentName, DeploymentSpec},
    host::HostName,
    scope::ScopeSet,
    timestamp::Timestamp,
    token::TokenUid,
};

statements! {
    FORGET_REMOVED = same("DELETE FROM deployments WHERE name = $1 AND removed_at IS NOT NULL");

    INSERT = same("INSERT INTO deployments (name, spec, created_at, changed_seq) VALUES ($1, $2, $3, $4)");

    /// `$2`: a JSON array of names.
    INSERT_HOSTS = Sql {
        sqlite: "INSERT INTO deployment_hosts (host, deployment_name) SELECT value, $1 FROM json_each($2)",
        postgres: "INSERT INTO deployment_hosts (host, deployment_name) SELECT jsonb_array_elements_text($2), $1",
    };

    /// `$1`: a JSON array of hosts.
    GIVE_HOSTS = Sql {
        sqlite: "INSERT INTO given_hosts (host) SELECT value FROM json_each($1) WHERE true ON CONFLICT (host) DO NOTHING",
        postgres: "INSERT INTO given_hosts (host) SELECT DISTINCT jsonb_array_elements_text($1)
            ON CONFLICT (host) DO NOTHING",
    };

    WAS_GIVEN = same("SELECT EXISTS (SELECT 1 FROM given_hosts WHERE host = $1)");

    LIST = same("SELECT spec, created_at FROM deployments WHERE removed_at IS NULL ORDER BY name");

    FIND = same("SELECT spec, created_at FROM deployments WHERE name = $1 AND removed_at IS NULL");

    UPDATE = same("UPDATE deployments SET spec = $2, changed_seq = $3 WHERE name = $1 AND removed_at IS NULL");

    REMOVE = same("UPDATE deployments SET removed_at = $2, changed_seq = $3 WHERE name = $1 AND removed_at IS NULL");

    DELETE_HOSTS = same("DELETE FROM deployment_hosts WHERE deployment_name = $1");

    HOLDERS = Sql {
        sqlite: "SELECT id, name, scopes FROM api_tokens
            WHERE revoked_at IS NULL AND EXISTS (SELECT 1 FROM json_each(scopes)
                WHERE substr(value || ':', 1, length($1) + 1) = $1 || ':')
            ORDER BY created_at, id",
        postgres: "SELECT id, name, scopes FROM api_tokens
            WHERE revoked_at IS NULL AND EXISTS (SELECT 1 FROM unnest(scopes) AS t (scope)
                WHERE starts_with(scope || ':', $1 || ':'))
            ORDER BY created_at, id",
    };

    /// `$1`: a JSON array of pairs.
    NARROW = Sql {
        sqlite: "UPDATE api_tokens SET scopes = left_over.scopes
            FROM (SELECT value ->> 0 AS id, value -> 1 AS scopes FROM json_each($1)) AS left_over
            WHERE api_tokens.id = left_over.id",
        postgres: "UPDATE api_tokens SET scopes = ARRAY(SELECT jsonb_array_elements_text(pair -> 1))
            FROM jsonb_array_elements($1) AS pair WHERE api_tokens.id = (pair ->> 0)::uuid",
    };

    /// `$1`: a JSON array of ids.
    REVOKE_MANY = Sql {
        sqlite: "UPDATE api_tokens SET revoked_at = $2 WHERE id IN (SELECT value FROM json_each($1))",
        postgres: "UPDATE api_tokens SET revoked_at = $2
            WHERE id IN (SELECT jsonb_array_elements_text($1)::uuid)",
    };

    /// `$1`: a JSON array of ids.
    TOUCH_SECRETS = Sql {
        sqlite: "UPDATE token_secrets SET changed_seq = $2 WHERE token_id IN (SELECT value FROM json_each($1))",
        postgres: "UPDATE token_secrets SET changed_seq = $2
            WHERE token_id IN (SELECT jsonb_array_elements_text($1)::uuid)",
    };

    /// `$1`: a JSON array of names.
    DECLARE = Sql {
        sqlite: "INSERT INTO declared_deployments (name, declared_at) SELECT value, $2 FROM json_each($1) WHERE true
            ON CONFLICT (name) DO UPDATE SET declared_at = max(declared_at, excluded.declared_at)",
        postgres: "INSERT INTO declared_deployments (name, declared_at)
            SELECT DISTINCT jsonb_array_elements_text($1), $2::timestamptz
            ON CONFLICT (name)
            DO UPDATE SET declared_at = GREATEST(declared_deployments.declared_at, excluded.declared_at)",
    };

    DECLARED = Sql {
        sqlite: "SELECT name FROM declared_deployments ORDER BY name",
        postgres: r#"SELECT name FROM declared_deployments ORDER BY name COLLATE "C""#,
    };

    IS_DECLARED = same("SELECT EXISTS (SELECT 1 FROM declared_deployments WHERE name = $1)");

    WAS_REMOVED = same("SELECT EXISTS (SELECT 1 FROM deployments WHERE name = $1 AND removed_at IS NOT NULL)");

    KNOWS = same(
        "SELECT EXISTS (SELECT 1 FROM deployments WHERE name = $1 AND removed_at IS NULL)
            OR EXISTS (SELECT 1 FROM declared_deployments WHERE name = $1)",
    );
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeployment {
    pub spec: DeploymentSpec,
    pub created_at: Timestamp,
}

/// A token that lost a scope because its Deployment was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedToken {
    pub uid: TokenUid,
    pub name: String,
    /// It had no other scope.
    pub revoked: bool,
}

impl Store {
    /// By name.
    pub async fn list_deployments(&self) -> Result<Vec<StoredDeployment>, StoreError> {
        self.read().await?.all(LIST, ()).await
    }

    /// Notes which Deployments a running gateway has from its file or flags, so that whoever has not been given the same
    /// file knows their names and hosts. Bumps no sequence.
    pub async fn declare_deployments(&self, declared: &[DeploymentSpec], at: Timestamp) -> Result<(), StoreError> {
        let names: Vec<&str> = declared.iter().map(|spec| spec.name.as_str()).collect();
        let hosts: Vec<&HostName> = declared.iter().flat_map(|spec| &spec.hosts).collect();
        let mut writing = self.write().await?;
        writing.execute(DECLARE, (Json(names), at)).await?;
        writing.execute(GIVE_HOSTS, (Json(hosts),)).await.map(drop)
    }

    /// Names that gateways have declared, by name; also of gateways that run no more.
    pub async fn declared_deployments(&self) -> Result<Vec<DeploymentName>, StoreError> {
        let names: Vec<(DeploymentName,)> = self.read().await?.all(DECLARED, ()).await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }
}

impl Change {
    /// All of the store, by name.
    pub async fn deployments(&mut self) -> Result<Vec<DeploymentSpec>, StoreError> {
        let rows: Vec<StoredDeployment> = self.connection.all(LIST, ()).await?;
        Ok(rows.into_iter().map(|stored| stored.spec).collect())
    }

    /// Whether a gateway declares it, or one has that runs no more.
    pub async fn is_declared(&mut self, name: &DeploymentName) -> Result<bool, StoreError> {
        let (declared,) = self.connection.one(IS_DECLARED, (name,)).await?;
        Ok(declared)
    }

    /// Whether the store had one of that name, and has none now.
    pub async fn was_removed(&mut self, name: &DeploymentName) -> Result<bool, StoreError> {
        let (removed,) = self.connection.one(WAS_REMOVED, (name,)).await?;
        Ok(removed)
    }

    /// Whether any Deployment has, or ever had, this host beside its name: one of the store, or one that was declared.
    pub async fn was_given(&mut self, host: &HostName) -> Result<bool, StoreError> {
        let (given,) = self.connection.one(WAS_GIVEN, (host.as_str(),)).await?;
        Ok(given)
    }

    /// Stored and declared ones.
    pub async fn knows_deployment(&mut self, name: &DeploymentName) -> Result<bool, StoreError> {
        let (known,) = self.connection.one(KNOWS, (name,)).await?;
        Ok(known)
    }

    /// `None`: the store has no such Deployment, or it was removed.
    pub async fn deployment(&mut self, name: &DeploymentName) -> Result<Option<Current<DeploymentSpec>>, StoreError> {
        let row: Option<StoredDeployment> = self.connection.optional(FIND, (name,)).await?;
        Ok(row.map(|stored| self.current(stored.spec)))
    }

    /// # Errors
    /// [`Conflict::DeploymentName`](super::Conflict::DeploymentName),
    /// [`Conflict::DeploymentHost`](super::Conflict::DeploymentHost).
    pub async fn insert_deployment(&mut self, spec: &DeploymentSpec, at: Timestamp) -> Result<(), StoreError> {
        self.connection.execute(FORGET_REMOVED, (&spec.name,)).await?;
        self.connection.execute(INSERT, (&spec.name, Json(spec), at, self.seq)).await?;
        self.insert_hosts(spec).await
    }

    /// # Errors
    /// [`Conflict::DeploymentHost`](super::Conflict::DeploymentHost).
    pub async fn update_deployment(&mut self, spec: &Current<DeploymentSpec>) -> Result<(), StoreError> {
        let spec = self.own(spec)?;
        self.connection.execute(UPDATE, (&spec.name, Json(spec), self.seq)).await?;
        self.connection.execute(DELETE_HOSTS, (&spec.name,)).await?;
        self.insert_hosts(spec).await
    }

    /// Removes the Deployment and ends the exact scopes of live tokens that name it, so that they do not open a later
    /// one of the same name. A token whose last scope that was is revoked. `None`: no such Deployment.
    pub async fn remove_deployment(
        &mut self,
        name: &DeploymentName,
        at: Timestamp,
    ) -> Result<Option<Vec<TouchedToken>>, StoreError> {
        if !self.connection.changes(REMOVE, (name, at, self.seq)).await? {
            return Ok(None);
        }
        self.connection.execute(DELETE_HOSTS, (name,)).await?;
        let holders = self.connection.all(HOLDERS, (exact_scope(name),)).await?;
        self.end_scopes(holders, name, at).await.map(Some)
    }

    async fn insert_hosts(&mut self, spec: &DeploymentSpec) -> Result<(), StoreError> {
        self.connection.execute(INSERT_HOSTS, (&spec.name, Json(&spec.hosts))).await?;
        self.connection.execute(GIVE_HOSTS, (Json(&spec.hosts),)).await.map(drop)
    }

    /// A token that would have no scope left keeps the last one, since there is no empty set, and is revoked.
    async fn end_scopes(
        &mut self,
        holders: Vec<(TokenUid, String, ScopeSet)>,
        removed: &DeploymentName,
        at: Timestamp,
    ) -> Result<Vec<TouchedToken>, StoreError> {
        let (mut touched, mut narrowed, mut revoked) = (Vec::new(), Vec::new(), Vec::new());
        for (uid, name, scopes) in holders {
            let left = scopes.without_exact(removed);
            touched.push(TouchedToken { uid, name, revoked: left.is_none() });
            match left {
                Some(left) => narrowed.push((uid, scope_texts(&left))),
                None => revoked.push(uid),
            }
        }
        let uids: Vec<TokenUid> = touched.iter().map(|token| token.uid).collect();
        self.connection.execute(NARROW, (Json(narrowed),)).await?;
        self.connection.execute(REVOKE_MANY, (Json(revoked), at)).await?;
        self.connection.execute(TOUCH_SECRETS, (Json(uids), self.seq)).await?;
        Ok(touched)
    }
}
