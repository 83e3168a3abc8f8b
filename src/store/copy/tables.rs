//! Every table that is copied, and how a row of it is one JSON object in both databases.
//!
//! What a row means is the same in both, and how it is spelled is not. So a row is read as an object whose members are the
//! same texts and numbers whichever database it is of, and written from one. Such objects are compared, too.

use crate::store::statement::Sql;

pub struct Table {
    pub name: &'static str,
    /// Rows as objects, by primary key. `$1`: the one after which they begin, NULL for the first; `$2`: how many.
    pub read: Sql,
    /// `$1`: an array of such objects.
    pub write: Sql,
}

/// From a column to a member of an object. Times are whole milliseconds since 1970.
macro_rules! read {
    (sqlite text $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (sqlite number $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (sqlite time $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (sqlite id $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (sqlite json $column:literal) => {
        concat!("'", $column, "', json(", $column, ")")
    };
    (sqlite texts $column:literal) => {
        concat!("'", $column, "', json(", $column, ")")
    };
    (sqlite bytes $column:literal) => {
        concat!("'", $column, "', lower(hex(", $column, "))")
    };
    (postgres text $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (postgres number $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (postgres time $column:literal) => {
        concat!("'", $column, "', floor(extract(epoch FROM ", $column, ") * 1000)::bigint")
    };
    (postgres id $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (postgres json $column:literal) => {
        concat!("'", $column, "', ", $column)
    };
    (postgres texts $column:literal) => {
        concat!("'", $column, "', array_to_json(", $column, ")")
    };
    (postgres bytes $column:literal) => {
        concat!("'", $column, "', encode(", $column, ", 'hex')")
    };
}

/// From a member of the object `value` to a column.
macro_rules! write {
    (sqlite json $column:literal) => {
        concat!("value -> '$.", $column, "'")
    };
    (sqlite bytes $column:literal) => {
        concat!("unhex(value ->> '$.", $column, "')")
    };
    // Of an array, its text.
    (sqlite $kind:ident $column:literal) => {
        concat!("json_extract(value, '$.", $column, "')")
    };
    (postgres text $column:literal) => {
        concat!("value ->> '", $column, "'")
    };
    (postgres number $column:literal) => {
        concat!("(value ->> '", $column, "')::bigint")
    };
    // In two steps: PostgreSQL multiplies intervals in floating point, which has no room for all milliseconds to the year 9999.
    (postgres time $column:literal) => {
        concat!(
            "timestamptz 'epoch' + ((value ->> '",
            $column,
            "')::bigint / 1000) * interval '1 second'
                + ((value ->> '",
            $column,
            "')::bigint % 1000) * interval '1 millisecond'"
        )
    };
    (postgres id $column:literal) => {
        concat!("(value ->> '", $column, "')::uuid")
    };
    (postgres json $column:literal) => {
        concat!("(value -> '", $column, "')::jsonb")
    };
    (postgres texts $column:literal) => {
        concat!(
            "CASE WHEN value ->> '",
            $column,
            "' IS NOT NULL
                THEN ARRAY(SELECT json_array_elements_text(value -> '",
            $column,
            "')) END"
        )
    };
    (postgres bytes $column:literal) => {
        concat!("decode(value ->> '", $column, "', 'hex')")
    };
}

/// A part of a primary key, of the object `$1`; before all others if there is none.
macro_rules! behind {
    (sqlite number $column:literal) => {
        concat!("coalesce(json_extract($1, '$.", $column, "'), -9223372036854775808)")
    };
    (sqlite $kind:ident $column:literal) => {
        concat!("coalesce(json_extract($1, '$.", $column, "'), '')")
    };
    (postgres number $column:literal) => {
        concat!("coalesce(($1::json ->> '", $column, "')::bigint, -9223372036854775808)")
    };
    (postgres id $column:literal) => {
        concat!("coalesce(($1::json ->> '", $column, "')::uuid, '00000000-0000-0000-0000-000000000000')")
    };
    (postgres text $column:literal) => {
        concat!("coalesce($1::json ->> '", $column, "', '')")
    };
}

macro_rules! joined {
    ($first:expr $(, $next:expr)*) => { concat!($first $(, ", ", $next)*) };
}

/// `set`: a column that every row has with the same value, in SQLite and in PostgreSQL.
macro_rules! table {
    ($name:literal $(set $set:literal)?, key: [$($key:literal $key_kind:ident),+], [$($column:literal $kind:ident),+]) => {
        Table {
            name: $name,
            read: Sql {
                sqlite: concat!(
                    "SELECT json_object(", joined!($(read!(sqlite $kind $column)),+), ") FROM ", $name,
                    " WHERE (", joined!($($key),+), ") > (", joined!($(behind!(sqlite $key_kind $key)),+),
                    ") ORDER BY ", joined!($($key),+), " LIMIT $2"
                ),
                postgres: concat!(
                    "SELECT json_build_object(", joined!($(read!(postgres $kind $column)),+), ")::text FROM ", $name,
                    " WHERE (", joined!($($key),+), ") > (", joined!($(behind!(postgres $key_kind $key)),+),
                    ") ORDER BY ", joined!($($key),+), " LIMIT $2"
                ),
            },
            write: Sql {
                sqlite: concat!(
                    "INSERT INTO ", $name, " (", $($set, ", ",)? joined!($($column),+), ") SELECT ", $("1 AS ", $set, ", ",)?
                    joined!($(write!(sqlite $kind $column)),+), " FROM json_each($1)"
                ),
                postgres: concat!(
                    "INSERT INTO ", $name, " (", $($set, ", ",)? joined!($($column),+), ") SELECT ", $("true AS ", $set, ", ",)?
                    joined!($(write!(postgres $kind $column)),+), " FROM json_array_elements($1::json) AS rows (value)"
                ),
            },
        }
    };
}

/// What a row refers to comes before it. Not among them: `change_seq` and `change_marks`, which [`super`] sets; `replicas`,
/// which are gateways that run on the other store; `_sqlx_migrations`, which migrating has made.
pub const TABLES: &[Table] = &[
    table!("organization" set "only_row", key: ["name" text], ["name" text, "created_at" time]),
    table!("users", key: ["id" id], [
        "id" id, "name" text, "email" text, "role" text, "password_hash" text, "created_at" time, "disabled_at" time,
        "changed_seq" number
    ]),
    table!("identities", key: ["issuer" text, "subject" text], [
        "issuer" text, "subject" text, "user_id" id, "created_at" time
    ]),
    table!("api_tokens", key: ["id" id], [
        "id" id, "owner_id" id, "name" text, "description" text, "search_text" text, "scopes" texts, "created_at" time,
        "expires_at" time, "expired_at" time, "revoked_at" time, "last_used_at" time
    ]),
    table!("token_secrets", key: ["lookup_id" text], [
        "lookup_id" text, "token_id" id, "hash" text, "retires_at" time, "changed_seq" number, "deployment" text
    ]),
    table!("deployments", key: ["name" text], [
        "name" text, "spec" json, "created_at" time, "removed_at" time, "changed_seq" number
    ]),
    table!("deployment_hosts", key: ["host" text], ["host" text, "deployment_name" text]),
    table!("declared_deployments", key: ["name" text], ["name" text, "declared_at" time]),
    table!("given_hosts", key: ["host" text], ["host" text]),
    table!("let_through", key: ["deployment" text, "reason" text, "token_id" id, "network" text], [
        "deployment" text, "reason" text, "token_id" id, "network" text, "requests" number, "first_ms" number,
        "last_ms" number
    ]),
    table!("logins", key: ["code_hash" text], [
        "code_hash" text, "asked_from" text, "asked_with" text, "created_at" time, "expires_at" time, "decided_at" time,
        "approved_by" id, "scopes" texts, "claimed_at" time
    ]),
    table!("console_sessions", key: ["id_hash" text], [
        "id_hash" text, "user_id" id, "created_at" time, "expires_at" time, "address" text, "client" text
    ]),
    table!("invitations", key: ["code_hash" text], [
        "code_hash" text, "user_id" id, "created_at" time, "expires_at" time, "used_at" time
    ]),
    table!("hand_overs", key: ["code_hash" text], [
        "code_hash" text, "nonce_hash" text, "user_id" id, "deployment" text, "expires_at" time, "token_id" id
    ]),
    table!("code_key", key: ["id" number], ["id" number, "created_at" time, "key" bytes]),
    table!("token_usage", key: ["token_id" id, "day" number], ["token_id" id, "day" number, "requests" number]),
    table!("usage_hours", key: ["hour" number, "token_id" id, "deployment" text], [
        "hour" number, "token_id" id, "deployment" text, "requests" number, "refused" number, "bytes_in" number,
        "bytes_out" number, "upstream_us" number, "events" number, "prompt_tokens" number, "completion_tokens" number
    ]),
    table!("usage_batches", key: ["id" id], ["id" id, "written_at" time]),
    table!("traffic", key: ["minute" number, "metric" text, "subject" text], [
        "minute" number, "metric" text, "subject" text, "total" number
    ]),
    table!("audit_events", key: ["id" id], [
        "id" id, "at" time, "action" text, "actor_kind" text, "actor_id" id, "target" text, "detail" json,
        "request_key" text, "request_hash" text, "chain" text, "number" number, "hash" text
    ]),
    table!("audit_chains", key: ["chain" text], [
        "chain" text, "number" number, "hash" text, "forgotten" number, "forgotten_hash" text, "forgotten_at" time
    ]),
];
