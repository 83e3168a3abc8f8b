//! What the receipt of a change says of the gateways.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    api::{ask, post},
    gateway::Setup,
    postgres::Cluster,
};

#[test]
fn a_receipt_counts_every_replica_and_names_those_that_are_silent() {
    let url = Cluster::shared().database_url();
    let start = || Setup::new("").env("STORE__URL", &url).start();
    let (one, two) = (start(), start());
    let admin = one.token(&["api"]);
    two.await_token(&admin);
    let make =
        |name: &str| post(&one, &admin.text, "/api/v1/api_tokens", json!({ "name": name, "scopes": ["deployment:*"] }));
    let (status, made) = make("first");
    let receipt = &made["receipt"];
    assert_eq!((status, &receipt["replicas"], &receipt["acknowledged"]), (200, &json!(2), &json!(2)), "{made}");
    // It works everywhere at once, and is over everywhere at once.
    let text = made["token"].as_str().unwrap();
    assert_ne!(two.code_of(text), "token_invalid");
    let path = format!("/api/v1/api_tokens/{}", made["uid"].as_str().unwrap());
    let (_, ended) = ask(&one, &admin.text, "DELETE", &path, None);
    assert_eq!(ended["receipt"]["missing"], json!([]), "{ended}");
    assert_eq!(two.code_of(text), "token_revoked");

    two.signal("STOP");
    let (_, made) = make("second");
    let receipt = &made["receipt"];
    assert_eq!((&receipt["replicas"], &receipt["acknowledged"]), (&json!(2), &json!(1)), "{made}");
    assert!(receipt["missing"][0].as_str().unwrap().ends_with(&format!(":{}", two.pid())), "{made}");
    two.signal("CONT");
}

/// One change may wait for it until it counts as silent, and none after that.
#[test]
fn a_gateway_that_was_killed_is_named_and_not_waited_for() {
    let url = Cluster::shared().database_url();
    let start = || Setup::new("").env("STORE__URL", &url).start();
    let (one, mut two) = (start(), start());
    let admin = one.token(&["api"]);
    two.await_token(&admin);
    two.kill();
    let change = |number: usize| {
        let new = json!({ "name": format!("after-{number}"), "scopes": ["deployment:*"] });
        post(&one, &admin.text, "/api/v1/api_tokens", new).1["receipt"].clone()
    };
    let receipts: Vec<_> = (0..10).map(change).collect();
    for receipt in &receipts {
        assert_eq!(
            (&receipt["acknowledged"], receipt["missing"].as_array().unwrap().len()),
            (&json!(1), 1),
            "{receipt}"
        );
    }
    let took = |receipt: &Value| Duration::from_millis(receipt["took_ms"].as_u64().unwrap());
    assert!(took(&receipts[0]) < Duration::from_millis(2500), "{receipts:?}");
    // All of these together, while the gateway would still count as running.
    let rest: Duration = receipts[1..].iter().map(took).sum();
    assert!(rest < Duration::from_millis(1500), "{receipts:?}");
}
