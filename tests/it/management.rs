//! The management API: who may do what, what a change promises, and what nobody may learn.

use std::time::Duration;

use bento_gateway::management;
use serde_json::{Value, json};

use crate::harness::{
    api::{ask, ask_with, get, post},
    gateway::{Gateway, Setup, Token, deployment, free_address},
    postgres::Cluster,
    snapshot::assert_reference,
    upstream::Upstream,
};

/// A token of a member who is not an admin.
fn member_token(gateway: &Gateway, email: &str, scopes: &[&str]) -> Token {
    gateway.cli(&["user", "create", "--email", email, "--name", "Member"]);
    let token = gateway.new_token(scopes, &["--owner", email]);
    gateway.await_token(&token);
    token
}

#[test]
fn the_document_is_what_is_served() {
    let text = serde_json::to_string_pretty(&management::openapi()).unwrap() + "\n";
    assert_reference("docs/openapi.json", &text);
    let gateway = Gateway::start("");
    assert_eq!(get(&gateway, "", "/openapi.json").1, management::openapi());
}

/// Everything in the document but what is open.
fn guarded() -> Vec<(String, String)> {
    let document = management::openapi();
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if !operation["security"].as_array().unwrap().is_empty() {
                all.push((method.to_uppercase(), path.replace(['{', '}'], "")));
            }
        }
    }
    assert!(all.len() >= 20, "{all:?}");
    all
}

#[test]
fn nothing_is_done_without_a_token() {
    let gateway = Gateway::start("");
    for (method, path) in guarded() {
        for fields in
            ["", "x-yatai-api-token: \r\n", "authorization: Bearer bgw_x\r\n", "authorization: Basic eDp5\r\n"]
        {
            let (status, body) = ask_with(&gateway, &method, &path, fields, Some(&json!({ "name": 7 })));
            assert_eq!(status, 401, "{method} {path} {fields}: {body}");
            assert!(body["error"].is_string(), "{body}");
        }
    }
    let open: Vec<String> =
        ["/api/v1/auth/code", "/api/v1/auth/token", "/api/v1/leaked_tokens"].map(str::to_owned).into();
    let document = management::openapi();
    let unguarded = document["paths"].as_object().unwrap().iter().filter(|(_, operations)| {
        operations.as_object().unwrap().values().any(|operation| operation["security"] == json!([]))
    });
    assert_eq!(unguarded.map(|(path, _)| path.clone()).collect::<Vec<_>>(), open);
}

#[test]
fn a_token_that_opens_deployments_only_manages_nothing() {
    let gateway = Gateway::start("");
    let token = gateway.token(&["deployment:*"]).text;
    for (method, path) in guarded() {
        let expected = match path.as_str() {
            "/api/v1/whoami/revoke" => continue,
            path if path.starts_with("/api/v1/whoami") => 200,
            // The `bentoml` CLI says "Bad credentials" for 401 alone.
            "/api/v1/auth/current" | "/api/v1/current_org" | "/api/v1/org_secrets" | "/api/v1/instance_types" => 401,
            _ => 403,
        };
        let (status, body) = ask(&gateway, &token, &method, &path, Some(&json!({})));
        assert_eq!(status, expected, "{method} {path}: {body}");
    }
}

#[test]
fn a_narrow_token_does_what_its_scopes_say() {
    let gateway = Gateway::start("");
    let allowed = |scope: &str| {
        let token = gateway.token(&[scope]).text;
        let done = |method: &str, path: &str| ask(&gateway, &token, method, path, Some(&json!({}))).0 != 403;
        [
            done("GET", "/api/v1/api_tokens"),
            done("POST", "/api/v1/api_tokens"),
            done("GET", "/api/v2/deployments"),
            done("POST", "/api/v2/deployments"),
            done("GET", "/api/v1/users"),
            done("POST", "/api/v1/users"),
        ]
    };
    assert_eq!(allowed("api"), [true; 6]);
    assert_eq!(allowed("read_organization"), [true, false, false, false, true, false]);
    assert_eq!(allowed("write_organization"), [true, true, false, false, true, false]);
    assert_eq!(allowed("read_cluster"), [false, false, true, false, false, false]);
    assert_eq!(allowed("write_cluster"), [false, false, true, true, false, false]);
}

