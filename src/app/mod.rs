//! The composition root: the only place that names everything together. [`serve`] is the gateway's life from start to
//! drain.

mod await_starts;
pub mod descriptors;
mod follow;
mod heartbeat;
mod listeners;
mod log_checkpoints;
mod probe_upstreams;
mod record_expiry;
mod record_hours;
mod record_refusals;
mod record_usage;
mod reload;
mod shutdown;
mod watch_budgets;
mod welcome;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};
use tracing::{info, warn};

use self::{follow::Follow, listeners::Listeners, reload::Reloader, shutdown::Shutdown};
use crate::{
    config::{Config, ProxyConfig, Sources},
    gateway::{BrowserSettings, Gateway, Settings, SignIns},
    http::{
        listener::{Listener, Parts, Times},
        tls::{self, TlsError},
    },
    index::{census::LastCensus, follow::Index, usage::Usage, verify::Verifier},
    management::{self, Management},
    metrics::{self, OpenConnections},
    proxy::{
        explain,
        state::WorkerParts,
        worker::{self, WorkerHandle},
    },
    secret_hash::{HashError, SecretHasher},
    service::{self, receipt::Receipts, refusals::Refusals},
    store::StoreError,
    system::{NoEntropy, System},
    telemetry::{self, Lines, OwnLog, Style, access_log::AccessLog, change_metrics::ChangeMetrics},
};

/// Threads for the management listener and signals. They are idle nearly always.
const BACKGROUND_THREADS: usize = 2;
/// What a scrape that runs at the end gets to be answered.
const TELEMETRY_GRACE: Duration = Duration::from_secs(1);

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("log.filter is not a filter: {0}")]
    LogFilter(String),
    /// `flag` is the one that chooses another address.
    #[error("{listener} cannot listen on {address}: {error}")]
    Bind { listener: &'static str, flag: &'static str, address: SocketAddr, error: io::Error },
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
/// [`ServeError`], where trying again would not help. If the store cannot be reached, the gateway waits for it instead.
pub fn serve(config: Config, sources: Sources, system: Arc<dyn System>) -> Result<(), ServeError> {
    let log = OwnLog::start()?;
    telemetry::start(&config.log, &log).map_err(ServeError::LogFilter)?;
    let runtime =
        |name, threads| Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build();
    let background = runtime("background", BACKGROUND_THREADS)?;
    // A thread of its own: nothing that strangers or callers ask for comes before a revocation.
    let feed = runtime("feed", 1)?;
    let served = background.block_on(run(config, sources, system, feed.handle().clone(), log.lines()));
    background.shutdown_background();
    feed.shutdown_background();
    drop(log);
    served
}

