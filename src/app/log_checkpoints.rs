//! Logs where the audit trail's chains end: whoever keeps the log elsewhere can prove that nobody has written them anew.

use std::time::Duration;

use tracing::{debug, info};

use super::Shutdown;
use crate::{domain::audit_chain::Checkpoint, service::audit, store::SharedStore};

const INTERVAL: Duration = Duration::from_secs(60 * 60);

pub struct CheckpointLogger {
    pub store: SharedStore,
    pub shutdown: Shutdown,
}

impl CheckpointLogger {
    /// At the start, and every hour for chains that have become longer.
    pub async fn run(self) {
        let mut logged: Vec<Checkpoint> = Vec::new();
        loop {
            match audit::checkpoints(&self.store).await {
                Ok(ends) => {
                    for end in ends.iter().filter(|end| end.number > 0 && !logged.contains(end)) {
                        info!(checkpoint = %end, "the audit trail goes so far");
                    }
                    logged = ends;
                }
                Err(error) => debug!(%error, "the end of the audit trail could not be read; it is tried again"),
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.shutdown.requested() => return,
            }
        }
    }
}
