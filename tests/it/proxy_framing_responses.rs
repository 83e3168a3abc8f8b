//! Where a response ends: what could be read in two ways is none, and a broken one never looks whole.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use crate::harness::{
    http::{Client, ReadEnd, get, request},
    pair::{HOST, Pair},
    upstream::{CHUNKED, Upstream, UpstreamConnection, response},
};

fn ask(pair: &Pair, path: &str) -> (u16, String) {
    let answer = pair.gateway.ask(&get(HOST, path, &pair.token.text));
    (answer.status, answer.text())
}

/// What an upstream may not answer. The caller gets a 502 that says so, and the connection is not used again.
#[test]
fn an_answer_with_two_readings_is_no_answer() {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    let bad = [
        (
            ok("content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            "Content-Length and Transfer-Encoding came together",
        ),
        (ok("content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), "Content-Length came more than once"),
        (ok("content-length: 3, 3\r\n\r\nabc"), "Content-Length is not a number of bytes"),
        (ok("content-length: +3\r\n\r\nabc"), "Content-Length is not a number of bytes"),
        (ok("transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "Transfer-Encoding is not one chunked"),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "Transfer-Encoding came with HTTP/1.0",
        ),
        ("<html>no</html>\r\n\r\n".to_owned(), "status line"),
        ("SSH-2.0-OpenSSH_9\r\n".to_owned(), "status line"),
        ("HTTP/1.1 abc OK\r\n\r\n".to_owned(), "status line"),
        ("HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), "its status is not between 100 and 599"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
            "its status is 101, which was not asked for",
        ),
        (ok("x-a: a\rb\r\ncontent-length: 0\r\n\r\n"), "the value of the field 'x-a' has a control character"),
        (ok("x-a: a\r\n b\r\ncontent-length: 0\r\n\r\n"), "a field continues on a further line"),
        (ok("x a: 1\r\ncontent-length: 0\r\n\r\n"), "the field name 'x a' has a character that no name may have"),
        (ok("x-a: \0\r\ncontent-length: 0\r\n\r\n"), "the value of the field 'x-a' has a control character"),
        (ok(&("x: 1\r\n".repeat(200) + "\r\n")), "it has more than 128 fields"),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17) + &ok("content-length: 0\r\n\r\n"),
            "more than 16 informational responses",
        ),
        ("HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), "status line"),
    ];
    let answers = bad.clone();
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.request() {
            let number: usize = request.target[1..].parse().unwrap();
            peer.send(&answers[number].0);
        }
    });
    let pair = Pair::with(upstream, "", "");
    let mut caller = pair.gateway.connect();
    for (number, (sent, why)) in bad.iter().enumerate() {
        let path = format!("/{number}");
        let answer = caller.ask(get(HOST, &path, &pair.token.text));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_malformed"), "{sent:?}");
        // The caller learns nothing of what the service said, its operator does.
        assert!(!answer.text().contains(why));
        let line = pair.gateway.access_line(&path);
        assert_eq!(line["reason"], "upstream_malformed");
        assert!(line["cause"].as_str().unwrap().contains(why), "{sent:?}: {line}");
        // The caller's own connection is fine.
        assert_eq!(pair.upstream.connections(), number + 1, "{sent:?}");
    }
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_a_502() {
    for (name, bytes) in [("nothing", ""), ("half a head", "HTTP/1.1 200 OK\r\ncontent-le")] {
        let upstream = Upstream::start(move |peer| {
            peer.request();
            peer.send(bytes);
            peer.close();
        });
        let pair = Pair::with(upstream, "", "");
        let (status, text) = ask(&pair, "/");
        assert!(status == 502 && text.contains("upstream_closed"), "{name}: {status} {text}");
        // A fresh connection that closes is not tried again.
        assert_eq!(pair.upstream.connections(), 1, "{name}");
    }
}

/// What has no body and says that it has one is followed by it at some services, when the next request is under way already.
#[test]
fn a_body_that_must_not_be_never_answers_the_next_request() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let length = format!("content-length: {}\r\n\r\n", poison.len());
    let heads = [
        ("GET", format!("HTTP/1.1 204 No Content\r\n{length}")),
        ("GET", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n{length}")),
        ("HEAD", format!("HTTP/1.1 200 OK\r\n{length}")),
    ];
    for (method, head) in heads {
        let (first, poisoned) = (head.clone(), AtomicUsize::new(0));
        let upstream = Upstream::start(move |peer| {
            let mut sent = false;
            while let Some(request) = peer.request() {
                if request.target == "/first" {
                    peer.send(&first);
                    sent = true;
                } else {
                    if sent {
                        poisoned.fetch_add(1, Relaxed);
                        peer.send(poison);
                    }
                    peer.send(response(200, &[], b"good"));
                }
            }
        });
        let pair = Pair::with(upstream, "", "");
        let ask = |method: &str, path: &str| {
            let mut caller = pair.gateway.connect();
            caller.send(request(method, path, HOST, &pair.token.text, &["connection: close"], b""));
            caller.response(method == "HEAD")
        };
        assert!(ask(method, "/first").body.is_empty(), "{head}");
        assert_eq!(ask("GET", "/next").text(), "good", "{head}");
    }
}

/// Bytes behind an answer belong to nobody: the connection that brought them is not used again.
#[test]
fn left_over_bytes_never_answer_the_next_request() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for late in [false, true] {
        let upstream = Upstream::start(move |peer| {
            while let Some(_request) = peer.request() {
                let good = response(200, &[], b"good");
                if late {
                    peer.send(good);
                    sleep(Duration::from_millis(50));
                    let _ = peer.try_send(poison);
                } else {
                    peer.send([good.as_slice(), poison.as_bytes()].concat());
                }
            }
        });
        let pair = Pair::with(upstream, "", "");
        let mut caller = pair.gateway.connect();
        for round in 0..3 {
            assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).text(), "good");
            sleep(Duration::from_millis(if late { 100 } else { 0 }));
            assert_eq!(pair.upstream.connections(), round + 1);
        }
    }
}

