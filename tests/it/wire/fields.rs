//! Names and values of fields, and those that concern one connection only.

use super::case::{Case, deny, forward, get, post, refuse};

const SEEN: (&str, &str, &str) = ("GET", "/x", "");

pub fn cases() -> Vec<Case> {
    [names(), values(), folds(), connection(), hop_by_hop(), expect(), limits()].concat()
}

fn names() -> Vec<Case> {
    let refused_lines = [
        ("nothing", ": 1"),
        ("only blanks", " : 1"),
        ("a space within", "x a: 1"),
        ("a space behind", "x-a : 1"),
        ("a tab behind", "x-a\t: 1"),
        ("a space before", " x-a: 1"),
        ("a tab before", "\tx-a: 1"),
        ("no colon", "x-a"),
        ("no colon, but a value", "x-a 1"),
        ("an equals sign", "x-a=1"),
        ("NUL", "x\0a: 1"),
        ("NUL behind", "x-a\0: 1"),
        ("a control character", "x\u{1}a: 1"),
        ("a delete character", "x\u{7f}a: 1"),
        ("a bare carriage return", "x\ra: 1"),
        ("a carriage return before", "\rx-a: 1"),
        ("a byte beyond ASCII", "x\u{e9}a: 1"),
        ("parentheses", "x(a): 1"),
        ("a comma", "x,a: 1"),
        ("a slash", "x/a: 1"),
        ("a semicolon", "x;a: 1"),
        ("brackets", "x[a]: 1"),
        ("braces", "x{a}: 1"),
        ("quotes", "\"x\": 1"),
        ("a backslash", "x\\a: 1"),
        ("an at sign", "x@a: 1"),
        ("a question mark", "x?: 1"),
        ("less than", "<x>: 1"),
        ("a vertical tab", "x\u{b}: 1"),
        ("a request line", "GET /smuggled HTTP/1.1"),
    ];
    let refused = refused_lines.map(|(name, line)| refuse(400, &format!("name: {name}"), get(line)));
    // Which name a server makes of these differs.
    let dropped = [
        "x_a: gone",
        "x.a: gone",
        "x!a: gone",
        "x#a: gone",
        "x$a: gone",
        "x%a: gone",
        "x&a: gone",
        "x'a: gone",
        "x*a: gone",
        "x+a: gone",
        "x^a: gone",
        "x`a: gone",
        "x|a: gone",
        "x~a: gone",
        "_: gone",
        "__x: gone",
        "x-a_: gone",
    ];
    let dropped = dropped.map(|line| forward(&format!("name: {line}"), get(line), SEEN).without("gone"));
    let kept = [("x-a: 1", "x-a: 1"), ("X-A: 1", "x-a: 1"), ("9: 1", "9: 1"), ("-: 1", "-: 1"), ("x--a: 1", "x--a: 1")]
        .map(|(line, seen)| forward(&format!("name: {line}"), get(line), SEEN).with(seen));
    refused.into_iter().chain(dropped).chain(kept).collect()
}

