//! Who waits for whom: work of one priority never waits for a connection that work of another holds.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{SharedStore, Store, StoreError, statement::Connection};
use crate::{
    domain::{audit::Actor, user::UserId},
    http::network::Network,
};

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

/// For whom something is read. All that is read at once for one of them takes half of a priority's connections at most, so
/// that others find one; who asks for more waits for their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    User(UserId),
    /// Of which nobody knows yet who is there.
    Network(Network),
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

/// A place in a reader's share of the connections. `None`: nobody's share.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// A connection, and what is given back with it.
pub(super) struct Lent<P> {
    connection: Connection,
    _given_back: P,
}

/// A connection that reads.
pub(super) type Reading = Lent<Place>;

/// A connection that writes.
///
/// All changes take the row of `change_seq`, and SQLite has one writer anyway, so ordinary writers lose nothing by
/// queueing here, one behind the other. It means that an urgent writer finds at most one ordinary one before it in the
/// database's own queue.
pub(super) type Writing = Lent<Turn>;

impl Store {
    /// The same store, reading on behalf of `reader`.
    pub fn read_by(&self, reader: Reader) -> SharedStore {
        let half = usize::try_from(self.readers() / 2).unwrap_or(usize::MAX);
        let share = self.shared.shares.of((self.priority, reader), || Semaphore::new(half.max(1)));
        Arc::new(Self { shared: Arc::clone(&self.shared), priority: self.priority, share: Some(share) })
    }

    /// # Errors
    /// [`StoreError::Unavailable`] if what is read for the same reader takes too long.
    pub(super) async fn place(&self) -> Result<Place, StoreError> {
        let Some(share) = &self.share else { return Ok(None) };
        let place = timeout(self.shared.acquire_timeout, Arc::clone(share).acquire_owned()).await;
        // A share is never closed.
        place.ok().and_then(Result::ok).map(Some).ok_or_else(|| {
            StoreError::Unavailable(
                "other requests of the same user or network were first, and took too long".to_owned(),
            )
        })
    }

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
        self.turn_at(self.shared.urgent_writers.of(actor, Mutex::default)).await
    }

    async fn turn_at(&self, lock: Arc<Mutex<()>>) -> Result<Turn, StoreError> {
        let turn = timeout(self.shared.acquire_timeout, lock.lock_owned()).await;
        turn.map(Some).map_err(|_| StoreError::Unavailable("other changes were first, and took too long".to_owned()))
    }
}

impl<P> Lent<P> {
    pub fn new(connection: Connection, given_back: P) -> Self {
        Self { connection, _given_back: given_back }
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        self.connection.commit().await
    }
}

impl<P> Deref for Lent<P> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl<P> DerefMut for Lent<P> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
