//! What tokens have used of Deployments, by hour.

use std::time::Duration;

use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Page, Store, StoreError,
    columns::Id,
    let_through::{self, NO_TOKEN},
    statement::{Sql, same, statements},
};
use crate::domain::{
    let_through::LetThrough,
    timestamp::Timestamp,
    token::TokenUid,
    usage::{Hour, HourlyUse, Used},
    user::UserId,
};

/// `$1` and `$2`: from which hour on and before which, `$3`: the token, `$4`: the Deployment, `$5`: whose tokens; NULL: all.
/// `$6`: hours that are added up, `$7` and `$8`: whether tokens and Deployments are told apart.
macro_rules! grouped {
    ($columns:literal) => {
        concat!(
            "SELECT hour / $6 * $6 AS first, CASE WHEN $7 THEN token_id END AS token,
                CASE WHEN $8 THEN deployment END AS deployment",
            $columns,
            " FROM usage_hours
            WHERE hour >= $1 AND hour < $2 AND (CAST($3 AS uuid) IS NULL OR token_id = $3)
                AND (CAST($4 AS text) IS NULL OR deployment = $4)
                AND (CAST($5 AS uuid) IS NULL OR token_id IN (SELECT id FROM api_tokens WHERE owner_id = $5))
            GROUP BY 1, 2, 3"
        )
    };
}

statements! {
    BATCH = same("INSERT INTO usage_batches (id, written_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING");

    /// `$1`: a JSON array of arrays. In PostgreSQL in the order of the key, so that two gateways do not wait for each other.
    ADD = Sql {
        sqlite: "INSERT INTO usage_hours (hour, token_id, deployment, requests, refused, bytes_in, bytes_out, upstream_us, events, prompt_tokens,
                completion_tokens)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
                value ->> 8, value ->> 9, value ->> 10
            FROM json_each($1) WHERE true
            ON CONFLICT (hour, token_id, deployment) DO UPDATE SET requests = requests + excluded.requests,
                refused = refused + excluded.refused, bytes_in = bytes_in + excluded.bytes_in,
                bytes_out = bytes_out + excluded.bytes_out, upstream_us = upstream_us + excluded.upstream_us,
                events = events + excluded.events, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
                completion_tokens = completion_tokens + excluded.completion_tokens",
        postgres: "INSERT INTO usage_hours AS kept (hour, token_id, deployment, requests, refused, bytes_in, bytes_out, upstream_us, events, prompt_tokens,
                completion_tokens)
            SELECT (entry ->> 0)::integer AS hour, (entry ->> 1)::uuid AS token_id, entry ->> 2 AS deployment,
                (entry ->> 3)::bigint, (entry ->> 4)::bigint, (entry ->> 5)::bigint, (entry ->> 6)::bigint, (entry ->> 7)::bigint,
                (entry ->> 8)::bigint, (entry ->> 9)::bigint, (entry ->> 10)::bigint
            FROM jsonb_array_elements($1) AS entry ORDER BY hour, token_id, deployment
            ON CONFLICT (hour, token_id, deployment) DO UPDATE SET requests = kept.requests + excluded.requests,
                refused = kept.refused + excluded.refused, bytes_in = kept.bytes_in + excluded.bytes_in,
                bytes_out = kept.bytes_out + excluded.bytes_out, upstream_us = kept.upstream_us + excluded.upstream_us,
                events = kept.events + excluded.events, prompt_tokens = kept.prompt_tokens + excluded.prompt_tokens,
                completion_tokens = kept.completion_tokens + excluded.completion_tokens",
    };

    COUNT = same(concat!("SELECT count(*) FROM (", grouped!(""), ") AS sums"));

    SUMS = same(concat!(
        grouped!(
            ", CAST(sum(requests) AS bigint) AS requests, CAST(sum(refused) AS bigint) AS refused,
                CAST(sum(bytes_in) AS bigint) AS bytes_in, CAST(sum(bytes_out) AS bigint) AS bytes_out,
                CAST(sum(upstream_us) AS bigint) AS upstream_us, CAST(sum(events) AS bigint) AS events,
                CAST(sum(prompt_tokens) AS bigint) AS prompt_tokens,
                CAST(sum(completion_tokens) AS bigint) AS completion_tokens"
        ),
        " ORDER BY 1, sum(requests) DESC, 2, 3 LIMIT $9 OFFSET $10"
    ));

    /// The oldest hour, so that nobody waits for long.
    FORGET = same("DELETE FROM usage_hours WHERE hour = (SELECT min(hour) FROM usage_hours) AND hour < $1");

    FORGET_BATCHES = same("DELETE FROM usage_batches WHERE written_at < $1");
}

/// Sums of several tokens, Deployments and hours that are written as a whole, and count once however often they are written.
#[derive(Clone, Debug)]
pub struct UsageBatch {
    pub id: Uuid,
    pub at: Timestamp,
    pub uses: Vec<HourlyUse>,
    /// Callers that have passed what will refuse them.
    pub let_through: Vec<LetThrough>,
}

