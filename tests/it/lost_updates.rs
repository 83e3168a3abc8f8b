//! Two writers at the same thing at the same time: what each has asked for is there afterwards.

use std::thread;

use serde_json::{Value, json};

use crate::harness::{
    api,
    console::Browser,
    gateway::{Gateway, Setup, Token},
    http::Response,
    postgres::Cluster,
};

/// Enough for two requests to meet many times.
const ROUNDS: usize = 30;

/// An API of an admin.
struct Api<'g> {
    gateway: &'g Gateway,
    token: Token,
}

impl<'g> Api<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        let token = gateway.new_token(&["api"], &[]);
        gateway.await_token(&token);
        Self { gateway, token }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.try_ask(method, path, body);
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        api::ask(self.gateway, &self.token.text, method, path, Some(body))
    }

    /// Both at once; both are to succeed.
    fn both(&self, one: (&str, &str, Value), other: (&str, &str, Value)) {
        thread::scope(|scope| {
            for (method, path, body) in [one, other] {
                scope.spawn(move || self.ask(method, path, &body));
            }
        });
    }
}

/// On both stores.
fn on_each_store(test: impl Fn(Api<'_>)) {
    test(Api::new(&Gateway::start("")));
    let url = Cluster::shared().database_url();
    test(Api::new(&Setup::new("").env("STORE__URL", &url).start()));
}

#[test]
fn of_a_token() {
    on_each_store(|api| {
        let made = api.ask("POST", "/api/v1/api_tokens", &json!({ "name": "shared", "scopes": ["deployment:*"] }));
        let path = format!("/api/v1/api_tokens/{}", made["uid"].as_str().unwrap());
        for round in 0..ROUNDS {
            let (name, scope) = (format!("name-{round}"), format!("deployment:team-{round}-*"));
            api.both(("PATCH", &path, json!({ "name": name })), ("PATCH", &path, json!({ "scopes": [scope] })));
            let token = api.ask("GET", &path, &Value::Null);
            assert_eq!((&token["name"], &token["scopes"]), (&json!(name), &json!([scope])), "round {round}");
        }
    });
}

#[test]
fn of_a_user() {
    on_each_store(|api| {
        let body = json!({ "email": "ada@example.com", "name": "Ada", "role": "member" });
        api.ask("POST", "/api/v1/users", &body);
        let path = "/api/v1/users/ada@example.com";
        for round in 0..ROUNDS {
            let (name, role) = (format!("Ada {round}"), if round % 2 == 0 { "admin" } else { "member" });
            api.both(("PATCH", path, json!({ "name": name })), ("PATCH", path, json!({ "role": role })));
            let user = api.ask("GET", path, &Value::Null);
            assert_eq!((&user["name"], &user["role"]), (&json!(name), &json!(role)), "round {round}");
        }
    });
}

#[test]
fn of_a_deployment() {
    on_each_store(|api| {
        let path = "/api/v2/deployments/shared";
        let body = json!({ "name": "shared", "upstreams": ["http://127.0.0.1:1"] });
        api.ask("POST", "/api/v2/deployments", &body);
        for round in 0..ROUNDS {
            let (host, protected) = (format!("h{round}.example.com"), round % 2 == 0);
            api.both(("PATCH", path, json!({ "protected": protected })), ("PATCH", path, json!({ "hosts": [host] })));
            let spec = api.ask("GET", path, &Value::Null);
            assert_eq!(spec["protected"], json!(protected), "round {round}: {spec}");
            assert_eq!(spec["hosts"], json!([host]), "round {round}: {spec}");

            // Two settings of the same Deployment, and its termination beside a change.
            let limit = round as u64 + 1;
            api.both(
                ("PATCH", path, json!({ "settings": { "max_body_bytes": limit } })),
                ("PATCH", path, json!({ "settings": { "allow_pickle": protected } })),
            );
            api.both(("POST", &format!("{path}/terminate"), json!({})), ("PATCH", path, json!({ "protected": true })));
            let spec = api.ask("GET", path, &Value::Null);
            assert_eq!(spec["settings"]["max_body_bytes"], json!(limit), "round {round}: {spec}");
            assert_eq!(spec["settings"]["allow_pickle"], json!(protected), "round {round}: {spec}");
            assert_eq!(spec["status"], json!("terminated"), "round {round}: {spec}");
            api.ask("PUT", path, &json!({}));
        }
    });
}

/// What a token's removed Deployment was called is no scope of it, however the two changes meet.
#[test]
fn a_removed_deployment_is_in_no_token_that_was_made_meanwhile() {
    on_each_store(|api| {
        for round in 0..ROUNDS {
            let name = format!("gone-{round}");
            let spec = json!({ "name": name, "upstreams": ["http://127.0.0.1:1"] });
            api.ask("POST", "/api/v2/deployments", &spec);
            let (path, scope) = (format!("/api/v2/deployments/{name}"), format!("deployment:{name}"));
            let token = json!({ "name": name, "scopes": [scope, "deployment:other-*"] });
            let (_, made) = thread::scope(|scope| {
                let removing = scope.spawn(|| api.ask("DELETE", &path, &Value::Null));
                let making = scope.spawn(|| api.try_ask("POST", "/api/v1/api_tokens", &token));
                (removing.join().unwrap(), making.join().unwrap())
            });
            // Either it came first and has lost the scope, or there was no such Deployment any more.
            match made {
                (200, made) => {
                    let path = format!("/api/v1/api_tokens/{}", made["uid"].as_str().unwrap());
                    let token = api.ask("GET", &path, &Value::Null);
                    assert_eq!(token["scopes"], json!(["deployment:other-*"]), "round {round}");
                }
                (status, refused) => assert_eq!(status, 400, "round {round}: {refused}"),
            }
        }
    });
}

/// Two rotations at once: the newer secrets both work for the overlap, and neither is lost.
#[test]
fn of_a_rotation() {
    on_each_store(|api| {
        let made = api.ask("POST", "/api/v1/api_tokens", &json!({ "name": "turned", "scopes": ["api"] }));
        let path = format!("/api/v1/api_tokens/{}/rotate", made["uid"].as_str().unwrap());
        for round in 0..ROUNDS {
            let rotate = || api.ask("POST", &path, &json!({ "overlap": "1h" }))["token"].clone();
            let texts =
                thread::scope(|scope| [scope.spawn(rotate), scope.spawn(rotate)].map(|one| one.join().unwrap()));
            for text in texts {
                let token = Token { text: text.as_str().unwrap().to_owned(), uid: String::new() };
                let (status, answer) =
                    Api { gateway: api.gateway, token }.try_ask("GET", "/api/v1/whoami", &Value::Null);
                assert_eq!(status, 200, "round {round}: {answer}");
            }
        }
    });
}

// === two people with the same form ===

/// Fields of a form with the page's `version`.
fn with_version<'f>(version: &'f str, fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    [("version", version)].into_iter().chain(fields.iter().copied()).collect()
}

