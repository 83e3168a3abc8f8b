//! How the gateway ends WebSockets: with a close frame to both sides where one may stand, and never within a frame.

use std::{
    net::Shutdown,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    harness::{
        SOON,
        gateway::{Gateway, deployment},
        http::{Client, ReadEnd, request},
        pair::{HOST, Pair},
        upstream::Upstream,
        wait_until,
    },
    proxy_websocket::{authorized, echo},
};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// A service that says `first` and then only listens; what it heard, once the gateway has closed its connection.
fn listener(first: &'static [u8]) -> (Upstream, Arc<Mutex<Vec<u8>>>) {
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let upstream = Upstream::start({
        let heard = Arc::clone(&heard);
        move |peer| {
            if let Some(request) = peer.head() {
                peer.note(&request);
                peer.send([ACCEPTED.as_bytes(), first].concat());
                while peer.fill() {}
                heard.lock().unwrap().extend(&peer.buffer);
            }
        }
    });
    (upstream, heard)
}

fn open(pair: &Pair) -> Client {
    let mut caller = pair.gateway.connect();
    let fields = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"];
    caller.send(request("GET", "/live", HOST, &pair.token.text, &fields, b""));
    assert_eq!(caller.head().status, 101);
    caller
}

/// The code of the close frame that a caller's masked bytes are. RFC 6455 § 5.2.
fn masked_close(frame: &[u8]) -> u16 {
    assert_eq!((frame[0], frame[1]), (0x88, 0x82), "{frame:?}");
    u16::from_be_bytes([frame[6] ^ frame[2], frame[7] ^ frame[3]])
}

#[test]
fn both_sides_of_a_revoked_token_get_a_close_frame() {
    let (upstream, heard) = listener(b"\x81\x02hi");
    let pair = Pair::new(upstream, "");
    let mut caller = open(&pair);
    assert_eq!(caller.exactly(4), Ok(b"\x81\x02hi".to_vec()));
    pair.gateway.revoke(&pair.token);
    // 1008: policy violation (RFC 6455 § 7.4.1).
    assert_eq!(caller.rest(), ([b"\x88\x0f\x03\xf0".as_slice(), b"token_revoked"].concat(), ReadEnd::Closed));
    drop(caller);
    pair.upstream.await_closed(1, SOON);
    wait_until("the service has heard it", SOON, || !heard.lock().unwrap().is_empty());
    assert_eq!(masked_close(&heard.lock().unwrap()), 1001);
    assert_eq!(pair.gateway.access_line("/live")["end"], "token_ended");
}

#[test]
fn an_expired_token_is_a_policy_violation() {
    let upstream = echo();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let end = bento_gateway::system::now().saturating_add(Duration::from_millis(1500));
    let token = gateway.new_token(&["deployment:a"], &["--expires", &end.to_string()]);
    gateway.await_token(&token);
    let mut socket = authorized(&gateway, &token);
    let close = CloseFrame { code: CloseCode::Policy, reason: "token_expired".into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
}

#[test]
fn a_drain_ends_with_going_away() {
    let upstream = echo();
    let config = format!("[proxy]\ndrain_timeout = \"500ms\"\n{}", deployment("a", upstream.address, ""));
    let mut gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:a"]);
    let mut socket = authorized(&gateway, &token);
    socket.send(Message::text("hello")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    gateway.signal("TERM");
    let close = CloseFrame { code: CloseCode::Away, reason: "draining".into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.access_line("/live/echo")["end"], "drained");
}

/// The rest of the frame may never come: what follows would be read as its payload.
#[test]
fn nothing_is_added_within_a_frame() {
    let (upstream, heard) = listener(b"\x82\x05ab");
    let pair = Pair::new(upstream, "");
    let mut caller = open(&pair);
    assert_eq!(caller.exactly(4), Ok(b"\x82\x05ab".to_vec()));
    caller.send(b"\x82\x85\0\0\0\0ab");
    pair.gateway.revoke(&pair.token);
    let (bytes, end) = caller.rest();
    assert_eq!(bytes, b"");
    assert_ne!(end, ReadEnd::TimedOut);
    drop(caller);
    pair.upstream.await_closed(1, SOON);
    wait_until("the service has heard all", SOON, || !heard.lock().unwrap().is_empty());
    assert_eq!(*heard.lock().unwrap(), b"\x82\x85\0\0\0\0ab");
}

/// A WebSocket in one direction is none: the service is free soon, whatever it does. `idle_timeout` is ten minutes.
#[test]
fn a_half_closed_tunnel_ends() {
    // The service does not read the end of its connection, and goes on talking.
    let upstream = Upstream::start(|peer| {
        if let Some(request) = peer.head() {
            peer.note(&request);
            peer.send(ACCEPTED);
            while peer.try_send(b"\x81\x02hi").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
            peer.await_close();
        }
    });
    let pair = Pair::new(upstream, "");
    let caller = open(&pair);
    caller.stream.shutdown(Shutdown::Write).unwrap();
    pair.upstream.await_closed(1, 3 * SOON);
    assert_eq!(pair.gateway.access_line("/live")["end"], "tunnel_closed");
}
