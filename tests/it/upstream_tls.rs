//! Upstreams that are reached by TLS: everything works as without, and certificates are verified, shown and replaced.

use std::{fs, net::SocketAddr, time::Duration};

use serde_json::json;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    harness::{
        SOON, api,
        authority::Authority,
        gateway::{Gateway, Setup, deployment},
        http::{get, request},
        metrics::scrape_until,
        pair::HOST,
        tls_front::{Handshake, Setting, TlsFront},
        upstream::{Upstream, response},
        wait_until,
    },
    proxy_websocket::{authorized, echo},
};

/// The Deployment `a`, of whose upstream the gateway is told by this URL.
pub fn by_tls(url: &str, settings: &str) -> String {
    format!("[deployments.a]\nupstream = \"{url}\"\nhosts = [\"{HOST}\"]\n[deployments.a.upstream_tls]\n{settings}\n")
}

fn localhost(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

/// A gateway that trusts the authority in `ca.pem`.
fn trusting(authority: &Authority, front: &TlsFront) -> Gateway {
    let setup = Setup::new(&by_tls(&localhost(front.address), "ca_file = \"ca.pem\""));
    authority.write(setup.directory(), "ca.pem");
    setup.start()
}

#[test]
fn requests_share_a_connection_with_tls() {
    let (upstream, authority) = (Upstream::named("a"), Authority::new());
    let identity = authority.signs(&["localhost"]);
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let front = TlsFront::start(upstream.address, &Setting { versions, ..Setting::of(&identity) });
        let before = upstream.connections();
        let gateway = trusting(&authority, &front);
        let token = gateway.token(&["deployment:a"]).text;
        let mut caller = gateway.connect();
        for _ in 0..5 {
            assert_eq!(caller.ask(get(HOST, "/", &token)).text(), "a");
            let posted = request("POST", "/", HOST, &token, &["content-length: 3"], b"abc");
            assert_eq!(gateway.connect().ask(posted).text(), "a");
        }
        assert_eq!(upstream.connections() - before, 1);
        let server_name = Some("localhost".to_owned());
        let seen = Handshake { server_name, protocol: Some(b"http/1.1".to_vec()), shows_certificate: false };
        assert_eq!(front.handshakes(), [seen]);
        // What the service is told of the caller is about the caller's connection.
        assert_eq!(upstream.requests().last().unwrap().header("x-forwarded-proto"), Some("http"));
        let scrape = scrape_until(&gateway, "its requests", |scrape| {
            scrape.sum("http_client_request_duration_seconds_count", &["deployment=\"a\""]) == 10.0
        });
        assert_eq!(scrape.sum("bento_gateway_upstream_reachable", &["deployment=\"a\""]), 1.0);
        // Who ends a connection says so (RFC 8446 § 6.1).
        drop(caller);
        wait_until("the idle connection is let go", SOON, || front.ends() == [true]);
    }
}

#[test]
fn large_bodies_go_both_ways_whole() {
    const SIZE: usize = 8 << 20;
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let upstream = Upstream::answering(|request| response(200, &[], &request.body));
    let authority = Authority::new();
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["localhost"])));
    let gateway = trusting(&authority, &front);
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    for framing in [format!("content-length: {SIZE}"), "transfer-encoding: chunked".to_owned()] {
        let sent = if framing.starts_with('c') {
            body.clone()
        } else {
            let chunks =
                body.chunks(100_000).map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
            chunks.chain([b"0\r\n\r\n".to_vec()]).flatten().collect()
        };
        let mut writer = crate::harness::http::Client::on(caller.stream.try_clone().unwrap());
        let head = request("POST", "/", HOST, &token, &[&framing], b"");
        let sending = std::thread::spawn(move || {
            writer.send(head);
            writer.send(sent);
        });
        let answer = caller.response(false);
        sending.join().unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{framing}: the body was changed");
    }
}

#[test]
fn streams_arrive_as_they_are_sent_and_end_with_their_caller() {
    let (upstream, authority) = (Upstream::watching(), Authority::new());
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["localhost"])));
    let gateway = trusting(&authority, &front);
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    caller.send(get(HOST, "/stream", &token));
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().unwrap().unwrap(), b"first");
    caller.leave();
    upstream.await_closed(1, SOON);
    let mut caller = gateway.connect();
    caller.send(get(HOST, "/silent", &token));
    upstream.await_requests(2);
    caller.leave();
    upstream.await_closed(2, SOON);
}

