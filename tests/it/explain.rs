//! Why a request is let through or refused: by the command line, the API and the console, to whom it concerns.
//! `proxy_decision.rs` holds that each row of the decision table is explained as it is served.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    commands::CommandLine,
    console::Browser,
    gateway::{Gateway, deployment, free_address},
    token_text::unknown_token,
    wait_until,
};

const PATH: &str = "/api/v1/explanations";

fn explained(gateway: &Gateway, token: &str, question: Value) -> Value {
    let (status, answer) = api::post(gateway, token, PATH, question);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Whether this request can be asked about, since it shows a token as it should or none: then it is explained as it is served.
/// `refusal`: what it is answered. `None`: it passes.
pub fn is_explained_so(
    gateway: &Gateway,
    admin: &str,
    (host, fields): (&str, &[String]),
    refusal: Option<(u16, &str)>,
) -> bool {
    let mut question = json!({ "url": format!("http://{host}/") });
    match fields {
        [] => {}
        [field] => match field.strip_prefix("authorization: Bearer ").map(str::trim) {
            Some(text) if !text.contains(' ') => question["token_text"] = text.into(),
            _ => return false,
        },
        _ => return false,
    }
    let answer = explained(gateway, admin, question);
    assert_eq!(answer["allowed"], refusal.is_none(), "{host} {fields:?}: {answer}");
    let (status, code) = refusal.unzip();
    assert_eq!((&answer["status"], &answer["code"]), (&json!(status), &json!(code)), "{host} {fields:?}: {answer}");
    true
}

#[test]
fn every_way_to_a_deployment_is_named() {
    let own = free_address();
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\ndefault_deployment = \"open\"\n{}{}{}",
        deployment("mine", free_address(), ""),
        deployment("open", free_address(), "protected = false"),
        deployment("own", free_address(), &format!("listen = \"{own}\"")),
    );
    let gateway = Gateway::start(&config);
    let (admin, token) = (gateway.token(&["api"]).text, gateway.token(&["deployment:m*", "deployment:own"]));
    let of_own = format!("http://{own}/x");
    for (url, deployment, by, allowed) in [
        ("http://mine.test/x?a=b", json!("mine"), "host", true),
        ("https://MINE.test:443", json!("mine"), "host", true),
        ("http://mine.base.test/", json!("mine"), "base_domain", true),
        ("http://elsewhere.test/deployments/mine/x", json!("mine"), "path", true),
        ("http://elsewhere.test/", json!("open"), "default", true),
        ("http://nothing.base.test/", json!("nothing"), "base_domain", false),
        (&of_own, json!("own"), "listener", true),
    ] {
        let question = json!({ "url": url, "token": token.uid, "method": "POST" });
        let answer = explained(&gateway, &admin, question);
        assert_eq!((&answer["deployment"], &answer["routed_by"]), (&deployment, &json!(by)), "{url}: {answer}");
        assert_eq!(answer["allowed"], allowed, "{url}: {answer}");
        assert_eq!(answer["listener"], if by == "listener" { json!(own) } else { json!(null) }, "{url}");
        let is_public = deployment == "open";
        let scope = match &deployment {
            _ if !allowed || is_public => json!(null),
            name if name == "own" => json!("deployment:own"),
            _ => json!("deployment:m*"),
        };
        assert_eq!(answer["scope"], scope, "{url}: {answer}");
        assert_eq!(answer["token"], if is_public { json!(null) } else { json!(token.uid) }, "{url}: {answer}");
    }
    // Refused before it is routed, and answered by the gateway itself.
    let dots = explained(&gateway, &admin, json!({ "url": "http://mine.test/a/../b" }));
    assert_eq!((&dots["code"], &dots["routed_by"]), (&json!("bad_path"), &json!(null)), "{dots}");
    let trace = explained(&gateway, &admin, json!({ "url": "http://mine.test/", "method": "TRACE" }));
    assert_eq!(trace["status"], 405, "{trace}");
    let page = explained(&gateway, &admin, json!({ "url": "http://mine.test/-/sign-in" }));
    assert_eq!((&page["allowed"], &page["status"]), (&json!(false), &json!(null)), "{page}");
    for (question, expected) in [
        (json!({ "url": "mine.test/" }), "the URL is malformed"),
        (json!({ "url": "http://mine.test/#x" }), "the URL is malformed"),
        (json!({ "url": "http://mine.test/", "method": "GE T" }), "the method is not one of HTTP"),
        (json!({ "url": "http://mine.test/", "listener": "127.0.0.1:1" }), "no Deployment has the listener"),
        (json!({ "url": "http://mine.test/", "at": "7d" }), "is not a time"),
        (json!({ "url": "http://mine.test/", "token": "a", "token_text": "b" }), "not both"),
        (json!({ "url": "http://mine.test/", "token_text": "a b" }), "one word"),
    ] {
        let (status, answer) = api::post(&gateway, &admin, PATH, question.clone());
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(expected), "{question}: {status} {answer}");
    }
}

