//! The composition root: the only place that names everything together. [`serve`] is the gateway's life from start to
//! drain.

mod listeners;
mod reload;
mod welcome;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{debug, error, info, warn};

use self::{listeners::Listeners, reload::Reloader};
use crate::{
    config::{Config, ProxyConfig, Sources},
    domain::{audit::Actor, rights::Grantor},
    gateway::{BrowserSettings, Gateway, Settings},
    index::{
        follow::{Declared, Follower, Index},
        routes::RouteRules,
        usage::Usage,
        verify::Verifier,
    },
    management::{self, Management},
    proxy::{
        tls::{self, TlsError},
        worker::{self, Command, WorkerHandle, WorkerParts},
    },
    secret_hash::{HashError, SecretHasher},
    service::{self, Context, bootstrap::FirstStart, receipt::BEAT},
    store::{self, ReplicaId, SharedStore, StoreError},
    system::{self, NoEntropy, Os, System},
    telemetry::{
        self, Style,
        access_log::AccessLog,
        traffic::{self, TrafficCounts},
    },
};

/// Threads for the management listener, the follower and signals; they are idle nearly always.
const BACKGROUND_THREADS: usize = 2;
/// How long workers that were told to end now may take for it.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long figures of the overview are kept, and how often older ones are forgotten, minutes.
const TRAFFIC_KEPT: i64 = 25 * 60;
const FORGET_TRAFFIC_EVERY: i64 = 60;
/// Figures that wait for a store.
const MAX_COUNTED: usize = 10_000;
/// Longest pause between two tries to reach a store at start.
const MAX_STORE_BACKOFF: Duration = Duration::from_secs(5);

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("log.filter is not a filter: {0}")]
    LogFilter(String),
    #[error("{what} cannot listen on {address}: {error}")]
    Bind { what: &'static str, address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bootstrap(#[from] service::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
}

/// Runs the gateway until SIGTERM or SIGINT, and drains it. `sources` are read again at each reload.
///
/// # Errors
/// [`ServeError`], where trying again would be in vain. A store that cannot be reached is waited for instead.
pub fn serve(config: Config, sources: Sources) -> Result<(), ServeError> {
    telemetry::start(&config.log).map_err(ServeError::LogFilter)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()?;
    let served = runtime.block_on(run(config, sources));
    runtime.shutdown_background();
    served
}

