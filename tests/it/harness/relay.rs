//! A network between a gateway and its store that a test cuts, freezes, slows down and leads elsewhere.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::sleep,
    time::Duration,
};

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Open,
    /// Connections end, and new ones are ended at once.
    Cut,
    /// Connections stand, and nothing arrives. What is sent meanwhile arrives when the network is open again.
    Frozen,
    /// All that is sent arrives so much later, in either direction.
    Slow(Duration),
    /// Open until a gateway or a command commits a change to PostgreSQL; [`Network::Cut`] from then on.
    CutAt(Commit),
}

/// How much of a commit still passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is made, and the server's answer to it does not arrive.
    Unanswered,
    Answered,
}

/// What a client ends a transaction with: PostgreSQL's message `Query`.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// In the statement that every change begins with, which a connection prepares once.
const CHANGE: &[u8] = b"UPDATE change_seq";

/// Ends when dropped.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

struct State {
    network: Network,
    target: SocketAddr,
    connections: Vec<Weak<TcpStream>>,
}

impl Relay {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State { network: Network::Open, target, connections: Vec::new() });
        let shared = Arc::new(Shared { state, changed: Condvar::new(), ended: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub fn set(&self, network: Network) {
        self.shared.set(network);
    }

    pub fn is_cut(&self) -> bool {
        self.shared.state.lock().unwrap().network == Network::Cut
    }

    /// Another server has the address from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        let mut state = self.shared.state.lock().unwrap();
        state.target = target;
        state.end_connections();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        self.set(Network::Cut);
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn end_connections(&mut self) {
        for connection in self.connections.drain(..).filter_map(|connection| connection.upgrade()) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(self: Arc<Self>, near: TcpStream) {
        let near = Arc::new(near);
        let target = {
            let mut state = self.state.lock().unwrap();
            if state.network == Network::Cut {
                return;
            }
            state.connections.push(Arc::downgrade(&near));
            state.target
        };
        let Ok(far) = TcpStream::connect(target).map(Arc::new) else { return };
        self.state.lock().unwrap().connections.push(Arc::downgrade(&far));
        for stream in [&near, &far] {
            stream.set_nodelay(true).unwrap();
        }
        let (back, from, to) = (Arc::clone(&self), Arc::clone(&far), Arc::clone(&near));
        let last_commit = Arc::<AtomicBool>::default();
        let committing = Arc::clone(&last_commit);
        let answering = std::thread::spawn(move || {
            back.copy(&from, &to, |_| back.cut_at().filter(|_| committing.load(Relaxed)));
        });
        let mut changes = false;
        self.copy(&near, &far, |sent| {
            let sends = |text: &[u8]| sent.windows(text.len()).any(|bytes| bytes == text);
            changes |= sends(CHANGE);
            if changes && self.cut_at().is_some() && sends(COMMIT) {
                last_commit.store(true, Relaxed);
            }
            None
        });
        let _ = answering.join();
    }

    /// `cut_at` says of each piece whether it is the answer to the last commit.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, mut cut_at: impl FnMut(&[u8]) -> Option<Commit>) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            let piece = &buffer[..size];
            let cut_at = cut_at(piece);
            if cut_at == Some(Commit::Unanswered) {
                self.set(Network::Cut);
            }
            if !self.lets_pass() {
                break;
            }
            if cut_at == Some(Commit::Answered) {
                // Whoever acts by this finds the network cut.
                self.state.lock().unwrap().network = Network::Cut;
            }
            if to.write_all(piece).is_err() {
                break;
            }
            if cut_at == Some(Commit::Answered) {
                // The test may have opened the network again.
                self.state.lock().unwrap().end_connections();
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn set(&self, network: Network) {
        let mut state = self.state.lock().unwrap();
        state.network = network;
        if network == Network::Cut {
            state.end_connections();
        }
        self.changed.notify_all();
    }

    fn cut_at(&self) -> Option<Commit> {
        match self.state.lock().unwrap().network {
            Network::CutAt(commit) => Some(commit),
            _ => None,
        }
    }

    /// `false`: never.
    fn lets_pass(&self) -> bool {
        let frozen = |state: &mut State| state.network == Network::Frozen;
        let network = self.changed.wait_while(self.state.lock().unwrap(), frozen).unwrap().network;
        if let Network::Slow(delay) = network {
            sleep(delay);
        }
        network != Network::Cut
    }
}
