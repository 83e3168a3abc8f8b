//! Where a request ends: one framing, ours, towards the service; what could be read in two ways is refused.

use std::net::Shutdown;

use crate::harness::{
    SOON,
    http::{ReadEnd, get, request},
    pair::{HOST, Pair},
    upstream::{Upstream, response},
    wait_until,
};

/// Stands in every request that must never be one.
const SMUGGLED: &str = "smuggled";

/// A whole request that would be answered if it were taken for one.
fn smuggled(pair: &Pair) -> String {
    format!("{}\r\n", pair.start(&format!("GET /{SMUGGLED} HTTP/1.1")))
}

/// Bodies that two parsers could see the end of in different places. Behind each stands a request that must not be one.
#[test]
fn a_request_with_two_readings_is_refused_and_the_connection_closed() {
    let pair = Pair::plain();
    let head = |fields: &str| format!("{}{fields}\r\n\r\n", pair.start("POST /x HTTP/1.1"));
    let chunks = "1\r\nx\r\n0\r\n\r\n";
    let cases = [
        ("a coding before", head("transfer-encoding: gzip, chunked"), chunks),
        ("a coding after", head("transfer-encoding: chunked, gzip"), chunks),
        ("identity", head("transfer-encoding: identity"), chunks),
        ("chunked twice in a list", head("transfer-encoding: chunked, chunked"), chunks),
        ("chunked twice", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), chunks),
        ("identity and chunked", head("transfer-encoding: identity\r\ntransfer-encoding: chunked"), chunks),
        ("another word", head("transfer-encoding: xchunked"), chunks),
        ("a tab in it", head("transfer-encoding: \tchun\tked"), chunks),
        ("a quoted word", head("transfer-encoding: \"chunked\""), chunks),
        ("a parameter", head("transfer-encoding: chunked;q=1"), chunks),
        ("an empty coding", head("transfer-encoding:"), chunks),
        ("a vertical tab", head("transfer-encoding: \u{b}chunked"), chunks),
        ("a space before the colon", head("transfer-encoding : chunked"), chunks),
        ("lengths that differ", head("content-length: 1\r\ncontent-length: 2"), "xx"),
        ("a list of lengths", head("content-length: 1, 2"), "xx"),
        ("a sign", head("content-length: +1"), "x"),
        ("below zero", head("content-length: -1"), "x"),
        ("hexadecimal", head("content-length: 0x1"), "x"),
        ("a fraction", head("content-length: 1.0"), "x"),
        ("no digits", head("content-length:"), "x"),
        ("two words", head("content-length: 1 1"), "x"),
        ("too many digits", head("content-length: 99999999999999999999999"), "x"),
        ("an obsolete fold", head("x-a: 1\r\n transfer-encoding: chunked"), chunks),
        ("a fold of the length", head("content-length:\r\n 1"), "x"),
        ("a space in a name", head("x a: 1"), ""),
        ("a name of nothing", head(": 1"), ""),
        ("no colon", head("x-a"), ""),
        ("a control character", head("x-a: \u{1}"), ""),
        ("NUL", head("x-a: a\0b"), ""),
        ("a bare carriage return", head("x-a: a\rtransfer-encoding: chunked"), chunks),
    ];
    for (name, head, body) in cases {
        let mut caller = pair.gateway.connect();
        caller.send(format!("{head}{body}{}", smuggled(&pair)));
        let answer = caller.head();
        assert_eq!(answer.status, 400, "{name}");
        let _ = caller.body(&answer);
        assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{name}");
    }
    assert_eq!(pair.upstream.requests().len(), 0, "{:?}", pair.upstream.requests());
}

/// The library does what RFC 9112 § 6.3 leaves to a server: it goes by the chunks, hides the length and closes the
/// connection after the answer, so that what follows is read by nobody, however it is counted.
#[test]
fn both_framings_at_once_are_never_forwarded_and_end_the_connection() {
    for fields in [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 1",
        "content-length: 100\r\nTransfer-Encoding: Chunked\r\ncontent-length: 5",
    ] {
        let pair = Pair::plain();
        let mut caller = pair.gateway.connect();
        let head = format!("{}{fields}\r\n\r\n", pair.start("POST /x HTTP/1.1"));
        caller.send(format!("{head}1\r\nx\r\n0\r\n\r\n{}", smuggled(&pair)));
        let answer = caller.response(false);
        assert!(matches!(answer.status, 200 | 400), "{fields:?}: {}", answer.status);
        assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{fields:?}");
        for seen in pair.upstream.requests() {
            assert_eq!(seen.target, "/x", "{fields:?}");
            assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
            assert_eq!(seen.body, b"x");
        }
    }
}

/// RFC 9112 lets a bare line feed end a line. If it does, it does so for the gateway and the upstream sees CRLF.
#[test]
fn a_bare_line_feed_never_makes_two_readings() {
    let pair = Pair::plain();
    let mut caller = pair.gateway.connect();
    let token = &pair.token.text;
    caller.send(format!("GET /x HTTP/1.1\nhost: {HOST}\nauthorization: Bearer {token}\nx-a: 1\n\n"));
    let answer = caller.response(false);
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    for request in pair.upstream.requests() {
        assert!(!request.head.replace("\r\n", "").contains(['\r', '\n']), "{:?}", request.head);
    }
}

