//! Bytes as they come, in both directions: boundaries, back-pressure, cancellation and the clocks.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    Gate, SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Client, ReadEnd, get, request},
    pair::{HOST, Pair},
    upstream::{CHUNKED, Upstream, UpstreamConnection, response},
    wait_until,
};

const MIB: u64 = 1 << 20;

#[test]
fn the_first_byte_comes_before_the_last_is_made() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::start(move |peer| {
        let gone = gone.lock().unwrap();
        while let Some(request) = peer.request() {
            match request.target.as_str() {
                "/length" => peer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"),
                "/close" => peer.send("HTTP/1.1 200 OK\r\n\r\n"),
                _ => peer.send(CHUNKED),
            }
            for piece in ["abc", "def"] {
                gone.recv().unwrap();
                if request.target == "/chunked" { peer.send_chunk(piece) } else { peer.send(piece) }
            }
            gone.recv().unwrap();
            match request.target.as_str() {
                "/chunked" => peer.send("0\r\n\r\n"),
                "/close" => peer.close(),
                _ => {}
            }
        }
    });
    let pair = Pair::new(upstream, "");
    for path in ["/chunked", "/length", "/close"] {
        let mut caller = pair.get(path);
        // The head comes before any of the body.
        assert_eq!(caller.head().status, 200, "{path}");
        for piece in ["abc", "def"] {
            go.send(()).unwrap();
            let data = if path == "/length" { caller.exactly(3).unwrap() } else { caller.chunk().unwrap().unwrap() };
            assert_eq!(data, piece.as_bytes(), "{path}");
        }
        go.send(()).unwrap();
        if path != "/length" {
            assert_eq!(caller.chunk(), Ok(None), "{path}");
        }
    }
}

/// The SDK decodes each chunk by itself: boundaries are part of the message, however the bytes are cut on their way.
#[test]
fn chunk_boundaries_survive() {
    const SIZES: [usize; 6] = [1, 100, 8 * 1024, 8 * 1024 + 1, 20_000, 64 * 1024];
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            let size: usize = request.target[1..].parse().unwrap();
            peer.send(CHUNKED);
            for round in 0..50_u8 {
                let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![round; size], b"\r\n"].concat();
                if round % 5 == 0 {
                    // Cut where it hurts: within the size, the data and the line end.
                    for piece in [&chunk[..1], &chunk[1..chunk.len() / 2], &chunk[chunk.len() / 2..chunk.len() - 1]] {
                        peer.send(piece);
                        sleep(Duration::from_millis(2));
                    }
                    peer.send(&chunk[chunk.len() - 1..]);
                } else {
                    peer.send(chunk);
                }
            }
            peer.send("0\r\n\r\n");
        }
    });
    let pair = Pair::new(upstream, "");
    thread::scope(|scope| {
        for size in SIZES {
            let pair = &pair;
            scope.spawn(move || {
                let mut caller = pair.get(&format!("/{size}"));
                assert_eq!(caller.head().status, 200);
                for round in 0..50_u8 {
                    let chunk = caller.chunk().unwrap().unwrap();
                    assert_eq!(chunk.len(), size, "chunk {round} of {size} bytes");
                    assert!(chunk.iter().all(|&byte| byte == round));
                }
                assert_eq!(caller.chunk().unwrap(), None);
            });
        }
    });
}

