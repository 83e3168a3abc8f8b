//! The listener where other proxies ask: the answer is that of the proxy listener, said so that the asker understands it.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, ReadEnd, Response},
    upstream::Upstream,
    wait_for, wait_until,
};

struct Asked {
    gateway: Gateway,
    address: SocketAddr,
    upstream: Upstream,
    token: Token,
}

impl Asked {
    fn new(settings: &str) -> Self {
        let upstream = Upstream::named("a");
        let address = free_address();
        let config = format!(
            "{}{}",
            deployment("a", upstream.address, settings),
            deployment("public", upstream.address, "protected = false")
        );
        let gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &address.to_string()]).start();
        let token = gateway.token(&["deployment:a"]);
        Self { gateway, address, upstream, token }
    }

    fn ask(&self, request: &str) -> Response {
        Client::connect(self.address).ask(request)
    }

    fn about(&self, dialect: &str, host: &str, target: &str, fields: &str) -> Response {
        self.ask(&question(dialect, "POST", host, target, fields))
    }

    fn bearer(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.token.text)
    }
}

const DIALECTS: [&str; 4] = ["/forward-auth", "/auth-request", "/auth-url", "/ext-authz"];

/// What a proxy sends that asks about a request. `fields` are its caller's.
fn question(dialect: &str, method: &str, host: &str, target: &str, fields: &str) -> String {
    // The Deployment that has the host.
    let name = host.split(['.', ',']).next().unwrap();
    match dialect {
        "/forward-auth" => format!(
            "GET /forward-auth/{name} HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: {method}\r\nx-forwarded-host: {host}\r\n\
             x-forwarded-uri: {target}\r\n{fields}\r\n"
        ),
        "/auth-request" => format!(
            "GET /auth-request/{name} HTTP/1.1\r\nhost: {host}\r\nx-original-method: {method}\r\nx-original-uri: {target}\r\n\
             {fields}\r\n"
        ),
        "/auth-url" => format!(
            "GET /auth-url/{name} HTTP/1.1\r\nhost: gateway\r\nx-original-method: {method}\r\n\
             x-original-url: https://{host}{target}\r\n{fields}\r\n"
        ),
        _ => {
            format!("{method} /ext-authz/{name}{target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{fields}\r\n")
        }
    }
}

#[test]
fn every_dialect_gets_the_answer_of_the_proxy_listener() {
    let asked = Asked::new("");
    let other = asked.gateway.token(&["deployment:public"]);
    let all = asked.gateway.token(&["deployment:*"]);
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let twice = asked.bearer().repeat(2);
    for (host, target, fields, status, code) in [
        ("a.test", "/x", asked.bearer(), 200, ""),
        ("a.test", "/x?a=b", asked.bearer(), 200, ""),
        ("public.test", "/x", String::new(), 200, ""),
        ("a.test", "/x", String::new(), 401, "credential_missing"),
        ("a.test", "/x", bearer("nonsense"), 401, "token_malformed"),
        ("a.test", "/x", twice, 400, "credential_repeated"),
        ("a.test", "/x", bearer(&other.text), 403, "insufficient_scope"),
        ("none.test", "/x", bearer(&other.text), 403, "insufficient_scope"),
        ("none.test", "/x", bearer(&all.text), 404, "deployment_not_found"),
        ("a.test", "/a/../b", asked.bearer(), 400, "bad_path"),
        ("a.test", "/%2e%2e/b", asked.bearer(), 400, "bad_path"),
        ("a,b", "/x", asked.bearer(), 400, "bad_host"),
        ("a.test", &format!("/x?token={}", asked.token.text), String::new(), 400, "token_in_target"),
        (
            "a.test",
            "/x",
            format!("{}content-type: application/vnd.bentoml+pickle\r\n", asked.bearer()),
            415,
            "pickle_refused",
        ),
        ("a.test", "/-/sign-in", String::new(), 401, "credential_missing"),
    ] {
        let direct =
            asked.gateway.ask(&format!("POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{fields}\r\n"));
        if !target.starts_with("/-/") {
            assert_eq!(direct.status, status, "{host}{target} at the proxy");
        }
        for dialect in DIALECTS {
            let answer = asked.about(dialect, host, target, &fields);
            let folded = matches!(dialect, "/auth-request" | "/auth-url") && (402..500).contains(&status);
            let folded = folded || (matches!(dialect, "/auth-request" | "/auth-url") && status == 400);
            let expected = if folded { 403 } else { status };
            assert_eq!(answer.status, expected, "{dialect} {host}{target}: {}", answer.text());
            assert_eq!(answer.header("x-bento-gateway-reason").unwrap_or_default(), code, "{dialect} {host}{target}");
            if status == 401 {
                assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{dialect}");
            }
            if code.is_empty() {
                let name = host.strip_suffix(".test");
                assert_eq!(answer.header("x-bento-gateway-deployment"), name, "{dialect}");
                let uid = if host == "a.test" { &*asked.token.uid } else { "" };
                assert_eq!(answer.header("x-bento-gateway-token-uid"), Some(uid), "{dialect}");
                assert!(answer.body.is_empty() && answer.header("x-request-id").is_some());
            } else {
                assert_eq!(answer.code(), code, "{dialect}");
            }
        }
    }
    let forwarded = asked.upstream.requests().into_iter().filter(|request| request.target != "/readyz");
    assert!(forwarded.count() <= 3, "what is asked about is not forwarded");
}

