//! `bento-gateway store copy`, `backup` and `restore`: everything arrives, or nothing does, and gateways notice.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use bento_gateway::store::copied_tables;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{
    SOON,
    commands::{CommandLine, Run},
    gateway::{Gateway, deployment},
    pair::Pair,
    postgres::Cluster,
    upstream::Upstream,
    wait_until,
};

/// What no command writes, with what is hard to copy: texts that are no ASCII, quotes, NULL, the last moment of all, more rows
/// than are read at once, keys of several columns, of which some are empty.
const ROWS: &str = "
    INSERT INTO token_usage SELECT id, 20000, 7 FROM api_tokens;
    INSERT INTO identities SELECT 'https://idp.example.com', 'sub \"x\" \\ ü', id, 1790000000123 FROM users LIMIT 1;
    INSERT INTO hand_overs SELECT 'aa', 'bb', id, 'a', 253402300799999, NULL FROM users LIMIT 1;
    INSERT INTO hand_overs SELECT 'ab', 'bc', owner_id, 'a', 1, id FROM api_tokens LIMIT 1;
    INSERT INTO console_sessions SELECT 'cc', id, 1, 2, '::1', 'Mozilla ''5'' 漢字' FROM users LIMIT 1;
    INSERT INTO logins VALUES ('dd', '::1', 'curl', 1, 2, NULL, NULL, NULL, NULL);
    INSERT INTO logins SELECT 'de', '::1', 'curl', 1, 2, 3, id, '[\"api\",\"deployment:a\"]', 4 FROM users LIMIT 1;
    INSERT INTO traffic WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1499)
        SELECT i / 7, 'latency.' || (i % 7), CASE i % 2 WHEN 0 THEN '' ELSE 'a' END, i FROM n;
    INSERT INTO usage_hours SELECT 490000, id, '', 1, 2, 9007199254740993, 4, 5, 6, 7, 8 FROM api_tokens;
    INSERT INTO usage_batches VALUES ('0198f1d2-0000-7000-8000-000000000000', 1790000000123);
    INSERT INTO declared_deployments VALUES ('elsewhere', 1790000000001);
    INSERT INTO given_hosts VALUES ('b.test') ON CONFLICT DO NOTHING;
    INSERT INTO let_through VALUES
        ('a', 'credential_missing', '00000000-0000-0000-0000-000000000000', '192.0.2.7', 3, 1, 2);
";

