//! A PostgreSQL whose place another one takes, which has not got the last commits and goes its own way: what a gateway
//! has applied is not this server's history, though the numbers may fit.

use std::fs;

use crate::harness::{
    SOON,
    backup::{backup, copy_sqlite, restore},
    gateway::{Setup, Token, deployment},
    http::{ReadEnd, get},
    postgres::Cluster,
    relay::{Network, Relay},
    upstream::Upstream,
    wait_until,
};

const HOST: &str = "a.test";

/// A backup is put back under a gateway that runs, with PostgreSQL's own tools.
#[test]
fn a_backup_that_is_restored_is_followed_and_nobody_is_blamed() {
    let url = Cluster::shared().database_url();
    let upstream = Upstream::watching();
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("STORE__URL", &url).start();
    let (good, revoked) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    let ask = |token: &Token| gateway.code_of(&token.text);
    let saved = backup(&url);
    gateway.revoke(&revoked);
    let lost = gateway.token(&["deployment:a"]);
    let mut running = gateway.connect();
    running.send(get(HOST, "/busy", &lost.text));
    assert_eq!(running.head().status, 200);

    restore(&url, &saved);
    wait_until("the token is gone that the backup has not got", SOON, || {
        assert_eq!(ask(&good), "insufficient_scope", "known, and for another Deployment");
        ask(&lost) == "token_invalid"
    });
    running.read_timeout(SOON);
    assert_ne!(running.rest().1, ReadEnd::TimedOut, "what it had begun is cut");
    wait_until("what the backup says holds, also of what was revoked after it", SOON, || {
        ask(&revoked) == "insufficient_scope"
    });
    // And it goes on from there.
    gateway.revoke(&revoked);
    assert_eq!(ask(&revoked), "token_revoked");
    gateway.token(&["deployment:a"]);
}

/// The same on SQLite, by moving a backup to where the file was. A change in that one is known to the gateway, and counted.
#[test]
fn a_file_that_is_moved_to_the_stores_place_is_followed() {
    let upstream = Upstream::watching();
    let gateway = Setup::new(&deployment("a", upstream.address, "")).start();
    let good = gateway.token(&["deployment:a"]);
    let ask = |token: &Token| gateway.code_of(&token.text);
    let [file, log, memory, saved] =
        ["gateway.db", "gateway.db-wal", "gateway.db-shm", "saved.db"].map(|name| gateway.path(name));
    copy_sqlite(&file, &saved);
    let lost = gateway.token(&["deployment:a"]);
    for part in [log, memory] {
        fs::remove_file(part).unwrap();
    }
    fs::rename(&saved, &file).unwrap();
    wait_until("the token is gone that the backup has not got", SOON, || {
        assert_eq!(ask(&good), "insufficient_scope", "known, and for another Deployment");
        ask(&lost) == "token_invalid"
    });
    gateway.await_said(&["was replaced by another one"]);

    let revoked = gateway.cli_command(&["token", "revoke", &good.uid]).output().unwrap();
    let said = String::from_utf8_lossy(&revoked.stderr);
    assert!(revoked.status.success() && said.contains("1 of 1 running gateways"), "{said}");
    assert_eq!(ask(&good), "token_revoked");
    gateway.token(&["deployment:a"]);
}

#[test]
fn a_fail_over_that_loses_commits_revives_no_token_and_blames_nobody() {
    let cluster = Cluster::start();
    let (network, replication) = (Relay::to(cluster.address()), Relay::to(cluster.address()));
    let url = cluster.database_url();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let upstream = Upstream::watching();
    let url = url.replace(&cluster.address().to_string(), &network.address.to_string());
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("STORE__URL", &url).start();
    let (victim, good) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    let ask = |token: &Token| gateway.code_of(&token.text);

    let standby = cluster.standby(&replication);
    cluster.awaits(&standby);
    replication.set(Network::Cut);
    let lost = gateway.token(&["deployment:a"]);
    for _ in 0..3 {
        gateway.token(&["deployment:a"]);
    }
    let mut running = gateway.connect();
    running.send(get(HOST, "/busy", &lost.text));
    assert_eq!(running.head().status, 200);

    network.set(Network::Cut);
    cluster.kill();
    standby.promote();
    // On the server that was promoted, while the gateway waits: the same number of changes, and more.
    let elsewhere = |arguments: &[&str]| {
        let status = gateway.cli_command(arguments).args(["--store", &standby.url(&database)]).output().unwrap().status;
        // 7: the gateway, which is cut off, has not applied it.
        assert!(matches!(status.code(), Some(0 | 7)), "{arguments:?}");
    };
    elsewhere(&["token", "revoke", &victim.uid]);
    for number in ["one", "two", "three", "four"] {
        elsewhere(&["token", "create", number, "--scope", "deployment:a"]);
    }
    network.lead_to(standby.address());
    network.set(Network::Open);
    wait_until("the revocation of the new server takes effect", SOON, || {
        assert_ne!(ask(&good), "token_invalid", "nobody is blamed");
        ask(&victim) == "token_revoked"
    });
    wait_until("the new server has never heard of it", SOON, || ask(&lost) == "token_invalid");
    assert_eq!(ask(&good), "insufficient_scope", "known, and for another Deployment");
    running.read_timeout(SOON);
    let (_, end) = running.rest();
    assert_ne!(end, ReadEnd::TimedOut, "work of a token that is gone is cut");
    gateway.await_said(&["the store's history has changed"]);

    let receipt = gateway.cli_command(&["token", "revoke", &good.uid]).output().unwrap();
    assert!(String::from_utf8_lossy(&receipt.stderr).contains("1 of 1 running gateways"), "{receipt:?}");
    assert_eq!(ask(&good), "token_revoked");
}
