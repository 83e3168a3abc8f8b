//! What the command line changes holds in every running gateway within 250 ms of its exit.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{
    gateway::{Gateway, Setup, Token, deployment},
    http::get,
    postgres::Cluster,
    stores::{Kind, execute, new_database, over_both_stores, texts},
    upstream::Upstream,
    wait_until,
};

/// Promised.
const BOUND: Duration = Duration::from_millis(250);
/// What a busy machine may add at most; see [`waited_for_cpu`].
const MOST_EXCUSED: Duration = Duration::from_millis(150);

over_both_stores!(every_change_holds_within_the_bound, a_rotation_overlaps, a_later_deployment_of_the_name_is_closed);

/// The gateways on one store: two on PostgreSQL, which is for several, one on a file.
struct Fleet {
    gateways: Vec<Gateway>,
    bound: Duration,
    measured: Vec<(&'static str, Duration)>,
}

impl Fleet {
    fn start(kind: Kind, config: &str, poll_interval: &str, bound: Duration) -> Self {
        let first = kind.setup(config).env("STORE__POLL_INTERVAL", poll_interval).env("LOG__ACCESS", "false").start();
        let mut gateways = vec![first];
        if kind == Kind::Postgres {
            let url = gateways[0].setting("STORE__URL").to_owned();
            let second = Setup::new(config).env("STORE__URL", &url).env("LOG__ACCESS", "false");
            gateways.push(second.env("STORE__POLL_INTERVAL", poll_interval).start());
        }
        Self { gateways, bound, measured: Vec::new() }
    }

    /// Runs a command, and watches every gateway from its exit on until `holds` does in all.
    fn change(
        &mut self,
        what: &'static str,
        arguments: &[&str],
        holds: impl Fn(&Gateway, &Value) -> bool + Sync,
    ) -> Value {
        let busy_before = waited_for_cpu();
        let answer = self.gateways[0].cli(arguments);
        let exited = Instant::now();
        let times: Vec<Duration> = scope(|scope| {
            let watch = |gateway| {
                let (answer, holds) = (&answer, &holds);
                scope.spawn(move || {
                    wait_until(what, Duration::from_secs(20), || holds(gateway, answer));
                    exited.elapsed()
                })
            };
            let threads: Vec<_> = self.gateways.iter().map(watch).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let excused = (waited_for_cpu() - busy_before).min(MOST_EXCUSED);
        for time in times {
            assert!(time <= self.bound + excused, "{what}: {time:?}; the machine was busy for {excused:?} of it");
            self.measured.push((what, time));
        }
        answer
    }

    /// Everything that the command line can change.
    fn change_everything(&mut self, round: usize, upstream: &Upstream) {
        let name = |text: &str| format!("{text}-{round}");
        let (token, model, email) = (name("token"), name("model"), format!("user{round}@example.com"));
        let all: [&str; 6] = ["token", "create", &token, "--scope", "deployment:*", "--description=x"];
        let created = self.change("token created", &all, |gateway, answer| accepted(&code(gateway, answer)));
        let uid = created["uid"].as_str().unwrap();
        let text = created["token"].as_str().unwrap();

        let rotate = ["token", "rotate", uid, "--overlap", "0s"];
        let rotated = self.change("token rotated", &rotate, |gateway, answer| {
            accepted(&code(gateway, answer)) && gateway.code_of(text) == "token_rotated"
        });
        let (text, url) = (rotated["token"].as_str().unwrap(), format!("http://{}", upstream.address));
        let host = format!("{model}.test");
        let add = ["deployment", "add", &model, "--upstream", &url, "--host", &host];
        self.change("Deployment added", &add, |gateway, _| status(gateway, &host, text) == 200);
        let remove = ["deployment", "remove", &model];
        self.change("Deployment removed", &remove, |gateway, _| status(gateway, &host, text) == 404);
        self.change("token revoked", &["token", "revoke", uid], |gateway, _| gateway.code_of(text) == "token_revoked");

        self.gateways[0].cli(&["user", "create", "--email", &email, "--name", "U"]);
        let owned = ["token", "create", &token, "--scope", "deployment:*", "--owner", &email];
        let owned = self.change("token created", &owned, |gateway, answer| accepted(&code(gateway, answer)));
        let disable = ["user", "disable", &email];
        self.change("user disabled", &disable, |gateway, _| code(gateway, &owned) == "owner_disabled");
    }

    fn report(&self, what: &str) {
        let mut times: Vec<Duration> = self.measured.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{what}: {} changes, median {median:?}, worst {worst:?}", times.len());
    }
}

fn every_change_holds_within_the_bound(kind: Kind) {
    let upstream = Upstream::named("model");
    // The default.
    let mut fleet = Fleet::start(kind, "", "200ms", BOUND);
    for round in 0..4 {
        fleet.change_everything(round, &upstream);
    }
    fleet.report(&format!("{kind:?}"));
}

#[test]
fn postgres_says_at_once_what_a_poll_would_find_late() {
    let upstream = Upstream::named("model");
    let mut fleet = Fleet::start(Kind::Postgres, "", "10s", Duration::from_secs(1));
    for round in 0..3 {
        fleet.change_everything(round, &upstream);
    }
    fleet.report("Postgres, by notification alone");
}

/// As behind a pooler that swallows LISTEN: the connection that listens is ended again and again.
#[test]
fn lost_notifications_are_made_up_for_by_the_poll() {
    let upstream = Upstream::named("model");
    let mut fleet = Fleet::start(Kind::Postgres, "", "200ms", BOUND);
    let url = fleet.gateways[0].setting("STORE__URL").to_owned();
    let (ended, over) = (AtomicBool::new(false), AtomicBool::new(false));
    scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                let sql = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
                           WHERE datname = current_database() AND query LIKE 'LISTEN%'";
                if !texts(&url, sql).is_empty() {
                    ended.store(true, Relaxed);
                }
                sleep(Duration::from_millis(20));
            }
        });
        wait_until("a listening connection was ended", Duration::from_secs(10), || ended.load(Relaxed));
        // Nobody listens from here on for longer than some milliseconds a second.
        for round in 0..3 {
            fleet.change_everything(round, &upstream);
        }
        over.store(true, Relaxed);
    });
    fleet.report("Postgres, without notifications");
    let restored = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    wait_until("both gateways listen again", Duration::from_secs(10), || texts(&url, restored).len() == 2);
}

