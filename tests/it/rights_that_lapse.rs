//! A request that was let in, and whose body comes later: what its caller has lost meanwhile, it cannot use any more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    api,
    console::{Browser, PASSWORD, create_user, csrf},
    gateway::{Gateway, Setup},
    postgres::Cluster,
};

/// On both stores.
fn on_each_store(test: impl Fn(&Gateway)) {
    // So that browsers have addresses of their own: there is a limit on how often one signs in.
    let config = "[proxy]\ntrusted_proxies = [\"127.0.0.1\"]";
    test(&Gateway::start(config));
    let url = Cluster::shared().database_url();
    test(&Setup::new(config).env("STORE__URL", &url).start());
}

/// How a token's holder loses a right.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Revoked,
    Rotated,
    Narrowed,
    OwnerDisabled,
    OwnerDemoted,
}

const LOSSES: [Loss; 5] = [Loss::Revoked, Loss::Rotated, Loss::Narrowed, Loss::OwnerDisabled, Loss::OwnerDemoted];

impl Loss {
    /// By an admin, until its receipt.
    fn happen(self, gateway: &Gateway, admin: &str, uid: &str, owner: &str) {
        let token = format!("/api/v1/api_tokens/{uid}");
        let user = format!("/api/v1/users/{owner}");
        let (method, path, body) = match self {
            Self::Revoked => ("DELETE", token, json!({})),
            Self::Rotated => ("POST", format!("{token}/rotate"), json!({ "overlap": "0s" })),
            Self::Narrowed => ("PATCH", token, json!({ "scopes": ["read_cluster"] })),
            Self::OwnerDisabled => ("POST", format!("{user}/disable"), json!({})),
            Self::OwnerDemoted => ("PATCH", user, json!({ "role": "member" })),
        };
        let (status, answer) = api::ask(gateway, admin, method, &path, Some(&body));
        assert_eq!(status, 200, "{self:?}: {answer}");
    }

    fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Revoked | Self::Rotated | Self::OwnerDisabled => (401, "credential_ended"),
            Self::Narrowed | Self::OwnerDemoted => (409, "conflict"),
        }
    }
}

