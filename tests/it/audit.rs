//! The audit trail at the command line: who did what is listed, exported and proven.

use std::process::Output;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{SOON, api, console::Browser, gateway::Gateway, wait_until};

fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    gateway.cli_command(arguments).output().unwrap()
}

/// As somebody with access to the database does it.
fn tamper(gateway: &Gateway, sql: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(gateway.path("gateway.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        assert_eq!(connection.execute(sql).await.unwrap().rows_affected(), 1);
    });
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_trail_is_listed_exported_and_proven() {
    let gateway = Gateway::start("");
    gateway.cli(&["user", "create", "--email", "bob@example.com", "--name", "=Bob"]);
    let token = gateway.token(&["deployment:*"]);
    gateway.revoke(&token);
    let list = |arguments: &[&str]| {
        let all: Vec<&str> = ["audit", "list"].into_iter().chain(arguments.iter().copied()).collect();
        gateway.cli(&all).as_array().unwrap().clone()
    };
    let actions = |events: &[Value]| events.iter().map(|event| event["action"].clone()).collect::<Vec<_>>();
    assert_eq!(actions(&list(&["--target", &token.uid])), [json!("token.revoked"), json!("token.created")]);
    assert_eq!(actions(&list(&["--action", "user.created"])), [json!("user.created")]);
    assert_eq!(list(&["--limit", "1"])[0]["actor_kind"], "cli");
    assert_eq!(list(&["--until", "1d"]), [json!(null); 0]);
    assert_eq!(run(&gateway, &["audit", "list", "--actor", "nobody@example.com"]).status.code(), Some(3));

    let all = list(&[]);
    let lines = text(&run(&gateway, &["audit", "export"]).stdout);
    let exported: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported, all);
    let csv = text(&run(&gateway, &["audit", "export", "--csv"]).stdout);
    assert_eq!(csv.split("\r\n").count(), all.len() + 2);
    assert!(csv.starts_with("id,at,action,") && csv.contains(&all[0]["id"].as_str().unwrap().to_owned()));

    let kept = gateway.cli(&["audit", "checkpoint"]);
    let kept = kept[0].as_str().unwrap();
    assert_eq!(all[0]["checkpoint"], kept);
    // The log has it, too, for whoever keeps that elsewhere; from the gateway's start.
    gateway.await_said(&["the audit trail goes so far"]);
    assert_eq!(gateway.cli(&["audit", "verify", "--checkpoint", kept])["intact"], true);
    let other = kept.replace(|char: char| char.is_ascii_digit(), "0").replacen("changes:0", "changes:3", 1);
    let refused = run(&gateway, &["audit", "verify", "--checkpoint", &other]);
    assert_eq!(refused.status.code(), Some(8), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("found: the trail does not have the checkpoint changes:3:"));
    assert_eq!(run(&gateway, &["audit", "verify", "--checkpoint", "changes:x"]).status.code(), Some(2));
}

#[test]
fn failed_sign_ins_and_refused_changes_are_in_it_as_few_events() {
    let mut gateway = Gateway::start("");
    let mut admin = Browser::signed_in(&gateway, "ada@example.com", true);
    let mut member = Browser::signed_in(&gateway, "bob@example.com", false);
    let events = |action: &str| gateway.cli(&["audit", "list", "--action", action]).as_array().unwrap().clone();
    assert_eq!(events("session.refused"), [json!(null); 0]);

    // Somebody guesses, and somebody asks for an account that is not there.
    for (email, times) in [("ada@example.com", 3), ("nobody@example.com", 2)] {
        for _ in 0..times {
            assert_eq!(Browser::new(gateway.management).sign_in(email, "wrong horse battery staple").status, 401);
        }
    }
    // A member wants to do what only an admin may, by a form and by the API.
    let page = member.get("/deployments");
    assert_eq!(member.submit(&page, "/users", &[("email", "eve@example.com")]).status, 403);
    let token = gateway.new_token(&["api"], &["--owner", "bob@example.com"]);
    gateway.await_token(&token);
    let eve = json!({ "email": "eve@example.com", "name": "Eve" });
    assert_eq!(api::post(&gateway, &token.text, "/api/v1/users", eve).0, 403);
    // Looking at what is not theirs is no change.
    assert_eq!(member.get("/users").status, 403);

    wait_until("the first ones are written", SOON, || !events("session.refused").is_empty());
    let page = admin.get("/activity").text();
    assert!(page.contains("refused sign-ins to"), "{page}");
    // What comes soon after them waits; it is written at the end at the latest.
    assert!(gateway.terminate().success());
    let events = |action: &str| gateway.cli(&["audit", "list", "--action", action]).as_array().unwrap().clone();
    let users = gateway.cli(&["user", "list"]);
    let id = |email: &str| users.as_array().unwrap().iter().find(|user| user["email"] == email).unwrap()["id"].clone();
    let sum = |events: &[Value], of: &dyn Fn(&Value) -> bool| -> u64 {
        events.iter().filter(|event| of(event)).map(|event| event["detail"]["attempts"].as_u64().unwrap()).sum()
    };
    let sign_ins = events("session.refused");
    assert_eq!(sum(&sign_ins, &|event| event["target"] == id("ada@example.com")), 3, "{sign_ins:?}");
    assert_eq!(sum(&sign_ins, &|event| event["target"] == ""), 2, "{sign_ins:?}");
    assert_eq!(sign_ins[0]["detail"]["addresses"], json!(["127.0.0.1"]));
    let changes = events("change.refused");
    for what in ["POST /users", "POST /api/v1/users"] {
        let by_bob = |event: &Value| event["target"] == what && event["actor"] == id("bob@example.com");
        assert_eq!(sum(&changes, &by_bob), 1, "{changes:?}");
    }
    assert_eq!(sum(&changes, &|_| true), 2);
    assert_eq!(gateway.cli(&["audit", "verify"])["intact"], true);
    let all = text(&run(&gateway, &["audit", "export"]).stdout);
    assert!(!all.contains("nobody@example.com") && !all.contains("wrong horse"), "what strangers type is not kept");
}

