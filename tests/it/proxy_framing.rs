//! Requests behind requests, bodies that are not read, and limits. Which framing arrives, `wire` says.

use std::net::Shutdown;

use crate::harness::{
    SOON,
    http::{ReadEnd, get, request},
    pair::{HOST, Pair},
    upstream::{Upstream, response},
    wait_until,
};

/// A whole request that would be answered if it were taken for one.
fn smuggled(pair: &Pair) -> String {
    format!("{}\r\n", pair.start("GET /smuggled HTTP/1.1"))
}

/// Requests in one go, allowed and refused, are answered one after the other, each by itself.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let pair = Pair::with(Upstream::answering(|request| response(200, &[], request.target.as_bytes())), "", "");
    let mut caller = pair.gateway.connect();
    let one = get(HOST, "/1", &pair.token.text);
    let refused = format!("GET /2 HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let post = request("POST", "/3", HOST, &pair.token.text, &["content-length: 3"], b"abc");
    let four = get(HOST, "/4", &pair.token.text);
    caller.send([one.as_bytes(), refused.as_bytes(), &post, four.as_bytes()].concat());
    assert_eq!(caller.response(false).text(), "/1");
    assert_eq!(caller.response(false).status, 401);
    assert_eq!(caller.response(false).text(), "/3");
    assert_eq!(caller.response(false).text(), "/4");
    assert_eq!(pair.upstream.requests().len(), 3);
}

/// What follows a refused request's head is its body, however much it looks like a request. A small one is read and dropped,
/// behind any other the connection ends.
#[test]
fn the_body_of_a_refused_request_does_not_become_the_next_request() {
    let pair = Pair::with(Upstream::named("a"), "", "max_body_bytes = \"100\"");
    let inner = smuggled(&pair);
    let length = inner.len();
    let chunked = format!("{length:x}\r\n{inner}\r\n0\r\ntrailer: x\r\n\r\n");
    let filler = "x".repeat(70_000);
    let no_token = format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\n");
    let with_token = pair.start("POST /x HTTP/1.1");
    for (name, request, status, goes_on) in [
        ("401", format!("{no_token}content-length: {length}\r\n\r\n{inner}"), 401, true),
        ("401, chunked", format!("{no_token}transfer-encoding: chunked\r\n\r\n{chunked}"), 401, false),
        ("401, no chunks", format!("{no_token}transfer-encoding: chunked\r\n\r\n{inner}"), 401, false),
        ("401, half of it", format!("{no_token}content-length: {}\r\n\r\n{inner}", length + 1), 401, false),
        ("401, large", format!("{no_token}content-length: 70000\r\n\r\n{filler}"), 401, false),
        (
            "401, large chunk",
            format!("{no_token}transfer-encoding: chunked\r\n\r\n11170\r\n{filler}\r\n0\r\n\r\n"),
            401,
            false,
        ),
        ("401, not to be sent", format!("{no_token}content-length: 3\r\nexpect: 100-continue\r\n\r\nabc"), 401, false),
        ("413", format!("{with_token}content-length: {length}\r\n\r\n{inner}"), 413, true),
        ("415", format!("{with_token}content-type: x/pickle\r\ncontent-length: {length}\r\n\r\n{inner}"), 415, true),
        ("400", format!("POST /../x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n{inner}"), 400, false),
    ] {
        let mut caller = pair.gateway.connect();
        caller.send(&request);
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.header("connection")), (status, (!goes_on).then_some("close")), "{name}");
        if goes_on {
            let next = caller.ask(format!("GET /next HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"));
            assert_eq!((next.status, next.code().as_str()), (401, "credential_missing"), "{name}");
        }
        assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{name}");
    }
    assert_eq!(pair.upstream.requests().len(), 0);
}

/// What was read of it is in the log, and it may come in pieces.
#[test]
fn a_small_body_of_a_refused_request_is_waited_for() {
    let pair = Pair::plain();
    let mut caller = pair.gateway.connect();
    for number in 0..3 {
        caller.send(format!("POST /pieces/{number} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 6\r\n\r\n"));
        caller.send("abc");
        caller.send("def");
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.header("connection")), (401, None));
        assert_eq!(pair.gateway.access_line(&format!("/pieces/{number}"))["bytes_in"], 6);
    }
}

/// A refusal is readable although a large upload is on its way: the connection is not reset under it.
#[test]
fn a_refusal_is_readable_during_an_upload_of_10_mib() {
    let pair = Pair::plain();
    for round in 0..5 {
        let mut caller = pair.gateway.connect();
        caller.send(format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", 10 << 20));
        let mut sent = 0;
        // Goes on until all is sent, as BentoML's client does before it looks for an answer.
        while sent < 10 << 20 && caller.try_send(&[b'x'; 64 * 1024]).is_ok() {
            sent += 64 * 1024;
        }
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "round {round}");
        assert_eq!(sent, 10 << 20, "round {round}: what the caller sent was not taken");
    }
    assert_eq!(pair.upstream.connections(), 0);
}

