//! Reads all secrets there are at once, for a follower that knows nothing yet.
//!
//! A row costs a database's driver more than what is in it. So each table is read as it lies, in chunks of which the
//! database makes one text for each column, and tokens and secrets come together here. While a chunk is taken apart, the
//! database makes the next one.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use uuid::Uuid;

use super::{
    IndexedSecret, Snapshot, StoreError,
    statement::{Sql, statements},
};
use crate::domain::{
    scope::ScopeSet,
    timestamp::Timestamp,
    token::{SecretRecord, TokenUid},
    token_text::{LOOKUP_ID_LEN, LookupId},
    user::UserId,
};

/// Behind each value of a text whose values are not of one length. It is in no JSON, and in nothing else that is read here.
const END: u8 = 0x1e;

/// Characters of an id.
const ID_LEN: usize = 36;

/// A chunk of a table: where the next one begins, NULL if this was the last; how many rows; and five columns, each in one
/// text. `$1` is where it begins, NULL for the first. SQLite counts rows, PostgreSQL blocks of the table's file.
///
/// The first two columns are of fixed length, and follow each other without anything in between.
macro_rules! chunks {
    ($table:literal, [$one:literal, $two:literal], sqlite: [$($sqlite:literal),+], postgres: [$($postgres:literal),+]) => {
        Sql {
            sqlite: concat!(
                "SELECT max(rowid), count(*), group_concat(", $one, ", ''), group_concat(", $two, ", '')",
                $(", group_concat(", $sqlite, ", char(30)) || char(30)"),+,
                " FROM (SELECT rowid, * FROM ", $table,
                " WHERE rowid > coalesce($1, -9223372036854775808) ORDER BY rowid LIMIT 2048)"
            ),
            postgres: concat!(
                "SELECT CASE WHEN upto < pg_relation_size('", $table, "') / current_setting('block_size')::bigint
                    THEN upto END, columns.*
                FROM (SELECT coalesce($1::bigint, 0) + 256 AS upto) AS chunk,
                LATERAL (SELECT count(*), string_agg(", $one, "::text, ''), string_agg(", $two, "::text, '')",
                $(", string_agg(", $postgres, ", chr(30)) || chr(30)"),+,
                " FROM ", $table, " WHERE ctid >= ('(' || upto - 256 || ',0)')::tid
                    AND ctid < ('(' || upto || ',0)')::tid) AS columns"
            ),
        }
    };
}

statements! {
    /// What was seen to end has ended long ago, so that no clock revives it.
    TOKENS = chunks!(
        "api_tokens", ["id", "owner_id"],
        sqlite: [
            "scopes",
            "CASE WHEN expired_at IS NULL THEN coalesce(expires_at, '') ELSE 0 END",
            "coalesce(revoked_at, '')"
        ],
        postgres: [
            "array_to_json(scopes)::text",
            "CASE WHEN expired_at IS NULL THEN coalesce((extract(epoch FROM expires_at) * 1000)::bigint::text, '') ELSE '0' END",
            "coalesce((extract(epoch FROM revoked_at) * 1000)::bigint::text, '')"
        ]
    );

    SECRETS = chunks!(
        "token_secrets", ["token_id", "lookup_id"],
        sqlite: ["hash", "coalesce(retires_at, '')", "coalesce(deployment, '')"],
        postgres: [
            "hash",
            "coalesce((extract(epoch FROM retires_at) * 1000)::bigint::text, '')",
            "coalesce(deployment, '')"
        ]
    );
}

impl Snapshot {
    /// Every secret there is, in no order. A token with two secrets comes twice. `take` gets them by the thousand.
    ///
    /// # Errors
    /// [`StoreError`]; `take` may have got some by then.
    pub async fn every_secret(&mut self, mut take: impl FnMut(Vec<IndexedSecret>) + Send) -> Result<(), StoreError> {
        let mut tokens = Tokens::default();
        self.chunks(TOKENS, |chunk| tokens.read(chunk)).await?;
        self.chunks(SECRETS, |chunk| tokens.secrets(chunk).map(&mut take)).await
    }

    async fn chunks(
        &mut self,
        sql: Sql,
        mut read: impl FnMut(&Chunk) -> Result<(), Unreadable> + Send,
    ) -> Result<(), StoreError> {
        let broken = |Unreadable| {
            let what = "a token or one of its secrets is not of the form that this program writes";
            StoreError::Inconsistent(what.to_owned())
        };
        let mut chunk: Chunk = self.connection().one(sql, (None::<i64>,)).await?;
        while let Some(next) = chunk.0 {
            // In this order: the database is asked first, and works while the chunk is read.
            let (asked, done) = tokio::join!(self.connection().one(sql, (Some(next),)), async { read(&chunk) });
            done.map_err(broken)?;
            chunk = asked?;
        }
        read(&chunk).map_err(broken)
    }
}

