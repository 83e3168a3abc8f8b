//! Connections to upstreams, for which a caller of HTTP/2 can ask a hundred times.

use crate::harness::{
    Gate, SOON,
    frames::Frames,
    gateway::{Setup, deployment},
    http::get,
    pair::HOST,
    upstream::{Upstream, response},
    wait_until,
};

#[test]
fn streams_leave_the_others_their_descriptors() {
    let gate = Gate::default();
    let held = gate.clone();
    let slow = Upstream::start(move |peer| {
        while peer.request().is_some() {
            held.pass();
            peer.send(response(200, &[], b"slow"));
        }
    });
    let quick = Upstream::named("quick");
    let of = |name, upstream: &Upstream| deployment(name, upstream.address, "protected = false");
    let config = format!("{}{}", of("a", &slow), of("b", &quick));
    let gateway = Setup::new(&config).ulimit("-n 256").start();

    let mut callers: Vec<Frames> = (0..3).map(|_| Frames::connect(gateway.proxy)).collect();
    for frames in &mut callers {
        (1..200).step_by(2).for_each(|stream| frames.get(stream, HOST, "/"));
    }
    let refused = || gateway.access_lines().iter().filter(|line| line["reason"] == "out_of_connections").count();
    // 256 less the management listener's 32, the store's, and what the gateway needs itself; half of that.
    wait_until("those beyond the limit are refused", SOON, || refused() > 200);
    let answer = gateway.ask(&get("b.test", "/", "unused"));
    assert_eq!((answer.status, answer.code().as_str()), (503, "out_of_connections"));
    assert!(answer.header("retry-after").is_some());

    // Everybody else goes on.
    let token = gateway.token(&["deployment:a"]);
    gateway.revoke(&token);
    wait_until("the revocation arrives", SOON, || gateway.code_of(&token.text) == "token_revoked");
    assert_eq!(gateway.readyz(), Some(200));

    // What was used by one Deployment, and is idle now, makes room for another.
    gate.open();
    wait_until("all have ended", SOON, || {
        gateway.access_lines().iter().filter(|line| line["host"] == HOST).count() == 300
    });
    assert_eq!(slow.closed(), 0);
    assert_eq!(gateway.ask(&get("b.test", "/", "unused")).text(), "quick");
    slow.await_closed(1, SOON);
}
