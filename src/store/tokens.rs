//! Tokens and their secrets.

use std::collections::BTreeMap;

use sqlx::types::Json;

use super::{
    Change, Current, Store, StoreError,
    statement::{Connection, Sql, same, statements},
};
use crate::domain::{
    deployment::DeploymentName,
    deployment_scope::{DeploymentPattern, DeploymentScope},
    scope::Scope,
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord, TokenUid},
    usage::{DailyUse, Day, TokenUse},
    user::UserId,
};

/// What a [`TokenRecord`] is read from.
macro_rules! select_token {
    ($rest:expr) => {
        concat!(
            "SELECT id, owner_id, name, description, scopes, created_at, expires_at, expired_at, revoked_at,
                last_used_at
            FROM api_tokens ",
            $rest
        )
    };
}

pub(super) use select_token;

/// `$1`: the exact scope, `$2`: owner, `$3`: now. `$opens`: whether one of `scopes` opens it, or some routes of it: what stands
/// behind the second colon says which. One that ends with `*` opens what begins as it does.
macro_rules! opening {
    ($opens:literal) => {
        concat!(
            "WHERE revoked_at IS NULL AND expired_at IS NULL AND (expires_at IS NULL OR expires_at > $3)
            AND (CAST($2 AS uuid) IS NULL OR owner_id = $2) AND EXISTS (",
            $opens,
            ") "
        )
    };
}

macro_rules! opening_in_sqlite {
    () => {
        opening!(
            "SELECT 1 FROM (SELECT substr(value, 1, 10 + instr(substr(value, 12) || ':', ':')) AS scope
                FROM json_each(scopes)) WHERE scope = $1
            OR (scope LIKE '%*' AND substr($1, 1, length(scope) - 1) = substr(scope, 1, length(scope) - 1))"
        )
    };
}

macro_rules! opening_in_postgres {
    () => {
        opening!(
            "SELECT 1 FROM (SELECT split_part(whole, ':', 1) || ':' || split_part(whole, ':', 2) AS scope
                FROM unnest(scopes) AS t (whole)) AS s
            WHERE scope = $1 OR (right(scope, 1) = '*' AND starts_with($1, left(scope, -1)))"
        )
    };
}

statements! {
    INSERT_TOKEN = same(
        "INSERT INTO api_tokens
            (id, owner_id, name, description, search_text, scopes, created_at, expires_at, revoked_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    );

    INSERT_SECRET = same(
        "INSERT INTO token_secrets (lookup_id, token_id, hash, retires_at, changed_seq, deployment)
        VALUES ($1, $2, $3, $4, $5, $6)",
    );

    FIND = same(select_token!("WHERE id = $1"));

    FIND_BY_NAME = same(select_token!("WHERE owner_id = $1 AND name = $2 AND revoked_at IS NULL"));

    COUNT_OPENING = Sql {
        sqlite: concat!("SELECT count(*) FROM api_tokens ", opening_in_sqlite!()),
        postgres: concat!("SELECT count(*) FROM api_tokens ", opening_in_postgres!()),
    };

    OPENING = Sql {
        sqlite: select_token!(concat!(opening_in_sqlite!(), "ORDER BY created_at DESC, id DESC LIMIT $4")),
        postgres: select_token!(concat!(opening_in_postgres!(), "ORDER BY created_at DESC, id DESC LIMIT $4")),
    };

    REVOKE = same("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");

    TOUCH_SECRETS = same("UPDATE token_secrets SET changed_seq = $2 WHERE token_id = $1");

    RETIRE_SECRETS = Sql {
        sqlite: "UPDATE token_secrets SET retires_at = min(coalesce(retires_at, $3), $3), changed_seq = $2
            WHERE token_id = $1",
        postgres: "UPDATE token_secrets SET retires_at = LEAST(retires_at, $3), changed_seq = $2 WHERE token_id = $1",
    };

    UPDATE = same(
        "UPDATE api_tokens SET name = $2, description = $3, search_text = $4, scopes = $5, expires_at = $6
        WHERE id = $1",
    );

    /// `$1`: a JSON array of pairs. PostgreSQL locks the rows in the order of their ids, so that two gateways which
    /// write the same tokens do not wait for each other.
    RECORD_USE = Sql {
        sqlite: "UPDATE api_tokens SET last_used_at = used.at
            FROM (SELECT value ->> 0 AS id, value ->> 1 AS at FROM json_each($1)) AS used
            WHERE api_tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)",
        postgres: "WITH used AS (
                SELECT (pair ->> 0)::uuid AS id, 'epoch'::timestamptz + (pair ->> 1)::bigint * interval '1 ms' AS at
                FROM jsonb_array_elements($1) AS pair),
            locked AS (SELECT t.id FROM api_tokens t JOIN used USING (id) ORDER BY t.id FOR NO KEY UPDATE OF t)
            UPDATE api_tokens t SET last_used_at = used.at
            FROM used JOIN locked USING (id)
            WHERE t.id = used.id AND (t.last_used_at IS NULL OR t.last_used_at < used.at)",
    };

    /// `$1`: a JSON array of triples.
    COUNT_USE = Sql {
        sqlite: "INSERT INTO token_usage (token_id, day, requests)
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)
            WHERE value ->> 0 IN (SELECT id FROM api_tokens)
            ON CONFLICT (token_id, day) DO UPDATE SET requests = requests + excluded.requests",
        postgres: "INSERT INTO token_usage (token_id, day, requests)
            SELECT api_tokens.id, (triple ->> 1)::integer, (triple ->> 2)::bigint
            FROM jsonb_array_elements($1) AS triple JOIN api_tokens ON api_tokens.id = (triple ->> 0)::uuid
            ORDER BY api_tokens.id
            ON CONFLICT (token_id, day) DO UPDATE SET requests = token_usage.requests + excluded.requests",
    };

    USAGE = same("SELECT day, requests FROM token_usage WHERE token_id = $1 AND day >= $2 ORDER BY day");
}

