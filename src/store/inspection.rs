//! A look at a store as it is, for a diagnosis or a copy: nothing is made, migrated or written.

use super::{
    Database, Priority, SharedStore, StoreError,
    postgres::PostgresServer,
    sqlite::{Look, SqliteFile},
    statement::{Connection, Sql, same, statements},
    store_of,
};
use crate::{
    config::{StoreConfig, StoreUrl},
    domain::timestamp::Timestamp,
};

statements! {
    /// Its version; what keeps it from being written, empty for nothing; what its clock shows.
    SERVER = Sql {
        sqlite: "SELECT 'SQLite ' || sqlite_version(), '', CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        postgres: "SELECT 'PostgreSQL ' || current_setting('server_version'),
            CASE WHEN pg_is_in_recovery() THEN 'the server is a standby that has not been promoted'
                WHEN current_setting('default_transaction_read_only') = 'on' THEN 'transactions are read-only'
                WHEN coalesce(has_table_privilege(to_regclass('change_seq'), 'UPDATE'),
                    has_schema_privilege(current_schema(), 'CREATE'), false) THEN ''
                ELSE 'its user has no right to write' END,
            clock_timestamp()",
    };

    IS_MIGRATED = Sql {
        sqlite: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')",
        postgres: "SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
    };

    MIGRATIONS = same("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version");
}

/// What there is at `store.url`.
pub struct Inspection {
    /// Product and version.
    pub server: String,
    /// Why it cannot be written. `None`: it can.
    pub unwritable: Option<String>,
    /// What its clock showed when it was asked.
    pub clock: Timestamp,
    pub schema: Schema,
    /// For reading. `None`: the schema is not one that this release can read.
    pub store: Option<SharedStore>,
}

/// Which migrations the store has had, beside those that this release has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Of this release, in the store.
    pub applied: Vec<i64>,
    /// Of this release, not in the store.
    pub pending: Vec<i64>,
    /// In the store, and not of this release.
    pub unknown: Vec<i64>,
    /// In the store with another content than in this release.
    pub altered: Vec<i64>,
}

impl Schema {
    /// Whether it is that of this release.
    pub fn is_current(&self) -> bool {
        [&self.pending, &self.unknown, &self.altered].iter().all(|other| other.is_empty())
    }
}

/// `None`: there is no SQLite file yet.
///
/// # Errors
/// As [`open`](super::open).
pub async fn inspect(config: &StoreConfig, look: Look) -> Result<Option<Inspection>, StoreError> {
    let database = match &config.url {
        StoreUrl::Sqlite(path) => match SqliteFile::inspect(path, config, look)? {
            Some(file) => Database::Sqlite(file),
            None => return Ok(None),
        },
        StoreUrl::Postgres(url) => Database::Postgres(PostgresServer::inspect(url, config).await?),
    };
    let mut connection = database.reader(Priority::Ordinary).await?;
    let (server, refusal, clock): (String, String, Timestamp) = connection.one(SERVER, ()).await?;
    let schema = schema(&database, &mut connection).await?;
    drop(connection);
    let unwritable = match &database {
        Database::Sqlite(file) => file.is_writable().err(),
        Database::Postgres(_) => Some(refusal).filter(|refusal| !refusal.is_empty()),
    };
    let readable = schema.pending.is_empty() && schema.altered.is_empty();
    let store = if readable { Some(store_of(database, config).await?) } else { None };
    Ok(Some(Inspection { server, unwritable, clock, schema, store }))
}

async fn schema(database: &Database, connection: &mut Connection) -> Result<Schema, StoreError> {
    let (migrated,): (bool,) = connection.one(IS_MIGRATED, ()).await?;
    let found: Vec<(i64, Vec<u8>)> = if migrated { connection.all(MIGRATIONS, ()).await? } else { Vec::new() };
    let known = database.migrations();
    let mut schema = Schema::default();
    for (version, checksum) in &found {
        match known.iter().find(|migration| migration.version == *version) {
            None => schema.unknown.push(*version),
            Some(migration) if *migration.checksum != **checksum => schema.altered.push(*version),
            Some(_) => schema.applied.push(*version),
        }
    }
    let in_store = |version: i64| found.iter().any(|(found, _)| *found == version);
    schema.pending = known.iter().map(|migration| migration.version).filter(|version| !in_store(*version)).collect();
    Ok(schema)
}
