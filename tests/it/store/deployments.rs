//! Deployments, their hosts, and what their removal does to tokens.

use std::collections::{BTreeMap, BTreeSet};

use bento_gateway::{
    domain::{
        audit::Action,
        deployment::DeploymentSpec,
        timestamp::Timestamp,
        token::{TokenRecord, TokenUid},
    },
    store::{Conflict, Cursor, SharedStore, StoreError},
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, all_secrets, assert_conflict, behaviours, event, insert, owner, scopes, spec, token};

behaviours!(
    deployments_come_back_by_name,
    deployment_names_and_hosts_are_taken_once,
    removal_ends_exact_scopes,
    declared_names_are_known,
    a_deployment_is_changed,
);

pub(super) async fn add(store: &SharedStore, spec: &DeploymentSpec) -> Result<(), StoreError> {
    store.insert_deployment(spec, system::now(), &event(Action::DeploymentAdded)).await
}

async fn deployments_come_back_by_name(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    // A hyphen sorts before a letter by bytes, and not at all in many languages.
    let by_name = [spec("a-z", &[]), spec("ab", &["x.example.com", "y.example.com"]), spec("b", &[])];
    for at in [2, 0, 1] {
        add(&store, &by_name[at]).await.unwrap();
    }
    let listed = store.list_deployments().await.unwrap();
    assert_eq!(listed.into_iter().map(|stored| stored.spec).collect::<Vec<_>>(), by_name);

    let changed = store.snapshot().await.unwrap().changed_deployments(1).await.unwrap();
    let changed: Vec<_> = changed.into_iter().map(|changed| changed.spec.unwrap()).collect();
    assert_eq!(changed, [by_name[0].clone(), by_name[1].clone()]);
}

async fn deployment_names_and_hosts_are_taken_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    add(&store, &spec("a", &["a.example.com", "shared.example.com"])).await.unwrap();
    let before = store.change_seq().await.unwrap();
    assert_conflict(add(&store, &spec("a", &[])).await, Conflict::DeploymentName);
    let taken = add(&store, &spec("b", &["b.example.com", "shared.example.com"])).await;
    assert_conflict(taken, Conflict::DeploymentHost);
    assert_eq!(store.list_deployments().await.unwrap().len(), 1);
    assert_eq!(store.change_seq().await.unwrap(), before);
    add(&store, &spec("b", &["b.example.com"])).await.unwrap();

    let name = "a".parse().unwrap();
    let removed = event(Action::DeploymentRemoved);
    assert_eq!(store.remove_deployment(&name, system::now(), &removed).await.unwrap(), Some(vec![]));
    let seq = store.change_seq().await.unwrap();
    assert_eq!(store.remove_deployment(&name, system::now(), &event(Action::DeploymentRemoved)).await.unwrap(), None);
    assert_eq!(store.change_seq().await.unwrap(), seq);
    let changed = store.snapshot().await.unwrap().changed_deployments(before + 1).await.unwrap();
    assert_eq!((changed.len(), changed[0].name.as_str(), changed[0].spec.is_none()), (1, "a", true));
    assert!(!store.knows_deployment(&name).await.unwrap());

    // Its hosts are free, and so is its name.
    add(&store, &spec("c", &["shared.example.com"])).await.unwrap();
    add(&store, &spec("a", &["a.example.com"])).await.unwrap();
    assert!(store.knows_deployment(&name).await.unwrap());
    let changed = store.snapshot().await.unwrap().changed_deployments(seq).await.unwrap();
    let live: Vec<_> = changed.iter().map(|changed| (changed.name.as_str(), changed.spec.is_some())).collect();
    assert_eq!(live, [("c", true), ("a", true)]);
}

