//! What a token can be called: its name, the end of its uid, its lookup id.

use bento_gateway::{
    domain::{
        audit::Action,
        deployment::DeploymentName,
        token::{SecretRecord, TokenRecord, TokenUid},
        user::UserId,
    },
    store::{SharedStore, TokenFilter},
    system,
};

use super::verbs::Verbs;
use super::{StoreUnderTest, behaviours, created, event, everything, insert, owner, secret, token};

behaviours!(a_token_is_found_by_what_it_is_called, a_search_finds_a_lookup_id_in_any_case);

async fn called(store: &SharedStore, text: &str, owner: Option<UserId>) -> Vec<TokenUid> {
    store.tokens_called(text, owner).await.unwrap().into_iter().map(|token| token.uid).collect()
}

async fn a_token_is_found_by_what_it_is_called(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let (adas, bobs, old) = (token(ada, "ci"), token(bob, "ci"), token(ada, "old"));
    let (secret_of_ada, _) = (insert(&store, &adas).await, insert(&store, &bobs).await);
    let secret_of_old = insert(&store, &old).await;
    store.revoke_token(old.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap().unwrap();

    assert_eq!(called(&store, "ci", Some(ada)).await, [adas.uid]);
    assert_eq!(called(&store, "ci", Some(bob)).await, [bobs.uid]);
    assert_eq!(called(&store, "ci", None).await.len(), 2);
    for text in [&adas.uid.short(), secret_of_ada.lookup_id.as_str()] {
        assert_eq!(called(&store, text, None).await, [adas.uid], "{text}");
        assert_eq!(called(&store, text, Some(bob)).await, [], "{text}");
    }
    // A revoked one has lost its name, and nothing else.
    assert_eq!(called(&store, "old", None).await, []);
    for text in [&old.uid.short(), secret_of_old.lookup_id.as_str()] {
        assert_eq!(called(&store, text, None).await, [old.uid], "{text}");
    }
    for text in ["", "c", "CI", "ci ", "%", "_i", "ci\0", "0123456789ab", &adas.uid.to_string()] {
        assert_eq!(called(&store, text, None).await, [], "{text:?}");
    }
    // Live ones come first, however many others there are.
    let named_like_it: Vec<TokenRecord> = (0..12).map(|_| token(ada, &old.uid.short())).collect();
    for record in &named_like_it {
        insert(&store, record).await;
        store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap().unwrap();
    }
    assert_eq!(called(&store, &old.uid.short(), None).await, [old.uid]);
}

async fn a_search_finds_a_lookup_id_in_any_case(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let (record, other) = (token(ada, "one"), token(bob, "two"));
    let secret_of_it = insert(&store, &record).await;
    insert(&store, &other).await;
    let session: DeploymentName = "summarization".parse().unwrap();
    let session = SecretRecord { session: Some(session), ..secret() };
    let visited = token(bob, "visited");
    store.insert_token(&visited, &session, &created()).await.unwrap();

    let text = secret_of_it.lookup_id.as_str();
    for search in [text.to_owned(), text.to_lowercase(), format!("bgw_{text}")] {
        let filter = TokenFilter { search: Some(search.clone()), ..everything() };
        let page = store.list_tokens(&filter).await.unwrap();
        assert_eq!((page.items.as_slice(), page.total), (&[record.clone()][..], 1), "{search}");
        let bobs = store.list_tokens(&TokenFilter { owner: Some(bob), ..filter }).await.unwrap();
        assert_eq!(bobs.total, 0, "{search}");
    }
    // A part of it is none, and a browser session's is nobody's to search for.
    for search in [&text[1..], session.lookup_id.as_str()] {
        let filter = TokenFilter { search: Some(search.to_owned()), ..everything() };
        assert_eq!(store.list_tokens(&filter).await.unwrap().total, 0, "{search}");
    }
    assert_eq!(called(&store, session.lookup_id.as_str(), None).await, []);
}
