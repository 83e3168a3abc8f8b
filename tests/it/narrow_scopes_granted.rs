//! Scopes that open methods and paths: how they are written, who grants them, and where they are shown.

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    api::{ask, get, post},
    console::Browser,
    gateway::{Gateway, deployment, free_address},
    wait_until,
};

const TOKENS: &str = "/api/v1/api_tokens";

#[test]
fn one_text_for_each_scope_and_words_for_every_other() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let admin = gateway.token(&["api"]).text;
    let create = |scope: &str| post(&gateway, &admin, TOKENS, json!({ "name": scope, "scopes": [scope] }));
    for scope in [
        "deployment:a:GET",
        "deployment:a:GET,POST:/v1",
        "deployment:a*:/v1/models",
        "deployment:*:operations:GET:/metrics",
    ] {
        let (status, made) = create(scope);
        assert_eq!((status, &made["scopes"]), (200, &json!([scope])), "{made}");
        assert_eq!(made["is_global_access"], false, "{made}");
    }
    for (scope, expected) in [
        ("deployment:a:POST,GET", "in this order"),
        ("deployment:a:GET,HEAD", "without HEAD beside GET"),
        ("deployment:a:get", "some of DELETE, GET"),
        ("deployment:a:GET:operations", "in this order"),
        ("deployment:a:/", "to open every path, leave it out"),
        ("deployment:a:/v1/", "ends with none"),
        ("deployment:a:/v1/%6dodels", "nothing encoded"),
        ("deployment:a:/v1/*", "none of ; and *"),
        ("deployment:A:GET", "expected api"),
    ] {
        let (status, answer) = create(scope);
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 400 && said.contains("is not a scope") && said.contains(expected),
            "{scope}: {status} {answer}"
        );
    }
    // It names a Deployment that there is.
    let (status, answer) = create("deployment:nowhere:GET");
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("nowhere"), "{status} {answer}");
}

#[test]
fn nobody_grants_more_routes_than_they_have() {
    let gateway = Gateway::start(&deployment("a", free_address(), "preset = \"vllm\""));
    let monitors = gateway.token(&["write_organization", "deployment:a:operations:GET:/metrics"]);
    let made = |scopes: &[&str]| {
        let name = scopes.join(" ");
        post(&gateway, &monitors.text, TOKENS, json!({ "name": name, "scopes": scopes }))
    };
    for scopes in
        [["deployment:a:operations:GET:/metrics"], ["deployment:a:operations:HEAD:/metrics/x"], ["deployment:a:POST"]]
    {
        assert_eq!(made(&scopes).0, 200, "{scopes:?}");
    }
    for scopes in [
        ["deployment:a:operations:GET"],
        ["deployment:a:operations"],
        ["deployment:a*:operations:GET:/metrics"],
        ["deployment:a:operations:POST:/metrics"],
    ] {
        let (status, answer) = made(&scopes);
        assert!(
            status == 403 && answer["error"].as_str().unwrap().contains("may not grant the scope"),
            "{scopes:?} {answer}"
        );
    }
    // Nor by way of a token that has more.
    let operator = gateway.token(&["deployment:a:operations"]);
    let path = format!("{TOKENS}/{}", operator.uid);
    assert_eq!(post(&gateway, &monitors.text, &format!("{path}/rotate"), json!({})).0, 403);
    assert_eq!(ask(&gateway, &monitors.text, "PATCH", &path, Some(&json!({ "scopes": ["deployment:a"] }))).0, 403);
}

#[test]
fn narrowing_is_not_widening() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let grantor = gateway.new_token(&["write_organization"], &["--expires", "1h"]);
    gateway.await_token(&grantor);
    let long = gateway.new_token(&["deployment:*"], &["--expires", "never"]);
    let path = format!("{TOKENS}/{}", long.uid);
    let set = |scopes: &[&str]| ask(&gateway, &grantor.text, "PATCH", &path, Some(&json!({ "scopes": scopes })));
    for scopes in [
        &["deployment:a*:/v1", "deployment:a:GET"][..],
        &["deployment:a:/v1"],
        &["deployment:a:GET,POST:/v1/models"],
        &["deployment:a:HEAD:/v1/models/x"],
    ] {
        let (status, after) = set(scopes);
        assert_eq!((status, &after["expired_at"]), (200, &Value::Null), "{scopes:?} {after}");
    }
    // Whoever could give it more could do so for ever.
    for scopes in [["deployment:a:HEAD:/v1/models"], ["deployment:a:GET:/v1/models/x"], ["deployment:a"]] {
        let (status, answer) = set(&scopes);
        assert!(
            status == 403 && answer["error"].as_str().unwrap().contains("may not live longer"),
            "{scopes:?} {answer}"
        );
    }
    let scopes = get(&gateway, &gateway.token(&["api"]).text, &path).1["scopes"].clone();
    assert_eq!(scopes, json!(["deployment:a:HEAD:/v1/models/x"]));
}

