//! The running gateways, and how far each has caught up. Times are the database's own, so that theirs need not agree.

use std::time::Duration;

use uuid::Uuid;

use super::{
    Store, StoreError,
    statement::{Sql, same, statements},
};

statements! {
    BEAT = Sql {
        sqlite: "INSERT INTO replicas (id, name, applied_seq, beat_at)
            VALUES ($1, $2, $3, CAST(unixepoch('subsec') * 1000 AS INTEGER))
            ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, beat_at = excluded.beat_at",
        postgres: "INSERT INTO replicas (id, name, applied_seq, beat_at)
            VALUES ($1, $2, $3, now())
            ON CONFLICT (id) DO UPDATE SET applied_seq = excluded.applied_seq, beat_at = excluded.beat_at",
    };

    FORGET = Sql {
        sqlite: "DELETE FROM replicas WHERE beat_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - 86400000",
        postgres: "DELETE FROM replicas WHERE beat_at < now() - interval '1 day'",
    };

    LEAVE = same("DELETE FROM replicas WHERE id = $1");

    /// `$1`: milliseconds.
    LIVE = Sql {
        sqlite: "SELECT id, name, applied_seq FROM replicas
            WHERE beat_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1 ORDER BY name, id",
        postgres: "SELECT id, name, applied_seq FROM replicas
            WHERE beat_at > now() - $1 * interval '1 millisecond' ORDER BY name, id",
    };
}

/// Given at each start of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub Uuid);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    pub name: String,
    pub applied_seq: i64,
}

impl Store {
    /// Says that the replica lives and decides by all changes up to `applied_seq`. Bumps no sequence.
    pub async fn beat(&self, id: ReplicaId, name: &str, applied_seq: i64) -> Result<(), StoreError> {
        self.write().await?.execute(BEAT, (id, name, applied_seq)).await.map(drop)
    }

    /// The replica has ended. Forgets those, too, that have not been heard of for a day.
    pub async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        let mut writing = self.write().await?;
        writing.execute(LEAVE, (id,)).await?;
        writing.execute(FORGET, ()).await.map(drop)
    }

    /// Those that were heard of within the given time, by the database's clock, by name.
    pub async fn live_replicas(&self, within: Duration) -> Result<Vec<Replica>, StoreError> {
        let millis = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        self.read().await?.all(LIVE, (millis,)).await
    }
}
