//! Whether a later release has migrated the store.

use super::{
    Database, Store, StoreError, postgres, sqlite,
    statement::{same, statements},
};

statements! {
    NEWEST_MIGRATION = same("SELECT max(version) FROM _sqlx_migrations");
}

impl Store {
    /// Whether the store has migrations that this release does not know. It can be used all the same: an update lets gateways
    /// of two releases run side by side.
    pub async fn is_of_later_release(&self) -> Result<bool, StoreError> {
        let known = match &self.shared.database {
            Database::Sqlite(_) => sqlite::newest_migration(),
            Database::Postgres(_) => postgres::newest_migration(),
        };
        let (newest,): (i64,) = self.read().await?.one(NEWEST_MIGRATION, ()).await?;
        Ok(newest > known)
    }
}
