//! The protocols that callers speak, with curl as the caller: HTTP/1.0, HTTP/1.1 and HTTP/2, in clear text and over TLS.

use std::{fs, path::Path, process::Command};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment},
    http::get,
    upstream::{Upstream, response},
    wait_until,
};

const HOST: &str = "a.test";

/// Runs curl on `/path` of the Deployment; its body, then the status and the protocol's version.
fn curl(gateway: &Gateway, scheme: &str, arguments: &[&str]) -> String {
    let port = gateway.proxy.port();
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10", "--resolve", &format!("{HOST}:{port}:127.0.0.1")])
        .args(["-w", " %{http_code} %{http_version}"])
        .args(arguments)
        .arg(format!("{scheme}://{HOST}:{port}/path?q=1"))
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A certificate for the Deployment's host; the PEM text of it and its key are written.
fn write_certificate(directory: &Path) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
    fs::write(directory.join("key.pem"), signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("cert.pem"), cert.pem()).unwrap();
}

fn length_of_body() -> Upstream {
    Upstream::answering(|request| response(200, &[], request.body.len().to_string().as_bytes()))
}

#[test]
fn every_version_in_clear_text() {
    let upstream = length_of_body();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let bearer = format!("Authorization: Bearer {}", token.text);
    // curl calls HTTP/1.0 "1" where the answer is of it, too.
    for (flag, version) in [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let said = curl(&gateway, "http", &[flag, "-H", &bearer, "-d", "12345"]);
        assert_eq!(said, format!("5 200 {version}"), "{flag}");
        let refused = curl(&gateway, "http", &[flag, "-d", "12345"]);
        assert!(refused.ends_with(&format!(" 401 {version}")) && refused.contains("credential_missing"), "{refused}");
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert!(request.head.starts_with("POST /path?q=1 HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("host").map(|host| host.starts_with(HOST)), Some(true));
        assert_eq!(request.connection, 0, "one connection carries them all");
    }
}

#[test]
fn http2_can_be_turned_off() {
    let upstream = length_of_body();
    let gateway = Gateway::start(&format!("[proxy]\nhttp2 = false\n{}", deployment("a", upstream.address, "")));
    let said = curl(&gateway, "http", &["--http2-prior-knowledge"]);
    assert!(!said.contains(" 200 ") && !said.contains(" 401 2"), "{said}");
    assert!(upstream.requests().is_empty());
}

#[test]
fn cookies_of_http2_arrive_as_one_field() {
    let upstream = length_of_body();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let bearer = format!("Authorization: Bearer {}", token.text);
    let said =
        curl(&gateway, "http", &["--http2-prior-knowledge", "-H", &bearer, "-H", "Cookie: a=1", "-H", "Cookie: b=2"]);
    assert!(said.contains(" 200 2"), "{said}");
    assert_eq!(upstream.only_request().header("cookie"), Some("a=1; b=2"));
}

#[test]
fn tls_with_both_versions_and_a_certificate_that_is_replaced() {
    let upstream = length_of_body();
    let setup = Setup::new(&deployment("a", upstream.address, ""))
        .env("PROXY__TLS__CERTIFICATE", "cert.pem")
        .env("PROXY__TLS__KEY", "key.pem");
    write_certificate(setup.directory());
    let gateway = setup.spawn();
    wait_until("it is ready", SOON, || gateway.readyz() == Some(200));
    let token = gateway.new_token(&["deployment:a"], &[]);
    let bearer = format!("Authorization: Bearer {}", token.text);
    let trusted = gateway.path("trusted.pem");
    fs::copy(gateway.path("cert.pem"), &trusted).unwrap();
    let ask = |arguments: &[&str]| {
        let mut all = vec!["--cacert", trusted.to_str().unwrap(), "-H", &bearer, "-d", "123"];
        all.extend(arguments);
        curl(&gateway, "https", &all)
    };
    wait_until("the token is known", SOON, || ask(&[]).contains(" 200 "));
    assert_eq!(ask(&["--http2"]), "3 200 2");
    assert_eq!(ask(&["--http1.1"]), "3 200 1.1");
    let proto = upstream.requests().last().unwrap().header("x-forwarded-proto").map(str::to_owned);
    assert_eq!(proto.as_deref(), Some("https"));
    // Clear text on a TLS port is no request.
    let mut caller = gateway.connect();
    caller.send(get(HOST, "/", &token.text));
    assert!(caller.try_head().is_err());

    write_certificate(&gateway.path(""));
    wait_until("the old certificate is not shown any more", SOON, || !ask(&[]).contains(" 200 "));
    fs::copy(gateway.path("cert.pem"), &trusted).unwrap();
    assert_eq!(ask(&["--http2"]), "3 200 2");
}
