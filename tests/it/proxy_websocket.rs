//! WebSockets through the gateway: who may open one, what the service sees of it, and how it ends.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use tokio_tungstenite::tungstenite::{
    Message, WebSocket, accept_hdr, client,
    handshake::server::{ErrorResponse, Request as Handshake, Response as Accepted},
    http::{HeaderValue, Request, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Token, deployment},
    http::{ReadEnd, get, request},
    upstream::{Upstream, response},
    wait_until,
};

const HOST: &str = "a.test";

/// A service that echoes messages, and chooses `chat` if it is offered.
pub fn echo() -> Upstream {
    Upstream::start(|peer| {
        let Some(request) = peer.head() else { return };
        peer.note(&request);
        let stream = peer.stream.try_clone().unwrap();
        let replayed = Replayed { head: request.head.clone().into(), at: 0, stream };
        #[expect(clippy::result_large_err, reason = "the library's callback is of this form")]
        let choose = |handshake: &Handshake, mut accepted: Accepted| -> Result<Accepted, ErrorResponse> {
            let offered = handshake.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
            if offered.is_some_and(|offered| offered.split(", ").any(|protocol| protocol == "chat")) {
                accepted.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
            }
            Ok(accepted)
        };
        let Ok(mut socket) = accept_hdr(replayed, choose) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    })
}

/// The head was read already, and is read once more by the WebSocket library.
struct Replayed {
    head: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl Read for Replayed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.head.len() {
            return self.stream.read(buffer);
        }
        let size = buffer.len().min(self.head.len() - self.at);
        buffer[..size].copy_from_slice(&self.head[self.at..self.at + size]);
        self.at += size;
        Ok(size)
    }
}

