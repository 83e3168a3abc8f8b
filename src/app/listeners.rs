//! The proxy's sockets: the common one, that where other proxies ask, and those of Deployments with a listener of their own. The latter are opened and
//! closed as the routing table changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc::UnboundedSender, watch};
use tracing::{error, info};

use super::{ServeError, Workers};
use crate::{
    config::Config,
    http::keepalive,
    index::{follow::Index, routes::RoutingTable},
    proxy::{
        state::Entrance,
        worker::{Command, Listen},
    },
    store::Point,
};

/// Connections that the kernel queues while a worker is busy.
const BACKLOG: i32 = 4096;
/// Pauses between attempts to open a listener that could not be opened.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

pub struct Listeners {
    workers: Vec<UnboundedSender<Command>>,
    index: Arc<Index>,
    /// The routing table that was looked at last.
    routes: Arc<RoutingTable>,
    /// Addresses of Deployments' own listeners that are open.
    own: BTreeSet<SocketAddr>,
    /// Those that could not be opened.
    failed: BTreeMap<SocketAddr, Failure>,
    /// Every change up to this one is decided by, and the listeners that it asks for were opened or closed. `None`: none
    /// yet. The heartbeat passes it on, so that whoever has added a Deployment can connect when told that it is there.
    followed: watch::Sender<Option<Arc<Point>>>,
}

/// A listener that could not be opened.
struct Failure {
    again: Instant,
    /// Until the next attempt but one.
    pause: Duration,
    /// What the log says of it.
    said: Option<io::ErrorKind>,
}

impl Failure {
    /// At the first attempt the workers may not have closed a listener that had this address. After that, the log says
    /// every cause once.
    fn tell(&mut self, address: SocketAddr, error: &io::Error) {
        let just_closed = error.kind() == io::ErrorKind::AddrInUse && self.pause == FIRST_PAUSE;
        if !just_closed && self.said.replace(error.kind()) != Some(error.kind()) {
            error!(%address, %error, "a Deployment's own listener could not be opened; it is tried again");
        }
    }
}

impl Listeners {
    /// Opens the common listener and that where other proxies ask, and those of declared Deployments as soon as the routing table has them.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub fn open(config: &Config, workers: &Workers, index: Arc<Index>) -> Result<Self, ServeError> {
        let workers = workers.handles.iter().map(|worker| worker.commands.clone()).collect();
        let routes = index.routes.load_full();
        let (own, failed, followed) = (BTreeSet::new(), BTreeMap::new(), watch::Sender::new(None));
        let listeners = Self { workers, index, routes, own, failed, followed };
        let listen = |address, entrance, listener, flag| {
            let refused = |error| ServeError::Bind { listener, flag, address, error };
            listeners.listen(address, entrance).map_err(refused)
        };
        listen(config.proxy.listen, Entrance::Common, "the proxy", "--listen")?;
        if let Some(address) = config.forward_auth.listen {
            listen(address, Entrance::ForwardAuth, "the forward-auth listener", "--forward-auth-listen")?;
        }
        Ok(listeners)
    }

    /// How far the listeners are like the index.
    pub fn followed(&self) -> watch::Receiver<Option<Arc<Point>>> {
        self.followed.subscribe()
    }

    /// Opens and closes Deployments' own listeners as the routing table says, until the process ends.
    pub async fn follow_routes(mut self) {
        let mut epoch = self.index.epoch.subscribe();
        loop {
            // Before the routing table: the follower replaces that one first.
            let applied = self.index.applied();
            self.adjust();
            self.followed.send_replace(applied);
            let again = async {
                match self.failed.values().map(|failure| failure.again).min() {
                    Some(again) => tokio::time::sleep_until(again.into()).await,
                    None => std::future::pending().await,
                }
            };
            let changed = tokio::select! {
                changed = epoch.changed() => changed,
                () = again => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn adjust(&mut self) {
        let routes = self.index.routes.load_full();
        let wanted: BTreeSet<SocketAddr> = routes.listeners().collect();
        for address in self.own.difference(&wanted) {
            self.tell(|| Command::Close(*address));
            info!(%address, "a Deployment's own listener was closed");
        }
        self.own.retain(|address| wanted.contains(address));
        self.failed.retain(|address, _| wanted.contains(address));
        // Whoever has changed a Deployment may have done so because its listener could not be opened.
        let changed = !Arc::ptr_eq(&routes, &self.routes);
        self.routes = routes;
        let now = Instant::now();
        for address in wanted.into_iter().filter(|address| !self.own.contains(address)).collect::<Vec<_>>() {
            if changed || self.failed.get(&address).is_none_or(|failure| failure.again <= now) {
                self.try_to_open(address, now);
            }
        }
    }

    fn try_to_open(&mut self, address: SocketAddr, now: Instant) {
        match self.listen(address, Entrance::Deployment(address)) {
            Ok(()) => {
                info!(%address, "listening for one Deployment");
                self.own.insert(address);
                self.failed.remove(&address);
            }
            Err(error) => {
                let failure =
                    self.failed.entry(address).or_insert(Failure { again: now, pause: FIRST_PAUSE, said: None });
                failure.again = now + failure.pause;
                failure.tell(address, &error);
                failure.pause = (failure.pause * 2).min(MAX_PAUSE);
            }
        }
    }

    fn listen(&self, address: SocketAddr, entrance: Entrance) -> io::Result<()> {
        // With SO_REUSEPORT a second gateway on the same port would silently take half of the connections.
        drop(socket(address, false)?);
        for worker in &self.workers {
            let listener = socket(address, true)?;
            let _ = worker.send(Command::Listen(Listen { address, listener, entrance }));
        }
        Ok(())
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.send(command());
        }
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    keepalive::set(SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
