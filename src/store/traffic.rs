//! What went through, to look at.

use std::collections::HashMap;

use sqlx::types::Json;

use super::{
    Store, StoreError,
    statement::{Sql, same, statements},
};
use crate::domain::{
    token::TokenUid,
    usage::{Day, Traffic},
    user::UserId,
};

statements! {
    /// `$1`: a JSON array of quadruples. In PostgreSQL in the order of the key, so that two gateways do not wait for
    /// each other.
    ADD = Sql {
        sqlite: "INSERT INTO traffic (minute, metric, subject, total)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each($1) WHERE true
            ON CONFLICT (minute, metric, subject) DO UPDATE SET total = total + excluded.total",
        postgres: "INSERT INTO traffic (minute, metric, subject, total)
            SELECT (count ->> 0)::bigint AS minute, count ->> 1 AS metric, count ->> 2 AS subject, (count ->> 3)::bigint
            FROM jsonb_array_elements($1) AS count ORDER BY minute, metric, subject
            ON CONFLICT (minute, metric, subject) DO UPDATE SET total = traffic.total + excluded.total",
    };

    TRAFFIC = same(
        "SELECT minute / $2 * $2 AS first, metric, subject, CAST(sum(total) AS bigint) FROM traffic
        WHERE minute >= $1 GROUP BY first, metric, subject ORDER BY first, metric, subject",
    );

    FORGET = same("DELETE FROM traffic WHERE minute < $1");

    /// `$1`: a JSON array of ids. `$2`: whose, or everybody's.
    NAMES = Sql {
        sqlite: "SELECT id, name FROM api_tokens
            WHERE id IN (SELECT value FROM json_each($1)) AND ($2 IS NULL OR owner_id = $2)",
        postgres: "SELECT id, name FROM api_tokens
            WHERE id IN (SELECT jsonb_array_elements_text($1)::uuid) AND ($2::uuid IS NULL OR owner_id = $2)",
    };

    /// `$1`: a JSON array of ids.
    USAGE = Sql {
        sqlite: "SELECT token_id, sum(requests) FROM token_usage
            WHERE token_id IN (SELECT value FROM json_each($1)) AND day >= $2 GROUP BY token_id",
        postgres: "SELECT token_id, sum(requests)::bigint FROM token_usage
            WHERE token_id IN (SELECT jsonb_array_elements_text($1)::uuid) AND day >= $2 GROUP BY token_id",
    };
}

impl Store {
    /// Adds to what is there, in one statement. Bumps no sequence.
    pub async fn add_traffic(&self, counts: &[Traffic]) -> Result<(), StoreError> {
        let quadruple = |count: &'_ Traffic| (count.minute, count.metric.clone(), count.subject.clone(), count.total);
        let counts: Vec<_> = counts.iter().map(quadruple).collect();
        self.write().await?.execute(ADD, (Json(counts),)).await.map(drop)
    }

    /// Sums from minute `since` on, over `step` minutes each: [`Traffic::minute`] is the first of them.
    pub async fn traffic(&self, since: i64, step: i64) -> Result<Vec<Traffic>, StoreError> {
        let rows: Vec<(i64, String, String, i64)> = self.read().await?.all(TRAFFIC, (since, step.max(1))).await?;
        let sum = |(minute, metric, subject, total): (_, _, _, i64)| {
            let total = total.unsigned_abs();
            Traffic { minute, metric, subject, total }
        };
        Ok(rows.into_iter().map(sum).collect())
    }

    /// Forgets what lies before.
    pub async fn forget_traffic(&self, before: i64) -> Result<(), StoreError> {
        self.write().await?.execute(FORGET, (before,)).await.map(drop)
    }

    /// The names of those of `tokens` that exist and are `owner`'s. `None`: everybody's.
    pub async fn names_of(
        &self,
        tokens: &[TokenUid],
        owner: Option<UserId>,
    ) -> Result<HashMap<TokenUid, String>, StoreError> {
        let rows: Vec<(TokenUid, String)> = self.read().await?.all(NAMES, (Json(tokens), owner)).await?;
        Ok(rows.into_iter().collect())
    }

    /// Requests of each token since `from`. Those without any are left out.
    pub async fn usage_of(&self, tokens: &[TokenUid], from: Day) -> Result<HashMap<TokenUid, u64>, StoreError> {
        let rows: Vec<(TokenUid, i64)> = self.read().await?.all(USAGE, (Json(tokens), from)).await?;
        Ok(rows.into_iter().map(|(uid, total)| (uid, total.unsigned_abs())).collect())
    }
}
