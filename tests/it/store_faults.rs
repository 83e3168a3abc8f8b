//! What happens when another process changes the store, and when the store is away: tokens that are known go on working,
//! nobody is blamed for our trouble, and nothing that was acknowledged is lost.

use std::{process::Stdio, thread::sleep, time::Duration};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment},
    http::get,
    postgres::{Cluster, PASSWORD},
    upstream::Upstream,
    wait_for, wait_until,
};

const HOST: &str = "a.test";
fn setup(upstream: &Upstream, store: Option<&str>) -> Setup {
    let setup = Setup::new(&deployment("a", upstream.address, ""));
    match store {
        Some(url) => setup.env("STORE__URL", url),
        None => setup,
    }
}

fn status(gateway: &Gateway, token: &Token) -> u16 {
    gateway.ask(&get(HOST, "/", &token.text)).status
}

/// A token that the gateway knows of and has not verified yet: it has applied a later change.
fn known_but_never_shown(gateway: &Gateway) -> Token {
    let token = gateway.new_token(&["deployment:a"], &[]);
    gateway.token(&["deployment:a"]);
    token
}

fn takes_effect(gateways: &[&Gateway], token: &Token, expected: u16) {
    for gateway in gateways {
        wait_until("the change takes effect", SOON, || status(gateway, token) == expected);
    }
}

fn changes_take_effect(gateways: &[&Gateway]) {
    let cli = gateways[0];
    for _ in 0..5 {
        let token = cli.new_token(&["deployment:a"], &[]);
        takes_effect(gateways, &token, 200);
        cli.revoke(&token);
        takes_effect(gateways, &token, 401);
        for gateway in gateways {
            assert_eq!(gateway.ask(&get(HOST, "/", &token.text)).code(), "token_revoked");
        }
    }
}

#[test]
fn the_command_line_reaches_a_gateway_on_the_same_sqlite_file() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).env("STORE__POLL_INTERVAL", "200ms").start();
    changes_take_effect(&[&gateway]);
}

#[test]
fn the_command_line_reaches_every_replica_on_postgres() {
    let upstream = Upstream::named("a");
    let url = Cluster::shared().database_url();
    let start = || setup(&upstream, Some(&url)).env("STORE__POLL_INTERVAL", "200ms").start();
    let (one, two) = (start(), start());
    changes_take_effect(&[&one, &two]);
}

#[test]
fn a_notification_is_faster_than_the_poll() {
    let upstream = Upstream::named("a");
    let url = Cluster::shared().database_url();
    let gateway =
        setup(&upstream, Some(&url)).env("STORE__POLL_INTERVAL", "10m").env("STORE__MAX_STALENESS", "").start();
    // The subscription is made behind the first read of the store.
    wait_until("it listens", SOON, || Cluster::shared().listeners(&url) == 1);
    let token = gateway.new_token(&["deployment:a"], &[]);
    takes_effect(&[&gateway], &token, 200);
}

#[test]
fn both_secrets_work_while_a_rotation_overlaps() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).start();
    let old = gateway.token(&["deployment:a"]);
    let rotate = |overlap: &str| {
        let answer = gateway.cli(&["token", "rotate", &old.uid, "--overlap", overlap]);
        let new = Token { text: answer["token"].as_str().unwrap().to_owned(), uid: old.uid.clone() };
        gateway.await_token(&new);
        new
    };
    let second = rotate("1h");
    assert_eq!((status(&gateway, &old), status(&gateway, &second)), (200, 200));
    let third = rotate("0s");
    wait_until("the older secrets retire", SOON, || status(&gateway, &second) == 401);
    assert_eq!(gateway.ask(&get(HOST, "/", &second.text)).code(), "token_rotated");
    assert_eq!(gateway.ask(&get(HOST, "/", &old.text)).code(), "token_rotated");
    assert_eq!(status(&gateway, &third), 200);
}