#[test]
fn a_time_to_come_is_decided_by_what_is_known_now_and_nothing_is_noted() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let admin = gateway.token(&["api"]).text;
    let token = gateway.new_token(&["deployment:a"], &["--expires", "2090-01-01"]);
    let ask = |at: Value| explained(&gateway, &admin, json!({ "url": "http://a.test/", "token": token.uid, "at": at }));
    wait_until("the gateway knows it", SOON, || ask(json!(null))["allowed"] == true);
    assert_eq!(ask(json!("2089-12-31T23:59:59Z"))["allowed"], true);
    let later = ask(json!("2090-01-01"));
    assert_eq!(
        (&later["code"], &later["at"]),
        (&json!("token_expired"), &json!("2090-01-01T00:00:00.000Z")),
        "{later}"
    );
    // One secret after the other: the newest counts for who is named, the shown one for what is pasted.
    gateway.cli(&["token", "rotate", &token.uid, "--overlap", "1h"]);
    let shown = |at: &str| {
        let question = json!({ "url": "http://a.test/", "token_text": token.text, "at": at });
        explained(&gateway, &admin, question)["code"].clone()
    };
    wait_until("the gateway knows of it", SOON, || shown("2089-01-01") == "token_rotated");
    assert_eq!(ask(json!("2089-01-01"))["allowed"], true);
    assert_eq!(gateway.cli(&["token", "get", &token.uid])["last_used_at"], json!(null));
}

#[test]
fn nobody_learns_more_than_elsewhere() {
    let later = "[deployments.later]\nupstream = \"http://127.0.0.1:1\"\nhosts = [\"later.test\"]\nenforce_from = \"2099-01-01\"\n";
    let gateway = Gateway::start(&format!("{}{later}", deployment("a", free_address(), "")));
    let mut bob = Browser::signed_in(&gateway, "bob@example.com", false);
    let owner = ["--owner", "bob@example.com"];
    let of_admin = gateway.token(&["deployment:a"]);
    let of_bob = gateway.new_token(&["deployment:a"], &owner);
    let caller = |scopes: &[&str]| {
        let token = gateway.new_token(scopes, &owner);
        gateway.await_token(&token);
        token.text
    };
    let (reader, clusters, tokens) =
        (caller(&["read_cluster", "read_organization"]), caller(&["read_cluster"]), caller(&["read_organization"]));
    let ask = |caller: &str, key: &str, token: &str| {
        let mut question = json!({ "url": "http://a.test/" });
        if !key.is_empty() {
            question[key] = token.into();
        }
        api::post(&gateway, caller, PATH, question)
    };
    // Deployments are for who may list them, and tokens as well.
    assert_eq!(ask(&clusters, "", "").1["code"], "credential_missing");
    for (caller, key, token) in
        [(&tokens, "", ""), (&of_bob.text, "", ""), (&clusters, "token", &*of_bob.uid), (&clusters, "token_text", "x")]
    {
        assert_eq!(ask(caller, key, token).0, 403, "{key}");
    }
    let (_, mine) = ask(&reader, "token", &of_bob.uid);
    assert!(mine["allowed"] == true && mine["token_name"].is_string(), "{mine}");
    assert_eq!(ask(&reader, "token", &of_admin.uid).0, 404);
    // Who has the text could call with it, and is told no more than that: not how others call it.
    let (_, pasted) = ask(&reader, "token_text", &of_admin.text);
    assert_eq!((&pasted["allowed"], &pasted["token_name"]), (&json!(true), &json!(null)), "{pasted}");
    let (status, refused) = ask(&reader, "token", &of_admin.text);
    assert!(status == 400 && !refused.to_string().contains(&of_admin.text[17..60]), "{status} {refused}");

    // What a Deployment is set to is for admins: not until when it lets strangers in.
    let admin = gateway.token(&["api"]).text;
    let until = |caller: &str| {
        api::post(&gateway, caller, PATH, json!({ "url": "http://later.test/" })).1["reason"].to_string()
    };
    assert!(until(&admin).contains("is not enforced before 2099-01-01"), "{}", until(&admin));
    assert!(until(&reader).contains("is not enforced yet;"), "{}", until(&reader));

    // The same at the console.
    let page = bob.get(&format!("/explain?url=http%3A%2F%2Fa.test%2F&token={}", of_bob.uid));
    assert!(page.text().contains("value=\"http://a.test/\""), "{}", page.text());
    let fields = |token: &str, text: &str| {
        let answer =
            bob.submit(&page, "/explain", &[("url", "http://a.test/"), ("token", token), ("token_text", text)]);
        (answer.status, answer.text())
    };
    let mut fields = fields;
    let (status, text) = fields(&of_bob.uid, "");
    assert!(status == 200 && text.contains("Let through") && text.contains("deployment:a"), "{text}");
    assert_eq!(fields(&of_admin.uid, "").0, 404);
    let unknown = unknown_token();
    let (status, text) = fields("", &unknown);
    assert!(status == 200 && text.contains("Refused with 401") && text.contains("token_invalid"), "{text}");
    assert!(!text.contains(&unknown), "{text}");
}

