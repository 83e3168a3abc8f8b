//! Writes failed sign-ins and refused changes into the audit trail.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::debug;

use super::Shutdown;
use crate::{
    config::TokenConfig,
    domain::routing::Declared,
    gateway::Gateway,
    service::{self, Context, refusals},
    store::SharedStore,
    system::System,
};

/// How soon the first ones are written.
const SOON: Duration = Duration::from_secs(2);
/// How soon others may follow: whoever goes on adds a few events each time.
const PAUSE: Duration = Duration::from_secs(10 * 60);

pub struct RefusalRecorder {
    pub gateway: Arc<Gateway>,
    pub store: SharedStore,
    pub tokens: TokenConfig,
    pub system: Arc<dyn System>,
    pub shutdown: Shutdown,
}

impl RefusalRecorder {
    pub async fn run(self) {
        let (mut next, mut last) = (Instant::now(), false);
        while !last {
            tokio::select! {
                () = tokio::time::sleep(SOON) => {}
                () = self.shutdown.requested() => last = true,
            }
            if self.gateway.refusals.is_empty() || !last && Instant::now() < next {
                continue;
            }
            match self.record().await {
                Ok(()) => next = Instant::now() + PAUSE,
                Err(error) => debug!(%error, "what was refused could not be written down; it is tried again"),
            }
        }
    }

    async fn record(&self) -> service::Result<()> {
        let declared = Declared::default();
        let context = Context::of_gateway(&self.store, &self.tokens, &declared, &*self.system);
        refusals::record(&context, &self.gateway.refusals).await
    }
}
