//! How the databases find rows: no statement goes through a table that grows, for which a change and all behind it would wait.

use bento_gateway::{config::StoreUrl, store};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use super::StoreUnderTest;

/// What tokens, callers and time fill.
const GROWING: &[&str] = &[
    "api_tokens",
    "audit_events",
    "change_marks",
    "console_sessions",
    "hand_overs",
    "invitations",
    "logins",
    "token_secrets",
    "token_usage",
    "traffic",
    "usage_batches",
    "usage_hours",
];

/// Statements that do, by how they begin, and why they may. Those that run within a change are an admin's, and rare.
const MAY_SCAN: &[(&str, &str)] = &[
    ("SELECT id_hash FROM console_sessions WHERE created_at <=", "once for each opening of the store"),
    ("SELECT id, at, action,", "a page of the audit trail, from its newest event on"),
    ("SELECT count(*) FROM api_tokens WHERE", "a list that people look at"),
    (
        "SELECT id, owner_id, name, description, scopes, created_at, expires_at, expired_at, revoked_at, last_used_at \
         FROM api_tokens WHERE (CAST(",
        "a list that people look at, or a name typed at the command line",
    ),
    (
        "SELECT id, owner_id, name, description, scopes, created_at, expires_at, expired_at, revoked_at, last_used_at \
         FROM api_tokens WHERE revoked_at IS NULL AND expired_at IS NULL",
        "a list that people look at",
    ),
    (
        "SELECT id, name, scopes FROM api_tokens WHERE revoked_at IS NULL AND EXISTS",
        "a Deployment is removed on SQLite",
    ),
    ("SELECT id, name FROM api_tokens WHERE id IN", "names for the overview; an empty table misleads PostgreSQL"),
    (
        "INSERT INTO api_tokens (id, owner_id, name, description, search_text, scopes, created_at, expires_at, expired_at, \
         revoked_at, last_used_at) SELECT",
        "a copy, into a store in which nothing refers to tokens yet",
    ),
];

fn in_one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn may_scan(sql: &str) -> bool {
    MAY_SCAN.iter().any(|(start, _)| in_one_line(sql).starts_with(start))
}

/// Whether `name` is such a table in the statement, or stands for one there.
fn is_growing(sql: &str, name: &str) -> bool {
    let words: Vec<_> = sql.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
    let stands_for = |table: &str| words.windows(2).any(|pair| pair == [table, name]);
    GROWING.iter().any(|table| *table == name || stands_for(table))
}

/// What is wrong with a plan of SQLite.
fn scanned_by_sqlite(sql: &str, plan: &[String]) -> Vec<String> {
    let scans = |line: &&String| {
        line.strip_prefix("SCAN ").is_some_and(|rest| is_growing(sql, rest.split_whitespace().next().unwrap()))
    };
    plan.iter().filter(scans).cloned().collect()
}

/// What is wrong with a plan of PostgreSQL, which may not read a table from end to end if it can help it.
fn scanned_by_postgres(sql: &str, plan: &[String]) -> Vec<String> {
    let is_node = |line: &str| line.contains("cost=");
    let mut scans = Vec::new();
    for (at, line) in plan.iter().enumerate().filter(|(_, line)| is_node(line) && line.contains("Scan")) {
        let details = plan[at + 1..].iter().take_while(|line| !is_node(line));
        let looks_up = details.into_iter().any(|line| line.contains("Index Cond:") || line.contains("TID Cond:"));
        let table = line.split(" on ").nth(1).unwrap_or_default().split_whitespace().next().unwrap_or_default();
        // The index that a bitmap is made of has the condition.
        if is_growing(sql, table) && !looks_up && !line.contains("Bitmap Heap") {
            scans.push(line.trim().to_owned());
        }
    }
    scans
}

fn assert_none_scans(found: &[(&str, Vec<String>)]) {
    let said: Vec<_> = found.iter().filter(|(sql, scans)| !scans.is_empty() && !may_scan(sql)).collect();
    assert!(said.is_empty(), "{said:#?}");
}

#[tokio::test]
async fn sqlite_looks_rows_up() {
    let under_test = StoreUnderTest::sqlite().await;
    under_test.open().await;
    let StoreUrl::Sqlite(path) = &under_test.config.url else { unreachable!() };
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    let statements = store::statements().sqlite;
    let mut found = Vec::new();
    for sql in &statements {
        let rows = connection.fetch_all(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        found.push((*sql, scanned_by_sqlite(sql, &plan)));
    }
    assert_none_scans(&found);
    for (start, _) in MAY_SCAN {
        assert!(statements.iter().any(|sql| in_one_line(sql).starts_with(start)), "no statement begins so: {start}");
    }
}

#[tokio::test]
async fn postgres_looks_rows_up() {
    let under_test = StoreUnderTest::postgres().await;
    under_test.open().await;
    let StoreUrl::Postgres(url) = &under_test.config.url else { unreachable!() };
    let mut connection = PgConnection::connect(url.expose()).await.unwrap();
    connection.execute("SET enable_seqscan = off; SET enable_mergejoin = off; SET enable_hashjoin = off; SET plan_cache_mode = force_generic_plan").await.unwrap();
    let statements = store::statements().postgres;
    let mut found = Vec::new();
    for sql in &statements {
        connection.execute(AssertSqlSafe(format!("PREPARE looked_at AS {sql}"))).await.unwrap();
        let values = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'looked_at'";
        let values: i32 = connection.fetch_one(values).await.unwrap().get(0);
        let nulls = vec!["NULL"; usize::try_from(values).unwrap()].join(", ");
        let arguments = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
        let rows = connection.fetch_all(AssertSqlSafe(format!("EXPLAIN EXECUTE looked_at{arguments}"))).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        found.push((*sql, scanned_by_postgres(sql, &plan)));
        connection.execute("DEALLOCATE looked_at").await.unwrap();
    }
    assert_none_scans(&found);
}
