//! New connections to upstreams: all that could take one are raced, as RFC 8305 does it, and who failed is remembered.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    domain::upstream_url::UpstreamUrl,
    http::{keepalive, resolver},
    index::upstream::Reachability,
};

/// How long an attempt is waited for before the next one begins beside it: the Connection Attempt Delay of RFC 8305 § 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Most addresses of which it is remembered that they took no connection.
const MAX_REMEMBERED: usize = 1024;

/// The same where the time for the connection is so short that a second attempt would have none left.
pub fn attempt_delay(connect_timeout: Duration) -> Duration {
    ATTEMPT_DELAY.min(connect_timeout / 2)
}

/// What a worker remembers of addresses.
#[derive(Default)]
pub struct Addresses {
    failed: RefCell<HashMap<SocketAddr, Rc<Reachability>>>,
}

impl Addresses {
    /// A new connection, to the address of the upstream's name that takes one first. `delay`: between attempts. `slots` gives
    /// each attempt a place among the connections that there may be.
    ///
    /// # Errors
    /// That of the attempt that ended last, or of the name's resolution.
    pub async fn connect<S: 'static>(
        self: Rc<Self>,
        url: &UpstreamUrl,
        delay: Duration,
        slots: impl Fn() -> Option<S> + 'static,
    ) -> io::Result<(TcpStream, S)> {
        let mut addresses = resolve(url).await?;
        if let [only] = addresses[..] {
            let slot = slots().ok_or_else(out_of_connections)?;
            return open(only, slot).await;
        }
        interleave(&mut addresses);
        let now = Instant::now();
        addresses.sort_by_cached_key(|address| self.failed.borrow().get(address).map(|address| address.place(now)));
        self.race(addresses, delay, slots).await
    }

    async fn race<S: 'static>(
        self: Rc<Self>,
        addresses: Vec<SocketAddr>,
        delay: Duration,
        slots: impl Fn() -> Option<S> + 'static,
    ) -> io::Result<(TcpStream, S)> {
        let slots = Rc::new(slots);
        let attempts = addresses.into_iter().map(|address| {
            let attempt = Attempt::begin(delay, {
                let addresses = Rc::clone(&self);
                move |connected| addresses.note(address, connected)
            });
            let slots = Rc::clone(&slots);
            async move {
                let opened = match slots() {
                    Some(slot) => open(address, slot).await,
                    None => Err(out_of_connections()),
                };
                attempt.end(opened)
            }
        });
        race(attempts, delay)
            .await
            .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    fn note(&self, address: SocketAddr, connected: bool) {
        let mut failed = self.failed.borrow_mut();
        if connected {
            failed.remove(&address);
        } else if failed.contains_key(&address) || failed.len() < MAX_REMEMBERED {
            failed.entry(address).or_default().failed(Instant::now());
        }
    }

    /// Forgets addresses that nobody has tried for a while.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.failed.borrow_mut().retain(|_, address| !address.is_forgotten(now));
    }
}

/// An attempt to connect, which tells how it ended. One that is given up tells of a failure only if it had the time for
/// which others wait: whoever gives up sooner has learned nothing.
pub struct Attempt<N: FnMut(bool)> {
    delay: Duration,
    note: N,
    /// `None`: it has ended.
    begun: Option<Instant>,
}

impl<N: FnMut(bool)> Attempt<N> {
    pub fn begin(delay: Duration, note: N) -> Self {
        Self { delay, note, begun: Some(Instant::now()) }
    }

    pub fn end<T>(mut self, result: io::Result<T>) -> io::Result<T> {
        self.begun = None;
        // One for which there was no room has learned nothing.
        if !result.as_ref().is_err_and(is_out_of_connections) {
            (self.note)(result.is_ok());
        }
        result
    }
}

impl<N: FnMut(bool)> Drop for Attempt<N> {
    fn drop(&mut self) {
        if self.begun.is_some_and(|begun| begun.elapsed() >= self.delay) {
            (self.note)(false);
        }
    }
}

