//! Stores as earlier releases wrote them (`tests/fixtures`): this release brings them up to date when it starts, and
//! everybody who was let in still is, everybody who was refused still is, and nothing is lost.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{
    api::ask_text,
    console::{Browser, PASSWORD},
    gateway::{Gateway, Setup},
    http::get,
    postgres::Cluster,
    upstream::Upstream,
};

/// Listeners of the gateway that wrote the fixtures, as its README says.
const PROXY: &str = ":4401";
const MANAGEMENT: &str = ":4402";
const UPSTREAM: &str = ":4403";

/// What the program deletes by itself because it is old.
const FORGOTTEN: [&str; 2] = ["traffic", "replicas"];

#[test]
fn a_sqlite_store_of_0_1_goes_on() {
    goes_on("sqlite", |setup, sql| {
        let path = setup.directory().join("gateway.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).foreign_keys(false);
        block_on(async {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            connection.close().await.unwrap();
        });
        (setup, Database::Sqlite(path))
    });
}

#[test]
fn a_postgresql_store_of_0_1_goes_on() {
    goes_on("postgres", |setup, sql| {
        let url = Cluster::shared().database_url();
        block_on(async {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
            connection.close().await.unwrap();
        });
        (setup.env("STORE__URL", &url), Database::Postgres(url))
    });
}

fn goes_on(kind: &str, restore: impl FnOnce(Setup, String) -> (Setup, Database)) {
    let upstream = Upstream::named("a");
    let fixture = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-0.1").join(name);
        fs::read_to_string(path).unwrap().replace(UPSTREAM, &format!(":{}", upstream.address.port()))
    };
    let text = fixture(&format!("{kind}.json"));
    let config = serde_json::from_str::<Value>(&text).unwrap()["config"].as_str().unwrap().to_owned();
    // Nothing that is written by the test's own requests comes between.
    let setup = Setup::new(&config).env("TOKENS__USAGE_INTERVAL", "1h").env("TOKENS__DEFAULT_LIFETIME", "");
    let (setup, database) = restore(setup, fixture(&format!("{kind}.sql")));
    let before = database.rows();
    assert!(before.values().all(|rows| *rows > 0), "the fixture has an empty table: {before:?}");

    let gateway = setup.start();
    let text = text.replace(PROXY, &format!(":{}", gateway.proxy.port()));
    let text = text.replace(MANAGEMENT, &format!(":{}", gateway.management.port()));
    let store = Restored { known: serde_json::from_str(&text).unwrap(), gateway };
    let after = database.rows();
    for (table, rows) in before.iter().filter(|(table, _)| !FORGOTTEN.contains(&table.as_str())) {
        // Migrations themselves are recorded in a table, too.
        let grows = table == "_sqlx_migrations";
        assert!(
            after.get(table).is_some_and(|now| now == rows || grows && now > rows),
            "{table}: {before:?} {after:?}"
        );
    }
    store.lists_tell_the_same();
    store.tokens_are_decided_as_before();
    store.sessions_go_on();
    store.logins_go_on();
    store.a_named_request_stays_done();
    // What was written before is in no chain, and what was written since is.
    let verified = store.gateway.cli(&["audit", "verify"]);
    assert!(verified["intact"] == true && verified["chains"][0]["events"].as_u64() > Some(0), "{verified}");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A macro, since the two connections have no type in common.
macro_rules! count_rows {
    ($connection:ident, $tables:ident) => {{
        let tables: Vec<String> = sqlx::query_scalar($tables).fetch_all(&mut $connection).await.unwrap();
        let mut counted = BTreeMap::new();
        for table in tables {
            let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let row = $connection.fetch_one(sql).await.unwrap();
            counted.insert(table, row.get::<i64, _>(0));
        }
        counted
    }};
}
enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    /// How many each table has.
    fn rows(&self) -> BTreeMap<String, i64> {
        block_on(async {
            match self {
                Self::Sqlite(path) => {
                    let options = SqliteConnectOptions::new().filename(path);
                    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
                    count_rows!(connection, tables)
                }
                Self::Postgres(url) => {
                    let mut connection = PgConnection::connect(url).await.unwrap();
                    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
                    count_rows!(connection, tables)
                }
            }
        })
    }
}

struct Restored {
    /// What the release that wrote the store said of it; addresses are those of the present gateway.
    known: Value,
    gateway: Gateway,
}

impl Restored {
    fn token(&self, name: &str, key: &str) -> &str {
        self.known["tokens"][name][key].as_str().unwrap()
    }

