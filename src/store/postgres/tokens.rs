//! Tokens and their secrets.

use async_trait::async_trait;
use sqlx::{PgConnection, types::Uuid};
use time::OffsetDateTime;

use super::{PostgresStore, changes::Change, rows::TokenRow};
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
    WHERE ($1::uuid IS NULL OR owner_id = $1) AND ($2::text IS NULL OR strpos(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)";

const LIST: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE ($1::uuid IS NULL OR owner_id = $1) AND ($2::text IS NULL OR strpos(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)
    ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $5";

const LIST_SORTED: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE ($1::uuid IS NULL OR owner_id = $1) AND ($2::text IS NULL OR strpos(search_text, $2) > 0)
        AND ($3 OR revoked_at IS NULL)
    ORDER BY
        CASE $6 WHEN 'name' THEN lower(name) END,
        CASE $6 WHEN 'expires' THEN expires_at END ASC NULLS LAST,
        CASE $6 WHEN 'used' THEN last_used_at END DESC NULLS LAST,
        created_at DESC, id DESC LIMIT $4 OFFSET $5";

/// `$1`: the exact scope. A scope that ends with `*` opens what begins as it does.
const COUNT_OPENING: &str = "
    SELECT count(*) FROM api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) AND ($2::uuid IS NULL OR owner_id = $2)
        AND EXISTS (
            SELECT 1 FROM unnest(scopes) AS s (scope)
            WHERE scope = $1 OR (right(scope, 1) = '*' AND starts_with($1, left(scope, -1))))";

const OPENING: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens
    WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) AND ($2::uuid IS NULL OR owner_id = $2)
        AND EXISTS (
            SELECT 1 FROM unnest(scopes) AS s (scope)
            WHERE scope = $1 OR (right(scope, 1) = '*' AND starts_with($1, left(scope, -1))))
    ORDER BY created_at DESC, id DESC LIMIT $4";

const REVOKE: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

const TOUCH_SECRETS: &str = "UPDATE token_secrets SET changed_seq = $2 WHERE token_id = $1";

const RETIRE_SECRETS: &str = "
    UPDATE token_secrets SET retires_at = LEAST(retires_at, $3), changed_seq = $2 WHERE token_id = $1";

/// Locks the rows in the order of their ids, so that two gateways which write the same tokens do not wait for each
/// other.
const RECORD_USE: &str = "
    WITH used AS (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)),
        locked AS (SELECT t.id FROM api_tokens t JOIN used USING (id) ORDER BY t.id FOR NO KEY UPDATE OF t)
    UPDATE api_tokens t SET last_used_at = used.at
    FROM used JOIN locked USING (id)
    WHERE t.id = used.id AND (t.last_used_at IS NULL OR t.last_used_at < used.at)";

const UPDATE: &str = "
    UPDATE api_tokens SET name = $2, description = $3, search_text = $4, scopes = $5, expires_at = $6
    WHERE id = $1 AND revoked_at IS NULL";

