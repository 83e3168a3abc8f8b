//! Whose an address is: no Deployment of the store takes one that leads to another Deployment, by any of the ways to it.

use serde_json::{Value, json};

use crate::harness::{
    api::{ask, get as look, post},
    commands::CommandLine,
    gateway::{Gateway, Setup, free_address},
    http::get,
    upstream::Upstream,
    wait_until,
};

const PATH: &str = "/api/v2/deployments";

fn config(declared: &Upstream, listen: &str) -> String {
    format!(
        "proxy.base_domain = \"base.test\"\nproxy.public_url = \"http://gateway.test\"\n\
         proxy.default_deployment = \"main\"\nproxy.path_prefix = true\n\
         [deployments.main]\nupstream = \"http://{0}\"\n\
         [deployments.a]\nupstream = \"http://{0}\"\nhosts = [\"a.test\"]\nlisten = \"{listen}\"\n",
        declared.address
    )
}

fn reaches(gateway: &Gateway, host: &str, path: &str, token: &str) -> String {
    gateway.ask(&get(host, path, token)).text()
}

#[test]
fn an_address_of_a_declared_deployment_is_refused_to_stored_ones() {
    let (declared, other) = (Upstream::named("declared"), Upstream::named("other"));
    let listen = free_address();
    let gateway = Gateway::start(&config(&declared, &listen.to_string()));
    let admin = gateway.token(&["api", "deployment:*"]).text;
    let upstreams = json!([format!("http://{}", other.address)]);
    let management = gateway.management.to_string();
    let (own, everywhere) = (listen.to_string(), format!("0.0.0.0:{}", listen.port()));
    let taken: Vec<(Value, &str)> = vec![
        (json!({ "hosts": ["a.test"] }), "the Deployment a"),
        (json!({ "hosts": ["A.Base.Test."] }), "the Deployment a"),
        (json!({ "hosts": ["main.base.test"] }), "the Deployment main"),
        (json!({ "hosts": ["gateway.test"] }), "the gateway"),
        (json!({ "hosts": ["127.0.0.1"] }), "the gateway"),
        (json!({ "listen": own }), "the Deployment a"),
        (json!({ "listen": everywhere }), "the Deployment a"),
        (json!({ "listen": management }), "the gateway"),
    ];
    let (status, body) = post(&gateway, &admin, PATH, json!({ "name": "x", "upstreams": upstreams }));
    assert_eq!(status, 200, "{body}");
    for (extra, owner) in &taken {
        let mut spec = json!({ "name": "y", "upstreams": upstreams });
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let added = post(&gateway, &admin, PATH, spec);
        let changed = ask(&gateway, &admin, "PATCH", &format!("{PATH}/x"), Some(extra));
        for (status, body) in [added, changed] {
            assert_eq!(status, 409, "{extra}: {body}");
            assert!(body["error"].as_str().unwrap().contains(owner), "{extra}: {body}");
        }
    }
    let own = json!({ "hosts": ["x.base.test", "x.test"] });
    let (status, body) = ask(&gateway, &admin, "PATCH", &format!("{PATH}/x"), Some(&own));
    assert_eq!(status, 200, "{body}");
    for host in ["x.base.test", "x.test"] {
        assert_eq!(reaches(&gateway, host, "/", &admin), "other", "{host}");
    }
    // The name under the base domain is a way that a custom host of another one has taken before.
    let body = json!({ "name": "z", "upstreams": upstreams, "hosts": ["later.base.test"] });
    assert_eq!(post(&gateway, &admin, PATH, body).0, 200);
    let (status, body) = post(&gateway, &admin, PATH, json!({ "name": "later", "upstreams": upstreams }));
    assert_eq!(status, 409, "{body}");
    assert!(body["error"].as_str().unwrap().contains("the Deployment z"), "{body}");
}

#[test]
fn what_the_store_has_already_loses_against_a_declaration_and_is_named_in_the_log() {
    let (declared, other) = (Upstream::named("declared"), Upstream::named("other"));
    let gateway = Setup::new("").start();
    let admin = gateway.token(&["api", "deployment:*"]).text;
    let upstreams = json!([format!("http://{}", other.address)]);
    let hosts = json!(["a.test", "a.base.test", "gateway.test", "x.test"]);
    let (status, body) = post(&gateway, &admin, PATH, json!({ "name": "x", "upstreams": upstreams, "hosts": hosts }));
    assert_eq!(status, 200, "{body}");
    assert_eq!(reaches(&gateway, "a.test", "/", &admin), "other");

    gateway.write_config(&config(&declared, &free_address().to_string()));
    let ways = [("a.test", "/"), ("a.base.test", "/"), ("gateway.test", "/"), ("gateway.test", "/deployments/a/")];
    for (host, path) in ways {
        wait_until(host, crate::harness::SOON, || reaches(&gateway, host, path, &admin) == "declared");
    }
    assert_eq!(reaches(&gateway, "x.test", "/", &admin), "other");
    let told = |way: &str| gateway.stderr().iter().filter(|line| line.contains(way)).count();
    for way in ["the host a.test already leads to the Deployment a", "the host gateway.test already leads to"] {
        gateway.await_said(&[way]);
        assert_eq!(told(way), 1, "{way}");
    }
    // Nothing that it has keeps the rest from being changed.
    let change = json!({ "upstreams": upstreams, "protected": false });
    assert_eq!(ask(&gateway, &admin, "PATCH", &format!("{PATH}/x"), Some(&change)).0, 200);
}

