//! The first request with a token waits for Argon2. What changes during that wait counts: the request is decided as the
//! token and the Deployment are when the wait is over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment},
    http::{Client, ReadEnd, Response, get},
    token_text::with_wrong_secrets,
    upstream::Upstream,
    wait_until,
};

/// Asks the management API, which answers once every gateway decides by the change.
fn api(gateway: &Gateway, admin: &str, method: &str, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\nx-yatai-api-token: {admin}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = Client::connect(gateway.management).ask(request);
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    answer.json()
}

/// A first request that waits, and what must become of it.
struct Row {
    name: &'static str,
    host: &'static str,
    status: u16,
    code: &'static str,
}

const TABLE: [Row; 8] = [
    Row { name: "unchanged", host: "a.test", status: 200, code: "" },
    Row { name: "revoked", host: "a.test", status: 401, code: "token_revoked" },
    Row { name: "narrowed", host: "a.test", status: 403, code: "insufficient_scope" },
    Row { name: "rotated", host: "a.test", status: 401, code: "token_rotated" },
    Row { name: "disabled", host: "a.test", status: 401, code: "owner_disabled" },
    Row { name: "expired", host: "a.test", status: 401, code: "token_expired" },
    Row { name: "terminated", host: "stopped.test", status: 503, code: "deployment_terminated" },
    Row { name: "removed", host: "gone.test", status: 404, code: "deployment_not_found" },
];

/// A token whose secret takes seconds to verify, if `iterations` are 60. With one worker there is one verification at a
/// time: all others wait.
fn slow_token(gateway: &Gateway, iterations: u32) -> Token {
    let mut create = gateway.cli_command(&["token", "create", "slow", "--scope", "deployment:*", "-o", "json"]);
    create.env("BENTO_GATEWAY__TOKENS__ARGON2__MEMORY_KIB", "65536");
    create.env("BENTO_GATEWAY__TOKENS__ARGON2__ITERATIONS", iterations.to_string());
    let made: Value = serde_json::from_slice(&create.output().unwrap().stdout).unwrap();
    Token { text: made["token"].as_str().unwrap().to_owned(), uid: made["uid"].as_str().unwrap().to_owned() }
}

#[test]
fn what_changes_during_a_first_verification_counts() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let admin = gateway.token(&["api", "deployment:*"]).text;
    let api = |method: &str, path: &str, body: Value| api(&gateway, &admin, method, path, &body);
    let slow = slow_token(&gateway, 60).text;
    for name in ["stopped", "gone"] {
        let upstream = format!("http://{}", upstream.address);
        let hosts = [format!("{name}.test")];
        api("POST", "/api/v2/deployments", json!({ "name": name, "upstreams": [upstream], "hosts": hosts }));
    }
    let leaver = json!({ "email": "leaver@example.com", "name": "Leaver" });
    api("POST", "/api/v1/users", leaver);
    // Made by the API, so that the gateway knows them without having verified one.
    let tokens = TABLE.map(|Row { name, .. }| {
        let owner = (name == "disabled").then_some("leaver@example.com");
        let expired_at = if name == "expired" { "1s" } else { "never" };
        let new = json!({ "name": name, "scopes": ["deployment:*"], "owner": owner, "expired_at": expired_at });
        api("POST", "/api/v1/api_tokens", new)
    });
    let path = |name: &str| {
        let at = TABLE.iter().position(|row| row.name == name).unwrap();
        format!("/api/v1/api_tokens/{}", tokens[at]["uid"].as_str().unwrap())
    };

    let mut first = gateway.connect();
    first.send(get("a.test", "/slow", &slow));
    // An answer to a request that was sent later: the worker has begun with those before.
    assert_eq!(gateway.code_of("nonsense"), "token_malformed");
    let mut waiting = [(); TABLE.len()].map(|()| gateway.connect());
    for ((caller, row), token) in waiting.iter_mut().zip(&TABLE).zip(&tokens) {
        caller.send(get(row.host, &format!("/{}", row.name), token["token"].as_str().unwrap()));
    }
    assert_eq!(gateway.code_of("nonsense"), "token_malformed");

    api("POST", &format!("{}/revoke", path("revoked")), json!({}));
    api("PATCH", &path("narrowed"), json!({ "scopes": ["deployment:stopped"] }));
    api("POST", &format!("{}/rotate", path("rotated")), json!({ "overlap": "0s" }));
    api("POST", "/api/v1/users/leaver@example.com/disable", json!({}));
    api("POST", "/api/v2/deployments/stopped/terminate", json!({}));
    api("DELETE", "/api/v2/deployments/gone", json!({}));
    wait_until("the token has expired", SOON, || {
        api("GET", &path("expired"), Value::Null)["is_expired"].as_bool().unwrap()
    });
    for (caller, row) in waiting.iter_mut().zip(&TABLE) {
        caller.read_timeout(Duration::from_millis(1));
        let early = caller.try_head().map(|answer: Response| answer.status);
        assert_eq!(early, Err(ReadEnd::TimedOut), "{}: the verification was over before the change", row.name);
    }

    first.read_timeout(6 * SOON);
    assert_eq!(first.response(false).status, 200);
    for (caller, row) in waiting.iter_mut().zip(&TABLE) {
        caller.read_timeout(SOON);
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (row.status, row.code), "{}", row.name);
    }
    let mut reached: Vec<String> = upstream.requests().into_iter().map(|request| request.target).collect();
    // What the gateway asks by itself of a new Deployment.
    reached.retain(|target| target != "/readyz");
    reached.sort();
    assert_eq!(reached, ["/slow", "/unchanged"]);
}

