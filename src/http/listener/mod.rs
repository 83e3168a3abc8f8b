//! A listener beside the proxy's, for a router: it accepts connections, bounds how many are open and how long each may
//! wait, and lets running requests finish when the process ends.

mod connection;
mod noticing;
mod patience;
mod places;
mod refusal;
mod unread;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use self::{connection::Accepted, patience::Patience, places::Places};
use super::complaints::Complaints;

/// Pause after the operating system refused another connection, for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Longest path and query that a request may ask for, bytes: 414 beyond. Single sign-on brings the longest ones, some KiB.
const MAX_TARGET: usize = 16 * 1024;

/// What is listened with.
pub struct Parts {
    /// As the log calls it: `the management listener`.
    pub name: &'static str,
    pub socket: TcpListener,
    pub router: Router,
    /// `None` inside: clear text. Whoever replaces it has new connections use the new certificate.
    pub tls: Arc<ArcSwapOption<ServerConfig>>,
    /// Connections that may be open at once.
    pub max_connections: usize,
    /// Asked for each new connection.
    pub times: Box<dyn Fn() -> Times + Send + Sync>,
}

/// How long a connection may wait.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the connection, or from the first byte of a further request, to the complete header.
    pub header: Duration,
    /// Without a request.
    pub keep_alive: Duration,
}

/// A running listener.
pub struct Listener {
    name: &'static str,
    draining: CancellationToken,
    connections: TaskTracker,
}

impl Listener {
    /// Begins to accept.
    pub fn start(parts: Parts) -> Self {
        let (draining, connections) = (CancellationToken::new(), TaskTracker::new());
        let name = parts.name;
        let complaints = Arc::default();
        let accepting = Accepting { parts, draining: draining.clone(), connections: connections.clone(), complaints };
        tokio::spawn(accepting.run());
        Self { name, draining, connections }
    }

    /// Connections that are open.
    pub fn connections(&self) -> TaskTracker {
        self.connections.clone()
    }

    /// Takes no further connection or request, and returns when the running requests are answered, at the latest at
    /// `deadline`.
    pub async fn drain(self, deadline: Instant) {
        self.draining.cancel();
        self.connections.close();
        if tokio::time::timeout_at(deadline, self.connections.wait()).await.is_err() {
            warn!("requests at {} still run at the end of the drain; they are cut", self.name);
        }
    }
}

struct Accepting {
    parts: Parts,
    draining: CancellationToken,
    connections: TaskTracker,
    complaints: Arc<Complaints>,
}

impl Accepting {
    async fn run(self) {
        let places = Places::new(self.parts.max_connections);
        let draining = self.draining.clone();
        tokio::select! {
            () = self.accept_all(&places) => {}
            () = draining.cancelled() => {}
        }
    }

    async fn accept_all(&self, places: &Places) {
        loop {
            match self.parts.socket.accept().await {
                Ok((stream, peer)) => self.serve(places, stream, peer).await,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(
                        %error,
                        "{} could not accept a connection; raise the limit of open files if this stays", self.parts.name
                    );
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Returns when the connection has a place. The next one waits in the kernel's queue until then.
    async fn serve(&self, places: &Places, stream: TcpStream, peer: SocketAddr) {
        // Without it small writes would wait for each other; the connection works all the same.
        let _ = stream.set_nodelay(true);
        let patience = Patience::new((self.parts.times)());
        let accepted = Accepted {
            stream,
            peer,
            tls: self.parts.tls.load_full(),
            router: self.parts.router.clone(),
            place: places.take(Arc::new(patience)).await,
            draining: self.draining.clone(),
            complaints: Arc::clone(&self.complaints),
        };
        self.connections.spawn(connection::serve(self.parts.name, accepted));
    }
}
