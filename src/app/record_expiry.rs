//! Has what the clock has ended written down.

use std::sync::Arc;

use tracing::debug;

use super::Shutdown;
use crate::{
    config::TokenConfig,
    domain::routing::Declared,
    service::{
        Context,
        tokens::{GRACE, record_expiry},
    },
    store::SharedStore,
    system::System,
};

pub struct ExpiryRecorder {
    pub store: SharedStore,
    pub tokens: TokenConfig,
    pub system: Arc<dyn System>,
    pub shutdown: Shutdown,
}

impl ExpiryRecorder {
    /// Begins once the process is as old as what it writes down: a clock that is put right at the start of the machine has
    /// been put right by then.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {}
                () = self.shutdown.requested() => return,
            }
            if let Err(error) = self.record().await {
                debug!(%error, "what has expired could not be written down; it is tried again");
            }
        }
    }

    async fn record(&self) -> Result<(), crate::service::Error> {
        let declared = Declared::default();
        loop {
            let context = Context::of_gateway(&self.store, &self.tokens, &declared, &*self.system);
            if !record_expiry(&context).await? {
                return Ok(());
            }
        }
    }
}
