//! Who is let through, over real HTTP: one row for each way in which a request can be allowed or refused.

use crate::{
    explain::is_explained_so,
    harness::{
        SOON,
        gateway::{Gateway, deployment},
        http::Response,
        token_text::{unknown_token, with_wrong_secret},
        upstream::Upstream,
        wait_until,
    },
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

impl Default for Row {
    /// A request without a credential for [`MINE`] that is let through.
    fn default() -> Self {
        Self { name: "", host: MINE, fields: Vec::new(), status: 200, code: "", challenge: None, detail: "" }
    }
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
    // What the rows of a kind have in common.
    let missing = || Row {
        status: 401,
        code: "credential_missing",
        challenge: Some(""),
        detail: "Authorization: Bearer TOKEN",
        ..Row::default()
    };
    let misplaced = || Row { code: "credential_misplaced", ..missing() };
    let malformed = || Row {
        status: 400,
        code: "credential_malformed",
        challenge: Some("error=\"invalid_request\""),
        detail: "malformed",
        ..Row::default()
    };
    let invalid = || Row { status: 401, challenge: Some("error=\"invalid_token\""), ..Row::default() };
    let outside = || Row {
        status: 403,
        code: "insufficient_scope",
        challenge: Some("error=\"insufficient_scope\""),
        ..Row::default()
    };
    let table = [
        Row { name: "a public Deployment without a credential", host: OPEN, ..Row::default() },
        Row {
            name: "a public Deployment with a wrong credential",
            host: OPEN,
            fields: bearer("nonsense"),
            ..Row::default()
        },
        Row {
            name: "a public Deployment with two credentials",
            host: OPEN,
            fields: token_twice.clone(),
            ..Row::default()
        },
        Row { name: "in scope by name", fields: bearer(&good.text), ..Row::default() },
        Row { name: "in scope by prefix", fields: bearer(&prefix.text), ..Row::default() },
        Row { name: "in scope by all", host: OTHER, fields: bearer(&all.text), ..Row::default() },
        Row { name: "the new secret of a rotated token", fields: bearer(renewed), ..Row::default() },
        Row {
            name: "the scheme in other letters",
            fields: vec![format!("AUTHORIZATION: bEaReR {}", good.text)],
            ..Row::default()
        },
        Row {
            name: "several spaces",
            fields: vec![format!("authorization: Bearer    {}", good.text)],
            ..Row::default()
        },
        Row { name: "no credential", ..missing() },
        Row { name: "no credential, no Deployment", host: "nowhere.test", ..missing() },
        Row { name: "no credential, no Deployment under the base domain", host: "nowhere.base.test", ..missing() },
        Row { name: "another header", fields: vec![format!("x-yatai-api-token: {}", good.text)], ..misplaced() },
        Row { name: "other people's header", fields: vec![format!("x-api-key: {}", good.text)], ..misplaced() },
        Row { name: "an unknown one there", fields: vec![format!("api-key: {}", unknown_token())], ..misplaced() },
        Row {
            name: "there, and there is no Deployment",
            host: "nowhere.test",
            fields: vec![format!("x-goog-api-key: {}", good.text)],
            ..misplaced()
        },
        Row { name: "another key there", fields: vec![format!("x-api-key: sk-{}", "x".repeat(100))], ..missing() },
        Row {
            name: "a cookie",
            fields: vec![format!("cookie: token={0}; Authorization=Bearer {0}", good.text)],
            ..misplaced()
        },
        Row {
            name: "the proxy's credential",
            fields: vec![format!("proxy-authorization: Bearer {}", good.text)],
            ..misplaced()
        },
        Row { name: "a look-alike", fields: vec![format!("x-authorization: Bearer {}", good.text)], ..misplaced() },
        Row {
            name: "a protocol without a WebSocket",
            fields: vec![format!("sec-websocket-protocol: bento-gateway.bearer.{}", good.text)],
            ..misplaced()
        },
        Row {
            name: "several credentials",
            fields: token_twice,
            code: "credential_repeated",
            detail: "more than one",
            ..malformed()
        },
        Row { name: "another scheme", fields: vec!["authorization: Basic YTpi".to_owned()], ..malformed() },
        Row { name: "no scheme", fields: vec![format!("authorization: {}", good.text)], ..malformed() },
        Row { name: "no token", fields: vec!["authorization: Bearer".to_owned()], ..malformed() },
        Row { name: "an empty field", fields: vec!["authorization:".to_owned()], ..malformed() },
        Row { name: "two words", fields: vec![format!("authorization: Bearer {} x", good.text)], ..malformed() },
        Row {
            name: "a list",
            fields: vec![format!("authorization: Bearer {0}, Bearer {0}", good.text)],
            ..malformed()
        },
        Row {
            name: "the variable itself",
            fields: bearer("$YOUR_TOKEN"),
            code: "token_malformed",
            detail: "bgw_",
            ..invalid()
        },
        Row {
            name: "a cut token",
            fields: bearer(&good.text[..65]),
            code: "token_malformed",
            detail: "copied whole",
            ..invalid()
        },
        Row {
            name: "a wrong checksum",
            fields: bearer(&format!("{}000000", &good.text[..60])),
            code: "token_malformed",
            ..invalid()
        },
        Row {
            name: "an unknown token",
            fields: bearer(&unknown_token()),
            code: "token_invalid",
            detail: "not valid",
            ..invalid()
        },
        Row {
            name: "a wrong secret",
            fields: bearer(&wrong_secret),
            code: "token_invalid",
            detail: "not valid",
            ..invalid()
        },
        Row {
            name: "an expired token",
            fields: bearer(&expired.text),
            code: "token_expired",
            detail: "expired",
            ..invalid()
        },
        Row {
            name: "a revoked token",
            fields: bearer(&revoked.text),
            code: "token_revoked",
            detail: "revoked",
            ..invalid()
        },
        Row {
            name: "the old secret",
            fields: bearer(&rotated.text),
            code: "token_rotated",
            detail: "rotated",
            ..invalid()
        },
        Row {
            name: "a disabled owner",
            fields: bearer(&leavers.text),
            code: "owner_disabled",
            detail: "owner",
            ..invalid()
        },
        Row {
            name: "another Deployment",
            host: OTHER,
            fields: bearer(&good.text),
            detail: "has no scope",
            ..outside()
        },
        Row {
            name: "a host of nobody",
            host: "nowhere.test",
            fields: bearer(&good.text),
            detail: "has no scope",
            ..outside()
        },
        Row {
            name: "another Deployment by its name",
            host: "other.base.test",
            fields: bearer(&good.text),
            detail: "deployment:other",
            ..outside()
        },
        Row {
            name: "a name of nobody",
            host: "nowhere.base.test",
            fields: bearer(&good.text),
            detail: "deployment:nowhere",
            ..outside()
        },
        Row { name: "a token for the API only", fields: bearer(&api.text), detail: "has no scope", ..outside() },
        Row {
            name: "in scope, but nothing is there",
            host: "nowhere.test",
            fields: bearer(&all.text),
            status: 404,
            code: "deployment_not_found",
            detail: "no Deployment",
            ..Row::default()
        },
        Row {
            name: "in scope by prefix, but nothing is there",
            host: "mirror.base.test",
            fields: bearer(&prefix.text),
            status: 404,
            code: "deployment_not_found",
            detail: "no Deployment mirror",
            ..Row::default()
        },
    ];
    let mut allowed = 1;
    let admin = gateway.token(&["api"]).text;
    let mut explained = 0;
    for row in &table {
        check(row, &ask(&gateway, row.host, "/", &row.fields));
        allowed += usize::from(row.status == 200);
        let code = if row.status == 200 { None } else { Some((row.status, row.code)) };
        explained += usize::from(is_explained_so(&gateway, &admin, (row.host, &row.fields), code));
    }
    assert!(explained > 20, "{explained}");
    // What was refused has reached nobody.
    assert_eq!(upstreams.iter().map(|upstream| upstream.requests().len()).sum::<usize>(), allowed);
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
    let token = gateway.new_token(&["deployment:mine"], &["--expires", "5s"]);
    gateway.await_token(&token);
    assert_eq!(ask(&gateway, MINE, "/", &bearer(&token.text)).status, 200);
    wait_until("it has expired", SOON, || gateway.code_of(&token.text) == "token_expired");
    assert_eq!(ask(&gateway, MINE, "/", &bearer(&token.text)).code(), "token_expired");
}
