//! Limits at the management listener hurt whoever floods it, and nobody else.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    api,
    console::{Browser, PASSWORD, create_user, csrf},
    gateway::{Gateway, deployment},
    http::{Client, Response},
    provider::Provider,
    upstream::Upstream,
};

const ADA: &str = "ada@example.com";
/// The tests come from here, and say in whose name.
const TRUSTING: &str = "[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n";
const STRANGER: &str = "203.0.113.66";

/// What a browser is answered that signs in from an address.
fn sign_in_from(browser: &mut Browser, address: &str, email: &str, password: &str) -> Response {
    let page = browser.get("/sign-in");
    let from = [format!("origin: http://{}", browser.host), format!("x-forwarded-for: {address}")];
    let fields = [("csrf", &*csrf(&page)), ("email", email), ("password", password)];
    browser.post_from(&[&from[0], &from[1]], "/sign-in", &fields)
}

fn guess_until_limited(gateway: &Gateway, address: &str) {
    let mut stranger = Browser::new(gateway.management);
    let limited = (0..40).any(|_| sign_in_from(&mut stranger, address, ADA, "guess").status == 429);
    assert!(limited, "strangers can guess for ever");
}

#[test]
fn strangers_do_not_lock_the_owner_of_an_account_out() {
    let gateway = Gateway::start(TRUSTING);
    create_user(&gateway, ADA, true);
    let mut known = Browser::new(gateway.management);
    // The owner may share the strangers' address.
    assert_eq!(sign_in_from(&mut known, STRANGER, ADA, PASSWORD).status, 303);
    guess_until_limited(&gateway, STRANGER);

    let mut unknown = Browser::new(gateway.management);
    assert_eq!(sign_in_from(&mut unknown, "198.51.100.1", ADA, PASSWORD).status, 429, "strangers can guess for ever");
    let account = known.get("/account");
    assert_eq!(known.submit(&account, "/sign-out", &[]).status, 303);
    assert_eq!(sign_in_from(&mut known, STRANGER, ADA, PASSWORD).status, 303);

    // Changing the password is not signing in.
    let account = known.get("/account");
    let new = "another long password";
    let fields = [("current", PASSWORD), ("password", new), ("password_again", new)];
    assert_eq!(known.submit(&account, "/account/password", &fields).status, 200);
    // Neither are links and single sign-on.
    for path in ["/welcome?code=x", "/sign-in/oidc"] {
        let answer = unknown.ask("GET", path, &[&format!("x-forwarded-for: {STRANGER}")], "");
        assert_ne!(answer.status, 429, "{path}");
    }

    // A known browser cannot guess for ever either.
    let account = known.get("/account");
    known.submit(&account, "/sign-out", &[]);
    let limited = (0..20).any(|_| sign_in_from(&mut known, STRANGER, ADA, "guess").status == 429);
    assert!(limited);
}

#[test]
fn a_browser_is_known_to_the_account_that_signed_in_and_by_our_cookie_only() {
    let mut gateway = Gateway::start(TRUSTING);
    create_user(&gateway, ADA, true);
    let mut ada = Browser::new(gateway.management);
    assert_eq!(sign_in_from(&mut ada, "198.51.100.1", ADA, PASSWORD).status, 303);
    ada.cookies.retain(|name, _| name == "bgw-known");
    let mut bob = Browser::new(gateway.management);
    create_user(&gateway, "bob@example.com", false);
    assert_eq!(sign_in_from(&mut bob, "198.51.100.1", "bob@example.com", PASSWORD).status, 303);
    let genuine = bob.cookies["bgw-known"].clone();
    guess_until_limited(&gateway, STRANGER);
    let invented = format!("{}.{}", "0".repeat(32), "0".repeat(64));
    for cookie in [genuine, invented, "x".to_owned()] {
        let mut browser = Browser::new(gateway.management);
        browser.cookies.insert("bgw-known".to_owned(), cookie.clone());
        assert_eq!(sign_in_from(&mut browser, "198.51.100.2", ADA, PASSWORD).status, 429, "{cookie}");
    }
    // Another process on the same store knows it, too.
    gateway.terminate();
    gateway.start_again();
    guess_until_limited(&gateway, STRANGER);
    assert_eq!(sign_in_from(&mut ada, STRANGER, ADA, PASSWORD).status, 303);
}

