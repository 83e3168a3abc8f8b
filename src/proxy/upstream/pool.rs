//! Connections to upstreams that wait for the next exchange. One pool per worker, so there is nothing to lock.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::net::{TcpStream, lookup_host};

use crate::{domain::deployment::UpstreamUrl, index::routes::Upstream};

/// Idle connections that are kept per upstream and worker.
const MAX_IDLE: usize = 512;

/// A connection to an upstream, and what was read from it and not used yet.
pub struct Connection {
    pub stream: TcpStream,
    pub buffer: BytesMut,
    /// Whether it has carried an exchange before: then it may be closing without our knowing.
    pub reused: bool,
}

#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
}

struct Idle {
    stream: TcpStream,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, if it is still open and silent. One that was closed is of no use; one on which
    /// the upstream has sent bytes unasked is dropped, since they would pass for the response to the next request.
    pub fn take(&self, upstream: &Upstream, keep_alive: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&upstream.id)?;
        while let Some(Idle { stream, since }) = connections.pop() {
            let silent = matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if silent && since.elapsed() < keep_alive {
                return Some(Connection { stream, buffer: BytesMut::new(), reused: true });
            }
        }
        None
    }

    /// Keeps a connection whose exchange is over and left nothing behind.
    pub fn put(&self, upstream: &Upstream, connection: Connection) {
        if connection.buffer.is_empty() {
            let mut idle = self.idle.borrow_mut();
            let connections = idle.entry(upstream.id).or_default();
            if connections.len() < MAX_IDLE {
                connections.push(Idle { stream: connection.stream, since: Instant::now() });
            }
        }
    }

    /// Drops what has been idle for longer than `keep_alive`.
    pub fn sweep(&self, keep_alive: Duration) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| connection.since.elapsed() < keep_alive);
            !connections.is_empty()
        });
    }
}

/// A new connection, to the first address of the upstream's name that takes one.
///
/// # Errors
/// That of the last address, or of the name's resolution.
pub async fn connect(url: &UpstreamUrl) -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses(url).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Connection { stream, buffer: BytesMut::new(), reused: false });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn addresses(url: &UpstreamUrl) -> io::Result<Vec<SocketAddr>> {
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(address) => Ok(vec![SocketAddr::new(address, url.port())]),
        Err(_) => Ok(lookup_host((host, url.port())).await?.collect()),
    }
}
