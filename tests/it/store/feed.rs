//! What a follower reads: every change, once, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bento_gateway::{
    domain::{
        audit::Action,
        timestamp::Timestamp,
        token::{TokenRecord, TokenUid},
    },
    store::{ChangedSecret, Cursor, StoreError},
    system,
};

use super::verbs::Verbs;
use super::{
    StoreUnderTest, all_secrets, behaviours, browser_sessions::browser_secret, deployments::add, event, insert, owner,
    scopes, secret, spec, token, user,
};

behaviours!(
    every_change_has_its_own_sequence,
    a_follower_misses_nothing,
    pages_of_secrets_are_complete,
    all_at_once_is_what_the_changes_say,
    what_was_edited_beyond_reading_is_nobodys,
);

async fn every_change_has_its_own_sequence(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    assert_eq!(store.change_seq().await.unwrap(), 0);
    let ada = user("ada@example.com");
    let record = token(ada.id, "ci");
    let name = "a".parse().unwrap();
    let at = system::now();

    store.insert_user(&ada, &event(Action::UserCreated)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 1);
    insert(&store, &record).await;
    assert_eq!(store.change_seq().await.unwrap(), 2);
    store.rotate_token(record.uid, &secret(), at, &event(Action::TokenRotated)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 3);
    store.set_password(ada.id, "$x", None, &event(Action::UserPasswordSet)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 4);
    add(&store, &spec("a", &[])).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 5);
    store.remove_deployment(&name, at, &event(Action::DeploymentRemoved)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 6);
    store.revoke_token(record.uid, at, &event(Action::TokenRevoked)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 7);
    store.disable_user(ada.id, at, &event(Action::UserDisabled)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 8);

    let changed = all_secrets(&store, Cursor::after(6)).await;
    assert_eq!(changed.iter().map(|changed| changed.seq).collect::<Vec<_>>(), [7, 7], "both of the token's secrets");
    assert!(all_secrets(&store, Cursor::after(7)).await.is_empty());
}

async fn a_follower_misses_nothing(under_test: StoreUnderTest) {
    const WRITERS: usize = 6;
    const CHANGES: usize = 15;
    let stores = [under_test.open().await, under_test.open().await, under_test.open().await];
    let owner = owner(&stores[0]).await;
    let committed: Arc<Mutex<BTreeSet<TokenUid>>> = Arc::default();

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, committed) = (stores[writer % 2].clone(), committed.clone());
        writers.spawn(async move {
            for number in 0..CHANGES {
                let record = token(owner, &format!("{writer}/{number}"));
                insert(&store, &record).await;
                committed.lock().unwrap().insert(record.uid);
            }
        });
    }

    let follower = &stores[2];
    let mut applied = Cursor::after(0);
    let mut seen = BTreeMap::new();
    let mut last_seq = 0;
    loop {
        let writing = !writers.is_empty() && writers.try_join_next().is_none();
        let before: BTreeSet<TokenUid> = committed.lock().unwrap().clone();
        let seq = follower.change_seq().await.unwrap();
        assert!(seq >= last_seq, "{seq} after {last_seq}");
        last_seq = seq;
        for changed in all_secrets(follower, applied.clone()).await {
            applied = changed.cursor();
            assert!(seen.insert(changed.now.uid, changed.seq).is_none(), "told twice");
        }
        assert!(applied.seq >= seq || seq == 1, "{seq} was committed, {} is what could be read", applied.seq);
        assert!(before.iter().all(|uid| seen.contains_key(uid)), "a committed change was not told");
        if !writing && writers.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), WRITERS * CHANGES);
    let sequences: BTreeSet<i64> = seen.values().copied().collect();
    assert_eq!(sequences, (2..2 + (WRITERS * CHANGES) as i64).collect());
}

