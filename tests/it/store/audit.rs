//! The audit trail, which also knows the requests that are done once.

use bento_gateway::{
    domain::{
        audit::{Action, Actor, AuditEvent, RequestKey},
        audit_chain::{Chain, Checkpoint},
        rights::Grantor,
        timestamp::{DAY, Timestamp},
        user::UserId,
    },
    service::audit,
    store::{Conflict, EventFilter, SharedStore},
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, assert_conflict, behaviours, event, insert, owner, secret, sessions::begin, token};

behaviours!(
    a_named_request_is_done_once,
    events_are_filtered,
    what_was_done_to_the_trail_is_found,
    writers_at_once_make_one_chain,
    what_is_old_is_forgotten_from_the_beginning,
);

fn named(action: Action, by: UserId, key: &str, hash: &str) -> AuditEvent {
    let request = Some(RequestKey { key: key.to_owned(), hash: hash.to_owned() });
    AuditEvent { actor: Actor::User(by), request, ..event(action) }
}

async fn a_named_request_is_done_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let create = async |by, name: &str| {
        store.insert_token(&token(by, name), &secret(), &named(Action::TokenCreated, by, "key-1", "hash")).await
    };
    assert_eq!(store.named_request(ada, "key-1").await.unwrap(), None);
    create(ada, "one").await.unwrap();
    let known = store.named_request(ada, "key-1").await.unwrap().unwrap();
    assert_eq!((known.hash.as_str(), known.target.as_str()), ("hash", "it"));
    assert_conflict(create(ada, "two").await, Conflict::RequestKey);
    // Another one's names are another one's.
    create(bob, "two").await.unwrap();
    assert_eq!(store.named_request(bob, "key-2").await.unwrap(), None);
}

