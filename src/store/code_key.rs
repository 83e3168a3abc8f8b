//! The key of the tags that codes carry. The migration has made it, and it never changes.

use super::{
    Database, StoreError,
    statement::{same, statements},
};
use crate::domain::code::CodeKey;

statements! {
    KEY = same("SELECT key FROM code_key");
}

pub(super) async fn read(database: &Database) -> Result<CodeKey, StoreError> {
    let mut connection = match database {
        Database::Sqlite(file) => file.reader().await?,
        Database::Postgres(server) => server.connection().await?,
    };
    let (key,): (Vec<u8>,) = connection.one(KEY, ()).await?;
    let broken =
        || StoreError::Inconsistent("the key of the codes in links and cookies is not 32 bytes long".to_owned());
    CodeKey::from_stored(&key).ok_or_else(broken)
}
