//! Before a token ends, those who call with it are told, and those who look after it.

use crate::harness::{
    api,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, Response, get},
    upstream::Upstream,
};

const FIELD: &str = "x-bento-gateway-token-expires";

fn started(upstream: &Upstream, setup: impl FnOnce(Setup) -> Setup) -> Gateway {
    let public = deployment("public", upstream.address, "protected = false");
    setup(Setup::new(&(deployment("a", upstream.address, "") + &public))).start()
}

fn token(gateway: &Gateway, lifetime: &str) -> Token {
    let token = gateway.new_token(&["deployment:a"], &["--expires", lifetime]);
    gateway.await_token(&token);
    token
}

fn end(gateway: &Gateway, token: &Token) -> String {
    gateway.cli(&["token", "get", &token.uid])["expires_at"].as_str().unwrap().to_owned()
}

fn said(answer: &Response) -> Option<&str> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header(FIELD)
}

#[test]
fn callers_learn_when_their_token_ends() {
    let upstream = Upstream::named("a");
    let asked_by_proxies = free_address();
    let gateway =
        started(&upstream, |setup| setup.arguments(&["--forward-auth-listen", &asked_by_proxies.to_string()]));
    let call = |text: &str| gateway.ask(&get("a.test", "/", text));
    let [soon, later, never] = ["6d", "8d", "never"].map(|lifetime| token(&gateway, lifetime));
    assert_eq!(said(&call(&soon.text)), Some(&*end(&gateway, &soon)));
    assert_eq!((said(&call(&later.text)), said(&call(&never.text))), (None, None));
    // Nobody's token, and one that does not pass.
    assert_eq!(said(&gateway.ask(&get("public.test", "/", &soon.text))), None);
    let other = gateway.ask(&get("b.test", "/", &soon.text));
    assert_eq!((other.status, other.header(FIELD)), (403, None));
    // A proxy that asks is told what its caller would be.
    let asked = Client::connect(asked_by_proxies).ask(format!(
        "GET /forward-auth/a HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: GET\r\nx-forwarded-host: a.test\r\n\
         x-forwarded-uri: /\r\nauthorization: Bearer {}\r\n\r\n",
        soon.text
    ));
    assert_eq!(said(&asked), Some(&*end(&gateway, &soon)));

    // The old secret ends before its token does; the new one does not.
    let rotated = gateway.cli(&["token", "rotate", &never.uid, "--overlap", "2h"]);
    let new = Token { text: rotated["token"].as_str().unwrap().to_owned(), uid: never.uid.clone() };
    gateway.await_token(&new);
    assert_eq!(said(&call(&new.text)), None);
    assert!(said(&call(&never.text)).is_some());
    gateway.cli(&["token", "rotate", &later.uid, "--overlap", "7d 12h"]);
    assert_eq!(said(&call(&later.text)), None, "there is time");
}

#[test]
fn nobody_is_told_who_shall_not_be() {
    let upstream = Upstream::named("a");
    let gateway = started(&upstream, |setup| setup.env("TOKENS__EXPIRY_NOTICE", ""));
    let soon = token(&gateway, "1h");
    assert_eq!(said(&gateway.ask(&get("a.test", "/", &soon.text))), None);
    let listed = gateway.cli_command(&["token", "list"]).output().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
}

#[test]
fn tokens_that_end_soon_are_listed() {
    let upstream = Upstream::named("a");
    let gateway = started(&upstream, |setup| setup);
    let admin = token(&gateway, "never");
    let api = gateway.token(&["api"]);
    let [first, second, revoked, _later] = ["1h", "3d", "1d", "30d"].map(|lifetime| token(&gateway, lifetime));
    gateway.revoke(&revoked);
    let uids = |list: &serde_json::Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|token| token["uid"].as_str().unwrap().to_owned()).collect()
    };
    let soon = gateway.cli(&["token", "list", "--expires-within", "7d"]);
    assert_eq!((uids(&soon), &soon["total"]), (vec![first.uid.clone(), second.uid.clone()], &2.into()));
    assert_eq!(uids(&gateway.cli(&["token", "list", "--expires-within", "1d"])), [&*first.uid]);
    assert_eq!(uids(&gateway.cli(&["token", "list"])).len(), 6, "{}", admin.uid);
    let (status, found) = api::get(&gateway, &api.text, "/api/v1/api_tokens?expires_within=1d");
    assert_eq!((status, uids(&found)), (200, vec![first.uid.clone()]));
    let (status, refused) = api::get(&gateway, &api.text, "/api/v1/api_tokens?expires_within=soon");
    assert_eq!((status, &refused["code"]), (400, &"invalid".into()));
    assert!(refused["error"].as_str().unwrap().starts_with("expires_within: "), "{refused}");

    let said = |arguments: &[&str]| {
        let listed = gateway.cli_command(arguments).output().unwrap();
        assert!(listed.status.success());
        String::from_utf8(listed.stderr).unwrap()
    };
    let told = said(&["token", "list"]);
    assert_eq!(told, "2 of these tokens expire within 7d; --expires-within 7d shows which\n");
    assert_eq!(said(&["token", "list", "--expires-within", "7d"]), "");
}
