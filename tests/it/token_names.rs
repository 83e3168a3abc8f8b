//! A token is named by what a person has of it, wherever a uid is taken: and nobody learns of a token that is not theirs to
//! see.

use serde_json::Value;

use crate::harness::{
    SOON, api,
    console::{Browser, create_user},
    gateway::{Gateway, Token},
    wait_until,
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

fn named(gateway: &Gateway, name: &str, owner: &str, arguments: &[&str]) -> Token {
    let create = ["token", "create", name, "--owner", owner, "--scope", "api"];
    let answer = gateway.cli(&[&create[..], arguments].concat());
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    Token { text: text("token"), uid: text("uid") }
}

fn lookup_id(token: &Token) -> &str {
    &token.text[4..16]
}

fn end(token: &Token) -> &str {
    &token.uid[24..]
}

fn get(gateway: &Gateway, caller: &Token, name: &str) -> (u16, Value) {
    api::get(gateway, &caller.text, &format!("/api/v1/api_tokens/{name}"))
}

/// What a command of the CLI says on standard error, and its exit status.
fn said(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let output = gateway.cli_command(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_token_is_found_by_what_a_person_has_of_it() {
    let gateway = Gateway::start("");
    for (email, admin) in [(ADA, true), (BOB, false)] {
        create_user(&gateway, email, admin);
    }
    let (ada, bob) = (named(&gateway, "ci", ADA, &[]), named(&gateway, "ci", BOB, &[]));
    let other = named(&gateway, "nightly build", ADA, &[]);
    for token in [&ada, &bob, &other] {
        gateway.await_token(token);
    }

    // Bob's own, whatever others have called theirs.
    for name in ["ci", end(&bob), lookup_id(&bob), &format!("bgw_{}", lookup_id(&bob)), &bob.uid] {
        let (status, token) = get(&gateway, &bob, name);
        assert_eq!((status, &token["uid"]), (200, &Value::from(&*bob.uid)), "{name}: {token}");
    }
    // What is not his answers as what does not exist.
    let unknown = |name: &str| get(&gateway, &bob, name).1["error"].as_str().unwrap().replace(name, "NAME");
    for name in ["nightly%20build", end(&ada), lookup_id(&ada), &ada.uid] {
        let (status, error) = get(&gateway, &bob, name);
        assert_eq!((status, error["code"].as_str()), (404, Some("not_found")), "{name}: {error}");
    }
    assert_eq!(unknown(end(&ada)), unknown("0123456789ab"));

    // An admin sees both, and is told which there are.
    let (status, error) = get(&gateway, &ada, "ci");
    let text = error["error"].as_str().unwrap();
    assert_eq!((status, error["code"].as_str()), (409, Some("conflict")), "{error}");
    assert!(
        text.starts_with("2 tokens are called \"ci\": ")
            && text.contains(&format!("{} of {ADA}", ada.uid))
            && text.contains(&format!("{} of {BOB}", bob.uid))
    );
    assert_eq!(get(&gateway, &ada, "nightly%20build").1["uid"], *other.uid);
    let (status, text) = said(&gateway, &["token", "revoke", "ci"]);
    assert!(status == 4 && text.contains(&ada.uid) && text.contains(&bob.uid), "{status}: {text}");

    // One that has ended does not stand in the way.
    gateway.cli(&["token", "revoke", end(&ada)]);
    assert_eq!(get(&gateway, &other, "ci").1["uid"], *bob.uid);
    let expiring = named(&gateway, "ci", ADA, &["--expires", "1s"]);
    wait_until("it has expired", SOON, || get(&gateway, &other, &expiring.uid).1["is_expired"] == true);
    assert_eq!(get(&gateway, &other, "ci").1["uid"], *bob.uid);
    assert_eq!(get(&gateway, &other, end(&expiring)).1["uid"], *expiring.uid, "it has its id");
    assert_eq!(gateway.cli(&["token", "get", end(&ada)])["status"], "revoked");

    // A name that is another token's id opens no door to it.
    let trap = named(&gateway, end(&bob), ADA, &[]);
    let (status, error) = get(&gateway, &other, end(&bob));
    assert!(status == 409 && error.to_string().contains(&trap.uid), "{error}");
}

#[test]
fn commands_show_the_id_that_they_take() {
    let gateway = Gateway::start("");
    create_user(&gateway, ADA, true);
    let token = named(&gateway, "ci", ADA, &[]);
    let list = gateway.cli_command(&["token", "list"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.starts_with("ID ") && list.contains(end(&token)) && !list.contains(&token.uid), "{list}");
    assert!(!list.contains(lookup_id(&token)), "whoever has it can make the gateway compute");
    let rotated = gateway.cli(&["token", "rotate", "ci", "--overlap", "0s"]);
    assert_eq!(rotated["uid"], *token.uid);
    let (status, text) = said(&gateway, &["token", "get", &token.text]);
    assert!(status == 2 && text.contains("the text of a token") && !text.contains(&token.text[20..]), "{text}");
    assert_eq!(gateway.cli(&["token", "revoke", end(&token)])["status"], "revoked");
    let (status, text) = said(&gateway, &["token", "get", "ci"]);
    assert!(
        status == 3 && text.contains("there is no API token \"ci\"") && text.contains("token list"),
        "{status} {text}"
    );
}

#[test]
fn a_search_finds_a_token_by_the_beginning_of_its_text() {
    let gateway = Gateway::start("");
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    let token = named(&gateway, "the-one", ADA, &[]);
    for (search, found) in [(lookup_id(&token), true), (&token.text[..16], true), ("0123456789ab", false)] {
        let page = ada.get(&format!("/api_tokens?q={search}")).text();
        assert_eq!(page.contains("the-one"), found, "{search}");
        let list = gateway.cli(&["token", "list", "--search", search]);
        assert_eq!(list["total"], u64::from(found), "{search}");
    }
}
