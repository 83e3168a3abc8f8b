//! Several requests in one go: each is decided by itself, and none begins within another.

use super::case::{CHUNKS, Case, Then, answer, get, line, post};

const STRANGER: &str = "GET /x HTTP/1.1\r\nhost: a.test\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let one = line("GET /1 HTTP/1.1");
    let two = line("GET /2 HTTP/1.1");
    let elsewhere = two.replace("a.test", "b.test");
    let length = post("content-length: 1", "x");
    let chunked = post("transfer-encoding: chunked", CHUNKS);
    let bad = get("x a: 1");
    let dots = line("GET /../x HTTP/1.1");
    let close = get("connection: close");
    let websocket = get("connection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-version: 13");
    let upgrade = get("connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: x");
    vec![
        answer(&[200, 200], "two that pass", [&*one, &two].concat()).arrives("GET", "/1", "").arrives("GET", "/2", ""),
        answer(&[200, 401, 200], "a stranger's between two", [&*one, STRANGER, &two].concat())
            .arrives("GET", "/1", "")
            .arrives("GET", "/2", ""),
        answer(&[401, 200], "a stranger's first", [STRANGER, &one].concat()).arrives("GET", "/1", ""),
        answer(&[200, 401], "a stranger's last", [&*one, STRANGER].concat()).arrives("GET", "/1", ""),
        answer(&[200, 403, 200], "another Deployment's between two", [&*one, &elsewhere, &two].concat())
            .arrives("GET", "/1", "")
            .arrives("GET", "/2", ""),
        answer(&[200, 400, 200], "a bad path between two", [&*one, &dots, &two].concat())
            .arrives("GET", "/1", "")
            .arrives("GET", "/2", ""),
        answer(&[200, 200], "behind a length", [&*length, &two].concat())
            .arrives("POST", "/x", "x")
            .arrives("GET", "/2", ""),
        answer(&[200, 200], "behind chunks", [&*chunked, &two].concat())
            .arrives("POST", "/x", "x")
            .arrives("GET", "/2", ""),
        answer(&[200, 200, 200], "a length between two", [&*one, &length, &two].concat())
            .arrives("GET", "/1", "")
            .arrives("POST", "/x", "x")
            .arrives("GET", "/2", ""),
        answer(&[200, 200, 200], "chunks between two", [&*one, &chunked, &two].concat())
            .arrives("GET", "/1", "")
            .arrives("POST", "/x", "x")
            .arrives("GET", "/2", ""),
        answer(&[200, 200], "empty lines between two", [&*one, "\r\n\r\n", &two].concat())
            .arrives("GET", "/1", "")
            .arrives("GET", "/2", ""),
        answer(&[200, 400], "what is no request behind one", [&*one, &bad, &two].concat())
            .arrives("GET", "/1", "")
            .then(Then::Closed)
            .without("/2"),
        answer(&[200, 400], "bytes behind a length", [&*length, "y\r\n", &two].concat())
            .arrives("POST", "/x", "x")
            .then(Then::Closed)
            .without("/2"),
        answer(&[200, 400], "bytes behind the chunks", [&*chunked, "\0", &two].concat())
            .arrives("POST", "/x", "x")
            .then(Then::Closed)
            .without("/2"),
        answer(&[200], "behind the last", [&*close, &two].concat())
            .arrives("GET", "/x", "")
            .then(Then::Closed)
            .without("/2"),
        answer(&[200, 200], "behind an upgrade that is none", [&*upgrade, &two].concat())
            .arrives("GET", "/x", "")
            .arrives("GET", "/2", ""),
        answer(&[200], "the preface of HTTP/2 behind one", [&*one, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &two].concat())
            .arrives("GET", "/1", "")
            .then(Then::Closed)
            .without("/2"),
        // The upstream answers 200: it has not become a tunnel, and neither has the caller's connection.
        answer(&[200, 200], "behind a WebSocket that is refused", [&*websocket, &two].concat())
            .arrives("GET", "/x", "")
            .upgrades()
            .arrives("GET", "/2", ""),
        answer(
            &[200, 401, 200],
            "a stranger's behind a WebSocket that is refused",
            [&*websocket, STRANGER, &two].concat(),
        )
        .arrives("GET", "/x", "")
        .upgrades()
        .arrives("GET", "/2", ""),
        answer(&[401, 200], "behind a stranger's WebSocket", {
            let websocket = STRANGER.replace("\r\n\r\n", "\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            [&*websocket, &two].concat()
        })
        .arrives("GET", "/2", ""),
        answer(&[200], "behind one of HTTP/1.0", [&*one.replace("HTTP/1.1", "HTTP/1.0"), &two].concat())
            .arrives("GET", "/1", "")
            .then(Then::Closed)
            .without("/2"),
        // The length is that of the text with `$TOKEN`: what is beyond is no request.
        answer(&[401, 400], "a request within a body that is not forwarded", {
            let inner = line("GET /inner HTTP/1.1");
            format!("POST /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{inner}", inner.len())
        })
        .then(Then::Closed)
        .without("/inner"),
        answer(&[200, 414], "a target that is too long behind one", {
            [&*one, &line(&format!("GET /{} HTTP/1.1", "x".repeat(20_000)))].concat()
        })
        .arrives("GET", "/1", "")
        .then(Then::Closed),
        answer(&[200, 414], "a target that the library would not take behind one", {
            [&*one, &line(&format!("GET /{} HTTP/1.1", "x".repeat(8500)))].concat()
        })
        .arrives("GET", "/1", "")
        .then(Then::Closed),
        // Only the library knows where it begins (`docs/decisions/0025-what-the-http-library-keeps.md`).
        answer(&[200, 431], "such a target behind a length", {
            [&*length, &line(&format!("GET /{} HTTP/1.1", "x".repeat(8500)))].concat()
        })
        .arrives("POST", "/x", "x")
        .then(Then::Closed),
        answer(&[200, 414], "such a target behind chunks", {
            [&*chunked, &line(&format!("GET /{} HTTP/1.1", "x".repeat(8500)))].concat()
        })
        .arrives("POST", "/x", "x")
        .then(Then::Closed),
        answer(&[200, 414, 200], "a target a little too long between two", {
            [&*one, &line(&format!("GET /{} HTTP/1.1", "x".repeat(2100))), &two].concat()
        })
        .arrives("GET", "/1", "")
        .arrives("GET", "/2", ""),
    ]
}