/// What a proxy passes on of its caller says nothing of what is asked about.
#[test]
fn only_the_askers_own_fields_say_what_is_asked() {
    let asked = Asked::new("");
    let forged = "x-forwarded-host: public.test\r\nx-forwarded-uri: /\r\nx-forwarded-method: GET\r\n";
    let denied = |dialect: &str, fields: &str| {
        let answer = asked.about(dialect, "a.test", "/x", fields);
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{dialect}");
    };
    denied("/auth-request", forged);
    denied("/auth-url", forged);
    denied("/ext-authz", forged);
    let originals = "x-original-uri: /\r\nx-original-url: http://public.test/\r\nx-original-method: GET\r\n";
    denied("/forward-auth", originals);
    denied("/ext-authz", originals);
    denied("/auth-request", "x-original-url: http://public.test/\r\n");
    // Beside the asker's own: nobody knows whose is whose.
    for (dialect, field) in [
        ("/forward-auth", "x-forwarded-host: public.test"),
        ("/forward-auth", "x-forwarded-uri: /y"),
        ("/forward-auth", "x-forwarded-method: GET"),
        ("/auth-request", "x-original-uri: /y"),
        ("/auth-request", "host: public.test"),
        ("/auth-url", "x-original-url: http://public.test/"),
    ] {
        let answer = asked.about(dialect, "a.test", "/x", &format!("{field}\r\n{}", asked.bearer()));
        let status = if dialect == "/forward-auth" { 400 } else { 403 };
        assert_eq!((answer.status, answer.code().as_str()), (status, "bad_question"), "{dialect} {field}");
    }
}

#[test]
fn what_is_no_question_is_explained_to_the_operator() {
    let asked = Asked::new("");
    let bearer = asked.bearer();
    for path in
        ["/", "/ext-authzx", "/ext-authz/a", "/forward-auth", "/forward-auth/", "/forward-auth/A", "/auth-url/a/b"]
    {
        let answer = asked.ask(&format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{bearer}\r\n"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_question"), "{path}");
        assert!(answer.text().contains("this listener answers other proxies"), "{path}: {}", answer.text());
    }
    for (request, status, words) in [
        (
            format!("GET /forward-auth/a HTTP/1.1\r\nhost: a.test\r\n{bearer}\r\n"),
            400,
            "exactly one X-Forwarded-Method",
        ),
        (format!("GET /auth-request/a HTTP/1.1\r\nhost: a.test\r\n{bearer}\r\n"), 403, "exactly one X-Original-Method"),
        (question("/auth-request", "POST", "a.test", "x", &bearer), 403, "a X-Original-URI that is malformed"),
        (question("/auth-request", "POST", "a.test", "/x#y", &bearer), 403, "a X-Original-URI that is malformed"),
        (question("/auth-request", "", "a.test", "/x", &bearer), 403, "a X-Original-Method that is malformed"),
        (question("/auth-url", "POST", "a.test", "", &bearer), 403, "a X-Original-URL that is malformed"),
        (
            "GET /auth-request/a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 3\r\n\r\nabc".to_owned(),
            403,
            "without the body",
        ),
    ] {
        let answer = asked.ask(&request);
        assert_eq!((answer.status, answer.code().as_str()), (status, "bad_question"), "{request}");
        assert!(answer.text().contains(words), "{request}: {}", answer.text());
    }
    // One that announces a body and sends none is not waited for, and nothing behind it is answered.
    let mut client = Client::connect(asked.address);
    client.read_timeout(SOON);
    client.send(question("/auth-request", "GET", "a.test", "/x", &format!("content-length: 9\r\n{bearer}")));
    assert_eq!(client.response(false).code(), "bad_question");
    assert_ne!(client.rest().1, ReadEnd::TimedOut);
}

#[test]
fn a_decision_is_the_one_of_now_and_counts() {
    let asked = Asked::new("rate_limit = \"3/1h\"");
    let mut client = Client::connect(asked.address);
    let good = question("/auth-request", "GET", "a.test", "/x", &asked.bearer());
    for left in ["2", "1", "0"] {
        let answer = client.ask(&good);
        assert!(
            answer.header("ratelimit").unwrap().contains(&format!("r={left};")),
            "{:?}",
            answer.header("ratelimit")
        );
    }
    let limited = client.ask(&good);
    assert_eq!((limited.status, &*limited.code()), (403, "rate_limited"));
    let limited = asked.about("/forward-auth", "a.test", "/x", &asked.bearer());
    assert_eq!((limited.status, &*limited.code()), (429, "rate_limited"));
    assert!(limited.header("retry-after").is_some());
    asked.gateway.revoke(&asked.token);
    wait_until("the revocation arrives", SOON, || client.ask(&good).code() == "token_revoked");
    assert_eq!(client.ask(&good).status, 401);
    // Every question has a line.
    let line = wait_for("an access line", SOON, || {
        asked.gateway.access_lines().into_iter().find(|line| line["reason"] == "forward_auth")
    });
    assert_eq!(
        (&line["host"], &line["path"], &line["deployment"], &line["token"], &line["status"]),
        (&json!("a.test"), &json!("/x"), &json!("a"), &json!(asked.token.uid), &json!(200))
    );
}