fn values() -> Vec<Case> {
    let refused_values = [
        ("NUL", "a\0b"),
        ("NUL alone", "\0"),
        ("a control character", "a\u{1}b"),
        ("a bell", "\u{7}"),
        ("an escape", "\u{1b}[0m"),
        ("a delete character", "\u{7f}"),
        ("a vertical tab", "a\u{b}b"),
        ("a form feed", "a\u{c}b"),
        ("a bare carriage return", "a\rb"),
        ("a carriage return at the end", "a\r"),
        ("two carriage returns at the end", "a\r\r"),
        ("a carriage return before a field", "a\rx-b: 1"),
        ("a carriage return before a request", "a\r\rGET /smuggled HTTP/1.1\r\rhost: a.test"),
    ];
    let refused =
        refused_values.map(|(name, value)| refuse(400, &format!("value: {name}"), get(&format!("x-a: {value}"))));
    let kept = [
        ("nothing", "x-a:", "x-a: "),
        ("blanks", "x-a: \t ", "x-a: "),
        ("blanks around", "x-a:  1 \t", "x-a: 1"),
        ("blanks within", "x-a: a \t b", "x-a: a \t b"),
        ("a colon", "x-a: b: c", "x-a: b: c"),
        ("two colons", "x-a:: 1", "x-a: : 1"),
        ("quotes", "x-a: \"b", "x-a: \"b"),
        ("a comma", "x-a: ,", "x-a: ,"),
        ("percent-encoded ends of lines", "x-a: %0d%0ax-b: 1", "x-a: %0d%0ax-b: 1"),
        ("escaped ends of lines", "x-a: \\r\\nx-b: 1", "x-a: \\r\\nx-b: 1"),
    ];
    let kept = kept.map(|(name, line, seen)| forward(&format!("value: {name}"), get(line), SEEN).with(seen));
    let feed =
        forward("value: a line feed is the end of it", get("x-a: 1\nx-b: 2"), SEEN).with("x-a: 1").with("x-b: 2");
    let mut bytes = get("x-a: ?").into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'?').unwrap_or_default();
    bytes[at] = 0xff;
    let beyond = forward("value: a byte beyond ASCII", bytes, SEEN).with("x-a: \u{ff}");
    refused.into_iter().chain(kept).chain([feed, beyond]).collect()
}

fn folds() -> Vec<Case> {
    let lines = [
        ("a space", "x-a: 1\r\n 2"),
        ("a tab", "x-a: 1\r\n\t2"),
        ("a blank line", "x-a: 1\r\n \r\nx-b: 2"),
        ("a field", "x-a: 1\r\n x-b: 2"),
        ("a line feed", "x-a: 1\n 2"),
        ("after nothing", "x-a:\r\n 1"),
        ("a credential", "x-a: 1\r\n authorization: Bearer $TOKEN"),
        ("a host", "x-a: 1\r\n host: b.test"),
        ("Connection", "connection:\r\n close"),
        ("two", "x-a: 1\r\n 2\r\n 3"),
        ("a request", "x-a: 1\r\n\r\n GET /smuggled HTTP/1.1"),
    ];
    lines
        .map(|(name, line)| match name {
            // The head has ended before it.
            "a request" => forward("fold: behind the head", get("x-a: 1"), SEEN),
            name => refuse(400, &format!("fold: {name}"), get(line)),
        })
        .into()
}

fn connection() -> Vec<Case> {
    let named = [
        "host",
        "Host",
        "authorization",
        "content-length",
        "transfer-encoding",
        "cookie",
        "content-type",
        "x-forwarded-for",
        "X-Forwarded-Proto",
        "x-forwarded-host",
        "x-request-id",
        "x-bento-gateway-token-uid",
        "x-bento-gateway-deployment",
        "keep-alive, x-forwarded-for",
        "x-real-ip",
        "remote-user",
        "x-a,,x-forwarded-for",
        "x-forwarded-for,",
        "\tx-forwarded-for\t",
    ];
    let denied = named.map(|value| {
        deny(400, &format!("connection: {value}"), get(&format!("connection: {value}"))).code("bad_connection")
    });
    let odd = ["x-for\u{e9}, x-a", "\"x-a\"", "x a", ";", "=", "x-a=1", "x-a;q=1"];
    let odd = odd.map(|value| forward(&format!("connection: {value}"), get(&format!("connection: {value}")), SEEN));
    let taken = [
        ("x-hop", "connection: x-hop\r\nx-hop: gone"),
        ("X-HOP", "connection: X-HOP\r\nx-hop: gone"),
        ("in a list", "connection: keep-alive, x-hop\r\nx-hop: gone"),
        ("without spaces", "connection: keep-alive,x-hop\r\nx-hop: gone"),
        ("in a second field", "connection: keep-alive\r\nconnection: x-hop\r\nx-hop: gone"),
        ("after the field", "x-hop: gone\r\nconnection: x-hop"),
        ("with commas", "connection: ,, x-hop ,\r\nx-hop: gone"),
        ("twice", "connection: x-hop, x-hop\r\nx-hop: gone\r\nx-hop: gone"),
        ("itself", "connection: connection\r\nx-hop: 1"),
    ];
    let taken = taken.map(|(name, lines)| forward(&format!("connection: {name}"), get(lines), SEEN).without("gone"));
    let many = (0..33).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
    let many = super::case::deny(400, "connection: 33 options", get(&format!("connection: {many}")));
    denied.into_iter().chain(odd).chain(taken).chain([many]).collect()
}