fn a_rotation_overlaps(kind: Kind) {
    let mut fleet = Fleet::start(kind, "", "200ms", BOUND);
    let old = fleet.gateways[0].new_token(&["deployment:*"], &[]);
    fleet.gateways.iter().for_each(|gateway| gateway.await_token(&old));
    let started = Instant::now();
    let new = fleet.change("token rotated", &["token", "rotate", &old.uid, "--overlap", "2s"], |gateway, answer| {
        accepted(&code(gateway, answer))
    });
    for gateway in &fleet.gateways {
        assert!(accepted(&gateway.code_of(&old.text)), "the old secret works on: {}", gateway.code_of(&old.text));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "too slow to see the overlap");
    for gateway in &fleet.gateways {
        wait_until("the old secret ends", Duration::from_secs(5), || gateway.code_of(&old.text) == "token_rotated");
        assert!(started.elapsed() >= Duration::from_secs(2), "it ended after {:?} already", started.elapsed());
        assert!(accepted(&code(gateway, &new)), "the new secret stays");
    }
}

fn a_later_deployment_of_the_name_is_closed(kind: Kind) {
    let upstream = Upstream::named("model");
    let mut fleet = Fleet::start(kind, &deployment("other", upstream.address, ""), "200ms", BOUND);
    let url = format!("http://{}", upstream.address);
    let add = ["deployment", "add", "model", "--upstream", &url, "--host", "model.test"];
    let create = |fleet: &Fleet, scopes: &[&str]| -> Token {
        let token = fleet.gateways[0].new_token(scopes, &[]);
        fleet.gateways.iter().for_each(|gateway| gateway.await_token(&token));
        token
    };
    let all = create(&fleet, &["deployment:*"]);
    fleet.change("Deployment added", &add, |gateway, _| status(gateway, "model.test", &all.text) == 200);
    let exact = create(&fleet, &["deployment:model"]);
    let both = create(&fleet, &["deployment:model", "deployment:other"]);
    for gateway in &fleet.gateways {
        assert_eq!(status(gateway, "model.test", &exact.text), 200);
        assert_eq!(status(gateway, "model.test", &both.text), 200);
    }
    let answers_of = |gateway: &Gateway| {
        let answer = |token: &Token| gateway.ask(&get("model.test", "/", &token.text)).code();
        (answer(&exact), answer(&both), status(gateway, "other.test", &both.text))
    };
    let closed = ("token_revoked".to_owned(), "insufficient_scope".to_owned(), 200);
    let removed = fleet.change("Deployment removed", &["deployment", "remove", "model"], |gateway, _| {
        status(gateway, "model.test", &all.text) == 404
    });
    assert_eq!(removed["tokens"].as_array().map(Vec::len), Some(2), "the command names the tokens it ended: {removed}");
    fleet.gateways.iter().for_each(|gateway| assert_eq!(answers_of(gateway), closed));
    fleet.change("Deployment added", &add, |gateway, _| status(gateway, "model.test", &all.text) == 200);
    fleet.gateways.iter().for_each(|gateway| assert_eq!(answers_of(gateway), closed, "a later one of the name"));
}

/// Notifications reach all gateways on a database, and none on another database of the same server.
#[test]
fn databases_of_one_server_do_not_hear_each_other() {
    let cluster = Cluster::shared();
    let (one, other) = (new_database(cluster), new_database(cluster));
    let gateway = Setup::new("").env("STORE__URL", &one).start();
    let beside = Setup::new("").env("STORE__URL", &other).start();
    let token = gateway.token(&["deployment:*"]);
    assert_eq!(beside.code_of(&token.text), "token_invalid");
    execute(&other, "NOTIFY bento_gateway_changes");
    sleep(Duration::from_millis(100));
    assert!(accepted(&gateway.code_of(&token.text)));
    assert_eq!(beside.code_of(&token.text), "token_invalid");
}

fn code(gateway: &Gateway, answer: &Value) -> String {
    gateway.code_of(answer["token"].as_str().unwrap())
}

/// Of [`Gateway::code_of`]: the token was good, and the question was not.
fn accepted(code: &str) -> bool {
    code == "deployment_not_found"
}

fn status(gateway: &Gateway, host: &str, token: &str) -> u16 {
    gateway.ask(&get(host, "/", token)).status
}

/// For how long some process of this machine has been ready to run and did not get a core. A test that measures time
/// excuses what it had to wait itself; without this file it excuses nothing.
fn waited_for_cpu() -> Duration {
    let text = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let micros = text.lines().next().and_then(|line| line.rsplit_once("total=")?.1.parse().ok());
    Duration::from_micros(micros.unwrap_or(0))
}
