//! The management listener as a listener: how many connections it keeps, how long each may wait, TLS of its own, and that
//! what runs at the end of the process is answered.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{
        SOON, api,
        gateway::{Gateway, Setup, Token, deployment},
        http::{Client, ReadEnd, get},
        upstream::Upstream,
        wait_until,
    },
    proxy_tls::{Certificate, by_tls_at, client},
};

/// Connections that send nothing, or not all of a header.
fn silent(address: SocketAddr, count: usize) -> Vec<Client> {
    let connect = |number: usize| {
        let mut client = Client::try_connect(address).ok()?;
        if number % 2 == 1 {
            client.try_send(b"GET /livez HTTP/1.1\r\n").ok()?;
        }
        Some(client)
    };
    (0..count).filter_map(connect).collect()
}

#[test]
fn silent_connections_keep_nobody_out() {
    let limits = "[management.limits]\nmax_connections = 8\nheader_timeout = \"10m\"\nkeep_alive_timeout = \"10m\"\n";
    let gateway = Gateway::start(limits);
    let mut kept = silent(gateway.management, 60);
    for _ in 0..20 {
        assert_eq!(gateway.readyz(), Some(200));
    }
    assert_ne!(kept[0].rest().1, ReadEnd::TimedOut, "the longest silent one has its place still");
    // Nor do those that have asked once.
    let mut idle = Client::connect(gateway.management);
    assert_eq!(idle.ask("GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n").status, 200);
    let _newer = silent(gateway.management, 60);
    assert_eq!(gateway.readyz(), Some(200));
    assert_ne!(idle.rest().1, ReadEnd::TimedOut);
    // Nor those whose request has come, but for its body: anybody may begin these.
    let forms = "content-type: application/x-www-form-urlencoded";
    for (path, kind) in [("/api/v1/leaked_tokens", "content-type: application/json"), ("/sign-in", forms)] {
        let origin = format!("origin: http://{}\r\nhost: {}", gateway.management, gateway.management);
        let head = format!("POST {path} HTTP/1.1\r\n{origin}\r\n{kind}\r\ncontent-length: 20\r\n\r\n{{");
        let mut kept: Vec<_> = (0..60)
            .map(|_| {
                let mut client = Client::connect(gateway.management);
                let _ = client.try_send(head.as_bytes());
                client
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(gateway.readyz(), Some(200), "{path}");
        }
        assert_ne!(kept[0].rest().1, ReadEnd::TimedOut);
    }
}

/// An answer that is still on its way takes a place that nobody else gets.
#[test]
fn a_slow_reader_gets_its_whole_answer() {
    let limits = "[management.limits]\nmax_connections = 4\nkeep_alive_timeout = \"1s\"\n";
    let gateway = Gateway::start(limits);
    let asks = "GET /openapi.json HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let whole = Client::connect(gateway.management).ask(asks).body;
    // More answers than the two sockets hold.
    let mut slow = Client::connect(gateway.management);
    let answers = 120;
    slow.send(asks.repeat(answers));
    std::thread::sleep(Duration::from_secs(3));
    let _silent = silent(gateway.management, 20);
    assert_eq!(gateway.readyz(), Some(200));
    for answer in 0..answers {
        assert_eq!(slow.response(false).body.len(), whole.len(), "{answer}");
    }
}

/// Nor do those keep others out that ask for much, again and again, and take nothing of it.
#[test]
fn answers_that_nobody_takes_keep_nobody_out() {
    let limits = "[management.limits]\nmax_connections = 8\nkeep_alive_timeout = \"10m\"\n";
    let gateway = Gateway::start(limits);
    let asks = "GET /openapi.json HTTP/1.1\r\nhost: gateway\r\n\r\n".repeat(200);
    let mut kept: Vec<Client> = Vec::new();
    for _ in 0..3 {
        for _ in 0..8 {
            let mut client = Client::connect(gateway.management);
            let _ = client.try_send(asks.as_bytes());
            kept.push(client);
        }
        for _ in 0..5 {
            assert_eq!(gateway.readyz(), Some(200));
        }
    }
}

/// On both listeners beside the proxy's. What is no request at all leaves a line in the log, too.
#[test]
fn what_the_router_never_sees_is_answered_and_told() {
    let gateway = Gateway::start("");
    for (name, address, path) in [
        ("the management listener", gateway.management, "/livez"),
        ("the telemetry listener", gateway.telemetry, "/metrics"),
    ] {
        let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
        let host = "host: gateway\r\n";
        for size in [16 * 1024, 17 * 1024, 66_000, 1_000_000] {
            let target = format!("/{}", "x".repeat(size));
            let mut client = Client::connect(address);
            // Also as a further request of a connection.
            assert_eq!(client.ask(get(path, host)).status, 200);
            let answer = client.ask(get(&target, host));
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (414, Some("uri_too_long")),
                "{size} at {name}"
            );
        }
        let longest = format!("{path}?{}", "x".repeat(16 * 1024 - path.len() - 1));
        assert_eq!(Client::connect(address).ask(get(&longest, host)).status, 200, "{name}");
        for hosts in ["", "host: gateway\r\nhost: other\r\n", "host: gateway\r\nhost: gateway\r\n"] {
            let answer = Client::connect(address).ask(get(path, hosts));
            assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("bad_host")), "{hosts:?} at {name}");
        }
        let old = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(Client::connect(address).ask(&old).status, 200, "HTTP/1.0 has no Host");

        let told = |reason: &str| gateway.await_said(&[reason, name]);
        told("the request target is longer than");
        told("does not have one Host field");
        let mut nonsense = Client::connect(address);
        nonsense.send("N\u{1}nsense / HTTP/1.1\r\n\r\n");
        assert_eq!(nonsense.head().status, 400);
        told("a request could not be read");
        told("invalid HTTP method");
        let mut by_tls = Client::connect(address);
        by_tls.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more of a client's hello\r\n\r\n");
        let _ = by_tls.rest();
        told("was https:// used for http://?");
    }
}