fn hop_by_hop() -> Vec<Case> {
    let dropped = [
        "keep-alive: gone",
        "proxy-connection: gone",
        "proxy-authenticate: gone",
        "proxy-authorization: Basic gone",
        "te: gone",
        "te: trailers, gone",
        "te: trailers;q=gone",
        "upgrade: gone",
        "upgrade: websocket",
        "http2-settings: gone",
        "connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: gone",
        "connection: upgrade\r\nupgrade: gone",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: gone",
        "connection: upgrade\r\nupgrade: websocket, gone",
    ];
    let dropped =
        dropped.map(|line| forward(&format!("hop: {line}"), get(line), SEEN).without("gone").without("upgrade"));
    let te = forward("hop: te: trailers", get("te: trailers"), SEEN).with("te: trailers");
    let posted = "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1";
    let upgrade = refuse(400, "hop: an upgrade with a body", post(posted, "x"));
    let head = "connection: upgrade\r\nupgrade: websocket";
    let method = deny(400, "hop: an upgrade of another method", post(head, ""));
    let old = get("connection: upgrade\r\nupgrade: websocket").replace("HTTP/1.1", "HTTP/1.0");
    let old = forward("hop: an upgrade of HTTP/1.0", old, SEEN).without("upgrade").then(super::case::Then::Closed);
    let pickle = [
        deny(415, "a pickled body", get("content-type: application/vnd.bentoml+pickle")),
        deny(415, "a pickled body in capitals", get("content-type: APPLICATION/PICKLE")),
        deny(415, "a second type that is pickled", get("content-type: a/b\r\ncontent-type: x/pickle")),
        deny(415, "a field of a payload", get("payload-container: x")),
        deny(403, "a service worker", get("service-worker: script")),
    ];
    dropped.into_iter().chain([te, upgrade, method, old]).chain(pickle).collect()
}

fn expect() -> Vec<Case> {
    let lines = ["expect: 100-Continue", "expect: gone", "expect:", "expect: 100-continue, gone", "expect: 200-ok"];
    let without_body = lines.map(|line| forward(&format!("expect: {line}"), get(line), SEEN).without("gone"));
    let refused = refuse(
        401,
        "expect: of a stranger",
        "POST /x HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 500\r\n\r\n",
    );
    without_body.into_iter().chain([refused]).collect()
}

fn limits() -> Vec<Case> {
    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: 1")).collect::<Vec<_>>().join("\r\n");
    let large = |length: usize| format!("x-a: {}", "x".repeat(length));
    let long_name = |length: usize| format!("{}: 1", "x".repeat(length));
    vec![
        forward("limit: 40 fields", get(&fields(38)), SEEN).with("x-37: 1"),
        refuse(431, "limit: 41 fields", get(&fields(39))),
        refuse(431, "limit: 200 fields", get(&fields(200))),
        forward("limit: a large value", get(&large(7000)), SEEN),
        refuse(431, "limit: a larger value", get(&large(9000))),
        forward("limit: a long name", get(&long_name(5000)), SEEN),
        refuse(431, "limit: a longer name", get(&long_name(9000))),
    ]
}
