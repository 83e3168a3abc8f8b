//! What every change has in common: the sequence first, then its rows, the audit event and the notification, at once.

use std::ops::{Deref, DerefMut};

use super::{
    Priority, Store, StoreError,
    point::Point,
    priority::Writing,
    statement::{Sql, same, statements},
};
use crate::domain::{
    audit::{Actor, AuditEvent},
    rights::Grantor,
    timestamp::Timestamp,
};

statements! {
    BUMP = same("UPDATE change_seq SET seq = seq + 1 RETURNING seq");

    /// The mark of the change. The notification is delivered with the commit: [`super::postgres`] listens to the channel; a
    /// follower of SQLite polls.
    NOTIFY = Sql {
        sqlite: "SELECT (SELECT mark FROM change_marks WHERE seq = $1)",
        postgres: "SELECT (SELECT mark FROM change_marks WHERE seq = $1)
            FROM pg_notify('bento_gateway_changes', '') AS notified",
    };

    MARK = same("SELECT (SELECT mark FROM change_marks WHERE seq = $1)");
}

/// A transaction that changes something, alone among all writers: nobody else changes what it has read before it ends,
/// so a verb reads, decides and writes in one change, and loses nobody's update. Dropped without [`Change::commit`], it
/// changes nothing, and its sequence goes to the next one.
///
/// Other writers wait for it: what takes long, such as Argon2, is done before it begins.
pub struct Change {
    pub(super) connection: Writing,
    /// What the rows that are touched get as their `changed_seq`.
    pub(super) seq: i64,
}

/// A row as it is in a [`Change`] that may write it again. Only reading in a change makes one, and only that change takes
/// it back: a row that was read before the change began cannot be written.
#[derive(Debug)]
pub struct Current<T> {
    value: T,
    seq: i64,
}

/// What a verb has made and committed. Some replicas may still decide without it, so it is opened by whoever says what
/// to do about that: wait until they all know it, wait for none, or that there is nothing they need to know.
#[must_use = "a change is committed and nobody waits for it"]
#[derive(Debug)]
pub struct Committed<T = ()> {
    value: T,
    /// `None`: nothing was changed.
    point: Option<Point>,
}

impl Store {
    /// Waits for the writers before it. `by` must still have its rights then.
    ///
    /// # Errors
    /// [`StoreError::Lapsed`]; [`StoreError::Unavailable`], here as in all that is done with the change.
    pub async fn change(&self, by: &Grantor<'_>, now: Timestamp) -> Result<Change, StoreError> {
        Self::bump(self.begin().await?, by, now).await
    }

    /// A change that takes a right away: it waits for the actor's own ones before it, and for nobody else's that wait.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn urgent_change(&self, actor: Actor, by: &Grantor<'_>, now: Timestamp) -> Result<Change, StoreError> {
        let turn = self.urgent_turn(actor).await?;
        Self::bump(self.begin_in(Priority::Urgent, turn).await?, by, now).await
    }

    async fn bump(mut connection: Writing, by: &Grantor<'_>, now: Timestamp) -> Result<Change, StoreError> {
        let (seq,) = connection.one(BUMP, ()).await?;
        connection.expect(by, now).await?;
        Ok(Change { connection, seq })
    }

    /// Whether that change is one of this store's: a fail-over or a restore may have lost it, and its number may be that of
    /// another one by now. One whose mark nobody knows is taken to be.
    pub async fn has(&self, point: &Point) -> Result<bool, StoreError> {
        let (mark,): (Option<String>,) = self.read().await?.one(MARK, (point.seq,)).await?;
        Ok(point.mark.is_none() || point.mark == mark)
    }
}

impl Change {
    /// # Errors
    /// As [`Change::record`].
    pub async fn commit(mut self, event: &AuditEvent) -> Result<Committed, StoreError> {
        self.record(event).await?;
        let (mark,) = self.connection.one(NOTIFY, (self.seq,)).await?;
        self.connection.commit().await?;
        Ok(Committed::up_to(Point { seq: self.seq, mark }, ()))
    }

    /// Nothing is changed: it was so before. Whoever waits for `value` waits for all that was committed so far.
    pub fn unchanged<T>(self, value: T) -> Committed<T> {
        Committed::up_to(Point { seq: self.seq - 1, mark: None }, value)
    }

    pub(super) fn current<T>(&self, value: T) -> Current<T> {
        Current { value, seq: self.seq }
    }

    /// # Errors
    /// [`StoreError::Inconsistent`] if another change has read it: our mistake.
    pub(super) fn own<'c, T>(&self, current: &'c Current<T>) -> Result<&'c T, StoreError> {
        if current.seq == self.seq {
            return Ok(&current.value);
        }
        Err(StoreError::Inconsistent("a row was to be written that this change has not read".to_owned()))
    }
}

impl<T> Deref for Current<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Current<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Current<T> {
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Committed<T> {
    pub(super) fn up_to(point: Point, value: T) -> Self {
        Self { value, point: Some(point) }
    }

    /// Nothing was changed, and there is nothing to wait for.
    pub fn nothing(value: T) -> Self {
        Self { value, point: None }
    }

    pub fn is_nothing(&self) -> bool {
        self.point.is_none()
    }

    pub fn with<U>(self, value: U) -> Committed<U> {
        Committed { value, point: self.point }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Committed<U> {
        Committed { value: change(self.value), point: self.point }
    }

    /// Nobody waits: no replica decides by this, or the caller has no means to wait.
    pub fn unsettled(self) -> T {
        self.value
    }

    /// With what to wait for; `None`: nothing. For those who wait.
    pub fn into_parts(self) -> (T, Option<Point>) {
        (self.value, self.point)
    }
}
