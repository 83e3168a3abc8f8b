//! What waits for the store: opening it, setting it up on the very first start, and following its changes.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tracing::{error, info, warn};

use super::{
    ServeError, Shutdown,
    heartbeat::Heartbeat,
    log_checkpoints::CheckpointLogger,
    record_expiry::ExpiryRecorder,
    record_hours::HourlyUsageRecorder,
    record_refusals::RefusalRecorder,
    record_usage::UsageRecorder,
    watch_budgets::{BudgetWatcher, Closed},
    welcome::{self, Welcome},
};
use crate::{
    config::Config,
    domain::{
        audit::Actor,
        deployment::{DeploymentName, DeploymentSpec},
        rights::Grantor,
        routing::Declared,
        user::Email,
    },
    index::{follow::Follower, routes::RoutingTable},
    management::Management,
    service::{
        Context,
        bootstrap::{self, FirstStart},
    },
    store::{self, Point, Priority, SharedStore, StoreError},
    system::System,
    telemetry::{traffic::TrafficCounts, usage::UsageCounts},
};

/// Longest pause between two attempts to reach the store.
const MAX_STORE_BACKOFF: Duration = Duration::from_secs(5);

pub struct Follow {
    pub system: Arc<dyn System>,
    pub config: Config,
    pub management: Arc<Management>,
    pub traffic: Arc<TrafficCounts>,
    pub usage: Arc<UsageCounts>,
    pub declared: watch::Receiver<Declared>,
    /// As [`Listeners::followed`](super::listeners::Listeners::followed).
    pub followed: watch::Receiver<Option<Arc<Point>>>,
    pub shutdown: Shutdown,
    /// Runs what makes this gateway decide by the store, and tells the others so.
    pub feed: Handle,
    /// As [`welcome::program`].
    pub program: String,
}

impl Follow {
    /// Opens the store, waiting for it if need be, and follows it until the process ends.
    ///
    /// # Errors
    /// [`ServeError`] if the store is reached and refuses.
    pub async fn run(self) -> Result<(), ServeError> {
        let store = open_store(&self.config).await?;
        if store.is_of_later_release().await? {
            warn!(
                "a later release of bento-gateway has migrated the store: this one goes on working if it is the release just \
                 before that one; otherwise start the later one, or restore the backup from before the update"
            );
        }
        let shutdown = self.shutdown.clone();
        // A task of its own, which a signal does not abort: once the first token is made, it must be shown.
        let started = shutdown.spawn(self.start(store)).await;
        started.map_err(broken)??.await.map_err(broken)
    }

    /// Returns the running follower as soon as the gateway is ready, or is to end.
    async fn start(self, store: SharedStore) -> Result<JoinHandle<()>, ServeError> {
        let Self { system, config, management, traffic, usage, declared, followed, shutdown, feed, program } = self;
        let (first, uninvited) = set_up(&config, &store, &*system).await?;
        let gateway = Arc::clone(&management.gateway);
        let probing = Arc::clone(&management);
        let _ = gateway.opened.set(Arc::clone(&store));
        let fed = store.at(Priority::Feed);
        let follower = Follower::new(Arc::clone(&gateway.index), Arc::clone(&fed), config.store.clone(), declared);
        let announced = Heartbeat::begin(followed, management, fed, config.store.max_staleness);
        let heartbeat = feed.spawn(announced).await.map_err(broken)??;
        shutdown.spawn_on(heartbeat.run(shutdown.clone()), &feed);
        let checkpoints = CheckpointLogger { store: Arc::clone(&store), shutdown: shutdown.clone() };
        shutdown.spawn(checkpoints.run());
        let (tokens, interval) = (config.tokens.clone(), config.tokens.usage_interval);
        let hourly = HourlyUsageRecorder {
            management: Arc::clone(&probing),
            counts: usage,
            store: Arc::clone(&store),
            system: Arc::clone(&system),
            interval,
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(hourly.run());
        let budgets = BudgetWatcher {
            gateway: Arc::clone(&gateway),
            store: Arc::clone(&store),
            system: Arc::clone(&system),
            interval,
            shutdown: shutdown.clone(),
            closed: Closed::default(),
            failing: false,
        };
        shutdown.spawn(budgets.run());
        let refusals = RefusalRecorder {
            gateway: Arc::clone(&gateway),
            store: Arc::clone(&store),
            tokens: tokens.clone(),
            system: Arc::clone(&system),
            shutdown: shutdown.clone(),
        };
        shutdown.spawn(refusals.run());
        let recorder = ExpiryRecorder { store: Arc::clone(&store), tokens, system, shutdown: shutdown.clone() };
        shutdown.spawn(recorder.run());
        let recorder =
            UsageRecorder { gateway: Arc::clone(&gateway), traffic, store, interval, shutdown: shutdown.clone() };
        shutdown.spawn(recorder.run());
        let following = feed.spawn(follower.run());
        tokio::select! {
            () = gateway.index.loaded() => {
                info!(tokens = gateway.index.tokens.len(), "ready");
                let routes = gateway.index.routes.load_full();
                // Whoever sets it up is told. Other starts, of many replicas perhaps, ask the services nothing.
                let is_first = first.as_ref().is_some_and(|first| first.token.is_some());
                let silent = if is_first { silent(&probing, &routes).await } else { Vec::new() };
                let welcome = Welcome {
                    config: &config,
                    routes: &routes,
                    program: &program,
                    has_tokens: !gateway.index.tokens.is_empty(),
                    silent,
                };
                welcome.print(first.as_ref(), uninvited.as_ref());
            }
            () = shutdown.requested() => first.iter().for_each(|first| welcome::print_secrets(&config, first)),
        }
        Ok(following)
    }
}

/// The Deployments whose services are not ready, each asked for a second at most. One that was terminated is not asked.
async fn silent(management: &Management, routes: &RoutingTable) -> Vec<DeploymentName> {
    let specs: Vec<DeploymentSpec> = routes.deployments().into_iter().cloned().collect();
    let statuses = management.statuses(&specs).await;
    let silent = specs.into_iter().zip(statuses).filter(|(_, status)| *status == "unhealthy");
    silent.map(|(spec, _)| spec.name).collect()
}

/// A task has panicked.
fn broken(error: JoinError) -> ServeError {
    ServeError::System(io::Error::other(error))
}

/// Tries again while the store cannot be reached; gives up if it was reached and would go on refusing.
async fn open_store(config: &Config) -> Result<SharedStore, ServeError> {
    let mut pause = config.store.poll_interval;
    loop {
        match store::open(&config.store).await {
            Ok(store) => return Ok(store),
            Err(error @ StoreError::Unavailable(_)) => {
                error!(%error, store = ?config.store.url, retry_in = ?pause, "the store is not available; requests get 503 until it is");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_STORE_BACKOFF);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What was set up, and the admin to invite, because nobody can sign in as one. `None`: the store was set up before; somebody
/// can, or has the link that was just made.
async fn set_up(
    config: &Config,
    store: &SharedStore,
    system: &dyn System,
) -> Result<(Option<FirstStart>, Option<Email>), ServeError> {
    let context = Context {
        store,
        tokens: &config.tokens,
        declared: &config.declared,
        sign_on: config.management.single_sign_on(),
        actor: Actor::System,
        grantor: Grantor::Operator,
        request: None,
        system,
        now: system.now(),
    };
    let link_lifetime = config.management.invitation_lifetime;
    let first = bootstrap::bootstrap(&context, &config.organization, link_lifetime).await?;
    let uninvited = if first.is_none() { bootstrap::admin_without_sign_in(&context).await? } else { None };
    Ok((first, uninvited))
}
