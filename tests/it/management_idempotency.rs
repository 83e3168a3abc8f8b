//! Requests that carry an `Idempotency-Key` are done once, also if they come at the same time, on both stores.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};

use crate::harness::{
    api::ask_with,
    gateway::{Gateway, Setup, free_address},
    postgres::Cluster,
};

/// Requests at the same time.
const AT_ONCE: usize = 4;
const ROUNDS: usize = 8;

fn on_postgres() -> Gateway {
    Setup::new("").env("STORE__URL", &Cluster::shared().database_url()).start()
}

/// What is created: its path, and the body of one that is named so.
type Noun = (&'static str, fn(&str) -> Value);

const NOUNS: [Noun; 3] = [
    ("/api/v1/api_tokens", |name| json!({ "name": name, "scopes": ["deployment:*"] })),
    ("/api/v1/users", |name| json!({ "email": format!("{name}@example.com"), "name": name })),
    ("/api/v2/deployments", |name| json!({ "name": name, "upstreams": [format!("http://{}", free_address())] })),
];

fn same_requests_at_once_give_one_result(gateway: &Gateway) {
    let admin = gateway.token(&["api"]).text;
    for (path, body) in NOUNS {
        for round in 0..ROUNDS {
            let body = body(&format!("round-{round}"));
            let fields = format!("x-yatai-api-token: {admin}\r\nidempotency-key: {path}-{round}\r\n");
            let barrier = Barrier::new(AT_ONCE);
            let ask = || {
                barrier.wait();
                ask_with(gateway, "POST", path, &fields, Some(&body))
            };
            let answers: Vec<(u16, Value)> = thread::scope(|scope| {
                let asked: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(ask)).collect();
                asked.into_iter().map(|asked| asked.join().unwrap()).collect()
            });
            assert!(answers.iter().all(|(status, _)| *status == 200), "{path}: {answers:?}");
            assert!(answers.windows(2).all(|two| two[0].1["uid"] == two[1].1["uid"]), "{path}: {answers:?}");
            let texts = answers.iter().filter(|(_, body)| body["token"].is_string()).count();
            assert_eq!(texts, usize::from(path.ends_with("api_tokens")), "a token's text is shown once: {answers:?}");
        }
    }
}

#[test]
fn the_same_requests_at_once_give_one_result_on_sqlite() {
    same_requests_at_once_give_one_result(&Gateway::start(""));
}

#[test]
fn the_same_requests_at_once_give_one_result_on_postgresql() {
    same_requests_at_once_give_one_result(&on_postgres());
}

#[test]
fn a_key_is_for_one_request() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    let ask = |key: &str, path: &str, body: Value| {
        let fields = format!("x-yatai-api-token: {admin}\r\nidempotency-key: {key}\r\n");
        ask_with(&gateway, "POST", path, &fields, Some(&body))
    };
    for (path, body) in NOUNS {
        let (first, other) = (body("one"), body("other"));
        let (status, made) = ask(path, path, first.clone());
        assert_eq!(status, 200, "{path}: {made}");
        let (status, again) = ask(path, path, first);
        assert_eq!((status, &again["uid"]), (200, &made["uid"]), "{path}");
        let (status, refused) = ask(path, path, other);
        assert_eq!((status, &refused["code"]), (409, &json!("conflict")), "{path}: {refused}");
        assert!(refused["error"].as_str().unwrap().contains("Idempotency-Key"), "{path}: {refused}");
    }
    // Without a key, or with another one, it is another request: the name is taken.
    for (path, body) in NOUNS {
        assert_eq!(ask("another", path, body("one")).0, 409, "{path}");
    }
    // A request that fails leaves its key free.
    let (path, body) = NOUNS[1];
    assert_eq!(ask("retried", path, json!({ "email": "no address", "name": "Eve" })).0, 400);
    assert_eq!(ask("retried", path, body("eve")).0, 200);
}
