//! For requests that wait because the service of their Deployment is not there: calls the hook that has it started, finds out when
//! it takes connections, and lets them go, a few at first.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    domain::deployment::DeploymentName,
    http::{hook, readiness::takes_connection},
    index::{
        follow::Index,
        routes::{Deployment, RoutingTable},
    },
};

/// From an attempt that has failed to the next one.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an attempt may take before the hook is called beside it.
const SOON: Duration = Duration::from_secs(1);
/// For the whole call of a hook.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the number of those without an answer is doubled during the slow start: after it, more may go than anybody lets
/// wait.
const STEPS: u32 = 10;

/// Watches a Deployment whose requests may wait.
struct Watched {
    deployment: Arc<Deployment>,
    task: AbortHandle,
}

/// What a hook is told.
#[derive(Serialize)]
struct WakeCall<'a> {
    deployment: &'a str,
    gateway_version: &'static str,
}

/// Watches what the routing table has, until the process ends.
pub async fn run(index: Arc<Index>) {
    let mut running: HashMap<DeploymentName, Watched> = HashMap::new();
    index.each_routing_table(|routes| adjust(&mut running, routes)).await;
}

fn adjust(running: &mut HashMap<DeploymentName, Watched>, routes: &RoutingTable) {
    let mut earlier = std::mem::take(running);
    for spec in routes.deployments() {
        let Some(deployment) = routes.named(&spec.name).filter(|_| spec.settings.hold > 0 && !spec.terminated) else {
            continue;
        };
        let same = |watched: &Watched| Arc::ptr_eq(&watched.deployment, deployment);
        let watched = if earlier.get(&spec.name).is_some_and(same) { earlier.remove(&spec.name) } else { None };
        let watched = watched.unwrap_or_else(|| {
            let deployment = Arc::clone(deployment);
            Watched { task: tokio::spawn(watch(Arc::clone(&deployment))).abort_handle(), deployment }
        });
        running.insert(spec.name.clone(), watched);
    }
    for Watched { deployment, task } in earlier.into_values() {
        task.abort();
        deployment.hold.look_again();
    }
}

async fn watch(deployment: Arc<Deployment>) {
    let name = &deployment.spec.name;
    // Whoever comes when nobody waits any more has found the same outage.
    let mut told = false;
    loop {
        deployment.hold.awaited().await;
        if !std::mem::replace(&mut told, true) {
            info!(deployment = %name, "the service takes no connection, or is not ready; requests wait for it");
        }
        if until_it_takes_connections(&deployment).await {
            info!(deployment = %name, "the service takes connections; requests that have waited for it go on");
            told = false;
            open(&deployment).await;
        }
    }
}

/// `false`: nobody waits any more.
async fn until_it_takes_connections(deployment: &Arc<Deployment>) -> bool {
    while deployment.hold.is_awaited() {
        let mut attempt = pin!(takes_connections(deployment));
        // It may have started since somebody looked last.
        let soon = tokio::time::timeout(SOON, &mut attempt).await;
        if soon != Ok(true) {
            call_hook(deployment);
        }
        if soon == Ok(true) || (soon.is_err() && attempt.await) {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// Whether an upstream does of which standing probes say nothing else.
async fn takes_connections(deployment: &Deployment) -> bool {
    let timeout = deployment.spec.settings.connect_timeout;
    let mut attempts = JoinSet::new();
    for upstream in deployment.upstreams.taking().iter().filter(|upstream| upstream.health.is_ready()) {
        let upstream = Arc::clone(upstream);
        attempts.spawn(async move { takes_connection(&upstream.url, timeout).await });
    }
    while let Some(attempt) = attempts.join_next().await {
        if attempt.is_ok_and(|taken| taken) {
            return true;
        }
    }
    false
}

/// Each answer of the service lets more go. So that one request that takes long does not keep the others waiting, time does, too:
/// after the slow start, all go.
async fn open(deployment: &Deployment) {
    let Deployment { hold, spec, .. } = deployment;
    let step = spec.settings.slow_start / STEPS;
    hold.open(if step.is_zero() { usize::MAX } else { 1 });
    let mut next = Instant::now() + step;
    for _ in 0..STEPS {
        while hold.is_opening() && tokio::time::timeout_at(next, hold.noted()).await.is_ok() {}
        if !hold.is_opening() {
            return;
        }
        hold.widen();
        next += step;
    }
    hold.open_wide();
}

/// In a task of its own, which goes on when the Deployment is changed: so what it has done is known.
fn call_hook(deployment: &Arc<Deployment>) {
    let settings = &deployment.spec.settings;
    if settings.wake_url.is_none() || !deployment.hold.hook.is_due(Instant::now().into(), settings.hold_timeout) {
        return;
    }
    let deployment = Arc::clone(deployment);
    tokio::spawn(async move {
        let name = &deployment.spec.name;
        match post(&deployment).await {
            Ok(()) => {
                deployment.hold.hook.answered();
                info!(deployment = %name, "the wake hook was called");
            }
            Err(error) => {
                if deployment.hold.hook.failed(Instant::now().into()) {
                    warn!(
                        deployment = %name, %error,
                        "the wake hook could not be called; that is tried again while requests wait for the service"
                    );
                }
            }
        }
    });
}

async fn post(deployment: &Deployment) -> Result<(), hook::HookError> {
    let Some(url) = &deployment.spec.settings.wake_url else { return Ok(()) };
    let call = WakeCall { deployment: deployment.spec.name.as_str(), gateway_version: env!("CARGO_PKG_VERSION") };
    // A struct of texts is always JSON.
    hook::post(url.as_str(), serde_json::to_string(&call).unwrap_or_default(), HOOK_TIMEOUT).await
}