/// A part of a longer list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}

impl Store {
    /// `None`: no such token. Revoked and expired ones are found.
    pub async fn token(&self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError> {
        self.read().await?.token(uid).await
    }

    /// Live tokens, not expired at `now`, whose scopes open the Deployment, newest first, and how many there are in all.
    pub async fn tokens_opening(
        &self,
        deployment: &DeploymentName,
        owner: Option<UserId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<TokenRecord>, StoreError> {
        let scope = exact_scope(deployment);
        let mut reading = self.read().await?;
        let (total,): (i64,) = reading.one(COUNT_OPENING, (&scope, owner, now)).await?;
        let items = reading.all(OPENING, (&scope, owner, now, i64::from(limit))).await?;
        Ok(Page { items, total: total.unsigned_abs() })
    }

    /// Moves `last_used_at` forward, never back, and adds to the count of that UTC day, for many tokens in one
    /// statement each. Bumps no sequence. Unknown uids are ignored.
    pub async fn record_use(&self, uses: &[TokenUse]) -> Result<(), StoreError> {
        let uses = totals(uses);
        let times: Vec<_> = uses.iter().map(|used| (used.uid, used.at.as_millis())).collect();
        let counts: Vec<_> = uses.iter().map(|used| (used.uid, Day::from(used.at).0, used.requests)).collect();
        let mut writing = self.begin().await?;
        writing.execute(RECORD_USE, (Json(times),)).await?;
        writing.execute(COUNT_USE, (Json(counts),)).await?;
        writing.commit().await
    }

    /// Requests by UTC day since `from`, oldest first; days without any are left out.
    pub async fn token_usage(&self, uid: TokenUid, from: Day) -> Result<Vec<DailyUse>, StoreError> {
        let rows: Vec<(Day, i64)> = self.read().await?.all(USAGE, (uid, from)).await?;
        Ok(rows.into_iter().map(|(day, requests)| DailyUse { day, requests: requests.unsigned_abs() }).collect())
    }
}

impl Change {
    /// `None`: no such token. Revoked and expired ones are found.
    pub async fn token(&mut self, uid: TokenUid) -> Result<Option<Current<TokenRecord>>, StoreError> {
        let token = self.connection.token(uid).await?;
        Ok(token.map(|token| self.current(token)))
    }

    /// The live (unrevoked) token of that name.
    pub async fn token_by_name(
        &mut self,
        owner: UserId,
        name: &str,
    ) -> Result<Option<Current<TokenRecord>>, StoreError> {
        let token = self.connection.optional(FIND_BY_NAME, (owner, name)).await?;
        Ok(token.map(|token| self.current(token)))
    }

    /// A token without a secret of its own: browser sessions may be its only ones.
    ///
    /// # Errors
    /// [`Conflict::TokenName`](super::Conflict::TokenName) if the owner has a live (unrevoked) token of that name.
    pub async fn insert_token(&mut self, token: &TokenRecord) -> Result<(), StoreError> {
        let values = (
            token.uid,
            token.owner,
            &token.name,
            &token.description,
            search_text(token),
            &token.scopes,
            token.created_at,
            token.expires_at,
            token.revoked_at,
            token.last_used_at,
        );
        self.connection.execute(INSERT_TOKEN, values).await.map(drop)
    }

    pub async fn insert_secret(&mut self, uid: TokenUid, secret: &SecretRecord) -> Result<(), StoreError> {
        let SecretRecord { lookup_id, hash, retires_at, session } = secret;
        let values = (lookup_id, uid, &**hash, retires_at, self.seq, session);
        self.connection.execute(INSERT_SECRET, values).await.map(drop)
    }

    /// The token as it is afterwards. One that is revoked already stays as it was.
    pub async fn revoke_token(
        &mut self,
        mut token: Current<TokenRecord>,
        at: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        let uid = self.own(&token)?.uid;
        if self.connection.changes(REVOKE, (uid, at)).await? {
            token.revoked_at = Some(at);
            self.touch_secrets(uid).await?;
        }
        Ok(token.into_inner())
    }

    /// Adds `secret` to the token; every older secret retires at `old_until`, or when it would have anyway if that is
    /// earlier.
    pub async fn rotate_token(
        &mut self,
        token: &Current<TokenRecord>,
        secret: &SecretRecord,
        old_until: Timestamp,
    ) -> Result<(), StoreError> {
        let uid = self.own(token)?.uid;
        self.connection.execute(RETIRE_SECRETS, (uid, self.seq, old_until)).await?;
        self.insert_secret(uid, secret).await
    }

    /// Sets name, description, scopes and expiry to those of `token`.
    ///
    /// # Errors
    /// [`Conflict::TokenName`](super::Conflict::TokenName).
    pub async fn update_token(&mut self, token: &Current<TokenRecord>) -> Result<(), StoreError> {
        let token = self.own(token)?;
        let values = (token.uid, &token.name, &token.description, search_text(token), &token.scopes, token.expires_at);
        self.connection.execute(UPDATE, values).await?;
        self.touch_secrets(token.uid).await
    }

    /// Followers read the token again.
    async fn touch_secrets(&mut self, uid: TokenUid) -> Result<(), StoreError> {
        self.connection.execute(TOUCH_SECRETS, (uid, self.seq)).await.map(drop)
    }
}

impl Connection {
    pub(super) async fn token(&mut self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError> {
        self.optional(FIND, (uid,)).await
    }
}

/// The scope that opens this Deployment and no other, without its closed routes, as it is stored. Behind a colon, the same
/// text stands before what widens or narrows it.
pub(super) fn exact_scope(name: &DeploymentName) -> String {
    Scope::Deployment(DeploymentScope::of(DeploymentPattern::Exact(name.clone()))).to_string()
}

/// What a search looks into. Lower-cased here and not in SQL: SQLite's `lower` knows ASCII only, PostgreSQL's depends on
/// the database's locale.
fn search_text(token: &TokenRecord) -> String {
    format!("{}\n{}\n{}", token.name, token.description, token.uid).to_lowercase()
}

/// One for each token, with its last time and all its requests, in the order of their uids, in which concurrent writers
/// must lock them.
fn totals(uses: &[TokenUse]) -> Vec<TokenUse> {
    let mut totals: BTreeMap<TokenUid, TokenUse> = BTreeMap::new();
    for &used in uses {
        let total = totals.entry(used.uid).or_insert(TokenUse { requests: 0, ..used });
        total.at = total.at.max(used.at);
        total.requests += used.requests;
    }
    totals.into_values().collect()
}