async fn pages_of_secrets_are_complete(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    add(&store, &spec("old", &[])).await.unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..40 {
        let record = TokenRecord { scopes: scopes(&["api", "deployment:old"]), ..token(owner, &number.to_string()) };
        expected.insert(insert(&store, &record).await.lookup_id);
        if number % 5 == 0 {
            let new = secret();
            store.rotate_token(record.uid, &new, system::now(), &event(Action::TokenRotated)).await.unwrap();
            expected.insert(new.lookup_id);
        }
    }
    let check = |all: &[ChangedSecret]| {
        let order: Vec<_> = all.iter().map(|changed| (changed.seq, changed.now.secret.lookup_id)).collect();
        assert!(order.is_sorted(), "upper case before lower case, as bytes are");
        assert_eq!(order.iter().map(|&(_, id)| id).collect::<BTreeSet<_>>(), expected);
        assert_eq!(order.len(), expected.len(), "each once");
    };
    check(&all_secrets(&store, Cursor::after(0)).await);

    // One change that touches all: one sequence, pages in its middle.
    let before = store.change_seq().await.unwrap();
    let removed = event(Action::DeploymentRemoved);
    store.remove_deployment(&"old".parse().unwrap(), system::now(), &removed).await.unwrap().unwrap();
    let all = all_secrets(&store, Cursor::after(before)).await;
    check(&all);
    assert!(all.iter().all(|changed| changed.seq == before + 1));
    assert!(all_secrets(&store, Cursor::after(before + 1)).await.is_empty());
    let from_first = Cursor { seq: before + 1, lookup_id: String::new() };
    check(&all_secrets(&store, from_first).await);
}

async fn all_at_once_is_what_the_changes_say(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let [ada, bob] = [owner(&store).await, owner(&store).await];
    let rights = [&["deployment:*"][..], &["api", "deployment:a", "deployment:team-*"]].map(scopes);
    for number in 0..60 {
        let record = TokenRecord {
            scopes: rights[number % 2].clone(),
            expires_at: (number % 3 > 0).then(|| Timestamp::from_millis(1_700_000_000_123 + number as i64)),
            ..token([ada, bob][number / 3 % 2], &number.to_string())
        };
        insert(&store, &record).await;
        if number % 5 == 0 {
            store.rotate_token(record.uid, &secret(), system::now(), &event(Action::TokenRotated)).await.unwrap();
        }
        if number % 7 == 0 {
            store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
        }
        if number % 11 == 0 {
            let session = browser_secret(Timestamp::from_millis(5_000_000_000_001));
            let begun = event(Action::BrowserSignedIn);
            store.insert_browser_session(record.uid, &session, Timestamp::from_millis(0), &begun).await.unwrap();
        }
    }
    under_test.execute("UPDATE token_secrets SET hash = '$ edited,\n\t\"ä\"' WHERE deployment IS NOT NULL").await;
    let seen = "UPDATE api_tokens SET expired_at = expires_at WHERE expires_at IS NOT NULL AND name LIKE '%1'";
    assert!(under_test.execute(seen).await > 2);

    let mut expected =
        all_secrets(&store, Cursor::after(-1)).await.into_iter().map(|changed| changed.now).collect::<Vec<_>>();
    let mut all = Vec::new();
    store.snapshot().await.unwrap().every_secret(|secrets| all.extend(secrets)).await.unwrap();
    for secrets in [&mut expected, &mut all] {
        secrets.sort_by_key(|indexed| indexed.secret.lookup_id);
    }
    assert_eq!(all.len(), 60 + 12 + 5, "each secret once; no session of a token that was revoked");
    assert_eq!(all, expected);
}

async fn what_was_edited_beyond_reading_is_nobodys(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    for name in ["one", "other"] {
        insert(&store, &token(owner, name)).await;
    }
    let read = async || {
        let mut all = Vec::new();
        let done = store.snapshot().await.unwrap().every_secret(|secrets| all.extend(secrets)).await;
        done.map(|()| all.len())
    };
    assert_eq!(read().await.unwrap(), 2);
    for (edit, mend) in [
        // Twelve characters, and more bytes.
        (
            "UPDATE token_secrets SET lookup_id = 'äöü' || substr(lookup_id, 4)",
            "UPDATE token_secrets SET lookup_id = 'abc' || substr(lookup_id, 4)",
        ),
        (
            "UPDATE token_secrets SET lookup_id = '+' || substr(lookup_id, 2)",
            "UPDATE token_secrets SET lookup_id = 'a' || substr(lookup_id, 2)",
        ),
        ("UPDATE token_secrets SET deployment = 'No Name'", "UPDATE token_secrets SET deployment = NULL"),
    ] {
        under_test.execute(edit).await;
        let error = read().await.unwrap_err();
        assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
        under_test.execute(mend).await;
        assert_eq!(read().await.unwrap(), 2);
    }
}
