//! Upstreams whose TLS is at fault: the operator learns what is wrong, the caller that there is no connection, and nothing
//! passes.

use std::io::Write;

use crate::{
    harness::{
        SOON,
        authority::{Authority, Validity},
        gateway::{Gateway, Setup},
        http::{ReadEnd, get, request},
        pair::HOST,
        tls_front::{Setting, TlsFront},
        upstream::{CHUNKED, Upstream, response},
        wait_until,
    },
    upstream_tls::by_tls,
};

fn start(authority: &Authority, url: &str) -> (Gateway, String) {
    let setup = Setup::new(&by_tls(url, "ca_file = \"ca.pem\""));
    authority.write(setup.directory(), "ca.pem");
    let gateway = setup.start();
    let token = gateway.token(&["deployment:a"]).text;
    (gateway, token)
}

/// What the caller is told in whatever case, and the operator in this one.
fn fails(gateway: &Gateway, token: &str, cause: &str) {
    for method in ["GET", "POST"] {
        let asked = request(method, "/secret", HOST, token, &["content-length: 3"], b"abc");
        let answer = gateway.connect().ask(asked);
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_tls_failed"), "{}", answer.text());
        let told = answer.text();
        assert!(told.contains("no secure connection to the service can be made"), "{told}");
        assert!(
            !["localhost", "127.0.0.1", "certificate", "ca_file"].iter().any(|detail| told.contains(detail)),
            "{told}"
        );
    }
    let lines = || gateway.access_lines().into_iter().filter(|line| line["path"] == "/secret").collect::<Vec<_>>();
    wait_until("both are logged", SOON, || lines().len() == 2);
    for line in lines() {
        assert_eq!(line["reason"], "upstream_tls_failed", "{line}");
        assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    }
}

#[test]
fn who_is_not_who_it_should_be_gets_no_request() {
    let upstream = Upstream::named("a");
    let (authority, other) = (Authority::new(), Authority::new());
    for (identity, cause) in [
        (other.signs(&["localhost"]), "signed by nobody whom the gateway trusts"),
        (authority.signs(&["another.test"]), "names another host"),
        (authority.signs(&["127.0.0.1"]), "names another host"),
        (authority.signs_for(&["localhost"], Validity::Over), "has expired"),
        (authority.signs_for(&["localhost"], Validity::Later), "not valid yet"),
    ] {
        let front = TlsFront::start(upstream.address, &Setting::of(&identity));
        let (gateway, token) = start(&authority, &format!("https://localhost:{}", front.address.port()));
        fails(&gateway, &token, cause);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_address_is_verified_as_an_address() {
    let (upstream, authority) = (Upstream::named("a"), Authority::new());
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["127.0.0.1"])));
    let (gateway, token) = start(&authority, &format!("https://{}", front.address));
    assert_eq!(gateway.ask(&get(HOST, "/", &token)).text(), "a");
    assert_eq!(front.handshakes()[0].server_name, None, "an address is no server name (RFC 6066 § 3)");
}

#[test]
fn what_speaks_no_tls_or_hangs_up_is_told_apart() {
    let authority = Authority::new();
    let plain = Upstream::start(|peer| {
        let _ = peer.stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.await_close();
    });
    let (gateway, token) = start(&authority, &format!("https://{}", plain.address));
    fails(&gateway, &token, "is not TLS");
    let closing = Upstream::start(|peer| peer.close());
    let (gateway, token) = start(&authority, &format!("https://{}", closing.address));
    fails(&gateway, &token, "ended the handshake");
}

#[test]
fn a_certificate_that_is_wanted_and_missing_is_named() {
    let (upstream, authority, clients) = (Upstream::named("a"), Authority::new(), Authority::new());
    let identity = authority.signs(&["127.0.0.1"]);
    let front = TlsFront::start(upstream.address, &Setting { clients: Some(&clients), ..Setting::of(&identity) });
    let (gateway, token) = start(&authority, &format!("https://{}", front.address));
    fails(&gateway, &token, "wants a certificate of the gateway");
    assert_eq!(upstream.connections(), 0);
}

/// A handshake that hangs is a connection that does not come about in time.
#[test]
fn a_handshake_counts_as_connecting() {
    let hanging = Upstream::start(|peer| {
        peer.await_close();
    });
    let authority = Authority::new();
    let config = by_tls(&format!("https://{}", hanging.address), "ca_file = \"ca.pem\"");
    let setup = Setup::new(&config.replace("hosts =", "connect_timeout = \"300ms\"\nhosts ="));
    authority.write(setup.directory(), "ca.pem");
    let gateway = setup.start();
    let token = gateway.token(&["deployment:a"]).text;
    let answer = gateway.ask(&get(HOST, "/", &token));
    assert_eq!((answer.status, answer.code().as_str()), (504, "connect_timeout"));
}

/// Somebody who cuts a connection can end a body early, and cannot make TLS say so.
#[test]
fn an_end_that_tls_does_not_say_is_no_end_of_a_body() {
    let upstream = Upstream::start(|peer| {
        let Some(request) = peer.head() else { return };
        match request.target.as_str() {
            "/to-the-end" => peer.send("HTTP/1.1 200 OK\r\n\r\nabc"),
            "/length" => peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
            "/chunked" => peer.send(format!("{CHUNKED}3\r\nabc\r\n")),
            "/head" => peer.send("HTTP/1.1 200 OK\r\ncontent-"),
            other => panic!("{other}"),
        }
        peer.close();
    });
    let authority = Authority::new();
    let identity = authority.signs(&["127.0.0.1"]);
    for says_end in [true, false] {
        let front = TlsFront::start(upstream.address, &Setting { says_end, ..Setting::of(&identity) });
        let (gateway, token) = start(&authority, &format!("https://{}", front.address));
        for (path, complete) in [("/to-the-end", says_end), ("/length", false), ("/chunked", false)] {
            let mut caller = gateway.connect();
            caller.send(get(HOST, path, &token));
            let answer = caller.head();
            assert_eq!(answer.status, 200, "{path}");
            let body = caller.body(&answer);
            assert_eq!(body.is_ok(), complete, "{path}, says its end: {says_end}: {body:?}");
            assert_ne!(body.err(), Some(ReadEnd::TimedOut));
            let line = gateway.access_line(path);
            assert_eq!(line["end"], if complete { "complete" } else { "upstream_cut" }, "{line}");
            if !complete {
                let cause = if says_end { "within its response" } else { "close_notify" };
                assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
            }
        }
        let answer = gateway.ask(&get(HOST, "/head", &token));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_closed"));
    }
}

/// A service may answer and end its side while the request is still on its way.
#[test]
fn an_early_answer_is_passed_on() {
    let upstream = Upstream::start(|peer| {
        if peer.head().is_none() {
            return;
        }
        peer.send(response(413, &["connection: close"], b"too large"));
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        peer.await_close();
    });
    let authority = Authority::new();
    let front = TlsFront::start(upstream.address, &Setting::of(&authority.signs(&["127.0.0.1"])));
    let (gateway, token) = start(&authority, &format!("https://{}", front.address));
    let mut caller = gateway.connect();
    caller.send(request("POST", "/x", HOST, &token, &["content-length: 10000000"], b""));
    let answer = caller.response(false);
    assert_eq!((answer.status, answer.text().as_str()), (413, "too large"));
}
