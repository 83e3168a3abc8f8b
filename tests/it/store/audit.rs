//! The audit trail, which also knows the requests that are done once.

use bento_gateway::{
    domain::{
        audit::{Action, Actor, AuditEvent, RequestKey},
        user::UserId,
    },
    store::{Conflict, EventFilter},
};

use super::verbs::Verbs;
use super::{StoreUnderTest, assert_conflict, behaviours, event, insert, owner, secret, sessions::begin, token};

behaviours!(a_named_request_is_done_once, events_are_filtered,);

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
        all.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(),
        ["session.signed_in", "token.created", "token.created", "user.created",]
    );
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!((all[0].actor_kind.as_str(), all[0].actor, all[0].target.as_str()), ("cli", None, "it"));
    assert_eq!(all[0].detail["why"], "test");
    let count = async |filter: EventFilter| store.events(&EventFilter { limit: 100, ..filter }).await.unwrap().len();
    assert_eq!(count(EventFilter { action: "token.".to_owned(), ..EventFilter::default() }).await, 2);
    assert_eq!(count(EventFilter { target: "nothing".to_owned(), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { actor: Some(owner), ..EventFilter::default() }).await, 0);
    assert_eq!(count(EventFilter { before: Some(all[1].id), ..EventFilter::default() }).await, 2);
    assert_eq!(store.events(&EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap().len(), 1);
}