#[test]
fn nobody_makes_a_token_that_may_do_more_than_their_own() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]);
    let writer = gateway.token(&["write_organization"]).text;
    let mint = |scopes: &[&str], name: &str| {
        post(&gateway, &writer, "/api/v1/api_tokens", json!({ "name": name, "scopes": scopes }))
    };
    for scopes in [&["api"][..], &["write_cluster"], &["deployment:*", "read_cluster"]] {
        let (status, body) = mint(scopes, "more");
        assert_eq!(status, 403, "{scopes:?} {body}");
    }
    // Without scopes it means `api`.
    assert_eq!(post(&gateway, &writer, "/api/v1/api_tokens", json!({ "name": "more" })).0, 403);
    let (status, made) = mint(&["deployment:*", "read_organization"], "less");
    assert_eq!(status, 200, "{made}");
    // Neither by widening it, nor by taking over one that may do more.
    let path = format!("/api/v1/api_tokens/{}", made["uid"].as_str().unwrap());
    assert_eq!(ask(&gateway, &writer, "PATCH", &path, Some(&json!({ "scopes": ["api"] }))).0, 403);
    let path = format!("/api/v1/api_tokens/{}", admin.uid);
    assert_eq!(post(&gateway, &writer, &format!("{path}/rotate"), json!({})).0, 403);
    assert_eq!(ask(&gateway, &writer, "PATCH", &path, Some(&json!({ "expired_at": null }))).0, 403);
    assert_eq!(get(&gateway, &admin.text, "/api/v1/auth/current").0, 200);
}

#[test]
fn a_member_manages_their_own_tokens_and_learns_of_no_others() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let admin = gateway.token(&["api"]);
    let member = member_token(&gateway, "member@example.com", &["api"]);
    let (_, listed) = get(&gateway, &member.text, "/api/v1/api_tokens");
    assert_eq!((&listed["total"], &listed["items"][0]["uid"]), (&json!(1), &json!(member.uid)));

    let missing = "01a20cce-cbf2-78b0-9f50-7cfe41d3f110";
    for (method, tail, body) in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", Some(json!({ "name": "mine" }))),
        ("POST", "/rotate", Some(json!({}))),
        ("POST", "/revoke", None),
        ("GET", "/usage", None),
    ] {
        let answer = |uid: &str| {
            let path = format!("/api/v1/api_tokens/{uid}{tail}");
            let (status, body) = ask(&gateway, &member.text, method, &path, body.as_ref());
            (status, body.to_string().replace(uid, "UID"))
        };
        assert_eq!(answer(&admin.uid), answer(missing), "{method} {tail}");
        assert_eq!(answer(missing).0, 404);
    }
    for owner in ["admin@localhost", "nobody@example.com"] {
        let body = json!({ "name": "x", "owner": owner });
        let (status, body) = post(&gateway, &member.text, "/api/v1/api_tokens", body);
        assert_eq!((status, &body["error"]), (404, &json!(format!("there is no user \"{owner}\""))));
    }
    // What is for admins is refused whether it exists or not.
    for path in ["/api/v2/deployments/a/terminate", "/api/v2/deployments/nowhere/terminate", "/api/v1/users/x/disable"]
    {
        assert_eq!(post(&gateway, &member.text, path, json!({})).0, 403, "{path}");
    }
    let (_, seen) = get(&gateway, &member.text, "/api/v2/deployments/a");
    assert_eq!((&seen["name"], seen.get("upstreams"), seen.get("settings")), (&json!("a"), None, None));
    let (_, seen) = get(&gateway, &admin.text, "/api/v2/deployments/a");
    assert!(seen["upstreams"][0].as_str().unwrap().starts_with("http://127.0.0.1:"));
}

