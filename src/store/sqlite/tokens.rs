//! Tokens and their secrets.

use async_trait::async_trait;
use sqlx::{SqliteConnection, types::Json};

use super::{
    SqliteStore,
    changes::{BEGIN, Change},
    rows::TokenRow,
};
use crate::{
    domain::{
        audit::AuditEvent,
        deployment::DeploymentName,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        usage::{DailyUse, Day, TokenUse},
        user::UserId,
    },
    store::{
        Page, StoreError, TokenFilter, TokenOrder, TokenStore,
        rules::{exact_scope, scope_texts, search_needle, search_text, totals},
    },
};

const INSERT_TOKEN: &str = "
    INSERT INTO api_tokens
        (id, owner_id, name, description, search_text, scopes, created_at, expires_at, revoked_at, last_used_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const INSERT_SECRET: &str = "
    INSERT INTO token_secrets (lookup_id, token_id, hash, retires_at, changed_seq, deployment)
    VALUES ($1, $2, $3, $4, $5, $6)";

const FIND: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens WHERE id = $1";

const COUNT: &str = "
    SELECT count(*) FROM api_tokens
    WHERE ($1 IS NULL OR owner_id = $1) AND ($2 IS NULL OR instr(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)";

const LIST: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE ($1 IS NULL OR owner_id = $1) AND ($2 IS NULL OR instr(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)
    ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5";

const LIST_SORTED: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE ($1 IS NULL OR owner_id = $1) AND ($2 IS NULL OR instr(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)
    ORDER BY
        CASE $6 WHEN 'name' THEN lower(name) WHEN 'expires' THEN expires_at IS NULL ELSE last_used_at IS NULL END,
        CASE $6 WHEN 'expires' THEN expires_at ELSE -last_used_at END,
        created_at DESC, id DESC LIMIT $4 OFFSET $5";

/// `$1`: the exact scope. A scope that ends with `*` opens what begins as it does.
const COUNT_OPENING: &str = "
    SELECT count(*) FROM api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) AND ($2 IS NULL OR owner_id = $2)
        AND EXISTS (
            SELECT 1 FROM json_each(scopes)
            WHERE value = $1 OR (value LIKE '%*' AND substr($1, 1, length(value) - 1) = substr(value, 1, length(value) - 1)))";

const OPENING: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) AND ($2 IS NULL OR owner_id = $2)
        AND EXISTS (
            SELECT 1 FROM json_each(scopes)
            WHERE value = $1 OR (value LIKE '%*' AND substr($1, 1, length(value) - 1) = substr(value, 1, length(value) - 1)))
    ORDER BY created_at DESC, id DESC LIMIT $4";

const REVOKE: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

const TOUCH_SECRETS: &str = "UPDATE token_secrets SET changed_seq = $2 WHERE token_id = $1";

const RETIRE_SECRETS: &str = "
    UPDATE token_secrets SET retires_at = min(coalesce(retires_at, $3), $3), changed_seq = $2 WHERE token_id = $1";

/// `$1`: a JSON array of pairs.
const RECORD_USE: &str = "
    UPDATE api_tokens SET last_used_at = used.at
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS at FROM json_each($1)) AS used
    WHERE api_tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)";

const UPDATE: &str = "
    UPDATE api_tokens SET name = $2, description = $3, search_text = $4, scopes = $5, expires_at = $6
    WHERE id = $1 AND revoked_at IS NULL";

/// `$1`: a JSON array of triples.
const COUNT_USE: &str = "
    INSERT INTO token_usage (token_id, day, requests)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1) WHERE value ->> 0 IN (SELECT id FROM api_tokens)
    ON CONFLICT (token_id, day) DO UPDATE SET requests = requests + excluded.requests";

const USAGE: &str = "SELECT day, requests FROM token_usage WHERE token_id = $1 AND day >= $2 ORDER BY day";

pub(super) const STATEMENTS: &[&str] = &[
    INSERT_TOKEN,
    INSERT_SECRET,
    FIND,
    COUNT,
    LIST,
    LIST_SORTED,
    COUNT_OPENING,
    OPENING,
    REVOKE,
    TOUCH_SECRETS,
    RETIRE_SECRETS,
    RECORD_USE,
    UPDATE,
    COUNT_USE,
    USAGE,
];

