//! A Deployment that takes only so many requests at once: the others wait, tokens share its time, and a slot is given back
//! whatever becomes of its request. `proxy_queue_waiting` has what becomes of those who wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, sleep},
    time::Duration,
};

use http_body_util::Full;
use serde_json::json;

use crate::harness::{
    SOON, api,
    gateway::{Gateway, Setup, Token, deployment},
    http::{Client, ReadEnd, get, request},
    http2,
    pair::{HOST, Pair},
    upstream::{Upstream, response},
    wait_until,
};

const ONE: &str = "max_in_flight = 1";
/// Long enough that whoever could be served would have been.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// A service that does what the path says, and answers all else after `pause`. The number is the most of those that it had
/// at once.
pub fn service(pause: Duration) -> (Upstream, Arc<AtomicUsize>) {
    let (running, most) = (AtomicUsize::new(0), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.request() {
            match request.target.as_str() {
                "/hold" => drop(peer.await_close()),
                "/stream" => {
                    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                    peer.send_chunk("first");
                    peer.await_close();
                }
                "/cut" => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
                    peer.close();
                }
                "/nonsense" => {
                    peer.send("nonsense\r\n\r\n");
                    peer.close();
                }
                "/socket" => {
                    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
                    peer.await_close();
                }
                _ => {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    sleep(pause);
                    // Once the gateway has the answer, it sends the next request.
                    running.fetch_sub(1, SeqCst);
                    peer.send(response(200, &[], b"done"));
                }
            }
        }
    });
    (upstream, seen)
}

/// A request that has the only slot.
pub fn holding(pair: &Pair) -> Client {
    let before = pair.upstream.requests().len();
    let client = pair.get("/hold");
    pair.upstream.await_requests(before + 1);
    client
}

pub fn waiting(pair: &Pair) -> Client {
    let mut client = pair.get("/");
    client.read_timeout(A_WHILE);
    assert_eq!(client.try_head().map(|answer| answer.status), Err(ReadEnd::TimedOut), "it has to wait");
    client.read_timeout(SOON);
    client
}

#[test]
fn no_more_than_so_many_are_at_the_service_whatever_worker_they_come_by() {
    let (upstream, most) = service(Duration::from_millis(20));
    let config = deployment("a", upstream.address, "max_in_flight = 3");
    let gateway = Setup::new(&config).env("PROXY__WORKERS", "4").start();
    let token = gateway.token(&["deployment:a"]);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                for _ in 0..5 {
                    assert_eq!(client.ask(get(HOST, "/", &token.text)).status, 200);
                }
            });
        }
    });
    assert_eq!(most.load(SeqCst), 3);
}

#[test]
fn who_finds_the_queue_full_or_waits_too_long_is_told_to_come_again() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, "max_in_flight = 1\nmax_queue = 1\nqueue_timeout = \"2s\"");
    let _holding = holding(&pair);
    let mut waits = waiting(&pair);
    let full = pair.get("/full").response(false);
    assert_eq!((full.status, &*full.code(), full.header("retry-after")), (429, "queue_full", Some("1")));
    let late = waits.response(false);
    assert_eq!((late.status, &*late.code(), late.header("retry-after")), (429, "queue_timeout", Some("1")));
    let line = pair.gateway.access_line("/");
    assert!(line["queued_ms"].as_f64().unwrap() >= 1_900.0, "{line}");
    assert_eq!(pair.gateway.access_line("/full")["queued_ms"], json!(null));
    assert_eq!(pair.upstream.requests().len(), 1, "neither was sent");
}

#[test]
fn whoever_leaves_gives_up_their_place() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, "max_in_flight = 1\nmax_queue = 1");
    let holding = holding(&pair);
    let refused = |what: &str| assert_eq!(pair.get("/").response(false).status, 429, "{what}");
    let free = |what: &str| {
        wait_until(what, SOON, || {
            let mut client = pair.get("/free");
            client.read_timeout(Duration::from_millis(50));
            client.try_head().is_err_and(|end| end == ReadEnd::TimedOut)
        });
    };
    // A client without a body, one whose body has come, and a stream of HTTP/2.
    let gone = waiting(&pair);
    refused("the queue is full");
    gone.leave();
    free("a GET gives its place up");
    let mut gone = pair.gateway.connect();
    gone.send(request("POST", "/post", HOST, &pair.token.text, &["content-length: 3"], b"abc"));
    wait_until("it waits", SOON, || pair.get("/").try_response(false).is_ok_and(|answer| answer.status == 429));
    gone.leave();
    free("a POST gives its place up");
    http2::run(async {
        let mut connection = http2::clear_text(&pair.gateway).await;
        let asked = http2::plain("/http2", &pair.token.text).method("POST").body(Full::new("abc".into()));
        let answer = tokio::time::timeout(A_WHILE, http2::send(&mut connection, asked)).await;
        assert!(answer.is_err(), "it has to wait");
    });
    free("a reset stream gives its place up");
    drop(holding);
    let targets = || pair.upstream.requests().into_iter().map(|request| request.target).collect::<Vec<_>>();
    assert_eq!(pair.get("/last").response(false).status, 200);
    assert!(targets().iter().all(|target| !["/post", "/http2"].contains(&&**target)), "{:?}", targets());
}