#[test]
fn the_command_line_asks_as_a_gateway_that_starts_now_decides() {
    let commands = CommandLine::with_admin();
    let config = format!("{}{}", deployment("a", free_address(), ""), deployment("b", free_address(), ""));
    commands.write("gateway.toml", &config);
    let created = commands.json(&["token", "create", "ci", "--scope", "deployment:a", "-c", "gateway.toml"]);
    let text = created["token"].as_str().unwrap();
    let explain = |arguments: &[&str], stdin: &str| {
        let all = [&["explain", "-c", "gateway.toml", "-o", "json"], arguments].concat();
        let run = commands.run_with(&all, &[], stdin);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
        serde_json::from_str::<Value>(&run.out).unwrap()
    };
    let named = explain(&["http://a.test/summarize", "--token", "ci"], "");
    assert_eq!((&named["allowed"], &named["token_name"]), (&json!(true), &json!("ci")), "{named}");
    let shown = explain(&["http://a.test/", "--token-stdin"], &format!("{text}\n"));
    assert_eq!((&shown["allowed"], &shown["scope"]), (&json!(true), &json!("deployment:a")), "{shown}");
    assert_eq!(explain(&["http://b.test/", "--token", "ci"], "")["code"], "insufficient_scope");
    assert_eq!(explain(&["http://b.test/"], "")["code"], "credential_missing");
    assert_eq!(explain(&["http://a.test/", "--token", "ci", "--at", "2999-01-01"], "")["code"], "token_expired");
    assert_eq!(explain(&["http://a.test/", "--token-stdin"], &unknown_token())["code"], "token_invalid");

    let people = commands.run(&["explain", "-c", "gateway.toml", "http://b.test/", "--token", "ci"]);
    assert!(people.out.contains("answer      refused: 403 insufficient_scope\n"), "{}", people.out);
    // The text of a token is no argument, and is not repeated.
    for arguments in [["http://a.test/", "--token", text], [&format!("http://a.test/?t={text}"), "--method", "GET"]] {
        let run = commands.run(&[&["explain"], &arguments[..]].concat());
        assert!(run.code == 2 && !run.err.contains(text), "{}", run.err);
    }
    commands.refused(&["explain", "http://a.test/", "--token", "nobody"], 3, &["there is no API token \"nobody\""]);
    // It has told the store nothing of what it read from its file.
    assert_eq!(commands.run(&["deployment", "list"]).err, "");
}

#[test]
fn the_command_line_says_what_it_cannot_know() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let url = format!("sqlite:{}", gateway.path("gateway.db").display());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bento-gateway"));
    let command = command.env_clear().args(["explain", "http://a.test/", "--store", &url]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("Declared by a running gateway's own file or flags: a"), "{said}");
}
