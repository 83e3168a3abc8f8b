//! A credential that the service wants from the gateway: it comes from a file, every request has it, and no caller's passes
//! beside it.

use std::fs;

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment},
    http::request,
    pair::HOST,
    upstream::{Request, Upstream},
    wait_until,
};

const FILE: &str = "upstream_credential_file = \"key\"";

fn start(upstream: &Upstream, settings: &str, content: &str) -> Gateway {
    let setup = Setup::new(&deployment("a", upstream.address, settings));
    fs::write(setup.directory().join("key"), content).unwrap();
    setup.start()
}

/// What arrived of a request with these fields.
fn arrived(gateway: &Gateway, upstream: &Upstream, token: &str, fields: &[&str], body: &str) -> Request {
    let before = upstream.requests().len();
    let answer = gateway.connect().ask(request("POST", "/x", HOST, token, fields, body.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    upstream.requests().swap_remove(before)
}

#[test]
fn the_service_gets_its_credential_in_place_of_the_callers() {
    let upstream = Upstream::named("a");
    // As an editor leaves it.
    let gateway = start(&upstream, FILE, "\u{feff}sk-first\r\n");
    let token = gateway.token(&["deployment:a"]).text;
    let plain = arrived(&gateway, &upstream, &token, &["content-length: 0"], "");
    assert_eq!(plain.all("authorization"), ["Bearer sk-first"]);

    // A new key needs no restart, and a broken one changes nothing.
    fs::write(gateway.path("key"), "Basic c2stc2Vjb25k\n").unwrap();
    wait_until("the new credential is sent", SOON, || {
        arrived(&gateway, &upstream, &token, &["content-length: 0"], "").all("authorization") == ["Basic c2stc2Vjb25k"]
    });
    fs::write(gateway.path("key"), "two\nlines").unwrap();
    gateway.await_said(&["upstream_credential_file", "line feed"]);
    let after = arrived(&gateway, &upstream, &token, &["content-length: 0"], "");
    assert_eq!(after.all("authorization"), ["Basic c2stc2Vjb25k"]);
    let said = gateway.stderr().join("\n") + &gateway.stdout().join("\n");
    assert!(!["sk-first", "c2stc2Vjb25k", "two\\nlines"].iter().any(|secret| said.contains(secret)), "{said}");
    // What is shown of the configuration names the file only.
    fs::write(gateway.path("key"), "sk-third").unwrap();
    let printed = gateway.cli_command(&["config", "print"]).output().unwrap().stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("upstream_credential_file") && !printed.contains("sk-third"), "{printed}");
}

#[test]
fn in_another_field_the_callers_is_dropped_as_a_trailer_too() {
    let upstream = Upstream::named("a");
    let settings = format!("{FILE}\nupstream_credential_header = \"X-API-Key\"");
    let gateway = start(&upstream, &settings, "sk-1");
    let token = gateway.token(&["deployment:a"]).text;
    let fields = ["x-api-key: mine", "X-Api-Key: theirs", "transfer-encoding: chunked"];
    let body = "1\r\na\r\n0\r\nx-api-key: last\r\nx-sum: 1\r\n\r\n";
    let request = arrived(&gateway, &upstream, &token, &fields, body);
    assert_eq!(request.all("x-api-key"), ["sk-1"]);
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.trailers, ["x-sum: 1"]);
}

#[test]
fn a_public_deployment_has_one_too_and_others_do_not() {
    let upstream = Upstream::named("a");
    let settings = format!("{FILE}\nprotected = false");
    let other = deployment("b", upstream.address, "protected = false");
    let setup = Setup::new(&format!("{}{other}", deployment("a", upstream.address, &settings)));
    fs::write(setup.directory().join("key"), "sk-1").unwrap();
    let gateway = setup.start();
    assert_eq!(gateway.ask("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").status, 200);
    assert_eq!(gateway.ask("GET / HTTP/1.1\r\nhost: b.test\r\n\r\n").status, 200);
    let sent: Vec<_> = upstream.requests().iter().map(|request| request.all("authorization").len()).collect();
    assert_eq!(sent, [1, 0]);
}

#[test]
fn what_cannot_be_sent_is_a_problem_of_the_configuration() {
    for (settings, content, says) in [
        (FILE.to_owned(), None, "cannot be read"),
        (FILE.to_owned(), Some(""), "is empty"),
        (FILE.to_owned(), Some("a\nb"), "line feed"),
        (format!("{FILE}\nforward_authorization = true"), Some("k"), "both set Authorization"),
        (format!("{FILE}\nupstream_credential_header = \"Host\""), Some("k"), "no field name"),
        ("upstream_credential_header = \"X-Key\"".to_owned(), None, "without upstream_credential_file"),
    ] {
        let setup = Setup::new(&deployment("a", "127.0.0.1:1".parse().unwrap(), &settings));
        if let Some(content) = content {
            fs::write(setup.directory().join("key"), content).unwrap();
        }
        let mut gateway = setup.spawn();
        assert_eq!(gateway.wait().code(), Some(78), "{settings}");
        let said = gateway.stderr().join("\n");
        assert!(said.contains(says), "{settings}: {said}");
    }
}
