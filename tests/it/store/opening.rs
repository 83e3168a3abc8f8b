//! Opening a store, whoever else does, and what is found in it.

use std::process::Command;

use bento_gateway::{
    config::StoreUrl,
    store::{self, StoreError},
};
use sqlx::{Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection, sqlite::SqliteConnectOptions};

use super::verbs::Verbs;
use super::{StoreUnderTest, behaviours, created, insert, owner, secret, token, user};

behaviours!(
    many_open_a_new_store_at_once,
    a_newer_schema_can_be_used,
    unreadable_rows_are_inconsistent,
    no_statement_fails_to_prepare,
);

async fn many_open_a_new_store_at_once(under_test: StoreUnderTest) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let config = under_test.config.clone();
        tasks.spawn(async move { store::open(&config).await.unwrap().change_seq().await.unwrap() });
    }

    let url = match &under_test.config.url {
        StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        StoreUrl::Postgres(url) => url.expose().to_owned(),
    };
    let processes: Vec<_> = (0..8)
        .map(|_| {
            Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
                .args(["token", "list", "--store", &url])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    assert_eq!(tasks.join_all().await, [0; 8]);
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn a_newer_schema_can_be_used(under_test: StoreUnderTest) {
    drop(under_test.open().await);
    let checksum = if matches!(under_test.config.url, StoreUrl::Sqlite(_)) { "x'00'" } else { "'\\x00'" };
    under_test
        .execute(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of a later release', true, {checksum}, 0)"
        ))
        .await;
    let store = under_test.open().await;
    owner(&store).await;

    // Our own migrations are another matter: they must be what this release knows.
    under_test.execute(&format!("UPDATE _sqlx_migrations SET checksum = {checksum} WHERE version = 1")).await;
    let outcome = store::open(&under_test.config).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Unusable(_))), "{outcome:?}");
}

async fn unreadable_rows_are_inconsistent(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let record = token(owner(&store).await, "ci");
    insert(&store, &record).await;
    let owner = record.owner.0;
    assert_eq!(under_test.execute(&format!("UPDATE users SET email = 'nobody' WHERE id = '{owner}'")).await, 1);
    let outcome = store.list_users().await;
    assert!(matches!(&outcome, Err(StoreError::Inconsistent(text)) if text.contains("nobody")), "{outcome:?}");

    let outcome = store.insert_token(&token(user("x@y").id, "no such owner"), &secret(), &created()).await;
    assert!(matches!(outcome, Err(StoreError::Inconsistent(_))), "{outcome:?}");
}

async fn no_statement_fails_to_prepare(under_test: StoreUnderTest) {
    drop(under_test.open().await);
    let statements = store::statements();
    match &under_test.config.url {
        StoreUrl::Sqlite(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            for &sql in &statements.sqlite {
                connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
        StoreUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url.expose()).await.unwrap();
            for &sql in &statements.postgres {
                connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }
}
