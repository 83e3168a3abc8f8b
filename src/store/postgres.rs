//! What PostgreSQL really is: a server for more than one gateway, which may hang, and which says when something changes.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection as _, PgConnection, PgPool, Postgres, Row as _,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    Priority, StoreError, error,
    pool::{Pool, PoolState},
    statement::{Connection, Held, by},
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

/// Of what takes rights away: such changes wait for each other in any case, and what is read beside them is short.
const URGENT_CONNECTIONS: u32 = 3;
/// The follower's and the beat's.
const FEED_CONNECTIONS: u32 = 2;

/// One state of the database, whatever is committed meanwhile.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Which process of the server answers. Not prepared: poolers lose statements that are.
const SESSION: &str = "SELECT pg_backend_pid()";

/// For the test that prepares them.
pub(super) const STATEMENTS: &[&str] = &[LOCK_MIGRATIONS, LIMIT_SESSION, SESSION];

pub(super) struct PostgresServer {
    ordinary: Pool<Postgres>,
    urgent: Pool<Postgres>,
    feed: Pool<Postgres>,
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
        let (connection, options) = connect(url, config).await?;
        migrate(connection).await?;
        Ok(Self::of(options, config))
    }

    /// For reading what is there: nothing is migrated or locked.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn inspect(url: &Secret, config: &StoreConfig) -> Result<Self, StoreError> {
        let (connection, options) = connect(url, config).await?;
        by(Instant::now() + config.acquire_timeout, connection.close()).await?;
        Ok(Self::of(options, config))
    }

    fn of(options: PgConnectOptions, config: &StoreConfig) -> Self {
        let limit = format!("{}ms", config.acquire_timeout.as_millis().max(1));
        let options_of = |max_connections| {
            let limit = limit.clone();
            PgPoolOptions::new().max_connections(max_connections).acquire_timeout(config.acquire_timeout).after_connect(
                move |connection, _| {
                    let limit = limit.clone();
                    Box::pin(async move { sqlx::query(LIMIT_SESSION).bind(limit).execute(connection).await.map(drop) })
                },
            )
        };
        let pool = |max_connections| options_of(max_connections).connect_lazy_with(options.clone());
        let (ordinary, feed) = (pool(config.max_connections), pool(FEED_CONNECTIONS));
        // One stands ready: a revocation in a flood does not begin with making a connection.
        let urgent = options_of(URGENT_CONNECTIONS).min_connections(1).connect_lazy_with(options.clone());
        let notifications = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        Self {
            ordinary: Pool::new("ordinary", ordinary),
            urgent: Pool::new("urgent", urgent),
            feed: Pool::new("feed", feed),
            notifications,
            listener: Mutex::new(None),
            patience: config.acquire_timeout * 2,
        }
    }

    pub async fn close(&self) {
        for pool in [&self.ordinary, &self.urgent, &self.feed] {
            pool.close().await;
        }
        self.notifications.close().await;
    }

    pub fn pools(&self) -> Vec<PoolState> {
        [&self.ordinary, &self.urgent, &self.feed].map(Pool::state).into()
    }

    pub fn pool(&self, priority: Priority) -> &Pool<Postgres> {
        match priority {
            Priority::Ordinary => &self.ordinary,
            Priority::Urgent => &self.urgent,
            Priority::Feed => &self.feed,
        }
    }

    /// By when something that begins now is given up.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    pub async fn connection(&self, priority: Priority) -> Result<Connection, StoreError> {
        let deadline = self.deadline();
        Ok(Connection::Postgres(Held::Pooled(by(deadline, self.pool(priority).acquire()).await?), deadline))
    }

    pub async fn begin(&self, priority: Priority) -> Result<Connection, StoreError> {
        let deadline = self.deadline();
        Ok(Connection::Postgres(Held::InTransaction(by(deadline, self.pool(priority).begin()).await?), deadline))
    }

    pub async fn snapshot(&self, priority: Priority) -> Result<Connection, StoreError> {
        let deadline = self.deadline();
        let begun = by(deadline, self.pool(priority).begin_with(SNAPSHOT)).await?;
        Ok(Connection::Postgres(Held::InTransaction(begun), deadline))
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
            Err(error) => error::of_postgres(error),
        };
        *listener = None;
        Err(lost)
    }
}

/// A first connection, and how further ones are made.
///
/// # Errors
/// [`StoreError::Unusable`], [`StoreError::Unavailable`].
async fn connect(url: &Secret, config: &StoreConfig) -> Result<(PgConnection, PgConnectOptions), StoreError> {
    // The parser's own error is dropped: it may quote the URL.
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| {
        StoreError::Unusable("store.url is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
    })?;
    // PgBouncer refuses that parameter, and no number of ours has a fraction.
    let options = options.application_name("bento-gateway").extra_float_digits(None);
    let mut connection = by(Instant::now() + config.acquire_timeout, options.connect()).await?;
    has_session_of_its_own(&mut connection, &options, config.acquire_timeout).await?;
    Ok((connection, options))
}

/// Refuses a pooler that gives each transaction another session: what is set for a session and statements that are
/// prepared would be another's, and one that balances readers over standbys would break what the feed relies on.
///
/// # Errors
/// [`StoreError::Unusable`] if there is one, [`StoreError::Unavailable`].
async fn has_session_of_its_own(
    here: &mut PgConnection,
    options: &PgConnectOptions,
    patience: Duration,
) -> Result<(), StoreError> {
    let deadline = Instant::now() + patience;
    let mut there = by(deadline, options.connect()).await?;
    let first = by(deadline, session(here)).await?;
    // While a transaction holds it, a pooler cannot give the same session to the other connection.
    let begun = timeout_at(deadline, there.begin()).await.map_err(|_| StoreError::no_answer())?;
    let mut holding = begun.map_err(|error| match error {
        // Only a pooler that gives each statement a session has anything against a transaction.
        sqlx::Error::Database(_) => shared_sessions(),
        error => error::of_postgres(error),
    })?;
    let other = by(deadline, session(&mut holding)).await?;
    if other == first || by(deadline, session(here)).await? != first {
        return Err(shared_sessions());
    }
    by(deadline, holding.commit()).await?;
    by(deadline, there.close()).await
}

fn shared_sessions() -> StoreError {
    StoreError::Unusable(
        "between the gateway and PostgreSQL is a connection pooler that shares sessions, as PgBouncer does with \
         pool_mode = transaction; set pool_mode = session for this database, or connect to PostgreSQL itself"
            .to_owned(),
    )
}

async fn session(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql(SESSION).fetch_one(connection).await?.try_get(0)
}

/// The migrations of this release.
pub(super) fn migrations() -> &'static Migrator {
    &MIGRATIONS
}

/// A migration takes as long as it takes, and so does waiting for another process's.
async fn migrate(mut connection: PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.map_err(error::of_postgres)?;
    sqlx::query(LOCK_MIGRATIONS).execute(&mut *transaction).await.map_err(error::of_postgres)?;

    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // Migrations of a later release: it may run beside this one.
    migrator.set_ignore_missing(true).set_locking(false);
    // And not `run`, on which the compiler cannot prove the future `Send`.
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| error::of_migration(error, error::of_postgres))?;

    transaction.commit().await.map_err(error::of_postgres)?;
    connection.close().await.map_err(error::of_postgres)
}
