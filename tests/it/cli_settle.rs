//! Commands that change something return when the running gateways decide by the change, and say whether they do.

use std::{net::TcpStream, process::Output};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, free_address},
    wait_until,
};

fn run(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = gateway.cli_command(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

const APPLIED: &str = "1 of 1 running gateways have applied the change, after ";

#[test]
fn what_was_made_works_when_the_command_returns() {
    // Slow enough that a command which does not wait is found out.
    let gateway = Setup::new("").env("STORE__POLL_INTERVAL", "400ms").start();
    for round in 0..3 {
        let token = gateway.new_token(&["api"], &[]);
        assert_eq!(gateway.code_of(&token.text), "insufficient_scope");
        let (listen, name) = (free_address(), format!("own-{round}"));
        let add = ["deployment", "add", &name, "--upstream", "http://127.0.0.1:1", "--listen", &listen.to_string()];
        let (code, said) = run(&gateway, &add);
        assert!(code == 0 && said.contains(APPLIED), "{code}: {said}");
        TcpStream::connect(listen).expect("its own listener is open");
    }
}

#[test]
fn every_verb_says_so_in_the_same_words() {
    let gateway = Gateway::start("");
    let ada = ["--email", "ada@example.com", "--name", "Ada", "--admin"];
    let mut verbs = vec![
        [&["user", "create"], &ada[..]].concat(),
        vec!["user", "invite", "ada@example.com"],
        vec!["user", "disable", "ada@example.com"],
        vec!["user", "enable", "ada@example.com"],
        vec!["deployment", "add", "a", "--upstream", "http://127.0.0.1:1", "--host", "a.test"],
        vec!["deployment", "terminate", "a"],
        vec!["deployment", "start", "a"],
        vec!["deployment", "remove", "a"],
        vec!["token", "create", "ci"],
    ];
    let token = gateway.token(&["api"]);
    verbs.push(vec!["token", "rotate", &token.uid]);
    verbs.push(vec!["token", "revoke", &token.uid]);
    verbs.push(vec!["token", "revoke", &token.uid]);
    for verb in verbs {
        let (code, said) = run(&gateway, &verb);
        assert!(code == 0 && said.contains(APPLIED), "{verb:?} {code}: {said}");
    }
}

#[test]
fn a_gateway_that_was_not_reached_is_named_and_no_success() {
    let mut gateway = Gateway::start("");
    let token = gateway.token(&["deployment:*"]);
    gateway.signal("STOP");
    let replica = format!(":{},", gateway.pid());
    for verb in [&["token", "create", "ci"][..], &["token", "revoke", &token.uid]] {
        let (code, said) = run(&gateway, verb);
        assert_eq!(code, 7, "{verb:?}: {said}");
        let expected = "error: the change is made, but not applied by ";
        assert!(said.contains(expected) && said.contains(&replica) && said.contains("replica remove"), "{said}");
    }
    gateway.signal("CONT");
    // The same command waits once more.
    wait_until("the gateway catches up", SOON, || run(&gateway, &["token", "revoke", &token.uid]).0 == 0);

    gateway.kill();
    wait_until("it counts as silent", SOON * 3, || {
        run(&gateway, &["token", "revoke", &token.uid]).1.contains("No gateway")
    });
    let (code, said) = run(&gateway, &["token", "create", "later"]);
    assert!(code == 0 && said.contains("Not heard of lately, and taken to have ended"), "{code}: {said}");
    assert_eq!(run(&gateway, &["token", "revoke", &token.uid]).0, 7);
    let name = gateway.cli(&["replica", "list"])[0]["name"].as_str().unwrap().to_owned();
    gateway.cli(&["replica", "remove", &name]);
    assert_eq!(run(&gateway, &["token", "revoke", &token.uid]).0, 0);
}
