//! What the store promises on PostgreSQL alone: notifications, and a server that stops, hangs or refuses.

use std::time::{Duration, Instant};

use bento_gateway::{
    config::{StoreConfig, StoreUrl},
    domain::audit::Action,
    store::{self, SharedStore, StoreError},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::timeout;

use super::verbs::Verbs;
use super::{StoreUnderTest, config, event, owner, postgres_url, user};
use crate::harness::{
    SOON,
    pooler::Pooler,
    postgres::{Cluster, PASSWORD},
};

#[tokio::test]
async fn notifies_other_processes() {
    let under_test = StoreUnderTest::postgres().await;
    let (here, there) = (under_test.open().await, under_test.open().await);
    here.notified().await.expect("the first call returns when it listens");
    let nothing = timeout(Duration::from_millis(200), here.notified()).await;
    assert!(nothing.is_err(), "nothing has changed, {nothing:?}");

    let (notified, ()) = tokio::join!(timeout(SOON, here.notified()), async {
        owner(&there).await;
    });
    notified.expect("it comes").unwrap();
    assert_eq!(here.change_seq().await.unwrap(), 1);

    // One that came while nobody waited is not lost.
    owner(&there).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    timeout(SOON, here.notified()).await.expect("kept").unwrap();
}

/// A private server and a store on it that waits half a second at most.
async fn private_postgres() -> (Cluster, SharedStore, StoreConfig) {
    let cluster = Cluster::start();
    let database = cluster.create_database().await;
    let config = StoreConfig {
        acquire_timeout: Duration::from_millis(500),
        ..config(postgres_url(&cluster.socket_url(&database)))
    };
    // A busy machine may need more than that for a schema.
    let patient = StoreConfig { acquire_timeout: Duration::from_secs(20), ..config.clone() };
    drop(store::open(&patient).await.unwrap());
    let store = store::open(&config).await.unwrap();
    (cluster, store, config)
}

async fn assert_unavailable(store: &SharedStore) {
    let eve = user("eve@example.com");
    let created = event(Action::UserCreated);
    let write = timeout(SOON, store.insert_user(&eve, &created)).await.expect("not waited for for ever");
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
    let read = timeout(SOON, store.change_seq()).await.expect("not waited for for ever");
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
}

async fn assert_recovers(store: &SharedStore, seq: i64) {
    let deadline = Instant::now() + SOON;
    while store.change_seq().await.ok() != Some(seq) {
        assert!(Instant::now() < deadline, "still {:?}", store.change_seq().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn may_stop_and_come_back() {
    let (cluster, store, config) = private_postgres().await;
    owner(&store).await;
    store.notified().await.unwrap();

    cluster.stop();
    let lost = timeout(SOON, store.notified()).await.expect("noticed");
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert_unavailable(&store).await;
    let opened = store::open(&config).await.map(drop);
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");

    cluster.start_again();
    assert_recovers(&store, 1).await;
    owner(&store).await;
    store.notified().await.expect("listens again");

    // As after a power failure. What was committed is there.
    cluster.kill();
    assert_unavailable(&store).await;
    cluster.start_again();
    assert_recovers(&store, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn may_hang() {
    let (cluster, store, config) = private_postgres().await;
    owner(&store).await;
    cluster.pause();
    assert_unavailable(&store).await;
    let opened = store::open(&config).await.map(drop);
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
    cluster.resume();
    assert_recovers(&store, 1).await;
    owner(&store).await;
}

#[tokio::test]
async fn itself_gives_up_what_the_gateway_gave_up() {
    let (_cluster, store, config) = private_postgres().await;
    let StoreUrl::Postgres(url) = &config.url else { unreachable!() };
    // Somebody keeps the row that every change needs: psql with an open transaction, say.
    let mut keeper = PgConnection::connect(url.expose()).await.unwrap();
    keeper.execute("BEGIN; UPDATE change_seq SET seq = seq + 1").await.unwrap();

    let blocked = store.insert_user(&user("ada@example.com"), &event(Action::UserCreated)).await;
    assert!(
        matches!(&blocked, Err(StoreError::Unavailable(text)) if text.contains("statement timeout")),
        "{blocked:?}"
    );
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        .fetch_one(&mut keeper)
        .await
        .unwrap();
    assert_eq!(waiting, 0);
    store.change_seq().await.expect("readers are not blocked");

    keeper.execute("ROLLBACK").await.unwrap();
    owner(&store).await;
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_refused_with_words() {
    let cluster = Cluster::shared();
    let database = cluster.create_database().await;
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(cluster, mode);
        let refused = store::open(&config(postgres_url(&pooler.url(&database)))).await.map(drop);
        let Err(StoreError::Unusable(text)) = &refused else { panic!("{mode}: {refused:?}") };
        assert!(text.contains("pool_mode = session"), "{mode}: {text}");
    }
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_apart_changes_nothing() {
    let cluster = Cluster::shared();
    let pooler = Pooler::start(cluster, "session");
    let url = postgres_url(&pooler.url(&cluster.create_database().await));
    let (here, there) = (store::open(&config(url.clone())).await.unwrap(), store::open(&config(url)).await.unwrap());
    here.notified().await.expect("it listens");
    let (notified, ()) = tokio::join!(timeout(SOON, here.notified()), async {
        owner(&there).await;
    });
    notified.expect("it comes").unwrap();
    assert_eq!(here.snapshot().await.unwrap().head(None).await.unwrap().latest.seq, 1);
}

#[tokio::test]
async fn errors_do_not_show_the_password() {
    let cluster = Cluster::shared();
    let database = cluster.create_database().await;
    let good = cluster.url(&database);
    let wrong_password = good.replace(PASSWORD, &format!("{PASSWORD}-wrong"));
    let unknown_database = cluster.url("no_such_database");
    let not_a_url = format!("not a URL {PASSWORD}");
    let bad_port = good.replace("127.0.0.1:", "127.0.0.1:x");
    let bad_option = format!("{good}?sslmode={PASSWORD}");
    for url in [&wrong_password, &unknown_database, &not_a_url, &bad_port, &bad_option] {
        let outcome = store::open(&config(postgres_url(url))).await.map(drop);
        let Err(StoreError::Unusable(text)) = &outcome else { panic!("{outcome:?}") };
        let printed = format!("{text} {:?} {:?}", outcome, config(postgres_url(url)));
        assert!(!printed.contains(PASSWORD) && !printed.contains("postgres://gateway"), "{printed}");
    }

    let nobody_there = StoreConfig {
        acquire_timeout: Duration::from_millis(500),
        ..config(postgres_url(&format!("postgres://gateway:{PASSWORD}@127.0.0.1:1/gateway")))
    };
    let outcome = store::open(&nobody_there).await.map(drop);
    let Err(StoreError::Unavailable(text)) = &outcome else { panic!("{outcome:?}") };
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn without_the_right_to_write_is_unusable() {
    let cluster = Cluster::shared();
    let database = cluster.create_database().await;
    let under_test = StoreUnderTest { config: config(postgres_url(&cluster.url(&database))), _directory: None };
    drop(under_test.open().await);
    let account = format!("reader_{database}");
    under_test
        .execute(&format!("CREATE ROLE {account} LOGIN PASSWORD 'r'; GRANT USAGE ON SCHEMA public TO {account}"))
        .await;
    let url = cluster.url(&database).replace(&format!("gateway:{PASSWORD}"), &format!("{account}:r"));
    let outcome = store::open(&config(postgres_url(&url))).await.map(drop);
    assert!(matches!(&outcome, Err(StoreError::Unusable(text)) if text.contains("permission")), "{outcome:?}");
}
