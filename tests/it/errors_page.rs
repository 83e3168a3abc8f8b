//! Each refusal says where it is explained, and there it is, wherever the gateway is called.

use crate::harness::{
    gateway::{Gateway, deployment},
    http::Response,
    upstream::Upstream,
};

/// Without a credential.
fn get(gateway: &Gateway, host: &str, path: &str) -> Response {
    gateway.ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))
}

#[test]
fn the_type_of_a_refusal_leads_to_what_it_means() {
    let upstream = Upstream::named("a");
    let public = deployment("public", upstream.address, "protected = false");
    let config = format!("[proxy]\npath_prefix = true\n{}{public}", deployment("a", upstream.address, ""));
    let gateway = Gateway::start(&config);
    for (host, path, status) in [
        ("a.test", "/", 401),
        ("nobody.test", "/", 401),
        ("a.test", "/a/../b", 400),
        ("192.0.2.1", "/deployments/a/x", 401),
    ] {
        let refused = get(&gateway, host, path);
        assert_eq!(refused.status, status, "{host}{path}");
        let leads = refused.json()["type"].as_str().unwrap().to_owned();
        let (page, code) = leads.split_once('#').unwrap();
        assert_eq!(code, refused.code());
        // Where there is no Deployment, where one is public, and below the path that names one.
        for (host, page) in [
            (host, page.to_owned()),
            ("public.test", page.to_owned()),
            ("nobody.test", page.to_owned()),
            ("192.0.2.1", format!("/deployments/a{page}")),
        ] {
            let explained = get(&gateway, host, &page);
            assert_eq!(explained.status, 200, "{host}{page}");
            assert_eq!(explained.header("content-type"), Some("text/html; charset=utf-8"));
            assert!(explained.text().contains(&format!("id=\"{code}\"")), "{host}{page}");
        }
    }
    assert!(upstream.requests().is_empty());
    let posted =
        gateway.ask("POST /-/errors HTTP/1.1\r\nhost: a.test\r\norigin: http://a.test\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(posted.status, 405);
}