#[test]
fn a_deployment_is_made_changed_stopped_and_removed() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api", "deployment:*"]).text;
    let url = format!("http://{}", upstream.address);
    let new = json!({ "name": "a", "upstreams": [url], "hosts": ["a.test"], "settings": { "max_body_bytes": 4 } });
    let (status, made) = post(&gateway, &admin, "/api/v2/deployments", new.clone());
    assert_eq!(
        (status, &made["source"], &made["settings"]["max_body_bytes"]),
        (200, &json!("store"), &json!(4)),
        "{made}"
    );
    assert_eq!(post(&gateway, &admin, "/api/v2/deployments", new).0, 409);
    for wrong in [
        json!({ "name": "A" }),
        json!({ "name": "b", "upstreams": [] }),
        json!({ "name": "b", "upstreams": ["ftp://x"] }),
        json!({ "name": "b", "upstreams": [url], "hosts": ["a b"] }),
        json!({ "name": "b", "upstreams": [url], "settings": { "idle_timeout_ms": 0 } }),
        json!({ "name": "b", "upstreams": [url], "settings": { "idle_timeout": 5 } }),
        json!({ "name": "b", "upstreams": [url], "settings": { "connect_timeout_ms": u64::MAX } }),
        json!({ "name": "b", "upstreams": [url], "settings": { "queue_timeout_ms": 3_155_760_000_001_u64 } }),
        json!({ "name": "b", "upstreams": [url], "settings": { "max_body_bytes": u64::MAX } }),
    ] {
        let (status, body) = post(&gateway, &admin, "/api/v2/deployments", wrong.clone());
        assert_eq!(status, 400, "{wrong}: {body}");
    }
    let call = || {
        let request = format!(
            "POST /x HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer {admin}\r\ncontent-length: 9\r\n\r\n123456789"
        );
        gateway.ask(&request).status
    };
    crate::harness::wait_until("it is served", Duration::from_secs(5), || call() == 413);
    let listen = free_address().to_string();
    let change = json!({ "listen": listen, "settings": { "max_body_bytes": null, "first_byte_timeout_ms": 1500 } });
    let (status, changed) = ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&change));
    assert_eq!((status, &changed["urls"][0]), (200, &json!(format!("http://{listen}"))), "{changed}");
    assert_eq!(
        (&changed["settings"]["max_body_bytes"], &changed["settings"]["first_byte_timeout_ms"]),
        (&Value::Null, &json!(1500))
    );
    crate::harness::wait_until("the change is served", Duration::from_secs(5), || call() == 200);

    assert_eq!(post(&gateway, &admin, "/api/v2/deployments/a/terminate", json!({})).1["status"], "terminated");
    assert_eq!(call(), 503, "at once");
    assert_eq!(gateway.cli(&["deployment", "start", "a"])["terminated"], false);
    crate::harness::wait_until("it is started", Duration::from_secs(5), || call() == 200);
    assert_eq!(gateway.cli(&["deployment", "terminate", "a"])["terminated"], true);
    assert_eq!(ask(&gateway, &admin, "PUT", "/api/v2/deployments/a", Some(&json!({}))).1["status"], "running");
    assert_eq!(call(), 200, "at once");

    let scoped = gateway.token(&["deployment:a"]);
    let (status, removed) = ask(&gateway, &admin, "DELETE", "/api/v2/deployments/a", None);
    assert_eq!((status, &removed["tokens"][0]["uid"]), (200, &json!(scoped.uid)), "{removed}");
    assert_eq!(call(), 404);
    assert_eq!(gateway.code_of(&scoped.text), "token_revoked");
}

#[test]
fn a_named_request_is_done_once() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    let fields = format!("x-yatai-api-token: {admin}\r\nidempotency-key: 6f1c\r\n");
    let create = |name: &str| ask_with(&gateway, "POST", "/api/v1/api_tokens", &fields, Some(&json!({ "name": name })));
    let (status, first) = create("once");
    assert_eq!(status, 200, "{first}");
    let (status, second) = create("once");
    assert_eq!((status, &second["uid"], &second["replayed"]), (200, &first["uid"], &json!(true)));
    assert!(first["token"].is_string() && second.get("token").is_none(), "the text is shown once");
    let (status, body) = create("another");
    assert_eq!(status, 409, "{body}");
    let long = format!("x-yatai-api-token: {admin}\r\nidempotency-key: {}\r\n", "x".repeat(200));
    assert_eq!(ask_with(&gateway, "POST", "/api/v1/api_tokens", &long, Some(&json!({ "name": "n" }))).0, 400);
}

#[test]
fn whoever_holds_a_token_can_end_it() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let [one, two, own] = [(); 3].map(|()| gateway.token(&["deployment:*"]));
    let unknown = "bgw_0123456789ab_0123456789012345678901234567890123456789012345678";
    let report = |tokens: Value| post(&gateway, "", "/api/v1/leaked_tokens", json!({ "tokens": tokens }));
    let nothing = report(json!([unknown, "x"]));
    assert_eq!(nothing, (200, json!({ "received": 2 })));
    assert_eq!(report(json!([one.text, format!(" {}\n", two.text)])), nothing, "nobody learns which of them worked");
    assert_eq!(gateway.code_of(&one.text), "token_revoked");
    assert_eq!(gateway.code_of(&two.text), "token_revoked");
    assert_eq!(report(json!([one.text, one.text])), nothing);
    assert_eq!(report(json!([])).0, 400);

    // An old secret that a rotation has ended must not end the new one.
    gateway.cli(&["token", "rotate", &own.uid, "--overlap", "0s"]);
    crate::harness::wait_until("the rotation", Duration::from_secs(5), || {
        gateway.code_of(&own.text) == "token_rotated"
    });
    assert_eq!(report(json!([own.text])).0, 200);
    assert_eq!(gateway.cli(&["token", "get", &own.uid])["status"], "active");
}

