//! A store that goes away the moment it has made a change: whoever asked for the change is told that it was made, and gets
//! the secret that is shown once. If it goes away before it has said so, they are not told that nothing was changed.

use std::{
    io::Write,
    process::{Output, Stdio},
    sync::{Mutex, MutexGuard},
};

use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    console::{Browser, PASSWORD},
    gateway::{Gateway, Setup, Token},
    http::Response,
    postgres::Cluster,
    relay::{Commit, Network, Relay},
    wait_until,
};

const OTHER_PASSWORD: &str = "incorrect donkey battery staple";

/// A gateway whose store is behind a network that a commit cuts.
struct World {
    relay: Relay,
    gateway: Gateway,
    admin: Token,
    browser: Mutex<Browser>,
}

impl World {
    fn new() -> Self {
        let (cluster, url) = (Cluster::shared(), Cluster::shared().database_url());
        let relay = Relay::to(cluster.address());
        let url = url.replace(&cluster.address().to_string(), &relay.address.to_string());
        // Nothing but what is asked for commits: neither when a token was last used nor how much.
        let setup = Setup::new("").env("STORE__URL", &url).env("TOKENS__USAGE_INTERVAL", "1h");
        let gateway = setup.env("STORE__ACQUIRE_TIMEOUT", "2s").start();
        let (admin, browser) = (gateway.token(&["api"]), Browser::signed_in(&gateway, "ada@example.com", true));
        Self { relay, gateway, admin, browser: Mutex::new(browser) }
    }

    fn losing_the_store_at<T: std::fmt::Debug>(&self, commit: Commit, act: impl FnOnce() -> T) -> T {
        self.relay.set(Network::CutAt(commit));
        let answer = act();
        assert!(self.relay.is_cut(), "nothing was committed: {answer:?}");
        self.relay.set(Network::Open);
        wait_until("the store is back", SOON, || api::get(&self.gateway, &self.admin.text, "/api/v1/whoami").0 == 200);
        // For what is urgent, too, which has connections of its own.
        let nobody = "/api/v1/api_tokens/00000000-0000-7000-8000-000000000000/revoke";
        wait_until("the store is back", SOON, || {
            api::post(&self.gateway, &self.admin.text, nobody, json!({})).0 == 404
        });
        answer
    }