/// Exactly once: one that is given back twice would let two in, one that is not would let nobody in any more.
#[test]
fn a_slot_is_given_back_whatever_becomes_of_its_request() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, ONE);
    let mut spare = pair.gateway.new_token(&["deployment:a"], &[]);
    pair.gateway.await_token(&spare);
    let websocket = format!(
        "{}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        pair.start("GET /socket HTTP/1.1")
    );
    let leaves = |path: &str| {
        let before = pair.upstream.requests().len();
        let client = pair.get(path);
        pair.upstream.await_requests(before + 1);
        client.leave();
    };
    for round in 0..3 {
        let endings: &mut [(&str, &mut dyn FnMut())] = &mut [
            ("answered", &mut || assert_eq!(pair.get("/").response(false).status, 200)),
            ("cut short", &mut || assert!(pair.get("/cut").try_response(false).is_err())),
            ("nonsense", &mut || assert_eq!(pair.get("/nonsense").response(false).status, 502)),
            ("left before the answer", &mut || leaves("/hold")),
            ("left within the answer", &mut || leaves("/stream")),
            ("revoked", &mut || {
                let mut client = pair.gateway.connect();
                client.send(get(HOST, "/stream", &spare.text));
                assert_eq!(client.head().status, 200);
                pair.gateway.revoke(&spare);
                client.rest();
                spare = pair.gateway.new_token(&["deployment:a"], &[]);
                pair.gateway.await_token(&spare);
            }),
            ("a tunnel", &mut || {
                let mut client = pair.gateway.connect();
                client.send(&websocket);
                assert_eq!(client.head().status, 101);
                client.leave();
            }),
            ("a body that breaks off", &mut || {
                let mut client = pair.post("content-length: 3");
                client.send("a");
                client.leave();
            }),
        ];
        for (how, end) in endings {
            end();
            let answer = pair.get("/").response(false);
            assert_eq!(answer.status, 200, "round {round}: {how}");
        }
    }
    let _holding = holding(&pair);
    let _waiting = waiting(&pair);
}

#[test]
fn a_token_that_ends_while_its_request_waits_gets_what_a_new_one_would() {
    let (upstream, _) = service(Duration::ZERO);
    let pair = Pair::new(upstream, ONE);
    let holding = holding(&pair);
    let revoked = pair.gateway.token(&["deployment:a"]);
    let mut waits = pair.gateway.connect();
    waits.send(get(HOST, "/revoked", &revoked.text));
    sleep(A_WHILE);
    pair.gateway.revoke(&revoked);
    assert_eq!(waits.response(false).code(), "token_revoked");
    drop(holding);
    assert_eq!(pair.get("/").response(false).status, 200);
}

#[test]
fn one_token_that_asks_for_much_leaves_the_others_their_share() {
    let pause = Duration::from_millis(20);
    let (upstream, _) = service(pause);
    let gateway = Gateway::start(&deployment("a", upstream.address, "max_in_flight = 2\nmax_queue = 1000"));
    let tokens: Vec<Token> = (0..5).map(|_| gateway.token(&["deployment:a"])).collect();
    let done: Vec<AtomicUsize> = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
    let ended = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for (number, token) in tokens.iter().enumerate() {
            let (gateway, done, ended) = (&gateway, &done[number], &ended);
            // The first one has ten times as many requests under way.
            for _ in 0..if number == 0 { 60 } else { 6 } {
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    while !ended.load(SeqCst) {
                        assert_eq!(client.ask(get(HOST, "/", &token.text)).status, 200);
                        done.fetch_add(1, SeqCst);
                    }
                });
            }
        }
        sleep(pause * 200);
        ended.store(true, SeqCst);
        // What was done when they were told to end.
        let done: Vec<usize> = done.iter().map(|done| done.load(SeqCst)).collect();
        let (most, least) = (done.iter().max().unwrap(), done.iter().min().unwrap());
        // Ten times as many would be its share without turns. A busy machine keeps callers from always waiting.
        assert!(least * 10 >= most * 6, "{done:?}");
    });
}

/// A change of the settings takes effect for those who wait, and what runs keeps its slot.
#[test]
fn the_limit_can_be_changed_while_requests_wait() {
    let (upstream, _) = service(Duration::ZERO);
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    let url = format!("http://{}", upstream.address);
    let new = json!({ "name": "a", "upstreams": [url], "hosts": [HOST], "settings": { "max_in_flight": 1 } });
    let (status, made) = api::post(&gateway, &admin, "/api/v2/deployments", new);
    assert_eq!((status, &made["settings"]["max_in_flight"]), (200, &json!(1)), "{made}");
    let token = gateway.token(&["deployment:a"]);
    let begin = |path: &str| {
        let mut client = gateway.connect();
        client.send(get(HOST, path, &token.text));
        client
    };
    let _running = begin("/hold");
    upstream.await_requests(1);
    let mut waits = begin("/");
    sleep(A_WHILE);
    let raised = json!({ "settings": { "max_in_flight": 2 } });
    let (status, changed) = api::ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&raised));
    assert_eq!((status, &changed["settings"]["max_in_flight"]), (200, &json!(2)), "{changed}");
    // The next request brings it along.
    assert_eq!(begin("/").response(false).status, 200);
    assert_eq!(waits.response(false).status, 200);
    let unlimited = json!({ "settings": { "max_in_flight": null } });
    assert_eq!(api::ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&unlimited)).0, 200);
    let _more: Vec<Client> = (0..5).map(|_| begin("/hold")).collect();
    wait_until("there is no limit any more", SOON, || {
        upstream.requests().iter().filter(|request| request.target == "/hold").count() == 6
    });
    for wrong in [json!(0), json!(-1), json!("x")] {
        let body = json!({ "settings": { "max_in_flight": wrong } });
        assert_eq!(api::ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&body)).0, 400, "{wrong}");
    }
}