#[test]
fn the_holder_of_any_token_may_know_and_end_it() {
    let upstream = Upstream::named("a");
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("TOKENS__USAGE_INTERVAL", "100ms").start();
    let token = gateway.token(&["deployment:a"]);
    let request = format!("GET /x HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer {}\r\n\r\n", token.text);
    let mut caller = gateway.connect();
    (0..5).for_each(|_| assert_eq!(caller.ask(&request).status, 200));

    let (_, who) = get(&gateway, &token.text, "/api/v1/whoami");
    assert_eq!((&who["token"]["uid"], &who["role"]), (&json!(token.uid), &json!("admin")));
    crate::harness::wait_until("the usage is written", Duration::from_secs(5), || {
        let (status, usage) = get(&gateway, &token.text, "/api/v1/whoami/usage");
        assert_eq!(status, 200);
        usage["total"].as_u64().unwrap() >= 5 && usage["days"].as_array().unwrap().len() == 1
    });
    let (status, ended) = post(&gateway, &token.text, "/api/v1/whoami/revoke", json!({}));
    assert_eq!((status, &ended["receipt"]["acknowledged"]), (200, &json!(1)), "{ended}");
    assert_eq!(gateway.code_of(&token.text), "token_revoked");
    assert_eq!(get(&gateway, &token.text, "/api/v1/whoami").0, 401);
}

#[test]
fn a_store_that_is_away_is_our_trouble() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let gateway = Setup::new("").env("STORE__URL", &url).env("STORE__ACQUIRE_TIMEOUT", "300ms").start();
    let admin = gateway.token(&["api"]).text;
    assert_eq!(get(&gateway, &admin, "/api/v1/auth/current").0, 200);
    cluster.pause();
    let (status, body) = post(&gateway, &admin, "/api/v1/api_tokens", json!({ "name": "lost" }));
    assert_eq!((status, &body["code"]), (503, &json!("store_away")), "{body}");
    assert!(!body.to_string().contains("postgres"), "{body}");
}

#[test]
fn users_are_made_changed_and_disabled() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    let new = json!({ "email": "ada@example.com", "name": "Ada", "password": "twelve chars and more" });
    let (status, ada) = post(&gateway, &admin, "/api/v1/users", new.clone());
    assert_eq!((status, &ada["role"]), (200, &json!("member")), "{ada}");
    assert!(!ada.to_string().contains("twelve"), "{ada}");
    assert_eq!(post(&gateway, &admin, "/api/v1/users", new).0, 409);
    assert_eq!(
        post(&gateway, &admin, "/api/v1/users", json!({ "email": "b@c", "name": "B", "password": "short" })).0,
        400
    );
    let path = format!("/api/v1/users/{}", ada["uid"].as_str().unwrap());
    assert_eq!(ask(&gateway, &admin, "PATCH", &path, Some(&json!({ "role": "admin" }))).1["role"], "admin");
    let body = json!({ "name": "hers", "owner": "ada@example.com", "scopes": ["api"] });
    let hers = post(&gateway, &admin, "/api/v1/api_tokens", body).1["token"].as_str().unwrap().to_owned();
    assert_eq!(get(&gateway, &hers, "/api/v1/users").0, 200);
    // The first admin has no way to sign in yet, so that nobody could manage the gateway without Ada.
    let disable = || post(&gateway, &admin, "/api/v1/users/ada@example.com/disable", json!({}));
    let (status, body) = disable();
    assert_eq!(status, 409, "{body}");
    let other =
        json!({ "email": "eve@example.com", "name": "Eve", "role": "admin", "password": "twelve chars and more" });
    assert_eq!(post(&gateway, &admin, "/api/v1/users", other).0, 200);
    let (status, body) = disable();
    assert_eq!(status, 200, "{body}");
    assert_eq!(get(&gateway, &hers, "/api/v1/users").1["code"], "owner_disabled");
}

#[test]
fn requests_that_cannot_be_read_say_why() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    let token = format!("x-yatai-api-token: {admin}\r\n");
    let both = format!("{token}authorization: Bearer {admin}\r\n");
    assert_eq!(ask_with(&gateway, "GET", "/api/v1/whoami", &both, None).0, 400);
    assert_eq!(get(&gateway, &admin, "/api/v1/api_tokens?count=many").0, 400);
    assert_eq!(post(&gateway, &admin, "/api/v1/api_tokens", json!({ "name": 7 })).0, 400);
    assert_eq!(get(&gateway, &admin, "/api/v1/nothing").0, 404);
    assert_eq!(ask(&gateway, &admin, "PUT", "/api/v1/whoami", None).0, 405);
    let large = json!({ "name": "x".repeat(70_000) });
    assert_eq!(post(&gateway, &admin, "/api/v1/api_tokens", large).0, 413);
    let bearer = format!("authorization: bearer {admin}\r\n");
    assert_eq!(ask_with(&gateway, "GET", "/api/v1/whoami", &bearer, None).0, 200);
}
