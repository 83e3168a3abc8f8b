//! What has ended by the clock is written down, so that a clock which is set back does not revive it.

use sqlx::types::Json;

use super::{
    Change, Store, StoreError,
    statement::{Sql, statements},
};
use crate::domain::{timestamp::Timestamp, token::TokenUid};

/// Tokens that have expired by `$due`, as far as nobody has written it down.
macro_rules! expired {
    ($due:literal) => {
        concat!(
            "FROM api_tokens
            WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at <= ",
            $due
        )
    };
}

/// The same of old secrets and browser sessions.
macro_rules! retired {
    ($long_ago:literal, $due:literal) => {
        concat!("FROM token_secrets WHERE retires_at > ", $long_ago, " AND retires_at <= ", $due)
    };
}

macro_rules! exists {
    ($expired:expr, $retired:expr) => {
        concat!("SELECT EXISTS (SELECT 1 ", $expired, ") OR EXISTS (SELECT 1 ", $retired, ")")
    };
}

macro_rules! end_tokens {
    ($expired:expr) => {
        concat!(
            "UPDATE api_tokens SET expired_at = $2 WHERE id IN (SELECT id ",
            $expired,
            " ORDER BY expires_at LIMIT $3) RETURNING id"
        )
    };
}

macro_rules! end_secrets {
    ($long_ago:literal, $retired:expr) => {
        concat!(
            "UPDATE token_secrets SET retires_at = ",
            $long_ago,
            ", changed_seq = $2 WHERE lookup_id IN (SELECT lookup_id ",
            $retired,
            " ORDER BY retires_at LIMIT $3)"
        )
    };
}

/// What stands for itself is deleted once it is over.
macro_rules! forget {
    ($table:literal) => {
        Sql {
            sqlite: concat!("DELETE FROM ", $table, " WHERE expires_at <= $1"),
            postgres: concat!("DELETE FROM ", $table, " WHERE expires_at <= least($1, now())"),
        }
    };
}

statements! {
    FORGET_SESSIONS = forget!("console_sessions");

    FORGET_INVITATIONS = forget!("invitations");

    FORGET_LOGINS = forget!("logins");

    FORGET_HAND_OVERS = forget!("hand_overs");

    /// `$1`: what ended by then. PostgreSQL's own clock has to say so, too.
    EXISTS = Sql {
        sqlite: exists!(expired!("$1"), retired!("0", "$1")),
        postgres: exists!(
            expired!("least($1, now())"),
            retired!("timestamptz '1970-01-01 00:00:00Z'", "least($1, now())")
        ),
    };

    /// `$1`: as above, `$2`: now, `$3`: at most so many.
    TOKENS = Sql {
        sqlite: end_tokens!(expired!("$1")),
        postgres: end_tokens!(expired!("least($1, now())")),
    };

    /// `$1`: a JSON array of tokens, `$2`: the sequence of the change.
    TOUCH = Sql {
        sqlite: "UPDATE token_secrets SET changed_seq = $2 WHERE token_id IN (SELECT value FROM json_each($1))",
        postgres: "UPDATE token_secrets SET changed_seq = $2
            WHERE token_id IN (SELECT id::uuid FROM jsonb_array_elements_text($1) AS id)",
    };

    /// `$1`: as above, `$2`: the sequence of the change, `$3`: at most so many.
    SECRETS = Sql {
        sqlite: end_secrets!("0", retired!("0", "$1")),
        postgres: end_secrets!(
            "timestamptz '1970-01-01 00:00:00Z'",
            retired!("timestamptz '1970-01-01 00:00:00Z'", "least($1, now())")
        ),
    };
}

impl Store {
    /// Whether something ended by `due` that is not written down yet.
    pub async fn has_ended(&self, due: Timestamp) -> Result<bool, StoreError> {
        let (exists,) = self.read().await?.one(EXISTS, (due,)).await?;
        Ok(exists)
    }

    /// Forgets sessions at the console, links, logins of the command line and hand-overs that were over by `due`. No replica
    /// needs to learn of it, since each use of one asks the store.
    pub async fn forget_ended(&self, due: Timestamp) -> Result<(), StoreError> {
        let mut writing = self.begin().await?;
        for statement in [FORGET_SESSIONS, FORGET_INVITATIONS, FORGET_LOGINS, FORGET_HAND_OVERS] {
            writing.execute(statement, (due,)).await?;
        }
        writing.commit().await
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
        let ended: Vec<TokenUid> = ended.into_iter().map(|(uid,)| uid).collect();
        self.connection.execute(TOUCH, (Json(&ended), self.seq)).await?;
        Ok(ended)
    }

    /// The same of old secrets and browser sessions; how many.
    pub async fn end_secrets(&mut self, due: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.connection.execute(SECRETS, (due, self.seq, i64::from(limit))).await
    }
}
