//! While a service is not there, requests wait in order, unread, and go on when it is. `cold_start_hook` has what starts it.

use std::{
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{
        SOON, api,
        gateway::{Gateway, Setup, Token, deployment, free_address},
        http::{Client, EXPECTS, ReadEnd, get, request},
        http2,
        metrics::{scrape, scrape_until},
        pair::HOST,
        upstream::{Upstream, black_hole, response},
        wait_until,
    },
    proxy_queue::A_WHILE,
};

const HELD: &str = "bento_gateway_held_requests";
/// Time lets nobody go before the tests are over.
const BY_ANSWERS: &str = "slow_start = \"1h\"\nhold_timeout = \"1h\"";

/// The Deployment `a`, whose service is not there yet, and a token that opens it.
pub struct Cold {
    pub gateway: Gateway,
    pub address: SocketAddr,
    pub token: Token,
}

impl Cold {
    pub fn new(settings: &str) -> Self {
        Self::with("", settings)
    }

    /// `proxy`: what else the configuration file holds, before the Deployment.
    pub fn with(proxy: &str, settings: &str) -> Self {
        let address = free_address();
        let config = format!("{proxy}\n{}", deployment("a", address, settings));
        // One line for all workers.
        let gateway = Setup::new(&config).env("PROXY__WORKERS", "4").start();
        let token = gateway.token(&["deployment:a"]);
        Self { gateway, address, token }
    }

    /// A service that answers each request on a connection of its own, so that nothing is left of it when it is dropped.
    pub fn start(&self) -> Upstream {
        Upstream::start_at(self.address, |peer| {
            if peer.request().is_some() {
                let _ = peer.try_send(response(200, &["connection: close"], b"started"));
            }
        })
    }

    pub fn get(&self, path: &str) -> Client {
        let mut client = self.gateway.connect();
        client.send(get(HOST, path, &self.token.text));
        client
    }

    pub fn await_held(&self, count: usize) {
        scrape_until(&self.gateway, &format!("{count} wait"), |scrape| scrape.sum(HELD, &[]) == count as f64);
    }

    /// Requests that wait, for `/0`, `/1` and so on.
    pub fn hold(&self, count: usize) -> Vec<Client> {
        let one = |number: usize| {
            let client = self.get(&format!("/{number}"));
            self.await_held(number + 1);
            client
        };
        (0..count).map(one).collect()
    }
}

/// Lets a service answer so many requests, in all.
#[derive(Default)]
struct Answers(Mutex<usize>, Condvar);

impl Answers {
    fn allow(&self, more: usize) {
        *self.0.lock().unwrap() += more;
        self.1.notify_all();
    }

    fn take(&self) {
        let allowed = self.1.wait_while(self.0.lock().unwrap(), |allowed| *allowed == 0);
        *allowed.unwrap() -= 1;
    }
}

#[test]
fn they_go_on_in_order_and_more_with_each_answer() {
    let cold = Cold::new(&format!("hold = 20\n{BY_ANSWERS}"));
    let mut clients = cold.hold(7);
    let answers = Arc::<Answers>::default();
    let allowed = Arc::clone(&answers);
    let service = Upstream::start_at(cold.address, move |peer| {
        while peer.request().is_some() {
            allowed.take();
            let _ = peer.try_send(response(200, &[], b"started"));
        }
    });
    let seen = || service.requests().into_iter().map(|request| request.target).collect::<Vec<_>>();
    // Those that come at the same time arrive in any order.
    let group = |from: usize, to: usize| {
        service.await_requests(to);
        let mut group = seen().split_off(from);
        group.sort();
        group
    };
    assert_eq!(group(0, 1), ["/0"]);
    cold.await_held(6);
    // Who comes now does not go before those that wait.
    clients.push(cold.get("/late"));
    cold.await_held(7);
    answers.allow(1);
    assert_eq!(group(1, 3), ["/1", "/2"]);
    cold.await_held(5);
    answers.allow(2);
    assert_eq!(group(3, 7), ["/3", "/4", "/5", "/6"]);
    cold.await_held(1);
    answers.allow(100);
    assert_eq!(group(7, 8), ["/late"]);
    for client in &mut clients {
        assert_eq!(client.response(false).text(), "started");
    }
    assert_eq!(cold.get("/after").response(false).status, 200);
    cold.gateway.await_said(&["the service takes no connection", "\"deployment\":\"a\""]);
    cold.gateway.await_said(&["the service takes connections; requests that have waited for it go on"]);
}