#[test]
fn all_addresses_of_a_network_are_one() {
    let gateway = Gateway::start(TRUSTING);
    let guess = |number: u32, address: &str| {
        let mut browser = Browser::new(gateway.management);
        sign_in_from(&mut browser, address, &format!("user-{number}@example.com"), "guess").status
    };
    let limited = (0..30).any(|number| guess(number, &format!("2001:db8::{number:x}")) == 429);
    assert!(limited, "one /64 has as many tries as it has addresses");
    assert_eq!(guess(100, "2001:db8:0:1::1"), 401, "another network");
}

/// Each thing that strangers may ask for has a limit for each network, and none uses up another's.
#[test]
fn what_strangers_may_ask_for_has_a_limit_each() {
    let provider = Provider::start();
    let gateway = Gateway::start(&format!("{TRUSTING}{}", provider.config("allowed_values = [\"*\"]")));
    let json = "content-type: application/json";
    let asks = [
        ("POST", "/api/v1/leaked_tokens", json, r#"{"tokens":["x"]}"#),
        ("GET", "/api/v1/auth/code", "", ""),
        ("GET", "/api/v1/auth/token?code=x", "", ""),
        ("GET", "/welcome?code=x", "", ""),
        ("GET", "/sign-in/oidc", "", ""),
    ];
    let ask = |(method, path, field, body): (&str, &str, &str, &str), from: &str| {
        let from = format!("x-forwarded-for: {from}");
        let fields: Vec<&str> = [&*from, field].into_iter().filter(|field| !field.is_empty()).collect();
        Browser::new(gateway.management).ask(method, path, &fields, body).status
    };
    for (number, asked) in asks.into_iter().enumerate() {
        let allowed = (0..200).take_while(|_| ask(asked, STRANGER) != 429).count();
        assert!((15..80).contains(&allowed), "{asked:?}: {allowed}");
        assert_ne!(ask(asked, "198.51.100.1"), 429, "{asked:?}: another network");
        for next in &asks[number + 1..] {
            assert_ne!(ask(*next, STRANGER), 429, "{next:?} after {asked:?}");
        }
    }
    guess_until_limited(&gateway, STRANGER);
}

#[test]
fn links_end_with_the_password_that_they_were_made_for() {
    let gateway = Gateway::start("");
    let mut ada = Browser::signed_in(&gateway, ADA, true);
    let invite = |email: &str| {
        let link = gateway.cli(&["user", "invite", email])["link"].as_str().unwrap().to_owned();
        link[link.find("/welcome").unwrap()..].to_owned()
    };
    let link = invite(ADA);
    assert_eq!(Browser::new(gateway.management).get(&link).status, 200);
    let account = ada.get("/account");
    let new = "another long password";
    let fields = [("current", PASSWORD), ("password", new), ("password_again", new)];
    assert_eq!(ada.submit(&account, "/account/password", &fields).status, 200);
    assert_eq!(Browser::new(gateway.management).get(&link).status, 410, "a link sets the password again");

    create_user(&gateway, "bob@example.com", false);
    let link = invite("bob@example.com");
    gateway.cli(&["user", "disable", "bob@example.com"]);
    gateway.cli(&["user", "enable", "bob@example.com"]);
    assert_eq!(Browser::new(gateway.management).get(&link).status, 410, "a disabled user's link came back");
}

/// Hashing a password is what costs most, so it comes last.
#[test]
fn a_taken_address_is_refused_before_the_password_is_looked_at() {
    let gateway = Gateway::start("");
    create_user(&gateway, ADA, true);
    let token = gateway.token(&["api"]).text;
    let body = json!({ "email": ADA, "name": "Ada", "password": "short" });
    let (status, answer) = api::post(&gateway, &token, "/api/v1/users", body);
    assert_eq!((status, answer["code"].as_str()), (409, Some("conflict")), "{answer}");
}

#[test]
fn a_slow_body_is_not_waited_for_without_end() {
    let gateway = Gateway::start("");
    let mut client = Client::connect(gateway.management);
    client.read_timeout(Duration::from_secs(60));
    client.send(
        "POST /api/v1/leaked_tokens HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
         content-length: 20\r\n\r\n{",
    );
    let answer = client.response(false);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("body_too_slow")));
}

#[test]
fn an_upstream_is_asked_once_a_second_however_many_look() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["api"]).text;
    let began = Instant::now();
    for _ in 0..30 {
        let (status, answer) = api::get(&gateway, &token, "/api/v2/deployments");
        assert_eq!((status, answer["items"][0]["status"].as_str()), (200, Some("running")), "{answer}");
    }
    let (asked, most) = (upstream.requests().len(), began.elapsed().as_secs() + 2);
    assert!(asked as u64 <= most, "asked {asked} times");
}