fn sqlite(path: &Path, sql: &str) {
    block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Every row of every table that is copied, as what it says.
fn everything(path: &Path) -> Vec<(&'static str, Vec<Value>)> {
    block_on(async {
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
        let mut all = Vec::new();
        for (table, _) in copied_tables() {
            let columns = columns(&mut connection, table).await.into_iter().map(|column| match &*column {
                "spec" | "detail" | "scopes" => format!("'{column}', json({column})"),
                "key" => format!("'{column}', hex({column})"),
                _ => format!("'{column}', {column}"),
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT json_object({columns}) AS row FROM {table} ORDER BY row");
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
            all.push((table, rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()));
        }
        connection.close().await.unwrap();
        all.iter_mut().for_each(|(_, rows): &mut (_, Vec<Value>)| rows.sort_by_key(Value::to_string));
        all
    })
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    let sql = "SELECT name FROM pragma_table_info(?)";
    sqlx::query_scalar(sql).bind(table).fetch_all(connection).await.unwrap()
}

/// A store with something in each table, at the place where the commands look for it.
fn filled() -> CommandLine {
    let commands = CommandLine::with_admin();
    commands.json(&["deployment", "add", "a", "--upstream", "http://127.0.0.1:3000", "--host", "a.test"]);
    commands.json(&["deployment", "add", "gone", "--upstream", "http://127.0.0.1:3000"]);
    commands.json(&["deployment", "remove", "gone"]);
    let token = |name: &str, more: &[&str]| commands.json(&[&["token", "create", name], more].concat());
    token("never – ends", &["--expires", "never"]);
    token("scoped", &["--scope", "deployment:a", "--scope", "deployment:b-*", "--description", "über \"alles\" 漢字"]);
    let revoked = token("revoked", &[]);
    commands.json(&["token", "revoke", revoked["uid"].as_str().unwrap()]);
    commands.json(&["token", "rotate", "scoped", "--overlap", "1h"]);
    commands.json(&["user", "create", "--email", "bob@example.com", "--name", "Bob"]);
    commands.json(&["user", "invite", "bob@example.com"]);
    sqlite(&commands.path().join(STORE), ROWS);
    commands
}

const STORE: &str = ".local/share/bento-gateway/bento-gateway.db";

#[test]
fn a_store_is_copied_to_the_other_database_and_back() {
    let commands = filled();
    let (first, postgres) = (commands.path().join(STORE), Cluster::shared().database_url());
    let before = everything(&first);
    assert!(before.iter().all(|(table, rows)| !rows.is_empty() || *table == "organization"), "{before:?}");
    let copied = commands.json(&["store", "copy", "--to", &postgres]);
    assert_eq!(copied["audit"]["intact"], true);
    assert_eq!(everything(&first), before, "the source is only read");

    commands.write("to", "sqlite:back.db\n");
    let back = commands.json(&["store", "copy", "--store", &postgres, "--to-file", "to"]);
    assert_eq!(back, copied);
    assert_eq!(everything(&commands.path().join("back.db")), before);

    let looks: [&[&str]; 6] = [
        &["token", "list"],
        &["user", "list"],
        &["deployment", "list"],
        &["audit", "list"],
        &["audit", "checkpoint"],
        &["usage", "--since", "2020-01-01", "--until", "2026-01-01"],
    ];
    for look in looks {
        let of = |url: &str| commands.json(&[look, &["--store", url]].concat());
        let original = commands.json(look);
        assert_eq!((of(&postgres), of("sqlite:back.db")), (original.clone(), original), "{look:?}");
    }
    // The copy goes on where the original was.
    let next = |args: &[&str]| commands.json(&[&["token", "create", "next"], args].concat());
    next(&["--store", &postgres]);
    assert_eq!(commands.run(&["audit", "verify", "--store", &postgres]).code, 0);
}

/// A table or a column of a later migration would be lost without a word.
#[test]
fn nothing_is_left_out() {
    let commands = CommandLine::with_admin();
    let path = commands.path().join(STORE);
    block_on(async {
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let tables: BTreeSet<String> =
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap().into_iter().collect();
        let left_out = ["_sqlx_migrations", "change_marks", "change_seq", "replicas"];
        let copied = copied_tables().map(|(table, _)| table).chain(left_out).map(str::to_owned).collect();
        assert_eq!(tables, copied);
        for (table, written) in copied_tables() {
            let written = written.split_once('(').unwrap().1.split_once(')').unwrap().0;
            let written: BTreeSet<String> = written.split(", ").map(str::to_owned).collect();
            assert_eq!(columns(&mut connection, table).await.into_iter().collect::<BTreeSet<_>>(), written, "{table}");
        }
    });
}

#[test]
fn what_cannot_be_copied_is_refused_and_nothing_is_changed() {
    let commands = CommandLine::with_admin();
    let other = Cluster::shared().database_url();
    commands.json(&["user", "create", "--email", "a@example.com", "--name", "A", "--store", "sqlite:full.db"]);
    let refused = |args: &[&str], texts: &[&str]| commands.refused(&[&["store"], args].concat(), 4, texts);
    refused(&["copy", "--to", "sqlite:full.db"], &["is not empty", "nothing is ever added"]);
    assert_eq!(commands.json(&["user", "list", "--store", "sqlite:full.db"]).as_array().unwrap().len(), 1);
    refused(&["copy", "--to", &format!("sqlite:{STORE}")], &["is not empty"]);
    refused(&["copy", "--store", "sqlite:none.db", "--to", "sqlite:new.db"], &["there is no store"]);
    refused(&["copy", "--to", "mysql://u:hush@h/d"], &["--to is not the URL of a supported database"]);
    refused(&["restore", "none.db", "--store", "sqlite:new.db"], &["there is no store"]);
    refused(&["backup", "full.db"], &["full.db exists already"]);
    assert!(!commands.path().join("new.db").exists());

    let path = commands.path().join(STORE);
    sqlite(&path, "INSERT INTO _sqlx_migrations VALUES (9999, 'of a later release', 0, true, x'00', 0)");
    refused(&["copy", "--to", &other], &["a later release has used it"]);
    sqlite(&path, "DELETE FROM _sqlx_migrations WHERE version > 11");
    refused(&["backup", "early.db"], &["another release has made it"]);
    // Neither does whoever only asks what would be decided.
    commands.refused(&["explain", "http://a.test/"], 4, &["another release has made it"]);
    assert!(!commands.path().join("early.db").exists());
}

#[test]
fn a_copy_of_a_trail_that_somebody_has_changed_says_so() {
    let commands = CommandLine::with_admin();
    sqlite(&commands.path().join(STORE), "UPDATE audit_events SET target = 'somebody else'");
    let run = commands.run(&["store", "backup", "backup.db"]);
    assert_eq!(run.code, 8, "{}", run.err);
    assert!(run.err.contains("the audit trail is not as it was written"), "{}", run.err);
    assert!(commands.path().join("backup.db").exists(), "it is what there is");
}

/// Nobody else's file becomes one, whatever stands beside it, and what came meanwhile stays.
#[test]
fn a_backup_is_written_where_nobody_else_can_write() {
    let commands = CommandLine::with_admin();
    // What an earlier release called it: left by somebody who waits for it to be filled.
    let planted = commands.path().join("backup.db.incomplete");
    fs::write(&planted, "").unwrap();
    fs::set_permissions(&planted, fs::Permissions::from_mode(0o666)).unwrap();
    let mut codes = thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| commands.run(&["store", "backup", "backup.db"]).code));
        both.map(|backup| backup.join().unwrap())
    });
    codes.sort_unstable();
    assert_eq!(codes, [0, 4], "the second one replaces nothing");
    assert_eq!(fs::metadata(&planted).unwrap().len(), 0);
    let mode = fs::metadata(commands.path().join("backup.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left = fs::read_dir(commands.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with("backup.db") && name != "backup.db").collect();
    assert_eq!(left, ["backup.db.incomplete"]);
}

#[test]
fn a_running_gateway_is_copied_only_on_its_operators_word() {
    let pair = Pair::plain();
    let run = |args: &[&str]| of(&pair.gateway, args);
    let refused = run(&["store", "copy", "--to", "sqlite:copy.db"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("is running on the store to copy from") && refused.err.contains("--while-running"));
    let copied = run(&["store", "copy", "--to", "sqlite:copy.db", "--while-running"]);
    assert_eq!(copied.code, 0, "{}", copied.err);
    assert!(copied.out.contains("api_tokens") && copied.err.contains("Every row was compared"), "{}", copied.out);
}

fn of(gateway: &Gateway, args: &[&str]) -> Run {
    let output = gateway.cli_command(args).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Run { code: output.status.code().unwrap(), out, err }
}

/// What is lost is listed, the gateway that runs notices that the store is of another history, and what was revoked works again.
#[test]
fn a_backup_of_a_running_gateway_is_restored_under_it() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let (kept, revoked) = (gateway.token(&["deployment:a"]), gateway.token(&["deployment:a"]));
    let run = |args: &[&str]| {
        let run = of(&gateway, args);
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        run
    };
    run(&["store", "backup", "backup.db"]);
    let mode = fs::metadata(gateway.path("backup.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for beside in ["backup.db-wal", "backup.db-shm", "backup.db.incomplete"] {
        assert!(!gateway.path(beside).exists(), "{beside}");
    }

    gateway.revoke(&revoked);
    assert_eq!(gateway.code_of(&revoked.text), "token_revoked");
    let since = gateway.token(&["deployment:a"]);
    let previous = format!("sqlite:{}", gateway.path("gateway.db").display());
    let restored = run(&["store", "restore", "backup.db", "--previous", &previous, "--store", "sqlite:restored.db"]);
    let lost: Vec<&str> = restored.err.lines().filter(|line| line.contains("token.")).collect();
    assert!(lost.len() == 2 && lost[0].contains("token.revoked") && lost[0].contains(&revoked.uid), "{}", restored.err);
    assert!(lost[1].contains("token.created") && lost[1].contains(&since.uid), "{}", restored.err);

    for old in ["gateway.db-wal", "gateway.db-shm"] {
        let _ = fs::remove_file(gateway.path(old));
    }
    fs::rename(gateway.path("restored.db"), gateway.path("gateway.db")).unwrap();
    wait_until("the gateway decides by the restored store", SOON, || {
        gateway.code_of(&since.text) == "token_invalid" && gateway.code_of(&revoked.text) != "token_revoked"
    });
    assert_ne!(gateway.code_of(&kept.text), "token_invalid");
    gateway.await_said(&["the store's history has changed"]);
}

/// Whenever the command is ended: it has made the backup, or there is nothing of it.
#[test]
fn a_backup_that_is_ended_leaves_nothing() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let directory = gateway.path("backups");
    fs::create_dir(&directory).unwrap();
    let there = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut ended = [0; 2];
    for round in 0..40 {
        let (which, signal) = (round % 2, ["INT", "TERM"][round % 2]);
        let target = directory.join(format!("{round}.db"));
        let mut command = gateway.cli_command(&["store", "backup", target.to_str().unwrap()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("it has begun", SOON, || !there().is_empty());
        let told = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            fs::remove_file(&target).unwrap();
        } else {
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(told.success() && output.status.code() == Some(1), "{:?} {said}", output.status);
            assert!(said.contains("ended before its work was done"), "{said}");
            ended[which] += 1;
        }
        assert_eq!(there(), Vec::<PathBuf>::new());
        if ended.iter().all(|&times| times > 2) {
            break;
        }
    }
    assert!(ended.iter().all(|&times| times > 0), "{ended:?}");
    let run = of(&gateway, &["store", "backup", "-"]);
    assert!(run.code == 4 && run.err.contains("standard output") && !gateway.path("-").exists(), "{}", run.err);
}