/// One that takes long does not keep the others waiting for longer than the slow start.
#[test]
fn time_lets_them_go_too() {
    let cold = Cold::new("hold = 20\nslow_start = \"500ms\"\nhold_timeout = \"1h\"");
    let _clients = cold.hold(6);
    let service = Upstream::start_at(cold.address, |peer| {
        peer.request();
        peer.await_close();
    });
    service.await_requests(6);
    cold.await_held(0);
}

#[test]
fn beyond_the_bound_and_after_the_longest_wait_callers_are_told_to_come_again() {
    let cold = Cold::new("hold = 2\nhold_timeout = \"2s\"");
    let waiting = cold.hold(2);
    let full = cold.get("/full").response(false);
    assert_eq!((full.status, &*full.code(), full.header("retry-after")), (503, "upstream_starting", Some("1")));
    for mut client in waiting {
        let late = client.response(false);
        assert_eq!((late.status, &*late.code(), late.header("retry-after")), (503, "upstream_starting", Some("1")));
    }
    let line = cold.gateway.access_line("/0");
    assert!(line["queued_ms"].as_f64().unwrap() >= 1_900.0 && line["reason"] == "upstream_starting", "{line}");
    assert_eq!(line["cause"], "the service is starting, and was not there in time (hold timeout); try again soon");
    let line = cold.gateway.access_line("/full");
    assert_eq!(line["cause"], "as many requests wait for it as may (hold)");
    assert_eq!(line["queued_ms"], json!(null));
    cold.await_held(0);
    // It is the same outage, and nobody waits: whoever comes finds out at once that it is over.
    let _service = cold.start();
    assert_eq!(cold.get("/").response(false).status, 200);
}

#[test]
fn whoever_leaves_gives_up_their_place() {
    let cold = Cold::new(&format!("hold = 1\n{BY_ANSWERS}"));
    cold.hold(1).pop().unwrap().leave();
    cold.await_held(0);
    // With a body of which nothing is read: whole, in part, and one that is still to be asked for.
    for (fields, body) in
        [("content-length: 3", "abc"), ("content-length: 3", "a"), ("content-length: 3\r\nexpect: 100-continue", "")]
    {
        let mut gone = cold.gateway.connect();
        gone.send(request("POST", "/gone", HOST, &cold.token.text, &[fields], body.as_bytes()));
        cold.await_held(1);
        gone.leave();
        cold.await_held(0);
    }
    http2::run(async {
        let mut connection = http2::clear_text(&cold.gateway).await;
        let asked =
            http2::plain("/http2", &cold.token.text).method("POST").body(http_body_util::Full::new("abc".into()));
        let answer = tokio::time::timeout(A_WHILE, http2::send(&mut connection, asked)).await;
        assert!(answer.is_err(), "it has to wait");
    });
    cold.await_held(0);
    let service = cold.start();
    assert_eq!(cold.get("/last").response(false).status, 200);
    assert_eq!(service.only_request().target, "/last");
}

#[test]
fn a_token_that_ends_meanwhile_gets_what_a_new_request_would() {
    let cold = Cold::new(&format!("hold = 5\n{BY_ANSWERS}"));
    let mut kept = cold.hold(1).pop().unwrap();
    let revoked = cold.gateway.token(&["deployment:a"]);
    let mut waits = cold.gateway.connect();
    waits.send(get(HOST, "/revoked", &revoked.text));
    cold.await_held(2);
    cold.gateway.revoke(&revoked);
    assert_eq!(waits.response(false).code(), "token_revoked");
    cold.await_held(1);
    let service = cold.start();
    assert_eq!(kept.response(false).status, 200);
    assert_eq!(service.only_request().target, "/0");
}

#[test]
fn a_drain_ends_the_wait_at_once() {
    let proxy = "[proxy]\ndrain_timeout = \"1h\"";
    let mut cold = Cold::with(proxy, &format!("hold = 5\n{BY_ANSWERS}"));
    let waiting = cold.hold(2);
    cold.gateway.signal("TERM");
    for mut client in waiting {
        let answer = client.response(false);
        assert_eq!((answer.status, &*answer.code()), (503, "draining"));
    }
    assert_eq!(cold.gateway.wait().code(), Some(0));
}

