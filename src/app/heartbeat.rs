//! Tells the other replicas, by the store, that this gateway runs and up to which change it decides.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::Shutdown;
use crate::{
    index::follow::Index,
    service::receipt::BEAT,
    store::{ReplicaId, SharedStore, StoreError},
    system::{self, NoEntropy},
};

/// One gateway's word to the others.
pub struct Heartbeat {
    id: ReplicaId,
    name: String,
    index: Arc<Index>,
    store: SharedStore,
    /// `store.max_staleness`.
    holds: Option<Duration>,
}

impl Heartbeat {
    /// Says that this gateway is starting, before it reads what it will decide by: a change that is committed from now
    /// on names it in its receipt until it has applied it.
    ///
    /// # Errors
    /// [`NoEntropy`] for want of an id. A store that takes no beat is none.
    pub async fn begin(index: Arc<Index>, store: SharedStore, holds: Option<Duration>) -> Result<Self, NoEntropy> {
        let id = ReplicaId(system::new_id(system::now())?);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("{}:{}", host.trim(), std::process::id());
        let heartbeat = Self { id, name, index, store, holds };
        if let Err(error) = heartbeat.beat().await {
            warn!(%error, "this gateway could not announce itself; receipts of changes do not name it until it can");
        }
        Ok(heartbeat)
    }

    /// Writes a beat after every change and every [`BEAT`], and signs off in the end.
    pub async fn run(self, shutdown: Shutdown) {
        let mut epoch = self.index.epoch.subscribe();
        loop {
            if let Err(error) = self.beat().await {
                debug!(%error, "this replica's heartbeat could not be written");
            }
            tokio::select! {
                _ = epoch.changed() => {}
                () = tokio::time::sleep(BEAT) => {}
                () = shutdown.requested() => break,
            }
        }
        if let Err(error) = self.store.leave(self.id).await {
            debug!(%error, "this replica could not sign off");
        }
    }

    async fn beat(&self) -> Result<(), StoreError> {
        self.store.beat(self.id, &self.name, self.index.applied().as_deref(), self.holds).await
    }
}
