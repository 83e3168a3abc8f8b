//! What was acknowledged is there after the worst end that a process can have.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    thread::sleep,
    time::Instant,
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment},
    http::get,
    postgres::Cluster,
    stores::{Kind, execute, new_database, over_both_stores, texts},
    upstream::Upstream,
    wait_until,
};

/// How often everything is killed.
const ROUNDS: usize = 20;

over_both_stores!(a_killed_command_line_leaves_the_store_whole);

#[test]
fn sqlite_tokens_survive_a_kill_of_the_gateway() {
    let upstream = Upstream::named("model");
    let mut gateway = Gateway::start(&deployment("model", upstream.address, ""));
    let mut made = Vec::new();
    for round in 0..ROUNDS {
        let (mut cli, text) = create(&gateway, round);
        gateway.signal("KILL");
        // The command line has not ended, perhaps, and never will by itself.
        cli.kill().unwrap();
        cli.wait().unwrap();
        gateway.wait();
        gateway.launch_again();
        gateway.becomes_ready();
        assert_eq!(status(&gateway, &text), 200, "round {round}: a token that was printed is lost");
        made.push(text);
    }
    assert_all_work(&gateway, &made);
    assert_eq!(texts(gateway.setting("STORE__URL"), "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn postgres_tokens_survive_a_kill_of_gateway_and_server() {
    let cluster = Cluster::start();
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, ""));
    let mut gateway = setup.env("STORE__URL", &new_database(&cluster)).start();
    let mut made = Vec::new();
    for round in 0..ROUNDS {
        let (mut cli, text) = create(&gateway, round);
        cluster.kill();
        gateway.kill();
        cli.kill().unwrap();
        cli.wait().unwrap();
        // Half of the time the gateway is there first.
        if round % 2 == 0 {
            gateway.launch_again();
            cluster.start_again();
        } else {
            cluster.start_again();
            gateway.launch_again();
        }
        gateway.becomes_ready();
        assert_eq!(status(&gateway, &text), 200, "round {round}: a token that was printed is lost");
        made.push(text);
    }
    assert_all_work(&gateway, &made);
}

/// Revocations are acknowledged, too.
#[test]
fn a_revocation_survives_a_kill() {
    let upstream = Upstream::named("model");
    let mut gateway = Gateway::start(&deployment("model", upstream.address, ""));
    for round in 0..5 {
        let token = gateway.token(&["deployment:*"]);
        assert_eq!(status(&gateway, &token.text), 200);
        gateway.revoke(&token);
        gateway.kill();
        gateway.launch_again();
        gateway.becomes_ready();
        assert_eq!(gateway.code_of(&token.text), "token_revoked", "round {round}");
    }
}

fn a_killed_command_line_leaves_the_store_whole(kind: Kind) {
    let upstream = Upstream::named("model");
    let gateway = kind.setup(&deployment("model", upstream.address, "")).start();
    let url = gateway.setting("STORE__URL").to_owned();
    let started = Instant::now();
    gateway.new_token(&["deployment:*"], &[]);
    let whole_command = started.elapsed();
    let (mut whole, mut none) = (0, 0);
    for round in 0..40 {
        let name = format!("killed-{round}");
        let arguments = ["token", "create", &name, "--scope", "deployment:*", "-o", "json"];
        let mut cli = gateway.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // From before its first line to after its last one.
        sleep(whole_command * round / 30);
        cli.kill().unwrap();
        let mut printed = String::new();
        cli.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        cli.wait().unwrap();

        let stored = texts(&url, &format!("SELECT name FROM api_tokens WHERE name = '{name}'")).len();
        let secrets = texts(
            &url,
            &format!(
                "SELECT lookup_id FROM token_secrets WHERE token_id = (SELECT id FROM api_tokens WHERE name = '{name}')"
            ),
        );
        assert_eq!(secrets.len(), stored, "a token and its secret are one");
        match token_in(&printed) {
            Some(text) => {
                assert_eq!(stored, 1, "round {round}: printed, and not there");
                wait_until("it works", SOON, || status(&gateway, &text) == 200);
            }
            None if stored == 0 => none += 1,
            None => {}
        }
        whole += stored;
        // The name is free, or taken by a whole token: the next command can say which.
        let again = gateway.command(&arguments).output().unwrap();
        assert_eq!(again.status.code(), Some(if stored == 1 { 4 } else { 0 }), "{again:?}");
    }
    println!("{kind:?}: of 40 killed commands {whole} had made their token and {none} had not");
    assert!(whole > 0 && none > 0, "the kills did not hit both sides of the commit: {whole} and {none}");
    // No lock is left behind.
    execute(&url, "UPDATE change_seq SET seq = seq + 1");
    if kind == Kind::Sqlite {
        assert_eq!(texts(&url, "PRAGMA integrity_check"), ["ok"]);
    }
}

/// Starts the command; returns as soon as it has printed the token, whether it has ended or not.
fn create(gateway: &Gateway, round: usize) -> (Child, String) {
    let name = format!("round-{round}");
    let mut command = gateway.command(&["token", "create", &name, "--scope", "deployment:*", "-o", "json"]);
    let mut cli = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(cli.stdout.take().unwrap()).lines();
    let text = lines.map_while(Result::ok).find_map(|line| token_in(&line)).expect("a token is printed");
    (cli, text)
}

/// The whole token in what may be a part of an answer.
fn token_in(text: &str) -> Option<String> {
    let start = text.find("bgw_")?;
    text.get(start..start + 66).map(str::to_owned)
}

fn assert_all_work(gateway: &Gateway, tokens: &[String]) {
    assert_eq!(tokens.len(), ROUNDS);
    for (round, text) in tokens.iter().enumerate() {
        assert_eq!(status(gateway, text), 200, "the token of round {round}, in the end");
    }
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.ask(&get("model.test", "/", token)).status
}
