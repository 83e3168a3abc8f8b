//! What is counted: uses of tokens, and requests by minute.

use bento_gateway::{
    domain::{
        timestamp::Timestamp,
        token::TokenUid,
        usage::{DailyUse, Day, TokenUse, Traffic},
    },
    store::SharedStore,
};

use super::{StoreUnderTest, behaviours, insert, owner, token, verbs::Verbs};

behaviours!(use_moves_forward_only, uses_add_up_by_day, traffic_adds_up,);

pub fn used(uid: TokenUid, at: Timestamp) -> TokenUse {
    TokenUse { uid, at, requests: 1 }
}

async fn use_moves_forward_only(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let other = under_test.open().await;
    let owner = owner(&store).await;
    let mut uids = Vec::new();
    for number in 0..50 {
        let record = token(owner, &format!("token {number}"));
        insert(&store, &record).await;
        uids.push(record.uid);
    }
    let before = store.change_seq().await.unwrap();
    let used_at = async |uid| store.token(uid).await.unwrap().unwrap().last_used_at;
    let at = Timestamp::from_millis;

    store.record_use(&[]).await.unwrap();
    let unknown = token(owner, "unknown").uid;
    store
        .record_use(&[used(uids[0], at(300)), used(unknown, at(1)), used(uids[1], at(200)), used(uids[0], at(100))])
        .await
        .unwrap();
    assert_eq!(used_at(uids[0]).await, Some(at(300)));
    assert_eq!(used_at(uids[1]).await, Some(at(200)));
    assert_eq!(used_at(uids[2]).await, None);

    store.record_use(&[used(uids[0], at(299)), used(uids[1], at(201))]).await.unwrap();
    assert_eq!(used_at(uids[0]).await, Some(at(300)));
    assert_eq!(used_at(uids[1]).await, Some(at(201)));

    // Two gateways that write the same tokens again and again, in opposite orders.
    let write = |store: SharedStore, mut uids: Vec<TokenUid>, reverse: bool| async move {
        if reverse {
            uids.reverse();
        }
        for round in 0..20 {
            let uses: Vec<_> = uids.iter().map(|&uid| used(uid, at(1000 + round))).collect();
            store.record_use(&uses).await.unwrap();
        }
    };
    tokio::join!(write(store.clone(), uids.clone(), false), write(other, uids.clone(), true));
    for uid in uids {
        assert_eq!(used_at(uid).await, Some(at(1019)));
    }
    assert_eq!(store.change_seq().await.unwrap(), before);
}

async fn uses_add_up_by_day(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let record = token(owner, "busy");
    insert(&store, &record).await;
    let day = 86_400_000;
    let at = |days: i64, requests| TokenUse { uid: record.uid, at: Timestamp::from_millis(days * day + 5), requests };
    store.record_use(&[at(100, 2), at(100, 3)]).await.unwrap();
    store.record_use(&[at(102, 7), used(token(owner, "unknown").uid, Timestamp::from_millis(1))]).await.unwrap();
    let add = |store: SharedStore| async move {
        for _ in 0..20 {
            store.record_use(&[at(103, 1)]).await.unwrap();
        }
    };
    tokio::join!(add(store.clone()), add(under_test.open().await));
    let daily = |day, requests| DailyUse { day: Day(day), requests };
    let usage = store.token_usage(record.uid, Day(0)).await.unwrap();
    assert_eq!(usage, [daily(100, 5), daily(102, 7), daily(103, 40)]);
    assert_eq!(store.token_usage(record.uid, Day(103)).await.unwrap(), [daily(103, 40)]);
    assert_eq!(Day(103).to_string(), "1970-04-14");
}

async fn traffic_adds_up(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
    let store = &stores[0];
    let row = |minute, metric: &str, total| Traffic {
        minute,
        metric: metric.to_owned(),
        subject: "summarization".to_owned(),
        total,
    };
    // Two gateways at once.
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let store = stores[at % 2].clone();
        let rows = [row(100, "requests", 1), row(101, "requests", 2), row(101, "failed", 1)];
        calls.spawn(async move { store.add_traffic(&rows).await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(
        store.traffic(100, 1).await.unwrap(),
        [row(100, "requests", 8), row(101, "failed", 8), row(101, "requests", 16)]
    );
    assert_eq!(store.traffic(100, 10).await.unwrap(), [row(100, "failed", 8), row(100, "requests", 24)]);
    assert_eq!(store.traffic(0, i64::MAX).await.unwrap(), [row(0, "failed", 8), row(0, "requests", 24)]);
    store.forget_traffic(101).await.unwrap();
    assert_eq!(store.traffic(0, 1).await.unwrap().len(), 2);

    let record = token(owner(store).await, "t");
    insert(store, &record).await;
    let day = Timestamp::from_millis(86_400_000 * 7);
    store.record_use(&[TokenUse { uid: record.uid, at: day, requests: 5 }]).await.unwrap();
    let usage = async |from| store.usage_of(&[record.uid], Day(from)).await.unwrap().get(&record.uid).copied();
    assert_eq!((usage(7).await, usage(8).await), (Some(5), None));
}
