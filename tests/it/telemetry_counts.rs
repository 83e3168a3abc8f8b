//! What is counted of requests, exactly, over several workers; and that nothing a caller sends makes a series.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Message;

use crate::{
    harness::{
        SOON,
        gateway::{Gateway, Setup, Token, deployment, free_address},
        http::{Client, get, request},
        metrics::{Scrape, scrape_at_rest, scrape_until},
        upstream::{CHUNKED, Upstream, response},
        wait_until,
    },
    proxy_websocket,
};

const DURATION: &str = "http_server_request_duration_seconds_count";
const REJECTIONS: &str = "bento_gateway_rejections_total";

fn requests(scrape: &Scrape, labels: &[&str]) -> f64 {
    scrape.sum(DURATION, labels)
}

/// Requests on connections of their own, so that they spread over the workers.
fn ask_often(gateway: &Gateway, count: usize, request: &[u8]) -> u16 {
    let ask = || gateway.connect().ask(request).status;
    let first = ask();
    (1..count).for_each(|_| assert_eq!(ask(), first));
    first
}

#[test]
fn every_request_is_counted_once_with_its_end() {
    let upstream = Upstream::answering(|request| match request.target.as_str() {
        "/fails" => response(500, &[], b"oh"),
        "/odd" => response(299, &[], b""),
        _ => response(200, &[], b"0123456789"),
    });
    let config = format!(
        "{}{}{}",
        deployment("a", upstream.address, "max_body_bytes = \"1 KiB\"\n"),
        deployment("dead", free_address(), ""),
        deployment("public", upstream.address, "protected = false\n")
    );
    let gateway = Setup::new(&config).env("PROXY__WORKERS", "3").start();
    let token = gateway.token(&["deployment:a", "deployment:dead"]);
    let revoked = gateway.token(&["deployment:a"]);
    gateway.revoke(&revoked);
    let before = scrape_at_rest(&gateway);
    let at = |method: &str, path: &str, host: &str, token: &Token, body: &[u8]| {
        let length = format!("content-length: {}", body.len());
        request(method, path, host, &token.text, &["connection: close", &length], body)
    };
    let unknown = Token { text: bento_gateway::system::new_token_text().unwrap().expose().to_owned(), ..token.clone() };

    assert_eq!(ask_often(&gateway, 20, &at("POST", "/", "a.test", &token, b"12345")), 200);
    assert_eq!(ask_often(&gateway, 7, &at("GET", "/fails", "a.test", &token, b"")), 500);
    assert_eq!(ask_often(&gateway, 3, &at("BREW", "/odd", "a.test", &token, b"")), 299);
    assert_eq!(ask_often(&gateway, 5, &at("POST", "/", "a.test", &token, &[b'x'; 2000])), 413);
    assert_eq!(ask_often(&gateway, 4, &at("GET", "/", "dead.test", &token, b"")), 502);
    assert_eq!(ask_often(&gateway, 6, &at("GET", "/", "a.test", &revoked, b"")), 401);
    assert_eq!(ask_often(&gateway, 2, &at("GET", "/", "a.test", &unknown, b"")), 401);
    assert_eq!(ask_often(&gateway, 8, &at("GET", "/", "nowhere.test", &token, b"")), 403);
    assert_eq!(ask_often(&gateway, 9, &at("GET", "/", "public.test", &unknown, b"")), 200);
    let mut malformed = gateway.connect();
    malformed.send("no HTTP at all\r\n\r\n");
    let _ = malformed.rest();

    let all = requests(&before, &[]) + 65.0;
    // What is no request is counted when its connection ends.
    scrape_until(&gateway, "all were counted", |scrape| requests(scrape, &[]) >= all);
    let after = scrape_at_rest(&gateway);
    assert_eq!(requests(&after, &[]), all);
    for (labels, count) in [
        ([r#"deployment="a""#, r#"http_response_status_code="200""#, r#"error_type="""#], 23.0),
        ([r#"deployment="a""#, r#"http_request_method="POST""#, r#"http_response_status_code="200""#], 20.0),
        ([r#"deployment="a""#, r#"http_request_method="_OTHER""#, r#"http_response_status_code="200""#], 3.0),
        ([r#"deployment="a""#, r#"http_response_status_code="500""#, r#"error_type="500""#], 7.0),
        ([r#"deployment="a""#, r#"http_response_status_code="413""#, r#"error_type="""#], 5.0),
        ([r#"deployment="dead""#, r#"http_response_status_code="502""#, r#"error_type="upstream_unreachable""#], 4.0),
        ([r#"deployment="public""#, r#"http_response_status_code="200""#, r#"error_type="""#], 9.0),
    ] {
        assert_eq!(requests(&after, &labels), count, "{labels:?}");
    }
    let rejected = |reason: &str, deployment: &str| {
        let labels = [format!(r#"reason="{reason}""#), format!(r#"deployment="{deployment}""#)];
        let labels = [&*labels[0], &*labels[1]];
        after.sum(REJECTIONS, &labels) - before.sum(REJECTIONS, &labels)
    };
    assert_eq!(rejected("token_revoked", ""), 6.0);
    assert_eq!(rejected("token_invalid", ""), 2.0);
    assert_eq!(rejected("insufficient_scope", ""), 8.0);
    assert_eq!(rejected("malformed_request", ""), 1.0);
    assert_eq!(rejected("body_too_large", "a"), 5.0);
    assert_eq!(rejected("upstream_unreachable", "dead"), 4.0);

    let of_a = [r#"deployment="a""#];
    assert_eq!(after.sum("bento_gateway_time_to_first_byte_seconds_count", &of_a), 30.0);
    assert_eq!(after.sum("bento_gateway_overhead_seconds_count", &[]), 39.0);
    assert_eq!(after.sum("http_client_request_duration_seconds_count", &of_a), 30.0);
    assert_eq!(
        after.sum("bento_gateway_response_body_bytes_total", &of_a),
        20.0 * 10.0 + 7.0 * 2.0 + body_of_413(&gateway, &token)
    );
    let unreachable = [r#"deployment="dead""#];
    assert!(after.sum("bento_gateway_upstream_connect_failures_total", &unreachable) >= 4.0);
    assert_eq!(after.sum("bento_gateway_upstream_reachable", &unreachable), 0.0);
    assert_eq!(after.sum("bento_gateway_upstream_reachable", &of_a), 1.0);
}

/// The bytes of five of them.
fn body_of_413(gateway: &Gateway, token: &Token) -> f64 {
    let response = gateway.connect().ask(request(
        "POST",
        "/",
        "a.test",
        &token.text,
        &["connection: close", "content-length: 2000"],
        &[b'x'; 2000],
    ));
    5.0 * response.body.len() as f64
}

#[test]
fn who_leaves_is_counted_and_what_runs_is_seen_to_run() {
    let upstream = Upstream::watching();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let active = |scrape: &Scrape| {
        (scrape.sum("http_server_active_requests", &[]), scrape.sum("http_client_active_requests", &[]))
    };
    let mut caller = gateway.connect();
    caller.send(get("a.test", "/stream", &token.text));
    let head = caller.head();
    assert_eq!((head.status, caller.chunk().unwrap().unwrap()), (200, b"first".to_vec()));
    let running = scrape_until(&gateway, "it runs", |scrape| active(scrape) == (1.0, 1.0));
    let of_a = [r#"deployment="a""#];
    assert_eq!(requests(&running, &of_a), 0.0, "it has not ended");
    assert_eq!(running.sum("bento_gateway_time_to_first_byte_seconds_count", &of_a), 1.0, "its head has come");
    caller.leave();
    let left =
        scrape_until(&gateway, "it has ended", |scrape| active(scrape) == (0.0, 0.0) && requests(scrape, &of_a) == 1.0);
    assert_eq!(requests(&left, &[of_a[0], r#"error_type="caller_left""#, r#"http_response_status_code="200""#]), 1.0);

    // Before there was a response.
    let mut caller = gateway.connect();
    caller.send(get("a.test", "/silent", &token.text));
    wait_until("it is under way", SOON, || upstream.requests().len() == 2);
    caller.leave();
    let left = scrape_until(&gateway, "it has ended, too", |scrape| requests(scrape, &of_a) == 2.0);
    assert_eq!(requests(&left, &[of_a[0], r#"error_type="caller_left""#, r#"http_response_status_code="""#]), 1.0);
}

#[test]
fn a_websocket_runs_until_it_is_closed() {
    let upstream = proxy_websocket::echo();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut socket = proxy_websocket::authorized(&gateway, &token);
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    scrape_until(&gateway, "it runs", |scrape| scrape.sum("http_client_active_requests", &[]) == 1.0);
    drop(socket);
    let tunnels = [r#"deployment="a""#, r#"http_response_status_code="101""#, r#"error_type="""#];
    let ended = scrape_until(&gateway, "it has ended", |scrape| {
        scrape.sum("http_server_active_requests", &[]) == 0.0 && requests(scrape, &tunnels) == 1.0
    });
    assert!(ended.sum("bento_gateway_request_body_bytes_total", &[r#"deployment="a""#]) > 0.0);
}

#[test]
fn the_first_byte_and_the_gateways_part_of_it_are_told_apart() {
    const SLOW: Duration = Duration::from_millis(300);
    let upstream = Upstream::start(|peer| {
        let Some(request) = peer.head() else { return };
        peer.note(&request);
        std::thread::sleep(SLOW);
        peer.send(CHUNKED);
        std::thread::sleep(SLOW);
        peer.send("0\r\n\r\n");
        peer.await_close();
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
    let of_a = [r#"deployment="a""#];
    let scrape = scrape_until(&gateway, "it has ended", |scrape| requests(scrape, &of_a) == 1.0);
    let sum = |name: &str, labels: &[&str]| scrape.sum(&format!("{name}_seconds_sum"), labels);
    let (first, whole) = (sum("bento_gateway_time_to_first_byte", &of_a), sum("http_server_request_duration", &of_a));
    let (upstream, own) = (sum("http_client_request_duration", &of_a), sum("bento_gateway_overhead", &[]));
    // The parts make up the whole, whatever the machine was doing meanwhile.
    assert!((first - (upstream + own)).abs() < 1e-6, "{first} is not {upstream} + {own}");
    assert!(upstream >= SLOW.as_secs_f64() && own > 0.0, "{upstream} and {own}");
    assert!(whole >= first + SLOW.as_secs_f64() * 0.9, "{whole} and {first}");
}

#[test]
fn who_waits_for_a_slot_is_counted() {
    let upstream = Upstream::watching();
    let gateway = Gateway::start(&deployment("a", upstream.address, "max_in_flight = 1\n"));
    let token = gateway.token(&["deployment:a"]);
    let sum = |scrape: &Scrape, name: &str| scrape.sum(&format!("bento_gateway_{name}"), &[r#"deployment="a""#]);
    let load = |scrape: &Scrape| ["slots", "slots_taken", "queue_depth"].map(|name| sum(scrape, name));
    let begin = || {
        let mut caller = gateway.connect();
        caller.send(get("a.test", "/silent", &token.text));
        caller
    };
    let first = begin();
    wait_until("the first has the slot", SOON, || upstream.requests().len() == 1);
    let second = begin();
    let full = scrape_until(&gateway, "the second waits", |scrape| load(scrape) == [1.0, 1.0, 1.0]);
    assert_eq!(sum(&full, "queue_wait_seconds_count"), 0.0, "its wait is not over");
    let since = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let waited = since.elapsed().as_secs_f64();
    first.leave();
    let served = scrape_until(&gateway, "the second has it", |scrape| {
        load(scrape) == [1.0, 1.0, 0.0] && sum(scrape, "queue_wait_seconds_count") == 1.0
    });
    assert!(sum(&served, "queue_wait_seconds_sum") >= waited, "{served:?}");
    second.leave();
    scrape_until(&gateway, "nobody has it", |scrape| load(scrape) == [1.0, 0.0, 0.0]);
}

#[test]
fn whatever_strangers_send_makes_no_series() {
    let upstream = Upstream::named("a");
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("LOG__ACCESS", "false").start();
    let token = gateway.token(&["deployment:a"]);
    let strange = |number: usize, gateway: &Gateway, client: &mut Client| {
        let other = bento_gateway::system::new_token_text().unwrap().expose().to_owned();
        let (method, host) = (format!("M{number}"), format!("h{number}.test"));
        let text = match number % 4 {
            0 => request(&method, &format!("/{number}"), "a.test", &token.text, &[], b""),
            1 => request("GET", &format!("/{number}?q={number}"), &host, &token.text, &[], b""),
            2 => request("GET", &format!("/deployments/d{number}/x"), "a.test", &other, &[], b""),
            _ => request("GET", "/", &host, &other, &[&format!("x-request-id: r{number}")], b""),
        };
        if client.try_send(&text).is_err() || client.try_response(false).is_err() {
            *client = gateway.connect();
        }
    };
    let mut client = gateway.connect();
    (0..40).for_each(|number| strange(number, &gateway, &mut client));
    let before = scrape_at_rest(&gateway);
    assert!(requests(&before, &[]) >= 40.0);
    (40..10_000).for_each(|number| strange(number, &gateway, &mut client));
    let after = scrape_at_rest(&gateway);
    assert!(requests(&after, &[]) > requests(&before, &[]) + 9_000.0);
    assert_eq!(after.samples(), before.samples());
}