/// Begins the attempts in their order, each as soon as one before it has failed or was waited for long enough, and gives
/// up the others as soon as one succeeds. `None`: there was none.
///
/// # Errors
/// That of the attempt that ended last.
pub async fn race<A, T, E>(attempts: impl IntoIterator<Item = A>, delay: Duration) -> Option<Result<T, E>>
where
    A: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: 'static,
{
    let mut waiting = attempts.into_iter().peekable();
    let mut running = JoinSet::new();
    let mut last = None;
    loop {
        if let Some(attempt) = waiting.next() {
            running.spawn_local(attempt);
        }
        let more = waiting.peek().is_some();
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = tokio::time::sleep(delay), if more => continue,
        };
        match ended {
            Some(Ok(Ok(connected))) => return Some(Ok(connected)),
            Some(Ok(error)) => last = Some(error),
            // It panicked: the others go on.
            Some(Err(_)) => {}
            None => return last,
        }
    }
}

async fn open<S>(address: SocketAddr, slot: S) -> io::Result<(TcpStream, S)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    keepalive::set(SockRef::from(&stream))?;
    Ok((stream, slot))
}

fn out_of_connections() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "there are as many connections to upstreams as there may be")
}

/// Whether no attempt was made, since there are as many connections as there may be. No connection fails with this kind.
pub fn is_out_of_connections(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::QuotaExceeded
}

async fn resolve(url: &UpstreamUrl) -> io::Result<Vec<SocketAddr>> {
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(address) => Ok(vec![SocketAddr::new(address, url.port())]),
        Err(_) => {
            resolver::resolve(host, url.port()).await.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))
        }
    }
}

/// Lets the families take turns, beginning with that of the first address (RFC 8305 § 4).
fn interleave(addresses: &mut Vec<SocketAddr>) {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.drain(..).partition(|address| address.is_ipv6() == first);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return;
        }
        addresses.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{net::TcpListener, runtime};

    use super::*;
    use crate::index::upstream::Place;

    const DELAY: Duration = Duration::from_millis(20);

    fn run(test: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mut addresses = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        interleave(&mut addresses);
        assert_eq!(addresses, parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
        let mut addresses = parse(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"]);
        interleave(&mut addresses);
        assert_eq!(addresses, parse(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1"]));
        interleave(&mut Vec::new());
    }

    #[test]
    fn the_first_that_succeeds_wins_and_none_waits_for_one_that_hangs() {
        run(async {
            let attempt = |outcome: Option<Result<u8, u8>>| async move {
                match outcome {
                    Some(outcome) => outcome,
                    None => pending().await,
                }
            };
            let race = |outcomes: Vec<Option<Result<u8, u8>>>| race(outcomes.into_iter().map(attempt), DELAY);
            assert_eq!(race(vec![]).await, None);
            assert_eq!(race(vec![Some(Err(1)), Some(Err(2))]).await, Some(Err(2)));
            assert_eq!(race(vec![None, Some(Ok(2)), Some(Ok(3))]).await, Some(Ok(2)));
            // What fails makes room at once.
            assert_eq!(race(vec![None, Some(Err(2)), Some(Ok(3))]).await, Some(Ok(3)));
        });
    }

    /// A listener whose queue is full, so that the system does not answer further connections. They are held by the second.
    async fn black_hole() -> (SocketAddr, Box<dyn std::any::Any>) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let waiting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                waiting.set_nonblocking(true).unwrap();
                let _ = waiting.connect(&address.into());
                waiting
            })
            .collect();
        (address, Box::new((socket, waiting)))
    }

    #[test]
    fn a_dead_address_does_not_keep_the_name_from_being_reached_and_is_remembered() {
        run(async {
            let (dead, _held) = black_hole().await;
            let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let alive = (alive.local_addr().unwrap(), alive);
            let addresses = Rc::<Addresses>::default();
            let (stream, ()) = Rc::clone(&addresses).race(vec![dead, alive.0], DELAY, || Some(())).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), alive.0);
            // The attempt that lost is dropped when the runtime gets to it.
            tokio::task::yield_now().await;
            let place = |address| addresses.failed.borrow().get(&address).map(|address| address.place(Instant::now()));
            assert_eq!((place(dead), place(alive.0)), (Some(Place::Last), None));
            addresses.note(dead, true);
            assert_eq!(place(dead), None);
            // Nothing is learned of an address that was not tried.
            let refused = Rc::clone(&addresses).race(vec![dead, alive.0], DELAY, || None::<()>).await.unwrap_err();
            assert!(is_out_of_connections(&refused) && place(alive.0).is_none());
        });
    }
}
