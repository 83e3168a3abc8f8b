//! One line for each request, whatever became of it.

use std::time::Duration;

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment, free_address},
    http::{get, request},
    upstream::{Upstream, answer},
    wait_for,
};

const HOST: &str = "a.test";

#[test]
fn a_line_says_what_was_asked_and_how_it_ended() {
    let upstream = Upstream::answering(|_| answer(201, &[], b"created"));
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let fields = ["content-length: 5", "x-request-id: my-id"];
    let asked = request("POST", "/complete?secret=1", "A.TEST:80", &token.text, &fields, b"hello");
    assert_eq!(gateway.connect().ask(asked).status, 201);
    let line = gateway.access_line("/complete");
    for (key, expected) in [
        ("request_id", "my-id".into()),
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("host", "a.test".into()),
        ("deployment", "a".into()),
        ("token", token.uid.as_str().into()),
        ("status", 201.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 7.into()),
        ("end", "complete".into()),
    ] {
        let expected: serde_json::Value = expected;
        assert_eq!(line[key], expected, "{key} in {line}");
    }
    assert!(line["total_ms"].as_f64() >= line["first_byte_ms"].as_f64(), "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");
}

#[test]
fn refused_requests_have_their_reason() {
    let upstream = Upstream::named("a");
    let dead = deployment("dead", free_address(), "");
    let gateway = Gateway::start(&format!("{}\n{dead}", deployment("a", upstream.address, "")));
    let token = gateway.token(&["deployment:dead"]);
    for (host, path, token, reason, proven) in [
        (HOST, "/unknown", "bgw_nonsense", "token_malformed", false),
        (HOST, "/out-of-scope", token.text.as_str(), "insufficient_scope", true),
        ("dead.test", "/unreachable", &token.text, "upstream_unreachable", true),
    ] {
        gateway.ask(&get(host, path, token));
        let line = gateway.access_line(path);
        assert_eq!((line["reason"].as_str(), line["token"].is_string()), (Some(reason), proven), "{line}");
    }
}

#[test]
fn what_is_not_http_has_a_line_too() {
    let gateway = Gateway::start("");
    let mut caller = gateway.connect();
    caller.send("NONSENSE\r\n\r\n");
    let _ = caller.rest();
    drop(caller);
    let line = wait_for("a line", SOON, || gateway.access_lines().into_iter().find(|line| line["status"] == 400));
    assert_eq!((line["reason"].as_str(), line["method"].is_null()), (Some("malformed_request"), true), "{line}");
}

#[test]
fn a_caller_who_leaves_has_a_line_before_and_during_the_answer() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.head.starts_with("GET /during") {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                peer.send_chunk("first");
            }
            peer.await_close();
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut before = gateway.connect();
    before.send(get(HOST, "/before", &token.text));
    upstream.await_requests(1);
    before.leave();
    let line = gateway.access_line("/before");
    assert_eq!((line["status"].is_null(), line["end"].as_str()), (true, Some("caller_left")), "{line}");

    let mut during = gateway.connect();
    during.send(get(HOST, "/during", &token.text));
    during.head();
    assert_eq!(during.chunk().unwrap().unwrap(), b"first");
    during.leave();
    let line = gateway.access_line("/during");
    assert_eq!((line["status"].as_u64(), line["end"].as_str()), (Some(200), Some("caller_left")), "{line}");
    assert_eq!(line["bytes_out"], 5);
}

#[test]
fn an_upstream_that_breaks_off_is_named() {
    let upstream = Upstream::start(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut caller = gateway.connect();
    caller.send(get(HOST, "/cut", &token.text));
    let _ = caller.rest();
    assert_eq!(gateway.access_line("/cut")["end"], "upstream_cut");
}