async fn run(config: Config, sources: Sources) -> Result<(), ServeError> {
    // Signals first: one that comes during the start must not kill the process half-way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let access_log = AccessLog::start(config.proxy.workers, config.log.access, Style::of(config.log.format))?;
    let gateway = gateway(&config)?;
    let workers = start_workers(&config.proxy, &gateway, &access_log)?;
    let drain_timeout = config.proxy.drain_timeout;
    let (declared, follow_declared) = watch::channel(declared(&config));
    let management = bind_management(config.management.listen).await?;

    let listeners = Listeners::open(&config.proxy, &workers, Arc::clone(&gateway.index))?;
    tokio::spawn(listeners.follow_routes());
    let manager = Arc::new(Management::new(Arc::clone(&gateway), config.clone(), Arc::new(Os)));
    tokio::spawn(axum::serve(management, management::service(Arc::clone(&manager))).into_future());
    let reloader = Reloader::new(&config, sources, Arc::clone(&manager), declared, workers.tls.clone())?;
    tokio::spawn(reloader.run());
    info!(proxy = %config.proxy.listen, management = %config.management.listen, "listening");

    let (unfinished, mut finished) = mpsc::channel(1);
    let (end, ends) = watch::channel(());
    let traffic = Arc::clone(&access_log.traffic);
    let following = follow(config, manager, traffic, follow_declared, Unfinished { _held: unfinished, ends });
    tokio::select! {
        ended = following => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(timeout = ?drain_timeout, "draining: no further connections; running requests may end");
    gateway.index.freshness.drain();
    drain(workers, drain_timeout, &mut interrupt).await;
    drop(end);
    tokio::select! {
        _ = finished.recv() => {}
        _ = interrupt.recv() => warn!("interrupted: when tokens were last used is not written"),
    }
    // Writes the last lines.
    drop(access_log);
    Ok(())
}

fn gateway(config: &Config) -> Result<Arc<Gateway>, ServeError> {
    let hasher = SecretHasher::for_tokens(config.tokens.argon2, config.tokens.pepper.clone())?;
    Ok(Arc::new(Gateway {
        index: Arc::new(Index::new()),
        verifier: Verifier::new(hasher, Handle::current(), config.proxy.workers)?,
        usage: Usage::default(),
        settings: ArcSwap::from_pointee(settings(config)),
        opened: OnceLock::new(),
        background: Handle::current(),
    }))
}

/// What of the configuration the proxy reads at each request.
fn settings(config: &Config) -> Settings {
    Settings {
        realm: config.organization.clone(),
        trusted_proxies: config.proxy.trusted_proxies.clone(),
        limits: config.proxy.limits.clone(),
        http2: config.proxy.http2,
        upstream_keep_alive: config.proxy.upstream_keep_alive,
        browser: BrowserSettings {
            tokens: config.tokens.clone(),
            session_lifetime: config.proxy.session_lifetime,
            management: config.management.clone(),
        },
    }
}

/// What of the configuration the routing table is made of.
fn declared(config: &Config) -> Declared {
    Declared {
        deployments: config.deployments.clone(),
        rules: RouteRules {
            base_domain: config.proxy.base_domain.clone(),
            path_prefix: config.proxy.path_prefix,
            default_deployment: config.proxy.default_deployment.clone(),
        },
    }
}

/// All workers, and the certificate that they share.
struct Workers {
    handles: Vec<WorkerHandle>,
    /// `None` inside: clear text.
    tls: Arc<ArcSwapOption<tokio_rustls::rustls::ServerConfig>>,
}

fn start_workers(proxy: &ProxyConfig, gateway: &Arc<Gateway>, access_log: &AccessLog) -> Result<Workers, ServeError> {
    let certificate = proxy.tls.as_ref().map(|config| tls::load(config, proxy.http2)).transpose()?;
    let tls = Arc::new(ArcSwapOption::from(certificate));
    let start = |number| {
        let parts = WorkerParts {
            gateway: Arc::clone(gateway),
            access: access_log.buffer(number),
            tls: Arc::clone(&tls),
            max_connections: proxy.limits.max_connections.div_ceil(proxy.workers),
        };
        worker::start(number, parts)
    };
    let handles = (0..proxy.workers).map(start).collect::<io::Result<_>>()?;
    Ok(Workers { handles, tls })
}

async fn bind_management(address: SocketAddr) -> Result<tokio::net::TcpListener, ServeError> {
    let refused = |error| ServeError::Bind { what: "the management listener", address, error };
    tokio::net::TcpListener::bind(address).await.map_err(refused)
}

/// Held by work that the process must not end before.
#[derive(Clone)]
struct Unfinished {
    _held: mpsc::Sender<()>,
    /// Its sender is dropped when it is time to finish.
    ends: watch::Receiver<()>,
}

impl Unfinished {
    async fn end(&mut self) {
        while self.ends.changed().await.is_ok() {}
    }
}

/// Opens the store, waiting for it if need be, and follows it for ever.
async fn follow(
    config: Config,
    management: Arc<Management>,
    traffic: Arc<TrafficCounts>,
    declared: watch::Receiver<Declared>,
    unfinished: Unfinished,
) -> Result<(), ServeError> {
    let store = open_store(&config).await?;
    // A task of its own, which a signal does not break off: once the first token is made it is shown.
    let following = tokio::spawn(begin_following(config, management, traffic, store, declared, unfinished)).await;
    let broken = |error| ServeError::System(io::Error::other(error));
    following.map_err(broken)??.await.map_err(broken)
}

/// Returns when the gateway is ready, or is to end.
async fn begin_following(
    config: Config,
    management: Arc<Management>,
    traffic: Arc<TrafficCounts>,
    store: SharedStore,
    declared: watch::Receiver<Declared>,
    mut unfinished: Unfinished,
) -> Result<JoinHandle<()>, ServeError> {
    let first = bootstrap(&config, &store).await?;
    let gateway = Arc::clone(&management.gateway);
    let _ = gateway.opened.set(Arc::clone(&store));
    let follower = Follower::new(Arc::clone(&gateway.index), Arc::clone(&store), config.store.clone(), declared);
    tokio::spawn(beat(Arc::clone(&gateway.index), Arc::clone(&store), unfinished.clone()));
    tokio::spawn(record_usage(Arc::clone(&gateway), traffic, store, config.tokens.usage_interval, unfinished.clone()));
    let following = tokio::spawn(follower.run());
    tokio::select! {
        () = gateway.index.loaded() => {
            info!(tokens = gateway.index.tokens.len(), "ready");
            welcome::print(&config, first.as_ref());
        }
        () = unfinished.end() => first.iter().for_each(|first| welcome::print_secrets(&config, first)),
    }
    Ok(following)
}

/// Tries again while the store is away; gives up where it would go on refusing.
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

async fn bootstrap(config: &Config, store: &SharedStore) -> Result<Option<FirstStart>, ServeError> {
    let context = Context {
        store,
        tokens: &config.tokens,
        declared: &config.deployments,
        actor: Actor::System,
        grantor: Grantor::Operator,
        request: None,
        system: &Os,
        now: Os.now(),
    };
    let link_lifetime = config.management.invitation_lifetime;
    Ok(service::bootstrap::bootstrap(&context, &config.organization, link_lifetime).await?)
}

/// Says that this gateway lives and what it decides by, at every change and every [`BEAT`]; and that it has ended.
async fn beat(index: Arc<Index>, store: SharedStore, mut unfinished: Unfinished) {
    let Ok(id) = system::new_id(system::now()).map(ReplicaId) else { return };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("{}:{}", host.trim(), std::process::id());
    let mut epoch = index.epoch.subscribe();
    loop {
        if index.applied() >= 0
            && let Err(error) = store.beat(id, &name, index.applied()).await
        {
            debug!(%error, "this gateway could not say that it lives");
        }
        tokio::select! {
            _ = epoch.changed() => {}
            () = tokio::time::sleep(BEAT) => {}
            () = unfinished.end() => break,
        }
    }
    if let Err(error) = store.leave(id).await {
        debug!(%error, "this gateway could not say that it has ended");
    }
}

/// Writes when tokens were last used and what went through, every `interval` and a last time in the end.
async fn record_usage(
    gateway: Arc<Gateway>,
    traffic: Arc<TrafficCounts>,
    store: SharedStore,
    interval: Duration,
    mut unfinished: Unfinished,
) {
    let mut last = false;
    let mut counted = Vec::new();
    let mut forgotten = 0;
    while !last {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = unfinished.end() => last = true,
        }
        let uses = gateway.usage.take(&gateway.index.tokens);
        counted.extend(traffic.take());
        counted.extend(traffic::of_tokens(&uses));
        counted = traffic::merged(counted);
        if !counted.is_empty() && store.add_traffic(&counted).await.is_ok() {
            counted.clear();
        }
        // For want of a store it is kept for a while, and no longer: these are figures to look at.
        counted.truncate(MAX_COUNTED);
        let now = traffic::minute(system::now());
        if now - forgotten >= FORGET_TRAFFIC_EVERY {
            forgotten = now;
            let _ = store.forget_traffic(now - TRAFFIC_KEPT).await;
        }
        if !uses.is_empty()
            && let Err(error) = store.record_use(&uses).await
        {
            let next = if last { "it is lost" } else { "it is tried again" };
            warn!(%error, "when tokens were last used could not be written; {next}");
            gateway.usage.put_back(uses);
        }
    }
}

/// Until all has ended, the time is over, or somebody does not want to wait any longer: then, too, each request gets to
/// say how it ended.
async fn drain(workers: Workers, timeout: Duration, interrupt: &mut Signal) {
    let commands: Vec<_> = workers.handles.iter().map(|worker| worker.commands.clone()).collect();
    let end_by = |deadline| {
        for worker in &commands {
            let _ = worker.send(Command::Drain(deadline));
        }
    };
    end_by(Instant::now() + timeout);
    let mut ended = tokio::task::spawn_blocking(|| {
        for worker in workers.handles {
            let _ = worker.thread.join();
        }
    });
    tokio::select! {
        _ = &mut ended => info!("drained"),
        _ = interrupt.recv() => {
            warn!("interrupted again: not waiting any longer");
            end_by(Instant::now());
            let _ = tokio::time::timeout(LAST_WORDS, ended).await;
        }
    }
}