/// Every operation that has a caller and a body, as the gateway's own description says, with a path and a body for it.
fn operations(gateway: &Gateway, spare: &str) -> Vec<(String, String, Value)> {
    let token = format!("/api/v1/api_tokens/{spare}");
    let table = [
        ("POST", "/api/v1/api_tokens", "/api/v1/api_tokens", json!({ "name": "late", "scopes": ["api"] })),
        ("PATCH", "/api/v1/api_tokens/{uid}", &*token, json!({ "description": "late" })),
        ("POST", "/api/v1/api_tokens/{uid}/rotate", &*format!("{token}/rotate"), json!({})),
        ("POST", "/api/v1/users", "/api/v1/users", json!({ "email": "late@example.com", "name": "Late" })),
        ("PATCH", "/api/v1/users/{user}", "/api/v1/users/there@example.com", json!({ "name": "Late" })),
        (
            "POST",
            "/api/v2/deployments",
            "/api/v2/deployments",
            json!({ "name": "late", "upstreams": ["http://127.0.0.1:1"] }),
        ),
        ("PATCH", "/api/v2/deployments/{name}", "/api/v2/deployments/there", json!({ "hosts": ["late.test"] })),
        ("PUT", "/api/v2/deployments/{name}", "/api/v2/deployments/there", json!({})),
        ("POST", "/api/v1/explanations", "/api/v1/explanations", json!({ "url": "http://there.test/" })),
    ];
    let described = api::get(gateway, "", "/openapi.json").1;
    let mut with_body = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation.get("requestBody").is_some() && operation["security"] != json!([]) {
                with_body.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let known = table.iter().map(|(method, template, ..)| ((*method).to_owned(), (*template).to_owned())).collect();
    assert_eq!(with_body, known, "the table is to have every operation with a body");
    table.into_iter().map(|(method, _, path, body)| (method.to_owned(), path.to_owned(), body)).collect()
}

#[test]
fn no_operation_goes_on_with_a_right_that_was_lost() {
    on_each_store(|gateway| {
        let admin = gateway.token(&["api"]).text;
        api::post(gateway, &admin, "/api/v1/users", json!({ "email": "there@example.com", "name": "There" }));
        let upstreams = json!({ "name": "there", "upstreams": ["http://127.0.0.1:1"] });
        assert_eq!(api::post(gateway, &admin, "/api/v2/deployments", upstreams).0, 200);
        let spare = gateway.token(&["deployment:*"]).uid;
        let before = everything(gateway, &admin);
        for (number, loss) in LOSSES.into_iter().enumerate() {
            for (at, (method, path, body)) in operations(gateway, &spare).into_iter().enumerate() {
                let owner = format!("owner-{number}-{at}@example.com");
                let person = json!({ "email": owner, "name": "Owner", "role": "admin" });
                assert_eq!(api::post(gateway, &admin, "/api/v1/users", person).0, 200);
                let stolen = gateway.new_token(&["api"], &["--owner", &owner]);
                gateway.await_token(&stolen);
                let held = api::hold(gateway, &stolen.text, &method, &path, &body);
                loss.happen(gateway, &admin, &stolen.uid, &owner);
                let answer = held.finish();
                assert_eq!((answer.status, &*answer.code()), loss.answer(), "{loss:?}: {method} {path}");
            }
        }
        assert_eq!(everything(gateway, &admin), before);
    });
}

/// What the operations above would have changed.
fn everything(gateway: &Gateway, admin: &str) -> Vec<Value> {
    let late = api::get(gateway, admin, "/api/v1/api_tokens?search=late").1["total"].clone();
    let (_, mut users) = api::get(gateway, admin, "/api/v1/users");
    let users = users["items"].as_array_mut().unwrap();
    users.retain(|user| !user["email"].as_str().unwrap().starts_with("owner-"));
    let deployment = api::get(gateway, admin, "/api/v2/deployments/there").1["hosts"].clone();
    vec![late, json!(users), deployment, json!(api::get(gateway, admin, "/api/v2/deployments/late").0)]
}

#[test]
fn no_form_goes_on_with_a_session_that_has_ended() {
    on_each_store(|gateway| {
        let admin = gateway.token(&["api"]).text;
        api::post(gateway, &admin, "/api/v1/users", json!({ "email": "there@example.com", "name": "There" }));
        let (_, there) = api::get(gateway, &admin, "/api/v1/users/there@example.com");
        let of_there = |verb: &str| format!("/users/{}/{verb}", there["uid"].as_str().unwrap());
        let spare = gateway.token(&["deployment:*"]).uid;
        let token = [("name", "late"), ("developer", "1"), ("endpoint", "1"), ("reach", "all"), ("expires", "30")];
        let deployment = [("name", "late"), ("upstreams", "http://127.0.0.1:1"), ("access", "protected")];
        let password =
            [("current", PASSWORD), ("password", "another long password"), ("password_again", "another long password")];
        let forms: &[(&str, &[(&str, &str)])] = &[
            ("/api_tokens", &token),
            (&format!("/api_tokens/{spare}"), &token),
            (&format!("/api_tokens/{spare}/rotate"), &[("overlap", "0s")]),
            (&format!("/api_tokens/{spare}/delete"), &[]),
            ("/deployments", &deployment),
            ("/users", &[("email", "late@example.com"), ("role", "admin")]),
            (&of_there("role"), &[("role", "admin")]),
            (&of_there("link"), &[]),
            (&of_there("disable"), &[]),
            ("/account/password", &password),
            ("/account/sign-out-everywhere", &[]),
        ];
        for (at, (path, fields)) in forms.iter().enumerate() {
            for (email, loss) in [("left", "sign-out-everywhere"), ("disabled", "disable"), ("demoted", "demote")] {
                let email = format!("{email}-{at}@example.com");
                create_user(gateway, &email, true);
                let signed_in = || {
                    let mut browser = Browser::new(gateway.management);
                    browser.client = format!("192.0.2.{at}");
                    assert_eq!(browser.sign_in(&email, PASSWORD).status, 303);
                    browser
                };
                let (mut mine, mut stolen) = (signed_in(), signed_in());
                let form = csrf(&stolen.get("/account"));
                let fields: Vec<_> = [("csrf", &*form)].into_iter().chain(fields.iter().copied()).collect();
                let held = stolen.hold(path, &fields);
                let user = format!("/api/v1/users/{email}");
                match loss {
                    "sign-out-everywhere" => {
                        let page = mine.get("/account");
                        assert_eq!(mine.submit(&page, "/account/sign-out-everywhere", &[]).status, 303);
                    }
                    "disable" => assert_eq!(api::post(gateway, &admin, &format!("{user}/disable"), json!({})).0, 200),
                    _ => {
                        let member = json!({ "role": "member" });
                        assert_eq!(api::ask(gateway, &admin, "PATCH", &user, Some(&member)).0, 200);
                    }
                }
                let answer = held.finish();
                let text = answer.text();
                if loss == "demote" {
                    // What members may do, they still may.
                    let for_admins = ["/deployments", "/users"].iter().any(|start| path.starts_with(start));
                    assert!(!for_admins || answer.status == 403, "{loss}: {path}: {} {text}", answer.status);
                } else {
                    assert_eq!(answer.status, 401, "{loss}: {path}: {text}");
                    assert!(text.contains("Your session has ended") && !text.contains("there@example.com"), "{text}");
                }
            }
        }
        assert_eq!(api::get(gateway, &admin, "/api/v1/users/late@example.com").0, 404);
        assert_eq!(api::get(gateway, &admin, "/api/v2/deployments/late").0, 404);
        assert_eq!(api::get(gateway, &admin, "/api/v1/users/there@example.com").1["role"], there["role"]);
    });
}