#[test]
fn a_websocket_goes_through_tls() {
    let (upstream, authority) = (echo(), Authority::new());
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["localhost"])));
    let gateway = trusting(&authority, &front);
    let token = gateway.token(&["deployment:a"]);
    let mut socket = authorized(&gateway, &token);
    for size in [0, 125, 65_536, 1 << 20] {
        let message = Message::binary(vec![7u8; size]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    gateway.revoke(&token);
    // The service is told, too: by a close frame, which its library answers with the end.
    wait_until("the tunnel has ended", SOON, || socket.read().is_err());
    wait_until("the service's side has ended", SOON, || front.ends() == [true]);
}

/// An idle connection that the service closes, with a word of TLS or without, fails no request.
#[test]
fn an_idle_connection_that_the_upstream_closed_fails_no_request() {
    let authority = Authority::new();
    let identity = authority.signs(&["localhost"]);
    for says_end in [true, false] {
        let upstream = Upstream::start(|peer| {
            peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            while peer.request().is_some() {
                peer.send(response(200, &[], b"a"));
            }
            peer.close();
        });
        let front = TlsFront::start(upstream.address, &Setting { says_end, ..Setting::of(&identity) });
        let gateway = trusting(&authority, &front);
        let token = gateway.token(&["deployment:a"]).text;
        for closed in 0..4 {
            let method = if closed % 2 == 0 { "POST" } else { "GET" };
            let asked = request(method, "/", HOST, &token, &["content-length: 3"], b"abc");
            let answer = gateway.connect().ask(asked);
            assert_eq!(answer.status, 200, "{method}: {}", answer.text());
            upstream.await_closed(closed + 1, SOON);
            // Until the front has passed it on.
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(upstream.connections(), 4);
    }
}

#[test]
fn a_client_certificate_is_shown_and_replaced_without_a_restart() {
    let (upstream, authority, clients) = (Upstream::named("a"), Authority::new(), Authority::new());
    let identity = authority.signs(&["bento.internal"]);
    let setting = Setting { clients: Some(&clients), ..Setting::of(&identity) };
    let front = TlsFront::start(upstream.address, &setting);
    let settings = "ca_file = \"ca.pem\"\ncertificate_file = \"client.pem\"\nkey_file = \"client-key.pem\"\n\
                    server_name = \"bento.internal\"";
    let setup = Setup::new(&by_tls(&format!("https://{}", front.address), settings));
    // Neither side knows the other at first.
    Authority::new().write(setup.directory(), "ca.pem");
    Authority::new().signs(&["gateway"]).write(setup.directory(), "client");
    let gateway = setup.start();
    let token = gateway.token(&["deployment:a"]).text;
    let ask = || gateway.ask(&get(HOST, "/", &token));
    assert_eq!((ask().status, ask().code().as_str()), (502, "upstream_tls_failed"));

    authority.write(&gateway.path(""), "ca.pem");
    let refused = |cause: &str| {
        ask();
        gateway
            .access_lines()
            .last()
            .is_some_and(|line| line["cause"].as_str().is_some_and(|text| text.contains(cause)))
    };
    wait_until("the service is trusted, and does not trust", SOON, || refused("refuses the certificate"));
    clients.signs(&["gateway"]).write(&gateway.path(""), "client");
    wait_until("both trust", SOON, || ask().status == 200);
    let last = front.handshakes().last().cloned().unwrap();
    assert_eq!((last.server_name.as_deref(), last.shows_certificate), (Some("bento.internal"), true));

    fs::write(gateway.path("client-key.pem"), "no key").unwrap();
    gateway.await_said(&["was not reloaded", "client-key.pem"]);
    assert_eq!(ask().status, 200);
}

/// A stored Deployment can name the scheme, and is verified by the roots of the system, which OpenSSL's variable names.
#[test]
fn a_stored_deployment_trusts_whom_the_system_trusts() {
    let (upstream, authority) = (Upstream::named("ready"), Authority::new());
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["localhost"])));
    let setup = Setup::new("");
    authority.write(setup.directory(), "roots.pem");
    let roots = setup.directory().join("roots.pem");
    let gateway = setup.variable("SSL_CERT_FILE", roots.to_str().unwrap()).start();
    let admin = gateway.token(&["api"]).text;
    let url = localhost(front.address);
    let body = json!({ "name": "a", "upstreams": [url], "hosts": [HOST] });
    let (status, added) = api::ask(&gateway, &admin, "POST", "/api/v2/deployments", Some(&body));
    assert!(matches!(status, 200 | 201), "{added}");
    let token = gateway.token(&["deployment:a"]).text;
    wait_until("requests reach it", SOON, || gateway.ask(&get(HOST, "/", &token)).status == 200);
    // The gateway itself asks it whether it is ready, and no other way.
    let listed = gateway.cli(&["deployment", "list"]);
    assert!(listed.to_string().contains(&url), "{listed}");
    let (_, shown) = api::get(&gateway, &admin, "/api/v2/deployments/a");
    assert_eq!(shown["status"], "running", "{shown}");
    assert!(upstream.requests().iter().any(|request| request.target == "/readyz"));
}

#[test]
fn what_cannot_be_used_is_a_problem_of_the_configuration() {
    let authority = Authority::new();
    let plain = "http://127.0.0.1:1";
    let secure = "https://127.0.0.1:1";
    for (url, settings, says) in [
        (secure, "ca_file = \"none.pem\"", "none.pem"),
        (secure, "ca_file = \"client-key.pem\"", "holds no certificate"),
        (secure, "certificate_file = \"client.pem\"", "without the other"),
        (secure, "certificate_file = \"client.pem\"\nkey_file = \"other-key.pem\"", "do not make a pair"),
        (secure, "server_name = \"a b\"", "no name that a certificate can have"),
        (secure, "cafile = \"ca.pem\"", "did you mean ca_file"),
        (plain, "ca_file = \"ca.pem\"", "no upstream is reached by TLS"),
    ] {
        let setup = Setup::new(&by_tls(url, settings));
        authority.write(setup.directory(), "ca.pem");
        authority.signs(&["gateway"]).write(setup.directory(), "client");
        authority.signs(&["gateway"]).write(setup.directory(), "other");
        let mut gateway = setup.spawn();
        assert_eq!(gateway.wait().code(), Some(78), "{settings}");
        let said = gateway.stderr().join("\n");
        assert!(said.contains(says), "{settings}: {said}");
    }
    // By a variable, too.
    let config = deployment("a", "127.0.0.1:1".parse().unwrap(), "").replace("http://", "https://");
    let mut gateway = Setup::new(&config).env("DEPLOYMENTS__A__UPSTREAM_TLS__CA_FILE", "none.pem").spawn();
    assert_eq!(gateway.wait().code(), Some(78));
    assert!(gateway.stderr().join("\n").contains("none.pem"));
}
