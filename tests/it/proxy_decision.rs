//! Who is let through, over real HTTP: one row for each way in which a request can be allowed or refused.

use std::{thread::sleep, time::Duration};

use bento_gateway::domain::token_text::{PREFIX, RANDOM_BYTES, TokenText};

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment},
    http::Response,
    upstream::Upstream,
    wait_until,
};

/// What is sent, and what must come back.
struct Row {
    name: &'static str,
    host: &'static str,
    fields: Vec<String>,
    status: u16,
    code: &'static str,
    /// What `WWW-Authenticate` must contain. `None`: it must not be there. Empty: it is bare.
    challenge: Option<&'static str>,
    /// What the sentence must contain.
    detail: &'static str,
}

const OPEN: &str = "open.test";
const MINE: &str = "mine.test";
const OTHER: &str = "other.test";

fn bearer(token: &str) -> Vec<String> {
    vec![format!("authorization: Bearer {token}")]
}

fn config(upstreams: &[&Upstream; 3]) -> String {
    let [open, mine, other] = upstreams;
    format!(
        "organization = \"kitchen\"\n[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\n{}{}{}",
        deployment("open", open.address, "protected = false"),
        deployment("mine", mine.address, ""),
        deployment("other", other.address, ""),
    )
}

/// The same lookup id and a right checksum, another secret.
fn with_wrong_secret(token: &str) -> String {
    let random = |seed: u8| -> [u8; RANDOM_BYTES] { std::array::from_fn(|at| (at as u8).wrapping_mul(31) ^ seed) };
    let other = TokenText::from_random(PREFIX, &random(7)).unwrap();
    let split = PREFIX.len() + 13;
    let body = format!("{}{}", &token[..split], &other.expose()[split..other.expose().len() - 6]);
    // The checksum is CRC-32 in base 62.
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (mut rest, mut checksum) = (crc32fast::hash(body.as_bytes()), Vec::new());
    for _ in 0..6 {
        checksum.insert(0, alphabet[(rest % 62) as usize]);
        rest /= 62;
    }
    let text = format!("{body}{}", String::from_utf8(checksum).unwrap());
    assert!(
        bento_gateway::domain::token_text::PresentedToken::parse(text.as_bytes()).is_ok(),
        "the test's own mistake"
    );
    text
}

fn unknown_token() -> String {
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at as u8).wrapping_mul(53) ^ 0x55);
    TokenText::from_random(PREFIX, &random).unwrap().expose().to_owned()
}

fn ask(gateway: &Gateway, host: &str, path: &str, fields: &[String]) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    gateway.ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}connection: close\r\n\r\n"))
}