#[async_trait]
impl TokenStore for SqliteStore {
    async fn insert_token(
        &self,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            insert_token(&mut change, token, secret).await?;
            change.commit(event).await
        })
        .await
    }

    async fn token(&self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError> {
        self.perform(async { find_token(&mut *self.readers.acquire().await?, uid).await }).await
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError> {
        let owner = filter.owner.map(|owner| owner.0.hyphenated());
        let needle = filter.search.as_deref().map(search_needle);
        self.perform(async {
            let total: i64 = sqlx::query_scalar(COUNT)
                .bind(owner)
                .bind(&needle)
                .bind(filter.revoked)
                .fetch_one(&self.readers)
                .await?;
            let (list, by) = match filter.order {
                TokenOrder::Newest => (LIST, None),
                TokenOrder::Name => (LIST_SORTED, Some("name")),
                TokenOrder::Expires => (LIST_SORTED, Some("expires")),
                TokenOrder::LastUsed => (LIST_SORTED, Some("used")),
            };
            let mut query = sqlx::query_as(list)
                .bind(owner)
                .bind(&needle)
                .bind(filter.revoked)
                .bind(i64::from(filter.limit))
                .bind(i64::from(filter.offset));
            if let Some(by) = by {
                query = query.bind(by);
            }
            let rows: Vec<TokenRow> = query.fetch_all(&self.readers).await?;
            let items = rows.into_iter().map(TokenRecord::try_from).collect::<Result<_, _>>()?;
            Ok(Page { items, total: total.unsigned_abs() })
        })
        .await
    }

    async fn tokens_opening(
        &self,
        deployment: &DeploymentName,
        owner: Option<UserId>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Page<TokenRecord>, StoreError> {
        let (scope, owner) = (exact_scope(deployment), owner.map(|owner| owner.0.hyphenated()));
        self.perform(async {
            let total: i64 = sqlx::query_scalar(COUNT_OPENING)
                .bind(&scope)
                .bind(owner)
                .bind(now.as_millis())
                .fetch_one(&self.readers)
                .await?;
            let rows: Vec<TokenRow> = sqlx::query_as(OPENING)
                .bind(&scope)
                .bind(owner)
                .bind(now.as_millis())
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
            let items = rows.into_iter().map(TokenRecord::try_from).collect::<Result<_, _>>()?;
            Ok(Page { items, total: total.unsigned_abs() })
        })
        .await
    }

    async fn revoke_token(
        &self,
        uid: TokenUid,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            let revoked = sqlx::query(REVOKE)
                .bind(uid.0.hyphenated())
                .bind(at.as_millis())
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            let token = find_token(change.connection(), uid).await?;
            if revoked {
                sqlx::query(TOUCH_SECRETS)
                    .bind(uid.0.hyphenated())
                    .bind(change.seq)
                    .execute(change.connection())
                    .await?;
                change.commit(event).await?;
            }
            Ok(token)
        })
        .await
    }

    async fn rotate_token(
        &self,
        uid: TokenUid,
        secret: &SecretRecord,
        old_until: Timestamp,
        event: &AuditEvent,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            let token = find_token(change.connection(), uid).await?.filter(|token| token.revoked_at.is_none());
            if token.is_some() {
                sqlx::query(RETIRE_SECRETS)
                    .bind(uid.0.hyphenated())
                    .bind(change.seq)
                    .bind(old_until.as_millis())
                    .execute(change.connection())
                    .await?;
                insert_secret(&mut change, uid, secret).await?;
                change.commit(event).await?;
            }
            Ok(token)
        })
        .await
    }

    async fn update_token(&self, token: &TokenRecord, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.writer).await?;
            let updated = sqlx::query(UPDATE)
                .bind(token.uid.0.hyphenated())
                .bind(&token.name)
                .bind(&token.description)
                .bind(search_text(token))
                .bind(Json(scope_texts(&token.scopes)))
                .bind(token.expires_at.map(Timestamp::as_millis))
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if updated {
                sqlx::query(TOUCH_SECRETS)
                    .bind(token.uid.0.hyphenated())
                    .bind(change.seq)
                    .execute(change.connection())
                    .await?;
                change.commit(event).await?;
            }
            Ok(updated)
        })
        .await
    }

    async fn record_use(&self, uses: &[TokenUse]) -> Result<(), StoreError> {
        let uses = totals(uses);
        let times: Vec<(String, i64)> = uses.iter().map(|used| (used.uid.to_string(), used.at.as_millis())).collect();
        let counts: Vec<(String, i32, u64)> =
            uses.iter().map(|used| (used.uid.to_string(), Day::from(used.at).0, used.requests)).collect();
        self.perform(async {
            let mut transaction = self.writer.begin_with(BEGIN).await?;
            sqlx::query(RECORD_USE).bind(Json(times)).execute(&mut *transaction).await?;
            sqlx::query(COUNT_USE).bind(Json(counts)).execute(&mut *transaction).await?;
            transaction.commit().await
        })
        .await
    }

    async fn token_usage(&self, uid: TokenUid, from: Day) -> Result<Vec<DailyUse>, StoreError> {
        self.perform(async {
            let rows: Vec<(i32, i64)> =
                sqlx::query_as(USAGE).bind(uid.0.hyphenated()).bind(from.0).fetch_all(&self.readers).await?;
            let daily = |(day, requests): (i32, i64)| DailyUse { day: Day(day), requests: requests.unsigned_abs() };
            Ok(rows.into_iter().map(daily).collect())
        })
        .await
    }
}

pub(super) async fn insert_token(
    change: &mut Change,
    token: &TokenRecord,
    secret: &SecretRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT_TOKEN)
        .bind(token.uid.0.hyphenated())
        .bind(token.owner.0.hyphenated())
        .bind(&token.name)
        .bind(&token.description)
        .bind(search_text(token))
        .bind(Json(scope_texts(&token.scopes)))
        .bind(token.created_at.as_millis())
        .bind(token.expires_at.map(Timestamp::as_millis))
        .bind(token.revoked_at.map(Timestamp::as_millis))
        .bind(token.last_used_at.map(Timestamp::as_millis))
        .execute(change.connection())
        .await?;
    insert_secret(change, token.uid, secret).await
}

pub(super) async fn insert_secret(
    change: &mut Change,
    uid: TokenUid,
    secret: &SecretRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT_SECRET)
        .bind(secret.lookup_id.as_str())
        .bind(uid.0.hyphenated())
        .bind(&*secret.hash)
        .bind(secret.retires_at.map(Timestamp::as_millis))
        .bind(change.seq)
        .bind(secret.session.as_ref().map(DeploymentName::as_str))
        .execute(change.connection())
        .await?;
    Ok(())
}

pub(super) async fn find_token(
    connection: &mut SqliteConnection,
    uid: TokenUid,
) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row: Option<TokenRow> = sqlx::query_as(FIND).bind(uid.0.hyphenated()).fetch_optional(connection).await?;
    row.map(TokenRecord::try_from).transpose()
}
