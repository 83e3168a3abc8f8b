//! What is urgent, and what makes gateways decide by the store, waits for nothing that is ordinary.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bento_gateway::{
    domain::{
        audit::{Action, Actor},
        rights::Grantor,
    },
    store::{Cursor, Priority, Reader, SharedStore, Snapshot},
    system,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    StoreUnderTest, all_secrets, behaviours, event, insert, owner, token,
    verbs::{Verbs, begin},
};

behaviours!(
    readers_of_one_priority_take_no_connections_of_another,
    an_urgent_change_comes_before_all_that_queue,
    nobody_queues_urgent_changes_before_all_others,
    nobody_queues_readings_before_all_others,
    what_is_committed_meanwhile_is_in_no_snapshot,
);

/// What is not there by then waits for somebody.
const PROMPTLY: Duration = Duration::from_millis(500);

/// All connections for reading that ordinary work may have.
async fn take_all(store: &SharedStore) -> Vec<Snapshot> {
    let mut taken = Vec::new();
    while let Ok(Ok(snapshot)) = timeout(PROMPTLY, store.snapshot()).await {
        taken.push(snapshot);
        assert!(taken.len() < 100, "ordinary work has no bound");
    }
    taken
}

async fn readers_of_one_priority_take_no_connections_of_another(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let record = token(owner, "laptop");
    insert(&store, &record).await;
    let taken = take_all(&store).await;
    assert!(!taken.is_empty() && timeout(PROMPTLY, store.change_seq()).await.is_err());

    let urgent = store.at(Priority::Urgent);
    urgent.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    let feed = store.at(Priority::Feed);
    let latest = feed.snapshot().await.unwrap().head(None).await.unwrap().latest;
    assert_eq!(latest.seq, urgent.change_seq().await.unwrap());
    drop(taken);
    assert_eq!(store.change_seq().await.unwrap(), latest.seq);
}

/// For a task to have asked its store, with a connection that is opened for it, on a busy machine.
const ENOUGH: Duration = Duration::from_millis(500);

async fn an_urgent_change_comes_before_all_that_queue(under_test: StoreUnderTest) {
    const QUEUE: usize = 20;
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let record = token(owner, "laptop");
    insert(&store, &record).await;

    let first = begin(&store).await.unwrap();
    let mut queue = JoinSet::new();
    for number in 0..QUEUE {
        let store = store.clone();
        queue.spawn(async move { insert(&store, &token(owner, &number.to_string())).await });
    }
    sleep(ENOUGH).await;
    let urgent = store.at(Priority::Urgent);
    urgent.change_seq().await.expect("it connects");
    let revoking = tokio::spawn(async move {
        urgent.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    });
    sleep(ENOUGH).await;
    drop(first);

    revoking.await.unwrap();
    assert_eq!(queue.join_all().await.len(), QUEUE);
    // In the order of their changes, whenever each of their tasks came to know.
    let all = all_secrets(&store, Cursor::after(-1)).await;
    let before = all.iter().position(|changed| changed.now.uid == record.uid).unwrap();
    // One that is under way, and those that began before this one had asked.
    assert!(before <= QUEUE / 4, "{before} of {QUEUE} came first");
}

/// More than there are connections for urgent work.
async fn nobody_queues_urgent_changes_before_all_others(under_test: StoreUnderTest) {
    const QUEUE: usize = 20;
    let store = under_test.open().await;
    let (greedy, other) = (Actor::User(owner(&store).await), Actor::Cli);
    let first = begin(&store).await.unwrap();
    let (mut queue, done) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..QUEUE {
        let (store, done) = (store.clone(), done.clone());
        queue.spawn(async move {
            drop(store.urgent_change(greedy, &Grantor::Operator, system::now()).await.unwrap());
            done.fetch_add(1, SeqCst);
        });
    }
    sleep(ENOUGH).await;
    let changing = tokio::spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let change = store.urgent_change(other, &Grantor::Operator, system::now()).await.unwrap();
            let before = done.load(SeqCst);
            drop(change);
            before
        }
    });
    sleep(ENOUGH).await;
    drop(first);

    let before = changing.await.unwrap();
    assert!(before <= 2, "{before} of {QUEUE} came first");
    queue.join_all().await;
}

async fn nobody_queues_readings_before_all_others(under_test: StoreUnderTest) {
    const QUEUE: usize = 40;
    let store = under_test.open().await;
    let (greedy, other) = (owner(&store).await, owner(&store).await);
    for priority in [Priority::Urgent, Priority::Ordinary] {
        let of = |user| store.at(priority).read_by(Reader::User(user));
        let mut taken = take_all(&store.at(priority)).await;
        let half = (taken.len() / 2).max(1);
        let (mut queue, done) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..QUEUE {
            // Each request has a store of its own.
            let (store, done) = (of(greedy), done.clone());
            queue.spawn(async move {
                store.user(greedy).await.unwrap();
                done.fetch_add(1, SeqCst);
            });
        }
        sleep(ENOUGH).await;
        let reading = tokio::spawn({
            let (store, done) = (of(other), done.clone());
            async move {
                store.user(other).await.unwrap();
                done.load(SeqCst)
            }
        });
        sleep(ENOUGH).await;
        // One connection for all of them.
        taken.pop();
        let before = reading.await.unwrap();
        assert!(before <= half + 1, "{priority:?}: {before} of {QUEUE} came first");
        drop(taken);
        queue.join_all().await;
    }
}

async fn what_is_committed_meanwhile_is_in_no_snapshot(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let mut snapshot = store.snapshot().await.unwrap();
    let head = snapshot.head(None).await.unwrap();

    let record = token(owner, "laptop");
    insert(&store, &record).await;
    assert!(snapshot.changed_secrets(Cursor::after(-1), 10).await.unwrap().is_empty());
    assert_eq!(snapshot.head(None).await.unwrap(), head);
    drop(snapshot);
    let now = store.snapshot().await.unwrap().head(Some(head.latest.seq)).await.unwrap();
    assert_eq!((now.latest.seq, now.mark_then), (head.latest.seq + 1, head.latest.mark));
}