impl Write for Replayed {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn pair(upstream: &Upstream) -> (Gateway, Token) {
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    (gateway, token)
}

/// `Err`: the status that was answered instead of 101.
fn open(gateway: &Gateway, fields: &[(&str, &str)]) -> Result<(WebSocket<TcpStream>, Option<String>), u16> {
    let stream = TcpStream::connect(gateway.proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = Request::get(format!("ws://{HOST}/live/echo"))
        .header("host", HOST)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    match client(request.body(()).unwrap(), stream) {
        Ok((socket, answer)) => {
            let protocol = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().unwrap().to_owned());
            Ok((socket, protocol))
        }
        Err(tokio_tungstenite::tungstenite::HandshakeError::Failure(tokio_tungstenite::tungstenite::Error::Http(
            answer,
        ))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

pub fn authorized(gateway: &Gateway, token: &Token) -> WebSocket<TcpStream> {
    open(gateway, &[("authorization", &format!("Bearer {}", token.text))]).unwrap().0
}

#[test]
fn messages_of_all_sizes_and_the_close_code_go_both_ways() {
    let upstream = echo();
    let (gateway, token) = pair(&upstream);
    let mut socket = authorized(&gateway, &token);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let message = Message::binary(vec![7u8; size]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message, "{size}");
    }
    let close = CloseFrame { code: CloseCode::Library(4321), reason: "enough".into() };
    socket.close(Some(close.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    drop(socket);
    let line = gateway.access_line("/live/echo");
    assert_eq!((&line["status"], &line["end"]), (&101.into(), &"tunnel_closed".into()));
    assert!(line["bytes_in"].as_u64() > Some(1 << 20) && line["bytes_out"].as_u64() > Some(1 << 20), "{line}");
}

#[test]
fn a_browser_sends_its_token_as_a_protocol_that_the_service_never_sees() {
    let upstream = echo();
    let (gateway, token) = pair(&upstream);
    let offer = |more: &str| format!("bento-gateway, bento-gateway.bearer.{}{more}", token.text);

    let (mut socket, protocol) = open(&gateway, &[("sec-websocket-protocol", &offer(""))]).unwrap();
    assert_eq!(protocol.as_deref(), Some("bento-gateway"));
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));

    let (_socket, protocol) = open(&gateway, &[("sec-websocket-protocol", &offer(", chat"))]).unwrap();
    assert_eq!(protocol.as_deref(), Some("chat"));
    for request in upstream.requests() {
        assert!(!request.head.contains("bgw_") && !request.head.contains("bento-gateway.bearer"), "{}", request.head);
    }
}

#[test]
fn who_is_refused() {
    let upstream = echo();
    let (gateway, token) = pair(&upstream);
    let bearer = format!("Bearer {}", token.text);
    let protocol = format!("bento-gateway, bento-gateway.bearer.{}", token.text);
    let other = gateway.token(&["api"]);
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[], 401),
        (&[("authorization", "Bearer bgw_nonsense")], 401),
        (&[("authorization", &bearer), ("sec-websocket-protocol", &protocol)], 400),
        (&[("authorization", &format!("Bearer {}", other.text))], 403),
        (&[("sec-websocket-protocol", "bento-gateway.bearer.nonsense")], 401),
    ];
    for (fields, expected) in table {
        assert_eq!(open(&gateway, fields).map(drop), Err(*expected), "{fields:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_upgrade_that_is_no_plain_get_is_refused() {
    let upstream = echo();
    let (gateway, token) = pair(&upstream);
    let upgrade = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"];
    for (method, fields, body) in [("POST", "content-length: 0", ""), ("GET", "content-length: 3", "abc")] {
        let fields = [upgrade[0], upgrade[1], upgrade[2], fields];
        let bytes = request(method, "/live/echo", HOST, &token.text, &fields, body.as_bytes());
        let answer = gateway.connect().ask(bytes);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_upgrade"), "{method}");
    }
    assert!(upstream.requests().is_empty());
}

/// Only a 101 makes a tunnel: what comes behind another answer is no part of it, and bytes behind it no request.
#[test]
fn what_is_answered_instead_of_101_is_passed_on_and_nothing_is_tunnelled() {
    let upstream = Upstream::answering(|request| {
        let status = if request.head.starts_with("GET /forbidden") { 403 } else { 200 };
        response(status, &[], b"no")
    });
    let (gateway, token) = pair(&upstream);
    for (path, status) in [("/forbidden", 403), ("/ignored", 200)] {
        let fields = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"];
        let mut caller = gateway.connect();
        let answer = caller.ask(request("GET", path, HOST, &token.text, &fields, b""));
        assert_eq!((answer.status, answer.text().as_str()), (status, "no"));
        // The same connection goes on with ordinary requests.
        assert_eq!(caller.ask(get(HOST, "/next", &token.text)).status, 200);
    }
    assert_eq!(upstream.requests().len(), 4);
}

#[test]
fn another_protocol_is_not_spoken() {
    let upstream = Upstream::named("a");
    let (gateway, token) = pair(&upstream);
    let fields = ["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"];
    let answer = gateway.connect().ask(request("GET", "/", HOST, &token.text, &fields, b""));
    assert_eq!(answer.status, 200);
    let head = upstream.only_request().head.to_ascii_lowercase();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
}

#[test]
fn bytes_right_behind_the_101_are_not_lost() {
    let upstream = Upstream::start(|peer| {
        if let Some(request) = peer.head() {
            peer.note(&request);
            peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nearly");
            peer.await_close();
        }
    });
    let (gateway, token) = pair(&upstream);
    let fields = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"];
    let mut caller = gateway.connect();
    caller.send(request("GET", "/", HOST, &token.text, &fields, b""));
    assert_eq!(caller.head().status, 101);
    assert_eq!(caller.exactly(5), Ok(b"early".to_vec()));
}

/// Endless events, until the gateway leaves.
fn endless() -> Upstream {
    Upstream::start(|peer| {
        if let Some(request) = peer.head() {
            peer.note(&request);
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            peer.send_chunk("first");
            peer.await_close();
        }
    })
}

#[test]
fn a_revoked_token_ends_its_websocket_and_its_stream() {
    let (sockets, streams) = (echo(), endless());
    let both = format!("{}\n{}", deployment("a", sockets.address, ""), deployment("b", streams.address, ""));
    let gateway = Gateway::start(&both);
    let token = gateway.token(&["deployment:*"]);
    let mut socket = authorized(&gateway, &token);
    let mut stream = gateway.connect();
    stream.send(get("b.test", "/stream", &token.text));
    stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");

    gateway.revoke(&token);
    let close = CloseFrame { code: CloseCode::Policy, reason: "token_revoked".into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    let (_, end) = stream.rest();
    assert_ne!(end, ReadEnd::TimedOut);
    streams.await_closed(1, SOON);
    assert_eq!(gateway.access_line("/stream")["end"], "token_ended");
    assert_eq!(gateway.access_line("/live/echo")["end"], "token_ended");
}

#[test]
fn an_expired_token_ends_its_stream() {
    let streams = endless();
    let gateway = Gateway::start(&deployment("b", streams.address, ""));
    let end = bento_gateway::system::now().saturating_add(Duration::from_millis(1500));
    let token = gateway.new_token(&["deployment:b"], &["--expires", &end.to_string()]);
    gateway.await_token(&token);
    let mut stream = gateway.connect();
    stream.send(get("b.test", "/stream", &token.text));
    stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");
    assert_ne!(stream.rest().1, ReadEnd::TimedOut);
    wait_until("it has expired", SOON, || gateway.code_of(&token.text) == "token_expired");
    assert_eq!(gateway.access_line("/stream")["end"], "token_ended");
}
