//! Peers that are gone without FIN or RST while the other side goes on sending.

use std::{io::Write, thread::sleep, time::Duration};

use socket2::{SockFilter, SockRef};

use crate::harness::{
    Gate, SOON,
    http::get,
    pair::{HOST, Pair},
    upstream::{CHUNKED, Upstream},
    wait_until,
};

/// 25 s of repetitions, and ten between two looks of the gateway.
const GONE: Duration = Duration::from_secs(90);

/// From here on the kernel drops every packet for this socket, as if its machine were off.
fn vanish(socket: SockRef<'_>) {
    // BPF_RET | BPF_K, 0: keeps no byte of any packet.
    socket.attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
}

/// Says something every now and then, whoever listens; at `/floods`, as much as is taken.
fn talkative() -> Upstream {
    Upstream::start(|peer| {
        let Some(request) = peer.request() else { return };
        peer.send(CHUNKED);
        let floods = request.target == "/floods";
        let chunk = if floods { format!("10000\r\n{}\r\n", "x".repeat(65_536)) } else { "2\r\nhi\r\n".to_owned() };
        while peer.try_send(&chunk).is_ok() {
            sleep(Duration::from_millis(if floods { 0 } else { 500 }));
        }
        peer.await_close();
    })
}

#[test]
fn a_caller_that_vanishes_frees_a_service_that_talks() {
    let pair = Pair::new(talkative(), "");
    let mut stays = pair.gateway.connect();
    stays.send(get(HOST, "/stays", &pair.token.text));
    stays.head();
    // Its window is closed all the time, which it says when it is asked.
    let mut slow = pair.gateway.connect();
    slow.send(get(HOST, "/floods", &pair.token.text));
    slow.head();
    let mut gone = pair.gateway.connect();
    gone.send(get(HOST, "/gone", &pair.token.text));
    gone.head();
    vanish(SockRef::from(&gone.stream));
    let ended = || pair.gateway.access_lines().into_iter().filter(|line| line["host"] == HOST).collect::<Vec<_>>();
    wait_until("the exchange ends", GONE, || !ended().is_empty());
    // Those that are there go on.
    assert_eq!(ended().len(), 1, "{:?}", ended());
    let line = pair.gateway.access_line("/gone");
    assert_eq!(line["end"], "timeout");
    assert!(line["cause"].as_str().unwrap().contains("acknowledges nothing"), "{line}");
    pair.upstream.await_closed(1, SOON);
    drop((stays, slow));
}

/// A service towards which a caller goes on talking.
#[test]
fn a_service_that_vanishes_frees_its_caller() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1");
            vanish(SockRef::from(&peer.stream));
            held.pass();
        }
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.post("content-length: 1000000");
    caller.head();
    let gone = || pair.gateway.access_lines().iter().any(|line| line["path"] == "/x");
    wait_until("the exchange ends", GONE, || {
        let _ = caller.stream.write_all(b"x");
        sleep(Duration::from_millis(200));
        gone()
    });
    let line = pair.gateway.access_line("/x");
    assert_eq!(line["end"], "timeout", "{line}");
    gate.open();
}