    /// The answer to a change of the API.
    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        self.api_of(&self.admin.text, method, path, body)
    }

    fn api_of(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let ask = || api::ask(&self.gateway, token, method, path, Some(body));
        let (status, answer) = self.losing_the_store_at(Commit::Answered, ask);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    fn browser(&self) -> MutexGuard<'_, Browser> {
        self.browser.lock().unwrap()
    }

    /// The answer to a form of the console that stands in the page at `page`.
    fn form(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Response {
        self.form_of(&mut self.browser(), page, action, fields)
    }

    fn form_of(&self, browser: &mut Browser, page: &str, action: &str, fields: &[(&str, &str)]) -> Response {
        let page = browser.get(page);
        let answer = self.losing_the_store_at(Commit::Answered, || browser.submit(&page, action, fields));
        assert!(matches!(answer.status, 200 | 303), "{action}: {} {}", answer.status, answer.text());
        answer
    }

    fn command_at(&self, commit: Commit, arguments: &[&str], input: &str) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.losing_the_store_at(commit, || {
            let mut command = self.gateway.cli_command(arguments);
            let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    /// What a command has printed. 7: it was made, and nobody can say who has applied it.
    fn command(&self, arguments: &[&str], input: &str) -> String {
        let (code, printed, said) = self.command_at(Commit::Answered, arguments, input);
        assert!(code == 7 && said.contains("the change is made"), "{arguments:?}: {code}: {said}");
        printed
    }
}

fn secret(answer: &Value) -> &str {
    answer["token"].as_str().filter(|text| text.starts_with("bgw_")).unwrap_or_else(|| panic!("no token in {answer}"))
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}"))
}

#[test]
fn of_the_api() {
    let world = World::new();
    let made = world.api("POST", "/api/v1/api_tokens", &json!({ "name": "ci", "scopes": ["api"] }));
    secret(&made);
    let path = format!("/api/v1/api_tokens/{}", text(&made, "uid"));
    assert_eq!(world.api("PATCH", &path, &json!({ "description": "nightly" }))["description"], "nightly");
    secret(&world.api("POST", &format!("{path}/rotate"), &json!({})));
    assert!(world.api("POST", &format!("{path}/revoke"), &json!({}))["deleted_at"].is_string());
    let own = world.gateway.token(&["api"]);
    assert!(world.api_of(&own.text, "POST", "/api/v1/whoami/revoke", &json!({}))["deleted_at"].is_string());
    let leaked = world.gateway.token(&["api"]);
    assert_eq!(world.api("POST", "/api/v1/leaked_tokens", &json!({ "tokens": [leaked.text] }))["received"], 1);

    let deployments = "/api/v2/deployments";
    let upstreams = ["http://127.0.0.1:1"];
    let address = format!("http://{}", world.gateway.proxy);
    let first = world.api("POST", deployments, &json!({ "name": "first", "upstreams": upstreams }));
    assert_eq!(first["urls"], json!([address]), "as the only one");
    let second = world.api("POST", deployments, &json!({ "name": "b", "upstreams": upstreams, "hosts": ["b.test"] }));
    assert!(text(&second, "notice").contains("first was reached at"), "{second}");
    let port = world.gateway.proxy.port();
    assert_eq!(second["urls"], json!([format!("http://b.test:{port}")]));
    let path = format!("{deployments}/b");
    let moved = world.api("PATCH", &path, &json!({ "hosts": ["c.test"] }));
    assert_eq!(moved["urls"], json!([format!("http://c.test:{port}")]));
    assert_eq!(world.api("POST", &format!("{path}/terminate"), &json!({}))["status"], "terminated");
    assert_eq!(world.api("PUT", &path, &json!({}))["latest_revision"]["status"], "active");
    assert_eq!(world.api("DELETE", &path, &json!({}))["name"], "b");

    world.api("POST", "/api/v1/users", &json!({ "email": "bob@example.com", "name": "Bob" }));
    let bob = "/api/v1/users/bob@example.com";
    assert_eq!(world.api("PATCH", bob, &json!({ "name": "Robert" }))["name"], "Robert");
    for verb in ["disable", "enable"] {
        world.api("POST", &format!("{bob}/{verb}"), &json!({}));
    }
}

#[test]
fn of_the_consoles_pages_about_tokens_and_deployments() {
    let world = World::new();
    let fields = [("name", "ci"), ("developer", "1"), ("endpoint", "1"), ("reach", "all"), ("expires", "30")];
    let made = world.form("/api_tokens/new", "/api_tokens", &fields).text();
    assert!(made.contains("bgw_"), "{made}");
    let (_, all) = api::get(&world.gateway, &world.admin.text, "/api/v1/api_tokens?search=ci");
    let path = format!("/api_tokens/{}", text(&all["items"][0], "uid"));
    let said = |answer: &Response, text: &str| assert!(answer.text().contains(text), "{text}: {}", answer.text());
    said(&world.form(&format!("{path}/edit"), &path, &fields), "Changes saved.");
    let rotate = format!("{path}/rotate");
    said(&world.form(&rotate, &rotate, &[("overlap", "1h")]), "bgw_");
    let delete = format!("{path}/delete");
    said(&world.form(&delete, &delete, &[]), "ci");

    let add = |name: &str| {
        let fields = [("name", name), ("upstreams", "http://127.0.0.1:1"), ("access", "protected")];
        world.form("/deployments/new", "/deployments", &fields)
    };
    assert_eq!(add("one").header("location"), Some("/deployments/one"));
    said(&add("two"), "one was reached at");
    let edit = [("upstreams", "http://127.0.0.1:2"), ("access", "protected")];
    said(&world.form("/deployments/two/edit", "/deployments/two", &edit), "Changes saved.");
    said(&world.form("/deployments/two", "/deployments/two/terminate", &[]), "Terminated.");
    said(&world.form("/deployments/two", "/deployments/two/start", &[]), "Started.");
    said(&world.form("/deployments/two/remove", "/deployments/two/remove", &[]), "two");
}

#[test]
fn of_the_consoles_pages_about_people() {
    let world = World::new();
    let said = |answer: &Response, text: &str| assert!(answer.text().contains(text), "{text}: {}", answer.text());
    let link = |answer: Response| {
        let text = answer.text();
        let link = text.split("/welcome?code=").nth(1).unwrap_or_else(|| panic!("no link in {text}"));
        link.split(['<', '"', '&']).next().unwrap().trim_end_matches('.').to_owned()
    };
    let first = link(world.form("/users", "/users", &[("email", "bob@example.com"), ("role", "member")]));
    let (_, bob) = api::get(&world.gateway, &world.admin.text, "/api/v1/users/bob@example.com");
    let of_bob = |verb: &str| format!("/users/{}/{verb}", text(&bob, "uid"));
    let second = link(world.form("/users", &of_bob("link"), &[]));
    assert_ne!(first, second);
    said(&world.form("/users", &of_bob("role"), &[("role", "admin")]), "is now an admin");

    let mut browser = Browser::new(world.gateway.management);
    let welcome = format!("/welcome?code={second}");
    let chosen = [("password", PASSWORD), ("password_again", PASSWORD)];
    let fields = [&[("code", &*second), ("name", "Bob"), ("email", "bob@example.com")][..], &chosen].concat();
    said(&world.form_of(&mut browser, &welcome, "/welcome", &fields), "Your password has been set.");
    let sign_in = |browser: &mut Browser, password: &str| {
        let fields = [("email", "bob@example.com"), ("password", password)];
        world.form_of(browser, "/sign-in", "/sign-in", &fields)
    };
    assert_eq!(sign_in(&mut browser, PASSWORD).header("location"), Some("/"));
    let changed = [("current", PASSWORD), ("password", OTHER_PASSWORD), ("password_again", OTHER_PASSWORD)];
    said(&world.form_of(&mut browser, "/account", "/account/password", &changed), "Your password has been changed.");
    let left = world.form_of(&mut browser, "/account", "/account/sign-out-everywhere", &[]);
    assert_eq!(left.header("location"), Some("/sign-in"));
    assert_eq!(sign_in(&mut browser, OTHER_PASSWORD).header("location"), Some("/"));

    said(&world.form("/users", &of_bob("disable"), &[]), "has been disabled");
    said(&world.form("/users", &of_bob("enable"), &[]), "has been enabled");
}

#[test]
fn of_a_login_of_the_command_line() {
    let world = World::new();
    let code = world.browser().get("/api/v1/auth/code").json()["code"].as_str().unwrap().to_owned();
    let page = format!("/api_tokens?code={code}");
    let decision = [("code", &*code), ("decision", "approve")];
    assert!(world.form(&page, "/api_tokens/approve", &decision).text().contains("Login approved"));
    let claimed = world.api("GET", &format!("/api/v1/auth/token?code={code}"), &json!({}));
    assert!(text(&claimed, "token").starts_with("bgw_"), "{claimed}");
}

#[test]
fn of_commands() {
    let world = World::new();
    let made = world.command(&["token", "create", "ci", "-o", "json"], "");
    let made: Value = serde_json::from_str(&made).unwrap();
    let uid = text(&made, "uid");
    secret(&made);
    assert!(world.command(&["token", "rotate", uid], "").contains("bgw_"));
    assert!(world.command(&["token", "revoke", uid], "").contains("revoked"));

    let upstream = ["--upstream", "http://127.0.0.1:1"];
    assert!(world.command(&[&["deployment", "add", "b"][..], &upstream].concat(), "").contains("protected"));
    let update = ["deployment", "update", "b", "--host", "b.test"];
    assert!(world.command(&update, "").contains("b.test"));
    assert!(world.command(&["deployment", "terminate", "b"], "").contains("Terminated b"));
    assert!(world.command(&["deployment", "start", "b"], "").contains("Started b"));
    assert!(world.command(&["deployment", "remove", "b"], "").contains("Removed b"));

    let bob = "bob@example.com";
    assert!(world.command(&["user", "create", "--email", bob, "--name", "Bob"], "").contains(bob));
    world.command(&["user", "set-password", bob, "--stdin"], PASSWORD);
    assert!(world.command(&["user", "invite", bob], "").contains("/welcome?code="));
    world.command(&["user", "disable", bob], "");
    world.command(&["user", "enable", bob], "");
}

#[test]
fn of_a_store_that_does_not_answer_to_the_commit_itself() {
    let world = World::new();
    let body = json!({ "name": "ci", "scopes": ["api"] });
    let create = || api::post(&world.gateway, &world.admin.text, "/api/v1/api_tokens", body.clone());
    let (status, answer) = world.losing_the_store_at(Commit::Unanswered, create);
    assert_eq!((status, text(&answer, "code")), (503, "outcome_unknown"), "{answer}");
    assert!(!text(&answer, "error").contains("nothing was changed"), "{answer}");
    let (code, _, said) = world.command_at(Commit::Unanswered, &["token", "create", "other"], "");
    assert!(code == 5 && said.contains("whether the change was made"), "{code}: {said}");
    let page = world.browser().get("/api_tokens/new");
    let fields = [("name", "third"), ("developer", "1"), ("expires", "30")];
    let submit = || world.browser().submit(&page, "/api_tokens", &fields);
    let answer = world.losing_the_store_at(Commit::Unanswered, submit);
    let said = answer.text();
    assert!(answer.status == 503 && said.contains("whether the change was made"), "{} {said}", answer.status);
    let (_, all) = api::get(&world.gateway, &world.admin.text, "/api/v1/api_tokens");
    let has = |name: &str| all["items"].as_array().unwrap().iter().any(|token| token["name"] == name);
    assert!(["ci", "other", "third"].into_iter().all(has), "all of them were made: {all}");
}
