//! Lists of tokens: searched, in an order, in part.

use std::time::Duration;

use super::{
    Page, Store, StoreError,
    columns::sought,
    statement::{Sql, statements},
    tokens::select_token,
};
use crate::domain::{
    timestamp::Timestamp,
    token::TokenRecord,
    token_text::{LOOKUP_ID_LEN, PREFIX},
    user::UserId,
};

/// `$1`: owner, `$2`: needle, `$3`: revoked ones, too, `$4` and `$5`: only what lives at the one and expires by the other.
/// `$contains` is the database's search for a text in a text.
macro_rules! filtered {
    ($contains:literal) => {
        concat!(
            "WHERE (CAST($1 AS uuid) IS NULL OR owner_id = $1) AND (CAST($2 AS text) IS NULL OR ",
            $contains,
            "(search_text, $2) > 0
                OR id IN (SELECT token_id FROM token_secrets WHERE lower(lookup_id) = $2 AND deployment IS NULL))
            AND ($3 OR revoked_at IS NULL)
            AND (CAST($4 AS timestamptz) IS NULL
                OR (revoked_at IS NULL AND expired_at IS NULL AND expires_at > $4 AND expires_at <= $5)) "
        )
    };
}

/// Each `CASE` is NULL, and so without effect, but for the order that is asked for.
macro_rules! sorted {
    () => {
        "ORDER BY CASE $8 WHEN 'name' THEN lower(name) END,
            CASE $8 WHEN 'expires' THEN expires_at END ASC NULLS LAST,
            CASE $8 WHEN 'used' THEN last_used_at END DESC NULLS LAST,
            created_at DESC, id DESC LIMIT $6 OFFSET $7"
    };
}

statements! {
    COUNT = Sql {
        sqlite: concat!("SELECT count(*) FROM api_tokens ", filtered!("instr")),
        postgres: concat!("SELECT count(*) FROM api_tokens ", filtered!("strpos")),
    };

    LIST = Sql {
        sqlite: select_token!(concat!(filtered!("instr"), "ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7")),
        postgres: select_token!(concat!(filtered!("strpos"), "ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7")),
    };

    LIST_SORTED = Sql {
        sqlite: select_token!(concat!(filtered!("instr"), sorted!())),
        postgres: select_token!(concat!(filtered!("strpos"), sorted!())),
    };
}

/// How tokens are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenOrder {
    /// The last made first.
    #[default]
    Newest,
    Name,
    /// The first to expire first; those that never do last.
    Expires,
    /// The last used first; those never used last.
    LastUsed,
}

/// Which tokens to list.
#[derive(Clone, Debug)]
pub struct TokenFilter {
    /// A part of the name, the description or the uid, or the lookup id, in any case. `None`: all.
    pub search: Option<String>,
    /// `None`: everyone's.
    pub owner: Option<UserId>,
    /// Revoked ones, too.
    pub revoked: bool,
    /// Only those that have not ended and expire within it. `None`: whenever they expire.
    pub expiring: Option<Within>,
    pub order: TokenOrder,
    pub offset: u32,
    pub limit: u32,
}

impl TokenFilter {
    /// Everybody's, revoked ones, too, the last made first.
    pub fn newest(limit: u32) -> Self {
        let (search, owner, expiring) = (None, None, None);
        Self { search, owner, revoked: true, expiring, order: TokenOrder::Newest, offset: 0, limit }
    }
}

/// From now until then.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    pub now: Timestamp,
    pub until: Timestamp,
}

impl Within {
    pub fn next(duration: Duration, now: Timestamp) -> Self {
        Self { now, until: now.saturating_add(duration) }
    }
}

impl Store {
    pub async fn list_tokens(&self, filter: &TokenFilter) -> Result<Page<TokenRecord>, StoreError> {
        let needle = filter.search.as_deref().map(search_needle);
        let (owner, needle, revoked) = (filter.owner, needle.as_deref(), filter.revoked);
        let (limit, offset) = (i64::from(filter.limit), i64::from(filter.offset));
        let (lives, ends) = filter.expiring.map(|Within { now, until }| (now, until)).unzip();
        let mut reading = self.read().await?;
        let (total,): (i64,) = reading.one(COUNT, (owner, needle, revoked, lives, ends)).await?;
        let sorted_by = match filter.order {
            TokenOrder::Newest => None,
            TokenOrder::Name => Some("name"),
            TokenOrder::Expires => Some("expires"),
            TokenOrder::LastUsed => Some("used"),
        };
        let items = match sorted_by {
            None => reading.all(LIST, (owner, needle, revoked, lives, ends, limit, offset)).await?,
            Some(column) => {
                reading.all(LIST_SORTED, (owner, needle, revoked, lives, ends, limit, offset, column)).await?
            }
        };
        Ok(Page { items, total: total.unsigned_abs() })
    }
}

/// What a search looks for in the column `search_text`.
fn search_needle(search: &str) -> String {
    // Tokens begin with it, and the part behind it is what is looked for.
    let search = search.strip_prefix(PREFIX).filter(|rest| rest.len() == LOOKUP_ID_LEN).unwrap_or(search);
    sought(&search.to_lowercase()).into_owned()
}
