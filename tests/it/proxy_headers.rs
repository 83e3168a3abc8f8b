//! Which fields travel on, in both directions, and which are the gateway's to say. What a caller may not say, and
//! `Connection`, are in `wire`.

use std::{io::Write, net::SocketAddr};

use crate::harness::{
    gateway::{Gateway, deployment},
    http::{Response, request},
    pair::{HOST, Pair},
    upstream::{CHUNKED, Request, Upstream, response},
};

/// What the upstream sees of a GET with these fields.
fn arrives(pair: &Pair, fields: &[&str]) -> Request {
    let before = pair.upstream.requests().len();
    let answer = ask(pair, fields);
    assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
    let requests = pair.upstream.requests();
    assert_eq!(requests.len(), before + 1);
    requests.into_iter().last().unwrap()
}

fn ask(pair: &Pair, fields: &[&str]) -> Response {
    pair.gateway.connect().ask(request("GET", "/x", HOST, &pair.token.text, fields, b""))
}

#[test]
fn a_plain_request_arrives_with_these_fields_and_no_others() {
    let pair = Pair::plain();
    let seen = arrives(&pair, &["Accept: */*", "X-Custom: 1", "X-Custom: 2", "Cookie: a=b", "x-request-id: r-1"]);
    let expected = format!(
        "GET /x HTTP/1.1\r\nhost: {HOST}\r\naccept: */*\r\nx-custom: 1\r\nx-custom: 2\r\ncookie: a=b\r\n\
         x-request-id: r-1\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: {HOST}\r\n\
         x-bento-gateway-deployment: a\r\nx-bento-gateway-token-uid: {}\r\n\r\n",
        pair.token.uid
    );
    assert_eq!(seen.head, expected);
}

