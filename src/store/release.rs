//! Whether a later release has migrated the store.

use sqlx::migrate::Migrator;

use super::{
    Database, Store, StoreError, postgres, sqlite,
    statement::{same, statements},
};

statements! {
    NEWEST_MIGRATION = same("SELECT max(version) FROM _sqlx_migrations");
}

impl Database {
    /// Those of this release.
    pub(super) fn migrations(&self) -> &'static Migrator {
        match self {
            Self::Sqlite(_) => sqlite::migrations(),
            Self::Postgres(_) => postgres::migrations(),
        }
    }
}

impl Store {
    /// Whether the store has migrations that this release does not know. It can be used all the same: an update lets gateways
    /// of two releases run side by side.
    pub async fn is_of_later_release(&self) -> Result<bool, StoreError> {
        let known = self.shared.database.migrations().iter().map(|migration| migration.version).max();
        let (newest,): (i64,) = self.read().await?.one(NEWEST_MIGRATION, ()).await?;
        Ok(known.is_none_or(|known| newest > known))
    }
}