/// Requests with the token's lookup id and other secrets, each on a connection of its own.
fn flood(gateway: &Gateway, token: &Token, requests: usize) -> Vec<Client> {
    let wrong = with_wrong_secrets(&token.text, requests);
    let asked = wrong.iter().map(|text| {
        let mut caller = gateway.connect();
        caller.send(get("a.test", "/", text));
        caller.read_timeout(6 * SOON);
        caller
    });
    asked.collect()
}

#[test]
fn who_floods_one_token_keeps_no_other_token_out() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let flooded = slow_token(&gateway, 4);
    let others: Vec<Token> = (0..20).map(|_| gateway.new_token(&["deployment:*"], &[])).collect();
    let last = gateway.token(&["deployment:*"]);
    assert_eq!(gateway.ask(&get("a.test", "/", &last.text)).status, 200);

    let callers = flood(&gateway, &flooded, 60);
    for other in &others {
        assert_eq!(gateway.ask(&get("a.test", "/", &other.text)).status, 200);
    }
    let codes: Vec<String> = callers.into_iter().map(|mut caller| caller.response(false).code()).collect();
    let overloaded = codes.iter().filter(|code| *code == "overloaded").count();
    assert!(codes.iter().all(|code| code == "overloaded" || code == "token_invalid"), "{codes:?}");
    assert!((30..60).contains(&overloaded), "{overloaded} of 60");
    // Many at once that show the right secret wait for one verification.
    let mut holders: Vec<Client> = (0..60).map(|_| gateway.connect()).collect();
    holders.iter_mut().for_each(|caller| caller.send(get("a.test", "/", &flooded.text)));
    for mut caller in holders {
        caller.read_timeout(6 * SOON);
        assert_eq!(caller.response(false).status, 200);
    }
}

#[test]
fn a_token_that_has_ended_costs_little_and_tells_strangers_nothing() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    // Verified as often as it is asked for here, it would take minutes.
    let ended = slow_token(&gateway, 4);
    gateway.revoke(&ended);
    let wait = std::time::Instant::now();
    for _ in 0..10 {
        for mut caller in flood(&gateway, &ended, 30) {
            let answer = caller.response(false);
            assert!(["token_invalid", "overloaded"].contains(&&*answer.code()), "{}", answer.text());
        }
    }
    assert!(wait.elapsed() < 6 * SOON, "300 requests took {:?}", wait.elapsed());
    wait_until("its holder is told", 3 * SOON, || gateway.code_of(&ended.text) == "token_revoked");
}

/// Nothing can end a verification that has begun: whoever asks and leaves makes no room for further ones beside it.
#[test]
fn who_asks_and_leaves_makes_no_room_for_more_work() {
    let upstream = Upstream::named("a");
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("PROXY__WORKERS", "1").start();
    // Each takes 64 MiB.
    let slow = slow_token(&gateway, 10);
    gateway.await_token(&slow);
    for text in with_wrong_secrets(&slow.text, 40) {
        let mut caller = gateway.connect();
        caller.send(get("a.test", "/", &text));
        std::thread::sleep(Duration::from_millis(10));
        caller.leave();
    }
    let peak = gateway.memory("VmHWM");
    assert!(peak < 512 << 20, "{peak} bytes");
    // Neither does it keep the token from its first use.
    let mut holder = gateway.connect();
    holder.read_timeout(6 * SOON);
    assert_eq!(holder.ask(get("a.test", "/", &slow.text)).status, 200);
}
