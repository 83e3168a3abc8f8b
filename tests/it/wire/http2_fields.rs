//! Fields of HTTP/2 requests, which become lines of HTTP/1.1.

use super::case::{Case, Fields, Frame, data, ended, fields, open, reset, stream};

const FIELDS: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/x"),
    ("authorization", "Bearer $TOKEN"),
];

pub fn cases() -> Vec<Case> {
    [names(), values(), connection(), credentials(), cookies(), sizes()].concat()
}

fn get(list: Fields<'_>) -> [Frame; 1] {
    [fields(&[&FIELDS, list].concat())]
}

/// Without a token.
fn stranger(list: Fields<'_>) -> [Frame; 1] {
    [fields(&[&FIELDS[..4], list].concat())]
}

fn forward(name: &str, list: Fields<'_>) -> Case {
    stream(200, name, &get(list)).arrives("GET", "/x", "")
}

fn names() -> Vec<Case> {
    let resets = [
        "",
        " ",
        "X-A",
        "x-A",
        "x a",
        " x-a",
        "x-a ",
        "x-a:",
        "x:a",
        "x\r\ny",
        "x\ny",
        "x\ry",
        "x\0",
        "x\ty",
        "x\u{1}",
        "x\u{7f}",
        "x\u{e9}",
        "(x)",
        "x,y",
        "x/y",
        "x;y",
        "x=y",
        "x@y",
        "x[y]",
        "x\\y",
        "x{y}",
        "x?y",
        "<x>",
        "x: 1\r\ny",
        "GET /smuggled HTTP/1.1\r\nhost",
    ];
    let resets = resets.map(|name| ended(&format!("name: {name:?}"), &get(&[(name, "1")])));
    let dropped = ["x_a", "x.a", "\"x\"", "x!a", "x|a", "x~a", "_"]
        .map(|name| forward(&format!("name: {name}"), &[(name, "gone")]).without("gone"));
    let kept = ["x-a", "9", "-", "x--a"]
        .map(|name| forward(&format!("name: {name}"), &[(name, "1")]).with(&format!("{name}: 1")));
    resets.into_iter().chain(dropped).chain(kept).collect()
}

fn values() -> Vec<Case> {
    let resets = [
        "1\r\nx-b: 2",
        "1\nx-b: 2",
        "1\rx-b: 2",
        "\r\n",
        "\n",
        "\r",
        "\0",
        "a\0b",
        "1\r\n\r\nGET /smuggled HTTP/1.1",
        "\u{1}",
        "\u{7f}",
        "a\u{b}b",
        "1\r\n 2",
    ];
    let resets = resets.map(|value| ended(&format!("value: {value:?}"), &get(&[("x-a", value)])));
    let kept = ["", "1", "a b", "a\tb", ":", "\"", "%0d%0a", "\\r\\n"]
        .map(|value| forward(&format!("value: {value:?}"), &[("x-a", value)]).with(&format!("x-a: {value}")));
    let beyond = forward("value: beyond ASCII", &[("x-a", "\u{e9}")]).with("x-a: \u{c3}\u{a9}");
    resets.into_iter().chain(kept).chain([beyond]).collect()
}

/// RFC 9113 § 8.2.2.
fn connection() -> Vec<Case> {
    let resets = [
        ("connection", "close"),
        ("connection", "x-a"),
        ("connection", ""),
        ("proxy-connection", "close"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", "chunked"),
        ("te", ""),
    ];
    let resets = resets.map(|(name, value)| reset(&format!("connection: {name}: {value}"), &get(&[(name, value)])));
    let te = forward("connection: te: trailers", &[("te", "trailers")]).with("te: trailers");
    let dropped = [
        ("http2-settings", "gone"),
        ("proxy-authorization", "Basic gone"),
        ("proxy-authenticate", "gone"),
        ("expect", "100-continue"),
        ("expect", "gone"),
        ("transfer_encoding", "gone"),
        ("content_length", "gone"),
    ];
    let dropped = dropped.map(|(name, value)| {
        forward(&format!("connection: {name}: {value}"), &[(name, value)]).without(&format!(": {value}"))
    });
    resets.into_iter().chain([te]).chain(dropped).collect()
}

fn credentials() -> Vec<Case> {
    let bearer = "Bearer $TOKEN";
    let denied: [(u16, &str, Fields<'_>); 9] = [
        (401, "none", &[]),
        (400, "another scheme", &[("authorization", "Basic Yjp4")]),
        (400, "a tab", &[("authorization", "Bearer\t$TOKEN")]),
        (400, "two words", &[("authorization", "Bearer $TOKEN x")]),
        (400, "a list", &[("authorization", "Bearer $TOKEN, Bearer $TOKEN")]),
        (400, "two", &[("authorization", bearer), ("authorization", bearer)]),
        (400, "one and nothing", &[("authorization", bearer), ("authorization", "")]),
        (401, "in a cookie", &[("cookie", "token=$TOKEN")]),
        (401, "in another field", &[("proxy-authorization", bearer)]),
    ];
    let denied = denied.map(|(status, name, list)| stream(status, &format!("credential: {name}"), &stranger(list)));
    let start = open(&[(":method", "POST"), FIELDS[1], FIELDS[2], FIELDS[3]]);
    let trailer = stream(401, "credential: in a trailer", &[start.clone(), fields(&[("authorization", bearer)])]);
    let body = stream(401, "credential: in a body", &[start, data("token=$TOKEN")]);
    denied.into_iter().chain([trailer, body]).collect()
}

/// RFC 9113 § 8.2.3.
fn cookies() -> Vec<Case> {
    vec![
        forward("cookies: one", &[("cookie", "a=1; b=2")]).with("cookie: a=1; b=2"),
        forward("cookies: crumbs", &[("cookie", "a=1"), ("cookie", "b=2")]).with("cookie: a=1; b=2"),
        forward("cookies: an empty crumb", &[("cookie", "a=1"), ("cookie", ""), ("cookie", "b=2")])
            .with("cookie: a=1; b=2"),
        forward("cookies: a crumb apart", &[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2")])
            .with("cookie: a=1; b=2"),
        forward("cookies: a token in a crumb", &[("cookie", "a=$TOKEN"), ("cookie", "b=2")]).with("cookie: b=2"),
        forward("cookies: only a token", &[("cookie", "a=$TOKEN")]).without("cookie"),
        forward("cookies: fifty", &[("cookie", "a=1"); 50]),
        ended("cookies: the end of a line", &get(&[("cookie", "a=1\r\nx-b: 1")])),
    ]
}

fn sizes() -> Vec<Case> {
    let large = "x".repeat(7000);
    let larger = "x".repeat(9000);
    let largest = "x".repeat(17_000);
    vec![
        forward("size: 40 fields", &[("x-a", "1"); 39]),
        stream(431, "size: 41 fields", &get(&[("x-a", "1"); 41])),
        stream(431, "size: 300 fields", &get(&[("x-a", "1"); 300])),
        forward("size: a large value", &[("x-a", &large)]),
        stream(431, "size: a larger value", &get(&[("x-a", &larger)])),
        stream(431, "size: a header that the library does not keep", &get(&[("x-a", &largest)])),
        stream(431, "size: many fields that the library does not keep", &get(&[("x-a", "1"); 500])),
    ]
}
