//! One line for each request, however it ended.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{get, request},
    upstream::{CHUNKED, Upstream, response},
    wait_until,
};

const HOST: &str = "a.test";

fn upstream() -> Upstream {
    Upstream::start(|peer| {
        let Some(request) = peer.head() else { return };
        peer.note(&request);
        match request.target.split('?').next().unwrap() {
            "/complete" => peer.send(response(201, &["connection: close"], b"hello")),
            "/streamed" => {
                peer.send(CHUNKED);
                peer.send_chunk("abc");
                sleep(Duration::from_millis(120));
                peer.send_chunk("def");
                peer.send("0\r\n\r\n");
            }
            "/cut" => {
                peer.send(CHUNKED);
                peer.send_chunk("abc");
                sleep(Duration::from_millis(30));
                return peer.close();
            }
            "/bad-chunk" => peer.send(format!("{CHUNKED}3\r\nabcde\r\n")),
            "/closed" => return peer.close(),
            "/nonsense" => peer.send("nonsense\r\n\r\n"),
            "/theirs" => peer.send(response(500, &["connection: close"], b"oops")),
            "/leave-during" | "/idle" => {
                peer.send(CHUNKED);
                peer.send_chunk("abc");
            }
            _ => {}
        }
        peer.await_close();
    })
}

/// What the program says of itself comes from the threads that serve, too.
#[test]
fn nobody_has_to_read_the_log_for_requests_to_be_answered() {
    let upstream = upstream();
    let (mut gateway, token) = start(&upstream);
    gateway.kill();
    let mut command = gateway.cli_command(&["serve"]);
    let mut unread = Killed(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    wait_until("it is ready", SOON, || gateway.readyz() == Some(200));
    let status = |host: &str| gateway.ask(&get(host, "/complete", &token.text)).status;
    // More than a pipe holds.
    (0..1000).for_each(|_| assert_eq!(gateway.ask(&get("b.test", "/", "nonsense")).status, 401));
    assert_eq!(status("dead.test"), 502, "of which there is a warning");
    assert_eq!(status(HOST), 201, "by the same thread");
    // Nor for the program to end.
    assert!(Command::new("kill").arg(unread.0.id().to_string()).status().unwrap().success());
    wait_until("it has ended", SOON, || unread.0.try_wait().unwrap().is_some());
}

/// Also if the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(upstream: &Upstream) -> (Gateway, Token) {
    let settings = "first_byte_timeout = \"1s\"\nidle_timeout = \"400ms\"\nmax_body_bytes = \"1000\"";
    let dead = deployment("dead", free_address(), "");
    let gateway = Gateway::start(&format!("{}{dead}", deployment("a", upstream.address, settings)));
    let token = gateway.token(&["deployment:a", "deployment:dead"]);
    (gateway, token)
}

/// That `line` has these members with these values.
fn holds(line: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&line[key], value, "{key} in {line}");
    }
}

#[test]
fn a_complete_request_says_everything() {
    let upstream = upstream();
    let (gateway, token) = start(&upstream);
    let before = bento_gateway::system::now().to_string();
    let body = request(
        "POST",
        "/complete?secret=1",
        "A.Test:80",
        &token.text,
        &["content-length: 3", "x-request-id: r-1"],
        b"abc",
    );
    assert_eq!(gateway.connect().ask(body).status, 201);
    let line = gateway.access_line("/complete");
    holds(
        &line,
        &json!({
            "message": "request", "request_id": "r-1", "client": "127.0.0.1", "method": "POST", "host": "a.test",
            "path": "/complete", "deployment": "a", "status": 201, "token": token.uid, "reason": "", "cause": null, "bytes_in": 3,
            "bytes_out": 5, "end": "complete",
        }),
    );
    let (first, total) = (line["first_byte_ms"].as_f64().unwrap(), line["total_ms"].as_f64().unwrap());
    assert!(0.0 < first && first <= total && total < 5000.0, "{line}");
    assert!(before.as_str() <= line["timestamp"].as_str().unwrap(), "{line}");
    assert_eq!(line.as_object().unwrap().len(), 19, "{line}");
    // Neither the query nor the token is in anything that was said.
    let said = gateway.stderr().join("\n") + &gateway.stdout().join("\n");
    assert!(!said.contains("secret=1") && !said.contains(&token.text), "{said}");

    assert_eq!(gateway.ask(&get(HOST, "/streamed", &token.text)).text(), "abcdef");
    let line = gateway.access_line("/streamed");
    holds(&line, &json!({"bytes_out": 6, "end": "complete", "status": 200}));
    assert!(line["total_ms"].as_f64().unwrap() - line["first_byte_ms"].as_f64().unwrap() > 80.0, "{line}");
}

