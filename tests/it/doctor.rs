//! `bento-gateway doctor`: what it finds, and that it only looks.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{
    authority::{Authority, Validity},
    commands::{CommandLine, Run},
    gateway::{deployment, free_address},
    pair::Pair,
    pooler::Pooler,
    postgres::Cluster,
    upstream::{Upstream, response},
};

/// What was found, and how the command ended.
struct Report {
    code: i32,
    findings: Vec<Value>,
}

impl Report {
    fn of(run: &Run) -> Self {
        let findings =
            serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {} {}", run.out, run.err));
        Self { code: run.code, findings }
    }

    /// `CHECK STATUS: FOUND`, of those checks.
    fn said(&self, check: &str) -> Vec<String> {
        let of_check = self.findings.iter().filter(|finding| finding["check"] == check);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of_check.map(|finding| format!("{}: {}", text(&finding["status"]), text(&finding["found"]))).collect()
    }

    #[track_caller]
    fn says(&self, check: &str, status: &str, text: &str) {
        let said = self.said(check);
        assert!(
            said.iter().any(|said| said.starts_with(status) && said.contains(text)),
            "{check} {status} {text}: {said:?}"
        );
    }
}

fn doctor(commands: &CommandLine, args: &[&str], env: &[(&str, &str)]) -> Report {
    // Where no other test's gateway is.
    let management = free_address().to_string();
    let env = [env, &[("BENTO_GATEWAY__MANAGEMENT__LISTEN", &management)]].concat();
    Report::of(&commands.run_with(&[&["doctor", "-o", "json"], args].concat(), &env, ""))
}

/// Every file in a directory, with its content.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().to_owned());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_gateway_that_runs_is_found_well() {
    let pair = Pair::plain();
    let output = pair.gateway.cli_command(&["doctor", "-o", "json"]).output().unwrap();
    let report = Report::of(&Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    });
    assert_eq!(report.code, 0, "{:?}", report.findings);
    report.says("gateway", "ok", "says that it is ready");
    report.says("store", "ok", "can be read and written");
    report.says("migrations", "ok", "have been made");
    report.says("replicas", "ok", "1 running on this store");
    report.says("clock", "ok", "the gateways' clocks agree");
    report.says("upstream", "ok", "of a is ready (/readyz)");
    report.says("direct_access", "ok", "only this machine reaches it");
    report.says("listener", "ok", "only this machine reaches the management listener");
    report.says("trusted_proxies", "ok", "nobody's");
    report.says("files", "ok", "nobody else");
    assert_eq!(report.said("descriptors").len(), 1);
    let paths: Vec<String> = pair.upstream.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(paths, ["/readyz"], "a service is asked once");

    let table = pair.gateway.cli_command(&["doctor"]).output().unwrap();
    let (out, err) = (String::from_utf8(table.stdout).unwrap(), String::from_utf8(table.stderr).unwrap());
    assert!(
        out.starts_with("CHECK") && out.contains("migrations") && err.starts_with("Nothing failed; "),
        "{out}{err}"
    );
}

#[test]
fn what_is_wrong_is_told_with_what_to_do_and_without_secrets() {
    let commands = CommandLine::with_admin();
    let (ended, other) = (Authority::new().signs_for(&["a.test"], Validity::Over), Authority::new().signs(&["a.test"]));
    ended.write(commands.path(), "ended");
    other.write(commands.path(), "other");
    let upstream = Upstream::answering(|_| response(404, &[], b"no such path"));
    let text = format!(
        "[proxy]\nlisten = \"0.0.0.0:0\"\ntrusted_proxies = [\"0.0.0.0/0\"]\ntls.certificate = \"ended.pem\"\n\
         tls.key = \"ended-key.pem\"\n[management]\nlisten = \"{}\"\ntls.certificate = \"ended.pem\"\n\
         tls.key = \"other-key.pem\"\n[tokens]\npepper = \"hush-hush-hush-hush-hush-hush-32\"\n{}{}{}",
        free_address(),
        deployment("odd", upstream.address, ""),
        deployment("down", free_address(), ""),
        deployment("probed", upstream.address, "probe_interval = \"1s\"").replace("probed.test", "probed2.test"),
    );
    commands.write("gateway.toml", &text);
    let run = commands.run(&["doctor", "-o", "json", "-c", "gateway.toml"]);
    assert!(!run.out.contains("hush-hush") && !run.err.contains("hush-hush"), "{}{}", run.out, run.err);
    let report = Report::of(&run);
    assert_eq!(report.code, 1);
    report.says("certificate", "fail", "ended.pem (proxy.tls) has ended 2020-01-01T00:00:00.000Z");
    report.says("certificate", "fail", "management.tls cannot be used: the certificate and the key do not make a pair");
    report.says("upstream", "warn", "of odd answered 404 at /readyz");
    report.says("upstream", "fail", "of down is not ready (/readyz): there is no connection");
    report.says("upstream", "fail", "of probed is not ready (/readyz): it answered 404");
    report.says("trusted_proxies", "fail", "0.0.0.0/0 is everybody");
    report.says("files", "warn", "gateway.toml (mode 0644): it holds tokens.pepper");
    report.says("files", "warn", "ended-key.pem (mode 0644): it holds a secret");
    report.says("gateway", "unknown", "did not answer");
    for finding in &report.findings {
        assert_eq!(finding["advice"].is_string(), finding["status"] != "ok", "{finding}");
    }

    let table = commands.run(&["doctor", "-c", "gateway.toml"]);
    assert_eq!(table.code, 1);
    assert!(table.out.contains("→ chmod o-rwx gateway.toml"), "{}", table.out);
    assert!(table.err.starts_with("error: ") && table.err.contains(" failed, "), "{}", table.err);
}

