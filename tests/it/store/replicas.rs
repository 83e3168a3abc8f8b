//! The running gateways that a store knows of.

use std::time::Duration;

use bento_gateway::{
    config::StoreUrl,
    service::receipt::{NoReceipt, receipt},
    store::{Point, ReplicaId, SharedStore, Store},
    system,
};

use super::{StoreUnderTest, behaviours, owner, verbs::Verbs};

behaviours!(
    replicas_come_and_go,
    a_replica_of_a_lost_history_has_applied_nothing,
    a_receipt_names_whoever_may_decide_by_old_knowledge,
    a_silent_replica_is_remembered_as_long_as_it_may_decide,
    a_change_that_the_store_has_lost_gets_no_receipt,
    a_replica_says_how_far_its_clock_is_ahead,
);

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

fn replica() -> ReplicaId {
    ReplicaId(system::new_id(system::now()).unwrap())
}

async fn known(store: &Store) -> Vec<(String, i64)> {
    store.replicas().await.unwrap().into_iter().map(|replica| (replica.name, replica.applied_seq)).collect()
}

/// The point that the store is at.
async fn latest(store: &Store) -> Point {
    store.snapshot().await.unwrap().head(None).await.unwrap().latest
}

async fn change(store: &SharedStore) -> i64 {
    owner(store).await;
    store.change_seq().await.unwrap()
}

async fn replicas_come_and_go(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (one, two) = (replica(), replica());
    let seq = change(&store).await;
    store.beat(one, "b", None, MINUTE, None, system::now()).await.unwrap();
    store.beat(two, "a", Some(&latest(&store).await), None, None, system::now()).await.unwrap();
    assert_eq!(known(&store).await, [("a".to_owned(), seq), ("b".to_owned(), -1)]);
    store.beat(one, "b", Some(&latest(&store).await), MINUTE, None, system::now()).await.unwrap();
    assert_eq!(known(&store).await, [("a".to_owned(), seq), ("b".to_owned(), seq)]);
    store.leave(two).await.unwrap();
    assert_eq!(known(&store).await, [("b".to_owned(), seq)]);
    assert!(store.remove_replica("b").await.unwrap());
    assert!(!store.remove_replica("b").await.unwrap());
    assert_eq!(known(&store).await, []);
    assert_eq!(store.change_seq().await.unwrap(), seq, "a beat is no change");
}

async fn a_replica_of_a_lost_history_has_applied_nothing(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let seq = change(&store).await;
    let lost = Point { seq, mark: Some("of another history".to_owned()) };
    store.beat(replica(), "lost", Some(&lost), None, None, system::now()).await.unwrap();
    let older_release = Point { seq, mark: None };
    store.beat(replica(), "older", Some(&older_release), None, None, system::now()).await.unwrap();
    assert_eq!(known(&store).await, [("lost".to_owned(), -1), ("older".to_owned(), seq)]);
}

async fn a_receipt_names_whoever_may_decide_by_old_knowledge(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    change(&store).await;
    store.beat(replica(), "dead", Some(&latest(&store).await), MINUTE, None, system::now()).await.unwrap();
    age(&under_test, 5000).await;
    change(&store).await;
    store.beat(replica(), "good", Some(&latest(&store).await), MINUTE, None, system::now()).await.unwrap();
    let of_dead = receipt(&store, &latest(&store).await).await.unwrap();
    assert_eq!((of_dead.replicas, of_dead.acknowledged), (2, 1));
    assert_eq!(of_dead.missing, ["dead"]);
    assert!(of_dead.took_ms < 3000, "nobody waits for a dead one as for a running one: {of_dead:?}");

    store.beat(replica(), "starting", None, MINUTE, None, system::now()).await.unwrap();
    let of_starting = receipt(&store, &latest(&store).await).await.unwrap();
    assert_eq!(of_starting.missing, ["dead", "starting"]);
}

async fn a_silent_replica_is_remembered_as_long_as_it_may_decide(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    store.beat(replica(), "bounded", None, MINUTE, None, system::now()).await.unwrap();
    store.beat(replica(), "unbounded", None, None, None, system::now()).await.unwrap();
    let names = async || known(&store).await.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    age(&under_test, 65_000).await;
    assert_eq!(names().await, ["bounded", "unbounded"], "it may have polled after its last beat");
    age(&under_test, 20_000).await;
    assert_eq!(names().await, ["unbounded"]);
    change(&store).await;
    assert_eq!(receipt(&store, &latest(&store).await).await.unwrap().missing, ["unbounded"]);
}

async fn a_replica_says_how_far_its_clock_is_ahead(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let minute = Duration::from_secs(60);
    store.beat(replica(), "ahead", None, MINUTE, None, system::now().saturating_add(minute)).await.unwrap();
    store.beat(replica(), "behind", None, MINUTE, None, system::now().saturating_sub(minute)).await.unwrap();
    let said: Vec<i64> = store.replicas().await.unwrap().iter().filter_map(|replica| replica.clock_ahead_ms).collect();
    // What a beat takes on its way counts, and is no minute.
    assert!((1..=60_000).contains(&said[0]) && (-120_000..=-59_000).contains(&said[1]), "{said:?}");
}

/// As if all beats had come so many milliseconds earlier.
async fn age(under_test: &StoreUnderTest, millis: u32) {
    let earlier = match under_test.config.url {
        StoreUrl::Sqlite(_) => format!("{millis}"),
        StoreUrl::Postgres(_) => format!("{millis} * interval '1 millisecond'"),
    };
    under_test.execute(&format!("UPDATE replicas SET beat_at = beat_at - {earlier}")).await;
}

async fn a_change_that_the_store_has_lost_gets_no_receipt(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    change(&store).await;
    let lost = latest(&store).await;
    assert!(store.has(&lost).await.unwrap());
    super::history::lose_the_last(&under_test, 1).await;
    assert!(matches!(receipt(&store, &lost).await, Err(NoReceipt::Lost)), "its number is free");

    change(&store).await;
    let other = latest(&store).await;
    assert_eq!(other.seq, lost.seq);
    store.beat(replica(), "running", Some(&other), MINUTE, None, system::now()).await.unwrap();
    assert!(matches!(receipt(&store, &lost).await, Err(NoReceipt::Lost)), "its number is another change's");
    assert_eq!(receipt(&store, &other).await.unwrap().acknowledged, 1);
}
