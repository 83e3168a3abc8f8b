//! What a newcomer meets after the first start: a second one, a service that is not up, tokens and releases of another day.

use std::process::Output;

use crate::harness::{
    SOON, api,
    commands::CommandLine,
    gateway::{Gateway, Setup, deployment, free_address},
    http::get,
    upstream::{Upstream, response},
    wait_for, wait_until,
};

fn welcome(gateway: &Gateway, earlier: usize) -> String {
    wait_for("the welcome", SOON, || {
        let lines = gateway.stdout();
        let new = &lines[earlier..];
        new.iter().any(|line| line.contains("bentoml cloud login")).then(|| new.join("\n"))
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_start_beside_one_that_runs_says_so_and_how_to_go_elsewhere() {
    let gateway = Gateway::start("");
    let begun = |arguments: &[&str]| {
        let output = gateway.cli_command(&[&["serve"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };
    let text = begun(&[]);
    let taken = format!("the management listener cannot listen on {}: Address already in use", gateway.management);
    assert!(text.contains(&taken) && text.contains("--management-listen 127.0.0.1:PORT"), "{text}");
    assert!(text.contains("is this gateway running already?"), "{text}");
    let elsewhere = free_address().to_string();
    let text = begun(&["--management-listen", &elsewhere]);
    let taken = format!("the proxy cannot listen on {}: Address already in use", gateway.proxy);
    assert!(text.contains(&taken) && text.contains("address: --listen 127.0.0.1:PORT"), "{text}");

    let others = free_address().to_string();
    let text = begun(&["--management-listen", &elsewhere, "--listen", &others]);
    let taken = format!("the telemetry listener cannot listen on {}: Address already in use", gateway.telemetry);
    assert!(text.contains(&taken) && text.contains("address: --telemetry-listen 127.0.0.1:PORT"), "{text}");

    // Elsewhere it runs, on the same store.
    let arguments = ["serve", "--listen", &elsewhere, "--management-listen", &others, "--telemetry-listen", ""];
    let mut child = gateway.cli_command(&arguments).spawn().unwrap();
    let both = || gateway.cli(&["replica", "list"]).as_array().map(Vec::len) == Some(2);
    wait_until("both are on the list", SOON, both);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_gateway_that_was_killed_is_named_by_the_command_that_forgets_it() {
    let mut gateway = Gateway::start("");
    let token = gateway.token(&["api"]);
    gateway.kill();
    gateway.start_again();
    let output = gateway.cli_command(&["token", "revoke", &token.uid]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    let (_, command) = text.split_once("as after a restart of its machine, `bento-gateway ").unwrap();
    let words: Vec<&str> = command.split_once('`').unwrap().0.split(' ').collect();
    assert!(gateway.cli_command(&words).output().unwrap().status.success(), "{words:?}");
    let output = gateway.cli_command(&["token", "revoke", &token.uid]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_service_that_is_not_up_is_named_where_the_gateway_starts() {
    let down = free_address();
    let ready = Upstream::answering(|_| response(200, &[], b"ready"));
    let config = format!("{}{}", deployment("down", down, ""), deployment("up", ready.address, ""));
    let gateway = Setup::new(&config).env("TOKENS__FIRST_TOKEN", "true").start();
    let text = welcome(&gateway, 0);
    assert!(
        text.contains(&format!("The service of down is not ready yet at http://{down}; callers get an error")),
        "{text}"
    );
    assert!(!text.contains("The service of up"), "{text}");
    let token = gateway.token(&["deployment:*"]).text;
    let answer = gateway.ask(&get("down.test", "/", &token));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    // It is asked for as soon as it is there.
    let _service =
        Upstream::start_at(
            down,
            |peer| while peer.request().is_some() && peer.try_send(response(200, &[], b"")).is_ok() {},
        );
    wait_until("the service is reached", SOON, || gateway.ask(&get("down.test", "/", &token)).status == 200);
}

#[test]
fn a_later_start_says_that_tokens_are_shown_once() {
    let mut gateway = Setup::new("").env("TOKENS__FIRST_TOKEN", "true").start();
    let first = welcome(&gateway, 0);
    assert!(first.contains("The first API token.") && !first.contains("Create an"), "{first}");
    let earlier = gateway.stdout().len();
    gateway.terminate();
    gateway.start_again();
    let second = welcome(&gateway, earlier);
    assert!(second.contains("API tokens are shown once, when they are made. Create another one:"), "{second}");
    assert!(!second.contains("bgw_"), "{second}");
}

#[test]
fn a_first_token_that_has_expired_says_what_to_do() {
    let upstream = Upstream::named("a");
    let config = format!("[tokens]\ndefault_lifetime = \"1s\"\n{}", deployment("a", upstream.address, ""));
    let gateway = Setup::new(&config).env("TOKENS__FIRST_TOKEN", "true").start();
    let text = welcome(&gateway, 0);
    let token = text.lines().find(|line| line.trim().starts_with("bgw_")).unwrap().trim().to_owned();
    wait_until("it has expired", SOON, || gateway.ask(&get("a.test", "/", &token)).code() == "token_expired");
    let answer = gateway.ask(&get("a.test", "/", &token));
    assert!(answer.text().contains("the token has expired; ask its owner for a new one"), "{}", answer.text());
    let (status, error) = api::get(&gateway, &token, "/api/v1/auth/current");
    assert!(status == 401 && error.to_string().contains("create another one"), "{error}");
    assert_eq!(gateway.cli(&["token", "get", "first"])["status"], "expired");
    let new = gateway.cli(&["token", "create", "second", "--scope", "deployment:*", "--expires", "1h"]);
    let new = new["token"].as_str().unwrap();
    wait_until("the new one works", SOON, || gateway.ask(&get("a.test", "/", new)).status == 200);
}

#[test]
fn a_store_of_a_later_release_is_named() {
    let upstream = Upstream::named("a");
    let mut gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let (kept, other) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    let warned = |gateway: &Gateway| {
        gateway.stderr().iter().any(|line| line.contains("a later release of bento-gateway has migrated the store"))
    };
    assert!(!warned(&gateway));
    gateway.terminate();
    migrate_further(&gateway.path("gateway.db"), &other.uid);
    gateway.start_again();
    wait_until("it says so", SOON, || warned(&gateway));
    let commands = CommandLine::new();
    let store = format!("sqlite:{}", gateway.path("gateway.db").display());
    let listed = commands.run(&["token", "list", "--store", &store]);
    assert_eq!(listed.code, 0, "both releases run side by side");
    // What only that release knows opens nothing, and keeps nobody from anything.
    assert!(listed.out.contains("deployment:a:WHISPER"), "{}", listed.out);
    assert_eq!(gateway.ask(&get("a.test", "/", &kept.text)).status, 200);
    assert_eq!(gateway.ask(&get("a.test", "/", &other.text)).code(), "insufficient_scope");
}

/// As a later release would.
fn migrate_further(file: &std::path::Path, token: &str) {
    use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
    let token = token.to_owned();
    let run = async {
        let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', TRUE, x'00', 1)",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let whisper = "UPDATE api_tokens SET scopes = '[\"deployment:a:WHISPER\"]' WHERE id = $1";
        assert_eq!(sqlx::query(whisper).bind(token).execute(&mut connection).await.unwrap().rows_affected(), 1);
        connection.close().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
}
