//! What the stages of a request cost: `cargo run --release -p path` prints nanoseconds, and fails nothing.
//!
//! `scripts/instructions` runs it below callgrind, which counts instructions: they hardly differ from run to run, so that a
//! few per cent more are seen (`docs/decisions/0031-instructions-are-counted.md`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop at any surprise, and prints")]

use std::{
    hint::black_box,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bento_gateway::{
    domain::{
        timestamp::Timestamp,
        token_text::{PREFIX, PresentedToken, RANDOM_BYTES, TokenText},
    },
    http::peer::Peer,
    proxy::{
        connection::{self, Accepted},
        credential::BadCredential,
        permit::{Denied, Gate},
        record::Record,
        rejection::{About, PreparedResponses, Rejection, ReplyContext},
        request::Received,
        state::{Connection, Entrance, Worker, WorkerParts},
        upstream::head_reader::HeadReader,
        upstream::request_writer::BodyFraming,
        upstream_request::UpstreamRequest,
    },
    system,
    telemetry::{
        json_line::JsonLines,
        line::{Line, RequestOutcome, Span},
    },
};
use bytes::BytesMut;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
};

#[path = "../../../fuzz/src/world.rs"]
#[allow(dead_code, reason = "what only the fuzz targets need")]
mod world;
use world::World;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls that callgrind counts together. `scripts/instructions` is told by the output.
const COUNTED: usize = 200;
const ID: &str = "0123456789abcdef0123456789abcdef";
/// A word that begins like a token, with a wrong checksum.
const GARBAGE: &str = "bgw_0123456789ab_0123456789abcdef0123456789abcdef0123456789a012345";
const BODY: &str = r#"{"text": "Cats sleep. Cats eat fish. Dogs bark at cats, and cats look down at dogs."}"#;
const ANSWER: &str = "HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: 24\r\n\
    content-type: application/json\r\nx-bentoml-request-id: 12345678901234567890\r\n\r\n{\"summary\": \"Cats live\"}";

/// Measures one kind of work.
type Measure = fn(name: &str, work: &mut dyn FnMut());

fn main() {
    let measure = if std::env::args().nth(1).is_some_and(|argument| argument == "count") { count } else { time };
    stages(measure);
    requests(measure);
}

/// Prints the nanoseconds of a call in the quickest of several rounds.
fn time(name: &str, work: &mut dyn FnMut()) {
    const CALLS: u32 = 2000;
    let mut round = || {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| work());
        begun.elapsed() / CALLS
    };
    let quickest = (0..30).map(|_| round()).min().unwrap();
    println!("{name:<20} {:>6} ns", quickest.as_nanos());
}

fn count(name: &str, work: &mut dyn FnMut()) {
    // What only a first call does is not counted.
    (0..20).for_each(|_| work());
    counted_by_callgrind(work);
    println!("{name} {COUNTED}");
}

/// `scripts/instructions` names it to callgrind.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut()) {
    (0..COUNTED).for_each(|_| work());
}

/// Each by itself.
fn stages(measure: Measure) {
    let world = World::new("http://127.0.0.1:9");
    let settings = world.gateway.settings.load();
    let index = &world.gateway.index;
    let gate = Gate::of(&world.gateway);
    let telemetry = &world.access.workers()[0];
    let peer = Peer::new(SocketAddr::from(([192, 0, 2, 1], 40_000)), false);
    let connection = Connection { peer, ..world.connection() };
    let record = || Record::new(Arc::clone(telemetry), system::now(), &connection.peer, None);

    let known = &world.tokens[0].text;
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| at as u8 % 200);
    let unknown = TokenText::from_random(PREFIX, &random).unwrap().expose().to_owned();
    let heads = [known.as_str(), &unknown, GARBAGE].map(head);
    let [known_head, unknown_head, garbage_head] = &heads;
    let received = |head| Received {
        id: ID,
        head,
        has_body: true,
        forwarded_to: None,
        connection: &connection,
        settings: &settings,
    };
    measure("read", &mut || drop(black_box(received(known_head).read(&mut record()).unwrap())));

    let read = |head| received(head).read(&mut record()).unwrap();
    let requests = [read(known_head), read(unknown_head), read(garbage_head)];
    let [known_request, unknown_request, garbage_request] = &requests;
    let presented = PresentedToken::parse(known.as_bytes()).unwrap();
    measure("look_up", &mut || drop(black_box(index.tokens.find(presented.lookup_id()).unwrap())));
    measure("admit", &mut || drop(black_box(now(known_request.route(index).admit(&gate)).unwrap())));
    measure("deny_unknown", &mut || assert!(now(unknown_request.route(index).admit(&gate)).is_err()));
    measure("deny_garbage", &mut || assert!(now(garbage_request.route(index).admit(&gate)).is_err()));

    let permit = now(known_request.route(index).admit(&gate)).unwrap();
    let outgoing = UpstreamRequest::new(known_request, &permit, BodyFraming::None).unwrap();
    measure("write_head", &mut || drop(black_box(outgoing.write(""))));
    measure("read_answer_head", &mut || {
        drop(black_box(HeadReader::default().take(&mut BytesMut::from(ANSWER), &Method::GET).unwrap().unwrap()));
    });
    let prepared = PreparedResponses::default();
    let context = ReplyContext { request_id: ID, realm: &settings.realm, about: About::default() };
    let rejection = Rejection::Denied(Denied::Credential(BadCredential::NotAToken));
    measure("answer_denial", &mut || drop(black_box(prepared.respond(rejection, &context))));

    let (line, text) = line();
    let (mut lines, mut out) = (JsonLines::default(), Vec::new());
    measure("log_line", &mut || {
        out.clear();
        lines.write(black_box(&line), text, &mut out);
    });
}

