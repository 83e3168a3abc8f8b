//! Tells the other replicas, by the store, that this gateway runs and up to which change it decides.

use std::sync::Arc;

use tracing::debug;

use super::Shutdown;
use crate::{
    index::follow::Index,
    service::receipt::BEAT,
    store::{ReplicaId, SharedStore},
    system,
};

/// Writes a beat after every change and every [`BEAT`], and signs off in the end.
pub async fn run(index: Arc<Index>, store: SharedStore, shutdown: Shutdown) {
    let Ok(id) = system::new_id(system::now()).map(ReplicaId) else { return };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("{}:{}", host.trim(), std::process::id());
    let mut epoch = index.epoch.subscribe();
    loop {
        if index.applied() >= 0
            && let Err(error) = store.beat(id, &name, index.applied()).await
        {
            debug!(%error, "this replica's heartbeat could not be written");
        }
        tokio::select! {
            _ = epoch.changed() => {}
            () = tokio::time::sleep(BEAT) => {}
            () = shutdown.requested() => break,
        }
    }
    if let Err(error) = store.leave(id).await {
        debug!(%error, "this replica could not sign off");
    }
}