/// Everything that an answer of ours must be.
fn check(row: &Row, answer: &Response) {
    let name = row.name;
    assert_eq!(answer.status, row.status, "{name}: {}", answer.text());
    assert!(!answer.header("x-request-id").unwrap().is_empty(), "{name}");
    if row.status == 200 {
        assert_eq!(answer.header("www-authenticate"), None, "{name}");
        return;
    }
    let body = answer.json();
    assert_eq!(body["code"], row.code, "{name}: {body}");
    assert_eq!(body["status"], row.status, "{name}");
    assert!(!body["title"].as_str().unwrap().is_empty(), "{name}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{name}");
    assert_eq!(body["error"]["code"], row.code, "{name}");
    assert_eq!(body["error"]["message"], body["detail"], "{name}");
    assert!(body["error"]["type"].is_string(), "{name}");
    assert!(body["detail"].as_str().unwrap().contains(row.detail), "{name}: {body}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
    match (row.challenge, answer.header("www-authenticate")) {
        (None, found) => assert_eq!(found, None, "{name}"),
        (Some(""), found) => assert_eq!(found, Some("Bearer realm=\"kitchen\""), "{name}"),
        (Some(expected), found) => {
            let found = found.unwrap_or_else(|| panic!("{name}: no challenge"));
            assert!(found.starts_with("Bearer realm=\"kitchen\", ") && found.contains(expected), "{name}: {found}");
        }
    }
}

#[test]
fn the_whole_decision_table() {
    let upstreams = [Upstream::named("open"), Upstream::named("mine"), Upstream::named("other")];
    let [open, mine, other] = &upstreams;
    let gateway = Gateway::start(&config(&[open, mine, other]));

    gateway.cli(&["user", "create", "--email", "leaver@kitchen.test", "--name", "Leaver"]);
    let expired = gateway.new_token(&["deployment:mine"], &["--expires", "1s"]);
    let good = gateway.new_token(&["deployment:mine"], &[]);
    let prefix = gateway.new_token(&["deployment:mi*"], &[]);
    let all = gateway.new_token(&["deployment:*"], &[]);
    let api = gateway.new_token(&["api"], &[]);
    let revoked = gateway.new_token(&["deployment:*"], &[]);
    let rotated = gateway.new_token(&["deployment:mine"], &[]);
    let leavers = gateway.new_token(&["deployment:mine"], &["--owner", "leaver@kitchen.test"]);
    // Has been used before it ends: what is known of it must not outlive it.
    gateway.await_token(&revoked);
    assert_eq!(ask(&gateway, MINE, "/", &bearer(&revoked.text)).status, 200);
    gateway.revoke(&revoked);
    let renewed = gateway.cli(&["token", "rotate", &rotated.uid, "--overlap", "0s"]);
    let renewed = renewed["token"].as_str().unwrap();
    gateway.cli(&["user", "disable", "leaver@kitchen.test"]);
    wait_until("the owner is disabled", SOON, || gateway.code_of(&leavers.text) == "owner_disabled");
    wait_until("the token has expired", SOON, || gateway.code_of(&expired.text) == "token_expired");

    let token_twice = [bearer(&good.text), bearer(&good.text)].concat();
    let wrong_secret = with_wrong_secret(&good.text);
    let invalid = Some("error=\"invalid_token\"");
    let bad = Some("error=\"invalid_request\"");
    let scope = Some("error=\"insufficient_scope\"");
    let pass = |name, host, fields| Row { name, host, fields, status: 200, code: "", challenge: None, detail: "" };
    let unauthorized =
        |name, host, fields, code, detail| Row { name, host, fields, status: 401, code, challenge: invalid, detail };
    let none = |name, host, fields| Row {
        name,
        host,
        fields,
        status: 401,
        code: "credential_missing",
        challenge: Some(""),
        detail: "Authorization: Bearer TOKEN",
    };
    let malformed = |name, fields| Row {
        name,
        host: MINE,
        fields,
        status: 400,
        code: "credential_malformed",
        challenge: bad,
        detail: "malformed",
    };
    let outside = |name, host, token: &str, detail| Row {
        name,
        host,
        fields: bearer(token),
        status: 403,
        code: "insufficient_scope",
        challenge: scope,
        detail,
    };
    let table = [
        pass("a public Deployment without a credential", OPEN, vec![]),
        pass("a public Deployment with a wrong credential", OPEN, bearer("nonsense")),
        pass("a public Deployment with two credentials", OPEN, token_twice.clone()),
        pass("in scope by name", MINE, bearer(&good.text)),
        pass("in scope by prefix", MINE, bearer(&prefix.text)),
        pass("in scope by all", OTHER, bearer(&all.text)),
        pass("the new secret of a rotated token", MINE, bearer(renewed)),
        pass("the scheme in other letters", MINE, vec![format!("AUTHORIZATION: bEaReR {}", good.text)]),
        pass("several spaces", MINE, vec![format!("authorization: Bearer    {}", good.text)]),
        none("no credential", MINE, vec![]),
        none("no credential, no Deployment", "nowhere.test", vec![]),
        none("no credential, no Deployment under the base domain", "nowhere.base.test", vec![]),
        none("another header", MINE, vec![format!("x-yatai-api-token: {}", good.text)]),
        none("a cookie", MINE, vec![format!("cookie: token={0}; Authorization=Bearer {0}", good.text)]),
        none("the proxy's credential", MINE, vec![format!("proxy-authorization: Bearer {}", good.text)]),
        none("a look-alike", MINE, vec![format!("x-authorization: Bearer {}", good.text)]),
        none(
            "a protocol without a WebSocket",
            MINE,
            vec![format!("sec-websocket-protocol: bento-gateway.bearer.{}", good.text)],
        ),
        Row {
            name: "several credentials",
            host: MINE,
            fields: token_twice,
            status: 400,
            code: "credential_repeated",
            challenge: bad,
            detail: "more than one",
        },
        malformed("another scheme", vec!["authorization: Basic YTpi".to_owned()]),
        malformed("no scheme", vec![format!("authorization: {}", good.text)]),
        malformed("no token", vec!["authorization: Bearer".to_owned()]),
        malformed("an empty field", vec!["authorization:".to_owned()]),
        malformed("two words", vec![format!("authorization: Bearer {} x", good.text)]),
        malformed("a list", vec![format!("authorization: Bearer {0}, Bearer {0}", good.text)]),
        unauthorized("the variable itself", MINE, bearer("$YOUR_TOKEN"), "token_malformed", "bgw_"),
        unauthorized("a cut token", MINE, bearer(&good.text[..65]), "token_malformed", "copied whole"),
        unauthorized("a wrong checksum", MINE, bearer(&format!("{}000000", &good.text[..60])), "token_malformed", ""),
        unauthorized("an unknown token", MINE, bearer(&unknown_token()), "token_invalid", "not valid"),
        unauthorized("a wrong secret", MINE, bearer(&wrong_secret), "token_invalid", "not valid"),
        unauthorized("an expired token", MINE, bearer(&expired.text), "token_expired", "expired"),
        unauthorized("a revoked token", MINE, bearer(&revoked.text), "token_revoked", "revoked"),
        unauthorized("the old secret", MINE, bearer(&rotated.text), "token_rotated", "rotated"),
        unauthorized("a disabled owner", MINE, bearer(&leavers.text), "owner_disabled", "owner"),
        outside("another Deployment", OTHER, &good.text, "has no scope"),
        outside("a host of nobody", "nowhere.test", &good.text, "has no scope"),
        outside("another Deployment by its name", "other.base.test", &good.text, "deployment:other"),
        outside("a name of nobody", "nowhere.base.test", &good.text, "deployment:nowhere"),
        outside("a token for the API only", MINE, &api.text, "has no scope"),
        Row {
            name: "in scope, but nothing is there",
            host: "nowhere.test",
            fields: bearer(&all.text),
            status: 404,
            code: "deployment_not_found",
            challenge: None,
            detail: "no Deployment",
        },
        Row {
            name: "in scope by prefix, but nothing is there",
            host: "mirror.base.test",
            fields: bearer(&prefix.text),
            status: 404,
            code: "deployment_not_found",
            challenge: None,
            detail: "no Deployment mirror",
        },
    ];
    let mut allowed = 1;
    for row in &table {
        check(row, &ask(&gateway, row.host, "/", &row.fields));
        allowed += usize::from(row.status == 200);
    }
    // What was refused has reached nobody.
    assert_eq!(upstreams.iter().map(|upstream| upstream.requests().len()).sum::<usize>(), allowed);
}

#[test]
fn a_credential_in_the_query_or_the_body_does_not_count() {
    let upstreams = [Upstream::named("open"), Upstream::named("mine"), Upstream::named("other")];
    let gateway = Gateway::start(&config(&[&upstreams[0], &upstreams[1], &upstreams[2]]));
    let token = gateway.token(&["deployment:*"]).text;
    for target in [
        format!("/?access_token={token}"),
        format!("/?token={token}"),
        format!("/?Authorization=Bearer%20{token}"),
        format!("/{token}"),
    ] {
        let answer = ask(&gateway, MINE, &target, &[]);
        assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"), "{target}");
    }
    let form = format!("access_token={token}");
    let answer = gateway.ask(&format!(
        "POST / HTTP/1.1\r\nhost: {MINE}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!((answer.status, answer.code().as_str()), (401, "credential_missing"));
    assert_eq!(upstreams[1].connections(), 0);
}

/// Without a token, and with one that lacks the scope, nobody learns which Deployments there are.
#[test]
fn a_refusal_is_the_same_for_existing_and_missing_deployments() {
    let upstreams = [Upstream::named("open"), Upstream::named("mine"), Upstream::named("other")];
    let gateway = Gateway::start(&config(&[&upstreams[0], &upstreams[1], &upstreams[2]]));
    let elsewhere = gateway.token(&["deployment:mine"]).text;

    let comparable = |host: &str, path: &str, fields: &[String]| {
        let mut fields = fields.to_vec();
        fields.push("x-request-id: same".to_owned());
        let answer = ask(&gateway, host, path, &fields);
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        (answer.status, headers, answer.text())
    };
    let cases = [
        ("none", vec![]),
        ("malformed", vec!["authorization: Basic x".to_owned()]),
        ("not a token", bearer("x")),
        ("unknown", bearer(&unknown_token())),
        ("wrong secret", bearer(&with_wrong_secret(&elsewhere))),
        ("out of scope", bearer(&elsewhere)),
    ];
    for (name, fields) in &cases {
        let existing = comparable(OTHER, "/", fields);
        assert!(existing.0 >= 400, "{name}");
        assert_eq!(existing, comparable("absent.test", "/", fields), "{name}");
        // Where the caller spells the name out, the answer repeats what was spelled and differs in nothing else.
        for (existing, missing) in [
            (comparable("other.base.test", "/", fields), comparable("thing.base.test", "/", fields)),
            (
                comparable("x.invalid", "/deployments/other/", fields),
                comparable("x.invalid", "/deployments/thing/", fields),
            ),
        ] {
            assert_eq!(format!("{existing:?}").replace("other", "thing"), format!("{missing:?}"), "{name}");
        }
    }
    // A token that is unknown and one whose secret is wrong.
    assert_eq!(
        comparable(OTHER, "/", &bearer(&unknown_token())),
        comparable(OTHER, "/", &bearer(&with_wrong_secret(&elsewhere)))
    );
    assert!(upstreams.iter().all(|upstream| upstream.connections() == 0));
}

/// The gateway decides by the clock at each request.
#[test]
fn a_token_that_was_just_used_ends_when_it_expires() {
    let upstreams = [Upstream::named("open"), Upstream::named("mine"), Upstream::named("other")];
    let gateway = Gateway::start(&config(&[&upstreams[0], &upstreams[1], &upstreams[2]]));
    let token = gateway.new_token(&["deployment:mine"], &["--expires", "2s"]);
    gateway.await_token(&token);
    assert_eq!(ask(&gateway, MINE, "/", &bearer(&token.text)).status, 200);
    sleep(Duration::from_millis(2100));
    assert_eq!(ask(&gateway, MINE, "/", &bearer(&token.text)).code(), "token_expired");
}
