//! What a follower has to do, given what it has applied and where the store stands. Nothing else decides it, and nothing here
//! waits or reads.

use crate::store::{Head, Point};

/// What a look at the store asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The index is like the store.
    Nothing,
    /// What was changed after this sequence, in the history that the index is of.
    Changes { since: i64 },
    /// All there is: nothing was read yet, or the store is not of the history that the index is of, as after a fail-over
    /// that lost commits, or a restore.
    Everything,
}

impl Step {
    /// `applied`: what the index is like; `None`: nothing was read yet. `head` was asked about its sequence.
    ///
    /// A sequence whose mark the store does not have (any more) is not known to be the same, so all is read again. A
    /// store that has no marks at all is judged by its numbers, so that this ends.
    pub fn of(applied: Option<&Point>, head: &Head) -> Self {
        match applied {
            Some(applied) if applied.seq > head.latest.seq || applied.mark != head.mark_then => Self::Everything,
            Some(applied) if applied.seq == head.latest.seq => Self::Nothing,
            Some(applied) => Self::Changes { since: applied.seq },
            None => Self::Everything,
        }
    }
}
