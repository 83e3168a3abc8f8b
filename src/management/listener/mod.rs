//! The management listener itself: it accepts connections, bounds how many are open and how long each may wait, and lets
//! running requests finish when the process ends.

mod connection;
mod patience;
mod places;

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

use self::{connection::Accepted, places::Places};
use super::Management;

/// Pause after the operating system refused another connection, for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What is listened with.
pub struct Parts {
    pub socket: TcpListener,
    pub management: Arc<Management>,
    /// `None` inside: clear text. Whoever replaces it has new connections use the new certificate.
    pub tls: Arc<ArcSwapOption<ServerConfig>>,
    /// Connections that may be open at once.
    pub max_connections: usize,
}

/// A running listener.
pub struct Listener {
    draining: CancellationToken,
    connections: TaskTracker,
}

impl Listener {
    /// Begins to accept.
    pub fn start(parts: Parts) -> Self {
        let (draining, connections) = (CancellationToken::new(), TaskTracker::new());
        let router = super::router(Arc::clone(&parts.management));
        let accepting = Accepting { parts, router, draining: draining.clone(), connections: connections.clone() };
        tokio::spawn(accepting.run());
        Self { draining, connections }
    }

    /// Takes no further connection or request, and returns when the running requests are answered, at the latest at
    /// `deadline`.
    pub async fn drain(self, deadline: Instant) {
        self.draining.cancel();
        self.connections.close();
        if tokio::time::timeout_at(deadline, self.connections.wait()).await.is_err() {
            warn!("management requests still run at the end of the drain; they are cut");
        }
    }
}

struct Accepting {
    parts: Parts,
    router: Router,
    draining: CancellationToken,
    connections: TaskTracker,
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
                    warn!(%error, "the management listener could not accept a connection; raise the limit of open files if this stays");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    /// Returns when the connection has a place. The next one waits in the kernel's queue until then.
    async fn serve(&self, places: &Places, stream: TcpStream, peer: SocketAddr) {
        // Without it small writes would wait for each other; the connection works all the same.
        let _ = stream.set_nodelay(true);
        let patience = {
            let config = self.parts.management.config.load();
            patience::Patience::new(
                config.management.limits.header_timeout,
                config.management.limits.keep_alive_timeout,
            )
        };
        let accepted = Accepted {
            stream,
            peer,
            tls: self.parts.tls.load_full(),
            router: self.router.clone(),
            place: places.take(Arc::new(patience)).await,
            draining: self.draining.clone(),
        };
        self.connections.spawn(connection::serve(accepted));
    }
}
