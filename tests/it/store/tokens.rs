//! Tokens: what is kept of them, their names, how they are listed, rotated, changed and revoked.

use std::collections::{BTreeMap, BTreeSet};

use bento_gateway::{
    domain::{
        audit::Action,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord},
    },
    store::{Conflict, Cursor, TokenFilter, TokenOrder},
    system,
};

use super::verbs::Verbs;
use super::{
    StoreUnderTest, all_secrets, assert_conflict, behaviours, created, earlier, event, everything, insert, later,
    owner, scopes, secret, token,
};

behaviours!(
    a_token_comes_back_as_it_was,
    a_live_name_is_taken_once,
    lists_newest_first_in_pages,
    searches_literally_in_any_case,
    revoking_twice_changes_nothing,
    rotation_retires_older_secrets,
    a_token_is_changed,
    revoked_tokens_are_left_out_on_request,
    tokens_are_listed_in_every_order,
    tokens_that_open_a_deployment,
);

async fn a_token_comes_back_as_it_was(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let at = |millis| Timestamp::from_millis(millis);
    let mut record = token(owner, "Zoë’s 令牌 🍱");
    record.description = "line\nbreak, 'quote', \\ and %".to_owned();
    record.scopes = scopes(&["api", "deployment:*", "deployment:team-*", "deployment:summarization"]);
    record.created_at = at(1_798_135_200_123);
    record.expires_at = Some(Timestamp::MAX);
    record.last_used_at = Some(at(1));
    insert(&store, &record).await;
    assert_eq!(store.token(record.uid).await.unwrap(), Some(record.clone()));

    let mut revoked = token(owner, "old");
    revoked.revoked_at = Some(at(1_798_135_200_999));
    revoked.expires_at = Some(at(-1));
    let stored = SecretRecord { retires_at: Some(at(7)), ..secret() };
    store.insert_token(&revoked, &stored, &created()).await.unwrap();
    assert_eq!(store.token(revoked.uid).await.unwrap(), Some(revoked.clone()));

    let changed = all_secrets(&store, Cursor::after(0)).await;
    let changed = changed.iter().find(|changed| changed.now.uid == revoked.uid).unwrap();
    assert_eq!(changed.now.secret, stored);
    assert_eq!((changed.now.owner, &*changed.now.scopes), (owner, &revoked.scopes));
    assert_eq!((changed.now.expires_at, changed.now.revoked_at), (revoked.expires_at, revoked.revoked_at));

    assert_eq!(store.token(token(owner, "never stored").uid).await.unwrap(), None);
}

async fn a_live_name_is_taken_once(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let first = token(ada, "ci");
    insert(&store, &first).await;
    let before = store.change_seq().await.unwrap();

    assert_conflict(store.insert_token(&token(ada, "ci"), &secret(), &created()).await, Conflict::TokenName);
    assert_eq!(store.change_seq().await.unwrap(), before, "a refused change is none");

    insert(&store, &token(bob, "ci")).await;
    insert(&store, &token(ada, "CI")).await;
    store.revoke_token(first.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap().unwrap();
    insert(&store, &token(ada, "ci")).await;
    assert_conflict(store.insert_token(&token(ada, "ci"), &secret(), &created()).await, Conflict::TokenName);
}

async fn lists_newest_first_in_pages(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let mut newest_first = Vec::new();
    for number in 0..7 {
        let mut record = token(if number == 3 { bob } else { ada }, &format!("token {number}"));
        // Three at the same moment: still a fixed order.
        record.created_at = Timestamp::from_millis(20_000 + [0, 1, 2, 2, 2, 3, 4][number]);
        insert(&store, &record).await;
        newest_first.push(record);
    }
    newest_first.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.uid)));

    let all = store.list_tokens(&everything()).await.unwrap();
    assert_eq!((all.items, all.total), (newest_first.clone(), 7));

    for (offset, expected) in [(0, &newest_first[0..3]), (3, &newest_first[3..6]), (6, &newest_first[6..]), (7, &[])] {
        let page = store.list_tokens(&TokenFilter { offset, limit: 3, ..everything() }).await.unwrap();
        assert_eq!((&*page.items, page.total), (expected, 7), "from {offset}");
    }

    let bobs = store.list_tokens(&TokenFilter { owner: Some(bob), ..everything() }).await.unwrap();
    assert_eq!((bobs.items.len(), bobs.total), (1, 1));
    assert_eq!(bobs.items[0].name, "token 3");
}

