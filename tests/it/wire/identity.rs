//! Fields by which a caller could pretend to be somebody else, and the ways to write their names.

use super::case::{CHUNKS, Case, forward, get, post};

/// Names that a service may believe.
const NAMES: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-forwarded-user",
    "x-forwarded-port",
    "x-forwarded-uri",
    "x-forwarded-email",
    "x-forwarded-access-token",
    "x-authenticated-user",
    "x-consumer-id",
    "yatai-bento-deployment-name",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-remote-user",
    "remote-user",
    "x-auth-request-email",
    "x-original-url",
    "x-rewrite-url",
    "x-user",
    "client-cert",
    "bento-name",
    "runner-name",
    "yatai-x",
    "x-yatai-api-token",
    "x-bento-gateway-token-uid",
    "x-bento-gateway-deployment",
    "x-bento-gateway-x",
];

pub fn cases() -> Vec<Case> {
    NAMES.iter().flat_map(|name| spelled(name)).chain(trailers()).chain(request_ids()).collect()
}

/// The name as it is, as CGI writes it, and as a reader may take it for.
fn spelled(name: &str) -> Vec<Case> {
    let all_capitals = name.to_ascii_uppercase();
    let cgi = name.replace('-', "_");
    let dots = name.replace('-', ".");
    let last = name.rsplit_once('-').map_or(format!("{name}_"), |(start, end)| format!("{start}_{end}"));
    [name.to_owned(), all_capitals, cgi, dots, last]
        .map(|name| forward(&name, get(&format!("{name}: spoof\r\n{name}: spoof")), ("GET", "/x", "")).without("spoof"))
        .into()
}

fn trailers() -> Vec<Case> {
    let trailer = |name: &str| {
        let body = CHUNKS.replace("0\r\n", &format!("0\r\n{name}: spoof\r\n"));
        forward(&format!("trailer: {name}"), post("transfer-encoding: chunked", &body), ("POST", "/x", "x"))
            .without("spoof")
    };
    NAMES.iter().map(|name| trailer(name)).collect()
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
