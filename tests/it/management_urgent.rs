//! Ordinary work that has all connections to the store, and waits for the database, holds up nothing that takes a right away.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    console::{Browser, PASSWORD, csrf},
    gateway::{Gateway, Setup},
    http::{Client, Response},
    postgres::Cluster,
    wait_until,
};

/// As long as ordinary work is held up.
const HELD_UP: Duration = Duration::from_secs(10);
/// Long enough on a busy machine, and much shorter than that.
const AT_ONCE: Duration = Duration::from_secs(3);

const OTHER_PASSWORD: &str = "another battery staple";

/// Runs `act` while the gateway's only ordinary connection waits for a lock, and others wait for that connection.
fn while_ordinary_work_waits(gateway: &Gateway, url: &str, admin: &str, act: impl FnOnce()) {
    let _lock = Cluster::lock(url, "token_usage");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    let mut client = Client::connect(gateway.management);
                    client.read_timeout(Duration::from_millis(500));
                    client.send(format!(
                        "GET /api/v1/whoami/usage HTTP/1.1\r\nhost: gateway\r\nx-yatai-api-token: {admin}\r\n\r\n"
                    ));
                    let _: Result<Response, _> = client.try_response(false);
                }
            });
        }
        let _end = End(&ended);
        wait_until("ordinary work waits", SOON, || Cluster::waiting(url) > 0);
        act();
    });
}

/// Also if the test fails: the threads must end.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_right_is_taken_away_while_all_ordinary_connections_are_in_use() {
    let url = Cluster::shared().database_url();
    let held_up = format!("{}s", HELD_UP.as_secs());
    let setup = Setup::new("").env("STORE__URL", &url).env("STORE__MAX_CONNECTIONS", "1");
    let gateway = setup.env("STORE__ACQUIRE_TIMEOUT", &held_up).start();
    let admin = gateway.token(&["api"]).text;
    let token = || gateway.token(&["api"]);
    let (posted, deleted, narrowed, own, leaked, at_console) = (token(), token(), token(), token(), token(), token());
    api::post(&gateway, &admin, "/api/v1/users", json!({ "email": "bob@example.com", "name": "Bob" }));
    let carol = json!({ "email": "carol@example.com", "name": "Carol", "role": "admin" });
    let carol = api::post(&gateway, &admin, "/api/v1/users", carol).1["uid"].as_str().unwrap().to_owned();
    for name in ["one", "two"] {
        let body = json!({ "name": name, "upstreams": ["http://127.0.0.1:1"], "hosts": [format!("{name}.test")] });
        assert_eq!(api::post(&gateway, &admin, "/api/v2/deployments", body).0, 200);
    }
    let mut ada = Browser::signed_in(&gateway, "ada@example.com", true);
    let form = csrf(&ada.get("/account"));

    while_ordinary_work_waits(&gateway, &url, &admin, || {
        let at_once = |what: &str, act: &mut dyn FnMut() -> (u16, Value)| {
            let begun = Instant::now();
            let (status, answer) = act();
            assert!(status == 200 && begun.elapsed() < AT_ONCE, "{what}: {status}, {:?}: {answer}", begun.elapsed());
        };
        let of = |uid: &str| format!("/api/v1/api_tokens/{uid}");
        let deployment = |name: &str| format!("/api/v2/deployments/{name}");
        for (token, method, path, body) in [
            (&admin, "POST", format!("{}/revoke", of(&posted.uid)), json!({})),
            (&admin, "DELETE", of(&deleted.uid), json!({})),
            (&admin, "PATCH", of(&narrowed.uid), json!({ "scopes": ["read_cluster"] })),
            (&admin, "POST", format!("{}/rotate", of(&narrowed.uid)), json!({ "overlap": "0s" })),
            (&own.text, "POST", "/api/v1/whoami/revoke".to_owned(), json!({})),
            (&admin, "POST", "/api/v1/leaked_tokens".to_owned(), json!({ "tokens": [leaked.text] })),
            (&admin, "PATCH", deployment("one"), json!({ "hosts": ["other.test"] })),
            (&admin, "POST", format!("{}/terminate", deployment("one")), json!({})),
            (&admin, "DELETE", deployment("one"), json!({})),
            (&admin, "POST", "/api/v1/users/bob@example.com/disable".to_owned(), json!({})),
        ] {
            at_once(&format!("{method} {path}"), &mut || api::ask(&gateway, token, method, &path, Some(&body)));
        }
        let of = |verb: &str| format!("/api_tokens/{}{verb}", at_console.uid);
        let edited = [("name", "narrowed"), ("endpoint", "1"), ("reach", "all"), ("expires", "30")];
        let upstream = [("upstreams", "http://127.0.0.1:2"), ("access", "protected")];
        let password = [("current", PASSWORD), ("password", OTHER_PASSWORD), ("password_again", OTHER_PASSWORD)];
        let forms: &[(&str, &[(&str, &str)])] = &[
            (&of(""), &edited),
            (&of("/rotate"), &[("overlap", "0s")]),
            (&of("/delete"), &[]),
            ("/deployments/two", &upstream),
            ("/deployments/two/terminate", &[]),
            ("/deployments/two/remove", &[]),
            (&format!("/users/{carol}/role"), &[("role", "member")]),
            (&format!("/users/{carol}/disable"), &[]),
            ("/account/password", &password),
            ("/account/sign-out-everywhere", &[]),
        ];
        for (path, fields) in forms {
            at_once(path, &mut || {
                let fields: Vec<_> = [("csrf", &*form)].into_iter().chain(fields.iter().copied()).collect();
                let page = ada.post(path, &fields);
                (if page.status == 303 { 200 } else { page.status }, json!(page.text()))
            });
        }
    });
}
