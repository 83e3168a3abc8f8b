//! A gateway that is killed at any moment while it writes: what it has answered is there afterwards, and nothing is
//! there by half. `scripts/kill-loop` does the same a thousand times.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, FromRow, PgConnection, SqliteConnection,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tokio::runtime::Runtime;

use super::fleet::{create, revoke};
use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment},
    postgres::Cluster,
    upstream::Upstream,
};

/// In the test suite, for each database. `KILL_ROUNDS` asks for more.
const ROUNDS: u32 = 100;
/// Tokens are made and revoked by as many at once.
const WRITERS: usize = 3;

/// Each counts what a change that was made by half would leave.
const HALVES: [&str; 6] = [
    "SELECT count(*) FROM api_tokens t WHERE NOT EXISTS (SELECT 1 FROM token_secrets s WHERE s.token_id = t.id)",
    "SELECT (SELECT count(*) FROM api_tokens) - (SELECT count(*) FROM audit_events WHERE action = 'token.created')",
    "SELECT (SELECT count(*) FROM api_tokens WHERE revoked_at IS NOT NULL)
        - (SELECT count(*) FROM audit_events WHERE action = 'token.revoked')",
    "SELECT (SELECT seq FROM change_seq) - (SELECT max(seq) FROM change_marks)",
    "SELECT (SELECT seq FROM change_seq) - (SELECT max(changed_seq) FROM token_secrets)",
    // The marks of so many changes are kept.
    "SELECT count(*) FROM token_secrets WHERE changed_seq NOT IN (SELECT seq FROM change_marks)
        AND changed_seq > (SELECT seq - 10000 FROM change_seq)",
];

/// The gateway's store, looked at past the gateway.
enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

/// What the writers know of a token.
#[derive(Clone)]
struct Known {
    token: Token,
    /// `None`: it was asked for, and not answered.
    revoked: Option<bool>,
}

impl Database {
    /// The one column of all rows.
    async fn all<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: Send + Unpin,
        (T,): for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
    {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    }
}

/// Makes tokens and revokes every other one, until the gateway is gone.
fn write(gateway: &Gateway, admin: &Token, known: &Mutex<BTreeMap<String, Known>>) {
    for number in 0.. {
        let Some((status, made)) = create(gateway.management, admin) else { return };
        assert_eq!(status, 200, "{made}");
        let uid = made["uid"].as_str().unwrap().to_owned();
        let token = Token { text: made["token"].as_str().unwrap().to_owned(), uid: uid.clone() };
        let note = |revoked| drop(known.lock().unwrap().insert(uid.clone(), Known { token: token.clone(), revoked }));
        if number % 2 == 1 {
            note(Some(false));
            continue;
        }
        note(None);
        let Some((status, ended)) = revoke(gateway.management, admin, &uid) else { return };
        assert_eq!(status, 200, "{ended}");
        note(Some(true));
    }
}

/// Whatever was answered is there, nothing is there by half, and the gateway decides by it.
fn check(gateway: &Gateway, database: &Database, runtime: &Runtime, known: &BTreeMap<String, Known>) {
    let (live, over) = runtime.block_on(async {
        for sql in HALVES {
            assert_eq!(database.all::<i64>(sql).await, [0], "{sql}");
        }
        let live = database.all("SELECT CAST(id AS TEXT) FROM api_tokens WHERE revoked_at IS NULL").await;
        let revoked = database.all("SELECT CAST(id AS TEXT) FROM api_tokens WHERE revoked_at IS NOT NULL").await;
        (BTreeSet::<String>::from_iter(live), BTreeSet::<String>::from_iter(revoked))
    });
    for (uid, token) in known {
        let there = (live.contains(uid), over.contains(uid));
        match token.revoked {
            Some(revoked) => assert_eq!(there, (!revoked, revoked), "{uid}"),
            None => assert!(there.0 || there.1, "{uid}"),
        }
    }
    // By uid, whose order is that of time.
    let last = |revoked| known.values().rev().find(|token| token.revoked == Some(revoked));
    for (revoked, code) in [(false, "insufficient_scope"), (true, "token_revoked")] {
        if let Some(known) = last(revoked) {
            assert_eq!(gateway.code_of(&known.token.text), code);
        }
    }
}

/// The gateway lives for at most `longest_life` after each start, or after its first answer.
fn killed_again_and_again(setup: Setup, database: &Database, longest_life: Duration) {
    let rounds = std::env::var("KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut gateway = setup.start();
    let admin = gateway.token(&["api"]);
    let known = Mutex::new(BTreeMap::new());
    let started = Instant::now();
    let answered = || known.lock().unwrap().len();
    for round in 0..rounds {
        let chance = f64::from(blake3::hash(&round.to_le_bytes()).as_bytes()[0]) / 255.0;
        let (before, begun) = (answered(), Instant::now());
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| write(&gateway, &admin, &known))).collect();
            // On the slowest machine something is answered in every other round.
            while round % 2 == 0 && answered() == before && begun.elapsed() < SOON {
                sleep(Duration::from_millis(2));
            }
            sleep(longest_life.mul_f64(chance));
            gateway.signal("KILL");
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        });
        gateway.kill();
        gateway.start_again();
        // The killed one has ended for certain: no receipt need wait for it.
        runtime.block_on(database.all::<i64>("DELETE FROM replicas RETURNING CAST(0 AS BIGINT)"));
        check(&gateway, database, &runtime, &known.lock().unwrap());
    }
    let answered = answered();
    println!("{rounds} rounds, {answered} tokens answered, {:?} for each", started.elapsed() / rounds);
    let expected = usize::try_from(rounds).unwrap() / 2;
    assert!(answered >= expected, "too little was written: {answered} tokens in {rounds} rounds");
}

#[test]
fn on_sqlite_nothing_answered_is_lost() {
    let upstream = Upstream::named("a");
    let setup = Setup::new(&deployment("a", upstream.address, ""));
    let database = Database::Sqlite(setup.directory().join("gateway.db"));
    killed_again_and_again(setup, &database, Duration::from_millis(150));
}

#[test]
fn on_postgres_nothing_answered_is_lost() {
    let upstream = Upstream::named("a");
    let url = Cluster::shared().database_url();
    let setup = Setup::new(&deployment("a", upstream.address, "")).env("STORE__URL", &url);
    // It has connections to make first.
    killed_again_and_again(setup, &Database::Postgres(url), Duration::from_millis(300));
}