/// As the statements say. Texts are `None` if there is no row.
type Chunk = (Option<i64>, i64, Text, Text, Text, Text, Text);
type Text = Option<String>;

/// A value is not what it should be. Which one is not said: it may be a hash.
struct Unreadable;

/// All tokens, for their secrets to be put to.
#[derive(Default)]
struct Tokens {
    by_uid: HashMap<Uuid, Token>,
    /// By their texts, each of which is read once: many tokens have them in common.
    scopes: HashMap<Box<str>, Arc<ScopeSet>>,
}

struct Token {
    owner: UserId,
    scopes: Arc<ScopeSet>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl Tokens {
    fn read(&mut self, (_, rows, ids, owners, scopes, expires_at, revoked_at): &Chunk) -> Result<(), Unreadable> {
        let rows = usize::try_from(*rows).map_err(|_| Unreadable)?;
        let (mut ids, mut owners) = (Fixed::<ID_LEN>::new(ids, rows)?, Fixed::<ID_LEN>::new(owners, rows)?);
        let [mut scopes, mut expires_at, mut revoked_at] = [scopes, expires_at, revoked_at].map(Ended::new);
        self.by_uid.reserve(rows);
        for _ in 0..rows {
            let token = Token {
                owner: UserId(id(owners.next()?)?),
                scopes: self.scopes(scopes.next()?)?,
                expires_at: time(expires_at.next()?)?,
                revoked_at: time(revoked_at.next()?)?,
            };
            self.by_uid.insert(id(ids.next()?)?, token);
        }
        Ok(())
    }

    fn scopes(&mut self, text: &str) -> Result<Arc<ScopeSet>, Unreadable> {
        if let Some(known) = self.scopes.get(text) {
            return Ok(Arc::clone(known));
        }
        let texts: Vec<String> = serde_json::from_str(text).map_err(|_| Unreadable)?;
        let scopes = Arc::new(ScopeSet::from_stored(texts).map_err(|_| Unreadable)?);
        self.scopes.insert(text.into(), Arc::clone(&scopes));
        Ok(scopes)
    }

    fn secrets(&self, chunk: &Chunk) -> Result<Vec<IndexedSecret>, Unreadable> {
        let (_, rows, tokens, lookup_ids, hashes, retires_at, sessions) = chunk;
        let rows = usize::try_from(*rows).map_err(|_| Unreadable)?;
        let (mut tokens, mut lookup_ids) =
            (Fixed::<ID_LEN>::new(tokens, rows)?, Fixed::<LOOKUP_ID_LEN>::new(lookup_ids, rows)?);
        let [mut hashes, mut retires_at, mut sessions] = [hashes, retires_at, sessions].map(Ended::new);
        let one = |_| {
            let uid = id(tokens.next()?)?;
            let Token { owner, scopes, expires_at, revoked_at } = self.by_uid.get(&uid).ok_or(Unreadable)?;
            let secret = SecretRecord {
                lookup_id: LookupId::from_stored(lookup_ids.next()?).ok_or(Unreadable)?,
                hash: hashes.next()?.into(),
                retires_at: time(retires_at.next()?)?,
                session: some(sessions.next()?)?,
            };
            let (uid, scopes) = (TokenUid(uid), Arc::clone(scopes));
            let (owner, expires_at, revoked_at) = (*owner, *expires_at, *revoked_at);
            Ok(IndexedSecret { secret, uid, owner, scopes, expires_at, revoked_at })
        };
        (0..rows).map(one).collect()
    }
}

/// Values of `N` bytes each.
struct Fixed<'a, const N: usize>(&'a str);

impl<'a, const N: usize> Fixed<'a, N> {
    fn new(text: &'a Text, rows: usize) -> Result<Self, Unreadable> {
        let text = text.as_deref().unwrap_or_default();
        // Or a value that is too long would be taken for the beginning of the next one.
        if text.len() == N * rows { Ok(Self(text)) } else { Err(Unreadable) }
    }

    fn next(&mut self) -> Result<&'a str, Unreadable> {
        let (value, rest) = self.0.split_at_checked(N).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(value)
    }
}

/// Values with [`END`] behind each.
struct Ended<'a>(&'a str);

impl<'a> Ended<'a> {
    fn new(text: &'a Text) -> Self {
        Self(text.as_deref().unwrap_or_default())
    }

    fn next(&mut self) -> Result<&'a str, Unreadable> {
        let end = memchr::memchr(END, self.0.as_bytes()).ok_or(Unreadable)?;
        let value = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(value)
    }
}

fn id(text: &str) -> Result<Uuid, Unreadable> {
    Uuid::try_parse(text).map_err(|_| Unreadable)
}

fn time(text: &str) -> Result<Option<Timestamp>, Unreadable> {
    Ok(some(text)?.map(Timestamp::from_millis))
}

/// `None`: there is none.
fn some<T: FromStr>(text: &str) -> Result<Option<T>, Unreadable> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Unreadable) }
}