/// The caller's mistake is the caller's: 400 and never 502.
#[test]
fn a_malformed_chunk_is_the_callers_mistake() {
    let pair = Pair::plain();
    for body in [
        "g\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        "1\r\nxy0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nx\n0\r\n\r\n",
        "fffffffffffffffff\r\nx",
        "10000000000000000\r\nx",
        "1;a=\"\n\"\r\nx\r\n0\r\n\r\n",
        "1\r\nx\r\n0\r\nbad trailer\r\n\r\n",
        "1\r\nx\r\n0\r\n: x\r\n\r\n",
    ] {
        let mut caller = pair.gateway.connect();
        let head = format!("{}transfer-encoding: chunked\r\n\r\n", pair.start("POST /x HTTP/1.1"));
        caller.send(format!("{head}{body}{}", smuggled(&pair)));
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_body"), "{body:?}");
        assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{body:?}");
    }
    assert!(pair.upstream.requests().iter().all(|request| !request.head.contains(SMUGGLED)));
}

/// Extensions of chunks are not handed on, and every chunk has one size.
#[test]
fn the_upstream_sees_our_framing_only() {
    let pair = Pair::with(
        Upstream::start(|peer| {
            let mut request = peer.head().unwrap();
            let mut raw = Vec::new();
            while !raw.ends_with(b"0\r\n\r\n") {
                if peer.buffer.is_empty() && !peer.fill() {
                    break;
                }
                raw.append(&mut peer.buffer);
            }
            request.body = raw;
            peer.note(&request);
            peer.send(response(200, &[], b""));
        }),
        "",
        "",
    );
    let head = format!("{}Transfer-Encoding: CHUNKED\r\n\r\n", pair.start("POST /x HTTP/1.1"));
    let body = "0003;ext=1\r\nabc\r\n2;\r\nde\r\n000\r\n\r\n";
    assert_eq!(pair.gateway.ask(&format!("{head}{body}")).status, 200);
    let seen = pair.upstream.only_request();
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
    let raw = String::from_utf8(seen.body).unwrap();
    assert!(["3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "5\r\nabcde\r\n0\r\n\r\n"].contains(&raw.as_str()), "{raw:?}");
}

#[test]
fn bodies_of_every_kind_arrive_with_one_framing() {
    let pair = Pair::plain();
    // Method, the caller's framing and body, the upstream's framing.
    let (none, length) = ((None, None), |length| (Some(length), None));
    let chunked = (None, Some("chunked"));
    for (method, fields, body, expected, data) in [
        ("GET", "", "", none, ""),
        ("GET", "content-length: 0\r\n", "", none, ""),
        ("GET", "content-length: 3\r\n", "abc", length("3"), "abc"),
        ("POST", "", "", length("0"), ""),
        ("POST", "content-length: 0\r\n", "", length("0"), ""),
        ("POST", "content-length: 003\r\n", "abc", length("3"), "abc"),
        ("POST", "transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", chunked, "abc"),
        ("POST", "transfer-encoding: chunked\r\n", "0\r\n\r\n", chunked, ""),
        ("DELETE", "", "", none, ""),
        ("DELETE", "content-length: 1\r\n", "x", length("1"), "x"),
        ("PATCH", "", "", length("0"), ""),
        ("OPTIONS", "", "", none, ""),
        ("QUERY", "content-length: 1\r\n", "x", length("1"), "x"),
    ] {
        let answer = pair.gateway.ask(&format!("{}{fields}\r\n{body}", pair.start(&format!("{method} /x HTTP/1.1"))));
        assert_eq!(answer.status, 200, "{method} {fields}: {}", answer.text());
        let requests = pair.upstream.requests();
        let seen = requests.last().unwrap();
        assert_eq!(seen.method, method);
        assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), expected, "{method} {fields}");
        assert_eq!(seen.body, data.as_bytes(), "{method} {fields}");
    }
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

/// What follows a refused request's head is its body, however much it looks like a request.
#[test]
fn an_unread_body_does_not_become_the_next_request() {
    let pair = Pair::with(Upstream::named("a"), "", "max_body_bytes = \"100\"");
    let inner = smuggled(&pair);
    let no_token = format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\n");
    for (name, head, status) in [
        ("401", format!("{no_token}content-length: {}\r\n\r\n", inner.len()), 401),
        ("401, chunked", format!("{no_token}transfer-encoding: chunked\r\n\r\n"), 401),
        ("413", format!("{}content-length: {}\r\n\r\n", pair.start("POST /x HTTP/1.1"), inner.len()), 413),
        ("415", format!("{}content-type: x/pickle\r\ncontent-length: 9\r\n\r\n", pair.start("POST /x HTTP/1.1")), 415),
        ("400", format!("POST /../x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", inner.len()), 400),
    ] {
        let mut caller = pair.gateway.connect();
        caller.send(format!("{head}{inner}"));
        let answer = caller.response(false);
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
        assert_eq!(caller.rest(), (vec![], ReadEnd::Closed), "{name}");
    }
    assert_eq!(pair.upstream.requests().len(), 0);
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
        let before = pair.gateway.access_lines().len();
        caller.send(format!("\r\nGET /{}", "x".repeat(length)));
        let _ = caller.try_send(format!(" HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes());
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"), "{length}");
        wait_until("a line", SOON, || pair.gateway.access_lines().len() > before);
        let line = pair.gateway.access_lines().pop().unwrap();
        assert_eq!((&line["status"], &line["reason"]), (&414.into(), &"uri_too_long".into()), "{length}");
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
