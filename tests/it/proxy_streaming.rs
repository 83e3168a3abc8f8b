//! Bytes as they come, in both directions: boundaries, back-pressure and cancellation.

use std::{
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, sleep},
    time::Duration,
};

use crate::harness::{
    SOON,
    gateway::{Setup, deployment},
    http::{Client, ReadEnd, get, request},
    pair::{HOST, Pair},
    upstream::{CHUNKED, Upstream, UpstreamConnection, response},
    wait_until,
};

const MIB: u64 = 1 << 20;

#[test]
fn the_first_byte_comes_before_the_last_is_made() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
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
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = Upstream::start(move |peer| {
        let gone = gone.lock().unwrap();
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n");
            for n in 0..5 {
                peer.send_chunk(format!("id: {n}\ndata: tick\n\n"));
                // Until it has arrived.
                gone.recv().unwrap();
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
    for n in 0..5 {
        assert_eq!(caller.chunk().unwrap().unwrap(), format!("id: {n}\ndata: tick\n\n").as_bytes());
        go.send(()).unwrap();
    }
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

#[test]
fn the_upstream_is_left_when_the_caller_leaves() {
    let pair = Pair::new(Upstream::watching(), "");
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

/// Its end does not wait for the caller to read what is on its way.
#[test]
fn a_revoked_token_ends_a_stream_that_nobody_reads() {
    let pair = Pair::new(Upstream::watching(), "");
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