#[test]
fn a_deployment_of_the_store_comes_and_goes_and_takes_its_exact_scopes_with_it() {
    let upstream = Upstream::named("b");
    let gateway = Setup::new("").env("PROXY__BASE_DOMAIN", "test").start();
    let add = || gateway.cli(&["deployment", "add", "b", "--upstream", &format!("http://{}", upstream.address)]);
    let ask = |token: &Token| gateway.ask(&get("b.test", "/", &token.text));
    add();
    let (exact, all) = (gateway.token(&["deployment:b", "api"]), gateway.token(&["deployment:*"]));
    wait_until("it is served", SOON, || ask(&exact).status == 200);
    let removed = gateway.cli(&["deployment", "remove", "b"]);
    assert!(removed.to_string().contains(&exact.uid), "it says whom it touched: {removed}");
    wait_until("it is gone", SOON, || ask(&all).code() == "deployment_not_found");
    wait_until("its scope is gone", SOON, || ask(&exact).code() == "insufficient_scope");
    add();
    wait_until("it is served again", SOON, || ask(&all).status == 200);
    assert_eq!(ask(&exact).code(), "insufficient_scope", "an old token must not open a later Deployment of that name");
}

#[test]
fn a_disabled_owner_disables_their_tokens() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).start();
    gateway.cli(&["user", "create", "--email", "bob@example.com", "--name", "Bob"]);
    let token = gateway.new_token(&["deployment:a"], &["--owner", "bob@example.com"]);
    gateway.await_token(&token);
    assert_eq!(status(&gateway, &token), 200);
    gateway.cli(&["user", "disable", "bob@example.com"]);
    wait_until("the owner is disabled", SOON, || gateway.code_of(&token.text) == "owner_disabled");
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Stopped,
    Killed,
    Paused,
}

#[test]
fn an_outage_of_the_store_stops_no_known_token_and_blames_nobody() {
    for fault in [Fault::Stopped, Fault::Killed, Fault::Paused] {
        let cluster = Cluster::start();
        let url = cluster.database_url();
        let upstream = Upstream::named("a");
        let gateway = setup(&upstream, Some(&url)).env("STORE__ACQUIRE_TIMEOUT", "300ms").start();
        let proven = gateway.token(&["deployment:a"]);
        assert_eq!(status(&gateway, &proven), 200);
        let unproven = known_but_never_shown(&gateway);
        match fault {
            Fault::Stopped => cluster.stop(),
            Fault::Killed => cluster.kill(),
            Fault::Paused => cluster.pause(),
        }
        let unknown = bento_gateway::system::new_token_text().unwrap();
        let answer = wait_for("the outage is noticed", Duration::from_secs(10), || {
            let answer = gateway.ask(&get(HOST, "/", unknown.expose()));
            (answer.code() == "store_away").then_some(answer)
        });
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{fault:?}");
        assert_eq!((status(&gateway, &proven), status(&gateway, &unproven)), (200, 200), "{fault:?}");
        assert_eq!(gateway.readyz(), Some(200), "{fault:?}: decisions can still be made");
        match fault {
            Fault::Stopped | Fault::Killed => cluster.start_again(),
            Fault::Paused => cluster.resume(),
        }
        wait_until("the store is followed again", Duration::from_secs(15), || {
            gateway.ask(&get(HOST, "/", unknown.expose())).code() == "token_invalid"
        });
        let later = gateway.token(&["deployment:a"]);
        assert_eq!(status(&gateway, &later), 200, "{fault:?}: recovery needs no restart");
        assert!(!gateway.stderr().join("\n").contains(PASSWORD));
    }
}

#[test]
fn an_index_that_is_too_old_decides_nothing() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, Some(&url)).env("STORE__MAX_STALENESS", "1s").start();
    let token = gateway.token(&["deployment:a"]);
    assert_eq!(status(&gateway, &token), 200);
    cluster.stop();
    wait_until("the index is too old", Duration::from_secs(10), || status(&gateway, &token) == 503);
    let answer = gateway.ask(&get(HOST, "/", &token.text));
    assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("store_stale", Some("1")));
    assert_eq!(gateway.readyz(), Some(503));
    cluster.start_again();
    wait_until("it is fresh again", Duration::from_secs(15), || status(&gateway, &token) == 200);
}

