//! Connections to upstreams and from callers: used again, chosen, given up, and limited.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::harness::{
    Gate, SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Client, ReadEnd, get, request},
    metrics::scrape,
    pair::{HOST, Pair},
    upstream::{Upstream, black_hole, response},
    wait_until,
};

#[test]
fn connections_to_an_upstream_are_used_again() {
    let pair = Pair::new(Upstream::named("a"), "");
    // From one caller, and from several one after the other.
    let mut caller = pair.gateway.connect();
    for _ in 0..5 {
        assert_eq!(caller.ask(get(HOST, "/", &pair.token.text)).status, 200);
        assert_eq!(pair.gateway.ask(&get(HOST, "/", &pair.token.text)).status, 200);
    }
    assert_eq!(pair.upstream.connections(), 1);
}

#[test]
fn idle_connections_are_let_go_before_the_upstream_does_it() {
    let upstream = Upstream::start(|peer| {
        while peer.request().is_some() {
            peer.send(response(200, &[], b"a"));
        }
    });
    let pair = Pair::with(upstream, "[proxy]\nupstream_keep_alive = \"300ms\"", "");
    assert_eq!(pair.gateway.ask(&get(HOST, "/", &pair.token.text)).status, 200);
    pair.upstream.await_closed(1, SOON);
}

