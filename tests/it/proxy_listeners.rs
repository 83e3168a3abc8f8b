//! The proxy's listeners: none holds places that others need, and one that could not be opened is opened later.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Client, get},
    pair::Pair,
    upstream::Upstream,
    wait_until,
};

fn own(name: &str, upstream: &Upstream, listen: SocketAddr) -> String {
    deployment(name, upstream.address, &format!("protected = false\nlisten = \"{listen}\""))
}

fn answers(address: SocketAddr) -> bool {
    let ask = |mut caller: Client| {
        caller.try_send(get("x.test", "/", "unused").as_bytes()).ok()?;
        caller.try_response(false).ok()
    };
    Client::try_connect(address).ok().and_then(ask).is_some_and(|answer| answer.status == 200)
}

/// Nobody is connected but the one who asks, and there are more listeners than places.
#[test]
fn listeners_that_nobody_uses_hold_no_places() {
    let upstream = Upstream::named("a");
    let addresses = [free_address(), free_address(), free_address(), free_address()];
    let deployments: String =
        addresses.iter().zip(["a", "b", "c", "d"]).map(|(address, name)| own(name, &upstream, *address)).collect();
    let gateway = Gateway::start(&format!("[proxy.limits]\nmax_connections = 2\n{deployments}"));
    for _ in 0..3 {
        // Not in the order in which they were opened, in which places might go around by chance.
        for address in addresses.into_iter().rev() {
            wait_until("it answers", SOON, || answers(address));
        }
        assert_eq!(gateway.ask(&get("a.test", "/", "unused")).text(), "a");
    }
}

#[test]
fn a_listener_whose_address_was_taken_is_opened_when_it_is_free() {
    let upstream = Upstream::named("a");
    let address = free_address();
    let taken = TcpListener::bind(address).unwrap();
    let gateway = Setup::new(&own("a", &upstream, address)).start();
    gateway.await_said(&["own listener could not be opened"]);
    assert_eq!(gateway.ask(&get("a.test", "/", "unused")).text(), "a");
    drop(taken);
    wait_until("it is open", SOON, || answers(address));
}

/// The old Deployment's listener is closed and the new one's opened at once, at the same address.
#[test]
fn a_listener_goes_from_one_deployment_to_another() {
    let (first, second) = (Upstream::named("first"), Upstream::named("second"));
    let address = free_address();
    let gateway = Gateway::start("");
    let listen = address.to_string();
    for (name, other, upstream) in [("a", "b", &first), ("b", "a", &second), ("a", "b", &first)] {
        let _ = gateway.cli_command(&["deployment", "remove", other]).output().unwrap();
        let url = format!("http://{}", upstream.address);
        gateway.cli(&["deployment", "add", name, "--upstream", &url, "--listen", &listen, "--public"]);
        wait_until("the other one answers", SOON, || {
            let ask = |mut caller: Client| {
                caller.try_send(get("x.test", "/", "unused").as_bytes()).ok()?;
                caller.try_response(false).ok()
            };
            let expected = if name == "a" { "first" } else { "second" };
            Client::try_connect(address).ok().and_then(ask).is_some_and(|answer| answer.text() == expected)
        });
    }
}

/// A peer that has gone without a word is found out by the kernel: it has the timer on both connections.
#[test]
fn both_legs_have_tcp_keepalive() {
    let pair = Pair::plain();
    let mut caller = pair.get("/");
    assert_eq!(caller.response(false).status, 200);
    // proc_net(5): local and remote address, state, queues, and `tr`, which is 2 for the keepalive timer.
    let has_timer = |local: u16, remote: Option<u16>| {
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':').unwrap().1, 16).unwrap();
        fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (from, to) = (port(fields[1]), port(fields[2]));
            let here = remote.map_or(to == local, |remote| from == local && to == remote);
            here && fields[3] == "01" && fields[5].starts_with("02:")
        })
    };
    let callers_port = caller.stream.local_addr().unwrap().port();
    wait_until("the caller's leg", SOON, || has_timer(pair.gateway.proxy.port(), Some(callers_port)));
    wait_until("the service's leg", SOON, || has_timer(pair.upstream.address.port(), None));
}
