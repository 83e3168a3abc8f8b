//! The PostgreSQL adapter, for production and for more than one gateway on one store.
//! One file per noun with its SQL on top, the same names in the same order as in `../sqlite`; `changes` holds what every
//! change has in common, `rows` the way from columns to values, `errors` the one reading of sqlx's errors.

mod changes;
mod deployments;
mod errors;
mod feed;
mod figures;
mod logins;
mod people;
mod replicas;
mod rows;
mod tokens;
mod users;

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{sync::Mutex, time::timeout};

use super::StoreError;
use crate::config::{Secret, StoreConfig};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Of the transaction, not of the session as sqlx's own lock: that one stays behind in a pooler such as PgBouncer. The
/// number is arbitrary, and the same for all releases.
const LOCK_MIGRATIONS: &str = "SELECT set_config('statement_timeout', '0', true), pg_advisory_xact_lock(4837261908)";

/// The server gives up what the client has given up, and the locks of a gateway that froze in mid-change. Not sent as
/// options of the connection, since poolers refuse those.
const LIMIT_SESSION: &str =
    "SELECT set_config('statement_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false)";

const STATEMENTS: &[&str] = &[LOCK_MIGRATIONS, LIMIT_SESSION];

pub(super) struct PostgresStore {
    pool: PgPool,
    /// One connection that is not the pool's, so that a pool of one is not used up by waiting for notifications.
    notifications: PgPool,
    /// `None`: not listening yet, or the connection was lost.
    listener: Mutex<Option<PgListener>>,
    /// For a whole method, waiting for a connection included.
    deadline: Duration,
}

impl PostgresStore {
    /// # Errors
    /// [`StoreError::Unusable`], [`StoreError::Unavailable`].
    pub async fn open(url: &Secret, config: &StoreConfig) -> Result<Self, StoreError> {
        // The parser's own error is dropped: it may quote the URL.
        let options = PgConnectOptions::from_str(url.expose()).map_err(|_| {
            StoreError::Unusable("store.url is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
        })?;
        let options = options.application_name("bento-gateway");
        migrate(&options, config.acquire_timeout).await?;

        let limit = format!("{}ms", config.acquire_timeout.as_millis().max(1));
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .after_connect(move |connection, _| {
                let limit = limit.clone();
                Box::pin(async move { sqlx::query(LIMIT_SESSION).bind(limit).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options.clone());
        let notifications = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        Ok(Self { pool, notifications, listener: Mutex::new(None), deadline: config.acquire_timeout * 2 })
    }

    /// Every method's work passes here: a database that hangs must not hang us, and sqlx's errors end here.
    async fn perform<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        match timeout(self.deadline, work).await {
            Ok(done) => done.map_err(errors::store_error),
            Err(_) => Err(errors::no_answer(self.deadline)),
        }
    }
}

/// `patience` is for the connection only: a migration takes as long as it takes, and so does waiting for another
/// process's.
async fn migrate(options: &PgConnectOptions, patience: Duration) -> Result<(), StoreError> {
    let connected = timeout(patience, options.connect()).await.map_err(|_| errors::no_answer(patience))?;
    let mut connection = connected.map_err(errors::store_error)?;
    let mut transaction = connection.begin().await.map_err(errors::store_error)?;
    sqlx::query(LOCK_MIGRATIONS).execute(&mut *transaction).await.map_err(errors::store_error)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: it may run beside this one.
    migrator.set_ignore_missing(true).set_locking(false);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    migrator.run_direct(None, &mut *transaction, false).await.map_err(errors::migration_error)?;

    transaction.commit().await.map_err(errors::store_error)?;
    connection.close().await.map_err(errors::store_error)
}

/// Every statement of this adapter, to be prepared by a test.
pub(super) fn statements() -> Vec<&'static str> {
    [
        STATEMENTS,
        changes::STATEMENTS,
        tokens::STATEMENTS,
        users::STATEMENTS,
        deployments::STATEMENTS,
        logins::STATEMENTS,
        people::STATEMENTS,
        figures::STATEMENTS,
        replicas::STATEMENTS,
        feed::STATEMENTS,
    ]
    .concat()
}
