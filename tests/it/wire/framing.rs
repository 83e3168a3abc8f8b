//! Where a body ends: codings and lengths.

use super::case::{CHUNKS, Case, Then, answer, deny, forward, leave, post, refuse};

const BODY: (&str, &str, &str) = ("POST", "/x", "x");

pub fn cases() -> Vec<Case> {
    [kinds(), codings(), lengths(), both(), broken_off()].concat()
}

/// One framing, whatever the method: none where there is no body, except with methods that have one as a rule.
fn kinds() -> Vec<Case> {
    let length = |length: &str| format!("content-length: {length}");
    let chunked = || "transfer-encoding: chunked".to_owned();
    let rows = [
        ("GET", String::new(), "", None, ""),
        ("GET", length("0"), "", None, ""),
        ("GET", length("3"), "abc", Some(length("3")), "abc"),
        ("POST", String::new(), "", Some(length("0")), ""),
        ("POST", length("0"), "", Some(length("0")), ""),
        ("POST", length("003"), "abc", Some(length("3")), "abc"),
        ("POST", chunked(), "3\r\nabc\r\n0\r\n\r\n", Some(chunked()), "abc"),
        ("POST", chunked(), "0\r\n\r\n", Some(chunked()), ""),
        ("DELETE", String::new(), "", None, ""),
        ("DELETE", length("1"), "x", Some(length("1")), "x"),
        ("PATCH", String::new(), "", Some(length("0")), ""),
        ("OPTIONS", String::new(), "", None, ""),
        ("QUERY", length("1"), "x", Some(length("1")), "x"),
    ];
    let case = |(method, framing, body, arrives, data): (&str, String, &str, Option<String>, &str)| {
        let request = post(&framing, body).replacen("POST", method, 1);
        let case = forward(&format!("kind: {method} {framing}"), request, (method, "/x", data));
        match arrives {
            Some(framing) => case.with(&framing),
            None => case.without("content-length").without("transfer-encoding"),
        }
    };
    rows.into_iter().map(case).collect()
}