#[test]
fn a_store_that_is_away_at_the_start_is_waited_for() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    cluster.stop();
    let upstream = Upstream::named("a");
    let mut gateway = setup(&upstream, Some(&url)).env("TOKENS__FIRST_TOKEN", "true").spawn();
    wait_until("it listens", SOON, || gateway.readyz() == Some(503));
    let unknown = bento_gateway::system::new_token_text().unwrap();
    let answer = gateway.ask(&get(HOST, "/", unknown.expose()));
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_never_reached"));
    gateway.await_said(&["the store is not available"]);
    cluster.start_again();
    gateway.becomes_ready();
    wait_until("it is set up then", SOON, || gateway.stdout().iter().any(|line| line.contains("bgw_")));
    assert!(!gateway.stderr().join("\n").contains(PASSWORD));
}

#[test]
fn a_store_that_will_go_on_refusing_ends_the_start() {
    let cluster = Cluster::shared();
    let url = cluster.database_url();
    let upstream = Upstream::named("a");
    let wrong_password = url.replace(PASSWORD, "not-the-password");
    let unknown_database = format!("{url}_that_nobody_made");
    for url in [wrong_password, unknown_database] {
        let mut gateway = setup(&upstream, Some(&url)).spawn();
        let status = gateway.wait();
        let said = gateway.stderr().join("\n");
        assert_eq!(status.code(), Some(5), "{said}");
        assert!(said.contains("error:") && said.contains("database"), "{said}");
        assert!(!said.contains("not-the-password") && !said.contains(PASSWORD), "{said}");
    }
}

/// A token that was printed is a token that works, whatever is killed right behind it.
fn survives(mut gateway: Gateway, kill_store: impl Fn()) {
    for _ in 0..8 {
        let token = gateway.new_token(&["deployment:a"], &[]);
        gateway.kill();
        kill_store();
        gateway.start_again();
        assert_eq!(status(&gateway, &token), 200);
    }
}

#[test]
fn a_token_survives_kill_9_on_sqlite() {
    let upstream = Upstream::named("a");
    survives(setup(&upstream, None).start(), || {});
}

#[test]
fn a_token_survives_kill_9_of_everything_on_postgres() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let upstream = Upstream::named("a");
    survives(setup(&upstream, Some(&url)).start(), || {
        cluster.kill();
        cluster.start_again();
    });
}

#[test]
fn a_command_line_that_is_killed_leaves_a_store_that_works() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).start();
    for delay in 0..12 {
        let name = format!("killed-{delay}");
        let mut command = gateway.cli_command(&["token", "create", &name, "--scope", "deployment:a"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(delay * 3));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let token = gateway.token(&["deployment:a"]);
    assert_eq!(status(&gateway, &token), 200);
    let listed = gateway.cli(&["token", "list"]);
    assert!(listed.to_string().contains(&token.uid));
}

#[test]
fn last_uses_are_written_in_batches_and_at_the_end() {
    let upstream = Upstream::named("a");
    let mut gateway = setup(&upstream, None).env("TOKENS__USAGE_INTERVAL", "1h").start();
    let token = gateway.token(&["deployment:a"]);
    let last_used = |gateway: &Gateway| gateway.cli(&["token", "get", &token.uid])["last_used_at"].clone();
    for _ in 0..20 {
        assert_eq!(status(&gateway, &token), 200);
    }
    assert!(last_used(&gateway).is_null(), "not per request");
    assert!(gateway.terminate().success());
    assert!(last_used(&gateway).is_string(), "{}", last_used(&gateway));
}

#[test]
fn many_first_uses_of_one_token_at_once() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).env("PROXY__WORKERS", "2").start();
    let token = known_but_never_shown(&gateway);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..64).map(|_| scope.spawn(|| status(&gateway, &token))).collect();
        for asked in asking {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
}

#[test]
fn a_token_of_another_pepper_is_our_trouble() {
    let upstream = Upstream::named("a");
    let gateway = setup(&upstream, None).start();
    let mut command = gateway.cli_command(&["token", "create", "peppered", "--scope", "deployment:a", "-o", "json"]);
    let output = command.env("BENTO_GATEWAY__TOKENS__PEPPER", "another pepper of some length").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = answer["token"].as_str().unwrap();
    let ask = || gateway.ask(&get(HOST, "/", text));
    wait_until("the token is known", SOON, || ask().code() != "token_invalid");
    assert_eq!((ask().status, ask().code().as_str()), (500, "internal_error"));
    gateway.await_said(&["pepper"]);
}
