//! Chunks, and the trailers behind them.

use super::case::{Case, forward, line, post, refuse};

const BODY: (&str, &str, &str) = ("POST", "/x", "x");

pub fn cases() -> Vec<Case> {
    [chunk_sizes(), chunk_ends(), trailers()].concat()
}

fn chunked(body: &str) -> String {
    post("transfer-encoding: chunked", body)
}

fn chunk_sizes() -> Vec<Case> {
    let refused_sizes = [
        ("no digits", ""),
        ("no hexadecimal digit", "g"),
        ("plus", "+1"),
        ("minus", "-1"),
        ("a prefix", "0x1"),
        ("a prefix of capitals", "0X1"),
        ("a suffix", "1h"),
        ("a fraction", "1.0"),
        ("a space before", " 1"),
        ("a tab before", "\t1"),
        ("a space within", "0 1"),
        ("an underscore", "0_1"),
        ("a comma", "1,1"),
        ("quotes", "\"1\""),
        ("NUL", "1\0"),
        ("NUL before", "\x001"),
        ("a digit beyond ASCII", "\u{661}"),
        ("seventeen digits", "10000000000000001"),
        ("a vertical tab", "\u{b}1"),
        ("a form feed", "1\u{c}"),
        ("an equals sign", "=1"),
    ];
    let forwarded_sizes = [
        ("plain", "1"),
        ("zeros before", "0001"),
        ("a space after", "1 "),
        ("a tab after", "1\t"),
        ("an extension", "1;a=b"),
        ("an extension without value", "1;a"),
        ("an empty extension", "1;"),
        ("an extension in quotes", "1;a=\"b\""),
        ("an extension after a space", "1 ;a=b"),
        ("many extensions", "1;a=b;c=d;e"),
        ("an extension that looks like a size", "1;5"),
        ("an extension that looks like a coding", "1;transfer-encoding=chunked"),
    ];
    let refused = refused_sizes.map(|(name, size)| {
        let body = chunked(&format!("{size}\r\nx\r\n0\r\n\r\n"));
        refuse(400, &format!("chunk size: {name}"), body).code("bad_body")
    });
    let forwarded = forwarded_sizes.map(|(name, size)| {
        let body = chunked(&format!("{size}\r\nx\r\n0\r\n\r\n"));
        forward(&format!("chunk size: {name}"), body, BODY).without("1;").without("1 \r")
    });
    refused.into_iter().chain(forwarded).collect()
}

fn chunk_ends() -> Vec<Case> {
    let refused_bodies = [
        ("a size ended by a line feed", "1\nx\r\n0\r\n\r\n"),
        ("a size ended by a carriage return", "1\rx\r\n0\r\n\r\n"),
        ("an extension ended by a line feed", "1;a\nx\r\n0\r\n\r\n"),
        ("an extension with a carriage return", "1;a\rb\r\nx\r\n0\r\n\r\n"),
        ("a line feed in quotes", "1;a=\"\n\"\r\nx\r\n0\r\n\r\n"),
        ("data ended by a line feed", "1\r\nx\n0\r\n\r\n"),
        ("data ended by a carriage return", "1\r\nx\r0\r\n\r\n"),
        ("data not ended", "1\r\nx0\r\n\r\n"),
        ("data ended by other bytes", "1\r\nxyz0\r\n\r\n"),
        ("two blanks for the end of data", "1\r\nx  0\r\n\r\n"),
        ("data longer than its size", "1\r\nxy\r\n0\r\n\r\n"),
        ("an empty line before a size", "1\r\nx\r\n\r\n0\r\n\r\n"),
        ("an empty line before the first size", "\r\n1\r\nx\r\n0\r\n\r\n"),
        ("a last chunk ended by a line feed", "1\r\nx\r\n0\n\r\n"),
        ("a minus before the last size", "1\r\nx\r\n-0\r\n\r\n"),
        ("a blank before the last size", "1\r\nx\r\n 0\r\n\r\n"),
        ("a prefix of the last size", "1\r\nx\r\n0x0\r\n\r\n"),
    ];
    let refused =
        refused_bodies.map(|(name, body)| refuse(400, &format!("chunk: {name}"), chunked(body)).code("bad_body"));
    let forwarded = [
        ("several", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        ("many zeros at the end", "1\r\nx\r\n000000\r\n\r\n", "x"),
        ("an extension of the last", "1\r\nx\r\n0;a=b\r\n\r\n", "x"),
        ("nothing at all", "0\r\n\r\n", ""),
        ("an end within the data", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("capitals", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a request within the data", "15\r\nGET /in HTTP/1.1\r\nx: \r\n0\r\n\r\n", "GET /in HTTP/1.1\r\nx: "),
    ]
    .map(|(name, body, data)| forward(&format!("chunk: {name}"), chunked(body), ("POST", "/x", data)));
    refused.into_iter().chain(forwarded).collect()
}

fn trailers() -> Vec<Case> {
    let refused_trailers = [
        ("no colon", "bad"),
        ("a name of nothing", ": x"),
        ("a space in the name", "x a: 1"),
        ("a space before the colon", "x-a : 1"),
        ("a fold", "x-a: 1\r\n x-b: 2"),
        ("NUL", "x-a: \0"),
        ("a bare carriage return", "x-a: 1\rx-b: 2"),
        ("a control character", "x-a: \u{1}"),
    ];
    let dropped = [
        "content-length: 100",
        "transfer-encoding: chunked",
        "transfer_encoding: chunked",
        "host: b.test",
        "authorization: Bearer $TOKEN",
        "cookie: a=b",
        "connection: close",
        "te: trailers",
        "trailer: x-a",
        "content-type: application/pickle",
        "x-forwarded-for: 6.6.6.6",
        "x-bento-gateway-token-uid: x",
        "x-a_b: 1",
        "x-a: $TOKEN",
        "payload-container: x",
        "upgrade: websocket",
        "expect: 100-continue",
    ];
    let with = |trailers: &str| chunked(&format!("1\r\nx\r\n0\r\n{trailers}\r\n\r\n"));
    let refused =
        refused_trailers.map(|(name, line)| refuse(400, &format!("trailer: {name}"), with(line)).code("bad_body"));
    let dropped = dropped.map(|line| {
        let case = forward(&format!("trailer: {line}"), with(line), BODY);
        // The one framing of the whole is the same.
        if line == "transfer-encoding: chunked" { case } else { case.without(line) }
    });
    let kept = forward("trailer: one that passes", with("x-sum: 7"), BODY);
    refused.into_iter().chain(dropped).chain([kept]).chain(line_feeds()).collect()
}

/// To hyper a line feed ends a line of trailers, and only CRLF the trailers. What stands between is dropped, a request too
/// (`docs/decisions/0025-what-the-http-library-keeps.md`).
fn line_feeds() -> [Case; 2] {
    [("alone", "\n"), ("behind a trailer", "x-sum: 7\n\r\n")].map(|(name, end)| {
        let behind = line("GET /smuggled HTTP/1.1");
        let bytes = chunked(&format!("1\r\nx\r\n0\r\n{end}{behind}"));
        forward(&format!("trailer: a line feed {name}"), bytes, BODY).without("/smuggled")
    })
}
