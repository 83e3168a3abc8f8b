//! When a connection of HTTP/2 is idle, and how the gateway takes leave of it.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{
    SOON,
    frames::{DATA, Frames, GOAWAY, PING, headers},
    gateway::{Gateway, deployment},
    http::ReadEnd,
    pair::HOST,
    upstream::Upstream,
    wait_until,
};

fn start(limits: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&format!("{limits}\n{}", deployment("a", upstream.address, "protected = false")));
    (upstream, gateway)
}

fn used(gateway: &Gateway) -> Frames {
    let mut frames = Frames::connect(gateway.proxy);
    frames.get(1, HOST, "/");
    frames.await_end(1);
    frames
}

/// Nobody else learns of it: the library refuses it below every request.
#[test]
fn a_connection_that_breaks_the_protocol_has_a_line() {
    let (_upstream, gateway) = start("");
    let mut frames = used(&gateway);
    // RFC 9113 § 6.1: DATA belongs to a stream.
    frames.send(DATA, 0, 0, b"x");
    assert!(frames.rest().0.iter().any(|frame| frame.kind == GOAWAY));
    let lines = || gateway.access_lines().into_iter().filter(|line| line["reason"] == "malformed_request");
    wait_until("a line", SOON, || lines().count() == 1);
    let line = lines().next().unwrap();
    assert_eq!((&line["status"], &line["method"]), (&Value::Null, &Value::Null));
    assert!(line["cause"].as_str().unwrap().contains("protocol error"), "{line}");
}

/// Neither does anybody of a stream that it refuses. Requests around it go on, each with a line of its own.
#[test]
fn a_stream_that_the_library_refuses_has_a_line() {
    let (_upstream, gateway) = start("[proxy.limits]\nmax_header_bytes = \"8 KiB\"\nmax_uri_bytes = \"4 KiB\"");
    let mut frames = used(&gateway);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x")];
    let large = "x".repeat(17_000);
    let refused = [
        (Value::Null, "malformed_request", "protocol error", [("connection", "close")]),
        (Value::Null, "malformed_request", "protocol error", [(":path", "/y")]),
        (431.into(), "header_too_large", "too large", [("x-a", &*large)]),
    ];
    wait_until("the line of what came first", SOON, || gateway.access_lines().len() == 1);
    for (stream, (status, reason, cause, field)) in (3..).step_by(6).zip(refused) {
        let before = gateway.access_lines().len();
        let all = [headers(stream, &fields, true), headers(stream + 2, &[&fields[..], &field].concat(), true)].concat();
        frames.write(&[all, headers(stream + 4, &fields, true)].concat()).unwrap();
        wait_until("three lines", SOON, || gateway.access_lines().len() >= before + 3);
        let lines = gateway.access_lines().split_off(before);
        let of = |reason: &str| lines.iter().filter(|line| line["reason"] == reason).collect::<Vec<_>>();
        assert_eq!((of("").len(), of(reason).len()), (2, 1), "{lines:#?}");
        let line = of(reason)[0];
        assert_eq!((&line["status"], &line["method"], &line["end"]), (&status, &Value::Null, &"complete".into()));
        assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    }
    // The whole connection ends with this one, without an error.
    let before = gateway.access_lines().len();
    let connect = [(":method", "CONNECT"), (":authority", HOST), ("content-length", "1")];
    frames.write(&headers(33, &connect, false)).unwrap();
    frames.rest();
    wait_until("a line", SOON, || gateway.access_lines().len() > before);
    assert_eq!(gateway.access_lines()[before]["reason"], "malformed_request");
}

/// Only HEADERS begin a request: the time for a header is short here, and would have run out.
#[test]
fn a_ping_begins_no_request() {
    let (_upstream, gateway) = start("[proxy.limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"10m\"");
    let mut frames = used(&gateway);
    let until = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < until {
        frames.ping().unwrap();
        sleep(Duration::from_millis(100));
    }
    frames.get(3, HOST, "/");
    frames.await_end(3);
}

/// PINGs do not prolong it, either.
#[test]
fn an_idle_connection_ends_with_goaway() {
    let (_upstream, gateway) = start("[proxy.limits]\nheader_timeout = \"10m\"\nkeep_alive_timeout = \"1s\"");
    let mut frames = used(&gateway);
    let goaway = loop {
        frames.try_send(PING, 0, 0, b"01234567").unwrap();
        match frames.next().unwrap() {
            frame if frame.kind == GOAWAY => break frame,
            _ => sleep(Duration::from_millis(100)),
        }
    };
    // NO_ERROR, and no stream of ours is refused yet (RFC 9113 § 6.8).
    assert_eq!(goaway.payload[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    // A request that crossed it is served.
    frames.get(3, HOST, "/crossed");
    let data = frames.find(|frame| frame.kind == DATA && frame.stream == 3);
    assert_eq!(data.payload, b"a");
    // The caller never answers the gateway's own PING.
    assert_ne!(frames.rest().1, ReadEnd::TimedOut);
}

#[test]
fn a_drain_does_not_wait_for_a_caller_that_is_mute() {
    let (_upstream, mut gateway) = start("[proxy]\ndrain_timeout = \"10m\"");
    let mut frames = used(&gateway);
    gateway.signal("TERM");
    frames.find(|frame| frame.kind == GOAWAY);
    assert_eq!(gateway.wait().code(), Some(0));
    assert_ne!(frames.rest().1, ReadEnd::TimedOut);
}

#[test]
fn what_runs_at_the_goaway_is_finished() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            sleep(Duration::from_millis(if request.target == "/slow" { 4000 } else { 0 }));
            peer.send(crate::harness::upstream::response(200, &[], b"late"));
        }
    });
    let config =
        format!("[proxy]\ndrain_timeout = \"10m\"\n{}", deployment("a", upstream.address, "protected = false"));
    let mut gateway = Gateway::start(&config);
    let mut frames = used(&gateway);
    frames.get(3, HOST, "/slow");
    upstream.await_requests(2);
    gateway.signal("TERM");
    wait_until("it drains", SOON, || gateway.readyz() == Some(503));
    let data = frames.find(|frame| frame.kind == DATA && frame.stream == 3);
    assert_eq!(data.payload, b"late");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.access_line("/slow")["end"], "complete");
}