/// What is added up, and how.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    /// The first hour.
    pub since: Hour,
    /// The hour behind the last one.
    pub until: Hour,
    /// `None`: all.
    pub token: Option<TokenUid>,
    /// `None`: all. Empty: what was refused before any was open.
    pub deployment: Option<String>,
    /// Only what this user's tokens have used. `None`: everybody's, and what was used without a token.
    pub owner: Option<UserId>,
    /// Hours that are one sum each, from a multiple of it on. `None`: all.
    pub hours: Option<i32>,
    /// Whether each token, and each Deployment, has sums of its own.
    pub by_token: bool,
    pub by_deployment: bool,
    pub offset: u32,
    pub limit: u32,
}

/// What was used by or of all that is the same here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSum {
    /// The first of the hours. `None`: hours are not told apart.
    pub first: Option<Hour>,
    /// `None`: tokens are not told apart, or there was none.
    pub token: Option<TokenUid>,
    /// `None`: Deployments are not told apart, or none was open to the token.
    pub deployment: Option<String>,
    pub used: Used,
}

/// A row of sums.
#[derive(sqlx::FromRow)]
struct SumRow {
    first: i32,
    token: Option<TokenUid>,
    deployment: Option<String>,
    requests: i64,
    refused: i64,
    bytes_in: i64,
    bytes_out: i64,
    upstream_us: i64,
    events: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
}

impl Store {
    /// Adds to what is there, once. Bumps no sequence.
    pub async fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        let mut writing = self.begin().await?;
        if writing.changes(BATCH, (Id(batch.id), batch.at)).await? {
            let uses: Vec<_> = batch.uses.iter().map(columns).collect();
            writing.execute(ADD, (Json(uses),)).await?;
            let_through::add(&mut writing, &batch.let_through).await?;
        }
        writing.commit().await
    }

    /// Oldest first, then those with most requests.
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Page<UsageSum>, StoreError> {
        let UsageFilter { since: Hour(since), until: Hour(until), token, owner, by_token, by_deployment, .. } = *filter;
        let deployment = filter.deployment.as_deref();
        // All that an `i32` has are one step.
        let step = filter.hours.unwrap_or(i32::MAX).max(1);
        let (limit, offset) = (i64::from(filter.limit), i64::from(filter.offset));
        let mut reading = self.read().await?;
        let values = (since, until, token, deployment, owner, step, by_token, by_deployment, limit, offset);
        let rows: Vec<SumRow> = reading.all(SUMS, values).await?;
        let is_all = filter.offset == 0 && rows.len() < filter.limit as usize;
        let total = if is_all {
            rows.len() as u64
        } else {
            let values = (since, until, token, deployment, owner, step, by_token, by_deployment);
            let (total,): (i64,) = reading.one(COUNT, values).await?;
            total.unsigned_abs()
        };
        let items = rows.into_iter().map(|row| row.sum(filter.hours.is_some())).collect();
        Ok(Page { items, total })
    }

    /// Forgets the oldest hour, if it lies before. Whether there was one.
    pub async fn forget_usage(&self, before: Hour) -> Result<bool, StoreError> {
        self.write().await?.changes(FORGET, (before.0,)).await
    }

    /// Forgets which batches were written before.
    pub async fn forget_usage_batches(&self, before: Timestamp) -> Result<(), StoreError> {
        self.write().await?.execute(FORGET_BATCHES, (before,)).await.map(drop)
    }
}

type Columns<'u> = (i32, TokenUid, &'u str, u64, u64, u64, u64, u64, u64, u64, u64);

fn columns(of: &HourlyUse) -> Columns<'_> {
    let Used { requests, refused, bytes_in, bytes_out, upstream, events, prompt_tokens, completion_tokens } = of.used;
    let micros = u64::try_from(upstream.as_micros()).unwrap_or(u64::MAX);
    (
        of.hour.0,
        of.token.unwrap_or(NO_TOKEN),
        &of.deployment,
        requests,
        refused,
        bytes_in,
        bytes_out,
        micros,
        events,
        prompt_tokens,
        completion_tokens,
    )
}

impl SumRow {
    fn sum(self, by_hour: bool) -> UsageSum {
        let used = Used {
            requests: self.requests.unsigned_abs(),
            refused: self.refused.unsigned_abs(),
            bytes_in: self.bytes_in.unsigned_abs(),
            bytes_out: self.bytes_out.unsigned_abs(),
            upstream: Duration::from_micros(self.upstream_us.unsigned_abs()),
            events: self.events.unsigned_abs(),
            prompt_tokens: self.prompt_tokens.unsigned_abs(),
            completion_tokens: self.completion_tokens.unsigned_abs(),
        };
        UsageSum {
            first: by_hour.then_some(Hour(self.first)),
            token: self.token.filter(|token| *token != NO_TOKEN),
            deployment: self.deployment.filter(|name| !name.is_empty()),
            used,
        }
    }
}
