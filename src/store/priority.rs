//! Who waits for whom: work of one priority never waits for a connection that work of another holds.

use std::ops::{Deref, DerefMut};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{Store, StoreError, statement::Connection};

/// Whose work it is. Each priority has connections of its own, so that no flood of one holds up another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Everybody else's. Its writers take turns.
    Ordinary,
    /// What takes a right away, and what has to be read before.
    Urgent,
    /// What makes this gateway decide by the store, and tells the others so.
    Feed,
}

/// The right to write with a priority; the next ordinary writer waits for it to be dropped.
type Turn = Option<OwnedMutexGuard<()>>;

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
        if self.priority != Priority::Ordinary {
            return Ok(None);
        }
        let turn = timeout(self.shared.acquire_timeout, self.shared.ordinary_writer.clone().lock_owned()).await;
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