async fn searches_literally_in_any_case(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let mut uids = BTreeMap::new();
    for (name, description) in
        [("100% sure", ""), ("snake_case", ""), ("back\\slash", ""), ("ÄRGER", "Ιστορία"), ("plain", "100 snakes")]
    {
        let record = TokenRecord { description: description.to_owned(), ..token(owner, name) };
        insert(&store, &record).await;
        uids.insert(name, record.uid.to_string());
    }
    let plain = uids["plain"].to_uppercase();
    let table: &[(&str, &[&str])] = &[
        ("", &["100% sure", "back\\slash", "plain", "snake_case", "ÄRGER"]),
        ("%", &["100% sure"]),
        ("_", &["snake_case"]),
        ("\\", &["back\\slash"]),
        ("SNAKE", &["plain", "snake_case"]),
        ("ärger", &["ÄRGER"]),
        ("ΙΣΤΟΡ", &["ÄRGER"]),
        (&plain, &["plain"]),
        ("'; DROP TABLE api_tokens; --", &[]),
        ("100 %", &[]),
        ("\0", &[]),
    ];
    for (search, expected) in table {
        let filter = TokenFilter { search: Some((*search).to_owned()), ..everything() };
        let found = store.list_tokens(&filter).await.unwrap();
        let names: BTreeSet<&str> = found.items.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, expected.iter().copied().collect(), "{search:?}");
        assert_eq!(found.total as usize, expected.len(), "{search:?}");
    }
}

async fn revoking_twice_changes_nothing(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let record = token(owner(&store).await, "ci");
    insert(&store, &record).await;
    let before = store.change_seq().await.unwrap();
    let at = Timestamp::from_millis(1_798_135_200_123);

    let revoked = store.revoke_token(record.uid, at, &event(Action::TokenRevoked)).await.unwrap().unwrap();
    assert_eq!(revoked, TokenRecord { revoked_at: Some(at), ..record.clone() });
    let after = store.change_seq().await.unwrap();
    assert_eq!(after, before + 1);
    let changed = all_secrets(&store, Cursor::after(before)).await;
    assert_eq!((changed.len(), changed[0].now.revoked_at), (1, Some(at)));

    let later = Timestamp::from_millis(at.as_millis() + 1);
    let again = store.revoke_token(record.uid, later, &event(Action::TokenRevoked)).await.unwrap();
    assert_eq!(again, Some(revoked));
    assert_eq!(store.change_seq().await.unwrap(), after);
    let unknown = token(record.owner, "unknown").uid;
    assert_eq!(store.revoke_token(unknown, at, &event(Action::TokenRevoked)).await.unwrap(), None);
    assert_eq!(under_test.audit_trail().await, ["user.created", "token.created", "token.revoked"]);
}

async fn rotation_retires_older_secrets(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let record = token(owner(&store).await, "ci");
    let first = insert(&store, &record).await;
    let (second, third) = (secret(), secret());
    let at = Timestamp::from_millis;
    let rotated = event(Action::TokenRotated);

    let before = store.change_seq().await.unwrap();
    let returned = store.rotate_token(record.uid, &second, at(1000), &rotated).await.unwrap();
    assert_eq!(returned, Some(record.clone()));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);
    // Both are told: the old one ends, the new one begins.
    assert_eq!(all_secrets(&store, Cursor::after(before)).await.len(), 2);

    // A longer overlap for the second does not prolong the first.
    store.rotate_token(record.uid, &third, at(5000), &event(Action::TokenRotated)).await.unwrap().unwrap();
    let ends: BTreeMap<String, Option<Timestamp>> = all_secrets(&store, Cursor::after(before))
        .await
        .into_iter()
        .map(|changed| (changed.now.secret.lookup_id.as_str().to_owned(), changed.now.secret.retires_at))
        .collect();
    let expected = [(&first, Some(at(1000))), (&second, Some(at(5000))), (&third, None)];
    assert_eq!(ends, expected.map(|(secret, end)| (secret.lookup_id.as_str().to_owned(), end)).into());

    // A shorter one, such as none, shortens.
    store.rotate_token(record.uid, &secret(), at(10), &event(Action::TokenRotated)).await.unwrap().unwrap();
    let ends = all_secrets(&store, Cursor::after(before)).await;
    assert_eq!(ends.iter().filter(|changed| changed.now.secret.retires_at == Some(at(10))).count(), 3);

    let unknown = token(record.owner, "unknown").uid;
    assert_eq!(store.rotate_token(unknown, &secret(), at(1), &event(Action::TokenRotated)).await.unwrap(), None);
    store.revoke_token(record.uid, at(1), &event(Action::TokenRevoked)).await.unwrap().unwrap();
    let before = store.change_seq().await.unwrap();
    assert_eq!(store.rotate_token(record.uid, &secret(), at(1), &event(Action::TokenRotated)).await.unwrap(), None);
    assert_eq!(store.change_seq().await.unwrap(), before);
}

