//! A Deployment that each token may ask so often.

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    api,
    gateway::{Gateway, Setup, deployment},
    http::{get, request},
    pair::{HOST, Pair},
    upstream::Upstream,
};

#[test]
fn a_token_asks_so_often_and_is_told_when_it_may_again() {
    let pair = Pair::new(Upstream::named("a"), "rate_limit = \"3/1m\"");
    let other = pair.gateway.token(&["deployment:a"]);
    let mut caller = pair.gateway.connect();
    for left in (0..3).rev() {
        let answer = caller.ask(get(HOST, "/", &pair.token.text));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"token\";q=3;w=60"));
        let (_, says) = answer.header("ratelimit").unwrap().split_once(';').unwrap();
        assert!(says.starts_with(&format!("r={left};t=")), "{says}");
    }
    // With a body, too, the connection is kept.
    let post = request("POST", "/post", HOST, &pair.token.text, &["content-length: 3"], b"abc");
    let refused = caller.ask(post);
    assert_eq!((refused.status, &*refused.code()), (429, "rate_limited"), "{}", refused.text());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((15..=20).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"token\";r=0;t={wait}")));
    assert_eq!(caller.ask(get(HOST, "/", &other.text)).status, 200, "another token has its own");
    assert_eq!(pair.upstream.requests().len(), 4);
    let line = pair.gateway.access_line("/post");
    assert_eq!((&line["status"], &line["token"]), (&json!(429), &json!(pair.token.uid)));
}

#[test]
fn what_is_given_back_may_be_asked_again_by_any_worker() {
    let upstream = Upstream::named("a");
    let config = deployment("a", upstream.address, "rate_limit = \"20/2s\"");
    let gateway = Setup::new(&config).env("PROXY__WORKERS", "4").start();
    let token = gateway.token(&["deployment:a"]).text;
    let ask = || gateway.connect().ask(get(HOST, "/", &token)).status;
    let answered = (0..100).filter(|_| ask() == 200).count();
    assert!((20..40).contains(&answered), "{answered}");
    sleep(Duration::from_millis(1_200));
    let again = (0..50).filter(|_| ask() == 200).count();
    assert!((8..30).contains(&again), "{again}");
}

#[test]
fn where_no_token_is_asked_for_each_network_counts() {
    let upstream = Upstream::named("a");
    let open = deployment("a", upstream.address, "protected = false\nrate_limit = \"2/1h\"");
    let gateway = Gateway::start(&format!("[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n{open}"));
    let ask =
        |from: &str| gateway.ask(&format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-forwarded-for: {from}\r\n\r\n")).status;
    assert_eq!(["192.0.2.1"; 3].map(ask), [200, 200, 429]);
    assert_eq!(["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(ask), [200, 200, 429]);
    assert_eq!(ask("192.0.2.2"), 200);
}

#[test]
fn it_is_set_by_the_api_and_the_command_line_and_other_changes_forgive_nothing() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start("");
    let url = format!("http://{}", upstream.address);
    gateway.cli(&["deployment", "add", "a", "--upstream", &url, "--host", HOST, "--rate-limit", "1/1h"]);
    let (admin, token) = (gateway.token(&["api"]).text, gateway.token(&["deployment:a"]).text);
    let ask = || gateway.ask(&get(HOST, "/", &token)).status;
    assert_eq!((ask(), ask()), (200, 429));
    let change = |settings: serde_json::Value| {
        let body = json!({ "settings": settings });
        api::ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&body))
    };
    assert_eq!(change(json!({ "idle_timeout_ms": 1000 })).1["settings"]["rate_limit"], json!("1/1h"));
    assert_eq!(ask(), 429);
    assert_eq!(change(json!({ "rate_limit": "5/1m" })).0, 200);
    assert_eq!(ask(), 200);
    assert_eq!(change(json!({ "rate_limit": "0/1m" })).0, 400);
    assert_eq!(change(json!({ "rate_limit": null })).1["settings"]["rate_limit"], json!(null));
    assert_eq!([(); 8].map(|()| ask()), [200; 8]);
}