#[test]
fn every_way_to_be_refused_or_to_fail_has_its_line() {
    let upstream = upstream();
    let (gateway, token) = start(&upstream);
    let uid = json!(token.uid);
    let good = &token.text;
    let api = gateway.token(&["api"]);
    let cases = [
        (
            "/missing",
            format!("GET /missing?q=1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
            json!({"status": 401, "reason": "credential_missing", "token": null, "deployment": null, "host": HOST}),
        ),
        (
            "/scope",
            get(HOST, "/scope", &api.text),
            json!({"status": 403, "reason": "insufficient_scope", "token": api.uid, "deployment": null}),
        ),
        (
            "/nowhere",
            get("nowhere.test", "/nowhere", good),
            json!({"status": 403, "host": "nowhere.test", "deployment": null}),
        ),
        (
            "/host",
            format!("GET /host HTTP/1.1\r\nhost: user:password@{HOST}\r\n\r\n"),
            json!({"status": 400, "reason": "bad_host", "host": "", "cause": "the Host is malformed, or contradicts the request target"}),
        ),
        (
            "/a%2e%2e/../x",
            format!("GET /a%2e%2e/../x HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
            json!({"reason": "bad_path", "cause": "the path holds a dot segment or a backslash; send the path you mean", "status": 400}),
        ),
        (
            "/pickle",
            String::from_utf8(request("POST", "/pickle", HOST, good, &["content-type: application/vnd.pickle"], b""))
                .unwrap(),
            json!({"status": 415, "reason": "pickle_refused", "cause": "this Deployment refuses pickled content"}),
        ),
        (
            "/connection",
            String::from_utf8(request("GET", "/connection", HOST, good, &["connection: cookie"], b"")).unwrap(),
            json!({"status": 400, "reason": "bad_connection", "cause": "Connection names a field that must reach the service"}),
        ),
        (
            "/large",
            String::from_utf8(request("POST", "/large", HOST, good, &["content-length: 2000"], b"")).unwrap(),
            json!({"status": 413, "reason": "body_too_large", "token": uid, "deployment": "a", "bytes_in": 0}),
        ),
        (
            "/dead",
            get("dead.test", "/dead", good),
            json!({"status": 502, "reason": "upstream_unreachable", "deployment": "dead", "token": uid, "cause": "connection refused"}),
        ),
        (
            "/closed",
            get(HOST, "/closed", good),
            json!({"status": 502, "reason": "upstream_closed", "token": uid, "cause": "it closed the connection before its response"}),
        ),
        (
            "/nonsense",
            get(HOST, "/nonsense", good),
            json!({"status": 502, "reason": "upstream_malformed", "cause": "it does not begin with a status line of HTTP/1.1 or HTTP/1.0"}),
        ),
        ("/silent", get(HOST, "/silent", good), json!({"status": 504, "reason": "first_byte_timeout"})),
        ("/theirs", get(HOST, "/theirs", good), json!({"status": 500, "reason": "", "bytes_out": 4})),
    ];
    for (path, request, expected) in cases {
        let answer = gateway.ask(&request);
        assert_eq!(json!(answer.status), expected["status"], "{path}");
        let line = gateway.access_line(path);
        holds(&line, &expected);
        holds(
            &line,
            &json!({"end": "complete", "bytes_out": answer.body.len(), "request_id": answer.header("x-request-id")}),
        );
    }
    // An answer of which only the head is wanted is complete all the same.
    gateway.connect().ask(format!("HEAD /head HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    holds(&gateway.access_line("/head"), &json!({"status": 401, "end": "complete", "bytes_out": 0}));
    let said = gateway.stderr().join("\n");
    assert!(!said.contains("password") && !said.contains("q=1"), "{said}");
}

#[test]
fn a_caller_that_leaves_has_its_line() {
    let upstream = upstream();
    let (gateway, token) = start(&upstream);

    let mut caller = gateway.connect();
    caller.send(get(HOST, "/leave-before", &token.text));
    upstream.await_requests(1);
    caller.leave();
    let line = gateway.access_line("/leave-before");
    holds(
        &line,
        &json!({"status": null, "end": "caller_left", "token": token.uid, "deployment": "a", "first_byte_ms": null, "bytes_out": 0}),
    );

    let mut caller = gateway.connect();
    caller.send(get(HOST, "/leave-during", &token.text));
    caller.head();
    caller.chunk().unwrap();
    caller.leave();
    holds(&gateway.access_line("/leave-during"), &json!({"status": 200, "end": "caller_left", "bytes_out": 3}));

    let mut caller = gateway.connect();
    caller.send(request("POST", "/leave-upload", HOST, &token.text, &["content-length: 100"], b"abc"));
    upstream.await_requests(3);
    caller.leave();
    holds(&gateway.access_line("/leave-upload"), &json!({"end": "caller_left", "deployment": "a", "bytes_in": 3}));
}

#[test]
fn an_answer_that_is_cut_has_its_line() {
    let upstream = upstream();
    let (gateway, token) = start(&upstream);
    for (path, end, cause) in [
        ("/cut", "upstream_cut", "it closed the connection within its response"),
        ("/bad-chunk", "upstream_cut", "a chunk is longer than its size says, or not followed by CRLF"),
        ("/idle", "timeout", "the service was silent for too long (idle timeout)"),
    ] {
        let mut caller = gateway.connect();
        caller.send(get(HOST, path, &token.text));
        let head = caller.head();
        assert!(caller.body(&head).is_err());
        let line = gateway.access_line(path);
        holds(&line, &json!({"status": 200, "end": end, "cause": cause, "bytes_out": 3, "token": token.uid}));
    }
}

/// What is no HTTP has a line, too: attacks are often of that kind.
#[test]
fn what_is_not_http_has_its_line() {
    let gateway = Gateway::start("");
    for (bytes, status, reason, cause) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "malformed_request", "invalid HTTP method parsed"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), 400, "malformed_request", "invalid HTTP header parsed"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n".to_owned(),
            400,
            "malformed_request",
            "invalid content-length parsed",
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000)),
            431,
            "header_too_large",
            "message head is too large",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(200)),
            431,
            "header_too_large",
            "message head is too large",
        ),
    ] {
        let before = gateway.access_lines().len();
        assert_eq!(gateway.ask(&bytes).status, status);
        wait_until("a line", SOON, || gateway.access_lines().len() > before);
        let lines = gateway.access_lines();
        assert_eq!(lines.len(), before + 1);
        holds(
            lines.last().unwrap(),
            &json!({"status": status, "reason": reason, "cause": cause, "client": "127.0.0.1", "method": null, "token": null}),
        );
    }
}

