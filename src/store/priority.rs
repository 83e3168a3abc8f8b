//! Who waits for whom: work of one priority never waits for a connection that work of another holds.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use super::{Store, StoreError, statement::Connection};
use crate::domain::audit::Actor;

/// Whose work it is. Each priority has connections of its own, so that no flood of one holds up another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Everybody else's. Its writers take turns.
    Ordinary,
    /// What takes a right away, and what has to be read before. The writers of one actor take turns, so that nobody has
    /// all connections.
    Urgent,
    /// What makes this gateway decide by the store, and tells the others so.
    Feed,
}

impl Priority {
    /// Of a change that takes no right away: it queues with the ordinary ones, whatever was read before it.
    pub(super) fn of_writing(self) -> Self {
        match self {
            Self::Feed => Self::Feed,
            Self::Ordinary | Self::Urgent => Self::Ordinary,
        }
    }
}

/// The right to write with a priority; the next one who takes turns with this writer waits for it to be dropped.
pub(super) type Turn = Option<OwnedMutexGuard<()>>;

/// A connection that writes.
///
/// All changes take the row of `change_seq`, and SQLite has one writer anyway, so ordinary writers lose nothing by
/// queueing here, one behind the other. It means that an urgent writer finds at most one ordinary one before it in the
/// database's own queue.
pub(super) struct Writing {
    connection: Connection,
    _turn: Turn,
}

impl Store {
    /// # Errors
    /// [`StoreError::Unavailable`] if those before it take too long.
    pub(super) async fn turn(&self) -> Result<Turn, StoreError> {
        match self.priority.of_writing() {
            Priority::Ordinary => self.turn_at(Arc::clone(&self.shared.ordinary_writer)).await,
            _ => Ok(None),
        }
    }

    /// As [`Self::turn`], for an actor's urgent change.
    pub(super) async fn urgent_turn(&self, actor: Actor) -> Result<Turn, StoreError> {
        self.turn_at(self.shared.urgent_writers.of(actor)).await
    }

    async fn turn_at(&self, lock: Arc<Mutex<()>>) -> Result<Turn, StoreError> {
        let turn = timeout(self.shared.acquire_timeout, lock.lock_owned()).await;
        turn.map(Some).map_err(|_| StoreError::Unavailable("other changes were first, and took too long".to_owned()))
    }
}

impl Writing {
    pub fn new(connection: Connection, turn: Turn) -> Self {
        Self { connection, _turn: turn }
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        self.connection.commit().await
    }
}

impl Deref for Writing {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
