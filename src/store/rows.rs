//! From rows to values of the domain, the same for both databases. How a column is spelled: [`super::columns`].

use std::{sync::Arc, time::Duration};

use sqlx::{FromRow, Row, postgres::PgRow, sqlite::SqliteRow, types::Json};

use super::{ChainEnds, ChangedSecret, IndexedSecret, Replica, StoredDeployment, StoredEvent, columns::Id};
use crate::domain::{
    audit::RequestKey,
    audit_chain::{Chain, Checkpoint, Facts},
    device_login::{DeviceLogin, LoginDecision},
    session::{ConsoleSession, Invitation},
    timestamp::Timestamp,
    token::{SecretRecord, TokenRecord},
    user::User,
};

macro_rules! record {
    ($type:ident, $row:ident => $value:expr) => {
        impl FromRow<'_, SqliteRow> for $type {
            fn from_row($row: &SqliteRow) -> Result<Self, sqlx::Error> {
                Ok($value)
            }
        }

        impl FromRow<'_, PgRow> for $type {
            fn from_row($row: &PgRow) -> Result<Self, sqlx::Error> {
                Ok($value)
            }
        }
    };
}

record!(TokenRecord, row => Self {
    uid: row.try_get("id")?,
    name: row.try_get("name")?,
    description: row.try_get("description")?,
    scopes: row.try_get("scopes")?,
    owner: row.try_get("owner_id")?,
    created_at: row.try_get("created_at")?,
    expires_at: row.try_get("expires_at")?,
    expired_at: row.try_get("expired_at")?,
    revoked_at: row.try_get("revoked_at")?,
    last_used_at: row.try_get("last_used_at")?,
});

record!(SecretRecord, row => Self {
    lookup_id: row.try_get("lookup_id")?,
    hash: row.try_get::<String, _>("hash")?.into(),
    retires_at: row.try_get("retires_at")?,
    session: row.try_get("deployment")?,
});

record!(ChangedSecret, row => Self { seq: row.try_get("changed_seq")?, now: IndexedSecret::from_row(row)? });

record!(IndexedSecret, row => Self {
    secret: SecretRecord::from_row(row)?,
    uid: row.try_get("id")?,
    owner: row.try_get("owner_id")?,
    scopes: Arc::new(row.try_get("scopes")?),
    expires_at: row.try_get("expires_at")?,
    revoked_at: row.try_get("revoked_at")?,
});

record!(User, row => Self {
    id: row.try_get("id")?,
    name: row.try_get("name")?,
    email: row.try_get("email")?,
    role: row.try_get("role")?,
    password_hash: row.try_get("password_hash")?,
    single_sign_on: row.try_get("single_sign_on")?,
    created_at: row.try_get("created_at")?,
    disabled_at: row.try_get("disabled_at")?,
});

record!(ConsoleSession, row => Self {
    id_hash: row.try_get("id_hash")?,
    user: row.try_get("user_id")?,
    created_at: row.try_get("created_at")?,
    expires_at: row.try_get("expires_at")?,
    address: row.try_get("address")?,
    client: row.try_get("client")?,
});

record!(Invitation, row => Self {
    code_hash: row.try_get("code_hash")?,
    user: row.try_get("user_id")?,
    created_at: row.try_get("created_at")?,
    expires_at: row.try_get("expires_at")?,
});

record!(DeviceLogin, row => Self {
    code_hash: row.try_get("code_hash")?,
    asked_from: row.try_get("asked_from")?,
    asked_with: row.try_get("asked_with")?,
    created_at: row.try_get("created_at")?,
    expires_at: row.try_get("expires_at")?,
    decision: match (row.try_get::<Option<Timestamp>, _>("decided_at")?, row.try_get("approved_by")?, row.try_get("scopes")?) {
        (None, _, _) => None,
        (Some(_), Some(by), Some(scopes)) => Some(LoginDecision::Approved { by, scopes }),
        (Some(_), _, _) => Some(LoginDecision::Refused),
    },
    claimed_at: row.try_get("claimed_at")?,
});

record!(StoredDeployment, row => Self {
    spec: row.try_get::<Json<_>, _>("spec")?.0,
    created_at: row.try_get("created_at")?,
});

record!(StoredEvent, row => Self {
    facts: Facts {
        id: row.try_get::<Id, _>("id")?.0,
        at: row.try_get("at")?,
        action: row.try_get("action")?,
        actor_kind: row.try_get("actor_kind")?,
        actor: row.try_get("actor_id")?,
        target: row.try_get("target")?,
        detail: row.try_get::<Json<_>, _>("detail")?.0,
        request: match (row.try_get("request_key")?, row.try_get("request_hash")?) {
            (Some(key), Some(hash)) => Some(RequestKey { key, hash }),
            _ => None,
        },
    },
    place: match (row.try_get::<Option<Chain>, _>("chain")?, row.try_get("number")?, row.try_get("hash")?) {
        (Some(chain), Some(number), Some(hash)) => Some(Checkpoint { chain, number, hash }),
        _ => None,
    },
});

record!(ChainEnds, row => {
    let chain = row.try_get("chain")?;
    Self {
        end: Checkpoint { chain, number: row.try_get("number")?, hash: row.try_get("hash")? },
        forgotten: Checkpoint {
            chain,
            number: row.try_get("forgotten")?,
            hash: row.try_get("forgotten_hash")?,
        },
        forgotten_at: row.try_get("forgotten_at")?,
    }
});

record!(Replica, row => Self {
    id: row.try_get("id")?,
    name: row.try_get("name")?,
    applied_seq: row.try_get("applied_seq")?,
    silent: milliseconds(row.try_get("silent_ms")?),
    holds: row.try_get::<Option<i64>, _>("holds_ms")?.map(milliseconds),
    clock_ahead_ms: row.try_get("clock_ahead_ms")?,
});

/// As the database counts them.
fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(count.unsigned_abs())
}