    /// Asks the management API with the token `api`.
    fn api(&self, method: &str, path: &str, fields: &str, body: &str) -> Value {
        let fields = format!("x-yatai-api-token: {}\r\n{fields}", self.token("api", "text"));
        let (status, answer) = ask_text(&self.gateway, method, path, &fields, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    fn lists_tell_the_same(&self) {
        let known = &self.known["cli"];
        assert_includes(&self.gateway.cli(&["token", "list"]), &known["tokens"], "token list");
        assert_includes(&self.gateway.cli(&["user", "list"]), &known["users"], "user list");
        assert_includes(&self.gateway.cli(&["deployment", "list"]), &known["deployments"], "deployment list");
        for (path, known) in self.known["api"].as_object().unwrap() {
            assert_includes(&self.api("GET", path, "", ""), known, path);
        }
    }

    fn tokens_are_decided_as_before(&self) {
        let table = [
            ("plain", "text", "summarization", 200, ""),
            ("plain", "text", "other", 200, ""),
            ("plain", "text", "declared", 200, ""),
            ("plain", "text", "stopped", 503, "deployment_terminated"),
            ("plain", "text", "removed", 404, "deployment_not_found"),
            ("exact", "text", "summarization", 200, ""),
            ("exact", "text", "declared", 403, "insufficient_scope"),
            ("api", "text", "summarization", 403, "insufficient_scope"),
            ("expired", "text", "summarization", 401, "token_expired"),
            ("revoked", "text", "summarization", 401, "token_revoked"),
            ("leavers", "text", "summarization", 401, "owner_disabled"),
            ("overlapping", "text", "summarization", 200, ""),
            ("overlapping", "newer", "summarization", 200, ""),
            ("rotated", "text", "summarization", 401, "token_rotated"),
            ("rotated", "newer", "summarization", 200, ""),
            ("narrowed", "text", "summarization", 200, ""),
            ("narrowed", "text", "declared", 403, "insufficient_scope"),
            ("of a removed Deployment", "text", "removed", 401, "token_revoked"),
            ("of two Deployments", "text", "summarization", 200, ""),
            ("of two Deployments", "text", "removed", 403, "insufficient_scope"),
            ("named", "text", "summarization", 200, ""),
            ("of a login", "text", "summarization", 200, ""),
        ];
        for (name, which, host, status, code) in table {
            let answer = self.gateway.ask(&get(&format!("{host}.test"), "/", self.token(name, which)));
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name} ({which}) at {host}");
        }
        let first = self.known["first_token"].as_str().unwrap();
        assert_eq!(self.gateway.ask(&get("summarization.test", "/", first)).status, 200, "the first token");
        let public = self.gateway.ask("GET / HTTP/1.1\r\nhost: open.test\r\n\r\n");
        assert_eq!(public.status, 200, "a public Deployment");
    }

    fn browser(&self, address: std::net::SocketAddr, cookies: &str) -> Browser {
        let mut browser = Browser::new(address);
        for (name, value) in self.known["cookies"][cookies].as_object().unwrap() {
            browser.cookies.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        browser
    }

    fn sessions_go_on(&self) {
        let mut console = self.browser(self.gateway.management, "console");
        for (path, part) in [("/account", "ada@example.com"), ("/users", "Bob 🍱"), ("/activity", "named")] {
            let page = console.get(path);
            assert!(page.status == 200 && page.text().contains(part), "{path}: {} {}", page.status, page.text());
        }
        let signed_in = Browser::new(self.gateway.management).sign_in("ada@example.com", PASSWORD);
        assert_eq!(signed_in.status, 303, "{}", signed_in.text());
        let invitation = Browser::new(self.gateway.management).get(self.known["invitation"].as_str().unwrap());
        assert!(invitation.status == 200 && invitation.text().contains("password_again"), "{}", invitation.text());

        let mut browser = self.browser(self.gateway.proxy, "summarization");
        browser.host = "summarization.test".to_owned();
        assert_eq!(browser.get("/").status, 200, "the session at a Deployment");
        browser.host = "declared.test".to_owned();
        assert_eq!(browser.ask("GET", "/", &[], "").status, 401, "it is of one Deployment");
    }

    fn logins_go_on(&self) {
        let claim = |login: &str| {
            let code = self.known["logins"][login].as_str().unwrap();
            ask_text(&self.gateway, "GET", &format!("/api/v1/auth/token?code={code}"), "", "")
        };
        assert_eq!(claim("waiting").0, 404);
        for over in ["claimed", "refused"] {
            assert_eq!(claim(over).1, json!({ "token": "" }), "{over}");
        }
        let token = claim("approved").1["token"].as_str().unwrap().to_owned();
        assert_eq!(self.gateway.ask(&get("summarization.test", "/", &token)).status, 200);
    }

    fn a_named_request_stays_done(&self) {
        // To the letter as it was sent then: what is kept is a hash of it.
        let body = r#"{"name": "named", "scopes": ["deployment:*"], "expired_at": "never"}"#;
        let again = self.api("POST", "/api/v1/api_tokens", "idempotency-key: fixture-1\r\n", body);
        assert_eq!((&again["uid"], &again["replayed"]), (&json!(self.token("named", "uid")), &json!(true)), "{again}");
    }
}

/// Whatever was told then is told now; there may be more.
#[track_caller]
fn assert_includes(now: &Value, then: &Value, place: &str) {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            for (key, then) in then {
                let now = now.get(key).unwrap_or_else(|| panic!("{place}: {key} is missing in {now:?}"));
                assert_includes(now, then, &format!("{place}.{key}"));
            }
        }
        (Value::Array(now), Value::Array(then)) => {
            assert_eq!(now.len(), then.len(), "{place}");
            now.iter().zip(then).enumerate().for_each(|(at, (now, then))| {
                assert_includes(now, then, &format!("{place}[{at}]"));
            });
        }
        _ => assert_eq!(now, then, "{place}"),
    }
}