/// Whole ones, from a socket to a socket, with the few instructions of their caller and the service.
fn requests(measure: Measure) {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::new(&format!("http://{}", upstream.local_addr().unwrap()));
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    let mut caller = runtime.block_on(connect(&world, upstream));
    for (name, token) in [("forwarded_request", world.tokens[0].text.as_str()), ("refused_request", GARBAGE)] {
        let request = format!("{}{BODY}", head_text(token));
        let mut answer = vec![0; runtime.block_on(length_of_answer(&mut caller, &request))];
        measure(name, &mut || {
            runtime.block_on(async {
                caller.write_all(request.as_bytes()).await.unwrap();
                caller.read_exact(&mut answer).await.unwrap();
            });
        });
        assert!(answer.starts_with(if token == GARBAGE { b"HTTP/1.1 401" } else { b"HTTP/1.1 200" }));
    }
}

/// What is done without waiting for anything.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("nothing has to be verified first"),
    }
}

fn head_text(token: &str) -> String {
    let length = BODY.len();
    format!(
        "POST /summarize HTTP/1.1\r\nhost: open.test\r\nauthorization: Bearer {token}\r\nuser-agent: bench\r\naccept: */*\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn head(token: &str) -> http::request::Parts {
    let text = head_text(token);
    let mut request = http::Request::post("/summarize");
    for field in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (name, value) = field.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn line() -> (Line, &'static str) {
    let text = "0123456789abcdef0123456789abcdef192.0.2.1open.test/summarizeopen";
    let line = Line {
        at: Timestamp::from_millis(1_800_000_000_123),
        request_id: Span::new(0, 32),
        client: Span::new(32, 41),
        method: Some(Method::POST),
        host: Span::new(41, 50),
        path: Span::new(50, 60),
        deployment: Span::new(60, 64),
        status: Some(200),
        bytes_in: BODY.len() as u64,
        bytes_out: 24,
        first_byte: Some(Duration::from_micros(12_345)),
        total: Duration::from_micros(12_399),
        outcome: RequestOutcome::Complete,
        ..Line::default()
    };
    (line, text)
}

/// A connection to a worker that leads to `upstream`, all on this thread.
async fn connect(world: &World, upstream: std::net::TcpListener) -> TcpStream {
    upstream.set_nonblocking(true).unwrap();
    tokio::task::spawn_local(serve(TcpListener::from_std(upstream).unwrap()));
    let parts = WorkerParts {
        gateway: Arc::clone(&world.gateway),
        telemetry: Arc::clone(&world.access.workers()[0]),
        tls: Arc::new(ArcSwapOption::empty()),
        max_connections: 1,
        max_upstream_connections: 1,
    };
    let worker = Rc::new(Worker::new(parts, 0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (caller, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (stream, peer) = accepted.unwrap();
    let connection_slot = Arc::clone(&worker.connection_slots).acquire_owned().await.unwrap();
    let accepted = Accepted { stream, peer, entrance: Entrance::Common, tls: None, connection_slot };
    tokio::task::spawn_local(connection::serve(worker, accepted));
    caller.unwrap()
}

/// A service that gives every request the same answer.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let (mut request, mut length) = ([0; 4096], 0);
            loop {
                match stream.read(&mut request[length..]).await.unwrap() {
                    0 => return,
                    read => length += read,
                }
                if request[..length].ends_with(BODY.as_bytes()) {
                    length = 0;
                    stream.write_all(ANSWER.as_bytes()).await.unwrap();
                }
            }
        });
    }
}

async fn length_of_answer(caller: &mut TcpStream, request: &str) -> usize {
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut answer = BytesMut::new();
    loop {
        caller.read_buf(&mut answer).await.unwrap();
        let text = std::str::from_utf8(&answer).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return answer.len();
        }
    }
}
