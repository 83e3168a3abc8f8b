//! What every store promises to the management API: logins, named requests, replicas, usage, changes.

use std::time::Duration;

use bento_gateway::{
    domain::{
        audit::{Action, Actor, AuditEvent, RequestKey},
        code::{CODE_BYTES, OneTimeCode},
        deployment::DeploymentSpec,
        login::{Login, LoginDecision},
        timestamp::Timestamp,
        usage::{DailyUse, Day, TokenUse},
        user::{Role, User, UserId},
    },
    store::{Conflict, ReplicaId, SharedStore, TokenFilter, TokenOrder},
    system,
};

use crate::store_contract::{
    Place, add, assert_conflict, behaviours, event, insert, owner, scopes, secret, spec, token, used,
};

behaviours!(
    a_token_is_changed,
    revoked_tokens_are_left_out_on_request,
    uses_add_up_by_day,
    a_named_request_is_done_once,
    a_user_is_changed,
    a_deployment_is_changed,
    a_login_is_decided_once,
    a_login_is_claimed_once,
    old_logins_are_forgotten,
    replicas_come_and_go,
);

async fn a_token_is_changed(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let mut record = token(owner, "before");
    insert(&store, &record).await;
    insert(&store, &token(owner, "taken")).await;
    let seq = store.change_seq().await.unwrap();

    record.name = "After".to_owned();
    record.description = "changed".to_owned();
    record.scopes = scopes(&["deployment:*"]);
    record.expires_at = Some(Timestamp::from_millis(5_000_000_000_000));
    assert!(store.update_token(&record, &event(Action::TokenUpdated)).await.unwrap());
    assert_eq!(store.token(record.uid).await.unwrap(), Some(record.clone()));
    assert_eq!(store.change_seq().await.unwrap(), seq + 1);
    let told = store.changed_secrets(bento_gateway::store::Cursor::after(seq), 10).await.unwrap();
    assert_eq!(
        told.iter().map(|changed| (changed.uid, &changed.scopes)).collect::<Vec<_>>(),
        [(record.uid, &record.scopes)]
    );
    let search = |text: &str| TokenFilter {
        search: Some(text.to_owned()),
        owner: None,
        revoked: true,
        order: TokenOrder::Newest,
        offset: 0,
        limit: 10,
    };
    assert_eq!(store.list_tokens(&search("after")).await.unwrap().total, 1);
    assert_eq!(store.list_tokens(&search("before")).await.unwrap().total, 0);

    record.name = "taken".to_owned();
    assert_conflict(store.update_token(&record, &event(Action::TokenUpdated)).await, Conflict::TokenName);
    store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    record.name = "again".to_owned();
    assert!(!store.update_token(&record, &event(Action::TokenUpdated)).await.unwrap());
    assert!(!store.update_token(&token(owner, "never stored"), &event(Action::TokenUpdated)).await.unwrap());
}

async fn revoked_tokens_are_left_out_on_request(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let (live, gone) = (token(owner, "live"), token(owner, "gone"));
    insert(&store, &live).await;
    insert(&store, &gone).await;
    store.revoke_token(gone.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    let filter =
        |revoked| TokenFilter { search: None, owner: None, revoked, order: TokenOrder::Newest, offset: 0, limit: 10 };
    assert_eq!(store.list_tokens(&filter(true)).await.unwrap().total, 2);
    let page = store.list_tokens(&filter(false)).await.unwrap();
    assert_eq!((page.total, page.items[0].uid), (1, live.uid));
}

async fn uses_add_up_by_day(place: Place) {
    let store = place.open().await;
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
    tokio::join!(add(store.clone()), add(place.open().await));
    let daily = |day, requests| DailyUse { day: Day(day), requests };
    let usage = store.token_usage(record.uid, Day(0)).await.unwrap();
    assert_eq!(usage, [daily(100, 5), daily(102, 7), daily(103, 40)]);
    assert_eq!(store.token_usage(record.uid, Day(103)).await.unwrap(), [daily(103, 40)]);
    assert_eq!(Day(103).to_string(), "1970-04-14");
}

fn named(action: Action, by: UserId, key: &str, hash: &str) -> AuditEvent {
    let request = Some(RequestKey { key: key.to_owned(), hash: hash.to_owned() });
    AuditEvent { actor: Actor::User(by), request, ..event(action) }
}

async fn a_named_request_is_done_once(place: Place) {
    let store = place.open().await;
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

async fn a_user_is_changed(place: Place) {
    let store = place.open().await;
    let id = owner(&store).await;
    let user = store.user(id).await.unwrap().unwrap();
    let changed = User { name: "Somebody else".to_owned(), role: Role::Member, ..user };
    assert!(store.update_user(&changed, &event(Action::UserUpdated)).await.unwrap());
    let read = store.user(id).await.unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.role), ("Somebody else", Role::Member));
    let unknown = UserId(system::new_id(system::now()).unwrap());
    assert!(!store.update_user(&User { id: unknown, ..changed }, &event(Action::UserUpdated)).await.unwrap());
    assert!(store.user(unknown).await.unwrap().is_none());
}

