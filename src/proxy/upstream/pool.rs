//! Connections to upstreams: how many there may be, and those that wait for the next exchange. One pool per worker, so there is
//! nothing to lock.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{connect::Addresses, stream::Stream};
use crate::{index::upstream::Upstream, proxy::unheard::Ends};

/// Idle connections that are kept per upstream and worker.
const MAX_IDLE: usize = 512;
/// Room for the first read of a response while nothing is known of what the upstream sends, bytes.
pub const FIRST_READ: usize = 8 * 1024;

/// A connection to an upstream, and what was read from it and not used yet.
pub struct Connection {
    pub stream: Stream,
    pub buffer: BytesMut,
    /// Whether it has carried an exchange before: then it may be closing without our knowing.
    pub reused: bool,
    /// Room for the first read of the next response, bytes: what the last one took.
    pub read_size: usize,
    /// `None`: the operating system did not say.
    pub ends: Option<Ends>,
    pub slot: Slot,
}

/// The place of one connection among those that a worker may have to upstreams. Free again when it is dropped.
pub struct Slot(Rc<Cell<usize>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

pub struct Pool {
    /// By upstream, the one that was used last at the end.
    idle: RefCell<BTreeMap<u64, Vec<Idle>>>,
    addresses: Rc<Addresses>,
    free_slots: Rc<Cell<usize>>,
}

struct Idle {
    stream: Stream,
    read_size: usize,
    since: Instant,
    ends: Option<Ends>,
    slot: Slot,
}

impl Pool {
    /// `max_connections`: those that wait for an exchange included.
    pub fn new(max_connections: usize) -> Self {
        Self { idle: RefCell::default(), addresses: Rc::default(), free_slots: Rc::new(Cell::new(max_connections)) }
    }

    /// A place for a new connection, if need be that of the one that has been idle for longest. `None`: all are used.
    fn slot(&self) -> Option<Slot> {
        if self.free_slots.get() == 0 {
            self.drop_longest_idle();
        }
        self.free_slots.set(self.free_slots.get().checked_sub(1)?);
        Some(Slot(Rc::clone(&self.free_slots)))
    }

    fn drop_longest_idle(&self) {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle.iter().filter_map(|(id, connections)| Some((connections.first()?.since, *id))).min();
        if let Some(connections) = oldest.and_then(|(_, id)| idle.get_mut(&id)) {
            connections.remove(0);
        }
    }

    /// The connection that was used last, if at `now` it is still open and silent, and has not been idle for `keep_alive`. One
    /// that was closed is of no use; one on which the upstream has sent bytes unasked is dropped, since they would pass for
    /// the response to the next request.
    pub fn take(&self, upstream: &Upstream, keep_alive: Duration, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&upstream.id)?;
        while let Some(Idle { mut stream, read_size, since, ends, slot }) = connections.pop() {
            if stream.is_silent() && now.saturating_duration_since(since) < keep_alive {
                return Some(Connection { stream, buffer: BytesMut::new(), reused: true, read_size, ends, slot });
            }
        }
        None
    }

    /// A new connection. `delay`: between attempts, if the upstream's name has several addresses.
    ///
    /// # Errors
    /// The upstream's name has no address, or none of them takes a connection; there are as many as there may be
    /// ([`connect::is_out_of_connections`](super::connect::is_out_of_connections)); or the TLS handshake fails, with a
    /// [`TlsFault`](crate::proxy::rejection::TlsFault).
    pub async fn connect(self: Rc<Self>, upstream: &Upstream, delay: Duration) -> io::Result<Connection> {
        let addresses = Rc::clone(&self.addresses);
        let (stream, slot) = addresses.connect(&upstream.url, delay, move || self.slot()).await?;
        let ends = stream.local_addr().and_then(|local| Ok(Ends::new(local, stream.peer_addr()?))).ok();
        let stream = match &upstream.tls {
            None => Stream::Plain(stream),
            // Boxed, so that it is no part of connections without it.
            Some(peer) => Box::pin(Stream::secure(stream, peer)).await?,
        };
        Ok(Connection { stream, buffer: BytesMut::new(), reused: false, read_size: FIRST_READ, ends, slot })
    }

    /// Keeps a connection whose exchange is over and left nothing behind.
    pub fn put(&self, upstream: &Upstream, connection: Connection, now: Instant) {
        if connection.buffer.is_empty() {
            let mut idle = self.idle.borrow_mut();
            let connections = idle.entry(upstream.id).or_default();
            if connections.len() < MAX_IDLE {
                let Connection { stream, read_size, ends, slot, .. } = connection;
                connections.push(Idle { stream, read_size, since: now, ends, slot });
            }
        }
    }

    /// Drops what has been idle for longer than `keep_alive`.
    pub fn sweep(&self, keep_alive: Duration) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| connection.since.elapsed() < keep_alive);
            !connections.is_empty()
        });
        self.addresses.sweep();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Shutdown, TcpListener},
    };

    use tokio::runtime;

    use super::*;
    use crate::proxy::upstream::connect::is_out_of_connections;

    /// The runtime does not get to look for events in between, as under load.
    #[test]
    fn what_the_kernel_has_is_seen_before_the_runtime_knows() {
        let test = async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let upstream = Upstream::new(
                &format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
                None,
                Default::default(),
            );
            let pool = Rc::new(Pool::new(1));
            for end in [None, Some(b"HTTP/1.1 200 OK\r\n".as_slice()), Some(b"")] {
                let connection = Rc::clone(&pool).connect(&upstream, Duration::ZERO).await.unwrap();
                let (mut peer, _) = listener.accept().unwrap();
                // tokio takes a new socket for readable until it has looked.
                let Stream::Plain(stream) = &connection.stream else { panic!("TLS was not asked for") };
                assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
                pool.put(&upstream, connection, Instant::now());
                match end {
                    None => {}
                    Some(b"") => peer.shutdown(Shutdown::Write).unwrap(),
                    Some(bytes) => peer.write_all(bytes).unwrap(),
                }
                let taken = pool.take(&upstream, Duration::from_secs(60), Instant::now());
                assert_eq!(taken.is_some(), end.is_none(), "{end:?}");
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn idle_connections_make_room_and_others_do_not() {
        let test = async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            let [one, other] = [(); 2].map(|()| Upstream::new(&url, None, Default::default()));
            let pool = Rc::new(Pool::new(2));
            let connect = |upstream| {
                let pool = Rc::clone(&pool);
                async move { pool.connect(upstream, Duration::ZERO).await }
            };
            let (first, second) = (connect(&one).await.unwrap(), connect(&other).await.unwrap());
            let refused = connect(&one).await.map(drop).unwrap_err();
            assert!(is_out_of_connections(&refused), "{refused}");
            pool.put(&one, first, Instant::now());
            let keep_alive = Duration::from_secs(60);
            let third = connect(&other).await.unwrap();
            assert!(pool.take(&one, keep_alive, Instant::now()).is_none(), "it made room");
            drop(second);
            pool.put(&other, third, Instant::now());
            assert!(pool.take(&other, keep_alive, Instant::now()).is_some(), "there was room");
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
        runtime.unwrap().block_on(test);
    }
}