#[test]
fn a_body_of_one_line_is_not_counted_as_the_next_requests_target() {
    let gateway = Gateway::start("");
    let mut client = Client::connect(gateway.management);
    let body = "x".repeat(40_000);
    for _ in 0..3 {
        let head = "POST /api/v1/leaked_tokens HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json";
        let answer = client.ask(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    assert_eq!(client.ask("GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n").status, 200);
}

#[test]
fn a_connection_does_not_wait_for_ever() {
    let long_idle = "[management.limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"10m\"\n";
    let gateway = Gateway::start(long_idle);
    for begun in ["", "GET /livez HTTP/1.1\r\nhost: a\r\n"] {
        let mut client = Client::connect(gateway.management);
        client.send(begun);
        assert_ne!(client.rest().1, ReadEnd::TimedOut, "{begun:?}");
    }
    let mut client = Client::connect(gateway.management);
    assert_eq!(client.ask("GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n").status, 200);
    client.send("GET /livez HTTP/1.1\r\n");
    assert_ne!(client.rest().1, ReadEnd::TimedOut, "the header of a further request");

    let short_idle = "[management.limits]\nheader_timeout = \"10m\"\nkeep_alive_timeout = \"1s\"\n";
    let gateway = Gateway::start(short_idle);
    let mut client = Client::connect(gateway.management);
    for _ in 0..3 {
        assert_eq!(client.ask("GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n").status, 200);
    }
    assert_ne!(client.rest().1, ReadEnd::TimedOut);
}

/// What is open at the management listener takes nothing from callers, upstreams and the store.
#[test]
fn the_proxy_has_its_own_descriptors() {
    let upstream = Upstream::named("a");
    let config = deployment("a", upstream.address, "");
    let gateway = Setup::new(&config).ulimit("-n 256").start();
    gateway.await_said(&["the limit of open files is too low"]);
    let token = gateway.token(&["deployment:a"]);
    let _kept = silent(gateway.management, 1000);
    for _ in 0..20 {
        assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
    }
    gateway.revoke(&token);
    wait_until("the revocation arrives", SOON, || gateway.ask(&get("a.test", "/", &token.text)).status == 401);
    assert_eq!(gateway.readyz(), Some(200));
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_may_be() {
    let gateway = Setup::new("").ulimit("-S -n 200").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let values: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(values[0], values[1], "{line}");
}

/// What comes to nothing, the operator can find out about, as at the proxy.
#[test]
fn the_log_says_why_a_connection_came_to_nothing() {
    let setup = Setup::new(
        "[management.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n[management.limits]\nheader_timeout = \"1s\"\n",
    );
    Certificate::new().write(setup.directory());
    let gateway = setup.spawn();
    let says = |gateway: &Gateway, texts: [&str; 2]| {
        let said = |line: &String| texts.iter().all(|text| line.contains(text)) && line.contains("management listener");
        wait_until("the log says why", SOON, || gateway.stderr().iter().any(said));
    };
    let reachable = || Client::try_connect(gateway.management).is_ok();
    wait_until("it listens", SOON, reachable);
    let mut clear = Client::connect(gateway.management);
    clear.send("GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n");
    clear.rest();
    says(&gateway, ["a TLS handshake failed", "what came is not TLS"]);
    let mut silent = Client::connect(gateway.management);
    // The beginning of a handshake, and no more.
    silent.send(b"\x16\x03\x01");
    silent.rest();
    says(&gateway, ["a TLS handshake failed", "header_timeout"]);

    let gateway = Gateway::start("");
    for (beginning, version) in
        [(&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], "1"), (&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], "2")]
    {
        let mut caller = Client::connect(gateway.management);
        caller.send(beginning);
        caller.send(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n");
        assert!(caller.rest().0.starts_with(b"HTTP/1.1 400 "), "version {version}");
        says(&gateway, ["PROXY protocol", &format!("\"version\":{version}")]);
    }
}

#[test]
fn tls_of_its_own() {
    let certificate = Certificate::new();
    let setup = Setup::new("[management.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    certificate.write(setup.directory());
    let mut gateway = setup.spawn();
    let healthy = |gateway: &Gateway| gateway.cli_command(&["healthcheck"]).output().unwrap().status.success();
    wait_until("the health check succeeds", Duration::from_secs(60), || healthy(&gateway));
    let link = format!("https://{}/welcome?code=", gateway.management);
    wait_until("the link is shown", SOON, || gateway.stdout().iter().any(|line| line.contains(&link)));

    let trusting = client(&[&certificate], &["h2", "http/1.1"]);
    let mut browser = by_tls_at(gateway.management, &trusting);
    for _ in 0..2 {
        let page = browser.ask("GET /sign-in HTTP/1.1\r\nhost: console.test\r\n\r\n");
        assert_eq!(page.status, 200);
        let cookie = page.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-") && cookie.ends_with("; Secure"), "{cookie}");
    }
    assert_eq!(browser.stream.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(gateway.readyz(), None, "clear text is answered");

    // New connections get the new certificate; running ones go on.
    let new = Certificate::new();
    new.write(&gateway.path(""));
    let renewed = || by_tls_at(gateway.management, &client(&[&new], &[])).try_send(b"GET /livez HTTP/1.1\r\n").is_ok();
    wait_until("the new certificate is used", SOON, renewed);
    assert_eq!(browser.ask("GET /livez HTTP/1.1\r\nhost: console.test\r\n\r\n").status, 200);
    assert_eq!(gateway.terminate().code(), Some(0));
}

/// Two gateways on one store, of which the second is frozen: a change waits for it.
struct Frozen {
    gateway: Gateway,
    other: Gateway,
    admin: String,
    rotated: Token,
    _directory: tempfile::TempDir,
}

impl Frozen {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", directory.path().join("shared.db").display());
        let start = || Setup::new("").env("STORE__URL", &store).start();
        let (gateway, other) = (start(), start());
        let admin = gateway.token(&["api"]).text;
        let rotated = gateway.token(&["api"]);
        other.signal("STOP");
        Self { gateway, other, admin, rotated, _directory: directory }
    }

    /// Asks, and ends the gateway as soon as the change is made.
    fn ask_and_terminate(&mut self, path: &str, body: Value, made: impl Fn(&Gateway) -> bool) -> (u16, Value) {
        let Self { gateway, admin, .. } = self;
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(|| api::post(gateway, admin, path, body));
            wait_until("the change is made", SOON, || made(gateway));
            gateway.signal("TERM");
            asking.join().unwrap()
        });
        assert_eq!(gateway.wait().code(), Some(0));
        answer
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.other.signal("CONT");
    }
}

#[test]
fn the_text_of_a_new_token_is_delivered_at_the_end() {
    let mut frozen = Frozen::new();
    let body = json!({ "name": "late", "scopes": ["api"] });
    let made = |gateway: &Gateway| gateway.cli(&["token", "list"])["total"] == 3;
    let (status, answer) = frozen.ask_and_terminate("/api/v1/api_tokens", body, made);
    assert_eq!(status, 200, "{answer}");
    assert!(answer["token"].as_str().unwrap().starts_with("bgw_"), "{answer}");
}

#[test]
fn the_text_of_a_rotated_token_is_delivered_at_the_end() {
    let mut frozen = Frozen::new();
    let rotated = frozen.rotated.clone();
    let path = format!("/api/v1/api_tokens/{}/rotate", rotated.uid);
    let made = |gateway: &Gateway| gateway.code_of(&rotated.text) == "token_rotated";
    let (status, answer) = frozen.ask_and_terminate(&path, json!({ "overlap": "0s" }), made);
    assert_eq!(status, 200, "{answer}");
    assert_ne!(answer["token"].as_str().unwrap(), rotated.text);
}