/// A body that breaks off must not look complete to the caller.
#[test]
fn a_truncated_answer_is_cut_and_not_ended() {
    let cases = [
        ("a length", format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", "abc")),
        ("between chunks", format!("{CHUNKED}3\r\nabc\r\n")),
        ("within a chunk", format!("{CHUNKED}3\r\nabc\r\n5\r\nde")),
        ("within a size", format!("{CHUNKED}3\r\nabc\r\n5")),
        ("before the end of trailers", format!("{CHUNKED}3\r\nabc\r\n0\r\n")),
        ("nonsense instead of a size", format!("{CHUNKED}3\r\nabc\r\nxyz\r\n")),
    ];
    for (name, bytes) in cases {
        let upstream = Upstream::start(move |peer| {
            while let Some(_request) = peer.request() {
                peer.send(&bytes);
                // What came before the cut is on its way already.
                sleep(Duration::from_millis(100));
                peer.close();
            }
        });
        let pair = Pair::with(upstream, "", "");
        let mut caller = pair.gateway.connect();
        caller.send(get(HOST, "/", &pair.token.text));
        let head = caller.head();
        assert_eq!(head.status, 200, "{name}");
        let body = caller.body(&head);
        assert!(matches!(body, Err(ReadEnd::Closed | ReadEnd::Reset)), "{name}: {body:?}");
        let ended = pair.gateway.access_line("/");
        assert_eq!((&ended["status"], &ended["end"]), (&200.into(), &"upstream_cut".into()), "{name}");
    }
}

#[test]
fn answers_without_a_body_keep_their_fields_and_those_that_feign_none_the_connection() {
    let upstream = Upstream::answering(|request| match (request.method.as_str(), request.target.as_str()) {
        ("HEAD", "/chunked") => CHUNKED.into(),
        ("HEAD", _) => b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\nx-a: 1\r\n\r\n".to_vec(),
        (_, "/204") => b"HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n".to_vec(),
        (_, "/304") => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 12345\r\netag: \"x\"\r\n\r\n".to_vec(),
        (_, "/205") => b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n".to_vec(),
        (_, "/close") => b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        _ => response(200, &[], b"ok"),
    });
    let pair = Pair::with(upstream, "", "");
    let mut caller = pair.gateway.connect();
    for round in 0..3 {
        let before = pair.upstream.connections();
        let mut ask = |method: &str, path: &str| caller.ask(request(method, path, HOST, &pair.token.text, &[], b""));
        let head = ask("HEAD", "/");
        assert_eq!((head.status, head.header("content-length"), head.header("x-a")), (200, Some("12345"), Some("1")));
        assert_eq!(ask("HEAD", "/chunked").header("content-type"), Some("text/event-stream"));
        let empty = ask("GET", "/204");
        assert_eq!((empty.status, empty.header("x-a"), empty.header("content-length")), (204, Some("1"), None));
        let unmodified = ask("GET", "/304");
        assert_eq!((unmodified.status, unmodified.header("etag")), (304, Some("\"x\"")));
        assert_eq!(ask("GET", "/205").status, 205);
        let refused = {
            caller.send(format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
            caller.response(true)
        };
        assert_eq!(refused.status, 401);
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).text(), "ok", "round {round}");
        // Behind each that announces a body there is a new one.
        assert_eq!(pair.upstream.connections() - before, if round == 0 { 4 } else { 3 }, "round {round}");
    }
    let kept = pair.upstream.connections();
    // The upstream's own wish to close is not the caller's business.
    assert_eq!(caller.ask(get(HOST, "/close", &pair.token.text)).header("connection"), None);
    assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).text(), "ok");
    assert_eq!(pair.upstream.connections(), kept + 1);
}