#[test]
fn the_credential_stays_here_unless_the_deployment_wants_it() {
    let pair = Pair::plain();
    let seen = arrives(&pair, &["X-YATAI-API-TOKEN: other"]);
    assert!(
        !seen.head.contains(&pair.token.text) && !seen.head.contains("bgw_") && !seen.head.contains("other"),
        "{}",
        seen.head
    );

    let pair = Pair::with(Upstream::named("a"), "", "forward_authorization = true");
    let seen = arrives(&pair, &["Proxy-Authorization: other"]);
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", pair.token.text).as_str()));
    assert!(!seen.head.contains("other"));

    let pair = Pair::with(Upstream::named("a"), "", "protected = false");
    let seen = arrives(&pair, &[]);
    assert!(!seen.head.contains("bgw_"), "{}", seen.head);
    assert_eq!(seen.header("x-bento-gateway-token-uid"), None);
    let answer = pair.gateway.ask("GET /x HTTP/1.1\r\nhost: a.test\r\nx-bento-gateway-token-uid: 1\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(pair.upstream.requests().last().unwrap().header("x-bento-gateway-token-uid"), None);
}

#[test]
fn traces_and_what_a_service_needs_pass_unchanged() {
    let pair = Pair::plain();
    let fields = [
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: a=b,c=d",
        "baggage: k=v",
        "origin: https://page.test",
        "access-control-request-method: POST",
        "range: bytes=0-1",
        "if-none-match: \"x\"",
        "accept-encoding: gzip, deflate",
        "x-custom: caf\u{e9} \u{1F371}",
        "user-agent: test",
    ];
    let seen = arrives(&pair, &fields);
    for field in fields {
        assert!(seen.head.contains(&format!("\r\n{field}\r\n")), "{field}: {}", seen.head);
    }
    // A value keeps its inner spaces and its bytes; what surrounds it is not part of it.
    let seen = arrives(&pair, &["x-spaces: \t a  b\t "]);
    assert_eq!(seen.header("x-spaces"), Some("a  b"));
    assert!(arrives(&pair, &["x-empty:"]).head.contains("\r\nx-empty: \r\n"));
}

#[test]
fn a_request_id_is_kept_if_it_is_harmless_and_told_in_any_case() {
    let pair = Pair::plain();
    for id in ["abc", "A-b_c.d:e+f/g=", &"x".repeat(128)] {
        let answer = ask(&pair, &[&format!("X-Request-Id: {id}")]);
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_eq!(pair.upstream.requests().last().unwrap().header("x-request-id"), Some(id));
    }
    let mut made = std::collections::BTreeSet::new();
    let long = format!("X-Request-Id: {}", "x".repeat(129));
    for fields in [
        vec![],
        vec!["X-Request-Id:"],
        vec!["X-Request-Id: a b"],
        vec!["X-Request-Id: <x>"],
        vec![long.as_str()],
        vec!["X-Request-Id: one", "X-Request-Id: two"],
        vec!["X-Request-Id: \u{e9}"],
    ] {
        let answer = ask(&pair, &fields);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(pair.upstream.requests().last().unwrap().header("x-request-id"), Some(id.as_str()));
        assert_eq!(id.len(), 32, "{fields:?}: {id}");
        assert!(made.insert(id), "it repeats");
    }
}

#[test]
fn forwarding_fields_are_believed_from_trusted_proxies_only() {
    let fields = [
        "X-Forwarded-For: 203.0.113.7, 198.51.100.2",
        "X-Forwarded-For: 127.0.0.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public.test",
        "X-Forwarded-Port: 443",
        "Forwarded: for=1.2.3.4",
    ];
    for (proxy, chain, scheme, host, client) in [
        ("", "127.0.0.1", "http", HOST, "127.0.0.1"),
        ("[proxy]\ntrusted_proxies = [\"10.0.0.0/8\"]", "127.0.0.1", "http", HOST, "127.0.0.1"),
        (
            "[proxy]\ntrusted_proxies = [\"127.0.0.0/8\"]",
            "203.0.113.7, 198.51.100.2, 127.0.0.9, 127.0.0.1",
            "https",
            "public.test",
            "198.51.100.2",
        ),
        (
            "[proxy]\ntrusted_proxies = [\"127.0.0.0/8\", \"198.51.100.2\"]",
            "203.0.113.7, 198.51.100.2, 127.0.0.9, 127.0.0.1",
            "https",
            "public.test",
            "203.0.113.7",
        ),
    ] {
        let pair = Pair::with(Upstream::named("a"), proxy, "");
        let seen = arrives(&pair, &fields);
        assert_eq!(seen.header("x-forwarded-for"), Some(chain), "{proxy}");
        assert_eq!(seen.header("x-forwarded-proto"), Some(scheme), "{proxy}");
        assert_eq!(seen.header("x-forwarded-host"), Some(host), "{proxy}");
        assert_eq!((seen.header("x-forwarded-port"), seen.header("forwarded")), (None, None), "{proxy}");
        // What is said about the public host never routes.
        assert_eq!(seen.header("host"), Some(HOST));
        assert_eq!(pair.gateway.access_line("/x")["client"], client, "{proxy}");
    }
}

#[test]
fn pickle_is_refused_unless_the_deployment_takes_it() {
    let (closed, open) = (Pair::plain(), Pair::with(Upstream::named("a"), "", "allow_pickle = true"));
    for field in [
        "content-type: application/vnd.bentoml+pickle",
        "Content-Type: application/PICKLE",
        "content-type: text/plain; x=pickle",
        "payload-container: NdarrayContainer",
        "Payload-Meta: x",
    ] {
        let answer = ask(&closed, &[field]);
        assert_eq!((answer.status, answer.code().as_str()), (415, "pickle_refused"), "{field}");
        let text = field.to_ascii_lowercase();
        let name = text.split(':').next().unwrap();
        assert_eq!(arrives(&open, &[field]).all(name).len(), 1, "{field}");
    }
    assert_eq!(closed.upstream.connections(), 0);
}

/// What an upstream's answer is, and what of it a caller gets.
#[test]
fn an_answer_loses_what_concerned_its_connection_and_keeps_the_rest() {
    let fields = [
        "Connection: keep-alive, x-hop",
        "Keep-Alive: timeout=5",
        "X-Hop: gone",
        "Proxy-Connection: gone",
        "Proxy-Authenticate: gone",
        "Upgrade: gone",
        "TE: gone",
        "HTTP2-Settings: gone",
        "X-Request-Id: gone",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: b=2",
        "Server: uvicorn",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        "WWW-Authenticate: Basic realm=\"theirs\"",
        "X-Custom: 1",
        "X-Custom: 2",
        "Content-Type: application/json",
        "Vary: accept",
        "X_Under: kept",
    ];
    let upstream = Upstream::answering(move |request| match request.target.as_str() {
        "/401" => response(401, &fields, b"theirs"),
        _ => response(200, &fields, b"x"),
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let answer = gateway.connect().ask(request("GET", "/", HOST, &token, &["x-request-id: mine"], b""));
    let text = format!("{:?}", answer.headers);
    assert!(!text.contains("gone"), "{text}");
    for (name, values) in [
        ("x-request-id", vec!["mine"]),
        ("set-cookie", vec!["a=1; Path=/", "b=2"]),
        ("server", vec!["uvicorn"]),
        ("date", vec!["Thu, 01 Jan 1970 00:00:00 GMT"]),
        ("x-custom", vec!["1", "2"]),
        ("content-type", vec!["application/json"]),
        ("x_under", vec!["kept"]),
        ("www-authenticate", vec!["Basic realm=\"theirs\""]),
    ] {
        assert_eq!(answer.all(name), values, "{text}");
    }
    // The service's own refusal is the service's.
    let answer = gateway.connect().ask(request("GET", "/401", HOST, &token, &[], b""));
    assert_eq!((answer.status, answer.text().as_str()), (401, "theirs"));
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"theirs\""));
}

/// The upstream's version is its own: the caller gets the one that it spoke.
#[test]
fn an_http_1_0_upstream_is_answered_for_in_http_1_1() {
    let upstream = Upstream::start(|peer| {
        while let Some(_request) = peer.request() {
            peer.send("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold");
            peer.close();
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    for _ in 0..2 {
        let answer = caller.ask(request("GET", "/", HOST, &token, &[], b""));
        assert_eq!((answer.version, answer.status, answer.text().as_str()), (1, 200, "old"));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn trailers_pass_but_for_what_they_may_not_say() {
    let upstream = Upstream::start(|peer| {
        while let Some(_request) = peer.request() {
            peer.send(CHUNKED.replace("\r\n\r\n", "\r\ntrailer: x-sum\r\n\r\n"));
            peer.send_chunk("abc");
            peer.send(
                "0\r\nX-Sum: 7\r\nContent-Length: 9\r\nAuthorization: x\r\nX-Forwarded-For: x\r\nSet-Cookie: x\r\n\r\n",
            );
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]).text;

    let mut caller = gateway.connect();
    let fields = ["transfer-encoding: chunked", "te: trailers", "trailer: x-check"];
    let body = "3\r\nabc\r\n0\r\nX-Check: 5\r\nContent-Length: 9\r\nHost: b\r\nX_Under: x\r\nX-Real-Ip: x\r\n\r\n";
    caller.send(request("POST", "/", HOST, &token, &fields, body.as_bytes()));
    let head = caller.head();
    assert_eq!(caller.chunk().unwrap().unwrap(), b"abc");
    assert_eq!(caller.chunk().unwrap(), None);
    assert_eq!(caller.trailers().unwrap(), ["x-sum: 7"], "{head:?}");
    let seen = upstream.only_request();
    assert_eq!((seen.header("te"), seen.body.as_slice()), (Some("trailers"), b"abc".as_slice()));
    assert_eq!(seen.trailers, ["x-check: 5"]);
}

/// The peer's address is what it is, not what an IPv4 address looks like on an IPv6 socket.
#[test]
fn an_ipv4_caller_on_an_ipv6_listener_keeps_its_address() {
    let upstream = Upstream::named("a");
    let probe = std::net::TcpListener::bind("[::]:0").expect("these tests need IPv6 sockets");
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let setup = crate::harness::gateway::Setup::new(&deployment("a", upstream.address, "protected = false"));
    let gateway = setup.env("PROXY__LISTEN", &format!("[::]:{port}")).start();
    let mut stream = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").unwrap();
    upstream.await_requests(1);
    assert_eq!(upstream.only_request().header("x-forwarded-for"), Some("127.0.0.1"));
    drop(gateway);
}
