//! Whoever came by the provider has no password, so that nobody stays whom it vouches for no more; and who counts as an
//! admin to whom the gateway can be left.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    console::{Browser, PASSWORD, create_user},
    gateway::Gateway,
    http::Response,
    provider::{Provider, ada},
    wait_until,
};

const ADA: &str = "ada@example.com";

/// The provider, and a gateway with the admin `root@example.com`, and with Ada, who has a password.
fn both(settings: &str) -> (Provider, Gateway) {
    let provider = Provider::start();
    let gateway = provider.gateway(&format!("allowed_values = [\"*\"]\n{settings}"));
    create_user(&gateway, ADA, false);
    provider.says(ada(json!({})), Value::Null, Value::Null);
    (provider, gateway)
}

fn signs_in(gateway: &Gateway, password: &str) -> (u16, String) {
    let answer = Browser::new(gateway.management).sign_in(ADA, password);
    (answer.status, answer.text())
}

fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = gateway.cli_command(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn code_of(link: &Value) -> String {
    link["link"].as_str().unwrap().split_once("?code=").unwrap().1.to_owned()
}

fn changes_password(browser: &mut Browser) -> Response {
    let page = browser.get("/account");
    let fields = [("current", PASSWORD), ("password", "another long one"), ("password_again", "another long one")];
    browser.submit(&page, "/account/password", &fields)
}

#[test]
fn a_password_stops_working_when_the_provider_vouches() {
    let (provider, gateway) = both("");
    let mut admin = Browser::signed_in(&gateway, "root@example.com", true);
    let link = code_of(&gateway.cli(&["user", "invite", ADA]));
    assert_eq!(signs_in(&gateway, PASSWORD).0, 303);
    let mut browser = Browser::new(gateway.management);
    assert_eq!(provider.sign_on(&mut browser).status, 303);

    let (status, text) = signs_in(&gateway, PASSWORD);
    assert!(status == 403 && text.contains("signs in with single sign-on"), "{status} {text}");
    // Whoever does not know it learns nothing.
    let (status, text) = signs_in(&gateway, "not the password");
    assert!(status == 401 && text.contains("Incorrect email or password"), "{status} {text}");

    let account = browser.get("/account").text();
    assert!(account.contains("so this account has no password") && !account.contains("/account/password"));
    assert_eq!(changes_password(&mut browser).status, 403);
    // A link that was made before.
    let mut stranger = Browser::new(gateway.management);
    let shown = stranger.get(&format!("/welcome?code={link}"));
    assert!(shown.status == 403 && shown.text().contains("single sign-on"), "{}", shown.text());
    let page = stranger.get("/sign-in");
    let fields = [("code", &*link), ("name", "Eve"), ("password", PASSWORD), ("password_again", PASSWORD)];
    assert_eq!(stranger.submit(&page, "/welcome", &fields).status, 403);
    assert_eq!(signs_in(&gateway, PASSWORD).0, 403);

    for verb in [&["user", "invite", ADA][..], &["user", "set-password", ADA, "--stdin"]] {
        let (code, said) = run(&gateway, verb);
        assert!(code == Some(4) && said.contains("management.oidc.passwords"), "{verb:?}: {code:?} {said}");
    }
    let users = admin.get("/users");
    let id = id_of(&gateway, ADA);
    assert!(users.text().contains("Single sign-on") && !users.text().contains(&format!("/users/{id}/link")));
    assert_eq!(admin.submit(&users, &format!("/users/{id}/link"), &[]).status, 403);
    // The admin of last resort has no identity.
    assert_eq!(Browser::new(gateway.management).sign_in("root@example.com", PASSWORD).status, 303);
}

fn id_of(gateway: &Gateway, email: &str) -> String {
    let users = gateway.cli(&["user", "list"]);
    let user = users.as_array().unwrap().iter().find(|user| user["email"] == email).unwrap();
    user["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_setting_allows_passwords_beside_the_provider() {
    let (provider, gateway) = both("");
    let mut browser = Browser::new(gateway.management);
    assert_eq!(provider.sign_on(&mut browser).status, 303);
    assert_eq!(signs_in(&gateway, PASSWORD).0, 403);
    gateway.write_config(&provider.config("allowed_values = [\"*\"]\npasswords = true"));
    gateway.signal("HUP");
    wait_until("the setting is in force", SOON, || browser.get("/account").text().contains("/account/password"));
    assert_eq!(signs_in(&gateway, PASSWORD).0, 303);
    assert_eq!(changes_password(&mut browser).status, 200);
    assert_eq!(signs_in(&gateway, "another long one").0, 303);
    // Nor is there anybody to ask where there is no single sign-on.
    gateway.write_config("");
    gateway.signal("HUP");
    wait_until("the setting is in force", SOON, || browser.get("/sign-in/oidc").status == 404);
    assert_eq!(signs_in(&gateway, "another long one").0, 303);
}

#[test]
fn an_admin_whom_nobody_can_be_is_not_another_admin() {
    let provider = Provider::start();
    let gateway = provider.gateway("allowed_values = [\"*\"]");
    // `admin@localhost` has never been anybody: it may go as long as there is one more of the kind.
    gateway.cli(&["user", "create", "--email", "idle@example.com", "--name", "Idle", "--admin"]);
    gateway.cli(&["user", "disable", "idle@example.com"]);
    let (code, said) = run(&gateway, &["user", "disable", "admin@localhost"]);
    assert!(code == Some(4) && said.contains("the last admin"), "{said}");

    create_user(&gateway, "root@example.com", true);
    let (code, said) = run(&gateway, &["user", "disable", "root@example.com"]);
    assert!(code == Some(4) && said.contains("no way to sign in"), "{said}");
    create_user(&gateway, ADA, true);
    gateway.cli(&["user", "disable", "admin@localhost"]);
    // With both a password and an identity, and then with one of them.
    provider.says(ada(json!({})), Value::Null, Value::Null);
    assert_eq!(provider.sign_on(&mut Browser::new(gateway.management)).status, 303);
    gateway.cli(&["user", "disable", "root@example.com"]);
    assert_eq!(run(&gateway, &["user", "disable", ADA]).0, Some(4));
}
