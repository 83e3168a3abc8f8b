//! Fields by which a caller could pretend to be somebody else, and the ways to write their names.

use std::sync::LazyLock;

use super::case::{CHUNKS, Case, Fields, fields, forward, get, open, part, post, stream};
use crate::harness::pair::HOST;

/// What stands in the list with a `*`, as products send it.
const BY_BEGINNING: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-forwarded-user",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-authenticated-user",
    "x-auth-request-email",
    "x-webauth-user",
    "x-goog-authenticated-user-email",
    "x-ms-client-principal",
    "x-amzn-oidc-data",
    "cf-access-authenticated-user-email",
    "tailscale-user-login",
    "ssl-client-verify",
    "x-remote-user",
    "remote-user",
    "yatai-bento-deployment-name",
    "x-yatai-api-token",
    "x-bento-gateway-token-uid",
    "x-bento-gateway-deployment",
];

/// Fields that may pass, and no trailer of these names: some services take another method or path from them.
const OVERRIDING: [&str; 3] = ["x-http-method-override", "x-method-override", "x-override-url"];

/// The published list.
const DOCUMENT: &str = include_str!("../../../docs/identity-fields.md");

/// What a name of the list is, in lower case, or how it begins: then `true`. Asked of each field that each reader finds.
static PUBLISHED: LazyLock<Vec<(String, bool)>> = LazyLock::new(|| {
    let (_, list) = DOCUMENT.split_once("\n## ").unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'));
    let listed = names.map(|name| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix('*').map(|start| (start.to_owned(), true)).unwrap_or((name, false))
    });
    listed.collect()
});

/// Whether a service believes a field of this name.
pub fn is_claim(name: &str) -> bool {
    PUBLISHED.iter().any(|(listed, begins)| if *begins { name.starts_with(listed) } else { name == listed })
}

/// Names that a service may believe: every one of the list.
fn names() -> Vec<String> {
    let listed = PUBLISHED.iter().map(|(name, begins)| if *begins { format!("{name}anything") } else { name.clone() });
    let names: Vec<_> = listed.chain(BY_BEGINNING.iter().map(|&name| name.to_owned())).collect();
    assert!(names.len() > 100 && BY_BEGINNING.iter().all(|name| is_claim(name)), "{names:?}");
    names
}

pub fn cases() -> Vec<Case> {
    let names = names();
    let trailers = names.iter().map(String::as_str).chain(OVERRIDING).map(trailer);
    names.iter().flat_map(|name| spelled(name)).chain(trailers).chain(request_ids()).collect()
}

/// The same in HTTP/2.
pub fn cases_of_http2() -> Vec<Case> {
    let names = names();
    let trailers = names.iter().map(String::as_str).chain(OVERRIDING).map(trailer_of_http2);
    names.iter().flat_map(|name| spelled_in_http2(name)).chain(trailers).collect()
}

/// The name as CGI writes it, and as a reader may take it for.
fn misspelled(name: &str) -> [String; 3] {
    let last = name.rsplit_once('-').map_or(format!("{name}_"), |(start, end)| format!("{start}_{end}"));
    [name.replace('-', "_"), name.replace('-', "."), last]
}

fn spelled(name: &str) -> Vec<Case> {
    let names = [name.to_owned(), name.to_ascii_uppercase()].into_iter().chain(misspelled(name));
    names
        .map(|name| forward(&name, get(&format!("{name}: spoof\r\n{name}: spoof")), ("GET", "/x", "")).without("spoof"))
        .collect()
}

fn trailer(name: &str) -> Case {
    let body = CHUNKS.replace("0\r\n", &format!("0\r\n{name}: spoof\r\n"));
    forward(&format!("trailer: {name}"), post("transfer-encoding: chunked", &body), ("POST", "/x", "x"))
        .without("spoof")
}

fn fields_of_http2<'a>(method: &'a str, more: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    let request = [(":method", method), (":scheme", "http"), (":authority", HOST), (":path", "/x")];
    [&request[..], &[("authorization", "Bearer $TOKEN")], more].concat()
}

fn spelled_in_http2(name: &str) -> Vec<Case> {
    let names = [name.to_owned()].into_iter().chain(misspelled(name));
    names
        .map(|name| {
            let sent = fields(&fields_of_http2("GET", &[(&name, "spoof"), (&name, "spoof")]));
            stream(200, &format!("HTTP/2: {name}"), &[sent]).arrives("GET", "/x", "").without("spoof")
        })
        .collect()
}

fn trailer_of_http2(name: &str) -> Case {
    let frames = [open(&fields_of_http2("POST", &[])), part("x"), fields(&[(name, "spoof")])];
    stream(200, &format!("HTTP/2: trailer: {name}"), &frames).arrives("POST", "/x", "x").without("spoof")
}

fn request_ids() -> Vec<Case> {
    let seen = ("GET", "/x", "");
    let kept = forward("x-request-id", get("x-request-id: a-1"), seen).with("x-request-id: a-1");
    let replaced = ["spoof spoof", "spoof\u{e9}", "<spoof>", "spoof\r\nx-request-id: spoof", "spoof,spoof"];
    let replaced = replaced.map(|id| {
        forward(&format!("x-request-id: {id:?}"), get(&format!("x-request-id: {id}")), seen).without("spoof")
    });
    [kept].into_iter().chain(replaced).collect()
}
