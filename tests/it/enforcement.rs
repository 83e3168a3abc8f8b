//! Until `enforce_from` those pass who would be refused, and nothing is said of who they are; from then on they do not.

use std::time::Duration;

use bento_gateway::system;
use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    console::Browser,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, get},
    metrics::{scrape, scrape_until},
    token_text::{unknown_token, with_wrong_secret},
    upstream::{CHUNKED, Upstream, response},
    wait_until,
};

const FAR: &str = "enforce_from = \"2099-01-01\"";
const PATH: &str = "/api/v2/deployments/stored";

fn ask(gateway: &Gateway, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{fields}connection: close\r\n\r\n");
    let answer = gateway.ask(&request);
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Of `/stream…` the response does not end.
fn streaming() -> Upstream {
    Upstream::start(|peer| {
        while let Some(request) = peer.head() {
            if request.target.starts_with("/stream") {
                peer.note(&request);
                peer.send(CHUNKED);
                peer.send_chunk("first");
                peer.await_close();
                return;
            }
            peer.send(response(200, &[], b""));
        }
    })
}

/// A Deployment of the store, and a token that may change it.
fn stored(gateway: &Gateway, upstream: &Upstream) -> String {
    let full = gateway.token(&["api"]).text;
    let spec = json!({ "name": "stored", "upstreams": [format!("http://{}", upstream.address)], "hosts": ["a.test"] });
    assert_eq!(api::post(gateway, &full, "/api/v2/deployments", spec).0, 200);
    full
}

#[test]
fn who_would_be_refused_passes_as_nobody_and_is_counted() {
    let upstream = Upstream::named("a");
    let forward_auth = free_address();
    let setup = Setup::new(&deployment("a", upstream.address, FAR)).env("TOKENS__USAGE_INTERVAL", "100ms");
    let gateway = setup.arguments(&["--forward-auth-listen", &forward_auth.to_string()]).start();
    gateway.cli(&["user", "create", "--email", "leaver@kitchen.test", "--name", "Leaver"]);
    let admin = gateway.token(&["api"]).text;
    let good = gateway.token(&["deployment:a"]);
    let outside = gateway.new_token(&["deployment:b*"], &["--expires", "never"]);
    gateway.await_token(&outside);
    let expired = gateway.new_token(&["deployment:a"], &["--expires", "1s"]);
    let [revoked, rotated] = [(); 2].map(|()| gateway.token(&["deployment:a"]));
    let leavers = gateway.new_token(&["deployment:a"], &["--owner", "leaver@kitchen.test"]);
    gateway.await_token(&leavers);
    gateway.revoke(&revoked);
    gateway.cli(&["token", "rotate", &rotated.uid, "--overlap", "0s"]);
    gateway.cli(&["user", "disable", "leaver@kitchen.test"]);
    wait_until("the owner is disabled", SOON, || gateway.code_of(&leavers.text) == "owner_disabled");
    wait_until("the token has expired", SOON, || gateway.code_of(&expired.text) == "token_expired");

    // What passes, by which code it will be refused, and which token is known.
    let passing: [(&str, String, Option<&Token>); 9] = [
        ("credential_missing", String::new(), None),
        ("credential_malformed", "authorization: Basic YTpi\r\n".to_owned(), None),
        ("credential_repeated", bearer(&good.text).repeat(2), None),
        ("credential_misplaced", format!("x-api-key: {}\r\n", good.text), None),
        ("token_malformed", bearer("sk-of-the-service"), None),
        ("token_invalid", bearer(&unknown_token()), None),
        ("token_invalid", bearer(&with_wrong_secret(&good.text)), None),
        ("token_expired", bearer(&expired.text), Some(&expired)),
        ("insufficient_scope", bearer(&outside.text), Some(&outside)),
    ];
    for (number, (code, fields, token)) in passing.iter().enumerate() {
        let path = format!("/{number}");
        let claimed = "x-bento-gateway-token-uid: mine\r\nx-user: root\r\n";
        assert_eq!(ask(&gateway, &path, &format!("{fields}{claimed}")), (200, String::new()), "{code}");
        let line = gateway.access_line(&path);
        assert_eq!((&line["let_through"], &line["reason"]), (&json!(code), &json!("")), "{line}");
        assert_eq!(line["token"], json!(token.map(|token| &token.uid)), "{line}");
    }
    assert_eq!(ask(&gateway, "/good", &bearer(&good.text)).0, 200);
    assert_eq!(gateway.access_line("/good")["let_through"], json!(null));
    // The service is told of no token, whatever callers claim; of the good one it is.
    let seen = upstream.requests();
    assert_eq!(seen.len(), passing.len() + 1);
    for request in &seen {
        let uid = if request.target == "/good" { Some(good.uid.as_str()) } else { None };
        assert_eq!(request.header("x-bento-gateway-token-uid"), uid, "{}", request.target);
        assert_eq!(request.header("x-user"), None);
    }
    // From whom somebody has taken the right away does not pass.
    for (token, code) in [(&revoked, "token_revoked"), (&rotated, "token_rotated"), (&leavers, "owner_disabled")] {
        assert_eq!(ask(&gateway, "/taken", &bearer(&token.text)), (401, code.to_owned()));
    }
    // Nor does it open anything else: another Deployment, or the gateway's own pages.
    let elsewhere = gateway.ask("GET / HTTP/1.1\r\nhost: b.test\r\nconnection: close\r\n\r\n");
    assert_eq!(elsewhere.code(), "credential_missing");
    let mut visitor = Browser::new(gateway.proxy);
    visitor.host = "a.test".to_owned();
    for text in [&outside.text, &unknown_token()] {
        assert_ne!(visitor.post("/-/sign-in", &[("token", text), ("to", "/")]).status, 303, "no session begins");
    }
    // Another proxy is told that it may pass, and of no token.
    let question = "GET /forward-auth/a HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: GET\r\nx-forwarded-host: \
                    a.test\r\nx-forwarded-uri: /\r\nconnection: close\r\n\r\n";
    let told = Client::connect(forward_auth).ask(question);
    assert_eq!((told.status, told.header("x-bento-gateway-token-uid")), (200, Some("")));

    // Counted by reason, and by caller.
    let of = |reason: &'static str| ["deployment=\"a\"".to_owned(), format!("reason=\"{reason}\"")];
    let count = |reason: &'static str| {
        let labels = of(reason);
        scrape(&gateway).sum("bento_gateway_let_through_total", &labels.each_ref().map(String::as_str))
    };
    assert_eq!([count("token_invalid"), count("insufficient_scope"), count("token_revoked")], [2.0, 1.0, 0.0]);
    let report = || api::get(&gateway, &admin, "/api/v2/deployments/a/let_through").1;
    let requests = |of: &dyn Fn(&Value) -> bool| {
        let report = report();
        report["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| of(row))
            .map(|row| row["requests"].as_u64().unwrap())
            .sum::<u64>()
    };
    wait_until("all is written", SOON, || requests(&|_| true) == 10);
    assert_eq!(requests(&|row| row["token"] == outside.uid.as_str() && row["reason"] == "insufficient_scope"), 1);
    assert_eq!(requests(&|row| row["token"].is_null() && row["network"] == "127.0.0.1"), 8);
    let listed = gateway.cli(&["deployment", "let-through", "a"]);
    assert_eq!(listed, report()["items"], "the command line says the same");
    // It is for admins.
    let owner = ["--owner", "bob@example.com"];
    let mut bob = Browser::signed_in(&gateway, "bob@example.com", false);
    let member = gateway.new_token(&["api"], &owner);
    gateway.await_token(&member);
    assert_eq!(api::get(&gateway, &member.text, "/api/v2/deployments/a/let_through").0, 403);
    assert!(!bob.get("/deployments/a").text().contains("Who would be refused"));
    let page = Browser::signed_in(&gateway, "ada@example.com", true).get("/deployments/a").text();
    assert!(page.contains("Not enforced before") && page.contains("insufficient_scope"), "{page}");
    assert!(page.contains(&format!("/api_tokens/{}", outside.uid)), "{page}");
    // What will be, is explained.
    let explained = |at: Value| {
        let question = json!({ "url": "http://a.test/", "token": outside.uid, "at": at });
        api::post(&gateway, &admin, "/api/v1/explanations", question).1
    };
    let now = explained(json!(null));
    assert_eq!(
        (&now["allowed"], &now["code"], &now["status"]),
        (&json!(true), &json!("insufficient_scope"), &json!(null))
    );
    assert_eq!(explained(json!("2099-01-01"))["status"], 403);
}

#[test]
fn it_is_enforced_at_that_moment_without_a_restart() {
    let upstream = streaming();
    let gateway = Gateway::start("");
    let full = stored(&gateway, &upstream);
    assert_eq!(ask(&gateway, "/", ""), (401, "credential_missing".to_owned()));
    let soon = system::now().saturating_add(Duration::from_secs(3)).to_string();
    let change = json!({ "settings": { "enforce_from": soon } });
    let (status, answer) = api::ask(&gateway, &full, "PATCH", PATH, Some(&change));
    assert_eq!((status, &answer["settings"]["enforce_from"]), (200, &json!(soon)), "{answer}");
    let mut caller = gateway.connect();
    caller.send("GET /stream HTTP/1.1\r\nhost: a.test\r\n\r\n");
    caller.head();
    wait_until("it is enforced", SOON, || ask(&gateway, "/later", "") == (401, "credential_missing".to_owned()));
    // What runs ends with it.
    assert_eq!(gateway.access_line("/stream")["end"], "token_ended");
    scrape_until(&gateway, "it is counted", |scrape| {
        scrape.sum("bento_gateway_let_through_total", &["reason=\"credential_missing\""]) >= 1.0
    });
    // A date that is over changes nothing.
    let past = json!({ "settings": { "enforce_from": "2020-01-01" } });
    assert_eq!(api::ask(&gateway, &full, "PATCH", PATH, Some(&past)).0, 200);
    assert_eq!(ask(&gateway, "/past", "").0, 401);
}

/// Whatever it was that let it through, and whatever the Deployment was like then.
#[test]
fn what_runs_ends_with_the_right_to_it() {
    let upstream = streaming();
    let gateway = Gateway::start("");
    let full = stored(&gateway, &upstream);
    let change = |change: Value| assert_eq!(api::ask(&gateway, &full, "PATCH", PATH, Some(&change)).0, 200, "{change}");
    let enforced_from = |at: Value| change(json!({ "settings": { "enforce_from": at } }));
    let stream = |path: &str, fields: &str| {
        let mut caller = gateway.connect();
        caller.send(format!("GET /stream{path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n"));
        assert_eq!(caller.head().status, 200, "{path}");
        caller
    };
    let ends = |path: &str| assert_eq!(gateway.access_line(&format!("/stream{path}"))["end"], "token_ended", "{path}");
    let runs = |path: &str| {
        assert!(gateway.access_lines().iter().all(|line| line["path"] != format!("/stream{path}")), "{path}")
    };

    enforced_from(json!("2099-01-01"));
    let [outside, leaver] = [(); 2].map(|()| gateway.token(&["deployment:b*"]));
    let expiring = gateway.new_token(&["deployment:stored"], &["--expires", "1s"]);
    let _all = [
        stream("/stranger", ""),
        stream("/outside", &bearer(&outside.text)),
        stream("/leaver", &bearer(&leaver.text)),
        stream("/expiring", &bearer(&expiring.text)),
    ];
    gateway.revoke(&leaver);
    ends("/leaver");
    enforced_from(json!("2098-01-01"));
    wait_until("it has expired", SOON, || gateway.code_of(&expiring.text) == "token_expired");
    ["/stranger", "/outside", "/expiring"].into_iter().for_each(runs);
    enforced_from(json!(null));
    ["/stranger", "/outside", "/expiring"].into_iter().for_each(ends);

    change(json!({ "protected": false }));
    let _public = stream("/public", "");
    change(json!({ "protected": true }));
    ends("/public");
}

/// How was not looked at any more, and it passes no more than it did before.
#[test]
fn a_token_that_was_revoked_does_not_pass_when_too_many_are_asked_about() {
    let upstream = Upstream::named("a");
    let mut gateway = Gateway::start(&deployment("a", upstream.address, FAR));
    let token = gateway.token(&["deployment:a"]);
    gateway.revoke(&token);
    assert!(gateway.terminate().success());
    gateway.start_again();
    for _ in 0..40 {
        ask(&gateway, "/", &bearer(&with_wrong_secret(&token.text)));
    }
    assert_eq!(ask(&gateway, "/", &bearer(&token.text)).0, 401);
}

#[test]
fn putting_it_off_takes_the_right_to_weaken_and_the_file_has_it_too() {
    let upstream = Upstream::named("a");
    let mut gateway = Gateway::start(&deployment("a", upstream.address, FAR));
    let (narrow, full) = (gateway.token(&["write_cluster"]).text, gateway.token(&["api"]).text);
    let spec = |settings: Value| json!({ "name": "stored", "upstreams": ["http://127.0.0.1:1"], "settings": settings });
    let set = |token: &str, at: Value| {
        let change = json!({ "settings": { "enforce_from": at } });
        let (status, answer) = api::ask(&gateway, token, "PATCH", PATH, Some(&change));
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    let (status, answer) =
        api::post(&gateway, &narrow, "/api/v2/deployments", spec(json!({ "enforce_from": "2099-01-01" })));
    assert!(
        status == 403 && answer["error"].as_str().unwrap().contains("enforce_from off needs the scope api"),
        "{answer}"
    );
    assert_eq!(api::post(&gateway, &narrow, "/api/v2/deployments", spec(json!({}))).0, 200);
    assert_eq!(set(&narrow, json!("2020-01-01")).0, 403);
    assert_eq!(set(&full, json!("2099-01-01")).0, 200);
    // Sooner, and at once, is no weakening.
    assert_eq!(set(&narrow, json!("2098-01-01")).0, 200);
    assert_eq!(set(&narrow, json!("2098-01-02")).0, 403);
    assert_eq!(set(&narrow, json!(null)).0, 200);
    let (status, text) = set(&full, json!("soon"));
    assert!(status == 400 && text.contains("enforce_from: is not a time"), "{text}");
    let updated = gateway.cli(&["deployment", "update", "stored", "--enforce-from", "2099-06-01"]);
    assert_eq!(updated["settings"]["enforce_from"], "2099-06-01T00:00:00.000Z");
    assert_eq!(
        gateway.cli(&["deployment", "update", "stored", "--enforce-from", ""])["settings"]["enforce_from"],
        json!(null)
    );

    // The trail says when it was opened, and until when.
    let trail = gateway.cli(&["audit", "list", "--target", "stored"]);
    let dates = trail.as_array().unwrap().iter().map(|event| event["detail"]["settings"]["enforce_from"].clone());
    let dates: Vec<Value> = dates.filter(|date| !date.is_null()).collect();
    assert_eq!(dates.len(), 3, "{trail}");

    // A reload of the file begins it, too, and a restart finds it as it is written there.
    assert_eq!(ask(&gateway, "/", "").0, 200);
    gateway.write_config(&deployment("a", upstream.address, ""));
    wait_until("it is enforced", SOON, || ask(&gateway, "/", "").0 == 401);
    gateway.write_config(&deployment("a", upstream.address, FAR));
    assert!(gateway.terminate().success());
    gateway.start_again();
    assert_eq!(ask(&gateway, "/", "").0, 200);
    let token = gateway.token(&["deployment:a"]);
    assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
}
