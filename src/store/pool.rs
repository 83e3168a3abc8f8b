//! Pools of connections, and who waits for one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sqlx::{Database, Transaction, pool::PoolConnection};

/// Connections of one database, with a name by which operators know them.
pub(super) struct Pool<DB: Database> {
    name: &'static str,
    connections: sqlx::Pool<DB>,
    waiting: AtomicUsize,
}

/// How a pool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    pub name: &'static str,
    pub idle: usize,
    pub used: usize,
    /// How many there may be.
    pub max: usize,
    /// Who waits for one.
    pub waiting: usize,
}

/// Counts somebody who waits, also if they give up.
struct Waits<'a>(&'a AtomicUsize);

impl<DB: Database> Pool<DB> {
    pub fn new(name: &'static str, connections: sqlx::Pool<DB>) -> Self {
        Self { name, connections, waiting: AtomicUsize::new(0) }
    }

    pub async fn acquire(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        let _waits = Waits::begin(&self.waiting);
        self.connections.acquire().await
    }

    /// With the database's own words for beginning a transaction.
    pub async fn begin(&self) -> Result<Transaction<'static, DB>, sqlx::Error> {
        let _waits = Waits::begin(&self.waiting);
        self.connections.begin().await
    }

    /// Begins a transaction by this statement.
    pub async fn begin_with(&self, statement: &'static str) -> Result<Transaction<'static, DB>, sqlx::Error> {
        let _waits = Waits::begin(&self.waiting);
        self.connections.begin_with(statement).await
    }

    /// Returns when nobody uses one of its connections any more. Nobody gets one from now on.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    pub fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    /// How many connections there may be.
    pub fn max(&self) -> u32 {
        self.connections.options().get_max_connections()
    }

    pub fn state(&self) -> PoolState {
        let open = usize::try_from(self.connections.size()).unwrap_or(usize::MAX);
        let idle = self.connections.num_idle();
        let max = usize::try_from(self.max()).unwrap_or(usize::MAX);
        PoolState { name: self.name, idle, used: open.saturating_sub(idle), max, waiting: self.waiting.load(Relaxed) }
    }
}

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
