//! The client that asks `/readyz` again and again without pausing is slowed; nobody else is.
//!
//! `total_ms` in the access log includes the delay. Whoever is delayed has at least it, however slow this machine is; of
//! those who are not, at least one is faster, unless this machine stands still for all of them.

use serde_json::Value;

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment},
    http::get,
    upstream::Upstream,
    wait_for,
};

const BAD: &str = "GET /readyz HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer nonsense\r\n\r\n";
/// Refusals that go out at once.
const AT_ONCE: usize = 10;
/// Milliseconds.
const DELAY: f64 = 250.0;

fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    (upstream, gateway)
}

/// How long each request with this path and status took, once there are `count`.
fn durations(gateway: &Gateway, path: &str, status: u16, count: usize) -> Vec<f64> {
    let durations = || {
        let lines = gateway.access_lines().into_iter().filter(|line| line["path"] == path && line["status"] == status);
        lines.map(|line: Value| line["total_ms"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    wait_for("the access lines", SOON, || Some(durations()).filter(|all| all.len() >= count))
}

fn fastest(durations: &[f64]) -> f64 {
    durations.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn a_client_that_does_not_pause_is_slowed() {
    let (_upstream, gateway) = gateway();
    let mut caller = gateway.connect();
    for _ in 0..AT_ONCE + 4 {
        let answer = caller.ask(BAD);
        assert_eq!(answer.status, 401);
        // What the client prints first is the cause.
        assert!(answer.body.starts_with(b"{\"detail\":\"the token is malformed"), "{:?}", answer.body);
    }
    let durations = durations(&gateway, "/readyz", 401, AT_ONCE + 4);
    assert!(fastest(&durations[..AT_ONCE]) < DELAY, "{durations:?}");
    assert!(fastest(&durations[AT_ONCE..]) >= DELAY, "{durations:?}");
}

#[test]
fn nobody_else_is_slowed() {
    let (_upstream, gateway) = gateway();
    let token = gateway.token(&["deployment:a"]);
    let mut looping = gateway.connect();
    for _ in 0..AT_ONCE {
        looping.ask(BAD);
    }
    // From the same address, while a refusal is held back.
    looping.send(BAD);
    let mut other = gateway.connect();
    for _ in 0..10 {
        assert_eq!(other.ask(get("a.test", "/readyz", &token.text)).status, 200);
        assert_eq!(other.ask("GET /x HTTP/1.1\r\nhost: a.test\r\n\r\n").status, 401);
    }
    assert!(fastest(&durations(&gateway, "/readyz", 200, 10)) < DELAY);
    assert!(fastest(&durations(&gateway, "/x", 401, 10)) < DELAY);
    assert_eq!(looping.response(false).status, 401);
}

#[test]
fn a_drain_waits_for_a_refusal_that_is_held_back() {
    let (_upstream, mut gateway) = gateway();
    let mut caller = gateway.connect();
    for _ in 0..AT_ONCE {
        caller.ask(BAD);
    }
    caller.send(BAD);
    // The answer to a later request: the worker has begun with the one before.
    assert_eq!(gateway.code_of("nonsense"), "token_malformed");
    assert!(gateway.terminate().success());
    assert_eq!(caller.response(false).status, 401);
}
