//! What tokens have used of Deployments.

use std::time::Duration;

use bento_gateway::{
    domain::{
        let_through::{LetThrough, StrangeCaller},
        timestamp::Timestamp,
        token::TokenUid,
        usage::{Hour, HourlyUse, Used},
    },
    store::{SharedStore, UsageBatch, UsageFilter, UsageSum},
    system,
};

use uuid::Uuid;

use super::{StoreUnderTest, behaviours, insert, owner, token, verbs::Verbs};

behaviours!(
    usage_adds_up,
    a_batch_counts_once,
    usage_is_told_apart_and_paged,
    old_usage_is_forgotten,
    who_will_be_refused_adds_up
);

fn used(requests: u64) -> Used {
    Used {
        requests,
        refused: 2 * requests,
        bytes_in: 3 * requests,
        bytes_out: 4 * requests,
        upstream: Duration::from_micros(5 * requests),
        events: 6 * requests,
        prompt_tokens: 7 * requests,
        completion_tokens: 8 * requests,
    }
}

fn of(hour: i32, token: Option<TokenUid>, deployment: &str, requests: u64) -> HourlyUse {
    HourlyUse { hour: Hour(hour), token, deployment: deployment.to_owned(), used: used(requests) }
}

fn batch(uses: Vec<HourlyUse>) -> UsageBatch {
    let at = system::now();
    UsageBatch { id: system::new_id(at).unwrap(), at, uses, let_through: Vec::new() }
}

fn all() -> UsageFilter {
    UsageFilter {
        since: Hour(0),
        until: Hour(1_000_000),
        token: None,
        deployment: None,
        owner: None,
        hours: None,
        by_token: false,
        by_deployment: false,
        offset: 0,
        limit: 1000,
    }
}

async fn sums(store: &SharedStore, filter: UsageFilter) -> Vec<UsageSum> {
    let page = store.usage(&filter).await.unwrap();
    assert!(page.total >= page.items.len() as u64);
    page.items
}

fn new_token() -> TokenUid {
    TokenUid(system::new_id(system::now()).unwrap())
}

/// Several gateways write the same rows at once, in opposite orders.
async fn usage_adds_up(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
    let before = stores[0].change_seq().await.unwrap();
    let tokens: Vec<_> = (0..40).map(|_| new_token()).collect();
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..8 {
        let (store, mut uses) = (stores[at % 2].clone(), Vec::new());
        uses.extend(tokens.iter().map(|token| of(100, Some(*token), "a", 1)));
        if at % 2 == 1 {
            uses.reverse();
        }
        calls.spawn(async move { store.add_usage(&batch(uses)).await.unwrap() });
    }
    calls.join_all().await;
    let by_token = sums(&stores[0], UsageFilter { by_token: true, ..all() }).await;
    assert_eq!(by_token.len(), 40);
    assert!(by_token.iter().all(|sum| sum.used == used(8) && sum.first.is_none() && sum.deployment.is_none()));
    let [sum] = &*sums(&stores[1], all()).await else { panic!("one sum") };
    assert_eq!(sum.used, used(320));
    assert_eq!(stores[0].change_seq().await.unwrap(), before, "no follower has to know");
}

async fn a_batch_counts_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let token = Some(new_token());
    let twice = batch(vec![of(100, token, "a", 1)]);
    store.add_usage(&twice).await.unwrap();
    store.add_usage(&twice).await.unwrap();
    assert_eq!(sums(&store, all()).await[0].used, used(1));
    store.add_usage(&batch(twice.uses.clone())).await.unwrap();
    assert_eq!(sums(&store, all()).await[0].used, used(2));
    // Which batches there were is forgotten later than anybody writes them again.
    store.forget_usage_batches(twice.at).await.unwrap();
    store.add_usage(&twice).await.unwrap();
    assert_eq!(sums(&store, all()).await[0].used, used(2));
    store.forget_usage_batches(Timestamp::from_millis(twice.at.as_millis() + 60_000)).await.unwrap();
    store.add_usage(&twice).await.unwrap();
    assert_eq!(sums(&store, all()).await[0].used, used(3));
}