async fn removal_ends_exact_scopes(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    add(&store, &spec("old", &[])).await.unwrap();
    let mut records = BTreeMap::new();
    for (name, texts) in [
        ("only", &["deployment:old"][..]),
        ("one of two", &["deployment:new", "deployment:old"]),
        ("also api", &["api", "deployment:old"]),
        ("operator", &["deployment:old:operations"]),
        ("operator, too", &["deployment:new:operations", "deployment:old", "deployment:old:operations"]),
        ("reader", &["deployment:old:GET:/v1", "deployment:old:operations:GET", "deployment:older:GET"]),
        ("all", &["deployment:*:operations"]),
        ("prefix", &["deployment:ol*"]),
        ("other", &["deployment:older"]),
        ("gone", &["deployment:old"]),
    ] {
        let record = TokenRecord { scopes: scopes(texts), ..token(owner, name) };
        insert(&store, &record).await;
        records.insert(name, record);
    }
    let gone_at = Timestamp::from_millis(5);
    store.revoke_token(records["gone"].uid, gone_at, &event(Action::TokenRevoked)).await.unwrap().unwrap();
    let before = store.change_seq().await.unwrap();

    let at = Timestamp::from_millis(1_798_135_200_123);
    let removed = event(Action::DeploymentRemoved);
    let touched = store.remove_deployment(&"old".parse().unwrap(), at, &removed).await.unwrap().unwrap();
    let touched: BTreeMap<&str, (TokenUid, bool)> =
        touched.iter().map(|token| (token.name.as_str(), (token.uid, token.revoked))).collect();
    let expected = [
        ("only", true),
        ("one of two", false),
        ("also api", false),
        ("operator", true),
        ("operator, too", false),
        ("reader", false),
    ];
    assert_eq!(touched, expected.map(|(name, revoked)| (name, (records[name].uid, revoked))).into());
    assert_eq!(store.change_seq().await.unwrap(), before + 1);

    for (name, record) in &records {
        let after = store.token(record.uid).await.unwrap().unwrap();
        let (texts, revoked_at) = match *name {
            "only" => (scopes(&["deployment:old"]), Some(at)),
            "operator" => (scopes(&["deployment:old:operations"]), Some(at)),
            "operator, too" => (scopes(&["deployment:new:operations"]), None),
            "reader" => (scopes(&["deployment:older:GET"]), None),
            "one of two" => (scopes(&["deployment:new"]), None),
            "also api" => (scopes(&["api"]), None),
            "gone" => (record.scopes.clone(), Some(gone_at)),
            _ => (record.scopes.clone(), None),
        };
        assert_eq!((after.scopes, after.revoked_at), (texts, revoked_at), "{name}");
    }
    let changed = all_secrets(&store, Cursor::after(before)).await;
    let changed: BTreeSet<TokenUid> = changed.iter().map(|changed| changed.now.uid).collect();
    assert_eq!(changed, touched.values().map(|&(uid, _)| uid).collect());

    // A later one of that name is closed to them, and the revoked one's name is free.
    add(&store, &spec("old", &[])).await.unwrap();
    assert!(!store.token(records["also api"].uid).await.unwrap().unwrap().scopes.opens_deployment("old"));
    insert(&store, &token(owner, "only")).await;
}

async fn declared_names_are_known(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let specs = [spec("a", &["x.test"]), spec("b", &["x.test", "y.test"]), spec("a", &[])];
    store.declare_deployments(&[], system::now()).await.unwrap();
    store.declare_deployments(&specs, system::now()).await.unwrap();
    store.declare_deployments(&specs[..1], system::now()).await.unwrap();
    add(&store, &spec("stored", &[])).await.unwrap();
    for (name, known) in [("a", true), ("b", true), ("stored", true), ("c", false)] {
        assert_eq!(store.knows_deployment(&name.parse().unwrap()).await.unwrap(), known, "{name}");
    }
    let declared = store.declared_deployments().await.unwrap();
    assert_eq!(declared.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(store.list_deployments().await.unwrap().len(), 1, "declared ones are not stored ones");
    assert_eq!(store.change_seq().await.unwrap(), 1);
    assert_eq!(under_test.audit_trail().await, ["deployment.added"]);
}

async fn a_deployment_is_changed(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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
    assert_eq!(store.snapshot().await.unwrap().changed_deployments(seq).await.unwrap()[0].spec, Some(changed.clone()));
    assert_conflict(update(spec("a", &["three.example.com"])).await, Conflict::DeploymentHost);
    assert_eq!(store.list_deployments().await.unwrap()[0].spec, changed, "a refused change is none");
    // The host that it has given up is free.
    add(&store, &spec("c", &["one.example.com"])).await.unwrap();
    assert!(!update(spec("nowhere", &[])).await.unwrap());
}