/// The body stays where it is until the service is there: with the caller, who is not asked for it.
#[test]
fn nothing_of_a_body_is_read_meanwhile_and_all_of_it_arrives() {
    let cold = Cold::new(&format!("hold = 5\n{BY_ANSWERS}"));
    // One that finds nobody, and one that finds others waiting.
    let mut polite = [1, 2].map(|count| {
        let mut client = cold.gateway.connect();
        client.send(request("POST", "/polite", HOST, &cold.token.text, &["content-length: 3", EXPECTS], b""));
        cold.await_held(count);
        client.read_timeout(A_WHILE);
        assert_eq!(
            client.try_head().map(|answer| answer.status),
            Err(ReadEnd::TimedOut),
            "it is not asked for its body"
        );
        client.read_timeout(SOON);
        client
    });
    // More than all buffers on the way hold.
    let large = vec![b'x'; 64 * 1024 * 1024];
    let mut hasty = cold.gateway.connect();
    let length = format!("content-length: {}", large.len());
    hasty.send(request("POST", "/hasty", HOST, &cold.token.text, &[&length], b""));
    cold.await_held(3);
    let sending = thread::spawn(move || {
        hasty.send(&large);
        hasty
    });
    sleep(A_WHILE);
    assert!(!sending.is_finished(), "nobody takes it");
    let service = cold.start();
    for client in &mut polite {
        assert_eq!(client.head().status, 100);
        assert_eq!(client.ask("abc").status, 200);
    }
    assert_eq!(sending.join().unwrap().response(false).status, 200);
    let lengths: Vec<_> = service.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(lengths, [3, 3, 64 * 1024 * 1024]);
}

#[test]
fn timers_begin_when_the_wait_is_over() {
    let cold = Cold::new(
        "hold = 5\nhold_timeout = \"1h\"\nconnect_timeout = \"1s\"\nfirst_byte_timeout = \"1s\"\nidle_timeout = \"1s\"",
    );
    let mut waits = cold.hold(1).pop().unwrap();
    sleep(Duration::from_secs(2));
    let _service = cold.start();
    assert_eq!(waits.response(false).status, 200);
    let line = cold.gateway.access_line("/0");
    assert!(line["queued_ms"].as_f64().unwrap() >= 1_900.0, "{line}");
}

