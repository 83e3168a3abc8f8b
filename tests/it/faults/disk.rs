//! A disk that is full or read-only under SQLite, and another process that holds the file.

use std::{process::Output, time::Duration};

use super::fleet::{create, revoke};
use crate::harness::{
    gateway::{Gateway, Setup, Token, deployment},
    http::get,
    upstream::Upstream,
    wait_until,
};

const RECOVERY: Duration = Duration::from_secs(15);

fn start(upstream: &Upstream) -> Gateway {
    Setup::new(&deployment("a", upstream.address, "")).on_a_disk_of_its_own().start()
}

fn status(gateway: &Gateway, token: &Token) -> u16 {
    gateway.ask(&get("a.test", "/", &token.text)).status
}

/// While nothing can be written: what is known is decided, what would have to be written is refused as our own trouble,
/// and the operator reads why.
fn nothing_can_be_written(gateway: &Gateway, admin: &Token, proven: &Token, unproven: &Token, why: &str) {
    for refused in [create(gateway.management, admin), revoke(gateway.management, admin, &proven.uid)] {
        let (status, body) = refused.unwrap();
        assert_eq!((status, &body["code"]), (503, &"store_away".into()), "{body}");
    }
    assert_eq!((status(gateway, proven), status(gateway, unproven)), (200, 200), "what is known goes on");
    let unknown = bento_gateway::system::new_token_text().unwrap();
    assert_eq!(gateway.code_of(unknown.expose()), "token_invalid", "the store can be read");
    assert_eq!(gateway.readyz(), Some(200));
    let Output { status, stderr, .. } =
        gateway.cli_command(&["token", "create", "more", "--scope", "api"]).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && said.contains(why), "{said}");
    wait_until("the operator is told", RECOVERY, || gateway.stderr().iter().any(|line| line.contains(why)));
}

fn goes_on(gateway: &Gateway, admin: &Token, proven: &Token) {
    wait_until("changes are taken again", RECOVERY, || {
        create(gateway.management, admin)
            .is_some_and(|(status, made)| status == 200 && made["receipt"]["acknowledged"] == 1)
    });
    let (status_of_call, revoked) = revoke(gateway.management, admin, &proven.uid).unwrap();
    assert_eq!(status_of_call, 200, "{revoked}");
    assert_eq!(status(gateway, proven), 401);
}

#[test]
fn a_full_disk_takes_no_change_and_loses_none() {
    let upstream = Upstream::named("a");
    let mut gateway = start(&upstream);
    let [admin, proven, unproven] = ["api", "deployment:a", "deployment:a"].map(|scope| gateway.token(&[scope]));
    assert_eq!(status(&gateway, &proven), 200);
    gateway.disk().fill();
    nothing_can_be_written(&gateway, &admin, &proven, &unproven, "full");
    gateway.disk().empty();
    goes_on(&gateway, &admin, &proven);

    // What was written before and after is whole.
    gateway.kill();
    gateway.start_again();
    assert_eq!((status(&gateway, &proven), status(&gateway, &unproven)), (401, 200));
}

/// A file system that lost trust in its disk is mounted so by the machine's start.
#[test]
fn a_gateway_that_starts_on_a_read_only_disk_decides_by_what_is_there() {
    let upstream = Upstream::named("a");
    let mut gateway = start(&upstream);
    let [admin, proven, unproven] = ["api", "deployment:a", "deployment:a"].map(|scope| gateway.token(&[scope]));
    gateway.kill();
    gateway.disk().remount("ro");
    gateway.start_again();
    nothing_can_be_written(&gateway, &admin, &proven, &unproven, "readonly");
    gateway.disk().remount("rw");
    // SQLite goes on as it began.
    gateway.kill();
    gateway.start_again();
    goes_on(&gateway, &admin, &proven);
}