fn version(page: &Response) -> String {
    let text = page.text();
    let at = text.find("name=\"version\" value=\"").unwrap() + "name=\"version\" value=\"".len();
    text[at..].split('"').next().unwrap().to_owned()
}

#[test]
fn a_form_that_somebody_else_has_overtaken_shows_both() {
    let gateway = Gateway::start("");
    let (mut ada, mut bob) =
        (Browser::signed_in(&gateway, "ada@example.com", true), Browser::signed_in(&gateway, "bob@example.com", true));
    let api = Api::new(&gateway);
    let made = api.ask("POST", "/api/v1/api_tokens", &json!({ "name": "shared", "scopes": ["api"] }));
    api.ask("POST", "/api/v2/deployments", &json!({ "name": "shared", "upstreams": ["http://127.0.0.1:1"] }));

    let token = format!("/api_tokens/{}", made["uid"].as_str().unwrap());
    let token_form = |name: &'static str| vec![("name", name), ("developer", "1"), ("expires", "keep")];
    let deployment_form =
        |host: &'static str| vec![("upstreams", "http://127.0.0.1:1"), ("access", "protected"), ("hosts", host)];
    for (path, adas, bobs, stored, typed) in [
        (token.as_str(), token_form("ada's name"), token_form("bob's name"), "ada&#39;s name", "bob&#39;s name"),
        (
            "/deployments/shared",
            deployment_form("ada.example.com"),
            deployment_form("bob.example.com"),
            "ada.example.com",
            "bob.example.com",
        ),
    ] {
        let edit = format!("{path}/edit");
        let (seen_by_ada, seen_by_bob) = (ada.get(&edit), bob.get(&edit));
        let saved = ada.submit(&seen_by_ada, path, &with_version(&version(&seen_by_ada), &adas));
        assert_eq!(saved.status, 200, "{}", saved.text());

        let conflict = bob.submit(&seen_by_bob, path, &with_version(&version(&seen_by_bob), &bobs));
        assert_eq!(conflict.status, 409, "{}", conflict.text());
        for text in ["Someone else has changed", stored, typed] {
            assert!(conflict.text().contains(text), "{text} is not in {}", conflict.text());
        }
        assert!(ada.get(path).text().contains(stored), "nothing was overwritten");

        // Bob has seen both now, and means it.
        let saved = bob.submit(&conflict, path, &with_version(&version(&conflict), &bobs));
        assert_eq!(saved.status, 200, "{}", saved.text());
        assert!(ada.get(path).text().contains(typed));
    }
}
