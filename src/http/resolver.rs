//! Finds the addresses of a name by the system's resolver, for everything that the gateway itself connects to by name.
//!
//! The system's call holds its thread, for half a minute or more if no name server answers, and cannot be cancelled. So a name
//! is looked up once however many wait for it, at most [`AT_ONCE`] names at a time, on threads that do nothing else, and an
//! answer serves for [`KEPT`]. Who waits may leave at any time.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
    vec,
};

use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use tokio::sync::watch;
use tower::Service;

/// Most names that are looked up at the same time.
const AT_ONCE: usize = 32;
/// For how long an answer serves, also that there is no address. The system does not say how long it may: short enough to
/// see at once where a service has moved, and that an address is another one's by now.
const KEPT: Duration = Duration::from_secs(1);

static SYSTEM: LazyLock<Arc<Resolver>> = LazyLock::new(|| Arc::new(Resolver::new(by_the_system, KEPT)));

type Answer = Result<Arc<[SocketAddr]>, NoAddress>;
type Asked = watch::Sender<Option<(Instant, Answer)>>;

/// Holds its thread until it has the addresses of a name.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Why a name has no address: in the words of the system's resolver.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAddress(Arc<str>);

/// What is known of names, and the threads that look them up.
pub struct Resolver {
    look_up: Box<LookUp>,
    kept: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` in it: the answer is awaited.
    names: HashMap<Box<str>, watch::Receiver<Option<(Instant, Answer)>>>,
    /// Those for which there is no thread yet, in the order in which they were asked for.
    queue: VecDeque<(Box<str>, Asked)>,
    threads: usize,
}

/// For the connectors of the HTTP client.
#[derive(Clone)]
pub struct SharedResolver;

/// The addresses of a name, in the order of preference (RFC 6724) and with that port.
///
/// # Errors
/// [`NoAddress`].
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, NoAddress> {
    let found = SYSTEM.resolve(host).await?;
    let with_port = |address: &SocketAddr| {
        let mut address = *address;
        address.set_port(port);
        address
    };
    Ok(found.iter().map(with_port).collect())
}

/// For an HTTP client, without TLS.
pub fn connector() -> HttpConnector<SharedResolver> {
    HttpConnector::new_with_resolver(SharedResolver)
}

/// For an HTTP client that speaks TLS where the URL says so.
pub fn below_tls() -> HttpConnector<SharedResolver> {
    let mut connector = connector();
    connector.enforce_http(false);
    connector
}

#[expect(clippy::disallowed_methods, reason = "the one caller of the system's resolver")]
fn by_the_system(name: &str) -> io::Result<Vec<SocketAddr>> {
    (name, 0).to_socket_addrs().map(Iterator::collect)
}

impl Resolver {
    fn new(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static, kept: Duration) -> Self {
        Self { look_up: Box::new(look_up), kept, state: Mutex::default() }
    }

    /// Without a port.
    async fn resolve(self: &Arc<Self>, name: &str) -> Answer {
        let mut answer = self.ask(name);
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((_, answer))) => answer.clone(),
            _ => Err(NoAddress("the operating system gives no thread to look it up".into())),
        }
    }

    fn ask(self: &Arc<Self>, name: &str) -> watch::Receiver<Option<(Instant, Answer)>> {
        let mut state = self.state();
        if let Some(asked) = state.names.get(name).filter(|asked| self.serves(asked)) {
            return asked.clone();
        }
        state.names.retain(|_, asked| self.serves(asked));
        let (asked, answer) = watch::channel(None);
        state.names.insert(name.into(), answer.clone());
        state.queue.push_back((name.into(), asked));
        if state.threads < AT_ONCE {
            let resolver = Arc::clone(self);
            match thread::Builder::new().name("names".to_owned()).spawn(move || resolver.work()) {
                Ok(_) => state.threads += 1,
                // Nobody would come to the queue: who waits there is told so.
                Err(_) if state.threads == 0 => state.queue.clear(),
                Err(_) => {}
            }
        }
        answer
    }

    /// Whether it is awaited, or was answered lately.
    fn serves(&self, asked: &watch::Receiver<Option<(Instant, Answer)>>) -> bool {
        match &*asked.borrow() {
            Some((at, _)) => at.elapsed() < self.kept,
            None => asked.has_changed().is_ok(),
        }
    }

    /// Until the queue is empty.
    fn work(&self) {
        while let Some((name, asked)) = self.next() {
            let found = (self.look_up)(&name).map(Arc::from);
            let answer = found.map_err(|error| NoAddress(error.to_string().into()));
            asked.send_replace(Some((Instant::now(), answer)));
        }
    }

    fn next(&self) -> Option<(Box<str>, Asked)> {
        let mut state = self.state();
        let next = state.queue.pop_front();
        if next.is_none() {
            state.threads -= 1;
        }
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Name> for SharedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAddress>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The connector sets the port.
        Box::pin(async move { Ok(resolve(name.as_str(), 0).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn addresses(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec!["192.0.2.1:0".parse().unwrap()])
    }

    /// A system's resolver that says which names it is asked for, and answers each only when it is told to.
    struct Hanging {
        resolver: Arc<Resolver>,
        asked: mpsc::Receiver<String>,
        answers: mpsc::Sender<()>,
    }

    impl Hanging {
        fn new() -> Self {
            let (told, asked) = mpsc::channel();
            let (answers, may_answer) = mpsc::channel();
            let may_answer = Mutex::new(may_answer);
            let look_up = move |name: &str| {
                told.send(name.to_owned()).unwrap();
                may_answer.lock().unwrap().recv().unwrap();
                addresses(name)
            };
            Self { resolver: Arc::new(Resolver::new(look_up, LONG)), asked, answers }
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_however_many_wait_and_who_waits_may_leave() {
        let Hanging { resolver, asked, answers } = Hanging::new();
        let left = tokio::time::timeout(Duration::from_millis(1), resolver.resolve("a.test")).await;
        assert!(left.is_err());
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let resolver = Arc::clone(&resolver);
                tokio::spawn(async move { resolver.resolve("a.test").await })
            })
            .collect();
        tokio::task::yield_now().await;
        answers.send(()).unwrap();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap().unwrap()[..], addresses("").unwrap());
        }
        assert!(resolver.resolve("a.test").await.is_ok());
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["a.test"]);
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_holds_a_bounded_number_of_threads() {
        let Hanging { resolver, asked, answers } = Hanging::new();
        let names: Vec<String> = (0..3 * AT_ONCE).map(|number| format!("{number}.test")).collect();
        // Each is asked for again and again, as by callers who come and leave.
        for name in names.iter().chain(&names) {
            drop(resolver.ask(name));
        }
        let begun: Vec<String> = asked.iter().take(AT_ONCE).collect();
        assert!(names[..AT_ONCE].iter().all(|name| begun.contains(name)), "those that came first: {begun:?}");
        assert_eq!((resolver.state().threads, asked.try_iter().count()), (AT_ONCE, 0));
        names.iter().for_each(|_| answers.send(()).unwrap());
        for name in &names {
            assert!(resolver.resolve(name).await.is_ok(), "{name}");
        }
        assert_eq!(asked.try_iter().count(), 2 * AT_ONCE);
    }

    #[tokio::test]
    async fn an_answer_serves_for_its_time_and_no_longer() {
        for (kept, times) in [(LONG, 1), (Duration::ZERO, 3)] {
            for fails in [false, true] {
                let count = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&count);
                let look_up = move |name: &str| {
                    counted.fetch_add(1, Relaxed);
                    if fails { Err(io::Error::other("no such name")) } else { addresses(name) }
                };
                let resolver = Arc::new(Resolver::new(look_up, kept));
                for _ in 0..3 {
                    let found = resolver.resolve("a.test").await.map_err(|error| error.to_string());
                    assert_eq!(found.err(), fails.then(|| "no such name".to_owned()));
                }
                assert_eq!(count.load(Relaxed), times, "{kept:?}");
                assert!(resolver.state().names.len() <= 1);
            }
        }
    }

    #[tokio::test]
    async fn the_system_knows_this_machine() {
        let found = resolve("localhost", 80).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        assert!(resolve("name.invalid", 80).await.is_err());
    }
}
