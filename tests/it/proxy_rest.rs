//! What is left of a connection whose caller is silent: its socket, and nothing of it is lost.

use std::{thread::sleep, time::Duration};

use crate::harness::{
    SOON,
    http::{Client, ReadEnd, get},
    pair::{HOST, Pair},
    upstream::Upstream,
};

/// Longer than a connection waits before it rests.
const LONG: Duration = Duration::from_millis(400);

#[test]
fn a_connection_that_rested_goes_on() {
    let pair = Pair::plain();
    let mut caller = pair.gateway.connect();
    let post = |body: &str| format!("{}content-length: {}\r\n\r\n{body}", pair.start("POST /x HTTP/1.1"), body.len());
    for number in 0..3 {
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        sleep(LONG);
        assert_eq!(caller.ask(post(&"x".repeat(number * 100))).status, 200);
        sleep(LONG);
        // Refused, with a body.
        assert_eq!(caller.ask(format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 3\r\n\r\nabc")).status, 401);
        sleep(LONG);
    }
    let bodies: Vec<usize> = pair.upstream.requests().iter().map(|request| request.body.len()).collect();
    assert_eq!(bodies, [0, 0, 0, 100, 0, 200]);
}

/// The beginning of the next request came with the last one.
#[test]
fn what_was_read_before_the_rest_is_read_again() {
    let pair = Pair::plain();
    let mut caller = pair.gateway.connect();
    let next = get(HOST, "/next", &pair.token.text);
    for cut in [1, 30, next.len() - 1] {
        caller.send(format!("{}{}", get(HOST, "/", &pair.token.text), &next[..cut]));
        assert_eq!(caller.response(false).status, 200);
        sleep(LONG);
        caller.send(&next[cut..]);
        assert_eq!(caller.response(false).status, 200, "{cut}");
        assert_eq!(pair.upstream.requests().last().unwrap().target, "/next", "{cut}");
        sleep(LONG);
    }
}

/// A request that was not read to its end has no next one, however long its caller waits.
#[test]
fn behind_an_unread_body_nothing_rests() {
    let pair = Pair::plain();
    let smuggled = get(HOST, "/smuggled", &pair.token.text);
    for head in [
        format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100000\r\n\r\n"),
        format!("POST /x HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n"),
        format!("GET /x HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"),
        format!("GET /x HTTP/1.0\r\nhost: {HOST}\r\n\r\n"),
    ] {
        let mut caller = pair.gateway.connect();
        caller.send(&head);
        assert_eq!(caller.response(false).status, 401);
        sleep(LONG);
        let _ = caller.try_send(smuggled.as_bytes());
        assert!(matches!(caller.rest(), (rest, ReadEnd::Closed | ReadEnd::Reset) if rest.is_empty()), "{head}");
    }
    assert!(pair.upstream.requests().is_empty());
}

#[test]
fn a_rest_ends_with_its_time_and_with_the_gateway() {
    let mut pair = Pair::with(Upstream::named("a"), "[proxy.limits]\nkeep_alive_timeout = \"1s\"", "");
    let rested = |pair: &Pair| {
        let mut caller = pair.gateway.connect();
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        sleep(LONG);
        caller
    };
    assert_eq!(rested(&pair).rest(), (vec![], ReadEnd::Closed));
    let mut caller = rested(&pair);
    pair.gateway.terminate();
    assert_eq!(caller.rest(), (vec![], ReadEnd::Closed));
}

#[test]
fn a_connection_that_rests_holds_little_memory() {
    const CONNECTIONS: usize = 1000;
    const BATCH: usize = 100;
    let pair = Pair::plain();
    let open = |number: usize| -> Vec<Client> {
        let mut callers: Vec<Client> = (0..number).map(|_| pair.gateway.connect()).collect();
        callers.iter_mut().for_each(|caller| assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200));
        callers
    };
    // Some at a time: what is allocated before they rest is there for the next ones.
    let batch = || {
        let callers = open(BATCH);
        sleep(LONG);
        callers
    };
    let _first = batch();
    let before = pair.gateway.memory("VmRSS");
    let mut callers: Vec<Client> = (0..CONNECTIONS / BATCH).flat_map(|_| batch()).collect();
    let each = pair.gateway.memory("VmRSS").saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} bytes for each connection");
    assert!(each < 6144, "{each} bytes for each of {CONNECTIONS} connections that rest");
    callers.iter_mut().for_each(|caller| {
        caller.read_timeout(SOON);
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
    });
}
