//! The proxy's sockets: the common one, and those of Deployments with a listener of their own. The latter are opened and
//! closed as the routing table changes.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info};

use super::{ServeError, Workers};
use crate::{
    config::ProxyConfig,
    index::follow::Index,
    proxy::worker::{Command, Listen},
};

/// Connections that the kernel queues while a worker is busy.
const BACKLOG: i32 = 4096;

pub struct Listeners {
    workers: Vec<UnboundedSender<Command>>,
    index: Arc<Index>,
    /// Addresses of Deployments' own listeners that are open.
    own: BTreeSet<SocketAddr>,
}

impl Listeners {
    /// Opens the common listener, and those of declared Deployments as soon as the routing table has them.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub fn open(proxy: &ProxyConfig, workers: &Workers, index: Arc<Index>) -> Result<Self, ServeError> {
        let workers = workers.handles.iter().map(|worker| worker.commands.clone()).collect();
        let listeners = Self { workers, index, own: BTreeSet::new() };
        let refused = |error| ServeError::Bind { listener: "the proxy", address: proxy.listen, error };
        listeners.listen(proxy.listen, None).map_err(refused)?;
        Ok(listeners)
    }

    /// Opens and closes Deployments' own listeners as the routing table says, until the process ends.
    pub async fn follow_routes(mut self) {
        let mut epoch = self.index.epoch.subscribe();
        loop {
            self.adjust();
            if epoch.changed().await.is_err() {
                return;
            }
        }
    }

    fn adjust(&mut self) {
        let wanted: BTreeSet<SocketAddr> = self.index.routes.load().listeners().collect();
        for address in self.own.difference(&wanted) {
            self.tell(|| Command::Close(*address));
            info!(%address, "a Deployment's own listener was closed");
        }
        let missing: Vec<SocketAddr> = wanted.difference(&self.own).copied().collect();
        self.own.retain(|address| wanted.contains(address));
        for address in missing {
            match self.listen(address, Some(address)) {
                Ok(()) => info!(%address, "listening for one Deployment"),
                Err(error) => error!(%address, %error, "a Deployment's own listener could not be opened"),
            }
            // If it failed, it is tried again when its Deployment changes, and not at every change of a token.
            self.own.insert(address);
        }
    }

    fn listen(&self, address: SocketAddr, own: Option<SocketAddr>) -> io::Result<()> {
        // With SO_REUSEPORT a second gateway on the same port would silently take half of the connections.
        drop(socket(address, false)?);
        for worker in &self.workers {
            let listener = socket(address, true)?;
            let _ = worker.send(Command::Listen(Listen { address, listener, own }));
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
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
