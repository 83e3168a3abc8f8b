//! The running gateways, and how far each has caught up. Times are the database's own, so that theirs need not agree.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Store, StoreError,
    point::Point,
    statement::{Sql, same, statements},
};
use crate::domain::timestamp::Timestamp;

statements! {
    BEAT = Sql {
        sqlite: "INSERT INTO replicas (id, name, applied_seq, applied_mark, holds_ms, addresses, clock_ahead_ms, beat_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7 - CAST(unixepoch('subsec') * 1000 AS INTEGER),
                CAST(unixepoch('subsec') * 1000 AS INTEGER))
            ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, applied_mark = excluded.applied_mark,
                holds_ms = excluded.holds_ms, addresses = excluded.addresses, clock_ahead_ms = excluded.clock_ahead_ms,
                beat_at = excluded.beat_at",
        postgres: "INSERT INTO replicas (id, name, applied_seq, applied_mark, holds_ms, addresses, clock_ahead_ms, beat_at)
            VALUES ($1, $2, $3, $4, $5, $6, (extract(epoch FROM $7 - now()) * 1000)::bigint, now())
            ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, applied_mark = excluded.applied_mark,
                holds_ms = excluded.holds_ms, addresses = excluded.addresses, clock_ahead_ms = excluded.clock_ahead_ms,
                beat_at = excluded.beat_at",
    };

    ADDRESSES = same("SELECT addresses FROM replicas WHERE addresses IS NOT NULL ORDER BY beat_at DESC, id LIMIT 1");

    /// Those that decide by nothing any more, for a day.
    FORGET = Sql {
        sqlite: "DELETE FROM replicas
            WHERE beat_at + holds_ms < CAST(unixepoch('subsec') * 1000 AS INTEGER) - 86400000",
        postgres: "DELETE FROM replicas WHERE beat_at + holds_ms * interval '1 millisecond' < now() - interval '1 day'",
    };

    LEAVE = same("DELETE FROM replicas WHERE id = $1");

    REMOVE = same("DELETE FROM replicas WHERE name = $1");

    /// A mark that is not of this history: what the replica has applied was lost in a fail-over or a restore. The 10
    /// seconds are for a poll that succeeded after the last beat.
    LIST = Sql {
        sqlite: "SELECT r.id, r.name,
                CASE WHEN r.applied_mark IS NULL OR m.mark = r.applied_mark THEN r.applied_seq ELSE -1 END AS applied_seq,
                max(CAST(unixepoch('subsec') * 1000 AS INTEGER) - r.beat_at, 0) AS silent_ms, r.holds_ms,
                r.clock_ahead_ms
            FROM replicas r LEFT JOIN change_marks m ON m.seq = r.applied_seq
            WHERE r.holds_ms IS NULL OR r.beat_at + r.holds_ms + 10000 > CAST(unixepoch('subsec') * 1000 AS INTEGER)
            ORDER BY r.name, r.id",
        postgres: "SELECT r.id, r.name,
                CASE WHEN r.applied_mark IS NULL OR m.mark = r.applied_mark THEN r.applied_seq ELSE -1 END AS applied_seq,
                greatest(extract(epoch FROM now() - r.beat_at) * 1000, 0)::bigint AS silent_ms, r.holds_ms,
                r.clock_ahead_ms
            FROM replicas r LEFT JOIN change_marks m ON m.seq = r.applied_seq
            WHERE r.holds_ms IS NULL OR r.beat_at + (r.holds_ms + 10000) * interval '1 millisecond' > now()
            ORDER BY r.name, r.id",
    };
}

/// Given at each start of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub Uuid);

/// A gateway that may decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    /// For people: host and process.
    pub name: String,
    /// It decides by every change up to this one. -1: by nothing yet, or by a history that this store has lost.
    pub applied_seq: i64,
    /// Since its last beat.
    pub silent: Duration,
    /// For how long after its last beat it may decide by what it knew. `None`: without limit.
    pub holds: Option<Duration>,
    /// How far its clock is ahead of the database's, in milliseconds, with what its last beat took on its way. `None`: it
    /// does not say.
    pub clock_ahead_ms: Option<i64>,
}

impl Store {
    /// Says that the replica lives, by which changes it decides (`None`: it is starting), for how long it may do so
    /// without another word (`None`: without limit), where it is reached, and what its clock shows. Bumps no sequence.
    pub async fn beat(
        &self,
        id: ReplicaId,
        name: &str,
        applied: Option<&Point>,
        holds: Option<Duration>,
        addresses: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let seq = applied.map_or(-1, |point| point.seq);
        let mark = applied.and_then(|point| point.mark.as_deref());
        let values = (id, name, seq, mark, holds.map(millis), addresses, now);
        self.write().await?.execute(BEAT, values).await.map(drop)
    }

    /// The replica has ended. Forgets those, too, that have decided by nothing for a day.
    pub async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        let mut writing = self.write().await?;
        writing.execute(LEAVE, (id,)).await?;
        writing.execute(FORGET, ()).await.map(drop)
    }

    /// All that may decide by what they know, running or not heard of for some time, by name.
    pub async fn replicas(&self) -> Result<Vec<Replica>, StoreError> {
        let reading = async { self.read().await?.all(LIST, ()).await };
        self.shared.replicas.get(self.priority, reading).await
    }

    /// Where the gateway that was heard of last is reached, as it wrote it. `None`: none says so.
    pub async fn addresses(&self) -> Result<Option<String>, StoreError> {
        Ok(self.read().await?.optional::<(String,)>(ADDRESSES, ()).await?.map(|(addresses,)| addresses))
    }

    /// Takes a name off the list, on the word of somebody who knows that it has ended. One that runs comes back with its
    /// next beat. `false`: there is none of that name.
    pub async fn remove_replica(&self, name: &str) -> Result<bool, StoreError> {
        self.write().await?.changes(REMOVE, (name,)).await
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}
