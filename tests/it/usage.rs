//! When tokens were last used: written seldom, and not lost.

use std::{
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use bento_gateway::system;
use sqlx::Connection;

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment},
    http::get,
    postgres::Cluster,
    stores::{Kind, block_on, execute, new_database, over_both_stores, texts},
    upstream::Upstream,
    wait_until,
};

over_both_stores!(
    a_thousand_requests_are_few_writes,
    the_last_uses_are_written_at_the_end,
    refused_requests_are_no_uses,
);

fn a_thousand_requests_are_few_writes(kind: Kind) {
    let upstream = Upstream::named("model");
    let setup = kind.setup(&deployment("model", upstream.address, "")).env("TOKENS__USAGE_INTERVAL", "200ms");
    let gateway = setup.env("LOG__ACCESS", "false").start();
    let url = gateway.setting("STORE__URL").to_owned();
    count_writes(&url);
    let tokens: Vec<Token> = (0..4).map(|_| gateway.token(&["deployment:*"])).collect();
    assert_eq!(last_used(&gateway, &tokens[0]), None);

    let (before, started) = (system::now().to_string(), Instant::now());
    scope(|scope| {
        for token in &tokens {
            scope.spawn(|| {
                let mut caller = gateway.connect();
                for _ in 0..250 {
                    assert_eq!(caller.ask(get("model.test", "/", &token.text)).status, 200);
                }
            });
        }
    });
    for token in &tokens {
        wait_until("its use is written", SOON, || last_used(&gateway, token).is_some());
        let used = last_used(&gateway, token).unwrap();
        assert!(used >= before && used <= system::now().to_string(), "{before} {used}");
    }
    // What is noted in the second that has begun is written, too.
    sleep(Duration::from_millis(300));
    let took = started.elapsed();
    // A token is noted once in each second of the clock, whatever it is used for: at most so often is its row written.
    let writes = texts(&url, "SELECT CAST(n AS TEXT) FROM test_writes").len();
    let most = 4 * (usize::try_from(took.as_secs()).unwrap() + 2);
    assert!((4..=most).contains(&writes), "{writes} rows were written in {took:?}");
    println!("{kind:?}: 1000 requests with 4 tokens in {took:?}: {writes} rows written");
}

fn the_last_uses_are_written_at_the_end(kind: Kind) {
    let upstream = Upstream::named("model");
    let setup = kind.setup(&deployment("model", upstream.address, "")).env("TOKENS__USAGE_INTERVAL", "1h");
    let mut gateway = setup.start();
    let token = gateway.token(&["deployment:*"]);
    assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
    assert_eq!(last_used(&gateway, &token), None, "an hour has not passed");
    let started = Instant::now();
    assert!(gateway.terminate().success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(last_used(&gateway, &token).is_some(), "the last use is lost");
}

fn refused_requests_are_no_uses(kind: Kind) {
    let upstream = Upstream::named("model");
    let config = deployment("model", upstream.address, "") + &deployment("other", upstream.address, "");
    let mut gateway = kind.setup(&config).start();
    let (token, revoked) = (gateway.token(&["deployment:model"]), gateway.token(&["deployment:model"]));
    gateway.revoke(&revoked);
    wait_until("it is revoked", SOON, || gateway.code_of(&revoked.text) == "token_revoked");
    assert_eq!(gateway.ask(&get("other.test", "/", &token.text)).status, 403);
    assert_eq!(gateway.ask(&get("model.test", "/", &revoked.text)).status, 401);
    assert!(gateway.terminate().success());
    assert_eq!((last_used(&gateway, &token), last_used(&gateway, &revoked)), (None, None));
}

#[test]
fn uses_outlive_an_outage_of_postgres() {
    let cluster = Cluster::start();
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, "")).env("STORE__URL", &new_database(&cluster));
    let gateway = setup.env("TOKENS__USAGE_INTERVAL", "200ms").start();
    let token = gateway.token(&["deployment:*"]);
    cluster.stop();
    let before = system::now().to_string();
    assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
    let after = system::now().to_string();
    wait_until("a write has failed", SOON, || complained(&gateway));
    cluster.start_again();
    wait_until("the use is written", SOON, || last_used(&gateway, &token).is_some());
    let used = last_used(&gateway, &token).unwrap();
    assert!(before <= used && used <= after, "when it was used, not when it was written: {before} {used} {after}");
}

#[test]
fn uses_wait_for_a_locked_file() {
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, "")).env("TOKENS__USAGE_INTERVAL", "200ms");
    let gateway = setup.start();
    let token = gateway.token(&["deployment:*"]);
    let path = gateway.setting("STORE__URL").strip_prefix("sqlite:").unwrap().to_owned();
    block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let lock = connection.begin_with("BEGIN EXCLUSIVE").await.unwrap();
        assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200, "requests do not wait");
        sleep(Duration::from_secs(1));
        assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
        lock.rollback().await.unwrap();
    });
    wait_until("the use is written", SOON, || last_used(&gateway, &token).is_some());
}

#[test]
fn an_end_during_an_outage_is_not_held_up_for_long() {
    let cluster = Cluster::start();
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, "")).env("STORE__URL", &new_database(&cluster));
    let mut gateway = setup.env("TOKENS__USAGE_INTERVAL", "1h").start();
    let token = gateway.token(&["deployment:*"]);
    assert_eq!(gateway.ask(&get("model.test", "/", &token.text)).status, 200);
    cluster.pause();
    let started = Instant::now();
    assert!(gateway.terminate().success());
    let took = started.elapsed();
    cluster.resume();
    // Twice store.acquire_timeout, 2 s, is what any statement gets.
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(complained(&gateway), "what is lost is said");
}

fn complained(gateway: &Gateway) -> bool {
    gateway.stderr().iter().any(|line| line.contains("last used could not be written"))
}

fn last_used(gateway: &Gateway, token: &Token) -> Option<String> {
    gateway.cli(&["token", "get", &token.uid])["last_used_at"].as_str().map(str::to_owned)
}

/// From now on each row of which `last_used_at` is written leaves one in `test_writes`.
fn count_writes(url: &str) {
    let each = "AFTER UPDATE OF last_used_at ON api_tokens FOR EACH ROW";
    let sql = if url.starts_with("sqlite:") {
        format!("CREATE TRIGGER count_writes {each} BEGIN INSERT INTO test_writes VALUES (1); END;")
    } else {
        format!(
            "CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO test_writes VALUES (1); RETURN NULL; END $$;
             CREATE TRIGGER count_writes {each} EXECUTE FUNCTION count_write();"
        )
    };
    execute(url, &format!("CREATE TABLE test_writes (n INTEGER NOT NULL); {sql}"));
}
