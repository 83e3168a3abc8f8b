//! Control characters in what people write: both stores answer alike, and neither says that anything of ours is broken.

use serde_json::json;

use crate::harness::{
    api::{ask, get, post},
    console::{Browser, csrf},
    gateway::{Gateway, Setup},
    postgres::Cluster,
};

const UNSEEN: [&str; 7] = ["\u{0}", "\u{1}", "\u{b}", "\r", "\u{1b}[2J", "\u{7f}", "\u{85}"];

fn on_both_stores(test: impl Fn(&Gateway)) {
    test(&Gateway::start(""));
    test(&Setup::new("").env("STORE__URL", &Cluster::shared().database_url()).start());
}

#[test]
fn a_text_with_control_characters_is_refused() {
    on_both_stores(|gateway| {
        let admin = gateway.token(&["api"]);
        let token = format!("/api/v1/api_tokens/{}", admin.uid);
        for unseen in UNSEEN {
            let text = format!("a{unseen}b");
            let upstreams = json!(["http://127.0.0.1:1"]);
            for (method, path, body) in [
                ("POST", "/api/v1/api_tokens", json!({ "name": "x", "scopes": ["api"], "description": text })),
                ("POST", "/api/v1/api_tokens", json!({ "name": text, "scopes": ["api"] })),
                ("POST", "/api/v1/api_tokens", json!({ "name": "x", "scopes": [text] })),
                ("PATCH", &*token, json!({ "description": text })),
                ("PATCH", &*token, json!({ "name": text })),
                ("POST", "/api/v1/users", json!({ "name": text, "email": "bob@example.com" })),
                ("POST", "/api/v1/users", json!({ "name": "Bob", "email": format!("{text}@example.com") })),
                ("PATCH", "/api/v1/users/admin@localhost", json!({ "name": text })),
                ("POST", "/api/v2/deployments", json!({ "name": text, "upstreams": upstreams })),
                ("POST", "/api/v2/deployments", json!({ "name": "x", "upstreams": upstreams, "hosts": [text] })),
            ] {
                let (status, answer) = ask(gateway, &admin.text, method, path, Some(&body));
                assert_eq!(status, 400, "{method} {path} {body}: {answer}");
            }
        }
        let (_, answer) = ask(gateway, &admin.text, "PATCH", &token, Some(&json!({ "description": "a\u{0}b" })));
        assert!(answer["error"].as_str().unwrap().contains("the description holds the control character"), "{answer}");
        assert_eq!(get(gateway, &admin.text, &token).1["description"], "", "nothing was changed");
    });
}

#[test]
fn a_description_may_have_lines() {
    on_both_stores(|gateway| {
        let admin = gateway.token(&["api"]).text;
        let body = json!({ "name": "x", "scopes": ["api"], "description": "one\r\ntwo\n\tthree" });
        let (status, made) = post(gateway, &admin, "/api/v1/api_tokens", body);
        assert_eq!((status, &made["description"]), (200, &json!("one\ntwo\n\tthree")), "{made}");
    });
}

#[test]
fn nothing_is_found_by_a_text_with_control_characters() {
    on_both_stores(|gateway| {
        let admin = gateway.token(&["api"]).text;
        let mut ada = Browser::signed_in(gateway, "ada@example.com", true);
        for unseen in UNSEEN {
            let text: String = format!("a{unseen}").bytes().map(|byte| format!("%{byte:02X}")).collect();
            for (path, status) in [
                (format!("/api/v1/api_tokens?search={text}"), 200),
                (format!("/api/v1/api_tokens?owner={text}"), 404),
                (format!("/api/v1/api_tokens/{text}"), 404),
                (format!("/api/v1/users/{text}"), 404),
                (format!("/api/v2/deployments/{text}"), 404),
            ] {
                let (found, answer) = get(gateway, &admin, &path);
                assert_eq!(found, status, "{path}: {answer}");
                assert!(status != 200 || answer["total"] == 0, "{path}: {answer}");
            }
            for (path, status) in [
                (format!("/activity?target={text}&kind={text}&who={text}&before={text}"), 200),
                (format!("/api_tokens?q={text}"), 200),
                (format!("/api_tokens/{text}"), 404),
                (format!("/deployments/{text}"), 404),
            ] {
                assert_eq!(ada.get(&path).status, status, "{path}");
            }
        }
    });
}

#[test]
fn a_form_with_control_characters_is_shown_again() {
    on_both_stores(|gateway| {
        let mut ada = Browser::signed_in(gateway, "ada@example.com", true);
        let form = csrf(&ada.get("/api_tokens/new"));
        let fields = |description: &'static str| {
            let form: &str = &form;
            [("csrf", form), ("name", "x"), ("description", description), ("endpoint", "1"), ("reach", "all")]
        };
        for (description, status) in [("a\u{0}b", 400), ("a\u{1b}b", 400), ("a b", 200)] {
            let page = ada.post("/api_tokens", &fields(description));
            assert_eq!(page.status, status, "{description:?}: {}", page.text());
        }
    });
}