async fn run(
    config: Config,
    sources: Sources,
    system: Arc<dyn System>,
    feed: Handle,
    log: Lines,
) -> Result<(), ServeError> {
    let started = system.now();
    // Signals first: one that arrives during the start must not kill the process half-way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let shares = descriptors::share(descriptors::raise(), &config);
    let access_log = AccessLog::start(config.proxy.workers, config.log.access, Style::of(config.log.format))?;
    let gateway = gateway(&config)?;
    let workers = start_workers(&config.proxy, &gateway, &access_log, &shares)?;
    let drain_timeout = config.proxy.drain_timeout;
    let (declared, follow_declared) = watch::channel(config.declared.clone());
    let management = bind("the management listener", "--management-listen", config.management.listen).await?;

    let listeners = Listeners::open(&config, &workers, Arc::clone(&gateway.index))?;
    let followed = listeners.followed();
    feed.spawn(listeners.follow_routes());
    let telemetry = match config.telemetry.listen {
        Some(address) => Some(bind("the telemetry listener", "--telemetry-listen", address).await?),
        None => None,
    };
    let manager = Arc::new(Management::new(Arc::clone(&gateway), config.clone(), Arc::clone(&system)));
    let management_tls = Arc::new(ArcSwapOption::from(management_certificate(&config)?));
    let management = Listener::start(Parts {
        name: "the management listener",
        socket: management,
        router: management::router(Arc::clone(&manager)),
        tls: Arc::clone(&management_tls),
        max_connections: shares.management,
        times: Box::new({
            let manager = Arc::clone(&manager);
            move || management_times(&manager.config.load())
        }),
    });
    let scraped = metrics::Scraped {
        gateway: Arc::clone(&gateway),
        workers: access_log.workers().to_vec(),
        listeners: vec![OpenConnections { name: "management", open: management.connections(), max: shares.management }],
        usage: Arc::clone(&access_log.usage),
        log,
        max_staleness: config.store.max_staleness,
        started,
        census: LastCensus::default(),
    };
    let telemetry = telemetry.map(|socket| start_telemetry(socket, scraped));
    let certificates = Certificates { proxy: Arc::clone(&workers.tls), management: management_tls };
    let program = welcome::program(&sources);
    let reloader = Reloader::new(&config, sources, Arc::clone(&manager), declared, certificates)?;
    tokio::spawn(reloader.run());
    tokio::spawn(probe_upstreams::run(Arc::clone(&gateway.index)));
    tokio::spawn(await_starts::run(Arc::clone(&gateway.index)));
    let [forward_auth, telemetry_address] =
        [config.forward_auth.listen, config.telemetry.listen].map(|address| address.map(tracing::field::display));
    info!(
        proxy = %config.proxy.listen, management = %config.management.listen, forward_auth, telemetry = telemetry_address,
        "listening"
    );

    let shutdown = Shutdown::default();
    let (traffic, usage) = (Arc::clone(&access_log.traffic), Arc::clone(&access_log.usage));
    let follow = Follow {
        system,
        config,
        management: manager,
        traffic,
        usage,
        declared: follow_declared,
        followed,
        shutdown: shutdown.clone(),
        feed,
        program,
    };
    tokio::select! {
        ended = follow.run() => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!(timeout = ?drain_timeout, "draining: no new connections; running requests may finish");
    gateway.index.freshness.drain();
    let deadline = Instant::now() + drain_timeout;
    shutdown::drain(workers, drain_timeout, &mut interrupt).await;
    shutdown::drain_management(management, deadline, &mut interrupt).await;
    // Writes the last lines, and counts what they say, before the counts are stored.
    drop(access_log);
    tokio::select! {
        () = shutdown.finish() => {}
        _ = interrupt.recv() => warn!("interrupted: the last uses of tokens, and what they have used, are not written"),
    }
    // Last of all: what was done until then can be scraped.
    if let Some(telemetry) = telemetry {
        telemetry.drain(Instant::now() + TELEMETRY_GRACE).await;
    }
    Ok(())
}

/// What the two listeners share, with an empty index. To be called within a runtime, which runs what waits for the store.
///
/// # Errors
/// [`ServeError::Hash`] and [`ServeError::NoEntropy`].
pub fn gateway(config: &Config) -> Result<Arc<Gateway>, ServeError> {
    let hasher = SecretHasher::for_tokens(config.tokens.argon2, config.tokens.pepper.clone())?;
    Ok(Arc::new(Gateway {
        index: Arc::new(Index::new()),
        verifier: Verifier::new(hasher, Handle::current(), config.proxy.workers)?,
        usage: Usage::default(),
        explain: explain::explain,
        settings: ArcSwap::from_pointee(settings(config)),
        opened: OnceLock::new(),
        background: Handle::current(),
        sign_ins: SignIns::default(),
        refusals: Refusals::default(),
        changes: ChangeMetrics::default(),
        receipts: Receipts::default(),
        reload_failed: AtomicBool::new(false),
    }))
}

/// The part of the configuration that the proxy reads at each request.
fn settings(config: &Config) -> Settings {
    Settings {
        realm: config.organization.clone(),
        trusted_proxies: config.proxy.trusted_proxies.clone(),
        proxy_protocol: config.proxy.proxy_protocol,
        limits: config.proxy.limits.clone(),
        identity_fields: Arc::new(config.proxy.identity_fields.clone()),
        http2: config.proxy.http2,
        upstream_keep_alive: config.proxy.upstream_keep_alive,
        expiry_notice: config.tokens.expiry_notice,
        browser: BrowserSettings {
            tokens: config.tokens.clone(),
            session_lifetime: config.proxy.session_lifetime,
            path_prefix_sessions: config.proxy.path_prefix_sessions,
            management: config.management.clone(),
            public_url: config.proxy.public_url.clone(),
        },
    }
}

/// All workers, and the certificate that they share.
struct Workers {
    handles: Vec<WorkerHandle>,
    /// `None` inside: clear text.
    tls: Arc<ArcSwapOption<tokio_rustls::rustls::ServerConfig>>,
}

/// What a running process serves TLS with, for each listener; `None` inside: clear text.
struct Certificates {
    proxy: Arc<ArcSwapOption<tokio_rustls::rustls::ServerConfig>>,
    management: Arc<ArcSwapOption<tokio_rustls::rustls::ServerConfig>>,
}

/// The management listener's, as configured. HTTP/1.1 only: browsers and tools need no more, and strangers get less.
fn management_certificate(config: &Config) -> Result<Option<Arc<tokio_rustls::rustls::ServerConfig>>, TlsError> {
    let files = config.management.tls.as_ref();
    files.map(|files| tls::load(&files.certificate, &files.key, false)).transpose()
}

fn start_workers(
    proxy: &ProxyConfig,
    gateway: &Arc<Gateway>,
    access_log: &AccessLog,
    shares: &descriptors::Shares,
) -> Result<Workers, ServeError> {
    let certificate =
        proxy.tls.as_ref().map(|files| tls::load(&files.certificate, &files.key, proxy.http2)).transpose()?;
    let tls = Arc::new(ArcSwapOption::from(certificate));
    let start = |number| {
        let parts = WorkerParts {
            gateway: Arc::clone(gateway),
            telemetry: Arc::clone(&access_log.workers()[number]),
            tls: Arc::clone(&tls),
            max_connections: shares.proxy.div_ceil(proxy.workers),
            max_upstream_connections: shares.upstreams.div_ceil(proxy.workers),
        };
        worker::start(number, parts)
    };
    let handles = (0..proxy.workers).map(start).collect::<io::Result<_>>()?;
    Ok(Workers { handles, tls })
}

async fn bind(
    listener: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<tokio::net::TcpListener, ServeError> {
    let refused = |error| ServeError::Bind { listener, flag, address, error };
    tokio::net::TcpListener::bind(address).await.map_err(refused)
}

fn management_times(config: &Config) -> Times {
    let limits = &config.management.limits;
    Times { header: limits.header_timeout, keep_alive: limits.keep_alive_timeout }
}

/// In clear text: a scrape says nothing secret, and takes no credential.
fn start_telemetry(socket: tokio::net::TcpListener, scraped: metrics::Scraped) -> Listener {
    Listener::start(Parts {
        name: "the telemetry listener",
        socket,
        router: metrics::router(scraped),
        tls: Arc::default(),
        max_connections: metrics::MAX_CONNECTIONS,
        times: Box::new(|| metrics::TIMES),
    })
}