#[test]
fn why_a_route_is_refused_is_explained() {
    let gateway = Gateway::start(&deployment("a", free_address(), "preset = \"vllm\""));
    let admin = gateway.token(&["api"]).text;
    let token = gateway.token(&["deployment:a:GET:/v1", "deployment:a:operations:GET:/metrics"]);
    for shown in ["token", "token_text"] {
        let explained = |method: &str, path: &str| {
            let mut question = json!({ "url": format!("http://a.test{path}"), "method": method });
            question[shown] = json!(if shown == "token" { &token.uid } else { &token.text });
            post(&gateway, &admin, "/api/v1/explanations", question).1
        };
        assert_eq!(explained("GET", "/v1/models")["scope"], "deployment:a:GET:/v1");
        let metrics = explained("GET", "/metrics");
        assert_eq!(metrics["reason"], "the token's scope deployment:a:operations:GET:/metrics opens a", "{metrics}");
        let no = explained("POST", "/v1/models");
        assert_eq!(
            (&no["allowed"], &no["status"], &no["code"]),
            (&json!(false), &json!(403), &json!("route_out_of_scope"))
        );
        let reason = "the token does not open POST /v1/models; of this Deployment it opens GET below /v1 and GET below /metrics only";
        assert_eq!(no["reason"], reason);
        assert_eq!(explained("GET", "/v1/load")["code"], "route_closed");
    }
}

#[test]
fn the_console_shows_them_and_loses_none() {
    let gateway = Gateway::start("");
    let url = format!("http://{}", free_address());
    gateway.cli(&["deployment", "add", "stored", "--upstream", &url, "--host", "a.test"]);
    let mut admin = Browser::signed_in(&gateway, "ada@example.com", true);
    let form = admin.get("/api_tokens/new");
    let fields =
        |name, routes| [("name", name), ("endpoint", "1"), ("reach", "some"), ("routes", routes), ("expires", "7")];
    let wrong = admin.submit(&form, "/api_tokens", &fields("reads", "stored:GET,HEAD"));
    assert!(wrong.status == 400 && wrong.text().contains("value=\"stored:GET,HEAD\""), "{}", wrong.text());
    let made = admin.submit(&form, "/api_tokens", &fields("reads", "stored:GET:/v1  stored:POST"));
    assert_eq!(made.status, 200, "{}", made.text());
    let token = gateway.cli(&["token", "get", "reads"]);
    assert_eq!(token["scopes"], json!(["deployment:stored:GET:/v1", "deployment:stored:POST"]));
    let page = admin.get(&format!("/api_tokens/{}", token["uid"].as_str().unwrap())).text();
    assert!(page.contains("stored:GET:/v1") && page.contains("stored:POST"), "{page}");
    let edit = format!("/api_tokens/{}/edit", token["uid"].as_str().unwrap());
    let form = admin.get(&edit);
    for scope in ["stored:GET:/v1", "stored:POST"] {
        assert!(form.text().contains(&format!("value=\"{scope}\" checked")), "{}", form.text());
    }
    assert!(!form.text().contains("value=\"all\" checked"), "{}", form.text());
    assert!(admin.get("/deployments/stored").text().contains("stored:GET:/v1"), "it is among the tokens that open it");
    // Removing the Deployment ends them, too.
    let removed = gateway.cli(&["deployment", "remove", "stored"]);
    assert!(removed.to_string().contains("reads"), "{removed}");
    let revoked = || gateway.cli(&["token", "get", token["uid"].as_str().unwrap()])["status"] == "revoked";
    wait_until("it is revoked", SOON, revoked);
}
