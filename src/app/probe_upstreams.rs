//! Standing probes: upstreams of Deployments that want it are asked again and again whether they are ready.

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::{
    domain::{probing::Probing, upstream_credential::UpstreamCredential},
    http::readiness::Question,
    index::{
        follow::Index,
        routes::{Deployment, RoutingTable},
        upstream::Upstream,
    },
};

/// One upstream that is probed.
struct Probe {
    upstream: Arc<Upstream>,
    probing: Probing,
    credential: Option<Arc<UpstreamCredential>>,
}

/// Probes what the routing table has, until the process ends.
pub async fn run(index: Arc<Index>) {
    let mut running: HashMap<u64, AbortHandle> = HashMap::new();
    index.each_routing_table(|routes| adjust(&mut running, routes)).await;
}

/// An upstream that was changed has another id, and is another one.
fn adjust(running: &mut HashMap<u64, AbortHandle>, routes: &RoutingTable) {
    let mut earlier = std::mem::take(running);
    for probe in routes.served().into_iter().flat_map(probes) {
        let id = probe.upstream.id;
        let task = earlier.remove(&id).unwrap_or_else(|| tokio::spawn(probe.run()).abort_handle());
        running.insert(id, task);
    }
    earlier.into_values().for_each(|task| task.abort());
}

fn probes(deployment: &Deployment) -> Vec<Probe> {
    let probing = deployment.spec.settings.probing().filter(|_| !deployment.spec.terminated);
    let Some(probing) = probing else { return Vec::new() };
    let credential = &deployment.access.credential;
    let probe = |upstream: &Arc<Upstream>| Probe {
        upstream: Arc::clone(upstream),
        probing: probing.clone(),
        credential: credential.clone(),
    };
    deployment.upstreams.iter().map(probe).collect()
}

impl Probe {
    async fn run(self) {
        let Probing { interval, rise, fall, .. } = self.probing;
        let url = &self.upstream.url;
        loop {
            let answer = self.question().ask().await;
            match self.upstream.health.note(answer.is_ok(), rise, fall) {
                Some(true) => {
                    self.upstream.returned(Instant::now());
                    info!(upstream = %url, "an upstream is ready again");
                }
                Some(false) => {
                    let reason = answer.err().map(|reason| reason.to_string()).unwrap_or_default();
                    warn!(upstream = %url, reason, "an upstream is not ready; others are tried first until it is");
                }
                None => {}
            }
            tokio::time::sleep(interval).await;
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            url: &self.upstream.url,
            tls: self.upstream.tls.as_ref(),
            credential: self.credential.as_deref(),
            path: &self.probing.path,
            timeout: self.probing.timeout,
        }
    }
}
