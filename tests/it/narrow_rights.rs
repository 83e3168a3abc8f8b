//! A narrow right stays narrow: what a token may do to Deployments and tokens never grows by itself.

use serde_json::{Value, json};

use crate::harness::{
    api::{ask, get, post},
    gateway::{Gateway, free_address},
};

#[test]
fn managing_deployments_does_not_imply_the_boundary_around_them() {
    let gateway = Gateway::start("");
    let (narrow, full) = (gateway.token(&["write_cluster"]).text, gateway.token(&["api"]).text);
    let path = "/api/v2/deployments/a";
    let add = |token: &str, spec: Value| post(&gateway, token, "/api/v2/deployments", spec);
    let upstreams = json!(["http://127.0.0.1:1"]);
    let weakened = [
        json!({ "settings": { "forward_authorization": true } }),
        json!({ "settings": { "allow_pickle": true } }),
        json!({ "settings": { "public_probes": true } }),
        json!({ "settings": { "wake_url": "http://127.0.0.1:1/wake" } }),
        json!({ "protected": false }),
        json!({ "hosts": ["a.test"] }),
    ];
    for (number, extra) in weakened.iter().enumerate() {
        let mut spec = json!({ "name": format!("new-{number}"), "upstreams": upstreams });
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let (status, body) = add(&narrow, spec);
        assert_eq!(status, 403, "{extra}: {body}");
        assert!(body["error"].as_str().unwrap().contains("scope api"), "{body}");
    }
    // The only Deployment gets what is sent to any host, so that adding it takes as much as giving it one.
    let (status, body) = add(&narrow, json!({ "name": "a", "upstreams": upstreams }));
    assert!(status == 403 && body["error"].as_str().unwrap().contains("scope api"), "{body}");
    assert_eq!(add(&full, json!({ "name": "first", "upstreams": upstreams })).0, 200);
    assert_eq!(add(&narrow, json!({ "name": "a", "upstreams": upstreams })).0, 200);
    let moved = json!({ "upstreams": ["http://203.0.113.9:80"] });
    for change in weakened.iter().chain([&moved]) {
        let before = get(&gateway, &full, path).1;
        let (status, body) = ask(&gateway, &narrow, "PATCH", path, Some(change));
        assert_eq!(status, 403, "{change}: {body}");
        assert_eq!(get(&gateway, &full, path).1["settings"], before["settings"]);
        assert_eq!(ask(&gateway, &full, "PATCH", path, Some(change)).0, 200, "{change}");
    }
    // What weakens nothing, and taking back, is managing.
    for change in [
        json!({ "settings": { "idle_timeout_ms": 1000, "hold": 5, "wake_url": "http://127.0.0.1:1/wake" } }),
        json!({ "settings": { "wake_url": null } }),
        json!({ "settings": { "forward_authorization": false, "allow_pickle": false }, "protected": true, "hosts": [] }),
    ] {
        let (status, body) = ask(&gateway, &narrow, "PATCH", path, Some(&change));
        assert_eq!(status, 200, "{change}: {body}");
    }
}

#[test]
fn no_change_makes_another_deployment_the_default_one() {
    let gateway = Gateway::start("");
    let (narrow, full) = (gateway.token(&["write_cluster"]).text, gateway.token(&["api"]).text);
    let path = |name: &str| format!("/api/v2/deployments/{name}");
    let add = |token: &str, name: &str, ways: Value| {
        let mut spec = json!({ "name": name, "upstreams": ["http://127.0.0.1:1"] });
        spec.as_object_mut().unwrap().extend(ways.as_object().unwrap().clone());
        post(&gateway, token, "/api/v2/deployments", spec).0
    };
    let refused = |method: &str, name: &str, body: Option<&Value>| {
        let (status, answer) = ask(&gateway, &narrow, method, &path(name), body);
        assert_eq!(status, 403, "{method} {name} {body:?}: {answer}");
        let sentence = answer["error"].as_str().unwrap();
        assert!(sentence.contains("the default one needs the scope api"), "{sentence}");
        assert_eq!(get(&gateway, &full, &path(name)).0, 200, "nothing was changed");
        assert_eq!(ask(&gateway, &full, method, &path(name), body).0, 200, "with the scope api: {method} {name}");
    };

    // By removing one of two.
    assert_eq!((add(&full, "good", json!({})), add(&narrow, "evil", json!({}))), (200, 200));
    refused("DELETE", "good", None);
    // By taking its addresses from the only one.
    let listen = json!({ "listen": free_address() });
    for (ways, none) in
        [(json!({ "hosts": ["evil.test"] }), json!({ "hosts": [] })), (listen, json!({ "listen": null }))]
    {
        assert_eq!(ask(&gateway, &full, "PATCH", &path("evil"), Some(&ways)).0, 200);
        refused("PATCH", "evil", Some(&none));
    }
    // What leaves the default one as it is, or leaves none, is managing.
    assert_eq!(add(&narrow, "other", json!({})), 200);
    assert_eq!(add(&narrow, "third", json!({})), 200);
    assert_eq!(ask(&gateway, &narrow, "DELETE", &path("third"), None).0, 200);
    assert_eq!(ask(&gateway, &full, "DELETE", &path("other"), None).0, 200);
    assert_eq!(ask(&gateway, &narrow, "DELETE", &path("evil"), None).0, 200);
}

