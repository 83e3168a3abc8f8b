//! The key of the tags that codes carry. The migration has made it, and it never changes.

use super::{
    Database, Priority, StoreError,
    statement::{same, statements},
};
use crate::domain::code::{CodeHash, CodeKey};

statements! {
    KEY = same("SELECT key FROM code_key");

    /// Of the release before, which had no tags.
    UNTAGGED = same(
        "SELECT id_hash FROM console_sessions WHERE created_at <= (SELECT created_at FROM code_key)
        UNION ALL
        SELECT code_hash FROM logins WHERE created_at <= (SELECT created_at FROM code_key)
        UNION ALL
        SELECT code_hash FROM invitations
        WHERE used_at IS NULL AND created_at <= (SELECT created_at FROM code_key)",
    );
}

pub(super) async fn read(database: &Database) -> Result<CodeKey, StoreError> {
    let mut connection = database.reader(Priority::Ordinary).await?;
    let (key,): (Vec<u8>,) = connection.one(KEY, ()).await?;
    let broken =
        || StoreError::Inconsistent("the key of the codes in links and cookies is not 32 bytes long".to_owned());
    let untagged: Vec<(CodeHash,)> = connection.all(UNTAGGED, ()).await?;
    CodeKey::from_stored(&key, untagged.into_iter().map(|(hash,)| hash).collect()).ok_or_else(broken)
}