#[test]
fn a_configuration_that_is_not_valid_is_a_finding_too() {
    let commands = CommandLine::new();
    let report = doctor(&commands, &["--listen", "nowhere"], &[]);
    assert_eq!(report.code, 78);
    report.says("configuration", "fail", "it has a problem");
}

/// Also while somebody writes, whom a lock would keep waiting.
#[test]
fn an_sqlite_store_is_looked_at_and_nothing_is_changed() {
    let commands = CommandLine::new();
    let report = doctor(&commands, &[], &[]);
    report.says("store", "warn", "bento-gateway.db does not exist yet");
    assert_eq!((report.code, contents(commands.path())), (0, Vec::new()), "{:?}", report.findings);

    commands.json(&["user", "create", "--email", "ada@example.com", "--name", "Ada", "--admin"]);
    let path = commands.path().join(".local/share/bento-gateway/bento-gateway.db");
    // A command may end before SQLite has put its log into the file; whoever opens the file next does.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut opened = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
        opened.execute("SELECT count(*) FROM users").await.unwrap();
        opened.close().await.unwrap();
    });
    let before = contents(commands.path());
    doctor(&commands, &[], &[]).says("migrations", "ok", "have been made");
    assert!(contents(commands.path()) == before, "a file was changed or made");

    let during = |statement: &'static str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut writer =
                SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
            writer.execute("BEGIN IMMEDIATE").await.unwrap();
            writer.execute(AssertSqlSafe(statement)).await.unwrap();
            let report = doctor(&commands, &[], &[]);
            writer.execute("COMMIT").await.unwrap();
            writer.close().await.unwrap();
            report
        })
    };
    let report = during("INSERT INTO _sqlx_migrations VALUES (9999, 'of a later release', 0, true, x'00', 0)");
    report.says("migrations", "ok", "have been made");
    let report = during("DELETE FROM _sqlx_migrations WHERE version = 12");
    report.says("migrations", "warn", "9999 are of a later release");
    let report = doctor(&commands, &[], &[]);
    report.says("migrations", "warn", "0012 are to come");
    report.says("upstream", "unknown", "the Deployments of the store are not known");

    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    doctor(&commands, &[], &[]).says("files", "fail", "may replace files in");
}

#[test]
fn a_postgresql_store_is_looked_at_and_nothing_is_changed() {
    let (cluster, commands) = (Cluster::shared(), CommandLine::new());
    let url = cluster.database_url();
    let look = |url: &str| doctor(&commands, &["--store", url], &[]);
    for _ in 0..2 {
        let report = look(&url);
        report.says("store", "ok", "PostgreSQL ");
        report.says("migrations", "warn", "the store is empty");
        report.says("clock", "ok", "this machine's clock is ");
    }
    assert_eq!(commands.run(&["user", "list", "--store", &url]).code, 0);
    look(&url).says("migrations", "ok", "have been made");

    let name = url.rsplit_once('/').unwrap().1;
    look(&Pooler::start(cluster, "session").url(name)).says("pooler", "ok", "a session of its own");
    look(&Pooler::start(cluster, "transaction").url(name)).says("store", "fail", "set pool_mode = session");
    let wrong = url.replacen("gateway:", "gateway:wrong", 1);
    let report = look(&wrong);
    report.says("store", "fail", "cannot be used");
    assert!(!report.findings.iter().any(|finding| finding.to_string().contains("wrong")), "{:?}", report.findings);
}

#[test]
fn a_database_that_says_nothing_is_not_waited_for() {
    let (silent, commands) = (TcpListener::bind("127.0.0.1:0").unwrap(), CommandLine::new());
    let url = format!("postgres://gateway@{}/gateway", silent.local_addr().unwrap());
    let begun = Instant::now();
    let report = doctor(&commands, &["--store", &url], &[("BENTO_GATEWAY__STORE__ACQUIRE_TIMEOUT", "100ms")]);
    report.says("store", "fail", "it did not answer in time");
    report.says("files", "ok", "");
    assert!(report.code == 1 && begun.elapsed() < Duration::from_secs(60));
}

/// A credential that the service asks for is a way to keep others out, wherever it listens.
#[test]
fn a_service_that_asks_for_a_credential_is_not_reached_around_the_gateway() {
    let commands = CommandLine::new();
    commands.write("credential", "Bearer sesame-sesame-sesame");
    let upstream = Upstream::answering(|request| match request.header("authorization") {
        Some("Bearer sesame-sesame-sesame") => response(200, &[], b""),
        _ => response(401, &[], b""),
    });
    let settings = "upstream_credential_file = \"credential\"";
    commands.write("gateway.toml", &deployment("a", upstream.address, settings));
    let report = doctor(&commands, &["-c", "gateway.toml"], &[]);
    report.says("upstream", "ok", "of a is ready");
    report.says("direct_access", "ok", "answers 401 to who does not show its credential");
    assert!(!report.findings.iter().any(|finding| finding.to_string().contains("sesame")));
}