fn codings() -> Vec<Case> {
    let refused_values = [
        ("a coding before", "gzip, chunked"),
        ("a coding after", "chunked, gzip"),
        ("identity", "identity"),
        ("identity before", "identity, chunked"),
        ("gzip alone", "gzip"),
        ("trailers", "trailers"),
        ("twice in a list", "chunked, chunked"),
        ("a comma before", ",chunked"),
        ("a comma after", "chunked,"),
        ("only a comma", ","),
        ("a prefix", "xchunked"),
        ("a suffix", "chunkedx"),
        ("a hyphen", "chunked-"),
        ("a tab within", "chun\tked"),
        ("a space within", "chun ked"),
        ("quotes", "\"chunked\""),
        ("apostrophes", "'chunked'"),
        ("a parameter", "chunked;q=1"),
        ("a semicolon", "chunked;"),
        ("an equals sign", "chunked="),
        ("nothing", ""),
        ("a vertical tab", "\u{b}chunked"),
        ("a form feed", "chunked\u{c}"),
        ("NUL after", "chunked\0"),
        ("NUL before", "\0chunked"),
        ("a bare carriage return before", "\rchunked"),
        ("a bare carriage return after", "chunked\rx"),
        ("a delete character", "chunked\x7f"),
        ("a byte beyond ASCII", "chunked\u{a0}"),
        ("a look-alike", "chun\u{212a}ed"),
        ("a fold before", "\r\n chunked"),
        ("a fold after", "chunked\r\n "),
        ("a fold in a list", "gzip,\r\n chunked"),
        ("a colon", ": chunked"),
        ("a length", "1"),
        ("the name again", "Transfer-Encoding: chunked"),
    ];
    let refused_names = [
        ("a space before the colon", "transfer-encoding : chunked"),
        ("a tab before the colon", "transfer-encoding\t: chunked"),
        ("a space before the name", " transfer-encoding: chunked"),
        ("a NUL in the name", "transfer-encoding\0: chunked"),
        ("a vertical tab before the name", "\u{b}transfer-encoding: chunked"),
        ("no colon", "transfer-encoding chunked"),
        ("an equals sign", "transfer-encoding= chunked"),
        ("a carriage return before the name", "x-a: 1\r\n\rtransfer-encoding: chunked"),
        ("a carriage return for a line's end", "x-a: 1\rtransfer-encoding: chunked"),
        ("a byte beyond ASCII in the name", "transfer-encoding\u{a0}: chunked"),
        ("twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        ("identity and chunked", "transfer-encoding: identity\r\ntransfer-encoding: chunked"),
        ("chunked and identity", "transfer-encoding: chunked\r\ntransfer-encoding: identity"),
        ("chunked and nothing", "transfer-encoding: chunked\r\ntransfer-encoding:"),
        ("nothing and chunked", "transfer-encoding:\r\ntransfer-encoding: chunked"),
        ("in two cases", "Transfer-Encoding: x\r\ntransfer-encoding: chunked"),
        ("a fold of another field", "x-a: 1\r\n transfer-encoding: chunked"),
    ];
    let forwarded_fields = [
        ("plain", "transfer-encoding: chunked"),
        ("capitals in the name", "TRANSFER-ENCODING: chunked"),
        ("capitals in the value", "transfer-encoding: Chunked"),
        ("no space", "transfer-encoding:chunked"),
        ("spaces around", "transfer-encoding:   chunked  "),
        ("tabs around", "transfer-encoding:\tchunked\t"),
        ("a line feed before", "x-a: 1\ntransfer-encoding: chunked"),
    ];
    let refused_values = refused_values.map(|(name, value)| (name, format!("transfer-encoding: {value}")));
    let refused_names = refused_names.map(|(name, line)| (name, line.to_owned()));
    let refused = [&refused_values[..], &refused_names[..]].concat();
    let refused = refused.iter().map(|(name, line)| refuse(400, &format!("coding: {name}"), post(line, CHUNKS)));
    let forwarded = forwarded_fields.map(|(name, line)| forward(&format!("coding: {name}"), post(line, CHUNKS), BODY));
    // No coding to us, so it must be none to a reader that takes an underscore for a hyphen.
    let unlike = ["transfer_encoding: chunked", "x-transfer-encoding: chunked", "transfer.encoding: chunked"]
        .map(|line| forward(line, post(&format!("{line}\r\ncontent-length: 1"), "x"), BODY));
    let old = refused_in_http_1_0();
    refused.chain(forwarded).chain(unlike).chain(old).collect()
}

fn refused_in_http_1_0() -> [Case; 1] {
    let request = post("transfer-encoding: chunked", CHUNKS).replace("HTTP/1.1", "HTTP/1.0");
    [refuse(400, "coding: HTTP/1.0 has none", request)]
}

fn lengths() -> Vec<Case> {
    let refused_values = [
        ("nothing", ""),
        ("a word", "x"),
        ("plus", "+1"),
        ("minus", "-1"),
        ("minus zero", "-0"),
        ("hexadecimal", "0x1"),
        ("a hexadecimal digit", "a"),
        ("a fraction", "1.0"),
        ("an exponent", "1e0"),
        ("a separator", "1_0"),
        ("two words", "1 1"),
        ("a tab within", "1\t1"),
        ("a list", "1, 1"),
        ("a list that differs", "1, 2"),
        ("a comma", "1,"),
        ("a comma before", ",1"),
        ("a semicolon", "1;"),
        ("quotes", "\"1\""),
        ("NUL", "1\0"),
        ("a vertical tab", "\u{b}1"),
        ("digits beyond ASCII", "\u{661}"),
        ("a space beyond ASCII", "1\u{a0}"),
        ("twenty digits", "99999999999999999999"),
        ("one more than fits", "18446744073709551616"),
        ("a fold", "\r\n 1"),
        ("a fold within", "1\r\n 1"),
        ("a bare carriage return", "1\r1"),
        ("the name again", "Content-Length: 1"),
    ];
    let refused_lines = [
        ("two that differ", "content-length: 1\r\ncontent-length: 2"),
        ("the longer one first", "content-length: 2\r\ncontent-length: 1"),
        ("one of two is nothing", "content-length: 1\r\ncontent-length:"),
        ("nothing comes first", "content-length:\r\ncontent-length: 1"),
        ("one of two is no number", "content-length: 1\r\ncontent-length: x"),
        ("two that are written otherwise", "content-length: 1\r\ncontent-length: 0x1"),
        ("a space before the colon", "content-length : 1"),
        ("a space before the name", " content-length: 1"),
        ("NUL in the name", "content-length\0: 1"),
        ("no colon", "content-length 1"),
        ("a bare carriage return before", "x-a: 1\rcontent-length: 1"),
    ];
    let refused_values = refused_values.map(|(name, value)| (name, format!("content-length: {value}")));
    let refused_lines = refused_lines.map(|(name, line)| (name, line.to_owned()));
    let refused = [&refused_values[..], &refused_lines[..]].concat();
    let refused = refused.iter().map(|(name, line)| refuse(400, &format!("length: {name}"), post(line, "x")));
    let forwarded = [
        ("plain", "content-length: 1"),
        ("zeros before", "content-length: 0001"),
        ("many zeros before", "content-length: 00000000000000000000000000000001"),
        ("capitals", "CONTENT-LENGTH: 1"),
        ("spaces around", "content-length:   1  "),
        ("tabs around", "content-length:\t1\t"),
        ("no space", "content-length:1"),
        ("twice the same", "content-length: 1\r\ncontent-length: 1"),
        ("beside one with an underscore", "content-length: 1\r\ncontent_length: 2"),
        ("beside one with a dot", "content-length: 1\r\ncontent.length: 2"),
        ("beside one of another name", "x-content-length: 2\r\ncontent-length: 1"),
    ]
    .map(|(name, line)| forward(&format!("length: {name}"), post(line, "x"), BODY).with("content-length: 1"));
    refused
        .chain(forwarded)
        .chain([
            forward("length: none", post("", ""), ("POST", "/x", "")).with("content-length: 0"),
            forward("length: zero", post("content-length: 0", ""), ("POST", "/x", "")),
            forward("length: one with an underscore alone", post("content_length: 5", ""), ("POST", "/x", "")),
            // The library has a use of its own for this number.
            refuse(431, "length: the most that fits", post("content-length: 18446744073709551615", "x")),
        ])
        .collect()
}

/// The chunks count, and the connection ends (`docs/decisions/0025-what-the-http-library-keeps.md`).
fn both() -> Vec<Case> {
    let refused_lines = [
        ("a bad length first", "content-length: x\r\ntransfer-encoding: chunked"),
        ("lengths that differ first", "content-length: 1\r\ncontent-length: 2\r\ntransfer-encoding: chunked"),
        ("a bad coding", "content-length: 1\r\ntransfer-encoding: xchunked"),
        ("a bad coding first", "transfer-encoding: xchunked\r\ncontent-length: 1"),
        ("identity", "content-length: 1\r\ntransfer-encoding: identity"),
        ("a coding with a blank before the colon", "content-length: 1\r\ntransfer-encoding : chunked"),
        ("a coding with NUL", "content-length: 1\r\ntransfer-encoding: chunked\0"),
        ("a coding in a fold", "content-length: 1\r\nx-a: 1\r\n transfer-encoding: chunked"),
    ];
    let forwarded_lines = [
        ("the length first", "content-length: 1\r\ntransfer-encoding: chunked"),
        ("the coding first", "transfer-encoding: chunked\r\ncontent-length: 1"),
        ("a length of nothing", "content-length: 0\r\ntransfer-encoding: chunked"),
        ("a length beyond the chunks", "content-length: 100\r\ntransfer-encoding: chunked"),
        ("the coding between lengths", "content-length: 100\r\ntransfer-encoding: chunked\r\ncontent-length: 5"),
    ];
    let refused = refused_lines.map(|(name, lines)| refuse(400, &format!("both: {name}"), post(lines, CHUNKS)));
    let forwarded = forwarded_lines.map(|(name, lines)| {
        refuse(200, &format!("both: {name}"), post(lines, CHUNKS))
            .arrives("POST", "/x", "x")
            .with("transfer-encoding: chunked")
    });
    refused.into_iter().chain(forwarded).collect()
}

/// What breaks off is never whole to anybody.
fn broken_off() -> Vec<Case> {
    let bodies = [
        ("within a length", "content-length: 5", "xxx"),
        ("before a length", "content-length: 5", ""),
        ("within a chunk's size", "transfer-encoding: chunked", "1"),
        ("within the end of a size", "transfer-encoding: chunked", "1\r"),
        ("within a chunk", "transfer-encoding: chunked", "5\r\nxx"),
        ("within the largest chunk", "transfer-encoding: chunked", "ffffffffffffffff\r\nxx"),
        ("before the end of a chunk", "transfer-encoding: chunked", "1\r\nx"),
        ("before the last chunk", "transfer-encoding: chunked", "1\r\nx\r\n"),
        ("within the last chunk", "transfer-encoding: chunked", "1\r\nx\r\n0\r\n"),
        ("within the trailers", "transfer-encoding: chunked", "1\r\nx\r\n0\r\nx-a: 1\r\n"),
        ("within the last line's end", "transfer-encoding: chunked", "1\r\nx\r\n0\r\n\r"),
    ];
    let left_bodies =
        bodies.map(|(name, framing, body)| leave(&[400], &format!("broken off: {name}"), post(framing, body)));
    let heads = [
        ("within the request line", "GET /x HT"),
        ("after the request line", "GET /x HTTP/1.1\r\n"),
        ("within a field", "GET /x HTTP/1.1\r\nhost: a.te"),
        ("before the empty line", "GET /x HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer $TOKEN\r\n"),
        ("within the empty line", "GET /x HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer $TOKEN\r\n\r"),
    ];
    let left_heads = heads.map(|(name, head)| leave(&[], &format!("broken off: {name}"), head));
    let unread = [
        deny(401, "unread: no body, so that the connection goes on", "GET /x HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        refuse(401, "unread: a length", "POST /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 500\r\n\r\n"),
        refuse(401, "unread: chunks", "POST /x HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"),
        answer(&[200], "a caller of HTTP/1.0", post("content-length: 1", "x").replace("HTTP/1.1", "HTTP/1.0"))
            .arrives("POST", "/x", "x")
            .then(Then::Closed),
    ];
    left_bodies.into_iter().chain(left_heads).chain(unread).collect()
}