async fn usage_is_told_apart_and_paged(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let (of_ada, of_bob) = (token(ada, "a"), token(bob, "b"));
    insert(&store, &of_ada).await;
    insert(&store, &of_bob).await;
    let (a, b) = (Some(of_ada.uid), Some(of_bob.uid));
    let uses = vec![
        of(47, a, "x", 1),
        of(48, a, "x", 2),
        of(49, a, "y", 4),
        of(71, b, "x", 8),
        of(72, b, "", 16),
        of(72, None, "public", 32),
    ];
    store.add_usage(&batch(uses)).await.unwrap();
    let shown = async |filter: UsageFilter| -> Vec<_> {
        let sums = sums(&store, filter).await;
        let shown = |sum: UsageSum| (sum.first.map(|hour| hour.0), sum.token, sum.deployment, sum.used.requests);
        sums.into_iter().map(shown).collect()
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        shown(UsageFilter { hours: Some(24), by_token: true, ..all() }).await,
        [
            (Some(24), a, None, 1),
            (Some(48), b, None, 8),
            (Some(48), a, None, 6),
            (Some(72), None, None, 32),
            (Some(72), b, None, 16)
        ]
    );
    assert_eq!(
        shown(UsageFilter { by_deployment: true, ..all() }).await,
        [
            (None, None, name("public"), 32),
            (None, None, None, 16),
            (None, None, name("x"), 11),
            (None, None, name("y"), 4)
        ]
    );
    assert_eq!(
        shown(UsageFilter { hours: Some(1), since: Hour(48), until: Hour(71), ..all() }).await,
        [(Some(48), None, None, 2), (Some(49), None, None, 4)]
    );
    assert_eq!(shown(UsageFilter { owner: Some(ada), ..all() }).await, [(None, None, None, 7)]);
    assert_eq!(shown(UsageFilter { token: b, deployment: name("x"), ..all() }).await, [(None, None, None, 8)]);
    assert_eq!(shown(UsageFilter { deployment: name("gone"), ..all() }).await, []);
    let page = store.usage(&UsageFilter { by_deployment: true, offset: 1, limit: 2, ..all() }).await.unwrap();
    assert_eq!((page.total, page.items.len()), (4, 2));
    assert_eq!(page.items[1].deployment, name("x"));
}

async fn old_usage_is_forgotten(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let token = Some(new_token());
    store.add_usage(&batch((100..105).map(|hour| of(hour, token, "a", 1)).collect())).await.unwrap();
    let mut hours = 0;
    while store.forget_usage(Hour(103)).await.unwrap() {
        hours += 1;
    }
    assert_eq!(hours, 3);
    let left = sums(&store, UsageFilter { hours: Some(1), ..all() }).await;
    assert_eq!(left.iter().map(|sum| sum.first).collect::<Vec<_>>(), [Some(Hour(103)), Some(Hour(104))]);
}

async fn who_will_be_refused_adds_up(test: StoreUnderTest) {
    let store = test.open().await;
    let of = |caller: StrangeCaller, requests: u64, first: i64, last: i64| LetThrough {
        deployment: "a".to_owned(),
        reason: "credential_missing".to_owned(),
        caller,
        requests,
        first: Timestamp::from_millis(first),
        last: Timestamp::from_millis(last),
    };
    let network = |number: u32| StrangeCaller::Network(format!("10.0.{}.{}", number / 256, number % 256));
    let token = StrangeCaller::Token(TokenUid(Uuid::from_u128(7)));
    let add = |let_through: Vec<LetThrough>| UsageBatch { let_through, ..batch(Vec::new()) };
    let twice = add(vec![of(network(1), 2, 50, 60), of(token.clone(), 9, 1, 2)]);
    store.add_usage(&twice).await.unwrap();
    store.add_usage(&twice).await.unwrap();
    store.add_usage(&add(vec![of(network(1), 3, 10, 40), of(StrangeCaller::Others, 1, 5, 5)])).await.unwrap();
    let found = store.let_through("a", 10).await.unwrap();
    let expected = [of(token, 9, 1, 2), of(network(1), 5, 10, 60), of(StrangeCaller::Others, 1, 5, 5)];
    assert_eq!((found.items.as_slice(), found.total), (&expected[..], 3));
    assert_eq!(store.let_through("a", 1).await.unwrap().items.len(), 1);
    assert_eq!(store.let_through("b", 10).await.unwrap().total, 0);

    // Networks of late are told apart, as many at each Deployment; no request is lost, and no token.
    let elsewhere = LetThrough { deployment: "b".to_owned(), ..of(network(1), 1, 1, 1) };
    store.add_usage(&add(vec![elsewhere])).await.unwrap();
    for part in 0..3 {
        let many = (part * 1000..(part + 1) * 1000).map(|number| of(network(number), 1, 100, 100 + i64::from(number)));
        store.add_usage(&add(many.collect())).await.unwrap();
    }
    let kept = store.let_through("a", 20_000).await.unwrap();
    assert_eq!((kept.total, store.let_through("b", 10).await.unwrap().total), (1_002, 1));
    assert_eq!(kept.items.iter().map(|of| of.requests).sum::<u64>(), 3_000 + 9 + 5 + 1);
    assert!(kept.items.iter().any(|of| matches!(of.caller, StrangeCaller::Token(_))));
    let networks = || kept.items.iter().filter(|of| matches!(of.caller, StrangeCaller::Network(_)));
    assert!(networks().all(|of| of.last.as_millis() >= 2_100), "those of late");
    store.forget_let_through(Timestamp::from_millis(1_000_000)).await.unwrap();
    assert_eq!(store.let_through("a", 10).await.unwrap().total, 0);
}
