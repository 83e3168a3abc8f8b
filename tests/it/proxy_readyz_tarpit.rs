//! The client that asks `/readyz` again and again without pausing is slowed; nobody else is.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    gateway::{Gateway, deployment},
    upstream::Upstream,
};

const BAD: &str = "GET /readyz HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer nonsense\r\n\r\n";
/// Of the `bentoml` client, a sixth of its 30 s.
const LOOP: Duration = Duration::from_secs(5);

fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    (upstream, gateway)
}

#[test]
fn a_client_that_does_not_pause_is_slowed() {
    let (_upstream, gateway) = gateway();
    let begun = Instant::now();
    let (mut asked, mut caller) = (0, gateway.connect());
    while begun.elapsed() < LOOP {
        let answer = caller.ask(BAD);
        assert_eq!(answer.status, 401);
        // What the client prints first is the cause.
        assert!(answer.body.starts_with(b"{\"detail\":\"the token is malformed"), "{:?}", answer.body);
        asked += 1;
    }
    // 200 in 30 s.
    assert!((11..=33).contains(&asked), "{asked} requests in {LOOP:?}");
}

#[test]
fn nobody_else_is_slowed() {
    let (_upstream, gateway) = gateway();
    let token = gateway.token(&["deployment:a"]);
    thread::scope(|scope| {
        let loops: Vec<_> = (0..300)
            .map(|_| {
                scope.spawn(|| {
                    let (begun, mut caller) = (Instant::now(), gateway.connect());
                    while begun.elapsed() < Duration::from_secs(2) {
                        assert_eq!(caller.ask(BAD).status, 401);
                        // So many that answers go out at once are not to keep this machine from asking anything else.
                        thread::sleep(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        let good = format!("GET /readyz HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer {}\r\n\r\n", token.text);
        let other_path = "GET /x HTTP/1.1\r\nhost: a.test\r\n\r\n";
        for (request, status) in [(good.as_str(), 200), (other_path, 401)] {
            let mut caller = gateway.connect();
            let times = (0..20).map(|_| {
                let begun = Instant::now();
                assert_eq!(caller.ask(request).status, status);
                begun.elapsed()
            });
            // The least: this machine is busy with the loops.
            assert!(times.min().unwrap() < Duration::from_millis(200), "{request}");
        }
        loops.into_iter().for_each(|looping| looping.join().unwrap());
    });
}

#[test]
fn an_answer_that_is_held_back_holds_no_drain_up() {
    let (_upstream, mut gateway) = gateway();
    let mut caller = gateway.connect();
    for _ in 0..10 {
        caller.ask(BAD);
    }
    caller.send(BAD);
    let begun = Instant::now();
    assert!(gateway.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
