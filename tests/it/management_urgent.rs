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
    metrics::scrape,
    postgres::Cluster,
    wait_until,
};

/// As long as ordinary work is held up.
const HELD_UP: Duration = Duration::from_secs(10);
/// Long enough on a busy machine, and much shorter than that.
const AT_ONCE: Duration = Duration::from_secs(3);

const OTHER_PASSWORD: &str = "another battery staple";

/// Somebody who asks for something and goes on waiting.
fn waiting(gateway: &Gateway, asked: &str, field: &str) -> Client {
    let mut client = Client::connect(gateway.management);
    client.send(format!("{asked} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n{field}\r\n\r\n"));
    client
}

/// Connections that are in use.
fn used(gateway: &Gateway, pool: &str) -> f64 {
    let labels = [format!("pool=\"{pool}\""), "state=\"used\"".to_owned()];
    scrape(gateway).sum("bento_gateway_store_connections", &labels.each_ref().map(String::as_str))
}

fn cookies(browser: &Browser) -> String {
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("cookie: {}", cookies.join("; "))
}

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

/// Who holds a token of any kind, or is signed in, keeps none of what is kept for taking rights away.
#[test]
fn looking_takes_no_urgent_connection() {
    let url = Cluster::shared().database_url();
    let setup = Setup::new("").env("STORE__URL", &url).env("STORE__MAX_CONNECTIONS", "4");
    let gateway = setup.env("STORE__ACQUIRE_TIMEOUT", &format!("{}s", HELD_UP.as_secs())).start();
    let tokens: Vec<String> = (0..10).map(|_| gateway.token(&["deployment:*"]).text).collect();
    let admin = gateway.token(&["api"]).text;
    let browser = Browser::signed_in(&gateway, "ada@example.com", true);
    for token in tokens.iter().chain([&admin]) {
        assert_eq!(api::get(&gateway, token, "/api/v1/whoami").0, 200);
    }
    let lock = Cluster::lock(&url, "users");
    let field = |token: &String| format!("x-yatai-api-token: {token}");
    let mut looking: Vec<Client> =
        tokens.iter().map(|token| waiting(&gateway, "GET /api/v1/whoami", &field(token))).collect();
    looking.push(waiting(&gateway, "GET /api/v1/api_tokens", &field(&admin)));
    looking.push(waiting(&gateway, "GET /api_tokens", &cookies(&browser)));
    wait_until("they wait for the lock", SOON, || Cluster::waiting(&url) >= 2);
    // All of the tokens are one user's, who has half of the connections; the browser has another one.
    wait_until("they have what they may", SOON, || used(&gateway, "ordinary") == 3.0);
    assert_eq!(used(&gateway, "urgent"), 0.0);

    // What a token may never do is refused without the store, which answers nobody now.
    for (method, path, expected) in [
        ("GET", "/api/v1/auth/current", 401),
        ("GET", "/api/v1/api_tokens", 403),
        ("POST", "/api/v1/api_tokens/x/revoke", 403),
        ("POST", "/api/v1/users/x/disable", 403),
        ("DELETE", "/api/v2/deployments/x", 403),
    ] {
        let begun = Instant::now();
        let (status, answer) = api::ask(&gateway, &tokens[0], method, path, None);
        assert!(status == expected && begun.elapsed() < AT_ONCE, "{method} {path}: {status}: {answer}");
    }
    drop(lock);
    for mut client in looking {
        assert_eq!(client.response(false).status, 200);
    }
}

#[test]
fn a_session_that_is_over_costs_the_store_nothing_and_one_that_was_ended_little() {
    let gateway = |lifetime: &str, url: &str| {
        let setup = Setup::new(&format!("[management]\nsession_lifetime = \"{lifetime}\"\n")).env("STORE__URL", url);
        setup.env("STORE__ACQUIRE_TIMEOUT", &format!("{}s", HELD_UP.as_secs())).start()
    };
    let url = Cluster::shared().database_url();
    let over = gateway("1s", &url);
    let mut ada = Browser::signed_in(&over, "ada@example.com", true);
    wait_until("her session is over", SOON, || ada.get("/api_tokens").status == 303);
    let lock = Cluster::lock(&url, "console_sessions");
    let begun = Instant::now();
    for path in ["/api_tokens", "/users"] {
        let page = ada.get(path);
        assert!(page.status == 303 && begun.elapsed() < AT_ONCE, "{path}: {}, {:?}", page.status, begun.elapsed());
    }
    drop(lock);

    let url = Cluster::shared().database_url();
    let ended = gateway("1h", &url);
    let mut bob = Browser::signed_in(&ended, "bob@example.com", true);
    let (form, cookie) = (csrf(&bob.get("/account")), cookies(&bob));
    assert_eq!(bob.post("/sign-out", &[("csrf", &form)]).status, 303);
    let lock = Cluster::lock(&url, "console_sessions");
    let asking: Vec<Client> = (0..6).map(|_| waiting(&ended, "POST /sign-out", &cookie)).collect();
    wait_until("one of them waits for the lock", SOON, || Cluster::waiting(&url) > 0);
    std::thread::sleep(Duration::from_millis(300));
    // Whoever takes a right away finds the others.
    assert_eq!(used(&ended, "urgent"), 1.0);
    drop(lock);
    for mut client in asking {
        assert_eq!(client.response(false).status, 401);
    }
}