#[test]
fn a_thousand_requests_have_a_thousand_lines() {
    let upstream = Upstream::named("a");
    let setup = Setup::new(&deployment("a", upstream.address, "protected = false")).env("PROXY__WORKERS", "3");
    let mut gateway = setup.start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut caller = gateway.connect();
                for _ in 0..250 {
                    assert_eq!(caller.ask(get(HOST, "/", "unused")).status, 200);
                }
            });
        }
    });
    // The last ones are written although the end comes right behind them.
    assert_eq!(gateway.terminate().code(), Some(0));
    let ids: BTreeSet<String> = gateway.access_lines().iter().map(|line| line["request_id"].to_string()).collect();
    assert_eq!((gateway.access_lines().len(), ids.len()), (1000, 1000));
}

#[test]
fn the_log_can_be_readable_or_off() {
    let upstream = Upstream::named("a");
    let config = deployment("a", upstream.address, "protected = false");
    let mut gateway = Setup::new(&config).env("LOG__FORMAT", "pretty").start();
    assert_eq!(gateway.ask(&get(HOST, "/shown?secret", "unused")).status, 200);
    gateway.terminate();
    let lines: Vec<String> = gateway.stderr().into_iter().filter(|line| line.contains("/shown")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains("cause"), "{}", lines[0]);
    for part in ["127.0.0.1 GET a.test/shown 200", "deployment=a", "end=complete", "out=1"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!lines[0].contains("secret"));

    let mut gateway = Setup::new(&format!("[log]\naccess = false\n{config}")).start();
    assert_eq!(gateway.ask(&get(HOST, "/hidden", "unused")).status, 200);
    gateway.terminate();
    assert!(gateway.stderr().iter().all(|line| !line.contains("/hidden")));
}
