//! Tells the other replicas, by the store, that this gateway runs and up to which change it decides.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, warn};

use super::Shutdown;
use crate::{
    management::Management,
    service::receipt::BEAT,
    store::{Point, ReplicaId, SharedStore, StoreError},
    system::{self, NoEntropy},
};

/// How long a start waits for a store that can be read and not written.
const PATIENCE: Duration = Duration::from_secs(10);

/// One gateway's word to the others.
pub struct Heartbeat {
    id: ReplicaId,
    name: String,
    /// As [`Listeners::followed`](super::listeners::Listeners::followed).
    followed: watch::Receiver<Option<Arc<Point>>>,
    management: Arc<Management>,
    store: SharedStore,
    /// `store.max_staleness`.
    holds: Option<Duration>,
}

impl Heartbeat {
    /// Says that this gateway is starting, before it reads what it will decide by: a change that is committed from now
    /// on names it in its receipt until it has applied it. A store that takes no beat is given [`PATIENCE`]: after that,
    /// callers matter more than receipts, which nobody can get from a store that takes no change.
    ///
    /// # Errors
    /// [`NoEntropy`] for want of an id.
    pub async fn begin(
        followed: watch::Receiver<Option<Arc<Point>>>,
        management: Arc<Management>,
        store: SharedStore,
        holds: Option<Duration>,
    ) -> Result<Self, NoEntropy> {
        let id = ReplicaId(system::new_id(system::now())?);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("{}:{}", host.trim(), std::process::id());
        let heartbeat = Self { id, name, followed, management, store, holds };
        heartbeat.announce().await;
        Ok(heartbeat)
    }

    async fn announce(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let beat = timeout_at(deadline, self.beat()).await.unwrap_or_else(|_| Err(StoreError::no_answer()));
            let Err(error) = beat else { return };
            if Instant::now() + BEAT >= deadline {
                warn!(%error, "this gateway could not announce itself; receipts of changes do not name it until it can");
                return;
            }
            debug!(%error, "this replica could not announce itself yet");
            sleep(BEAT).await;
        }
    }

    /// Writes a beat after every change and every [`BEAT`], and signs off in the end.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.beat().await {
                debug!(%error, "this replica's heartbeat could not be written");
            }
            tokio::select! {
                Ok(()) = self.followed.changed() => {}
                () = sleep(BEAT) => {}
                () = shutdown.requested() => break,
            }
        }
        if let Err(error) = self.store.leave(self.id).await {
            debug!(%error, "this replica could not sign off");
        }
    }

    async fn beat(&self) -> Result<(), StoreError> {
        let followed = self.followed.borrow().clone();
        let addresses = serde_json::to_string(&self.management.addresses()).ok();
        let (followed, addresses) = (followed.as_deref(), addresses.as_deref());
        self.store.beat(self.id, &self.name, followed, self.holds, addresses, system::now()).await
    }
}
