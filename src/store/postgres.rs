//! What PostgreSQL really is: a server for more than one gateway, which may hang, and which says when something changes.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection as _, PgPool,
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Conflict, StoreError, migration_error,
    statement::{Connection, Held},
};
use crate::{config::StoreConfig, domain::secret::Secret};

/// The channel that [`super::change`] notifies.
const CHANNEL: &str = "bento_gateway_changes";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Of the transaction, not of the session as sqlx's own lock: that one stays behind in a pooler such as PgBouncer. The
/// number is arbitrary, and the same for all releases.
const LOCK_MIGRATIONS: &str = "SELECT set_config('statement_timeout', '0', true), pg_advisory_xact_lock(4837261908)";

/// The server gives up what the client has given up, and the locks of a gateway that froze in mid-change. Not sent as
/// options of the connection, since poolers refuse those.
const LIMIT_SESSION: &str =
    "SELECT set_config('statement_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false)";

/// For the test that prepares them.
pub(super) const STATEMENTS: &[&str] = &[LOCK_MIGRATIONS, LIMIT_SESSION];

pub(super) struct PostgresServer {
    pool: PgPool,
    /// One connection that is not the pool's, so that a pool of one is not used up by waiting for notifications.
    notifications: PgPool,
    /// `None`: not listening yet, or the connection was lost.
    listener: Mutex<Option<PgListener>>,
    /// For all that is done on one connection, waiting for it included.
    patience: Duration,
}

impl PostgresServer {
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
        Ok(Self { pool, notifications, listener: Mutex::new(None), patience: config.acquire_timeout * 2 })
    }

    pub async fn connection(&self) -> Result<Connection, StoreError> {
        let deadline = Instant::now() + self.patience;
        Ok(Connection::Postgres(Held::Pooled(by(deadline, self.pool.acquire()).await?), deadline))
    }

    pub async fn begin(&self) -> Result<Connection, StoreError> {
        let deadline = Instant::now() + self.patience;
        Ok(Connection::Postgres(Held::InTransaction(by(deadline, self.pool.begin()).await?), deadline))
    }

    /// See [`Store::notified`](super::Store::notified).
    pub async fn notified(&self) -> Result<(), StoreError> {
        let mut listener = self.listener.lock().await;
        let Some(listening) = &mut *listener else {
            let connect = async {
                let mut new = PgListener::connect_with(&self.notifications).await?;
                new.eager_reconnect(false);
                new.listen(CHANNEL).await?;
                Ok(new)
            };
            *listener = Some(by(Instant::now() + self.patience, connect).await?);
            // Something may have changed before this connection stood.
            return Ok(());
        };
        let lost = match listening.try_recv().await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => StoreError::Unavailable("the connection for notifications was lost".to_owned()),
            Err(error) => store_error(error),
        };
        *listener = None;
        Err(lost)
    }
}

/// `patience` is for the connection only: a migration takes as long as it takes, and so does waiting for another
/// process's.
async fn migrate(options: &PgConnectOptions, patience: Duration) -> Result<(), StoreError> {
    let connected = timeout(patience, options.connect()).await.map_err(|_| no_answer())?;
    let mut connection = connected.map_err(store_error)?;
    let mut transaction = connection.begin().await.map_err(store_error)?;
    sqlx::query(LOCK_MIGRATIONS).execute(&mut *transaction).await.map_err(store_error)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: it may run beside this one.
    migrator.set_ignore_missing(true).set_locking(false);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    migrator.run_direct(None, &mut *transaction, false).await.map_err(migrate_error)?;

    transaction.commit().await.map_err(store_error)?;
    connection.close().await.map_err(store_error)
}

/// sqlx's errors end here, and its waiting.
pub(super) async fn by<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match timeout_at(deadline, work).await {
        Ok(done) => done.map_err(store_error),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> StoreError {
    StoreError::Unavailable("it did not answer in time".to_owned())
}

/// No text made here may hold the database's URL or password.
fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => database_error(&*error),
        sqlx::Error::PoolTimedOut => StoreError::Unavailable("no connection in time".to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => StoreError::Unusable(error.to_string()),
        sqlx::Error::Migrate(error) => migrate_error(*error),
        _ => StoreError::Inconsistent(error.to_string()),
    }
}

fn migrate_error(error: MigrateError) -> StoreError {
    migration_error(error, store_error)
}

/// By SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn database_error(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    let text = || format!("{} (SQLSTATE {code})", error.message());
    let conflict = match error.constraint() {
        Some("api_tokens_live_name_key") => Some(Conflict::TokenName),
        Some("deployments_pkey") => Some(Conflict::DeploymentName),
        Some("deployment_hosts_pkey") => Some(Conflict::DeploymentHost),
        Some("users_email_key") => Some(Conflict::Email),
        Some("audit_events_request_key") => Some(Conflict::RequestKey),
        _ => None,
    };
    match (&*code, conflict) {
        ("23505", Some(conflict)) => StoreError::Conflict(conflict),
        // A privilege, a database, a schema or a table that is missing.
        ("42501" | "3D000" | "3F000" | "42P01" | "42703", _) => StoreError::Unusable(text()),
        // 55P03: a lock was not available in time. 25006: a standby, before it is promoted.
        ("55P03" | "25006" | "25P03", _) => StoreError::Unavailable(text()),
        _ => match code.get(..2) {
            // Who are you?
            Some("28") => StoreError::Unusable(text()),
            // Connection, serialisation and deadlock, resources, the operator's intervention and timeouts, the system.
            Some("08" | "40" | "53" | "57" | "58") => StoreError::Unavailable(text()),
            _ => StoreError::Inconsistent(text()),
        },
    }
}