/// Many small chunks that arrive in one read leave as many.
#[test]
fn chunks_that_come_together_are_not_merged() {
    let upstream = Upstream::start(|peer| {
        while peer.request().is_some() {
            let records: String =
                (0..200).map(|n| format!("{{\"n\":{n}}}")).map(|r| format!("{:x}\r\n{r}\r\n", r.len())).collect();
            peer.send(format!("{CHUNKED}{records}0\r\n\r\n"));
        }
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.get("/");
    caller.head();
    for n in 0..200 {
        assert_eq!(caller.chunk().unwrap().unwrap(), format!("{{\"n\":{n}}}").as_bytes());
    }
    assert_eq!(caller.chunk().unwrap(), None);
}

#[test]
fn server_sent_events_arrive_one_by_one_and_unchanged() {
    let upstream = Upstream::start(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n");
            for n in 0..5 {
                peer.send_chunk(format!("id: {n}\ndata: tick\n\n"));
                sleep(Duration::from_millis(40));
            }
            peer.send("0\r\n\r\n");
        }
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.gateway.connect();
    let fields = ["accept: text/event-stream", "accept-encoding: gzip, br", "last-event-id: 7"];
    caller.send(request("GET", "/", HOST, &pair.token.text, &fields, b""));
    let head = caller.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!((head.header("content-encoding"), head.header("cache-control")), (None, Some("no-cache")));
    let mut times = Vec::new();
    for n in 0..5 {
        assert_eq!(caller.chunk().unwrap().unwrap(), format!("id: {n}\ndata: tick\n\n").as_bytes());
        times.push(Instant::now());
    }
    assert!(times[4] - times[0] >= Duration::from_millis(120), "they came together");
    assert_eq!(pair.upstream.only_request().header("last-event-id"), Some("7"));
}

/// Reads everything and keeps nothing.
fn counting(peer: &mut UpstreamConnection) -> u64 {
    let mut total = peer.buffer.len() as u64;
    peer.buffer.clear();
    let mut piece = vec![0; 256 * 1024];
    while !piece.is_empty() {
        match peer.stream.read(&mut piece) {
            Ok(size) if size > 0 => total += size as u64,
            _ => return total,
        }
        if total >= 64 * MIB {
            break;
        }
    }
    total
}

#[test]
fn an_upload_of_64_mib_in_constant_memory() {
    let total = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::start({
        let total = Arc::clone(&total);
        move |peer| {
            if let Some(request) = peer.head() {
                peer.note(&request);
                total.store(counting(peer), Relaxed);
                peer.send(response(200, &["connection: close"], b"done"));
                peer.await_close();
            }
        }
    });
    let pair = Pair::new(upstream, "");
    let before = pair.gateway.memory("VmHWM");
    let piece = vec![b'x'; 64 * 1024];
    for chunked in [false, true] {
        let mut caller = pair.post(if chunked { "transfer-encoding: chunked" } else { "content-length: 67108864" });
        for _ in 0..1024 {
            if chunked {
                caller.send([b"10000\r\n".as_slice(), &piece, b"\r\n"].concat());
            } else {
                caller.send(&piece);
            }
        }
        if chunked {
            caller.send("0\r\n\r\n");
        }
        assert_eq!(caller.response(false).text(), "done");
        assert!(total.swap(0, Relaxed) >= 64 * MIB);
    }
    let growth = pair.gateway.memory("VmHWM").saturating_sub(before);
    assert!(growth < 16 * MIB, "grew by {growth} bytes");
}

/// A caller that does not read holds the upstream back: nothing piles up here.
#[test]
fn a_slow_reader_holds_the_upstream_back() {
    let sent = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::start({
        let sent = Arc::clone(&sent);
        move |peer| {
            if peer.request().is_none() {
                return;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 * MIB));
            for _ in 0..1024 {
                if peer.try_send(vec![b'x'; 64 * 1024]).is_err() {
                    return;
                }
                sent.fetch_add(64 * 1024, Relaxed);
            }
        }
    });
    let pair = Pair::new(upstream, "");
    let before = pair.gateway.memory("VmHWM");
    let mut caller = pair.get("/");
    assert_eq!(caller.head().status, 200);
    // Until nothing moves any more.
    let mut last = u64::MAX;
    while last != sent.load(Relaxed) {
        last = sent.load(Relaxed);
        sleep(Duration::from_millis(200));
    }
    assert!(last < 48 * MIB, "the upstream could send {last} bytes that nobody read");
    let mut got = 0;
    while got < 64 * MIB {
        got += caller.exactly(64 * 1024).unwrap().len() as u64;
    }
    let growth = pair.gateway.memory("VmHWM").saturating_sub(before);
    assert!(growth < 16 * MIB, "grew by {growth} bytes");
}

/// An upstream that says when the gateway closed its connection, and otherwise does as the path says.
fn watching() -> Upstream {
    Upstream::start(|peer| {
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
                    sleep(Duration::from_millis(5));
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

#[test]
fn the_upstream_is_left_when_the_caller_leaves() {
    let pair = Pair::new(watching(), "");
    let mut left = 0;
    let mut leave = |caller: Client, what: &str| {
        caller.leave();
        left += 1;
        // Every timer is longer.
        wait_until(what, SOON, || pair.upstream.closed() >= left);
    };

    let caller = pair.get("/silent");
    pair.upstream.await_requests(1);
    leave(caller, "before the first byte");

    let mut caller = pair.get("/stream");
    caller.head();
    caller.chunk().unwrap();
    leave(caller, "while the stream is silent");

    let mut caller = pair.get("/busy");
    caller.head();
    caller.chunk().unwrap();
    leave(caller, "while the stream runs");

    let mut caller = pair.post("content-length: 1000");
    caller.send("abc");
    pair.upstream.await_requests(4);
    leave(caller, "during the upload, by its length");

    let mut caller = pair.post("transfer-encoding: chunked");
    caller.send("3\r\nabc\r\n");
    pair.upstream.await_requests(5);
    leave(caller, "during the upload, in chunks");

    let mut caller = pair.get("/flood");
    caller.head();
    // All buffers are full: nothing moves.
    sleep(Duration::from_millis(300));
    leave(caller, "while it does not read");
}

/// A caller that has closed its writing side only, as a pipe would: it has said all it has to say, and may be answered
/// or left; either way nothing hangs.
#[test]
fn a_half_closed_caller_is_answered_or_left() {
    let upstream = Upstream::answering(|_| response(200, &[], b"ok"));
    let pair = Pair::new(upstream, "");
    let mut caller = pair.get("/");
    caller.stream.shutdown(std::net::Shutdown::Write).unwrap();
    match caller.try_response(false) {
        Ok(answer) => assert_eq!(answer.text(), "ok"),
        Err(stop) => assert!(matches!(stop, ReadEnd::Closed | ReadEnd::Reset), "{stop:?}"),
    }
}

/// Short clocks: each names itself.
#[test]
fn each_clock_has_its_own_answer() {
    let clocks = "first_byte_timeout = \"300ms\"\nidle_timeout = \"600ms\"";
    let pair = Pair::new(watching(), clocks);

    let answer = pair.get("/silent").response(false);
    assert_eq!((answer.status, answer.code().as_str()), (504, "first_byte_timeout"));
    pair.upstream.await_closed(1, SOON);

    // After the first byte it is a cut: there is no second answer.
    let mut caller = pair.get("/stream");
    let head = caller.head();
    assert_eq!(caller.chunk().unwrap().unwrap(), b"first");
    assert!(matches!(caller.body(&head), Err(ReadEnd::Closed | ReadEnd::Reset)));
    assert_eq!(pair.gateway.access_line("/stream")["end"], "timeout");
    pair.upstream.await_closed(2, SOON);

    // A body that does not come is the caller's fault.
    for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut caller = pair.post(framing);
        caller.send("3\r\nabc\r\n");
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"), "{framing}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    pair.upstream.await_closed(4, SOON);
}

/// An upstream that takes no bytes any more is silent, too.
#[test]
fn an_upstream_that_stops_reading_is_given_up() {
    let upstream = Upstream::start(|peer| {
        let request = peer.head().unwrap();
        peer.note(&request);
        sleep(Duration::from_secs(5));
    });
    let pair = Pair::new(upstream, "idle_timeout = \"500ms\"");
    let mut caller = pair.post("content-length: 67108864");
    let mut writer = caller.stream.try_clone().unwrap();
    thread::spawn(move || while writer.write_all(&[b'x'; 64 * 1024]).is_ok() {});
    let answer = caller.response(false);
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_idle_timeout"));
}

#[test]
fn a_connection_that_does_not_come_about_in_time() {
    // Nobody accepts, and the queue is full: a further SYN is not answered.
    let full = || -> (Socket, SocketAddr, Vec<Socket>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..8)
            .map(|_| {
                let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                waiting.set_nonblocking(true).unwrap();
                let _ = waiting.connect(&address.into());
                waiting
            })
            .collect();
        (socket, address, waiting)
    };
    let (_socket, address, _waiting) = full();
    let second = Upstream::named("second");
    let config = format!(
        "{}[deployments.two]\nupstreams = [\"http://{address}\", \"http://{}\"]\nhosts = [\"two.test\"]\nconnect_timeout = \"200ms\"",
        deployment("a", address, "connect_timeout = \"300ms\""),
        second.address
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:*"]).text;
    let answer = gateway.ask(&get(HOST, "/", &token));
    assert_eq!((answer.status, answer.code().as_str()), (504, "connect_timeout"));
    // With another upstream it is passed over.
    assert_eq!(gateway.ask(&get("two.test", "/", &token)).text(), "second");
}

/// Together they last longer than every clock, and each is far shorter.
const PIECES: usize = 40;
const PAUSE: Duration = Duration::from_millis(40);
const SHORT_LIMITS: &str = "[proxy.limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"";
const SHORT_CLOCKS: &str = "first_byte_timeout = \"1s\"\nidle_timeout = \"1s\"\nconnect_timeout = \"1s\"";

/// There is no limit on the whole: what moves may go on.
#[test]
fn a_stream_may_be_longer_than_every_clock() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.head() {
            peer.note(&request);
            peer.send(CHUNKED);
            for _ in 0..PIECES {
                sleep(PAUSE);
                peer.send_chunk("x");
            }
            peer.send("0\r\n\r\n");
        }
    });
    let pair = Pair::with(upstream, SHORT_LIMITS, SHORT_CLOCKS);
    let mut caller = pair.get("/");
    let head = caller.head();
    assert_eq!(caller.body(&head).unwrap(), b"x".repeat(PIECES));
}

/// An upload may be slow as long as it moves.
#[test]
fn an_upload_may_be_longer_than_every_clock() {
    let pair = Pair::with(Upstream::named("a"), SHORT_LIMITS, SHORT_CLOCKS);
    let mut caller = pair.post(&format!("content-length: {PIECES}"));
    for _ in 0..PIECES {
        sleep(PAUSE);
        caller.send("x");
    }
    assert_eq!(caller.response(false).text(), "a");
    assert_eq!(pair.upstream.only_request().body, b"x".repeat(PIECES));
}

/// An answer that begins before the request ends: from then on it is idleness that counts, not the wait for a first byte.
#[test]
fn an_answer_that_began_during_the_upload_may_pause() {
    let upstream = Upstream::start(|peer| {
        let mut request = peer.head().unwrap();
        peer.send(CHUNKED);
        peer.send_chunk("early");
        while request.body.len() < 6 {
            peer.fill();
            request.body.append(&mut peer.buffer);
        }
        peer.note(&request);
        sleep(Duration::from_millis(700));
        peer.send_chunk("late");
        peer.send("0\r\n\r\n");
    });
    let pair = Pair::new(upstream, "first_byte_timeout = \"300ms\"\nidle_timeout = \"5s\"");
    let mut caller = pair.post("content-length: 6");
    caller.send("abc");
    caller.head();
    assert_eq!(caller.chunk().unwrap().unwrap(), b"early");
    caller.send("def");
    assert_eq!(caller.chunk().map(Option::unwrap), Ok(b"late".to_vec()));
    assert_eq!(caller.chunk(), Ok(None));
}

/// A caller that reads nothing for longer than the idle limit holds nothing for ever.
#[test]
fn a_caller_that_never_reads_is_given_up() {
    let pair = Pair::new(watching(), "idle_timeout = \"500ms\"");
    let mut caller = pair.get("/flood");
    caller.head();
    pair.upstream.await_closed(1, SOON);
    drop(caller);
}

/// Its end does not wait for the caller to read what is on its way.
#[test]
fn a_revoked_token_ends_a_stream_that_nobody_reads() {
    let pair = Pair::new(watching(), "");
    let token = pair.gateway.token(&["deployment:a"]);
    let mut caller = pair.gateway.connect();
    caller.send(get(HOST, "/flood", &token.text));
    caller.head();
    // All buffers are full: nothing moves.
    sleep(Duration::from_millis(500));
    pair.gateway.revoke(&token);
    pair.upstream.await_closed(1, SOON);
    assert_eq!(pair.gateway.access_line("/flood")["end"], "token_ended");
}

/// Each time another timer would be the cause, it is longer than the test waits.
#[test]
fn slow_and_missing_headers_are_not_waited_for() {
    let limits = "[proxy.limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"10m\"";
    let pair = Pair::with(Upstream::named("a"), limits, "");
    let ends = |mut caller: Client, what: &str| {
        let (bytes, end) = caller.rest();
        assert_ne!(end, ReadEnd::TimedOut, "{what}");
        assert!(!bytes.starts_with(b"HTTP/1.1 401"), "{what}: it was waited for");
    };
    thread::scope(|scope| {
        scope.spawn(|| ends(pair.gateway.connect(), "nothing"));
        for first in ["P", "PRI", "GET", "GET / HTTP/1.1\r\nhost: a.test\r\n"] {
            let (pair, ends) = (&pair, &ends);
            scope.spawn(move || {
                let mut caller = pair.gateway.connect();
                caller.send(first);
                ends(caller, first);
            });
        }
        scope.spawn(|| {
            // A byte now and then does not prolong it: the header would be complete after some seconds.
            let caller = pair.gateway.connect();
            let mut writer = caller.stream.try_clone().unwrap();
            thread::spawn(move || {
                for byte in get(HOST, "/", "x").bytes() {
                    sleep(Duration::from_millis(100));
                    if writer.write_all(&[byte]).is_err() {
                        return;
                    }
                }
            });
            ends(caller, "a byte now and then");
        });
        scope.spawn(|| {
            let mut caller = pair.gateway.connect();
            assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
            caller.send("GET");
            ends(caller, "the start of a second request");
        });
    });
}

#[test]
fn a_connection_without_requests_is_closed() {
    let limits = "[proxy.limits]\nheader_timeout = \"10m\"\nkeep_alive_timeout = \"1s\"";
    let pair = Pair::with(Upstream::named("a"), limits, "");
    let mut caller = pair.gateway.connect();
    assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
    assert_eq!(caller.rest(), (vec![], ReadEnd::Closed));
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let pair = Pair::new(Upstream::named("a"), "");
    // From one caller, and from several one after the other.
    let mut caller = pair.gateway.connect();
    for _ in 0..5 {
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        assert_eq!(pair.gateway.ask(&get(HOST, "/", &pair.token.text)).status, 200);
    }
    assert_eq!(pair.upstream.connections(), 1);
}

#[test]
fn idle_connections_are_let_go_before_the_upstream_does_it() {
    let upstream = Upstream::start(|peer| {
        while peer.request().is_some() {
            peer.send(response(200, &[], b"a"));
        }
    });
    let pair = Pair::with(upstream, "[proxy]\nupstream_keep_alive = \"300ms\"", "");
    assert_eq!(pair.gateway.ask(&get(HOST, "/", &pair.token.text)).status, 200);
    pair.upstream.await_closed(1, SOON);
}

/// uvicorn closes idle connections when it likes. No request may fail for it, whatever its method.
#[test]
fn an_idle_connection_that_the_upstream_closed_fails_no_request() {
    let upstream = Upstream::start(|peer| {
        peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while peer.request().is_some() {
            peer.send(response(200, &[], b"a"));
        }
        peer.close();
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.gateway.connect();
    let mut closed = 0;
    for round in 1..=2 {
        for method in ["GET", "POST"] {
            let body = request(method, "/", HOST, &pair.token.text, &["content-length: 3"], b"abc");
            let answer = caller.ask(body);
            assert_eq!(answer.status, 200, "{method} {round}: {}", answer.text());
            closed += 1;
            pair.upstream.await_closed(closed, SOON);
        }
    }
    assert_eq!(pair.upstream.connections(), 4);
}

#[test]
fn a_dead_upstream_is_a_502_until_it_is_up() {
    let address = free_address();
    let gateway = Gateway::start(&deployment("a", address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    for _ in 0..2 {
        let answer = caller.ask(get(HOST, "/", &token));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    }
    let upstream = Upstream::start_at(address, |peer| {
        while peer.request().is_some() {
            peer.send(response(200, &[], b"up"));
        }
    });
    assert_eq!(caller.ask(get(HOST, "/", &token)).text(), "up");
    drop(upstream);
}

#[test]
fn a_second_upstream_is_used_if_the_first_refuses() {
    let (dead, alive) = (free_address(), Upstream::named("alive"));
    let urls = format!("upstreams = [\"http://{dead}\", \"http://{}\"]\nhosts = [\"{HOST}\"]", alive.address);
    let gateway = Gateway::start(&format!("[deployments.a]\n{urls}\n"));
    let token = gateway.token(&["deployment:a"]).text;
    for method in ["GET", "POST", "POST"] {
        let body = request(method, "/", HOST, &token, &["content-length: 3"], b"abc");
        assert_eq!(gateway.connect().ask(body).text(), "alive");
    }
    assert!(alive.requests().iter().all(|request| request.body == b"abc"));
}

#[test]
fn the_less_loaded_upstream_is_chosen() {
    let gate = Gate::default();
    let slow = || {
        let gate = gate.clone();
        Upstream::start(move |peer| {
            while peer.request().is_some() {
                gate.pass();
                peer.send(response(200, &[], b"ok"));
            }
        })
    };
    let (one, two) = (slow(), slow());
    let urls = format!("upstreams = [\"http://{}\", \"http://{}\"]\nhosts = [\"{HOST}\"]", one.address, two.address);
    let gateway = Gateway::start(&format!("[deployments.a]\n{urls}\n"));
    let token = gateway.token(&["deployment:a"]).text;
    thread::scope(|scope| {
        for asked in 1..=4 {
            scope.spawn(|| assert_eq!(gateway.ask(&get(HOST, "/", &token)).status, 200));
            wait_until("it is at an upstream", SOON, || one.requests().len() + two.requests().len() == asked);
        }
        gate.open();
    });
    assert_eq!((one.requests().len(), two.requests().len()), (2, 2));
}

/// One Deployment's trouble stays its own.
#[test]
fn a_hanging_deployment_does_not_slow_another() {
    let (hanging, alive) = (watching(), Upstream::named("b"));
    let config = format!("{}{}", deployment("a", hanging.address, ""), deployment("b", alive.address, ""));
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:*"]).text;
    let hung: Vec<Client> = (0..50)
        .map(|_| {
            let mut caller = gateway.connect();
            caller.send(get("a.test", "/silent", &token));
            caller
        })
        .collect();
    hanging.await_requests(50);
    // While all of them hang.
    for _ in 0..20 {
        assert_eq!(gateway.ask(&get("b.test", "/", &token)).text(), "b");
    }
    assert_eq!(hanging.closed(), 0);
    drop(hung);
    hanging.await_closed(50, SOON);
}

/// Many callers at once, each with its own data, on several workers.
#[test]
fn nobody_gets_anothers_answer() {
    let upstream = Upstream::answering(|request| response(200, &[], request.target.as_bytes()));
    let setup = Setup::new(&deployment("a", upstream.address, "")).env("PROXY__WORKERS", "4");
    let gateway = setup.start();
    let token = gateway.token(&["deployment:a"]).text;
    let wrong = AtomicUsize::new(0);
    thread::scope(|scope| {
        for caller in 0..16 {
            let (gateway, token, wrong) = (&gateway, &token, &wrong);
            scope.spawn(move || {
                let mut connection = gateway.connect();
                for n in 0..50 {
                    let path = format!("/{caller}/{n}");
                    let answer = connection.ask(get(HOST, &path, token));
                    wrong.fetch_add(usize::from(answer.text() != path), Relaxed);
                }
            });
        }
    });
    assert_eq!(wrong.load(Relaxed), 0);
    assert_eq!(upstream.requests().len(), 800);
}

/// The limit on connections makes further ones wait; it refuses none.
#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let upstream = Upstream::named("a");
    let config =
        format!("[proxy.limits]\nmax_connections = 3\n{}", deployment("a", upstream.address, "protected = false"));
    let gateway = Gateway::start(&config);
    let plain = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let mut held: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for caller in &mut held {
        assert_eq!(caller.ask(plain).status, 200);
    }
    let mut waiting = gateway.connect();
    waiting.send(plain);
    waiting.read_timeout(Duration::from_millis(300));
    assert_eq!(waiting.try_head().unwrap_err(), ReadEnd::TimedOut);
    held.pop();
    waiting.read_timeout(SOON);
    assert_eq!(waiting.response(false).status, 200);
}

/// The port of a gateway that was killed is free at once, and nothing of it is left.
#[test]
fn a_port_is_free_again() {
    let gateway = Gateway::start("");
    let address = gateway.proxy;
    assert!(TcpListener::bind(address).is_err());
    drop(gateway);
    drop(TcpListener::bind(address).unwrap());
}
