//! Connections from callers, below any request: slow readers, first bytes that say little, and protocols that are not HTTP.

use std::{fs, net::TcpStream, path::PathBuf, thread::sleep, time::Duration};

use socket2::{Domain, Socket, Type};

use crate::harness::{
    SOON,
    gateway::{Gateway, deployment},
    http::{Client, ReadEnd, get},
    pair::{HOST, Pair},
    upstream::{Upstream, response},
    wait_until,
};

/// More than the kernel takes for [`slow`], and less than hyper buffers.
const LARGE: usize = 200_000;

fn large() -> Upstream {
    Upstream::answering(|_| response(200, &[], &[b'x'; LARGE]))
}

/// A caller for whom the kernel keeps little: small segments and a small buffer, so that the rest stays in the gateway.
fn slow(gateway: &Gateway) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&gateway.proxy.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    Client::on(stream)
}

#[test]
fn a_slow_reader_gets_the_whole_response() {
    let limits = "[proxy.limits]\nkeep_alive_timeout = \"1s\"";
    let pair = Pair::with(large(), limits, "");
    let mut caller = slow(&pair.gateway);
    caller.send(get(HOST, "/large", &pair.token.text));
    let head = caller.head();
    // hyper has had all of it for long, and has written a part.
    sleep(Duration::from_millis(2500));
    assert!(pair.gateway.access_lines().iter().all(|line| line["path"] != "/large"), "it has not ended");
    assert_eq!(caller.body(&head).map(|body| body.len()), Ok(LARGE));
    assert_eq!(pair.gateway.access_line("/large")["end"], "complete");
    // Only now it is idle.
    assert_eq!(caller.rest(), (vec![], ReadEnd::Closed));
}

#[test]
fn a_response_that_did_not_arrive_is_not_complete() {
    let pair = Pair::with(large(), "", "idle_timeout = \"1s\"");
    let mut reads_nothing = slow(&pair.gateway);
    reads_nothing.send(get(HOST, "/never-read", &pair.token.text));
    let mut leaves = slow(&pair.gateway);
    leaves.send(get(HOST, "/left", &pair.token.text));
    leaves.head();
    drop(leaves);
    assert_eq!(pair.gateway.access_line("/left")["end"], "caller_left");
    let line = pair.gateway.access_line("/never-read");
    assert_eq!(line["end"], "timeout");
    assert_eq!(line["cause"], "the caller took nothing of the response (idle timeout)");
}

/// How often a thread of the gateway has gone to sleep so far.
fn sleeps(gateway: &Gateway, thread: &str) -> u64 {
    let mut tasks = fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap().map(|task| task.unwrap().path());
    let named = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread);
    let status = fs::read_to_string(tasks.find(named).unwrap().join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// The bytes could become the preface of HTTP/2, so that the gateway waits for more: it must sleep meanwhile.
#[test]
fn a_connection_that_says_little_costs_little() {
    let gateway = Gateway::start("");
    let callers: Vec<Client> = (0..20)
        .map(|_| {
            let mut caller = gateway.connect();
            caller.send("P");
            caller
        })
        .collect();
    sleep(Duration::from_millis(500));
    let before = sleeps(&gateway, "proxy-0");
    sleep(Duration::from_secs(2));
    let sleeps = sleeps(&gateway, "proxy-0") - before;
    // The deadline sweep wakes the worker 40 times. Looking at the connections every 5 ms woke it 400 times.
    assert!(sleeps < 150, "{sleeps}");
    drop(callers);
}

#[test]
fn first_bytes_may_come_one_by_one() {
    let pair = Pair::plain();
    for method in ["PUT", "PROPFIND", "PATCH"] {
        let mut caller = pair.gateway.connect();
        for byte in format!("{method} / HTTP/1.1\r\nhost: {HOST}\r\n").bytes() {
            caller.send([byte]);
        }
        caller.send(format!("authorization: Bearer {}\r\n\r\n", pair.token.text));
        assert_eq!(caller.response(false).text(), "a", "{method}");
    }
}

#[test]
fn the_proxy_protocol_is_refused_by_name() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, "protected = false"));
    let version_2 =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[127, 0, 0, 1, 127, 0, 0, 1, 0, 80, 0, 80]].concat();
    for preface in [b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), version_2] {
        let mut caller = gateway.connect();
        caller.send([&preface[..], get(HOST, "/", "unused").as_bytes()].concat());
        let answer = caller.response(false);
        assert_eq!((answer.status, answer.code().as_str()), (400, "proxy_protocol"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert!(upstream.requests().is_empty());
    wait_until("the log names it", SOON, || {
        let lines = gateway.stderr();
        let said = |version: &str| lines.iter().any(|line| line.contains("PROXY protocol") && line.contains(version));
        said("\"version\":1") && said("\"version\":2")
    });
    wait_until("both are in the request log", SOON, || {
        gateway.access_lines().iter().filter(|line| line["reason"] == "proxy_protocol").count() == 2
    });
}
