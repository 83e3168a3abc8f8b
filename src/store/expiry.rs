//! What has ended by the clock is written down, so that a clock which is set back does not revive it.

use super::{
    Change, Store, StoreError,
    statement::{Sql, statements},
};
use crate::domain::{timestamp::Timestamp, token::TokenUid};

statements! {
    /// `$1`: what ended by then. PostgreSQL's own clock has to say so, too.
    EXISTS = Sql {
        sqlite: "SELECT EXISTS (SELECT 1 FROM api_tokens
                WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1)
            OR EXISTS (SELECT 1 FROM token_secrets WHERE retires_at > 0 AND retires_at <= $1)",
        postgres: "SELECT EXISTS (SELECT 1 FROM api_tokens
                WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL
                    AND expires_at <= least($1, now()))
            OR EXISTS (SELECT 1 FROM token_secrets
                WHERE retires_at > timestamptz '1970-01-01 00:00:00Z' AND retires_at <= least($1, now()))",
    };

    /// `$1`: as above, `$2`: now, `$3`: at most so many.
    TOKENS = Sql {
        sqlite: "UPDATE api_tokens SET expired_at = $2 WHERE id IN (SELECT id FROM api_tokens
                WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1
                ORDER BY expires_at LIMIT $3)
            RETURNING id",
        postgres: "UPDATE api_tokens SET expired_at = $2 WHERE id IN (SELECT id FROM api_tokens
                WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL
                    AND expires_at <= least($1, now())
                ORDER BY expires_at LIMIT $3)
            RETURNING id",
    };

    /// `$1`: as above, `$2`: the sequence of the change, `$3`: at most so many.
    SECRETS = Sql {
        sqlite: "UPDATE token_secrets SET retires_at = 0, changed_seq = $2 WHERE lookup_id IN
            (SELECT lookup_id FROM token_secrets WHERE retires_at > 0 AND retires_at <= $1 ORDER BY retires_at LIMIT $3)",
        postgres: "UPDATE token_secrets SET retires_at = timestamptz '1970-01-01 00:00:00Z', changed_seq = $2
            WHERE lookup_id IN (SELECT lookup_id FROM token_secrets
                WHERE retires_at > timestamptz '1970-01-01 00:00:00Z' AND retires_at <= least($1, now())
                ORDER BY retires_at LIMIT $3)",
    };
}

impl Store {
    /// Whether something ended by `due` that is not written down yet.
    pub async fn has_ended(&self, due: Timestamp) -> Result<bool, StoreError> {
        let (exists,) = self.read().await?.one(EXISTS, (due,)).await?;
        Ok(exists)
    }
}

impl Change {
    /// Writes down which tokens have expired by `due`, at most `limit`; from now on no clock makes them valid.
    pub async fn end_tokens(
        &mut self,
        due: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<TokenUid>, StoreError> {
        let ended: Vec<(TokenUid,)> = self.connection.all(TOKENS, (due, now, i64::from(limit))).await?;
        for (uid,) in &ended {
            self.touch_secrets(*uid).await?;
        }
        Ok(ended.into_iter().map(|(uid,)| uid).collect())
    }

    /// The same of old secrets and browser sessions; how many.
    pub async fn end_secrets(&mut self, due: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.connection.execute(SECRETS, (due, self.seq, i64::from(limit))).await
    }
}