#[test]
fn nobody_plants_a_deployment_under_a_name_that_a_gateway_declares() {
    let upstream = Upstream::named("declared");
    let gateway = Gateway::start(&format!("[deployments.a]\nupstream = \"http://{}\"\n", upstream.address));
    // A command line without the gateway's file.
    let commands = CommandLine::new();
    let store = format!("sqlite:{}", gateway.path("gateway.db").display());
    let add = ["deployment", "add", "a", "--upstream", "http://127.0.0.1:1", "--store", &store];
    commands.refused(&add, 4, &["declares the Deployment a", "--was-declared"]);
    commands.json(&[&add[..], &["--was-declared"]].concat());
}

#[test]
fn a_narrow_token_cannot_put_its_own_deployment_in_the_place_of_another() {
    let gateway = Gateway::start("proxy.default_deployment = \"main\"");
    let (narrow, full) = (gateway.token(&["write_cluster"]).text, gateway.token(&["api"]).text);
    let a = json!({ "name": "a", "upstreams": ["http://127.0.0.1:1"] });
    assert_eq!(post(&gateway, &narrow, PATH, a.clone()).0, 200);
    assert_eq!(ask(&gateway, &narrow, "DELETE", &format!("{PATH}/a"), None).0, 200);
    assert_eq!(post(&gateway, &narrow, PATH, a.clone()).0, 403);
    assert_eq!(post(&gateway, &full, PATH, a).0, 200);
    let main = json!({ "name": "main", "upstreams": ["http://127.0.0.1:1"] });
    assert_eq!(post(&gateway, &narrow, PATH, main.clone()).0, 403);
    assert_eq!(post(&gateway, &full, PATH, main).0, 200);
}

/// Callers go on sending to a host that led to a Deployment, so that whoever has it next is chosen with the scope `api`.
#[test]
fn a_narrow_token_cannot_inherit_a_host_that_led_to_another_deployment() {
    let base = "proxy.base_domain = \"base.test\"\n";
    let declared = "[deployments.file]\nupstream = \"http://127.0.0.1:1\"\nhosts = [\"undeclared.base.test\"]\n";
    let gateway = Gateway::start(&format!("{base}{declared}"));
    let (narrow, full) = (gateway.token(&["write_cluster"]).text, gateway.token(&["api"]).text);
    let add = |token: &str, name: &str, hosts: &[&str]| {
        post(&gateway, token, PATH, json!({ "name": name, "upstreams": ["http://127.0.0.1:1"], "hosts": hosts }))
    };
    let path = |name: &str| format!("{PATH}/{name}");
    assert_eq!(add(&full, "a", &["removed.base.test"]).0, 200);
    assert_eq!(add(&full, "b", &["given-up.base.test", "replaced.base.test"]).0, 200);
    assert_eq!(ask(&gateway, &narrow, "DELETE", &path("a"), None).0, 200);
    assert_eq!(add(&full, "a", &[]).0, 200, "its record of before is overwritten");
    let other = json!({ "hosts": ["replaced.base.test"] });
    assert_eq!(ask(&gateway, &narrow, "PATCH", &path("b"), Some(&other)).0, 200);
    assert_eq!(ask(&gateway, &full, "PATCH", &path("b"), Some(&json!({ "hosts": ["b.test"] }))).0, 200);
    gateway.write_config(base);
    wait_until("file is not declared", crate::harness::SOON, || look(&gateway, &full, &path("file")).0 == 404);

    for name in ["removed", "given-up", "replaced", "undeclared"] {
        let (status, body) = add(&narrow, name, &[]);
        assert_eq!(status, 403, "{name}: {body}");
        let sentence = body["error"].as_str().unwrap();
        assert!(sentence.contains("host") && sentence.contains("needs the scope api"), "{sentence}");
        assert_eq!(add(&full, name, &[]).0, 200, "{name}");
    }
    // One that nobody has had is for whoever manages Deployments.
    assert_eq!(add(&narrow, "fresh", &[]).0, 200);
}
