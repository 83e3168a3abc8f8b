//! The running gateways that a store knows of.

use std::time::Duration;

use bento_gateway::{store::ReplicaId, system};

use super::{StoreUnderTest, behaviours};

behaviours!(replicas_come_and_go,);

async fn replicas_come_and_go(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let [one, two] = [(), ()].map(|()| ReplicaId(system::new_id(system::now()).unwrap()));
    let seq = store.change_seq().await.unwrap();
    store.beat(one, "b", 1).await.unwrap();
    store.beat(two, "a", 5).await.unwrap();
    store.beat(one, "b", 7).await.unwrap();
    let live = async |within| {
        let live = store.live_replicas(within).await.unwrap();
        live.into_iter().map(|replica| (replica.id, replica.name, replica.applied_seq)).collect::<Vec<_>>()
    };
    let both = [(two, "a".to_owned(), 5), (one, "b".to_owned(), 7)];
    assert_eq!(live(Duration::from_secs(60)).await, both);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(live(Duration::from_millis(50)).await, []);
    store.leave(two).await.unwrap();
    assert_eq!(live(Duration::from_secs(60)).await, both[1..]);
    assert_eq!(store.change_seq().await.unwrap(), seq, "a beat is no change");
}
