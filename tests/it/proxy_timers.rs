//! The clocks: each has its name and its answer, and none limits the whole of what moves.

use std::{
    io::Write,
    thread::{self, sleep},
    time::Duration,
};

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment},
    http::{Client, ReadEnd, get},
    pair::{HOST, Pair},
    upstream::{CHUNKED, Upstream, black_hole},
};

/// Short clocks: each names itself.
#[test]
fn each_clock_has_its_own_answer() {
    let clocks = "first_byte_timeout = \"300ms\"\nidle_timeout = \"600ms\"";
    let pair = Pair::new(Upstream::watching(), clocks);

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
    let (address, _held) = black_hole();
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
    let pair = Pair::new(Upstream::watching(), "idle_timeout = \"500ms\"");
    let mut caller = pair.get("/flood");
    caller.head();
    pair.upstream.await_closed(1, SOON);
    drop(caller);
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