async fn a_deployment_is_changed(place: Place) {
    let store = place.open().await;
    let first = spec("a", &["one.example.com", "two.example.com"]);
    add(&store, &first).await.unwrap();
    add(&store, &spec("b", &["three.example.com"])).await.unwrap();
    let created_at = store.list_deployments().await.unwrap()[0].created_at;
    let seq = store.change_seq().await.unwrap();

    let mut changed = spec("a", &["two.example.com", "four.example.com"]);
    changed.terminated = true;
    let update = async |spec: DeploymentSpec| store.update_deployment(&spec, &event(Action::DeploymentUpdated)).await;
    assert!(update(changed.clone()).await.unwrap());
    let stored = &store.list_deployments().await.unwrap()[0];
    assert_eq!((&stored.spec, stored.created_at), (&changed, created_at));
    assert_eq!(store.changed_deployments(seq).await.unwrap()[0].spec, Some(changed.clone()));
    assert_conflict(update(spec("a", &["three.example.com"])).await, Conflict::DeploymentHost);
    assert_eq!(store.list_deployments().await.unwrap()[0].spec, changed, "a refused change is none");
    // The host that it has given up is free.
    add(&store, &spec("c", &["one.example.com"])).await.unwrap();
    assert!(!update(spec("nowhere", &[])).await.unwrap());
}

fn login(number: u8, expires_at: Timestamp) -> Login {
    Login {
        code_hash: OneTimeCode::from_random([number; CODE_BYTES]).hash(),
        asked_from: "192.0.2.7".to_owned(),
        asked_with: "python-httpx".to_owned(),
        created_at: Timestamp::from_millis(1_000),
        expires_at,
        decision: None,
        claimed_at: None,
    }
}

fn later() -> Timestamp {
    system::now().saturating_add(Duration::from_secs(600))
}

async fn a_login_is_decided_once(place: Place) {
    let store = place.open().await;
    let by = owner(&store).await;
    let (waiting, over) = (login(1, later()), login(2, Timestamp::from_millis(2_000)));
    let never = Timestamp::from_millis(0);
    store.insert_login(&waiting, never).await.unwrap();
    store.insert_login(&over, never).await.unwrap();
    assert_eq!(store.login(&waiting.code_hash).await.unwrap(), Some(waiting.clone()));
    assert_eq!(store.login(&login(3, later()).code_hash).await.unwrap(), None);

    let approved = LoginDecision::Approved { by, scopes: scopes(&["api", "deployment:*"]) };
    let decide = async |login: &Login, decision: &LoginDecision| {
        store.decide_login(&login.code_hash, decision, &event(Action::LoginApproved)).await.unwrap()
    };
    assert!(!decide(&over, &approved).await, "it has run out");
    assert!(decide(&waiting, &approved).await);
    assert!(!decide(&waiting, &LoginDecision::Refused).await, "it is decided");
    let read = store.login(&waiting.code_hash).await.unwrap().unwrap();
    assert_eq!(read.decision, Some(approved));

    let refused = login(4, later());
    store.insert_login(&refused, never).await.unwrap();
    assert!(decide(&refused, &LoginDecision::Refused).await);
    assert_eq!(store.login(&refused.code_hash).await.unwrap().unwrap().decision, Some(LoginDecision::Refused));
    let claimed = store.claim_login(&refused.code_hash, &token(by, "x"), &secret(), &event(Action::TokenCreated)).await;
    assert!(!claimed.unwrap());
}

async fn a_login_is_claimed_once(place: Place) {
    let store = place.open().await;
    let by = owner(&store).await;
    let login = login(1, later());
    store.insert_login(&login, Timestamp::from_millis(0)).await.unwrap();
    let claim = |number: usize| {
        let (store, code) = (store.clone(), login.code_hash.clone());
        let record = token(by, &format!("claim {number}"));
        async move { store.claim_login(&code, &record, &secret(), &event(Action::TokenCreated)).await.unwrap() }
    };
    assert!(!claim(0).await, "nobody has approved it");
    let approved = LoginDecision::Approved { by, scopes: scopes(&["api"]) };
    assert!(store.decide_login(&login.code_hash, &approved, &event(Action::LoginApproved)).await.unwrap());
    let claims: Vec<_> = (1..=20).map(|number| tokio::spawn(claim(number))).collect();
    let mut made = 0;
    for claim in claims {
        made += usize::from(claim.await.unwrap());
    }
    assert_eq!(made, 1);
    let filter = TokenFilter {
        search: Some("claim".to_owned()),
        owner: None,
        revoked: true,
        order: TokenOrder::Newest,
        offset: 0,
        limit: 100,
    };
    assert_eq!(store.list_tokens(&filter).await.unwrap().total, 1);
}

async fn old_logins_are_forgotten(place: Place) {
    let store = place.open().await;
    let (old, new) = (login(1, Timestamp::from_millis(2_000)), login(2, Timestamp::from_millis(9_000)));
    store.insert_login(&old, Timestamp::from_millis(0)).await.unwrap();
    store.insert_login(&new, Timestamp::from_millis(2_001)).await.unwrap();
    assert_eq!(store.login(&old.code_hash).await.unwrap(), None);
    assert!(store.login(&new.code_hash).await.unwrap().is_some());
}

async fn replicas_come_and_go(place: Place) {
    let store = place.open().await;
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