#[test]
fn a_deployment_that_the_configuration_calls_the_default_one_is_added_as_such() {
    let gateway = Gateway::start("[proxy]\ndefault_deployment = \"main\"\n");
    let spec = |name: &str| json!({ "name": name, "upstreams": ["http://127.0.0.1:1"] });
    let narrow = gateway.token(&["write_cluster"]).text;
    assert_eq!(post(&gateway, &narrow, "/api/v2/deployments", spec("other")).0, 200);
    let (status, answer) = post(&gateway, &narrow, "/api/v2/deployments", spec("main"));
    assert_eq!(status, 403, "{answer}");
    let full = gateway.token(&["api"]).text;
    assert_eq!(post(&gateway, &full, "/api/v2/deployments", spec("main")).0, 200);
    let path = "/api/v2/deployments/other";
    assert_eq!(ask(&gateway, &narrow, "DELETE", path, None).0, 200, "the default one stays");
}

#[test]
fn no_token_outlives_the_one_that_made_changed_or_rotated_it() {
    let gateway = Gateway::start("");
    let caller = gateway.new_token(&["api"], &["--expires", "1h"]);
    gateway.await_token(&caller);
    let long = gateway.new_token(&["deployment:*"], &["--expires", "never"]);
    let create = |body: Value| post(&gateway, &caller.text, "/api/v1/api_tokens", body);
    let scopes = json!(["deployment:*"]);

    for (number, end) in [json!(null), json!("2099-01-01T00:00:00Z")].into_iter().enumerate() {
        let own = format!("/api/v1/api_tokens/{}", caller.uid);
        let (status, body) = ask(&gateway, &caller.text, "PATCH", &own, Some(&json!({ "expired_at": end })));
        assert_eq!(status, 403, "{end}: {body}");
        assert!(body["error"].as_str().unwrap().contains("may not live longer"), "{body}");
        if !end.is_null() {
            let name = format!("late-{number}");
            let (status, made) = create(json!({ "name": name, "scopes": scopes, "expired_at": end }));
            assert_eq!(status, 200, "{made}");
            assert!(made["expired_at"].as_str().unwrap() < "2099", "it ends with its maker: {made}");
        }
    }
    // Or nothing is said about its end.
    let (status, made) = create(json!({ "name": "default", "scopes": scopes }));
    assert_eq!(status, 200, "{made}");
    let (_, own) = get(&gateway, &caller.text, &format!("/api/v1/api_tokens/{}", caller.uid));
    assert_eq!(made["expired_at"], own["expired_at"]);

    // Nor does it get at one that lives longer, by a new secret or by widening it.
    let path = format!("/api/v1/api_tokens/{}", long.uid);
    assert_eq!(post(&gateway, &caller.text, &format!("{path}/rotate"), json!({})).0, 403);
    let wider = json!({ "scopes": ["api"] });
    assert_eq!(ask(&gateway, &caller.text, "PATCH", &path, Some(&wider)).0, 403);
    assert_eq!(ask(&gateway, &caller.text, "PATCH", &path, Some(&json!({ "description": "x" }))).0, 200);
    // Its own secret it may renew.
    let own = format!("/api/v1/api_tokens/{}/rotate", caller.uid);
    assert_eq!(post(&gateway, &caller.text, &own, json!({})).0, 200);
}

/// Tokens of one lifetime that were made one after the other can renew each other, but not climb from one to the next.
#[test]
fn what_is_renewed_or_widened_ends_with_the_grantor() {
    let gateway = Gateway::start("");
    let chain = ["1h", "24h", "47h", "70h"].map(|end| gateway.new_token(&["write_organization"], &["--expires", end]));
    let [first, second, third, _] = &chain;
    gateway.await_token(&chain[3]);
    let admin = gateway.token(&["api"]).text;
    let end = |uid: &str| get(&gateway, &admin, &format!("/api/v1/api_tokens/{uid}")).1["expired_at"].clone();
    let rotate = |by: &str, uid: &str| post(&gateway, by, &format!("/api/v1/api_tokens/{uid}/rotate"), json!({}));
    let hour = end(&first.uid);

    let (status, rotated) = rotate(&first.text, &second.uid);
    assert_eq!((status, &rotated["expired_at"]), (200, &hour), "{rotated}");
    let new_secret = rotated["token"].as_str().unwrap();
    assert_eq!(end(&second.uid), hour);
    let (status, body) = rotate(new_secret, &third.uid);
    assert_eq!(status, 403, "{body}");
    assert!(body["error"].as_str().unwrap().contains("may not live longer"), "{body}");
    // The other way round nothing changes.
    let before = end(&first.uid);
    assert_eq!(rotate(&third.text, &first.uid).0, 200);
    assert_eq!(end(&first.uid), before);

    // Further scopes are lent for as long, too.
    let narrow = gateway.new_token(&["deployment:*"], &["--expires", "20h"]);
    let path = format!("/api/v1/api_tokens/{}", narrow.uid);
    let wider = json!({ "scopes": ["deployment:*", "read_organization"] });
    let (status, widened) = ask(&gateway, &first.text, "PATCH", &path, Some(&wider));
    assert_eq!(status, 200, "{widened}");
    assert_eq!(widened["expired_at"], hour);
}