#[test]
fn informational_answers_are_not_final() {
    let upstream = Upstream::answering(|_| {
        let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        [early.as_bytes(), &response(200, &[], b"final")].concat()
    });
    let pair = Pair::with(upstream, "", "");
    let mut caller = pair.gateway.connect();
    caller.send(get(HOST, "/", &pair.token.text));
    loop {
        let answer = caller.head();
        if answer.status >= 200 {
            assert_eq!((answer.status, caller.body(&answer).unwrap().as_slice()), (200, b"final".as_slice()));
            return;
        }
    }
}

/// An upstream may answer before it has the whole body. The caller gets that answer.
#[test]
fn an_answer_before_the_end_of_the_body_is_passed_on() {
    let refusing = |peer: &mut UpstreamConnection| {
        let Some(request) = peer.head() else { return };
        peer.note(&request);
        peer.send(response(422, &["connection: close"], b"no"));
        peer.await_close();
    };
    let pair = Pair::with(Upstream::start(refusing), "", "");
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut caller = pair.gateway.connect();
        caller.send(format!("{}{framing}\r\n\r\n", pair.start("POST /x HTTP/1.1")));
        caller.send(if framing.starts_with('c') { "abc" } else { "3\r\nabc\r\n" });
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.text().as_str()), (422, "no"), "{framing}");
    }
}

/// An idle connection that the upstream closes just as it gets a request: what can be repeated is, what cannot is not.
#[test]
fn a_request_that_met_a_closing_connection_is_repeated_if_it_can_do_no_harm() {
    for (method, fields, body, repeated) in [
        ("GET", vec![], "", true),
        ("HEAD", vec![], "", true),
        ("PUT", vec!["content-length: 0"], "", true),
        // The end of the chunks is gone, and its trailers with it.
        ("DELETE", vec!["transfer-encoding: chunked"], "0\r\n\r\n", false),
        ("POST", vec!["content-length: 0"], "", false),
        ("PATCH", vec!["content-length: 3"], "abc", false),
        ("PUT", vec!["content-length: 3"], "abc", false),
    ] {
        static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
        CONNECTIONS.store(0, Relaxed);
        let upstream = Upstream::start(|peer| {
            let first = CONNECTIONS.fetch_add(1, Relaxed) == 0;
            if peer.request().is_some() {
                peer.send(response(200, &[], b""));
            }
            // The second request on the first connection is read, and the connection closed without a word.
            if peer.request().is_some() && !first {
                peer.send(response(200, &[], b""));
            }
            peer.close();
        });
        let pair = Pair::with(upstream, "", "first_byte_timeout = \"3s\"");
        let mut caller = pair.gateway.connect();
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        let answer = caller.ask(request(method, "/again", HOST, &pair.token.text, &fields, body.as_bytes()));
        assert_eq!(answer.status, if repeated { 200 } else { 502 }, "{method} {fields:?}");
        assert_eq!(pair.upstream.connections(), if repeated { 2 } else { 1 }, "{method} {fields:?}");
    }
}

/// HTTP/1.0 has no chunks: the body ends with the connection.
#[test]
fn a_caller_of_http_1_0() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.target == "/stream" {
                peer.send(CHUNKED);
                peer.send_chunk("abc");
                peer.send_chunk("def");
                peer.send("0\r\n\r\n");
            } else {
                peer.send(response(200, &[], b"ok"));
            }
        }
    });
    let pair = Pair::with(upstream, "", "");
    let ask = |path: &str, fields: &str| {
        let mut caller: Client = pair.gateway.connect();
        caller.send(format!("{}{fields}\r\n", pair.start(&format!("GET {path} HTTP/1.0"))));
        let answer = caller.head();
        assert_eq!(answer.header("transfer-encoding"), None, "{path}");
        (answer.clone(), caller.body(&answer).unwrap())
    };
    assert_eq!(ask("/stream", "").1, b"abcdef");
    assert_eq!(ask("/", "").1, b"ok");
    let (kept, body) = ask("/", "connection: keep-alive\r\n");
    assert_eq!((kept.status, body.as_slice()), (200, b"ok".as_slice()));
    // Without a Host there is nothing to decide on.
    assert_eq!(
        pair.gateway.ask(&format!("GET / HTTP/1.0\r\nauthorization: Bearer {}\r\n\r\n", pair.token.text)).code(),
        "bad_host"
    );
    let seen = pair.upstream.requests();
    assert!(seen.iter().all(|request| request.head.contains(" HTTP/1.1\r\n")));
}