const COUNT_USE: &str = "
    INSERT INTO token_usage (token_id, day, requests)
    SELECT u.id, u.day, u.requests
    FROM unnest($1::uuid[], $2::integer[], $3::bigint[]) AS u (id, day, requests) JOIN api_tokens USING (id)
    ORDER BY u.id
    ON CONFLICT (token_id, day) DO UPDATE SET requests = token_usage.requests + excluded.requests";

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
impl TokenStore for PostgresStore {
    async fn insert_token(
        &self,
        token: &TokenRecord,
        secret: &SecretRecord,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            insert_token(&mut change, token, secret).await?;
            change.commit(event).await
        })
        .await
    }

    async fn token(&self, uid: TokenUid) -> Result<Option<TokenRecord>, StoreError> {
        self.perform(async { find_token(&mut *self.pool.acquire().await?, uid).await }).await
    }

    async fn list_tokens(&self, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError> {
        let owner = filter.owner.map(|owner| owner.0);
        let needle = filter.search.as_deref().map(search_needle);
        self.perform(async {
            let total: i64 =
                sqlx::query_scalar(COUNT).bind(owner).bind(&needle).bind(filter.revoked).fetch_one(&self.pool).await?;
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
            let rows: Vec<TokenRow> = query.fetch_all(&self.pool).await?;
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
        let (scope, owner) = (exact_scope(deployment), owner.map(|owner| owner.0));
        self.perform(async {
            let total: i64 = sqlx::query_scalar(COUNT_OPENING)
                .bind(&scope)
                .bind(owner)
                .bind(OffsetDateTime::from(now))
                .fetch_one(&self.pool)
                .await?;
            let rows: Vec<TokenRow> = sqlx::query_as(OPENING)
                .bind(&scope)
                .bind(owner)
                .bind(OffsetDateTime::from(now))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
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
            let mut change = Change::begin(&self.pool).await?;
            let revoked = sqlx::query(REVOKE)
                .bind(uid.0)
                .bind(OffsetDateTime::from(at))
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            let token = find_token(change.connection(), uid).await?;
            if revoked {
                sqlx::query(TOUCH_SECRETS).bind(uid.0).bind(change.seq).execute(change.connection()).await?;
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
            let mut change = Change::begin(&self.pool).await?;
            let token = find_token(change.connection(), uid).await?.filter(|token| token.revoked_at.is_none());
            if token.is_some() {
                sqlx::query(RETIRE_SECRETS)
                    .bind(uid.0)
                    .bind(change.seq)
                    .bind(OffsetDateTime::from(old_until))
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
            let mut change = Change::begin(&self.pool).await?;
            let updated = sqlx::query(UPDATE)
                .bind(token.uid.0)
                .bind(&token.name)
                .bind(&token.description)
                .bind(search_text(token))
                .bind(scope_texts(&token.scopes))
                .bind(token.expires_at.map(OffsetDateTime::from))
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if updated {
                sqlx::query(TOUCH_SECRETS).bind(token.uid.0).bind(change.seq).execute(change.connection()).await?;
                change.commit(event).await?;
            }
            Ok(updated)
        })
        .await
    }

    async fn record_use(&self, uses: &[TokenUse]) -> Result<(), StoreError> {
        let uses = totals(uses);
        let uids: Vec<Uuid> = uses.iter().map(|used| used.uid.0).collect();
        let times: Vec<OffsetDateTime> = uses.iter().map(|used| used.at.into()).collect();
        let days: Vec<i32> = uses.iter().map(|used| Day::from(used.at).0).collect();
        let requests: Vec<i64> = uses.iter().map(|used| used.requests.cast_signed()).collect();
        self.perform(async {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(RECORD_USE).bind(&uids).bind(times).execute(&mut *transaction).await?;
            sqlx::query(COUNT_USE).bind(&uids).bind(days).bind(requests).execute(&mut *transaction).await?;
            transaction.commit().await
        })
        .await
    }

    async fn token_usage(&self, uid: TokenUid, from: Day) -> Result<Vec<DailyUse>, StoreError> {
        self.perform(async {
            let rows: Vec<(i32, i64)> = sqlx::query_as(USAGE).bind(uid.0).bind(from.0).fetch_all(&self.pool).await?;
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
        .bind(token.uid.0)
        .bind(token.owner.0)
        .bind(&token.name)
        .bind(&token.description)
        .bind(search_text(token))
        .bind(scope_texts(&token.scopes))
        .bind(OffsetDateTime::from(token.created_at))
        .bind(token.expires_at.map(OffsetDateTime::from))
        .bind(token.revoked_at.map(OffsetDateTime::from))
        .bind(token.last_used_at.map(OffsetDateTime::from))
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
        .bind(uid.0)
        .bind(&*secret.hash)
        .bind(secret.retires_at.map(OffsetDateTime::from))
        .bind(change.seq)
        .bind(secret.session.as_ref().map(DeploymentName::as_str))
        .execute(change.connection())
        .await?;
    Ok(())
}

pub(super) async fn find_token(
    connection: &mut PgConnection,
    uid: TokenUid,
) -> Result<Option<TokenRecord>, sqlx::Error> {
    let row: Option<TokenRow> = sqlx::query_as(FIND).bind(uid.0).fetch_optional(connection).await?;
    row.map(TokenRecord::try_from).transpose()
}