#[test]
fn as_many_fields_pass_as_are_set_where_nobody_has_set_it() {
    let pair = Pair::with(Upstream::named("a"), "", "");
    for (fields, status) in [(98, 200), (99, 431)] {
        let mut caller = pair.gateway.connect();
        // Beside host and authorization.
        caller.send(format!("{}{}\r\n", pair.start("GET /x HTTP/1.1"), "x-a: 1\r\n".repeat(fields)));
        assert_eq!(caller.head().status, status, "{fields}");
    }
}

#[test]
fn limits_of_heads_and_bodies() {
    let limits = "[proxy.limits]\nmax_header_bytes = \"8 KiB\"\nmax_headers = 20\nmax_uri_bytes = \"1 KiB\"";
    let pair = Pair::with(Upstream::named("a"), limits, "max_body_bytes = \"1000\"");
    let status = |request: String| {
        let mut caller = pair.gateway.connect();
        caller.send(request);
        let answer = caller.head();
        let body = caller.body(&answer).unwrap();
        (answer.status, String::from_utf8(body).unwrap())
    };
    let with_fields = |fields: String| status(format!("{}{fields}\r\n", pair.start("GET /x HTTP/1.1")));

    assert_eq!(status(format!("{}\r\n", pair.start(&format!("GET /{} HTTP/1.1", "x".repeat(1023))))).0, 200);
    let (code, body) = status(format!("{}\r\n", pair.start(&format!("GET /{} HTTP/1.1", "x".repeat(1024)))));
    assert!(code == 414 && body.contains("uri_too_long"), "{code} {body}");
    assert_eq!(status(format!("{}\r\n", pair.start(&format!("GET /?{} HTTP/1.1", "x".repeat(1024))))).0, 414);

    // At any length, and again on a connection that has carried a request.
    for length in [2 << 10, 7 << 10, 9 << 10, 100 << 10, 3 << 20] {
        let mut caller = pair.gateway.connect();
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        let refusals = || pair.gateway.access_lines().into_iter().filter(|line| line["status"] == 414);
        let before = refusals().count();
        caller.send(format!("\r\nGET /{}", "x".repeat(length)));
        let _ = caller.try_send(format!(" HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes());
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"), "{length}");
        wait_until("a line", SOON, || refusals().count() > before);
        assert_eq!(refusals().next_back().unwrap()["reason"], "uri_too_long", "{length}");
        if length > 4 << 10 {
            caller.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{length}");
        }
    }

    assert_eq!(with_fields("x-a: 1\r\n".repeat(18)).0, 200);
    assert_eq!(with_fields("x-a: 1\r\n".repeat(19)).0, 431);
    assert_eq!(with_fields(format!("x-a: {}\r\n", "x".repeat(7000))).0, 200);
    assert_eq!(with_fields(format!("x-a: {}\r\n", "x".repeat(9000))).0, 431);
    // It is not waited for the end of what is too large already.
    assert_eq!(status(format!("GET /x HTTP/1.1\r\nx-a: {}", "x".repeat(20_000))).0, 431);

    let post = |fields: &str, body: String| status(format!("{}{fields}\r\n\r\n{body}", pair.start("POST /x HTTP/1.1")));
    assert_eq!(post("content-length: 1000", "x".repeat(1000)).0, 200);
    let before = pair.upstream.requests().len();
    let (code, body) = post("content-length: 1001", String::new());
    assert!(code == 413 && body.contains("body_too_large"), "{code} {body}");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    assert_eq!(post("transfer-encoding: chunked", chunk.repeat(2) + "0\r\n\r\n").0, 200);
    let (code, body) = post("transfer-encoding: chunked", chunk.repeat(2) + "1\r\nx\r\n0\r\n\r\n");
    assert!(code == 413 && body.contains("body_too_large"), "{code} {body}");
    // A body that broke off is no request to the service.
    assert_eq!(pair.upstream.requests().len(), before + 1);
}

#[test]
fn expect_100_continue() {
    let pair = Pair::plain();
    let expect = "content-length: 3\r\nexpect: 100-continue\r\n\r\n";

    // Refused: no 100, and the body is never asked for.
    let mut caller = pair.gateway.connect();
    caller.send(format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\n{expect}"));
    let answer = caller.response(false);
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    assert_eq!(pair.upstream.connections(), 0);

    // Allowed: 100 before the body, the answer after it; the upstream is not asked to confirm.
    let mut caller = pair.gateway.connect();
    caller.send(format!("{}{expect}", pair.start("POST /x HTTP/1.1")));
    assert_eq!(caller.head().status, 100);
    caller.send("abc");
    assert_eq!(caller.response(false).status, 200);
    let seen = pair.upstream.only_request();
    assert_eq!((seen.body.as_slice(), seen.header("expect")), (b"abc".as_slice(), None));

    // A caller that does not wait.
    let mut caller = pair.gateway.connect();
    caller.send(format!("{}{expect}abc", pair.start("POST /x HTTP/1.1")));
    let mut answer = caller.head();
    if answer.status == 100 {
        answer = caller.head();
    }
    assert_eq!(answer.status, 200);
}
