//! Finding a token by whatever a person calls it.

use super::{
    Store, StoreError,
    columns::sought,
    statement::{Sql, statements},
    tokens::select_token,
};
use crate::domain::{token::TokenRecord, user::UserId};

/// Tokens that are read at most: more than one is too many already.
const MAX_FOUND: i64 = 10;

/// `$1`: the text, `$2`: owner. `$end`: the last 12 characters of the uid. Live tokens come first, so that dead ones hide
/// none.
macro_rules! called {
    ($end:literal) => {
        select_token!(concat!(
            "WHERE (CAST($2 AS uuid) IS NULL OR owner_id = $2) AND ((name = $1 AND revoked_at IS NULL) OR ",
            $end,
            " = $1 OR id = (SELECT token_id FROM token_secrets WHERE lookup_id = $1 AND deployment IS NULL))
            ORDER BY revoked_at IS NOT NULL, created_at DESC, id DESC LIMIT $3"
        ))
    };
}

statements! {
    CALLED = Sql { sqlite: called!("substr(id, 25)"), postgres: called!("right(CAST(id AS text), 12)") };
}

impl Store {
    /// The tokens with this name, unless revoked; with this end of their uid, 12 characters; or with this lookup id.
    /// `owner` of `None`: everyone's.
    pub async fn tokens_called(&self, text: &str, owner: Option<UserId>) -> Result<Vec<TokenRecord>, StoreError> {
        self.read().await?.all(CALLED, (&*sought(text), owner, MAX_FOUND)).await
    }
}