async fn events_are_filtered(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    for name in ["one", "two"] {
        insert(&store, &token(owner, name)).await;
    }
    begin(&store, owner).await;
    let all = store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap();
    assert_eq!(
        all.iter().map(|event| event.facts.action.as_str()).collect::<Vec<_>>(),
        ["session.signed_in", "token.created", "token.created", "user.created",]
    );
    assert!(all.windows(2).all(|pair| pair[0].facts.id > pair[1].facts.id));
    let newest = &all[0].facts;
    assert_eq!((newest.actor_kind.as_str(), newest.actor, newest.target.as_str()), ("cli", None, "it"));
    assert_eq!(newest.detail["why"], "test");
    let count = async |filter: EventFilter| store.events(&EventFilter { limit: 100, ..filter }).await.unwrap().len();
    assert_eq!(count(EventFilter { action: "token.".to_owned(), ..EventFilter::default() }).await, 2);
    assert_eq!(count(EventFilter { target: "nothing".to_owned(), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { actor: Some(owner), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { before: Some(all[1].facts.id), ..EventFilter::default() }).await, 2);
    assert_eq!(store.events(&EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap().len(), 1);
}

async fn findings(store: &SharedStore, kept: &[Checkpoint]) -> Vec<String> {
    let verification = audit::verify(store, system::now(), kept).await.unwrap();
    verification.findings.iter().map(ToString::to_string).collect()
}

async fn record(store: &SharedStore, events: &[AuditEvent]) {
    let change = store.change(&Grantor::Operator, system::now());
    let (last, others) = events.split_last().unwrap();
    let mut change = change.await.unwrap();
    for event in others {
        change.record(event).await.unwrap();
    }
    change.commit(last).await.unwrap().unsettled();
}

async fn what_was_done_to_the_trail_is_found(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    for _ in 0..5 {
        record(&store, &[event(Action::TokenCreated), event(Action::SignedIn), event(Action::TokenRevoked)]).await;
    }
    let kept = audit::checkpoints(&store).await.unwrap();
    let ends: Vec<_> = kept.iter().map(|end| (end.chain, end.number)).collect();
    assert_eq!(ends, [(Chain::Changes, 10), (Chain::SignIns, 5)]);
    assert_eq!(findings(&store, &kept).await, [""; 0]);
    record(&store, &[event(Action::TokenCreated)]).await;
    assert_eq!(findings(&store, &kept).await, [""; 0], "the trail goes on");

    let of = |number: i64| format!("chain = 'changes' AND number = {number}");
    let not_as_written = |number: i64| format!("event {number} of changes (");
    for (tamper, undo, found) in [
        ("target = 'other'", "target = 'it'", true),
        ("action = 'token.updated'", "action = 'token.revoked'", true),
        ("detail = '{}'", "detail = '{\"why\":\"test\"}'", true),
        // The same in other words.
        ("detail = '{ \"why\": \"test\" }'", "detail = '{\"why\":\"test\"}'", false),
    ] {
        assert_eq!(under_test.execute(&format!("UPDATE audit_events SET {tamper} WHERE {}", of(4))).await, 1);
        let all = findings(&store, &[]).await;
        assert_eq!(all.len(), usize::from(found), "{tamper}: {all:?}");
        assert!(all.iter().all(|found| found.starts_with(&not_as_written(4))), "{all:?}");
        under_test.execute(&format!("UPDATE audit_events SET {undo} WHERE {}", of(4))).await;
        assert_eq!(findings(&store, &[]).await, [""; 0], "{undo}");
    }
    // Two events change their places.
    let moved = |from: i64, to: i64| format!("UPDATE audit_events SET number = {to} WHERE {}", of(from));
    for (from, to) in [(3, -3), (6, 3), (-3, 6)] {
        under_test.execute(&moved(from, to)).await;
    }
    let found = findings(&store, &[]).await;
    assert!(found.len() >= 2 && found[0].starts_with(&not_as_written(3)), "{found:?}");
    for (from, to) in [(3, -3), (6, 3), (-3, 6)] {
        under_test.execute(&moved(from, to)).await;
    }
    assert_eq!(findings(&store, &kept).await, [""; 0]);
    // One that nobody has chained.
    let columns = "id, at, action, actor_kind, target, detail";
    let id = system::new_id(system::now()).unwrap();
    let copy = format!("INSERT INTO audit_events ({columns}) SELECT '{id}', at, action, actor_kind, target, detail");
    under_test.execute(&format!("{copy} FROM audit_events WHERE {}", of(8))).await;
    assert!(findings(&store, &[]).await[0].starts_with("1 events are in no chain"));
    under_test.execute("DELETE FROM audit_events WHERE number IS NULL").await;
    // In the middle, and at the end.
    under_test.execute(&format!("DELETE FROM audit_events WHERE {}", of(7))).await;
    assert_eq!(findings(&store, &kept).await, ["event 7 of changes is missing"]);
    under_test.execute("DELETE FROM audit_events WHERE chain = 'changes' AND number > 8").await;
    let missing = "events 9 to 11 of changes are missing";
    assert_eq!(
        findings(&store, &kept).await,
        ["event 7 of changes is missing", missing, &format!("the trail does not have the checkpoint {}", kept[0])]
    );
    // Who writes the end anew is found by what was kept elsewhere.
    under_test
        .execute(
            "UPDATE audit_chains SET number = 8,
                hash = (SELECT hash FROM audit_events WHERE audit_events.chain = 'changes' AND audit_events.number = 8)
            WHERE chain = 'changes'",
        )
        .await;
    assert_eq!(findings(&store, &[]).await, ["event 7 of changes is missing"]);
    assert_eq!(findings(&store, &kept).await.len(), 2);
}

async fn writers_at_once_make_one_chain(under_test: StoreUnderTest) {
    let stores = [under_test.open().await, under_test.open().await];
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..12 {
        let store = stores[at % 2].clone();
        calls.spawn(async move { record(&store, &[event(Action::TokenCreated), event(Action::SignedIn)]).await });
    }
    calls.join_all().await;
    let ends = audit::checkpoints(&stores[0]).await.unwrap();
    assert_eq!(ends.iter().map(|end| end.number).collect::<Vec<_>>(), [12, 12]);
    assert_eq!(findings(&stores[1], &ends).await, [""; 0]);
}

async fn what_is_old_is_forgotten_from_the_beginning(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let now = system::now();
    let old = |action, days: u32| {
        let at = now.saturating_sub(days * DAY);
        AuditEvent { at, ..event(action) }
    };
    record(&store, &[old(Action::SignedIn, 120), old(Action::TokenCreated, 110), old(Action::SignedOut, 100)]).await;
    let kept = audit::checkpoints(&store).await.unwrap();
    record(&store, &[old(Action::SignedIn, 80), old(Action::SignedOut, 70)]).await;
    let forget = async |before: Timestamp| {
        let mut change = store.change(&Grantor::Operator, now).await.unwrap();
        change.forget_sign_ins(before).await.unwrap();
        change.commit(&event(Action::BrowserSignedIn)).await.unwrap().unsettled();
    };
    forget(now.saturating_sub(audit::SIGN_INS_KEPT)).await;
    let count = async |action: &str| {
        let filter = EventFilter { action: action.to_owned(), limit: 100, ..EventFilter::default() };
        store.events(&filter).await.unwrap().len()
    };
    assert_eq!((count("session.").await, count("token.").await), (2, 1), "changes are kept");
    let verification = audit::verify(&store, now, &kept).await.unwrap();
    assert!(verification.findings.is_empty(), "{:?}", verification.findings);
    assert_eq!((verification.chains[1].events, verification.chains[1].forgotten), (3, 2));
    // Whoever forgets earlier is found.
    forget(now.saturating_sub(75 * DAY)).await;
    assert_eq!(
        findings(&store, &kept).await,
        ["the events of sign_ins up to 3 were deleted before they were old enough"]
    );
}