/// uvicorn closes idle connections when it likes. No request may fail for it, whatever its method.
#[test]
fn an_idle_connection_that_the_upstream_closed_fails_no_request() {
    let upstream = Upstream::start(|peer| {
        peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while peer.request().is_some() {
            peer.send(response(200, &[], b"a"));
        }
        peer.close();
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.gateway.connect();
    let mut closed = 0;
    for round in 1..=2 {
        for method in ["GET", "POST"] {
            let body = request(method, "/", HOST, &pair.token.text, &["content-length: 3"], b"abc");
            let answer = caller.ask(body);
            assert_eq!(answer.status, 200, "{method} {round}: {}", answer.text());
            closed += 1;
            pair.upstream.await_closed(closed, SOON);
        }
    }
    assert_eq!(pair.upstream.connections(), 4);
}

/// The upstream closes, in order or by a reset, just when the next request is on its way. What it may have seen is sent
/// again only if doing it twice does no harm; nothing is done twice that may not be.
#[test]
fn a_request_that_meets_the_end_of_its_connection_is_done_once_or_refused() {
    const ROUNDS: u64 = 300;
    let upstream = Upstream::start(|peer| {
        let mut rounds = 0;
        while peer.request().is_some() {
            peer.send(response(200, &[], b"a"));
            // The clock of the kernel's own timeouts is too coarse.
            let idle = Instant::now() + Duration::from_micros(300 + 50 * ((peer.number + rounds) as u64 % 20));
            peer.stream.set_nonblocking(true).unwrap();
            while peer.stream.peek(&mut [0]).is_err() && Instant::now() < idle {}
            let silent = peer.stream.peek(&mut [0]).is_err();
            peer.stream.set_nonblocking(false).unwrap();
            if silent {
                break;
            }
            rounds += 1;
        }
        if peer.number.is_multiple_of(2) {
            SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    let pair = Pair::new(upstream, "");
    let mut caller = pair.gateway.connect();
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        thread::sleep(Duration::from_micros(50 * (round % 20)));
        let (method, path) = (if round % 3 == 0 { "GET" } else { "POST" }, format!("/{round}"));
        let (fields, body): (&[&str], &[u8]) =
            if method == "GET" { (&[], b"") } else { (&["content-length: 3"], b"abc") };
        let answer = caller.ask(request(method, &path, HOST, &pair.token.text, fields, body));
        match (answer.status, answer.code().as_str()) {
            (200, _) => done.push(path),
            (502, "upstream_closed") if method == "POST" => {
                refused.push(path);
                caller = pair.gateway.connect();
            }
            other => panic!("{method} {path}: {other:?}"),
        }
    }
    let seen = pair.upstream.requests();
    let times = |path: &String| seen.iter().filter(|request| request.target == *path).count();
    assert!(refused.iter().all(|path| times(path) <= 1), "{refused:?}");
    assert!(done.iter().all(|path| times(path) >= 1));
    for request in seen.iter().filter(|request| request.method == "POST") {
        assert_eq!((times(&request.target), request.body.as_slice()), (1, b"abc".as_slice()), "{}", request.target);
    }
    assert!(pair.upstream.connections() > 10, "the upstream closed nothing, so that nothing is shown");
}

#[test]
fn a_dead_upstream_is_a_502_until_it_is_up() {
    let address = free_address();
    let gateway = Gateway::start(&deployment("a", address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    for _ in 0..2 {
        let answer = caller.ask(get(HOST, "/", &token));
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    }
    let upstream = Upstream::start_at(address, |peer| {
        while peer.request().is_some() {
            peer.send(response(200, &[], b"up"));
        }
    });
    assert_eq!(caller.ask(get(HOST, "/", &token)).text(), "up");
    drop(upstream);
}

#[test]
fn a_second_upstream_is_used_if_the_first_refuses() {
    let (dead, alive) = (free_address(), Upstream::named("alive"));
    let urls = format!("upstreams = [\"http://{dead}\", \"http://{}\"]\nhosts = [\"{HOST}\"]", alive.address);
    let gateway = Gateway::start(&format!("[deployments.a]\n{urls}\n"));
    let token = gateway.token(&["deployment:a"]).text;
    for method in ["GET", "POST", "POST"] {
        let body = request(method, "/", HOST, &token, &["content-length: 3"], b"abc");
        assert_eq!(gateway.connect().ask(body).text(), "alive");
    }
    assert!(alive.requests().iter().all(|request| request.body == b"abc"));
}

/// An upstream that drops packets is always the least loaded. It must not be waited for again and again.
#[test]
fn an_upstream_that_hangs_while_connecting_delays_hardly_anybody() {
    let ((dead, held), alive) = (black_hole(), Upstream::named("alive"));
    // Longer than the whole test may take: nobody waits for it even once.
    let urls = format!("upstreams = [\"http://{dead}\", \"http://{}\"]", alive.address);
    let config = format!("[deployments.a]\n{urls}\nhosts = [\"{HOST}\"]\nconnect_timeout = \"60s\"\n");
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:a"]).text;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(gateway.ask(&get(HOST, "/", &token)).text(), "alive");
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    const WARNING: &str = "takes no connection; it is tried last";
    gateway.await_said(&[WARNING]);
    assert_eq!(gateway.stderr().iter().filter(|line| line.contains(WARNING)).count(), 1);
    // It comes to life, and is found out by a probe.
    drop(held);
    let revived = Upstream::start_at(dead, |peer| {
        while peer.request().is_some() {
            peer.send(response(200, &[], b"revived"));
        }
    });
    wait_until("the other is used, too", SOON, || gateway.ask(&get(HOST, "/", &token)).text() == "revived");
    drop(revived);
}

#[test]
fn the_less_loaded_upstream_is_chosen() {
    let gate = Gate::default();
    let slow = || {
        let gate = gate.clone();
        Upstream::start(move |peer| {
            while peer.request().is_some() {
                gate.pass();
                peer.send(response(200, &[], b"ok"));
            }
        })
    };
    let (one, two) = (slow(), slow());
    let urls = format!("upstreams = [\"http://{}\", \"http://{}\"]\nhosts = [\"{HOST}\"]", one.address, two.address);
    let gateway = Gateway::start(&format!("[deployments.a]\n{urls}\n"));
    let token = gateway.token(&["deployment:a"]).text;
    thread::scope(|scope| {
        for asked in 1..=4 {
            scope.spawn(|| assert_eq!(gateway.ask(&get(HOST, "/", &token)).status, 200));
            wait_until("it is at an upstream", SOON, || one.requests().len() + two.requests().len() == asked);
        }
        gate.open();
    });
    assert_eq!((one.requests().len(), two.requests().len()), (2, 2));
}

/// In the file by a table, elsewhere in the text of the URL; the metrics have it.
#[test]
fn a_weight_is_a_share_and_a_drained_upstream_has_none() {
    let (stable, canary, drained) = (Upstream::named("stable"), Upstream::named("canary"), Upstream::named("drained"));
    let config = |weight: &str| {
        format!(
            "[deployments.a]\nhosts = [\"{HOST}\"]\nupstreams = [{{ url = \"http://{}\", weight = 9 }}, \
             \"http://{}\", \"http://{}#weight={weight}\"]\n",
            stable.address, canary.address, drained.address
        )
    };
    let gateway = Gateway::start(&config("0"));
    let token = gateway.token(&["deployment:a"]).text;
    let mut caller = gateway.connect();
    for _ in 0..40 {
        assert_eq!(caller.ask(get(HOST, "/", &token)).status, 200);
    }
    let seen = || [&stable, &canary, &drained].map(|upstream| upstream.requests().len());
    assert_eq!(seen(), [36, 4, 0]);
    let scrape = scrape(&gateway);
    for (upstream, weight) in [(&stable, 9.0), (&canary, 1.0), (&drained, 0.0)] {
        let label = format!("upstream=\"http://{}\"", upstream.address);
        assert_eq!(scrape.sum("bento_gateway_upstream_weight", &[&label]), weight);
    }
    gateway.write_config(&config("10"));
    wait_until("the other takes requests again", SOON, || {
        assert_eq!(caller.ask(get(HOST, "/", &token)).status, 200);
        !drained.requests().is_empty()
    });
}

#[test]
fn a_drained_upstream_gets_nothing_if_the_others_are_down() {
    let (dead, drained) = (free_address(), Upstream::named("drained"));
    let urls =
        format!("upstreams = [\"http://{dead}\", \"http://{}#weight=0\"]\nhosts = [\"{HOST}\"]", drained.address);
    let gateway = Gateway::start(&format!("[deployments.a]\n{urls}\n"));
    let token = gateway.token(&["deployment:a"]).text;
    assert_eq!(gateway.ask(&get(HOST, "/", &token)).code(), "upstream_unreachable");
    assert_eq!(drained.connections(), 0);
    for upstreams in
        ["[\"http://a#weight=0\"]", "[{ url = \"http://a\", weight = 1001 }]", "[{ url = \"http://a\", share = 1 }]"]
    {
        let mut refused = Setup::new(&format!("[deployments.a]\nupstreams = {upstreams}\n")).spawn();
        assert_eq!(refused.wait().code(), Some(78), "{upstreams}");
        assert!(refused.stderr().join("\n").contains("weight"), "{upstreams}: {:?}", refused.stderr());
    }
}

/// One Deployment's trouble stays its own.
#[test]
fn a_hanging_deployment_does_not_slow_another() {
    let (hanging, alive) = (Upstream::watching(), Upstream::named("b"));
    let config = format!("{}{}", deployment("a", hanging.address, ""), deployment("b", alive.address, ""));
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:*"]).text;
    let hung: Vec<Client> = (0..50)
        .map(|_| {
            let mut caller = gateway.connect();
            caller.send(get("a.test", "/silent", &token));
            caller
        })
        .collect();
    hanging.await_requests(50);
    // While all of them hang.
    for _ in 0..20 {
        assert_eq!(gateway.ask(&get("b.test", "/", &token)).text(), "b");
    }
    assert_eq!(hanging.closed(), 0);
    drop(hung);
    hanging.await_closed(50, SOON);
}

/// The limit on connections makes further ones wait for those on which something is under way; it refuses none.
#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.target == "/hold" {
                peer.await_close();
            } else {
                peer.send(response(200, &[], b"a"));
            }
        }
    });
    let config =
        format!("[proxy.limits]\nmax_connections = 3\n{}", deployment("a", upstream.address, "protected = false"));
    let gateway = Gateway::start(&config);
    let plain = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    let mut held: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for caller in &mut held {
        caller.send(plain("/hold"));
    }
    upstream.await_requests(3);
    let mut waiting = gateway.connect();
    waiting.send(plain("/"));
    waiting.read_timeout(Duration::from_millis(300));
    assert_eq!(waiting.try_head().unwrap_err(), ReadEnd::TimedOut);
    held.pop();
    waiting.read_timeout(SOON);
    assert_eq!(waiting.response(false).status, 200);
    for caller in &mut held {
        caller.read_timeout(Duration::from_millis(50));
        assert_eq!(caller.try_head().unwrap_err(), ReadEnd::TimedOut, "what runs goes on");
    }
}

/// Whoever only keeps a connection open, before, within or between requests, keeps nobody out.
#[test]
fn connections_that_ask_for_nothing_make_room() {
    let upstream = Upstream::named("a");
    let config =
        format!("[proxy.limits]\nmax_connections = 4\n{}", deployment("a", upstream.address, "protected = false"));
    let gateway = Gateway::start(&config);
    let plain = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let mut rounds = Vec::new();
    for begun in ["", "GET / HT", plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let hold = |_| {
            let mut stranger = gateway.connect();
            let _ = stranger.try_send(begun.as_bytes());
            stranger
        };
        rounds.push((0..40).map(hold).collect::<Vec<Client>>());
        for _ in 0..5 {
            let mut caller = gateway.connect();
            caller.read_timeout(SOON);
            assert_eq!(caller.ask(plain).status, 200, "{begun:?}");
        }
    }
}

/// The port of a gateway that was killed is free at once, and nothing of it is left.
#[test]
fn a_port_is_free_again() {
    let gateway = Gateway::start("");
    let address = gateway.proxy;
    assert!(TcpListener::bind(address).is_err());
    drop(gateway);
    drop(TcpListener::bind(address).unwrap());
}