/// Whatever the request says of where it leads: the proxy forwards it to the Deployment that it names.
#[test]
fn what_is_decided_is_the_deployment_that_the_proxy_forwards_to() {
    let upstream = Upstream::named("a");
    let address = free_address();
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\ndefault_deployment = \"public\"\n{}{}",
        deployment("a", upstream.address, ""),
        deployment("public", upstream.address, "protected = false")
    );
    let _gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &address.to_string()]).start();
    let ask = |name: &str, host: &str, target: &str| {
        Client::connect(address).ask(format!(
            "GET /forward-auth/{name} HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: GET\r\n\
             x-forwarded-host: {host}\r\nx-forwarded-uri: {target}\r\n\r\n"
        ))
    };
    for (host, target) in [
        ("public.test", "/"),
        ("public.base.test", "/"),
        ("nowhere.test", "/"),
        ("nowhere.test", "/deployments/public/x"),
        ("nowhere.test", "//deployments/a/x"),
    ] {
        assert_eq!(ask("a", host, target).status, 401, "{host}{target}");
        let public = ask("public", host, target);
        assert_eq!((public.status, public.header("x-bento-gateway-deployment")), (200, Some("public")));
    }
    assert_eq!(ask("public", "a.test", "/").status, 200);
    assert_eq!(ask("none", "public.test", "/").status, 401, "as at the proxy, nobody learns what there is");
}

/// A proxy passes on what we would keep: a protocol that the service switches to, and tokens in whatever field.
#[test]
fn what_would_reach_the_service_by_the_proxy_is_refused() {
    let asked = Asked::new("");
    let (bearer, text) = (asked.bearer(), &asked.token.text);
    let websocket =
        "upgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n";
    for dialect in DIALECTS {
        let folded = if matches!(dialect, "/auth-request" | "/auth-url") { 403 } else { 400 };
        for (method, fields, status, code) in [
            ("GET", format!("{bearer}upgrade: h2c\r\n"), folded, "bad_upgrade"),
            ("GET", format!("{bearer}upgrade: websocket\r\n"), folded, "bad_upgrade"),
            ("POST", format!("{bearer}{websocket}"), folded, "bad_upgrade"),
            ("GET", format!("{bearer}{}", websocket.replace(": websocket", ": h2c")), folded, "bad_upgrade"),
            ("GET", format!("{bearer}{websocket}"), 200, ""),
            ("GET", format!("{bearer}{websocket}").replace(": websocket", ": WebSocket"), 200, ""),
            (
                "GET",
                format!("{websocket}sec-websocket-protocol: bento-gateway.bearer.{text}\r\n"),
                401,
                "credential_misplaced",
            ),
            ("GET", format!("{bearer}x_bento_gateway_token_uid: forged\r\n"), folded, "bad_field"),
            ("GET", format!("{bearer}x-bento-gateway_token.uid: forged\r\n"), folded, "bad_field"),
            ("GET", format!("{bearer}x-bento-gateway-token-uid: forged\r\nx_other: y\r\n"), 200, ""),
            ("GET", format!("{bearer}x-api-key: {text}\r\n"), 401, "credential_misplaced"),
            ("GET", format!("x-api-key: {text}\r\n"), 401, "credential_misplaced"),
            ("GET", format!("{bearer}cookie: a=b; token={text}\r\n"), 401, "credential_misplaced"),
        ] {
            let answer = asked.ask(&question(dialect, method, "a.test", "/x", &fields));
            let said = answer.header("x-bento-gateway-reason").unwrap_or_default();
            assert_eq!((answer.status, said), (status, code), "{dialect} {method} {fields}");
        }
    }
}

#[test]
fn a_websocket_is_one_whatever_the_proxy_leaves_out_of_its_request() {
    let asked = Asked::new("");
    let websocket = format!(
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n{}",
        asked.bearer()
    );
    for dialect in DIALECTS {
        for more in ["", "connection: upgrade\r\nupgrade: websocket\r\n"] {
            let mut client = Client::connect(asked.address);
            client.read_timeout(Duration::from_secs(5));
            let answer = client.ask(question(dialect, "GET", "a.test", "/ws", &format!("{more}{websocket}")));
            assert_eq!(answer.status, 200, "{dialect} {more:?}: {}", answer.text());
        }
    }
}