/// Who waits is decided about when something changes, and not only when the service is there.
#[test]
fn what_was_changed_meanwhile_holds_for_those_that_wait() {
    let other = Upstream::named("other");
    for (change, of_anybody, expected) in [
        (json!({ "upstreams": [format!("http://{}", other.address)] }), false, "200 other"),
        (json!({ "settings": { "hold": 0 } }), false, "502 upstream_unreachable"),
        (json!({ "protected": true }), true, "401 credential_missing"),
        (json!("terminate"), false, "503 deployment_terminated"),
        (json!("delete"), false, "404 deployment_not_found"),
    ] {
        let gateway = Gateway::start("");
        let admin = gateway.token(&["api"]).text;
        let settings = json!({ "hold": 5, "hold_timeout_ms": 3_600_000, "wake_url": null });
        let upstreams = json!([format!("http://{}", free_address())]);
        let new = json!({ "name": "a", "upstreams": upstreams, "hosts": [HOST], "protected": !of_anybody, "settings": settings });
        let (status, made) = api::post(&gateway, &admin, "/api/v2/deployments", new);
        assert_eq!((status, &made["settings"]["hold"]), (200, &json!(5)), "{made}");
        let token = gateway.token(&["deployment:*"]).text;
        let mut waits = gateway.connect();
        waits.send(if of_anybody { format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n") } else { get(HOST, "/", &token) });
        scrape_until(&gateway, "it waits", |scrape| scrape.sum(HELD, &[]) == 1.0);
        let path = "/api/v2/deployments/a";
        let (status, answer) = match &change {
            Value::String(verb) if verb == "delete" => api::ask(&gateway, &admin, "DELETE", path, None),
            Value::String(verb) => api::post(&gateway, &admin, &format!("{path}/{verb}"), json!({})),
            change => api::ask(&gateway, &admin, "PATCH", path, Some(change)),
        };
        assert_eq!(status, 200, "{change}: {answer}");
        let answer = waits.response(false);
        let got = if answer.status == 200 { answer.text() } else { answer.code() };
        assert_eq!(format!("{} {got}", answer.status), expected, "{change}");
    }
}

#[test]
fn a_service_that_says_that_it_is_not_ready_is_waited_for() {
    let ready = Arc::<std::sync::atomic::AtomicBool>::default();
    let told = Arc::clone(&ready);
    let service = Upstream::answering(move |request| {
        let status =
            if request.target != "/readyz" || told.load(std::sync::atomic::Ordering::Relaxed) { 200 } else { 503 };
        response(status, &[], b"started")
    });
    let settings = format!("hold = 5\nprobe_interval = \"100ms\"\n{BY_ANSWERS}");
    let gateway = Gateway::start(&deployment("a", service.address, &settings));
    let token = gateway.token(&["deployment:a"]).text;
    scrape_until(&gateway, "it is not ready", |scrape| scrape.sum("bento_gateway_upstream_ready", &[]) == 0.0);
    let mut waits = gateway.connect();
    waits.send(get(HOST, "/", &token));
    scrape_until(&gateway, "it waits", |scrape| scrape.sum(HELD, &[]) == 1.0);
    sleep(A_WHILE);
    assert!(service.requests().iter().all(|request| request.target == "/readyz"));
    ready.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(waits.response(false).text(), "started");
}

#[test]
fn an_address_that_does_not_answer_is_nobody_and_without_hold_callers_get_the_error() {
    let (address, _held) = black_hole();
    let settings = |hold: &str| deployment("a", address, &format!("connect_timeout = \"300ms\"\n{hold}"));
    for (hold, expected) in [("hold = 1\nhold_timeout = \"1s\"", "upstream_starting"), ("", "connect_timeout")] {
        let gateway = Gateway::start(&settings(hold));
        let token = gateway.token(&["deployment:a"]).text;
        assert_eq!(gateway.ask(&get(HOST, "/", &token)).code(), expected);
    }
    let cold = Cold::new("");
    let answer = cold.get("/").response(false);
    assert_eq!((answer.status, &*answer.code()), (502, "upstream_unreachable"));
    assert!(!scrape(&cold.gateway).0.contains_key(HELD));
}

/// A slot is for the service's work.
#[test]
fn who_waits_for_a_service_has_none_of_its_slots() {
    let cold = Cold::new(&format!("hold = 5\nmax_in_flight = 1\n{BY_ANSWERS}"));
    let clients = cold.hold(3);
    let scraped = scrape(&cold.gateway);
    let sums = ["bento_gateway_slots_taken", "bento_gateway_queue_depth", HELD].map(|name| scraped.sum(name, &[]));
    assert_eq!(sums, [0.0, 0.0, 3.0]);
    let service = cold.start();
    for mut client in clients {
        assert_eq!(client.response(false).status, 200);
    }
    assert_eq!((service.requests().len(), &*service.requests()[0].target), (3, "/0"));
}

/// What waiting costs, and how soon the first answer comes. `cargo test --test it -- cold_start::figures --nocapture` prints it.
#[test]
fn figures() {
    const COUNT: usize = 500;
    let cold = Cold::new(&format!("hold = {COUNT}\n{BY_ANSWERS}"));
    let mut clients: Vec<Client> = (0..COUNT).map(|_| cold.gateway.connect()).collect();
    let connected = || scrape(&cold.gateway).sum("bento_gateway_open_connections", &["listener=\"proxy\""]);
    wait_until("all are connected", SOON, || connected() == COUNT as f64);
    let before = cold.gateway.memory("RssAnon");
    for client in &mut clients {
        client.send(get(HOST, "/", &cold.token.text));
    }
    cold.await_held(COUNT);
    let bytes = cold.gateway.memory("RssAnon").saturating_sub(before);
    let started = Instant::now();
    let service = cold.start();
    service.await_requests(1);
    let first = clients[0].response(false);
    println!("a waiting request: {} bytes", bytes / COUNT as u64);
    println!("from readiness to the first answer: {:?}", started.elapsed());
    assert_eq!(first.status, 200);
}
