//! Whose requests have passed that will be refused once their Deployment is enforced.

use std::collections::BTreeSet;

use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Page, Store, StoreError,
    priority::Writing,
    statement::{Sql, same, statements},
};
use crate::domain::{
    let_through::{LetThrough, StrangeCaller},
    timestamp::Timestamp,
    token::TokenUid,
};

/// Whose id stands where no token is asked for, or none was proven.
pub(super) const NO_TOKEN: TokenUid = TokenUid(Uuid::nil());
/// Networks of each Deployment that are kept, those of late. The others are one.
const MOST: i64 = 1_000;

statements! {
    /// `$1`: a JSON array of arrays. In PostgreSQL in the order of the key, so that two gateways do not wait for each other.
    ADD = Sql {
        sqlite: "INSERT INTO let_through (deployment, reason, token_id, network, requests, first_ms, last_ms)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
            FROM json_each($1) WHERE true
            ON CONFLICT (deployment, reason, token_id, network) DO UPDATE SET requests = requests + excluded.requests,
                first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)",
        postgres: "INSERT INTO let_through AS kept (deployment, reason, token_id, network, requests, first_ms, last_ms)
            SELECT entry ->> 0 AS deployment, entry ->> 1 AS reason, (entry ->> 2)::uuid AS token_id, entry ->> 3 AS network,
                (entry ->> 4)::bigint, (entry ->> 5)::bigint, (entry ->> 6)::bigint
            FROM jsonb_array_elements($1) AS entry ORDER BY deployment, reason, token_id, network
            ON CONFLICT (deployment, reason, token_id, network) DO UPDATE SET requests = kept.requests + excluded.requests,
                first_ms = least(kept.first_ms, excluded.first_ms), last_ms = greatest(kept.last_ms, excluded.last_ms)",
    };

    /// `$1`: the Deployment, `$2`: how many networks are kept.
    FOLD = Sql {
        sqlite: "INSERT INTO let_through (deployment, reason, token_id, network, requests, first_ms, last_ms)
            SELECT deployment, reason, token_id, '', sum(requests), min(first_ms), max(last_ms)
            FROM let_through WHERE deployment = $1 AND network <> '' AND last_ms < (SELECT last_ms FROM let_through
                WHERE deployment = $1 AND network <> '' ORDER BY last_ms DESC LIMIT 1 OFFSET $2 - 1)
            GROUP BY deployment, reason, token_id
            ON CONFLICT (deployment, reason, token_id, network) DO UPDATE SET requests = requests + excluded.requests,
                first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)",
        postgres: "INSERT INTO let_through AS kept (deployment, reason, token_id, network, requests, first_ms, last_ms)
            SELECT deployment, reason, token_id, '', sum(requests)::bigint, min(first_ms), max(last_ms)
            FROM let_through WHERE deployment = $1 AND network <> '' AND last_ms < (SELECT last_ms FROM let_through
                WHERE deployment = $1 AND network <> '' ORDER BY last_ms DESC LIMIT 1 OFFSET $2 - 1)
            GROUP BY deployment, reason, token_id
            ON CONFLICT (deployment, reason, token_id, network) DO UPDATE SET requests = kept.requests + excluded.requests,
                first_ms = least(kept.first_ms, excluded.first_ms), last_ms = greatest(kept.last_ms, excluded.last_ms)",
    };

    TRIM = same("DELETE FROM let_through WHERE deployment = $1 AND network <> '' AND last_ms < (SELECT last_ms FROM let_through
        WHERE deployment = $1 AND network <> '' ORDER BY last_ms DESC LIMIT 1 OFFSET $2 - 1)");

    FORGET = same("DELETE FROM let_through WHERE last_ms < $1");

    COUNT = same("SELECT count(*) FROM let_through WHERE deployment = $1");

    LIST = same("SELECT deployment, reason, token_id, network, requests, first_ms, last_ms FROM let_through
        WHERE deployment = $1 ORDER BY requests DESC, reason, token_id, network LIMIT $2");
}

#[derive(sqlx::FromRow)]
struct Row {
    deployment: String,
    reason: String,
    token_id: TokenUid,
    network: String,
    requests: i64,
    first_ms: i64,
    last_ms: i64,
}

type Columns<'l> = (&'l str, &'l str, TokenUid, &'l str, u64, i64, i64);

fn columns(of: &LetThrough) -> Columns<'_> {
    let (token, network) = match &of.caller {
        StrangeCaller::Token(uid) => (*uid, ""),
        StrangeCaller::Network(network) => (NO_TOKEN, network.as_str()),
        StrangeCaller::Others => (NO_TOKEN, ""),
    };
    (&of.deployment, &of.reason, token, network, of.requests, of.first.as_millis(), of.last.as_millis())
}

/// Within the transaction that counts a batch once.
pub(super) async fn add(writing: &mut Writing, all: &[LetThrough]) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = all.iter().map(columns).collect();
    writing.execute(ADD, (Json(rows),)).await?;
    let deployments: BTreeSet<&str> = all.iter().map(|of| of.deployment.as_str()).collect();
    for deployment in deployments {
        writing.execute(FOLD, (deployment, MOST)).await?;
        writing.execute(TRIM, (deployment, MOST)).await?;
    }
    Ok(())
}

impl Store {
    /// Those with most requests first.
    pub async fn let_through(&self, deployment: &str, limit: u32) -> Result<Page<LetThrough>, StoreError> {
        let mut reading = self.read().await?;
        let (total,): (i64,) = reading.one(COUNT, (deployment,)).await?;
        let rows: Vec<Row> = reading.all(LIST, (deployment, i64::from(limit))).await?;
        Ok(Page { items: rows.into_iter().map(LetThrough::from).collect(), total: total.unsigned_abs() })
    }

    /// Forgets who was last seen before.
    pub async fn forget_let_through(&self, before: Timestamp) -> Result<(), StoreError> {
        self.write().await?.execute(FORGET, (before.as_millis(),)).await.map(drop)
    }
}

impl From<Row> for LetThrough {
    fn from(row: Row) -> Self {
        let caller = match row.network {
            _ if row.token_id != NO_TOKEN => StrangeCaller::Token(row.token_id),
            network if network.is_empty() => StrangeCaller::Others,
            network => StrangeCaller::Network(network),
        };
        Self {
            deployment: row.deployment,
            reason: row.reason,
            caller,
            requests: row.requests.unsigned_abs(),
            first: Timestamp::from_millis(row.first_ms),
            last: Timestamp::from_millis(row.last_ms),
        }
    }
}
