//! A service behind the gateway that does what a test says, and remembers what it saw, byte for byte.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::{SOON, wait_until};

/// A listener whose connections are each handled by a thread.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    /// Connections so far; those that the gateway has closed.
    connections: Mutex<(usize, BTreeSet<usize>)>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Everything up to the blank line, as it came.
    pub head: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// Trailer lines.
    pub trailers: Vec<String>,
}

/// The gateway's end of one connection.
pub struct UpstreamConnection {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
    pub number: usize,
    seen: Arc<Seen>,
}

impl Upstream {
    /// `handle` is called for each connection.
    pub fn start(handle: impl Fn(&mut UpstreamConnection) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handle)
    }

    pub fn start_at(address: SocketAddr, handle: impl Fn(&mut UpstreamConnection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stopping) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let handle = Arc::new(handle);
        let accepting = std::thread::spawn({
            let (seen, stopping) = (Arc::clone(&seen), Arc::clone(&stopping));
            move || {
                for stream in listener.incoming() {
                    if stopping.load(Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
                    let number = {
                        let mut connections = seen.connections.lock().unwrap();
                        connections.0 += 1;
                        connections.0 - 1
                    };
                    let mut peer = UpstreamConnection { stream, buffer: Vec::new(), number, seen: Arc::clone(&seen) };
                    let handle = Arc::clone(&handle);
                    std::thread::spawn(move || handle(&mut peer));
                }
            }
        });
        Self { address, seen, stopping, accepting: Some(accepting) }
    }

    /// Answers each request on kept connections with what `answer` makes of it: whole bytes of an answer.
    pub fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |peer| {
            while let Some(request) = peer.request() {
                let bytes = answer(&request);
                if peer.stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers 200 with its own name.
    pub fn named(name: &'static str) -> Self {
        Self::answering(move |request| response(200, &[], if request.method == "HEAD" { b"" } else { name.as_bytes() }))
    }

    /// An upstream that says when the gateway closed its connection, and otherwise does as the path says.
    pub fn watching() -> Self {
        Self::start(|peer| {
            let Some(request) = peer.head() else { return };
            peer.note(&request);
            match request.target.as_str() {
                "/silent" | "/x" => {}
                "/stream" => {
                    peer.send(CHUNKED);
                    peer.send_chunk("first");
                }
                "/busy" => {
                    peer.send(CHUNKED);
                    while peer.try_send("5\r\nabcde\r\n").is_ok() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                "/flood" => {
                    peer.send(CHUNKED);
                    while peer.try_send(format!("10000\r\n{}\r\n", "x".repeat(65536))).is_ok() {}
                }
                other => panic!("{other}"),
            }
            peer.await_close();
        })
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The one request so far.
    pub fn only_request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.lock().unwrap().0
    }

    /// Which of the connections the gateway is known to have closed; see [`UpstreamConnection::await_close`].
    pub fn closed(&self) -> usize {
        self.seen.connections.lock().unwrap().1.len()
    }

    pub fn await_requests(&self, count: usize) {
        wait_until(&format!("{count} requests at the upstream"), SOON, || self.requests().len() >= count);
    }

    pub fn await_closed(&self, count: usize, limit: Duration) {
        wait_until(&format!("{count} connections closed by the gateway"), limit, || self.closed() >= count);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        // Wakes the thread, which closes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl UpstreamConnection {
    /// The next request with its body. `None`: the gateway closed the connection.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.head()?;
        (request.body, request.trailers) = self.body(&request)?;
        self.seen.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// The next request's head. It counts only if [`UpstreamConnection::note`] is called.
    pub fn head(&mut self) -> Option<Request> {
        let end = loop {
            match self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill() => {}
                None => return None,
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Request {
            connection: self.number,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
            head,
        })
    }

    /// Records a request whose body is not read by [`UpstreamConnection::request`].
    pub fn note(&self, request: &Request) {
        self.seen.requests.lock().unwrap().push(request.clone());
    }

    /// The body, and the trailer lines. `None`: it broke off.
    fn body(&mut self, request: &Request) -> Option<(Vec<u8>, Vec<String>)> {
        if let Some(length) = request.header("content-length") {
            return Some((self.exactly(length.parse().unwrap())?, Vec::new()));
        }
        if request.header("transfer-encoding").is_none() {
            return Some((Vec::new(), Vec::new()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            body.extend(chunk);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((body, trailers));
            }
            trailers.push(line);
        }
    }

    /// `Some(None)`: the last chunk.
    pub fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk's size: {line:?}"));
        if size == 0 {
            return Some(None);
        }
        let chunk = self.exactly(size)?;
        assert_eq!(self.exactly(2)?, b"\r\n");
        Some(Some(chunk))
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn exactly(&mut self, size: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < size {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..size).collect())
    }

    /// `false`: nothing more will come.
    pub fn fill(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(size) if size > 0 => {
                self.buffer.extend_from_slice(&piece[..size]);
                true
            }
            _ => {
                self.seen.connections.lock().unwrap().1.insert(self.number);
                false
            }
        }
    }

    /// Must succeed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    pub fn send_chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        self.send(chunk);
    }

    /// Reads until the gateway closes the connection, which is then counted; whatever comes is thrown away.
    pub fn await_close(&mut self) -> bool {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            self.buffer.clear();
            if !self.fill() {
                return true;
            }
        }
        false
    }

    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Request {
    /// `None`: it is not there. There must not be two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times: {}", all.len(), self.head);
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// An address at which connecting hangs, as long as the second value is held: nobody accepts, and the queue is full, so
/// that the system does not answer a further SYN.
pub fn black_hole() -> (SocketAddr, Vec<Socket>) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    held.extend((0..8).map(|_| {
        let waiting = socket();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&address);
        waiting
    }));
    (address.as_socket().unwrap(), held)
}

/// An answer with a length. `fields` are whole lines without their ends.
pub fn response(status: u16, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