#[test]
fn admins_see_and_prove_it_by_the_api_and_the_console() {
    let gateway = Gateway::start("");
    let mut admin = Browser::signed_in(&gateway, "ada@example.com", true);
    let mut member = Browser::signed_in(&gateway, "bob@example.com", false);
    let (reader, of_bob) = (gateway.token(&["api"]), gateway.new_token(&["api"], &["--owner", "bob@example.com"]));
    gateway.await_token(&of_bob);
    let list = |query: &str| {
        let (status, answer) = api::get(&gateway, &reader.text, &format!("/api/v1/audit_events?{query}"));
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let all = list("");
    assert_eq!(all["items"], gateway.cli(&["audit", "list"]));
    let (mut paged, mut before) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("count=2&before={before}"));
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(json!(paged), all["items"]);
    assert_eq!(list("action=session.&actor=bob@example.com")["items"][0]["actor_email"], "bob@example.com");
    for (query, expected) in [("before=x", 400), ("since=tomorrow", 400), ("actor=nobody@example.com", 404)] {
        assert_eq!(api::get(&gateway, &reader.text, &format!("/api/v1/audit_events?{query}")).0, expected, "{query}");
    }
    let verify = |query: &str| api::get(&gateway, &reader.text, &format!("/api/v1/audit_events/verification{query}"));
    let checkpoint = all["items"][0]["checkpoint"].as_str().unwrap();
    assert_eq!(verify(&format!("?checkpoint={checkpoint}")).1["intact"], true);
    assert_eq!(verify("?checkpoint=x").0, 400);
    assert_eq!(api::get(&gateway, &of_bob.text, "/api/v1/audit_events").0, 403);
    assert_eq!(api::get(&gateway, &of_bob.text, "/api/v1/audit_events/verification").0, 403);

    assert!(admin.get("/activity").text().contains("/activity/verify"));
    assert!(!member.get("/activity").text().contains("/activity/verify"));
    assert_eq!(member.get("/activity/verify").status, 403);
    assert!(admin.get("/activity/verify").text().contains("Every event is as it was written."));
    tamper(&gateway, "UPDATE audit_events SET target = 'other' WHERE chain = 'changes' AND number = 2");
    let page = admin.get("/activity/verify").text();
    assert!(page.contains("event 2 of changes") && page.contains("is not as it was written"), "{page}");
    assert_eq!(verify("").1["found"], 1);
}

/// What says how long a chain is says nothing when it is gone.
#[test]
fn a_chain_that_is_gone_is_found() {
    let gateway = Gateway::start("");
    gateway.cli(&["user", "create", "--email", "bob@example.com", "--name", "Bob"]);
    let kept = gateway.cli(&["audit", "checkpoint"]);
    let kept =
        kept.as_array().unwrap().iter().map(|kept| kept.as_str().unwrap()).find(|kept| kept.starts_with("changes:"));
    tamper(&gateway, "DELETE FROM audit_chains WHERE chain = 'changes'");
    for (arguments, found) in [(&[][..], 1), (&["--checkpoint", kept.unwrap()][..], 2)] {
        let verified = run(&gateway, &[&["audit", "verify", "-o", "json"], arguments].concat());
        let said: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!((verified.status.code(), &said["found"]), (Some(8), &json!(found)), "{said}");
        assert!(said["findings"][0].as_str().unwrap().contains("changes is gone"), "{said}");
    }
}
