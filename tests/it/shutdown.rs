//! The end: nothing new is taken, what runs may finish until the deadline, and the exit is a success.

use std::time::Duration;

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment},
    http::{Client, ReadEnd, get},
    upstream::{CHUNKED, Upstream, response},
    wait_until,
};

const HOST: &str = "a.test";
/// Longer than the test waits for the end, which must have another cause.
const LONG: &str = "10m";

/// `/stream`: chunks until told to stop by time; `/slow`: an answer after a while; `/endless`: never.
fn upstream() -> Upstream {
    Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            match request.target.as_str() {
                "/stream" => {
                    peer.send(CHUNKED);
                    for n in 0..10 {
                        peer.send_chunk(format!("{n}"));
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    peer.send("0\r\n\r\n");
                }
                "/slow" => {
                    std::thread::sleep(Duration::from_millis(800));
                    peer.send(response(200, &[], b"slow"));
                }
                "/endless" => {
                    peer.send(CHUNKED);
                    peer.send_chunk("first");
                    peer.await_close();
                }
                _ => peer.send(response(200, &[], b"a")),
            }
        }
    })
}

fn start(upstream: &Upstream, drain_timeout: &str) -> Gateway {
    let config = format!("[proxy]\ndrain_timeout = \"{drain_timeout}\"\n");
    Gateway::start(&format!("{config}{}", deployment("a", upstream.address, "protected = false")))
}

fn ask(gateway: &Gateway, path: &str) -> Client {
    let mut caller = gateway.connect();
    caller.send(get(HOST, path, "unused"));
    caller
}

#[test]
fn what_runs_finishes_and_nothing_new_begins() {
    for signal in ["TERM", "INT"] {
        let upstream = upstream();
        let mut gateway = start(&upstream, LONG);
        let mut stream = ask(&gateway, "/stream");
        let head = stream.head();
        stream.chunk().unwrap();
        let mut slow = ask(&gateway, "/slow");
        let mut idle = gateway.connect();
        assert_eq!(idle.ask(get(HOST, "/", "unused")).status, 200);
        upstream.await_requests(3);
        assert_eq!(gateway.readyz(), Some(200));

        gateway.signal(signal);
        wait_until("new connections are refused", SOON, || Client::try_connect(gateway.proxy).is_err());
        // Whoever looks whether to send requests here is told not to, while the running ones go on.
        assert_eq!(gateway.readyz(), Some(503), "{signal}");
        assert_eq!(idle.rest(), (vec![], ReadEnd::Closed), "{signal}: an idle connection has no reason to stay");

        assert_eq!(stream.body(&head).unwrap(), b"123456789", "{signal}");
        let answer = slow.response(false);
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("slow", Some("close")), "{signal}");
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
        assert_eq!(gateway.access_line("/stream")["end"], "complete");
        assert_eq!(gateway.access_line("/slow")["end"], "complete");
        assert_eq!(upstream.requests().len(), 3);
    }
}

#[test]
fn without_running_requests_the_end_comes_at_once() {
    let upstream = upstream();
    let mut gateway = start(&upstream, LONG);
    let _silent = gateway.connect();
    let mut idle = gateway.connect();
    assert_eq!(idle.ask(get(HOST, "/", "unused")).status, 200);
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[test]
fn at_the_deadline_what_still_runs_is_cut() {
    let upstream = upstream();
    let mut gateway = start(&upstream, "500ms");
    let mut stream = ask(&gateway, "/endless");
    let head = stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");
    let mut upload = gateway.connect();
    upload.send("POST /upload HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nabc");

    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(matches!(stream.body(&head), Err(ReadEnd::Closed | ReadEnd::Reset)), "a cut must not look like an end");
    assert_eq!(gateway.access_line("/endless")["end"], "drained");
    assert_eq!(gateway.access_lines().iter().filter(|line| line["path"] == "/upload").count(), 1);
    upstream.await_closed(1, SOON);
}

/// Somebody at the terminal who does not want to wait.
#[test]
fn a_second_interrupt_does_not_wait() {
    let upstream = upstream();
    let mut gateway = start(&upstream, LONG);
    let mut stream = ask(&gateway, "/endless");
    stream.head();
    gateway.signal("INT");
    wait_until("it drains", SOON, || gateway.readyz() == Some(503));
    assert!(gateway.exit_status().is_none());
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.access_lines().iter().filter(|line| line["path"] == "/endless").count(), 1);
}