async fn a_token_is_changed(under_test: StoreUnderTest) {
    let store = under_test.open().await;
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
    let told =
        store.snapshot().await.unwrap().changed_secrets(bento_gateway::store::Cursor::after(seq), 10).await.unwrap();
    assert_eq!(
        told.iter().map(|changed| (changed.now.uid, &*changed.now.scopes)).collect::<Vec<_>>(),
        [(record.uid, &record.scopes)]
    );
    let search = |text: &str| TokenFilter { search: Some(text.to_owned()), ..TokenFilter::newest(10) };
    assert_eq!(store.list_tokens(&search("after")).await.unwrap().total, 1);
    assert_eq!(store.list_tokens(&search("before")).await.unwrap().total, 0);

    record.name = "taken".to_owned();
    assert_conflict(store.update_token(&record, &event(Action::TokenUpdated)).await, Conflict::TokenName);
    store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    record.name = "again".to_owned();
    assert!(!store.update_token(&record, &event(Action::TokenUpdated)).await.unwrap());
    assert!(!store.update_token(&token(owner, "never stored"), &event(Action::TokenUpdated)).await.unwrap());
}

async fn revoked_tokens_are_left_out_on_request(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let (live, gone) = (token(owner, "live"), token(owner, "gone"));
    insert(&store, &live).await;
    insert(&store, &gone).await;
    store.revoke_token(gone.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
    let filter = |revoked| TokenFilter { revoked, ..TokenFilter::newest(10) };
    assert_eq!(store.list_tokens(&filter(true)).await.unwrap().total, 2);
    let page = store.list_tokens(&filter(false)).await.unwrap();
    assert_eq!((page.total, page.items[0].uid), (1, live.uid));
}

async fn tokens_are_listed_in_every_order(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let owner = owner(&store).await;
    let now = system::now();
    let rows: [(&str, Option<Timestamp>, Option<Timestamp>); 3] =
        [("b", Some(later(now)), None), ("A", None, Some(now)), ("c", Some(now), Some(earlier(now)))];
    for (at, (name, expires_at, last_used_at)) in rows.into_iter().enumerate() {
        let created_at = Timestamp::from_millis(now.as_millis() + at as i64);
        insert(&store, &TokenRecord { created_at, expires_at, last_used_at, ..token(owner, name) }).await;
    }
    let names = async |order| {
        let filter = TokenFilter { owner: Some(owner), revoked: false, order, ..TokenFilter::newest(10) };
        let listed = store.list_tokens(&filter).await.unwrap().items;
        listed.into_iter().map(|token| token.name).collect::<Vec<_>>().concat()
    };
    assert_eq!(names(TokenOrder::Newest).await, "cAb");
    assert_eq!(names(TokenOrder::Name).await, "Abc");
    assert_eq!(names(TokenOrder::Expires).await, "cbA");
    assert_eq!(names(TokenOrder::LastUsed).await, "Acb");
}

async fn tokens_that_open_a_deployment(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (mine, other) = (owner(&store).await, owner(&store).await);
    let now = system::now();
    for (name, owner, scope, expires_at) in [
        ("exact", mine, "deployment:team-a", None),
        ("prefix", other, "deployment:team-*", Some(later(now))),
        ("all", mine, "deployment:*", None),
        ("operator", other, "deployment:team-a:operations", None),
        ("operators", other, "deployment:team-*:operations", None),
        ("others", other, "deployment:team-ab:operations", None),
        ("reader", other, "deployment:team-a:GET:/v1:x", None),
        ("monitor", other, "deployment:*:operations:GET:/metrics", None),
        ("reader elsewhere", other, "deployment:team-ab:GET:/team-a", None),
        ("longer", mine, "deployment:team-ab", None),
        ("manager", mine, "api", None),
        ("expired", mine, "deployment:*", Some(now)),
    ] {
        insert(&store, &TokenRecord { scopes: scopes(&[scope]), expires_at, ..token(owner, name) }).await;
    }
    let opening = async |owner, limit| {
        let page = store.tokens_opening(&"team-a".parse().unwrap(), owner, now, limit).await.unwrap();
        let mut names: Vec<_> = page.items.into_iter().map(|token| token.name).collect();
        names.sort();
        (names.join(" "), page.total)
    };
    assert_eq!(opening(None, 10).await, ("all exact monitor operator operators prefix reader".to_owned(), 7));
    assert_eq!(opening(Some(mine), 10).await, ("all exact".to_owned(), 2));
    assert_eq!(opening(None, 1).await.1, 7);
}
