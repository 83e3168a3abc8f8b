//! How values of the domain are spelled in a column: the only file that knows the databases' types.

use std::borrow::Cow;

use sqlx::{
    Database, Postgres, Sqlite, Type,
    decode::Decode,
    encode::{Encode, IsNull},
    error::BoxDynError,
    types::{Json, uuid::fmt::Hyphenated},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::ReplicaId;
use crate::domain::{
    audit_chain::Chain,
    code::CodeHash,
    deployment::DeploymentName,
    scope::{Scope, ScopeSet},
    timestamp::Timestamp,
    token::TokenUid,
    token_text::LookupId,
    usage::Day,
    user::{Email, Role, UserId},
};

/// What somebody searches or filters for. PostgreSQL refuses a text with U+0000, and no text that is stored has a control
/// character of that kind, so another one takes its place.
pub(super) fn sought(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{1}").into() } else { text.into() }
}

/// `$to` makes the database's type `$raw` of a `&$type`, `$from` reads it back. What a rule of the domain refuses is an
/// error of decoding, whose text must not quote a hash or a lookup id.
macro_rules! column {
    ($type:ty, $database:ty: $raw:ty, $to:expr, $from:expr) => {
        impl Type<$database> for $type {
            fn type_info() -> <$database as Database>::TypeInfo {
                <$raw as Type<$database>>::type_info()
            }

            fn compatible(info: &<$database as Database>::TypeInfo) -> bool {
                <$raw as Type<$database>>::compatible(info)
            }
        }

        impl Encode<'_, $database> for $type {
            fn encode_by_ref(&self, out: &mut <$database as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let raw: $raw = $to(self);
                <$raw as Encode<$database>>::encode(raw, out)
            }
        }

        impl<'r> Decode<'r, $database> for $type {
            fn decode(value: <$database as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
                $from(<$raw as Decode<$database>>::decode(value)?)
            }
        }
    };
    // Times: SQLite has whole milliseconds.
    ($type:ty as time) => {
        column!($type, Sqlite: i64, |at: &$type| at.as_millis(), |at| Ok(<$type>::from_millis(at)));
        column!($type, Postgres: OffsetDateTime, |at: &$type| (*at).into(), |at| Ok(<$type>::from(at)));
    };
    // Ids: SQLite has them as text with hyphens, readable in its shell.
    ($type:path as id) => {
        column!($type, Sqlite: Hyphenated, |id: &$type| id.0.hyphenated(), |id: Hyphenated| Ok($type(id.into())));
        column!($type, Postgres: Uuid, |id: &$type| id.0, |id| Ok($type(id)));
    };
    ($type:ty as text, $from:expr) => {
        column!($type, Sqlite: String, |text: &$type| text.as_str().to_owned(), $from);
        column!($type, Postgres: String, |text: &$type| text.as_str().to_owned(), $from);
    };
}

/// An id that has no type of its own.
#[derive(Clone, Copy)]
pub(super) struct Id(pub Uuid);

column!(Timestamp as time);

column!(Id as id);
column!(TokenUid as id);
column!(UserId as id);
column!(ReplicaId as id);

column!(Chain as text, |text: String| text.parse().map_err(|()| format!("{text:?} is not a chain").into()));
column!(CodeHash as text, |text| Ok(CodeHash::from_stored(text)));
column!(DeploymentName as text, |text: String| Ok(text.parse()?));
column!(Email as text, |text: String| Ok(text.parse()?));
column!(LookupId as text, |text: String| LookupId::from_stored(&text)
    .ok_or_else(|| "a lookup id is not 12 letters and digits".into()));
column!(Role as text, |text: String| Role::from_stored(&text).ok_or_else(|| format!("{text:?} is not a role").into()));

column!(ScopeSet, Sqlite: Json<Vec<String>>, |scopes| Json(scope_texts(scopes)), |Json(texts): Json<Vec<String>>| Ok(
    ScopeSet::from_stored(texts)?
));
column!(ScopeSet, Postgres: Vec<String>, scope_texts, |texts: Vec<String>| Ok(ScopeSet::from_stored(texts)?));

column!(Day, Sqlite: i32, |day: &Day| day.0, |day| Ok(Day(day)));
column!(Day, Postgres: i32, |day: &Day| day.0, |day| Ok(Day(day)));

pub(super) fn scope_texts(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(Scope::to_string).collect()
}
